/** Read models of one database: run, looked into, swapped, and taken away. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { JsonValue } from './entry.ts'
import { LedgerError } from './errors.ts'
import type { Ledger } from './ledger.ts'
import type { ModelConnection, ModelRow, ModelSql, ModelStore, ModelValue, ReadModel } from './read-model.ts'
import { ModelRunner } from './read-model-runner.ts'
import type { RunModelOptions } from './read-model-options.ts'
import { activeOf, activeValue, dropVersion, listParked, listStatus, makeTables, swapIn } from './read-model-tables.ts'
import type { ModelKey, ModelStatus, ParkedEvent } from './read-model-tables.ts'

export interface WaitOptions {
  /** ms; 10,000 unless said. */
  readonly timeoutMs?: number | undefined
}

const WAIT_MS = 10_000
const LOOK_MS = 10

export class ReadModels {
  readonly #store: ModelStore
  #connection: ModelConnection
  readonly #runners = new Set<ModelRunner>()
  #turn: Promise<unknown> = Promise.resolve()
  #isClosed = false

  private constructor(store: ModelStore, connection: ModelConnection) {
    this.#store = store
    this.#connection = connection
  }

  /** @throws LedgerError of the storage */
  static async over(store: ModelStore): Promise<ReadModels> {
    const connection = await store.connect()
    try {
      await makeTables(connection)
      return new ReadModels(store, connection)
    } catch (error) {
      await connection.close()
      throw error
    }
  }

  /** One after the other, since a connection has one transaction at a time. A lost one is made again. */
  #alone<T>(work: (connection: ModelConnection) => Promise<T>): Promise<T> {
    const mine = this.#turn.then(async () => {
      if (this.#isClosed) throw new LedgerError('closed', `the read models in ${this.#store.location} were closed: open them again`)
      if (this.#connection.isLost) this.#connection = await this.#store.connect()
      return work(this.#connection)
    })
    this.#turn = mine.catch(() => {})
    return mine
  }

  #changing<T>(work: (db: ModelSql) => Promise<T>): Promise<T> {
    return this.#alone((connection) => connection.transaction(work))
  }

  /**
   * Keeps a read model up with the ledger until it is stopped, from where it was. One runner at a time has a version of a
   * model, in whatever process.
   * @throws LedgerError `locked`, `forked` where the model has counted events of another ledger, and of the storage
   */
  async run(ledger: Ledger, model: ReadModel, options: RunModelOptions = {}): Promise<ModelRunner> {
    if (this.#isClosed) throw new LedgerError('closed', `the read models in ${this.#store.location} were closed: open them again`)
    const runner = await ModelRunner.start(ledger, model, this.#store, options)
    this.#runners.add(runner)
    return runner
  }

  /** All models and versions, and how far each is. */
  status(): Promise<ModelStatus[]> {
    return this.#alone(listStatus)
  }

  /** Rows of a query over the tables of active versions, by their plain names. */
  sql(text: string, params: readonly ModelValue[] = []): Promise<readonly ModelRow[]> {
    return this.#alone((connection) => connection.sql(text, params))
  }

  /** A value that the active version of a model has put. */
  get(model: string, key: string): Promise<JsonValue | undefined> {
    return this.#alone((connection) => activeValue(connection, model, key))
  }

  /** Resolves when the active version has counted all up to the position, whoever runs it. @throws LedgerError `not_found` when the time is over */
  async waitFor(model: string, position: number, { timeoutMs = WAIT_MS }: WaitOptions = {}): Promise<void> {
    const deadline = performance.now() + timeoutMs
    for (;;) {
      const active = await this.#alone((connection) => activeOf(connection, model))
      if (active !== null && active.position >= position) return
      if (performance.now() >= deadline) {
        const where = active === null ? 'no version of it is active' : `version ${active.version} is at position ${active.position}`
        throw new LedgerError('not_found', `the read model ${model} has not come to position ${position} in ${timeoutMs} ms: ${where}`, {
          position,
        })
      }
      await sleep(LOOK_MS)
    }
  }

  /** Shows this version to readers in place of the one before, in one transaction. @throws LedgerError `not_found` */
  swap(model: ModelKey): Promise<void> {
    return this.#changing((db) => swapIn(db, model))
  }

  /** Takes a version that is not shown away, with its tables. @throws LedgerError `not_found` | `locked` */
  drop(model: ModelKey): Promise<void> {
    return this.#changing((db) => dropVersion(db, model))
  }

  /** Events that were put aside; `ModelRunner` replays and drops them. */
  parked(model: ModelKey): Promise<ParkedEvent[]> {
    return this.#alone((connection) => listParked(connection, model))
  }

  /** Stops the runners, then lets go of the database. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    await Promise.all([...this.#runners].map((runner) => runner.stop()))
    await this.#turn
    this.#isClosed = true
    await this.#connection.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
