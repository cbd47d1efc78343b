/**
 * Read models: what follows from events, kept as rows in a database. The position is written in the transaction that
 * writes the rows, so every event counts exactly once, wherever the process ends. What fulfils the port is in
 * src/stores/models.
 */
import type { JsonValue } from './entry.ts'
import type { EventDefinition } from './events.ts'
import { selectEvents } from './projection.ts'
import type { DataOf, EventSelection, EventsOptions } from './projection.ts'
import type { LedgerRecord } from './record.ts'

export type ModelValue = string | number | boolean | null
export interface ModelRow {
  readonly [column: string]: unknown
}

/** One statement, with `$1`, `$2`, … for the parameters, whatever the database. */
export interface ModelSql {
  sql(text: string, params?: readonly ModelValue[]): Promise<readonly ModelRow[]>
}

/** A connection of one user: transactions on it come one after the other. */
export interface ModelConnection extends ModelSql {
  /** True where it can't be used any more; what was locked by it is not locked any more. */
  readonly isLost: boolean
  /** All of the work's statements take effect, or none. @throws what the work throws, LedgerError of the storage */
  transaction<T>(work: (sql: ModelSql) => Promise<T>): Promise<T>
  /** Until the connection is closed, or its process ends however it does. @throws LedgerError `locked` */
  lock(name: string, message: string): Promise<void>
  close(): Promise<void>
}

export interface ModelStore {
  /** For messages. */
  readonly location: string
  /** @throws LedgerError */
  connect(): Promise<ModelConnection>
}

/** What a handler writes by: all of it takes effect with the position, or none. */
export interface ModelTransaction<Table extends string = string> extends ModelSql {
  /** The tables of this version by their names, quoted. */
  readonly tables: { readonly [name in Table]: string }
  /** A value that was put under this key; undefined where none was. */
  get(key: string): Promise<JsonValue | undefined>
  put(key: string, value: JsonValue): Promise<void>
  remove(key: string): Promise<void>
}

// oxlint-disable-next-line typescript/no-explicit-any -- what a definition takes and gives does not matter here
type Definitions = readonly EventDefinition<string, any, any>[]

export interface ReadModelOptions<Events extends Definitions, Types extends string, Table extends string> extends EventsOptions<Events> {
  /**
   * Tables by name, each with its columns: `{ tasks: 'id text PRIMARY KEY, title text' }`. Each version has tables of its
   * own (`tasks_v2`); a view of the name shows those of the version that is active.
   */
  readonly tables?: { readonly [name in Table]: string } | undefined
  /** What else is to be there, such as indexes; runs once, when the tables are made. */
  readonly setUp?: ((tx: ModelTransaction<Table>) => Promise<void>) | undefined
  /** By event type: writes through `tx` and nothing else, since it may run again after a failure. */
  readonly on: {
    readonly [Type in Types]: (tx: ModelTransaction<Table>, data: DataOf<Events, Type>, record: LedgerRecord) => Promise<void> | void
  }
}

export interface ReadModel extends EventSelection {
  readonly tables: { readonly [name: string]: string }
  readonly setUp: ((tx: ModelTransaction) => Promise<void>) | null
  handle(tx: ModelTransaction, record: LedgerRecord): Promise<void>
}

const TABLE = /^[a-z][a-z0-9_]{0,39}$/

/**
 * Defines a read model.
 * @throws TypeError | RangeError
 */
export function defineReadModel<Types extends string, Table extends string = never, const Events extends Definitions = readonly []>(
  options: ReadModelOptions<Events, Types, Table>,
): ReadModel {
  const selection = selectEvents(options, options.on)
  const { tables = {}, setUp } = options
  for (const [table, columns] of Object.entries(tables)) {
    if (!TABLE.test(table) || table.startsWith('read_model'))
      throw new RangeError(
        `${selection.name}: ${JSON.stringify(table)} is no name of a table: 1 to 40 characters of a-z, 0-9 and _, the first a letter, not beginning with read_model`,
      )
    if (typeof columns !== 'string' || columns.trim() === '')
      throw new TypeError(`${selection.name}: tables.${table} must be its columns, as SQL`)
  }
  const on = new Map(Object.entries(options.on)) as Map<string, (tx: ModelTransaction, data: unknown, record: LedgerRecord) => unknown>
  return {
    ...selection,
    tables,
    setUp: (setUp as ReadModel['setUp']) ?? null,
    async handle(tx, record) {
      const data = selection.dataOf(record)
      if (data !== undefined) await on.get(record.header.type)?.(tx, data, record)
    },
  }
}
