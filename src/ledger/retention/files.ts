/**
 * Moving entries into archive files. A file is written, durable, read back and held against the ledger line by line;
 * then the record that names it is durable; only then do the entries leave the store. A cut at any point leaves what the
 * next run finishes or clears away (settle.ts).
 */
import { hash, randomBytes } from 'node:crypto'
import { splitLine } from '../../verify/record.ts'
import type { Range } from '../../verify/ranges.ts'
import type { ArchiveStore } from '../archive.ts'
import type { JsonObject } from '../entry.ts'
import { LedgerError } from '../errors.ts'
import { readSense } from '../../verify/record.ts'
import { archivedFault, besideOwn, bytesOf, isWithheldLine, withoutEntry } from './archive-lines.ts'
import type { ArchivedFile } from './catalogue.ts'
import { ownDraft, rangesEntry, recordUnlessStale } from './context.ts'
import type { RetentionContext } from './context.ts'
import { Packed, packed } from './packing.ts'
import { rangesOf } from './scan.ts'
import type { KeptRecord } from './scan.ts'
import { damaged } from './tiers.ts'

/** Of one file: it is held in memory until it is written and read back. */
const FILE_RECORDS_MAX = 20_000
const FILE_BYTES_MAX = 16 * 1024 * 1024

/** Says beside the ledger that a file is on its way to the cold archive, until a record names it. */
export const MOVING = 'moving-'

/** Why the line is not to be archived as it is, or null. */
function lineFault(line: Uint8Array): string | null {
  const slices = splitLine(line)
  if (slices === null || slices.commitment_start === -1) return 'it is no line of a record with its entry'
  const leaf = Buffer.concat([Buffer.of(0), line.subarray(slices.header_start, slices.header_end)])
  if (hash('sha256', leaf, 'hex') !== readSense(line).hash) return 'its hash is not that of its header'
  return archivedFault(withoutEntry(line), line)
}

/** Whole lines that will be one file. Positions ascend. */
export class FileLines {
  readonly lines: Uint8Array[] = []
  readonly seqs: number[] = []
  /** Records that are damaged in the store, and stay there. */
  readonly damaged: number[] = []
  bytes = 0
  entryBytes = 0
  #oldest = ''
  #newest = ''

  get isFull(): boolean {
    return this.seqs.length >= FILE_RECORDS_MAX || this.bytes >= FILE_BYTES_MAX
  }

  add({ seq, header, line, bytes }: Pick<KeptRecord, 'seq' | 'header' | 'line' | 'bytes'>): void {
    if (lineFault(line) !== null) {
      this.damaged.push(seq)
      return
    }
    this.lines.push(line)
    this.seqs.push(seq)
    this.bytes += line.length
    this.entryBytes += bytes
    const { recorded_at } = header
    if (this.#oldest === '' || recorded_at < this.#oldest) this.#oldest = recorded_at
    if (recorded_at > this.#newest) this.#newest = recorded_at
  }

  get ranges(): Range[] {
    return rangesOf(this.seqs)
  }

  get times(): { readonly first_recorded_at: string; readonly last_recorded_at: string } {
    return { first_recorded_at: this.#oldest, last_recorded_at: this.#newest }
  }

  name(): string {
    const digits = (seq: number): string => String(seq).padStart(20, '0')
    return `entries-${digits(this.seqs[0]!)}-${digits(this.seqs.at(-1)!)}-${randomBytes(6).toString('hex')}.jsonl.zst`
  }
}

/** What was said that moved them. */
export type Reason = { readonly reason: string } & JsonObject

export interface Move {
  readonly records: number
  /** Of salts and entries. */
  readonly bytes: number
  /** Of the file. */
  readonly stored_bytes: number
}

function archiveFor({ tiers }: RetentionContext, tier: 'warm' | 'cold'): ArchiveStore {
  const archive = tier === 'warm' ? tiers.warm : tiers.cold
  if (archive === null) throw new LedgerError('unsupported', `there is no ${tier} archive: open the ledger with one (archive)`)
  return archive
}

/** Written, durable and read back. @throws LedgerError, `damaged` where it came back as something else */
async function written(
  archive: ArchiveStore,
  name: string,
  lines: FileLines,
): Promise<{ readonly bytes: number; readonly sha256: string }> {
  const content = await packed(lines.lines)
  const told = await archive.write(name, content)
  const back = await bytesOf(archive, name)
  const sha256 = hash('sha256', back, 'hex')
  const differs = (what: string): LedgerError =>
    new LedgerError('damaged', `${name} came back from ${archive.location} ${what}: nothing was moved. Check that storage`, {
      file: name,
      location: archive.location,
    })
  if (sha256 !== told.sha256 || back.length !== told.bytes || Buffer.compare(back, content) !== 0)
    throw differs('with other bytes than were written')
  let next = 0
  for await (const line of (await Packed.open(archive, name)).lines())
    if (Buffer.compare(line, lines.lines[next++] ?? new Uint8Array()) !== 0) throw differs('with another line than was written')
  if (next !== lines.lines.length) throw differs('with fewer lines than were written')
  return { bytes: back.length, sha256 }
}

/**
 * One file's worth of entries to a tier; null where something has come since that the choice may not be right with: then
 * nothing has happened, and it is to be made anew.
 */
export async function moveLines(context: RetentionContext, tier: 'warm' | 'cold', lines: FileLines, why: Reason): Promise<Move | null> {
  const archive = archiveFor(context, tier)
  const name = lines.name()
  // The cold archive may hold other ledgers' files, so that what nobody names there can't be told by its name.
  if (tier === 'cold') await context.upkeep.archive.write(`${MOVING}${name}`, Buffer.from(archive.location))
  const { bytes, sha256 } = await written(archive, name, lines)
  const { ranges, times, entryBytes } = lines
  const records = lines.seqs.length
  const place = tier === 'cold' ? { location: archive.location } : {}
  const entry = {
    tier,
    ...place,
    file: name,
    sha256,
    bytes,
    records,
    entry_bytes: entryBytes,
    ...times,
    ranges: rangesEntry(ranges),
    ...why,
  }
  // Crash point: a file that no record names is cleared away by the next run.
  const receipts = await recordUnlessStale(context, [ownDraft(context, 'EntriesArchived', 'archive_entries', entry)])
  if (receipts === null) await archive.remove(name)
  // Crash point: the record is durable, and the entries are in both places; the next run takes them away.
  else for await (const _ of context.upkeep.withhold(ranges)) continue
  if (tier === 'cold') await context.upkeep.archive.remove(`${MOVING}${name}`)
  return receipts === null ? null : { records, bytes: entryBytes, stored_bytes: bytes }
}

/**
 * Whole lines out of a file, each held against the ledger's own.
 * @throws LedgerError `damaged`, and as reading the archive
 */
export async function* archivedRecords(
  { store, tiers }: RetentionContext,
  file: ArchivedFile,
  ranges: readonly Range[],
): AsyncGenerator<{ readonly seq: number; readonly own: Uint8Array; readonly line: Uint8Array }, void, undefined> {
  const lines = tiers.lines(file)
  try {
    for await (const { seq, own, line } of besideOwn(store, lines, ranges, () => true)) {
      if (line === null) throw damaged(file, seq, 'it is not in it')
      const fault = archivedFault(isWithheldLine(own) ? own : withoutEntry(own), line)
      if (fault !== null) throw damaged(file, seq, fault)
      yield { seq, own, line }
    }
  } finally {
    await lines.return()
  }
}
