/** Partitions are made ahead by whoever writes: no job has to run. */
import type { LedgerWarning } from '../../ledger/warning.ts'
import type { Sessions } from './sessions.ts'
import type { LedgerPlace } from './writing.ts'

/** Months that there are partitions for, from the one of the last record on. */
const MONTHS_AHEAD = 4
/** How long making one may wait for those who read: longer, and whoever reads next would wait behind it. */
const LOCK_TIMEOUT_MS = 2000
/** How often it is looked at, ms; sooner where it could not be made. */
const LOOK_EVERY_MS = 3_600_000
const LOOK_AGAIN_MS = 60_000

export class Partitions {
  readonly #sessions: Sessions
  readonly #place: LedgerPlace
  readonly #warn: ((warning: LedgerWarning) => void) | undefined
  /** Months (`2026-11`) that are known to have their partition. */
  readonly #known = new Set<string>()
  /** When to look again, by `performance.now()`. */
  #next_ms = -Infinity
  #looking: Promise<void> | null = null

  constructor(sessions: Sessions, place: LedgerPlace, warn: ((warning: LedgerWarning) => void) | undefined) {
    this.#sessions = sessions
    this.#place = place
    this.#warn = warn
  }

  /** Before an append into a month that is not known yet. Where it can't be made, the default partition takes the records. */
  async ready(recorded_at: string): Promise<void> {
    const month = recorded_at.slice(0, 7)
    while (!this.#known.has(month)) {
      // Another month may be looked at just now, and behind it a third one.
      if (this.#looking !== null) await this.#looking
      else {
        await this.#look(recorded_at)
        // Whatever came of it: not before each append again.
        this.#known.add(month)
      }
    }
  }

  /** Behind an append: now and then, and where it came into a month that nobody was ready for. */
  lookAhead(recorded_at: string): void {
    if (!this.#known.has(recorded_at.slice(0, 7))) void this.ready(recorded_at)
    else if (performance.now() >= this.#next_ms) void this.#look(recorded_at)
  }

  #look(recorded_at: string): Promise<void> {
    this.#looking ??= this.#make(recorded_at).finally(() => (this.#looking = null))
    return this.#looking
  }

  async #make(recorded_at: string): Promise<void> {
    this.#next_ms = performance.now() + LOOK_EVERY_MS
    try {
      await this.#sessions.reading((session) =>
        session.transaction(async () => {
          await session.query({ text: `SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}` })
          await session.query({ text: 'SELECT ensure_partitions($1, $2)' }, [recorded_at, MONTHS_AHEAD])
        }),
      )
    } catch (error) {
      this.#next_ms = performance.now() + LOOK_AGAIN_MS
      // Whoever closes the ledger does not wait for this.
      if (this.#sessions.isClosed) return
      this.#warn?.({
        code: 'partition_not_made',
        message: `the partitions of ${this.#place.display} for ${recorded_at.slice(0, 7)} and after could not be made (${error instanceof Error ? error.message : String(error)}): records of a month without one go into audit_log_default, and are moved when it is made`,
      })
    }
  }
}
