/**
 * Erasing entries: the record that says so is durable first, then they go from the store, from archive files, and from
 * what was derived from them. Headers and hashes stay, and with them every proof.
 */
import { countOf, partition, union } from '../../verify/ranges.ts'
import type { Range } from '../../verify/ranges.ts'
import type { JsonObject } from '../entry.ts'
import { LedgerError } from '../errors.ts'
import type { Receipt } from '../plan.ts'
import { asFilter } from '../query.ts'
import type { Criteria } from '../query.ts'
import type { RecordFilter } from '../store.ts'
import type { Reclaimed } from '../upkeep.ts'
import { archivedNames } from './apply.ts'
import { ownDraft, Pace, rangesEntry, recordUnlessStale } from './context.ts'
import type { PaceOptions, RetentionContext } from './context.ts'
import { canonicalCriteria, heldError } from './holds.ts'
import type { LegalHold } from './holds.ts'
import { recordedText } from './policy.ts'
import { rangesOf, recordsAt } from './scan.ts'
import { settle } from './settle.ts'
import type { Subject } from './subject.ts'

export interface EraseOptions extends PaceOptions {
  /** Why; it stays in the ledger for ever, so it names nobody. */
  readonly reason: string
  /** By what right, such as `gdpr-17`. */
  readonly right?: string | undefined
  /** The case or request that it answers. */
  readonly case?: string | undefined
}

/** Records of one `EntryErased`, and ranges of one append. */
const RANGES_OF_ONE = 20_000
const RANGES_MAX = 1_000_000

/** What an erasure did, before it is certified. */
export interface Erased {
  /** Positions that were erased now, or before and not wholly. */
  readonly ranges: readonly Range[]
  readonly records: number
  /** Of the `EntryErased` records, oldest first. */
  readonly receipts: readonly Receipt[]
  /** Records that fit and were erased before. */
  readonly already: number
  /** Those of the `EntryErased` that named them. */
  readonly before: readonly number[]
  readonly reclaimed: Reclaimed
  /** What could not be done, and why; the next `erase` or `apply` goes on with it. */
  readonly left: readonly string[]
}

interface Chosen {
  readonly fresh: Range[]
  readonly already: readonly number[]
}

async function chosen(context: RetentionContext, filter: RecordFilter, subject: Subject | null): Promise<Chosen> {
  const { store, tiers } = context
  const { catalogue } = tiers
  const fresh: number[] = []
  const already = new Set<number>()
  const holds = new Set<LegalHold>()
  let held = 0
  if (catalogue.size === 0) return { fresh: [], already: [] }
  for await (const record of recordsAt(store, [{ first: 0, last: catalogue.size - 1 }], { filter })) {
    const by = catalogue.erasedBy(record.seq)
    if (by !== null) {
      already.add(record.seq)
      continue
    }
    if (subject !== null && !(await subject.has(context, record))) continue
    const names = record.isWithheld ? await archivedNames(context, record.seq, record.line) : record.names
    const over = catalogue.holdsOver(record.header, names)
    for (const hold of over) holds.add(hold)
    if (over.length > 0) held++
    fresh.push(record.seq)
  }
  if (held > 0) throw heldError([...holds], held)
  const ranges = rangesOf(fresh)
  if (ranges.length > RANGES_MAX)
    throw new LedgerError('too_large', `${fresh.length} records in ${ranges.length} places are too many to erase at once: name fewer`)
  return { fresh: ranges, already: [...already] }
}

function entriesFor(ranges: readonly Range[], options: EraseOptions): JsonObject[] {
  const said: JsonObject = {
    reason: recordedText('reason', options.reason),
    ...(options.right === undefined ? {} : { right: recordedText('right', options.right) }),
    ...(options.case === undefined ? {} : { case: recordedText('case', options.case) }),
  }
  const entries: JsonObject[] = []
  for (let at = 0; at < ranges.length; at += RANGES_OF_ONE) {
    const part = ranges.slice(at, at + RANGES_OF_ONE)
    entries.push({ ...said, records: countOf(part), ranges: rangesEntry(part) })
  }
  return entries
}

/**
 * Erases all records that fit (of a subject: those under its keys, which are destroyed), or none where one of them is held.
 * @throws LedgerError `held` | `not_found` where none fits | `too_large`, and of the store and the archives
 */
export async function eraseEntries(
  context: RetentionContext,
  criteria: Criteria,
  options: EraseOptions,
  subject: Subject | null = null,
): Promise<Erased> {
  // All of a subject is enough to say; all of a ledger is not.
  const isNarrowed = Object.values(criteria).some((value) => value !== undefined)
  const filter = subject !== null && !isNarrowed ? {} : asFilter(canonicalCriteria(criteria) as Criteria)
  const pace = new Pace(options)
  // What it says is wrong is told before anything is done.
  entriesFor([{ first: 0, last: 0 }], options)
  const first = await settle(context, pace)
  const { store, tiers, upkeep } = context
  const { catalogue } = tiers
  const receipts: Receipt[] = []
  const erased: Range[] = []
  let already: readonly number[] | null = null
  for (;;) {
    pace.check()
    const found = await chosen(context, filter, subject)
    const { fresh } = found
    if (fresh.length === 0) {
      already ??= found.already
      break
    }
    const { segment } = store
    if (segment !== null && fresh.at(-1)!.last >= segment.first_seq) {
      await context.rotate()
      await catalogue.refresh(store)
    }
    const drafts = entriesFor(fresh, options).map((entry) => ownDraft(context, 'EntryErased', 'erase_entries', entry))
    const recorded = await recordUnlessStale(context, drafts)
    if (recorded === null) continue
    // Crash point: it is decided, and carried out from here on by whoever comes.
    receipts.push(...recorded)
    erased.push(...fresh)
    already ??= found.already
    await pace.done('erase', countOf(fresh), 0)
    if (subject === null) break
    // Nobody writes under the key from now on; what somebody did since it was looked is found by looking again.
    await subject.shred()
  }
  if (subject === null && erased.length + already.length === 0)
    throw new LedgerError('not_found', 'no record fits that could be erased: look for it with query. Nothing was erased')
  // Also a key of which no entry is left: an earlier run may have come this far.
  await subject?.shred()
  const after = await settle(context, pace)
  const reclaimed = await upkeep.reclaim()
  const before = rangesOf(already)
  const earlier = catalogue.erasures.filter(({ ranges }) => partition(ranges, before).inside.length > 0).map(({ seq }) => seq)
  return {
    ranges: erased.length > 0 ? union(erased) : before,
    records: countOf(erased),
    receipts,
    already: already.length,
    before: earlier,
    reclaimed,
    left: [...new Set([...(receipts.length === 0 ? first.left : []), ...after.left, ...reclaimed.left])],
  }
}
