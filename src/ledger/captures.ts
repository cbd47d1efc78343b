/**
 * Calls that are recorded behind: nobody waits for them, so one that can't be written is counted, told, and named in the
 * ledger by a `RecordingGapDetected` when recording works again.
 */
import { formatTime } from '../verify/time.ts'
import { draftCapture } from './capture.ts'
import type { Clock } from './clock.ts'
import { draftOwnRecord, OWN_ACTOR } from './draft.ts'
import type { Draft, DraftContext, RecordOptions } from './draft.ts'
import type { LedgerEntryInput } from './entry.ts'
import { asToldError } from './errors.ts'
import type { LedgerWarning } from './warning.ts'

interface Gap {
  readonly records_lost: number
  readonly since: string
  readonly until: string
}

export interface CapturesParts {
  readonly clock: Clock
  readonly drafting: DraftContext
  readonly warn: (warning: LedgerWarning) => void
  readonly submit: (draft: Draft) => Promise<unknown>
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
    this.#underway.add(capturing)
    void capturing.then(() => this.#underway.delete(capturing))
    return capturing
  }

  #lost(error: unknown): void {
    const now = formatTime(this.#parts.clock.now())
    this.#gap = { records_lost: (this.#gap?.records_lost ?? 0) + 1, since: this.#gap?.since ?? now, until: now }
    const told = asToldError(error)
    this.#parts.warn({ code: 'recording_failed', message: `a captured call was not recorded: ${told.message}`, error: told })
  }

  async #recordGap(): Promise<void> {
    const gap = this.#gap
    if (gap === null) return
    this.#gap = null
    try {
      const data = { reason: 'recording_failed', records_lost: gap.records_lost, since: gap.since, until: gap.until }
      await this.#parts.submit(draftOwnRecord('RecordingGapDetected', 'note_gap', OWN_ACTOR, data, this.#parts.drafting))
    } catch {
      // Still failing: what was lost since then is counted too, and named with the next record that gets through.
      const since = this.#gap as Gap | null
      this.#gap = since === null ? gap : { records_lost: gap.records_lost + since.records_lost, since: gap.since, until: since.until }
    }
  }

  /** Resolves when all calls so far are recorded, or counted as lost. */
  async settle(): Promise<void> {
    await Promise.all(this.#underway)
  }

  /** The last chance to name what was lost. */
  async close(): Promise<void> {
    await this.settle()
    if (this.#gap !== null) await this.#recordGap()
  }
}
