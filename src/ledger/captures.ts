/**
 * Calls that are recorded behind: nobody waits for them, so one that can't be written is counted, told, and named in the
 * ledger by a `RecordingGapDetected` when recording works again. Likewise what is refused once the disk's reserve was
 * given up, although its callers hear of it: else nothing in the ledger would say that it stood still.
 */
import { setImmediate as turnOfTheLoop } from 'node:timers/promises'
import { formatTime } from '../verify/time.ts'
import { draftCapture } from './capture.ts'
import type { Clock } from './clock.ts'
import { draftOwnRecord, OWN_ACTOR } from './draft.ts'
import type { Draft, DraftContext, RecordOptions } from './draft.ts'
import type { LedgerEntryInput } from './entry.ts'
import { asToldError, LedgerError } from './errors.ts'
import type { LedgerWarning } from './warning.ts'

interface Gap {
  readonly records_lost: number
  /** Their callers heard that they were not recorded, and may have come again since. */
  readonly records_refused: number
  readonly since: string
  readonly until: string
}

function joined(before: Gap | null, after: Gap | null): Gap | null {
  if (before === null || after === null) return before ?? after
  const records_lost = before.records_lost + after.records_lost
  return { records_lost, records_refused: before.records_refused + after.records_refused, since: before.since, until: after.until }
}

export interface CapturesParts {
  readonly clock: Clock
  readonly drafting: DraftContext
  readonly warn: (warning: LedgerWarning) => void
  readonly submit: (draft: Draft) => Promise<unknown>
  /** Resolves when everybody who waits has an answer. */
  readonly drain: () => Promise<void>
}

export class Captures {
  readonly #parts: CapturesParts
  readonly #underway = new Set<Promise<unknown>>()
  #gap: Gap | null = null

  constructor(parts: CapturesParts) {
    this.#parts = parts
  }

  /** Captured calls that could not be recorded and are in no gap record yet. */
  get unrecorded(): number {
    return this.#gap?.records_lost ?? 0
  }

  /** Never rejects. */
  record(entry: LedgerEntryInput, options: RecordOptions, type: 'AgentCallStarted' | 'AgentCallCompleted'): Promise<void> {
    const capturing = (async () => {
      try {
        await this.#parts.submit(draftCapture(entry, options, this.#parts.drafting, type))
        if (this.#gap !== null) await this.#recordGap()
      } catch (error) {
        this.#lost(error)
      }
    })()
    this.#behind(capturing)
    return capturing
  }

  #lost(error: unknown): void {
    this.#count({ records_lost: 1, records_refused: 0 })
    const told = asToldError(error)
    this.#parts.warn({ code: 'recording_failed', message: `a captured call was not recorded: ${told.message}`, error: told })
  }

  #count(more: Pick<Gap, 'records_lost' | 'records_refused'>): void {
    const now = formatTime(this.#parts.clock.now())
    this.#gap = joined(this.#gap, { ...more, since: now, until: now })
  }

  /** An append's end, whose caller hears of it too. */
  heard<T>(records: number, appending: Promise<T>): Promise<T> {
    return appending.then(
      (receipts) => {
        if (this.#gap !== null && this.#gap.records_refused > 0) this.#behind(this.#recordGap())
        return receipts
      },
      (error: unknown) => {
        // Only where nothing more is taken: a full disk without a reserve may take the next append.
        const isStanding = error instanceof LedgerError && error.code === 'disk_full' && error.details['reserve'] !== undefined
        if (isStanding) this.#count({ records_lost: 0, records_refused: records })
        throw error
      },
    )
  }

  #behind(work: Promise<void>): void {
    this.#underway.add(work)
    void work.then(() => this.#underway.delete(work))
  }

  async #recordGap(): Promise<void> {
    const gap = this.#gap
    if (gap === null) return
    this.#gap = null
    try {
      const { records_lost, records_refused, since, until } = gap
      const isRefused = records_refused > 0
      const data = {
        reason: isRefused ? 'disk_full' : 'recording_failed',
        records_lost,
        ...(isRefused ? { records_refused } : {}),
        since,
        until,
      }
      await this.#parts.submit(draftOwnRecord('RecordingGapDetected', 'note_gap', OWN_ACTOR, data, this.#parts.drafting))
    } catch {
      // Still failing: what was lost since then is counted too, and named with the next record that gets through.
      this.#gap = joined(gap, this.#gap)
    }
  }

  /** Resolves when all calls so far are recorded, or counted as lost. */
  async settle(): Promise<void> {
    await Promise.all(this.#underway)
  }

  /** The last chance to name what was lost. */
  async close(): Promise<void> {
    await this.settle()
    await this.#parts.drain()
    // Who was refused last is counted in a turn of their own.
    await turnOfTheLoop()
    await this.settle()
    if (this.#gap !== null) await this.#recordGap()
  }
}
