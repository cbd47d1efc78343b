/**
 * SQLite behind one small synchronous interface. `node:sqlite` comes with the runtime; `better-sqlite3` is a peer that
 * a user may install. Every error that leaves here is a LedgerError, so no caller knows how a driver spells its own.
 */
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { LedgerError } from '../../ledger/errors.ts'
import { claim } from './claims.ts'
import { asSqliteError } from './errors.ts'

export type SqlValue = string | number | bigint | null | Uint8Array
export type SqlRow = Readonly<Record<string, SqlValue>>
export type DriverName = 'node:sqlite' | 'better-sqlite3'

/** A prepared statement with positional parameters. Integers come back as numbers: beyond 2^53 − 1, CAST them AS TEXT. */
export interface Statement {
  run(...params: readonly SqlValue[]): void
  get(...params: readonly SqlValue[]): SqlRow | undefined
  all(...params: readonly SqlValue[]): SqlRow[]
  /** While it runs, nothing else may use the connection (a rule of better-sqlite3); leaving the loop resets the statement. */
  iterate(...params: readonly SqlValue[]): IterableIterator<SqlRow>
}

export interface Database {
  readonly driver: DriverName
  readonly sqliteVersion: string
  readonly path: string
  readonly inTransaction: boolean
  /** Runs statements that return nothing of interest. */
  exec(sql: string): void
  /** A statement of its own, for whoever keeps it. */
  prepare(sql: string): Statement
  /** The statement for this text, prepared once; the last 64 texts are kept. */
  cached(sql: string): Statement
  /** The first column of the first row of a PRAGMA or query. */
  pragma(sql: string): SqlValue
  close(): void
}

export interface OpenDatabaseOptions {
  /** `node:sqlite` unless said. */
  readonly driver?: DriverName
  readonly readOnly?: boolean
  /** Make the file where there is none (unless `readOnly`). Default true. */
  readonly create?: boolean
  /** How long a statement blocks the thread while another process holds the lock. Default 5000. */
  readonly busyTimeoutMs?: number
  /** The file can't change while it is open: read without locks and without -wal and -shm. Implies `readOnly`. */
  readonly immutable?: boolean
}

/** What both drivers have in common. */
interface RawStatement {
  run(...params: readonly SqlValue[]): unknown
  get(...params: readonly SqlValue[]): unknown
  all(...params: readonly SqlValue[]): unknown[]
  iterate(...params: readonly SqlValue[]): IterableIterator<unknown>
}
interface RawDatabase {
  exec(sql: string): unknown
  prepare(sql: string): RawStatement
  close(): unknown
  /** node:sqlite, from Node 22.16. */
  readonly isTransaction?: boolean
  /** better-sqlite3. */
  readonly inTransaction?: boolean
}

/**
 * Opens a database file, or `:memory:`, or as `''` a temporary file that has no name and ends with the connection.
 * @throws LedgerError `not_found` | `not_a_ledger` | `read_only` | `io_error` | `locked` | `unsupported`
 */
export async function openDatabase(path: string, options: OpenDatabaseOptions = {}): Promise<Database> {
  const driver = options.driver ?? 'node:sqlite'
  const file = isNameless(path) ? path : resolve(path)
  const open = driver === 'node:sqlite' ? openNodeSqlite : await loadBetterSqlite()
  const release = claim(file, driver)
  let database: DatabaseConnection
  try {
    database = new DatabaseConnection(open(file, options), driver, file, release)
  } catch (error) {
    release()
    throw error
  }
  try {
    database.exec(`PRAGMA busy_timeout = ${options.busyTimeoutMs ?? 5000}`)
    database.sqliteVersion = String(database.pragma('SELECT sqlite_version()'))
  } catch (error) {
    database.close()
    throw error
  }
  return database
}

function isNameless(path: string): boolean {
  return path === ':memory:' || path === ''
}

/**
 * Node 22 says once per process, on loading, that `node:sqlite` is experimental. The functions used here are the same in
 * 22.15, 24 and 26, and the warning would stand in every user's terminal, so this one is left out. Loading is
 * synchronous, so the replaced `emitWarning` is seen by no other code.
 */
function loadNodeSqlite(): typeof import('node:sqlite') {
  const emitWarning = process.emitWarning
  process.emitWarning = ((warning: string | Error, ...rest: never[]) => {
    if (typeof warning === 'string' && warning.startsWith('SQLite is an experimental feature')) return
    emitWarning.call(process, warning, ...rest)
  }) as typeof process.emitWarning
  try {
    return process.getBuiltinModule('node:sqlite')
  } finally {
    process.emitWarning = emitWarning
  }
}

/** By a URI: its `mode` alone can say that a file must be there already. */
function openNodeSqlite(file: string, options: OpenDatabaseOptions): RawDatabase {
  const { DatabaseSync } = loadNodeSqlite()
  const uri = isNameless(file) ? null : pathToFileURL(file)
  if (uri !== null) {
    if (options.immutable === true) uri.search = '?mode=ro&immutable=1'
    else if (options.readOnly === true) uri.search = '?mode=ro'
    else uri.search = options.create === false ? '?mode=rw' : '?mode=rwc'
  }
  try {
    return new DatabaseSync(uri ?? file) as unknown as RawDatabase
  } catch (error) {
    throw asSqliteError(error, 'opening', file)
  }
}

type BetterSqlite = new (file: string, options: { readonly?: boolean; fileMustExist?: boolean }) => RawDatabase

async function loadBetterSqlite(): Promise<(file: string, options: OpenDatabaseOptions) => RawDatabase> {
  // The name is kept from the type checker and from bundlers: the package is optional.
  const name: string = 'better-sqlite3'
  try {
    const { default: constructor } = (await import(name)) as { default: BetterSqlite }
    return (file, options) => openBetterSqlite(constructor, file, options)
  } catch (error) {
    throw new LedgerError(
      'unsupported',
      `the driver better-sqlite3 can't be loaded: install it beside cortex-ledger with "npm install better-sqlite3@13", or leave the driver option out to use the runtime's own node:sqlite`,
      { driver: name, cause: error },
    )
  }
}

/** It reads no URIs, so it can't take a file for immutable, and it trims white space off the path. */
function openBetterSqlite(constructor: BetterSqlite, file: string, options: OpenDatabaseOptions): RawDatabase {
  if (options.immutable === true || file.trim() !== file) {
    throw new LedgerError('unsupported', `better-sqlite3 can't open ${file} in this way: leave the driver option out to use node:sqlite`)
  }
  try {
    return new constructor(file, {
      readonly: options.readOnly === true,
      fileMustExist: options.create === false || options.readOnly === true,
    })
  } catch (error) {
    if (error instanceof TypeError && error.message.includes('directory does not exist')) {
      throw new LedgerError('not_found', `no folder for ${file}: make it, or check the path`, { file, cause: error })
    }
    throw asSqliteError(error, 'opening', file)
  }
}

const CACHED_STATEMENTS_MAX = 64

class DatabaseConnection implements Database {
  readonly driver: DriverName
  readonly path: string
  sqliteVersion = ''
  private readonly raw: RawDatabase
  /** In order of last use. */
  private readonly statements = new Map<string, Statement>()
  private readonly release: () => void

  constructor(raw: RawDatabase, driver: DriverName, path: string, release: () => void) {
    this.raw = raw
    this.release = release
    this.driver = driver
    this.path = path
  }

  get inTransaction(): boolean {
    const known = this.raw.isTransaction ?? this.raw.inTransaction
    if (known !== undefined) return known
    // node:sqlite of Node 22.15 can't tell; SQLite refuses a BEGIN inside a transaction.
    try {
      this.raw.exec('BEGIN')
    } catch {
      return true
    }
    this.raw.exec('ROLLBACK')
    return false
  }

  exec(sql: string): void {
    try {
      this.raw.exec(sql)
    } catch (error) {
      throw asSqliteError(error, doing(sql), this.path)
    }
  }

  prepare(sql: string): Statement {
    try {
      return new CheckedStatement(this.raw, sql, this.path)
    } catch (error) {
      throw asSqliteError(error, doing(sql), this.path)
    }
  }

  cached(sql: string): Statement {
    let statement = this.statements.get(sql)
    if (statement === undefined) {
      statement = this.prepare(sql)
      if (this.statements.size >= CACHED_STATEMENTS_MAX) {
        const [oldest] = this.statements.keys()
        if (oldest !== undefined) this.statements.delete(oldest)
      }
    } else this.statements.delete(sql)
    this.statements.set(sql, statement)
    return statement
  }

  pragma(sql: string): SqlValue {
    const row = this.prepare(sql).get()
    return row === undefined ? null : (Object.values(row)[0] ?? null)
  }

  close(): void {
    this.statements.clear()
    try {
      this.raw.close()
    } catch (error) {
      throw asSqliteError(error, 'closing', this.path)
    }
    this.release()
  }
}

class CheckedStatement implements Statement {
  private readonly database: RawDatabase
  private raw: RawStatement
  private readonly sql: string
  private readonly path: string

  constructor(database: RawDatabase, sql: string, path: string) {
    this.database = database
    this.raw = database.prepare(sql)
    this.sql = sql
    this.path = path
  }

  run(...params: readonly SqlValue[]): void {
    try {
      this.raw.run(...params)
    } catch (error) {
      throw asSqliteError(error, doing(this.sql), this.path)
    }
  }

  get(...params: readonly SqlValue[]): SqlRow | undefined {
    try {
      return this.raw.get(...params) as SqlRow | undefined
    } catch (error) {
      throw asSqliteError(error, doing(this.sql), this.path)
    }
  }

  all(...params: readonly SqlValue[]): SqlRow[] {
    try {
      return this.raw.all(...params) as SqlRow[]
    } catch (error) {
      throw asSqliteError(error, doing(this.sql), this.path)
    }
  }

  *iterate(...params: readonly SqlValue[]): IterableIterator<SqlRow> {
    try {
      for (const row of this.raw.iterate(...params)) yield row as SqlRow
    } catch (error) {
      // node:sqlite resets a statement at its next use, and takes the old error that SQLite then repeats for a new one.
      this.raw = this.database.prepare(this.sql)
      throw asSqliteError(error, doing(this.sql), this.path)
    }
  }
}

/** A statement in a few words, for messages: `INSERT INTO records`, `PRAGMA journal_mode`. */
function doing(sql: string): string {
  const [, verb, next] = /^\s*(\w+)\s*(\w*)/.exec(sql) ?? []
  const table = /\b(INTO|FROM) (\w+)/.exec(sql)
  if (table !== null) return `${verb} ${table[0]}`
  return verb === 'PRAGMA' ? `${verb} ${next}` : (verb ?? sql)
}
