/** Read models in an SQLite file of their own. */
import { LedgerError } from '../../ledger/errors.ts'
import type { ModelConnection, ModelRow, ModelSql, ModelStore, ModelValue } from '../../ledger/read-model.ts'
import { openDatabase } from '../sql/driver.ts'
import type { Database, DriverName, SqlValue } from '../sql/driver.ts'
import { patiently } from '../sql/patience.ts'
import { lockFile } from '../sql/lock.ts'

/** `application_id` of the file, "CLRM". */
const APPLICATION_ID = 0x434c524d
/** How long SQLite itself may block the thread; between such tries the event loop runs. */
const BLOCKING_MS = 10
const PATIENCE_MS = 30_000
/** A parameter, or what can hold a `$` that is none: texts, names, comments. */
const PARAMETER = /'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|\/\*[\s\S]*?\*\/|\$([1-9][0-9]*)/g

const RETURNS_ROWS = /^\s*(SELECT|WITH|VALUES|EXPLAIN|PRAGMA)\b|\bRETURNING\b/i

/** `$1` as SQLite's `?`, each with its value: `?1` would be a name to one of the drivers. */
function positional(text: string, params: readonly ModelValue[]): { text: string; values: SqlValue[] } {
  const values: SqlValue[] = []
  const spelled = text.replace(PARAMETER, (found, number: string | undefined) => {
    if (number === undefined) return found
    const value = params[Number(number) - 1]
    if (value === undefined) throw new RangeError(`$${number} has no value: ${params.length} were given`)
    // A whole number as one: as a float it would be kept in a text column with a point.
    values.push(typeof value === 'boolean' ? BigInt(value) : Number.isSafeInteger(value) ? BigInt(value as number) : (value as SqlValue))
    return '?'
  })
  return { text: spelled, values }
}

class SqliteModels implements ModelConnection {
  readonly isLost = false
  readonly #database: Database
  readonly #unlock: (() => void)[] = []

  constructor(database: Database) {
    this.#database = database
  }

  #run(text: string, params: readonly ModelValue[]): readonly ModelRow[] {
    const { text: spelled, values } = positional(text, params)
    const statement = this.#database.cached(spelled)
    // One of the drivers refuses to ask for rows where there are none to come.
    if (RETURNS_ROWS.test(spelled)) return statement.all(...values)
    statement.run(...values)
    return []
  }

  sql(text: string, params: readonly ModelValue[] = []): Promise<readonly ModelRow[]> {
    return patiently(PATIENCE_MS, () => this.#run(text, params))
  }

  async transaction<T>(work: (sql: ModelSql) => Promise<T>): Promise<T> {
    // At once for writing: one that began by reading could not go on where another one wrote meanwhile.
    await patiently(PATIENCE_MS, () => this.#database.exec('BEGIN IMMEDIATE'))
    try {
      const result = await work({ sql: async (text, params = []) => this.#run(text, params) })
      this.#database.exec('COMMIT')
      return result
    } catch (error) {
      if (this.#database.inTransaction) this.#database.exec('ROLLBACK')
      throw error
    }
  }

  async lock(name: string, message: string): Promise<void> {
    this.#unlock.push(await lockFile(`${this.#database.path}-${name}.lock`, message))
  }

  async close(): Promise<void> {
    this.#database.close()
    for (const unlock of this.#unlock.splice(0)) unlock()
  }
}

/** @throws LedgerError `not_a_ledger` */
function requireOurs(database: Database): void {
  const id = Number(database.pragma('PRAGMA application_id'))
  if (id === APPLICATION_ID) return
  if (id === 0 && Number(database.pragma('SELECT count(*) FROM sqlite_schema')) === 0) {
    database.exec(`PRAGMA application_id = ${APPLICATION_ID}`)
    return
  }
  throw new LedgerError('not_a_ledger', `${database.path} holds something else: read models in SQLite need a file of their own`, {
    application_id: id,
  })
}

/** The file is made where there is none. */
export function modelsInSqlite(path: string, driver: DriverName | undefined): ModelStore {
  return {
    location: path,
    async connect() {
      const database = await openDatabase(path, { busyTimeoutMs: BLOCKING_MS, ...(driver === undefined ? {} : { driver }) })
      try {
        await patiently(PATIENCE_MS, () => {
          requireOurs(database)
          database.exec('PRAGMA journal_mode = WAL')
          // What a power loss takes back, it takes back with the position.
          database.exec('PRAGMA synchronous = NORMAL')
        })
      } catch (error) {
        database.close()
        throw error
      }
      return new SqliteModels(database)
    },
  }
}
