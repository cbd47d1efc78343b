/** Bringing archived entries back into the store: read, held against the ledger, put back, and then recorded. */
import { countOf, partition, union } from '../../verify/ranges.ts'
import type { Range } from '../../verify/ranges.ts'
import { readLine } from '../../verify/record.ts'
import type { Criteria } from '../query.ts'
import { asFilter } from '../query.ts'
import type { RecordFilter } from '../store.ts'
import type { KeptEntry } from '../upkeep.ts'
import { isWithheldLine } from './archive-lines.ts'
import type { ArchivedFile } from './catalogue.ts'
import { ownDraft, Pace, rangesEntry, recordUnlessStale } from './context.ts'
import type { PaceOptions, RetentionContext } from './context.ts'
import { archivedRecords } from './files.ts'
import { recordedText } from './policy.ts'
import { rangesOf, recordsAt } from './scan.ts'
import { settle } from './settle.ts'

export interface RestoreRequest {
  /** First position; 0 unless said. */
  readonly from?: number | undefined
  /** Position behind the last. */
  readonly before?: number | undefined
  /** Only records that fit this, without `text`. */
  readonly where?: Criteria | undefined
}

export interface RestoreOptions extends PaceOptions {
  /** Why; it goes into the record. */
  readonly reason?: string | undefined
}

export interface EntriesRestored {
  readonly records: number
  /** Of salts and entries. */
  readonly bytes: number
  /** Files that are not needed any more, and were removed. */
  readonly files: number
  readonly left: readonly string[]
}

/** So much is put back in one go. */
const CHUNK_RECORDS = 256
const CHUNK_BYTES = 1024 * 1024

/** @throws TypeError | RangeError */
export function asChoice({ from = 0, before = Infinity, where = {} }: RestoreRequest): { range: Range; filter: RecordFilter } {
  const isEnd = before === Infinity || (Number.isSafeInteger(before) && before > from)
  if (!Number.isSafeInteger(from) || from < 0 || !isEnd)
    throw new RangeError('from and before must be positions, and before the larger one')
  if (where.text !== undefined) throw new TypeError('entries are not chosen by words: say which records by what headers have')
  return { range: { first: from, last: before === Infinity ? Number.MAX_SAFE_INTEGER - 1 : before - 1 }, filter: asFilter(where) }
}

/** The positions that are asked for and archived, by the file that has them. */
async function archivedPositions(context: RetentionContext, request: RestoreRequest): Promise<Map<ArchivedFile, Range[]>> {
  const { range, filter } = asChoice(request)
  const { catalogue } = context.tiers
  const asked = new Map<ArchivedFile, Range[]>()
  const isAll = Object.keys(filter).length === 0
  for (const [file, ranges] of catalogue.current()) {
    let inside = partition(ranges, [range]).inside
    if (!isAll && inside.length > 0) {
      const seqs: number[] = []
      for await (const { seq } of recordsAt(context.store, inside, { filter })) seqs.push(seq)
      inside = rangesOf(seqs)
    }
    if (inside.length > 0) asked.set(file, inside)
  }
  return asked
}

async function* entriesOf(context: RetentionContext, file: ArchivedFile, ranges: readonly Range[]): AsyncGenerator<KeptEntry[]> {
  let chunk: KeptEntry[] = []
  let bytes = 0
  for await (const { seq, own, line } of archivedRecords(context, file, ranges)) {
    if (!isWithheldLine(own)) continue
    const { salt, entry_text } = readLine(line)
    chunk.push({ seq, salt: salt as string, entry_text: entry_text as string })
    bytes += line.length
    if (chunk.length < CHUNK_RECORDS && bytes < CHUNK_BYTES) continue
    yield chunk
    chunk = []
    bytes = 0
  }
  if (chunk.length > 0) yield chunk
}

/** One file's worth of it. */
async function restoreFrom(
  context: RetentionContext,
  file: ArchivedFile,
  ranges: readonly Range[],
  reason: string,
  pace: Pace,
): Promise<{ records: number; bytes: number }> {
  const { upkeep, tiers } = context
  let [records, bytes] = [0, 0]
  for await (const step of upkeep.restore(entriesOf(context, file, ranges))) {
    records += step.records
    bytes += step.bytes
    await pace.done('restore', step.records, step.bytes)
  }
  // Crash point: they are back, and the record that says so is not there; the next run takes them away again.
  for (;;) {
    const back = partition(tiers.catalogue.current().get(file) ?? [], ranges).inside
    if (back.length === 0) break
    const entry = { records: countOf(back), file: file.file, tier: file.tier, reason, ranges: rangesEntry(back) }
    if ((await recordUnlessStale(context, [ownDraft(context, 'EntriesRestored', 'restore_entries', entry)])) !== null) break
  }
  return { records, bytes }
}

/** @throws LedgerError `archived` where the archive was not named | `damaged` | `not_found` | `io_error` | `key_error` */
export async function restoreEntries(
  context: RetentionContext,
  request: RestoreRequest,
  options: RestoreOptions,
): Promise<EntriesRestored> {
  asChoice(request)
  const reason = recordedText('reason', options.reason ?? 'restored on demand')
  const pace = new Pace(options)
  await settle(context, pace)
  let [records, bytes] = [0, 0]
  for (const [file, ranges] of await archivedPositions(context, request)) {
    pace.check()
    const restored = await restoreFrom(context, file, union(ranges), reason, pace)
    records += restored.records
    bytes += restored.bytes
  }
  const { files, left } = await settle(context, pace)
  return { records, bytes, files, left }
}
