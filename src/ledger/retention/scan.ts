/** Reading what a policy may move: the records of some positions, as the store keeps them. */
import { partition, union } from '../../verify/ranges.ts'
import type { Range } from '../../verify/ranges.ts'
import type { RecordHeader } from '../../verify/header.ts'
import { formatTime } from '../../verify/time.ts'
import { isSealed } from '../encryption/sealed-entry.ts'
import { indexedNames } from '../filter.ts'
import type { EntryNames } from '../filter.ts'
import { readSense } from '../../verify/record.ts'
import type { RecordFilter, Store } from '../store.ts'
import { entryBytes } from './archive-lines.ts'
import type { ArchivedFile, Catalogue } from './catalogue.ts'
import { isOwn, near } from './context.ts'
import type { RetentionContext } from './context.ts'

export interface KeptRecord {
  readonly seq: number
  readonly header: RecordHeader
  readonly hash: string
  readonly line: Uint8Array
  readonly isWithheld: boolean
  /** Of salt and entry. */
  readonly bytes: number
  /** Null where the entry is not there, or encrypted. */
  readonly names: EntryNames | null
}

/** The files that are in their archives; null where nobody can say. */
export interface PresentFiles {
  readonly warm: ReadonlySet<string> | null
  readonly cold: ReadonlySet<string> | null
}

async function namesIn(archive: { list(prefix: string): AsyncIterable<{ readonly name: string }> } | null): Promise<Set<string> | null> {
  if (archive === null) return null
  const names = new Set<string>()
  for await (const { name } of archive.list('entries-')) names.add(name)
  return names
}

/** @throws LedgerError where an archive can't be asked */
export async function presentFiles({ tiers }: RetentionContext): Promise<PresentFiles> {
  return { warm: await namesIn(tiers.warm), cold: await namesIn(tiers.cold) }
}

/** False where it is known that the file is not there. */
export function mayBePresent({ file, tier }: ArchivedFile, present: PresentFiles): boolean {
  return present[tier]?.has(file) ?? true
}

/** Positions whose entries should be in the store, as lines: nobody erased them, and no file has them that may be there. */
export function hotRanges(catalogue: Catalogue, present: PresentFiles): Range[] {
  const elsewhere: Range[] = catalogue.erased
  for (const [file, ranges] of catalogue.current()) if (mayBePresent(file, present)) elsewhere.push(...ranges)
  if (catalogue.size === 0) return []
  return partition([{ first: 0, last: catalogue.size - 1 }], union(elsewhere)).outside
}

export function asKept(line: Uint8Array): KeptRecord {
  const { header, hash, entry_text } = readSense(line)
  const isWithheld = entry_text === null
  return {
    seq: header.seq,
    header,
    hash,
    line,
    isWithheld,
    bytes: isWithheld ? 0 : entryBytes(line),
    names: entry_text === null || isSealed(entry_text) ? null : indexedNames(entry_text),
  }
}

/** Records at these positions, in order, without the ledger's own. @param before_us only what came in before this time */
export async function* recordsAt(
  store: Pick<Store, 'read'>,
  ranges: readonly Range[],
  options: { readonly filter?: RecordFilter; readonly before_us?: number } = {},
): AsyncGenerator<KeptRecord, void, undefined> {
  const { filter: given = {}, before_us = Infinity } = options
  if (before_us === -Infinity) return
  const filter = before_us === Infinity ? given : { ...given, recorded_until: formatTime(before_us) }
  let next = 0
  for (const { first, last } of near(ranges)) {
    for await (const chunk of store.read({ filter, from: first, before: last + 1, reverse: false, limit: Infinity })) {
      for (const line of chunk) {
        const record = asKept(line)
        while (next < ranges.length && ranges[next]!.last < record.seq) next++
        const range = ranges[next]
        if (range !== undefined && range.first <= record.seq && !isOwn(record.header)) yield record
      }
    }
  }
}

/** Positions, ascending, as ranges. */
export function rangesOf(seqs: readonly number[]): Range[] {
  return union(seqs.map((seq) => ({ first: seq, last: seq })))
}
