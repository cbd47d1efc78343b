/**
 * Keeps a read model up with a ledger. Each batch of events is one transaction of the model's database, in which the
 * position moves on too; whatever happens, the position in the database is what counts, and going on from there is the
 * normal path.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { asToldError, LedgerError } from './errors.ts'
import type { Ledger } from './ledger.ts'
import type { Criteria } from './query.ts'
import type { ModelConnection, ModelSql, ModelStore, ReadModel } from './read-model.ts'
import { activeOf, establish, listParked, moveOn, park, statusOf, swapIn, transactionOf, unpark } from './read-model-tables.ts'
import type { ModelState, ParkedEvent } from './read-model-tables.ts'
import { completeOptions } from './read-model-options.ts'
import type { CompleteRunOptions, ModelProgress, RunModelOptions } from './read-model-options.ts'
import type { LedgerRecord } from './record.ts'
import { bothFilters, fitsNothing } from './projection.ts'
import type { RecordFilter } from './store.ts'

const POLL_MS_MIN = 2
/** Bytes of lines of one batch. */
const BATCH_BYTES_MAX = 4 * 1024 * 1024

/** The event whose handler failed, among those of a batch. */
class HandlerFailure extends Error {
  readonly index: number
  constructor(index: number, cause: unknown) {
    super(String(cause), { cause })
    this.index = index
  }
}

interface Waiter {
  readonly position: number
  readonly settle: (error?: Error) => void
}

function asCriteria(filter: RecordFilter): Criteria {
  const { tags, seq: _, ...lists } = filter
  return tags === undefined ? lists : { ...lists, tag: tags }
}

export class ModelRunner {
  readonly #ledger: Ledger
  readonly #model: ReadModel
  readonly #store: ModelStore
  readonly #options: CompleteRunOptions
  readonly #filter: RecordFilter
  readonly #stopping = new AbortController()
  readonly #waiters = new Set<Waiter>()
  #connection: ModelConnection
  #state: ModelState = 'building'
  #position = -1
  #hash = ''
  #head = -1
  #handled = 0
  #parked = 0
  #failing: string | null = null
  #failure: LedgerError | null = null
  /** What is done on the connection, one after the other. */
  #turn: Promise<unknown> = Promise.resolve()
  #running: Promise<void> = Promise.resolve()

  private constructor(ledger: Ledger, model: ReadModel, store: ModelStore, connection: ModelConnection, options: RunModelOptions) {
    this.#ledger = ledger
    this.#model = model
    this.#store = store
    this.#connection = connection
    this.#options = completeOptions(options)
    this.#filter = bothFilters(model.filter, { type: model.types })
  }

  /**
   * @throws LedgerError `locked` where another runner has it; `forked` where it followed another ledger, or one that has
   *   lost records since; and of the storage
   */
  static async start(ledger: Ledger, model: ReadModel, store: ModelStore, options: RunModelOptions): Promise<ModelRunner> {
    const connection = await store.connect()
    try {
      const runner = new ModelRunner(ledger, model, store, connection, options)
      await runner.#begin()
      runner.#running = runner.#run()
      return runner
    } catch (error) {
      await connection.close()
      throw error
    }
  }

  /** Locks, makes what is not there, and reads how far it is. */
  async #begin(): Promise<void> {
    const { name, version } = this.#model
    await this.#connection.lock(
      `${name}-v${version}`,
      `another runner keeps the read model ${name} of version ${version} in ${this.#store.location}: run it once`,
    )
    const origin = this.#ledger.origin ?? ''
    await this.#connection.transaction((db) => establish(db, this.#model, origin))
    await this.#reread()
    await this.#requireSameLedger()
  }

  async #reread(): Promise<void> {
    const status = await statusOf(this.#connection, this.#model)
    const { name, version } = this.#model
    if (status === null)
      throw new LedgerError('locked', `the read model ${name} of version ${version} was dropped while it ran`, { model: name, version })
    this.#state = status.state
    this.#position = status.position
    this.#hash = status.hash
    this.#parked = status.parked
    if (status.origin !== (this.#ledger.origin ?? ''))
      throw new LedgerError('forked', `the read model ${name} of version ${version} follows ${status.origin}, not ${this.#ledger.origin}`)
  }

  /** A ledger that was cut, or restored from an older copy, has other events under the same positions. */
  async #requireSameLedger(): Promise<void> {
    if (this.#position < 0) return
    const hash = (await this.#ledger.at(this.#position))?.hash
    if (hash === this.#hash) return
    const { name, version } = this.#model
    throw new LedgerError(
      'forked',
      `the record at position ${this.#position} is not the one that the read model ${name} of version ${version} has counted: the ledger was cut, or is another one. Find out why, then build the model anew under another version`,
      { seq: this.#position, expected: this.#hash, found: hash ?? null },
    )
  }

  progress(): ModelProgress {
    return {
      state: this.#state,
      position: this.#position,
      head: this.#head,
      lag: Math.max(0, this.#head - this.#position),
      handled: this.#handled,
      parked: this.#parked,
      failing: this.#failure?.message ?? this.#failing,
    }
  }

  /**
   * Resolves when all events up to the position are counted or parked: what a reader waits for who has just appended.
   * @throws LedgerError why the runner stopped; the signal's reason
   */
  async waitFor(position: number, { signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    signal?.throwIfAborted()
    if (this.#position >= position) return
    if (this.#failure !== null) throw this.#failure
    if (this.#stopping.signal.aborted) throw stopped(this.#model)
    await new Promise<void>((resolve, reject) => {
      const aborted = (): void => settle(signal?.reason as Error)
      const settle = (error?: Error): void => {
        this.#waiters.delete(waiter)
        signal?.removeEventListener('abort', aborted)
        if (error === undefined) resolve()
        else reject(error)
      }
      const waiter = { position, settle }
      this.#waiters.add(waiter)
      signal?.addEventListener('abort', aborted, { once: true })
    })
  }

  /** Events that were put aside. */
  parked(): Promise<ParkedEvent[]> {
    return this.#alone(() => listParked(this.#connection, this.#model))
  }

  /**
   * Runs the handler of a parked event again, as it is now, and takes the event out of the parking place with it.
   * @returns false where it was not there @throws what the handler throws; then it stays parked
   */
  async replayParked(seq: number): Promise<boolean> {
    const record = await this.#ledger.at(seq)
    return this.#alone(() =>
      this.#connection.transaction(async (db) => {
        if (!(await unpark(db, this.#model, seq))) return false
        if (record !== undefined) await this.#model.handle(transactionOf(db, this.#model), record)
        return true
      }),
    ).then((was) => this.#unparked(was))
  }

  /** Lets go of a parked event for good: the model is without it. @returns false where it was not there */
  dropParked(seq: number): Promise<boolean> {
    return this.#alone(() => this.#connection.transaction((db) => unpark(db, this.#model, seq))).then((was) => this.#unparked(was))
  }

  #unparked(was: boolean): boolean {
    if (was) this.#parked--
    return was
  }

  /** Ends when the transaction that is under way has; resolves however the runner ended. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#running
    await this.#turn
    await this.#connection.close().catch(() => {})
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work)
    this.#turn = mine.catch(() => {})
    return mine
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping
    let idle_ms = POLL_MS_MIN
    let failures = 0
    while (!signal.aborted) {
      try {
        const moved = await this.#alone(() => this.#step())
        this.#failing = null
        failures = 0
        if (moved) idle_ms = POLL_MS_MIN
        else {
          await this.#pause(idle_ms)
          idle_ms = Math.min(idle_ms * 2, this.#options.pollMs)
        }
      } catch (error) {
        const told = asToldError(error)
        if (isFinal(told)) {
          this.#failure = told
          break
        }
        this.#failing = told.message
        await this.#pause(this.#backOff(failures++))
      }
    }
    for (const { settle } of this.#waiters) settle(this.#failure ?? stopped(this.#model))
  }

  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#stopping.signal }).catch(() => {})
  }

  #backOff(failures: number): number {
    const { retryMs, retryMsMax } = this.#options
    return Math.min(retryMs * 2 ** Math.min(failures, 20), retryMsMax)
  }

  /** One transaction's worth. @returns whether there was anything to do */
  async #step(): Promise<boolean> {
    if (this.#connection.isLost) await this.#reconnect()
    const head = await this.#ledger.head()
    this.#head = head.size - 1
    if (this.#position >= this.#head) {
      if (this.#isToBeShown) this.#state = await this.#connection.transaction((db) => this.#show(db))
      return false
    }
    await this.#requireSameLedger()
    const { records, isAll } = await this.#next(head.size)
    const last = records.at(-1)
    const end = isAll || last === undefined ? { seq: this.#head, hash: head.hash } : last
    try {
      await this.#commit(records, end)
    } catch (error) {
      if (!(error instanceof HandlerFailure) || this.#connection.isLost) throw error
      // Those before it count; then it is tried alone.
      const { index } = error
      if (index > 0) await this.#commit(records.slice(0, index), records[index - 1] as LedgerRecord)
      await this.#insist(records[index] as LedgerRecord)
    }
    return true
  }

  async #next(size: number): Promise<{ records: LedgerRecord[]; isAll: boolean }> {
    const records: LedgerRecord[] = []
    if (fitsNothing(this.#filter)) return { records, isAll: true }
    let bytes = 0
    for await (const record of this.#ledger.read({ from: this.#position + 1, before: size, where: asCriteria(this.#filter) })) {
      records.push(record)
      bytes += record.bytes.length
      if (records.length >= this.#options.batch || bytes >= BATCH_BYTES_MAX) return { records, isAll: false }
    }
    return { records, isAll: true }
  }

  async #commit(records: readonly LedgerRecord[], end: { readonly seq: number; readonly hash: string }): Promise<void> {
    const state = await this.#connection.transaction(async (db) => {
      const tx = transactionOf(db, this.#model)
      for (const [index, record] of records.entries()) {
        try {
          await this.#model.handle(tx, record)
        } catch (error) {
          throw isOfTheDatabase(error) ? error : new HandlerFailure(index, error)
        }
      }
      await moveOn(db, this.#model, this.#position, end.seq, end.hash)
      return end.seq === this.#head && this.#isToBeShown ? this.#show(db) : this.#state
    })
    this.#state = state
    this.#movedTo(end, records.length)
  }

  #movedTo({ seq, hash }: { readonly seq: number; readonly hash: string }, handled: number): void {
    this.#position = seq
    this.#hash = hash
    this.#handled += handled
    for (const { position, settle } of this.#waiters) if (position <= seq) settle()
  }

  /** Tries one event until it counts, is parked, or stops the runner. */
  async #insist(record: LedgerRecord): Promise<void> {
    const { attempts, onFailure } = this.#options
    for (let attempt = 1; !this.#stopping.signal.aborted; attempt++) {
      try {
        await this.#commit([record], record)
        return
      } catch (error) {
        if (!(error instanceof HandlerFailure) || this.#connection.isLost) throw error
        const why = error.message
        this.#failing = `the handler of ${record.header.type} failed for the record at position ${record.seq}: ${why}`
        if (attempt < attempts) await this.#pause(this.#backOff(attempt - 1))
        else if (onFailure === 'stop') throw new LedgerError('projection_failed', this.#failing, { seq: record.seq, cause: error.cause })
        else return this.#park(record, why, attempt)
      }
    }
  }

  async #park(record: LedgerRecord, error: string, attempts: number): Promise<void> {
    const { seq, run_id } = record
    const parked_at = new Date().toISOString()
    await this.#connection.transaction(async (db) => {
      await park(db, this.#model, { seq, run_id, error, attempts, parked_at })
      await moveOn(db, this.#model, this.#position, seq, record.hash)
    })
    this.#parked++
    this.#movedTo(record, 0)
  }

  get #isToBeShown(): boolean {
    return this.#state === 'building' && this.#options.swap === 'when-caught-up'
  }

  /** Shows this version unless a newer one is shown; then it is not asked again. */
  async #show(db: ModelSql): Promise<ModelState> {
    const active = await activeOf(db, this.#model.name)
    if (active !== null && active.version > this.#model.version) return 'retired'
    await swapIn(db, this.#model)
    return 'active'
  }

  async #reconnect(): Promise<void> {
    await this.#connection.close().catch(() => {})
    this.#connection = await this.#store.connect()
    try {
      // The lock of the connection that was lost is free when the server has noticed; or another runner has it by now.
      await this.#begin()
    } catch (error) {
      // Without its lock nothing may be written over it.
      await this.#connection.close().catch(() => {})
      throw error
    }
  }
}

function stopped({ name, version }: ReadModel): LedgerError {
  return new LedgerError('closed', `the runner of the read model ${name} of version ${version} was stopped: start it again`)
}

/** What trying again does not mend. */
function isFinal({ code, details }: LedgerError): boolean {
  // Locked by nobody in particular is a database that is busy.
  return ['forked', 'closed', 'projection_failed', 'damaged'].includes(code) || (code === 'locked' && details['model'] !== undefined)
}

/** No event's fault, whichever was at hand: none is parked for it. */
function isOfTheDatabase(error: unknown): boolean {
  return (
    error instanceof LedgerError && (['disk_full', 'locked', 'read_only'].includes(error.code) || error.details['connection_lost'] === true)
  )
}
