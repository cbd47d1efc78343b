/**
 * Moving entries into archive files. A file is written, durable, read back and held against the ledger line by line;
 * then the record that names it is durable; only then do the entries leave the store. A cut at any point leaves what the
 * next run finishes or clears away (settle.ts).
 */
import { hash, randomBytes } from 'node:crypto'
import { splitLine } from '../../verify/record.ts'
import { countOf } from '../../verify/ranges.ts'
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
import { asKept, rangesOf } from './scan.ts'
import type { KeptRecord } from './scan.ts'
import { damaged } from './tiers.ts'

/** Of one file: it is held in memory until it is written and read back. */
const FILE_RECORDS_MAX = 20_000
const FILE_BYTES_MAX = 16 * 1024 * 1024

/** A file is small up to a quarter of either: then the next move puts its entries into the file that it makes. */
const SMALL_RECORDS_MAX = FILE_RECORDS_MAX / 4
const SMALL_BYTES_MAX = FILE_BYTES_MAX / 4
/** Each run's own records lie between its entries and the next run's, and the record of a file lists all ranges. */
const SMALL_RANGES_MAX = 100

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
    this.#span(header.recorded_at)
  }

  /** Those of a file before them, and these. */
  behind(before: FileLines): FileLines {
    const all = new FileLines()
    for (const { lines, seqs, bytes, entryBytes, times } of [before, this]) {
      all.lines.push(...lines)
      all.seqs.push(...seqs)
      all.bytes += bytes
      all.entryBytes += entryBytes
      all.#span(times.first_recorded_at)
      all.#span(times.last_recorded_at)
    }
    return all
  }

  #span(recorded_at: string): void {
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
  /** What the files of the tier take more. */
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

/** A small file, and its lines that are in it and nowhere else. */
export interface SmallFile {
  readonly file: ArchivedFile
  readonly lines: FileLines
}

/**
 * The file before some position, where it is small: whoever applies a policy each day makes a file each day, and small
 * files take more room, since there is less to find repeated. Null where it is not small, holds what is under legal hold,
 * or can't be read; then it stays.
 */
export async function smallFileBefore(context: RetentionContext, tier: 'warm' | 'cold', seq: number): Promise<SmallFile | null> {
  const { catalogue } = context.tiers
  let before: { readonly file: ArchivedFile; readonly ranges: readonly Range[]; readonly last: number } | null = null
  for (const [file, ranges] of catalogue.current()) {
    const last = ranges.at(-1)!.last
    if (file.tier === tier && last > (before?.last ?? -1) && ranges[0]!.first < seq) before = { file, ranges, last }
  }
  if (before === null || before.last >= seq) return null
  const { file, ranges } = before
  const records = countOf(ranges)
  const isSmall = records <= SMALL_RECORDS_MAX && (file.entry_bytes / countOf(file.ranges)) * records <= SMALL_BYTES_MAX
  if (!isSmall || ranges.length > SMALL_RANGES_MAX) return null
  const lines = await unheldLines(context, file, ranges)
  return lines === null || lines.seqs.length === 0 ? null : { file, lines }
}

/** The lines of a file at these positions; null where one is under legal hold, is in the store as well, or can't be read. */
export async function unheldLines(context: RetentionContext, file: ArchivedFile, ranges: readonly Range[]): Promise<FileLines | null> {
  const { catalogue } = context.tiers
  const lines = new FileLines()
  try {
    for await (const { own, line } of archivedRecords(context, file, ranges)) {
      const record = asKept(line)
      if (catalogue.holdsOver(record.header, record.names).length > 0 || !isWithheldLine(own)) return null
      lines.add(record)
    }
  } catch (error) {
    if (!(error instanceof LedgerError)) throw error
    return null
  }
  return lines.damaged.length > 0 ? null : lines
}

/**
 * One file's worth of entries to a tier; null where something has come since that the choice may not be right with: then
 * nothing has happened, and it is to be made anew.
 * @param small whose lines go into the same file, in front; nothing is left in its own then
 */
export async function moveLines(
  context: RetentionContext,
  tier: 'warm' | 'cold',
  moved: FileLines,
  why: Reason,
  small: SmallFile | null = null,
): Promise<Move | null> {
  const archive = archiveFor(context, tier)
  const lines = small === null ? moved : moved.behind(small.lines)
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
    codec: 'zstd',
    sha256,
    bytes,
    records,
    entry_bytes: entryBytes,
    ...times,
    ranges: rangesEntry(ranges),
    ...(small === null ? {} : { replaces: small.file.file }),
    ...why,
  }
  // Crash point: a file that no record names is cleared away by the next run.
  const receipts = await recordUnlessStale(context, [ownDraft(context, 'EntriesArchived', 'archive_entries', entry)])
  if (receipts === null) await archive.remove(name)
  // Crash point: the record is durable, and the entries are in both places; the next run takes them away.
  else for await (const _ of context.upkeep.withhold(moved.ranges)) continue
  if (tier === 'cold') await context.upkeep.archive.remove(`${MOVING}${name}`)
  if (receipts === null) return null
  return { records: moved.seqs.length, bytes: moved.entryBytes, stored_bytes: bytes - (small?.file.bytes ?? 0) }
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
