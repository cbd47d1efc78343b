/** Appending over connections that may be lost at any moment: what is acknowledged stays, and nothing is written twice. */
import { LedgerError } from '../../ledger/errors.ts'
import type { Head, SealedFor, SealedRecord, StateRequest, StoreState, Turn, UnsealedRecord } from '../../ledger/store.ts'
import type { LedgerWarning } from '../../ledger/warning.ts'
import { formatTime } from '../../verify/time.ts'
import { isConnectionLoss, sqlStateOf } from './errors.ts'
import { Partitions } from './partitions.ts'
import type { Session } from './session.ts'
import type { Sessions } from './sessions.ts'
import { sealRecords } from './sealing.ts'
import { appendRecords, hashAt, readState } from './writing.ts'
import type { LedgerPlace } from './writing.ts'

export interface AppendingOptions {
  readonly sessions: Sessions
  readonly place: LedgerPlace
  /** The database's clock, or null where the process's own counts. */
  readonly now: () => number | null
  readonly warn: ((warning: LedgerWarning) => void) | undefined
  /** Where another connection of this process got to. */
  readonly acknowledged?: Head | null | undefined
  /** Hears of each append that is durable. */
  readonly appended?: () => void
}

const NOTHING: StateRequest = { streams: [], run_ids: [] }

/**
 * A server's last words are an error like any other, but only one that still answers has taken back what it was told to
 * do. Which they are can't be told from the word FATAL: it is translated.
 */
async function isOver(session: Session, error: LedgerError): Promise<boolean> {
  if (isConnectionLoss(error)) return true
  if (sqlStateOf(error) === null) return false
  return session.query({ text: 'SELECT 1' }).then(
    () => false,
    () => true,
  )
}

/** A time in each month that the records are of: one, but where a copy brings those of years. */
function monthsOf(records: readonly SealedRecord[]): string[] {
  const times = records.map(({ header }) => header.recorded_at)
  const [first = '', last = ''] = [times[0], times.at(-1)]
  return first.slice(0, 7) === last.slice(0, 7) ? [last] : [...new Map(times.map((time) => [time.slice(0, 7), time])).values()]
}

function endOf({ hash, header }: SealedRecord, size: number): { size: number; hash: string; recorded_at: string } {
  return { size, hash, recorded_at: header.recorded_at }
}

export class Appending {
  readonly #options: AppendingOptions
  readonly #partitions: Partitions
  /** The end of the last append that was acknowledged: no server that has less is gone on with. */
  #acknowledged: Head | null
  /** Connections to a server that has at least that. */
  readonly #trusted = new WeakSet<Session>()
  #isUncertain = false
  /** Resolves when the connection that appends is free. */
  #last: Promise<void> = Promise.resolve()

  constructor(options: AppendingOptions) {
    this.#options = options
    this.#acknowledged = options.acknowledged ?? null
    this.#partitions = new Partitions(options.sessions, options.place, options.warn)
  }

  get acknowledged(): Head | null {
    return this.#acknowledged
  }

  /** The answer to a commit was lost, so it is not known whether it took effect. */
  get isUncertain(): boolean {
    return this.#isUncertain
  }

  /** Many writers of one database go by its clock; where a program brings its own, that counts. */
  withClock(state: StoreState): StoreState {
    return { ...state, now: this.#options.now() }
  }

  async #session(): Promise<Session> {
    const session = await this.#options.sessions.writer()
    if (this.#trusted.has(session)) return session
    try {
      await this.#refuseOlder(session)
    } catch (error) {
      session.destroy()
      throw error
    }
    this.#trusted.add(session)
    return session
  }

  /** After a failover: a standby that was promoted and has not all that was acknowledged here must not be written to. */
  async #refuseOlder(session: Session): Promise<void> {
    const { place } = this.#options
    const acknowledged = this.#acknowledged
    if (acknowledged === null) return
    const { head } = await readState(session, place, NOTHING)
    if (head.size < acknowledged.size) {
      throw new LedgerError(
        'behind_checkpoint',
        `${place.display} has ${head.size} records, fewer than the ${acknowledged.size} that were acknowledged to this process: the server that answers now is an older copy (a standby that was behind?). Nothing is recorded there; bring the right one back`,
        { size: head.size, acknowledged: acknowledged.size },
      )
    }
    const hash = head.size === acknowledged.size ? head.hash : await hashAt(session, place, acknowledged.size - 1)
    if (hash !== acknowledged.hash) {
      throw new LedgerError(
        'forked',
        `${place.display} has another record at position ${acknowledged.size - 1} than the one that was acknowledged to this process: the server that answers now went on without it. Nothing is recorded there; run verify --since with a checkpoint`,
        { seq: acknowledged.size - 1, expected: acknowledged.hash, found: hash },
      )
    }
  }

  /**
   * The state after a commit whose answer was lost, or of records that somebody is to be told of. An empty change of the
   * head, under its lock, waits for whoever still commits, and commits itself: then what is seen is as durable as any
   * append, on the standbys too.
   */
  confirmed(request: StateRequest): Promise<StoreState> {
    return this.#alone(() => this.#confirmed(request))
  }

  #confirmed(request: StateRequest): Promise<StoreState> {
    return this.#overLosses(async () => {
      const session = await this.#session()
      const warnings = session.warnings
      const state = await session.transaction(async () => {
        await session.query({ text: 'SELECT confirm_state($1)' }, [this.#options.place.id])
        return readState(session, this.#options.place, request)
      })
      if (session.warnings !== warnings) throw this.#notWaitedFor()
      this.#isUncertain = false
      // Somebody may be told of any of these records.
      if (state.head.size > (this.#acknowledged?.size ?? 0)) this.#acknowledged = state.head
      return this.withClock(state)
    })
  }

  async append(records: readonly SealedRecord[], expected: Head): Promise<void> {
    const last = records.at(-1)
    if (last === undefined) return
    const leave = await this.#enter()
    try {
      for (const month of monthsOf(records)) await this.#partitions.ready(month)
      const session = await this.#overLosses(() => this.#session())
      // Once all of it is sent the next one may follow: the server takes them in order.
      await this.#heard(session, () => appendRecords(session, this.#options.place, records, expected, { sent: leave }))
    } finally {
      leave()
    }
    this.#acknowledge(endOf(last, expected.size + records.length))
  }

  /** Two ledgers of this process may write by one store: a transaction of one must not take in what the other appends. */
  async #alone<T>(work: () => Promise<T>): Promise<T> {
    const leave = await this.#enter()
    try {
      return await work()
    } finally {
      leave()
    }
  }

  async #enter(): Promise<() => void> {
    const before = this.#last
    let leave = (): void => {}
    this.#last = new Promise((resolve) => (leave = resolve))
    await before
    return leave
  }

  /** The head's lock, and what stands there: nobody else appends until the turn is over. */
  async takeTurn(request: StateRequest): Promise<Turn> {
    // Not in the turn: a transaction that has looked at the table is in the way of making a partition.
    await this.#partitions.ready(formatTime(this.#options.now() ?? Date.now() * 1000))
    const leave = await this.#enter()
    try {
      // Whoever has the turn may ask for the state; it must not have to wait for the connection then, which is its own.
      if (this.#isUncertain) await this.#confirmed(NOTHING)
      return await this.#turn(request, leave)
    } catch (error) {
      leave()
      throw error
    }
  }

  /** Waits for its turn inside the server: what is sealed there is worked at as soon as the head's lock is free. */
  async sealAndAppend(records: readonly UnsealedRecord[]): Promise<SealedFor | null> {
    const now = this.#options.now()
    // Where a program brings its own clock, that counts.
    if (now === null) return null
    const leave = await this.#enter()
    try {
      await this.#partitions.ready(formatTime(now))
      if (this.#isUncertain) await this.#confirmed(NOTHING)
      const session = await this.#overLosses(() => this.#session())
      const sealed = await this.#heard(session, () => sealRecords(session, this.#options.place, records))
      if (sealed !== null) this.#acknowledge({ ...sealed, size: sealed.head.size + records.length })
      return sealed
    } finally {
      leave()
    }
  }

  #turn(request: StateRequest, leave: () => void): Promise<Turn> {
    return this.#overLosses(async () => {
      const { place } = this.#options
      const session = await this.#session()
      const begun = session.query({ text: 'BEGIN' })
      begun.catch(() => {})
      let state: StoreState
      try {
        state = await readState(session, place, request, true)
      } catch (error) {
        await session.query({ text: 'ROLLBACK' }).catch(() => session.destroy())
        throw error
      }
      return {
        state: this.withClock(state),
        append: async (records) => {
          const last = records.at(-1) as SealedRecord
          await this.#heard(session, () => appendRecords(session, place, records, state.head, { begun: true })).finally(leave)
          this.#acknowledge(endOf(last, state.head.size + records.length))
        },
        release: async () => {
          await session.query({ text: 'ROLLBACK' }).catch(() => session.destroy())
          leave()
        },
      }
    })
  }

  /** `work` commits: where its answer is lost, nobody knows. */
  async #heard<T>(session: Session, work: () => Promise<T>): Promise<T> {
    const warnings = session.warnings
    let result: T
    try {
      result = await work()
    } catch (error) {
      if (!(error instanceof LedgerError) || !(await isOver(session, error))) throw error
      this.#isUncertain = true
      session.destroy()
      const { code, message, details } = error
      throw new LedgerError(code, message, { ...details, outcome_unknown: true })
    }
    if (session.warnings === warnings) return result
    this.#isUncertain = true
    throw this.#notWaitedFor()
  }

  /** The server says so by a warning, and then that all is well: it was told to stop waiting for its standby. */
  #notWaitedFor(): LedgerError {
    return new LedgerError(
      'io_error',
      `${this.#options.place.display} stopped waiting for its standby: it is not known whether what was committed is there, too`,
      { outcome_unknown: true },
    )
  }

  #acknowledge({ size, hash, recorded_at }: { size: number; hash: string; recorded_at: string }): void {
    this.#acknowledged = { size, hash, recorded_at }
    // It stands behind whatever was uncertain.
    this.#isUncertain = false
    this.#partitions.lookAhead(recorded_at)
    this.#options.appended?.()
  }

  /** Begun again over lost connections: it changes nothing. */
  async #overLosses<T>(work: () => Promise<T>): Promise<T> {
    const { sessions } = this.#options
    const deadline = performance.now() + sessions.patience_ms
    for (let lost = 0; ; lost++) {
      await sessions.pause(lost)
      try {
        return await work()
      } catch (error) {
        if (!isConnectionLoss(error) || performance.now() >= deadline) throw error
      }
    }
  }
}
