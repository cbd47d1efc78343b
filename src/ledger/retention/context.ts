/** What retention works with, and the few things that all of it needs. */
import { setTimeout as pause } from 'node:timers/promises'
import { LEDGER_STREAM } from '../../verify/header.ts'
import type { RecordHeader, ReservedType } from '../../verify/header.ts'
import { partition, union } from '../../verify/ranges.ts'
import type { Range } from '../../verify/ranges.ts'
import { parseTime } from '../../verify/time.ts'
import { asCondition } from '../conditions.ts'
import type { AppendCondition } from '../conditions.ts'
import { draftOwnRecord, OWN_ACTOR } from '../draft.ts'
import type { Draft, DraftContext } from '../draft.ts'
import type { JsonObject } from '../entry.ts'
import { LedgerError } from '../errors.ts'
import type { Receipt } from '../plan.ts'
import type { Store } from '../store.ts'
import type { EntryUpkeep } from '../upkeep.ts'
import { SINCE_LOOKED } from './catalogue.ts'
import type { Tiers } from './tiers.ts'

export interface RetentionContext {
  /** As it keeps the lines. */
  readonly store: Store
  readonly upkeep: EntryUpkeep
  readonly tiers: Tiers
  readonly drafting: DraftContext
  readonly submit: (drafts: readonly Draft[], condition?: AppendCondition) => Promise<Receipt[]>
  /** Seals the live segment. */
  readonly rotate: () => Promise<unknown>
  /** The words of entries that are gone go, too. */
  readonly forgetWords: () => Promise<void>
}

/** How fast, how far, and who hears of it. */
export interface PaceOptions {
  /** Ends the work after the step that is under way; the next run goes on there. */
  readonly signal?: AbortSignal | undefined
  /** No more than so many records a second, on the average. */
  readonly recordsPerSecond?: number | undefined
  readonly onProgress?: ((progress: RetentionProgress) => void) | undefined
}

export interface RetentionProgress {
  readonly step: 'erase' | 'cold' | 'warm' | 'restore' | 'settle' | 'reclaim'
  /** So far, in this step. */
  readonly records: number
  readonly bytes: number
}

/** Keeps to a pace, and tells of it. */
export class Pace {
  readonly #options: PaceOptions
  readonly #began = performance.now()
  #records = 0
  readonly #told = new Map<RetentionProgress['step'], { records: number; bytes: number }>()

  constructor(options: PaceOptions) {
    this.#options = options
    const { recordsPerSecond: rate } = options
    if (rate !== undefined && !(rate > 0)) throw new RangeError(`recordsPerSecond must be above 0, not ${rate}`)
  }

  /** @throws the signal's reason */
  check(): void {
    this.#options.signal?.throwIfAborted()
  }

  /** So much is done; resolves when it is time to go on. @throws the signal's reason */
  async done(step: RetentionProgress['step'], records: number, bytes: number): Promise<void> {
    const { signal, recordsPerSecond, onProgress } = this.#options
    const sum = this.#told.get(step) ?? { records: 0, bytes: 0 }
    this.#told.set(step, sum)
    sum.records += records
    sum.bytes += bytes
    this.#records += records
    onProgress?.({ step, ...sum })
    signal?.throwIfAborted()
    if (recordsPerSecond === undefined) return
    const ahead_ms = (this.#records / recordsPerSecond) * 1000 - (performance.now() - this.#began)
    if (ahead_ms > 0) await pause(ahead_ms, undefined, signal === undefined ? {} : { signal })
  }
}

export function isOwn({ stream }: RecordHeader): boolean {
  return stream === LEDGER_STREAM
}

export function recordedUs({ recorded_at }: RecordHeader): number {
  return parseTime(recorded_at) ?? 0
}

export function rangesEntry(ranges: readonly Range[]): JsonObject[] {
  return ranges.map(({ first, last }) => ({ first_seq: first, last_seq: last }))
}

export function ownDraft(context: RetentionContext, type: ReservedType, action: string, entry: JsonObject): Draft {
  return draftOwnRecord(type, action, OWN_ACTOR, entry, context.drafting)
}

/**
 * Records what was decided on what the catalogue says; null where something has come since that it may not be right with,
 * such as a hold. The catalogue is up to date afterwards, so that the decision can be made anew.
 */
export async function recordUnlessStale(context: RetentionContext, drafts: readonly Draft[]): Promise<Receipt[] | null> {
  const { catalogue } = context.tiers
  let receipts: Receipt[] | null = null
  try {
    receipts = await context.submit(drafts, asCondition(SINCE_LOOKED, catalogue.size - 1))
  } catch (error) {
    if (!(error instanceof LedgerError) || error.code !== 'condition_failed') throw error
  }
  await catalogue.refresh(context.store)
  return receipts
}

/** Positions of `ranges` up to and without `before`, without those of `other`. */
export function without(ranges: readonly Range[], other: readonly Range[]): Range[] {
  return partition(ranges, other).outside
}

/** Neighbouring ranges with less between them than it takes to ask again are read as one. */
const NEAR = 512

export function near(ranges: readonly Range[]): Range[] {
  const joined: { first: number; last: number }[] = []
  for (const { first, last } of union(ranges)) {
    const before = joined.at(-1)
    if (before !== undefined && first - before.last <= NEAR) before.last = last
    else joined.push({ first, last })
  }
  return joined
}
