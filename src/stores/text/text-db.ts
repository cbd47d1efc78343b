/**
 * The file of the text index: a table of FTS5 without the text (contentless: the words and where they stand, a rowid is
 * a position), and a note of how far it goes. It is derived and disposable, and nothing in it is believed.
 */
import { closeSync, existsSync, openSync, statSync } from 'node:fs'
import { LedgerError } from '../../ledger/errors.ts'
import type { RecordText } from '../../ledger/record-text.ts'
import { GENESIS } from '../../verify/header.ts'
import { derivedMismatch, openDerived } from '../sql/derived.ts'
import { openDatabase } from '../sql/driver.ts'
import type { Database, DriverName, SqlValue } from '../sql/driver.ts'
import { inTransaction } from '../sql/transaction.ts'

/** Of the tables, the tokenizer, and what is taken from a record (src/ledger/record-text.ts): another one is made anew. */
const SCHEMA_VERSION = 'text/1'

/**
 * Contentless without `contentless_delete`: the command 'delete' takes a record out again exactly, its words and its
 * share of the averages, which a ranking of earlier records needs (ranking.ts).
 */
const TABLE_SQL = `CREATE VIRTUAL TABLE text USING fts5 (prompt, output, tools, data, content = '', tokenize = 'unicode61 remove_diacritics 2')`
const META_SQL = 'CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID'

/** FTS5 gathers so much in memory before it writes a segment; larger ones need less merging. Bytes. */
const GATHERED_BYTES = 4 * 1024 * 1024

/** How far the index goes. */
export interface TextPosition {
  /** Records before this position are in it. */
  readonly size: number
  /** Hash of the last of them; GENESIS where there is none. */
  readonly hash: string
  /** The last of them that has text; -1 where none has. */
  readonly last: number
}

const BEGINNING: TextPosition = { size: 0, hash: GENESIS, last: -1 }

export function textMismatch(what: string): LedgerError {
  return derivedMismatch(`the text index does not agree with the ledger (${what}): it is made anew`)
}

/** @throws LedgerError `unsupported` */
export function requireFts5(database: Database): void {
  if (database.prepare("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'").get() !== undefined) return
  throw new LedgerError(
    'unsupported',
    `the SQLite of ${database.driver} here (${database.sqliteVersion}) has no full text (FTS5): use Node.js 22.16 or newer`,
    { sqlite_version: database.sqliteVersion },
  )
}

/** A table of texts in memory, to look at single records by the very same rules. */
export async function openScratch(driver: DriverName): Promise<Database> {
  const database = await openDatabase(':memory:', { driver })
  try {
    requireFts5(database)
    database.exec(`${TABLE_SQL}; CREATE VIRTUAL TABLE tokens USING fts5vocab (text, instance)`)
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

/** An index of this process alone, in a file without a name that ends with it, or in memory. */
export async function openTemporary(driver: DriverName, inMemory: boolean): Promise<Database> {
  const database = await openDatabase(inMemory ? ':memory:' : '', { driver })
  try {
    database.exec('PRAGMA synchronous = OFF')
    prepareTables(database)
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

/**
 * The index for writing, made where it is not there; a broken one is removed and made anew.
 * @param like a file of the ledger: who may not read that may not read the words either
 */
export async function openToWrite(path: string, like: string, driver: DriverName): Promise<Database> {
  return openDerived(path, () => openWhole(path, like, driver))
}

async function openWhole(path: string, like: string, driver: DriverName): Promise<Database> {
  makeFile(path, like)
  const database = await openDatabase(path, { driver, busyTimeoutMs: 10_000 })
  try {
    configure(database)
    // In WAL readers and the one who writes don't wait for each other. NORMAL: the file is whole after a power loss.
    database.exec('PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 2000')
    database.exec('PRAGMA journal_size_limit = 67108864')
    prepareTables(database)
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

/** Exclusive, so that no file that somebody has open is opened and closed here, which would drop this process's locks on it. */
function makeFile(path: string, like: string): void {
  if (existsSync(path)) return
  try {
    const mode = statSync(like).mode
    closeSync(openSync(path, 'wx', (mode & 0o666) | 0o600))
  } catch {
    // Somebody was faster, or nothing can be made here: opening it says so.
  }
}

/** The index for reading, or null where it is not there, of another kind, or not for this user to read. */
export async function openToRead(path: string, driver: DriverName): Promise<Database | null> {
  let database: Database | null = null
  try {
    database = await openDatabase(path, { driver, readOnly: true })
    configure(database)
    requireFts5(database)
    if (isOurs(database)) return database
  } catch (error) {
    if (!(error instanceof LedgerError)) throw error
  }
  database?.close()
  return null
}

function configure(database: Database): void {
  // The file may come from others, like the ledger.
  database.exec('PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA cache_size = -16384')
}

function statementOf(database: Database, name: string): unknown {
  return database.prepare('SELECT sql FROM sqlite_schema WHERE name = ?').get(name)?.['sql']
}

function isOurs(database: Database): boolean {
  if (statementOf(database, 'meta') !== META_SQL || statementOf(database, 'text') !== TABLE_SQL) return false
  return readMeta(database, 'schema') === SCHEMA_VERSION
}

/** Makes the tables in an empty file; of any other it must be an index of this version, whose end is whole. */
function prepareTables(database: Database): void {
  requireFts5(database)
  inTransaction(database, () => {
    // Another process may have been faster.
    if (database.prepare('SELECT 1 FROM sqlite_schema').get() === undefined) {
      database.exec(`${META_SQL}; ${TABLE_SQL}; INSERT INTO text (text, rank) VALUES ('hashsize', ${GATHERED_BYTES})`)
      writeMeta(database, 'schema', SCHEMA_VERSION)
    } else if (!isOurs(database)) throw textMismatch('it is of another version')
  })
  const last = database.prepare('SELECT max(id) AS last FROM text_docsize').get()?.['last'] ?? -1
  if (last !== readPosition(database).last) throw textMismatch('its end')
}

function readMeta(database: Database, key: string): string | null {
  const value = database.cached('SELECT value FROM meta WHERE key = ?').get(key)?.['value']
  return typeof value === 'string' ? value : null
}

function writeMeta(database: Database, key: string, value: string): void {
  database.cached('INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value').run(key, value)
}

/** @throws LedgerError `isBrokenDatabase` where what stands there makes no sense */
export function readPosition(database: Database): TextPosition {
  const text = readMeta(database, 'position')
  if (text === null) return BEGINNING
  try {
    const { size, hash, last } = JSON.parse(text) as Partial<TextPosition>
    if (Number.isSafeInteger(size) && Number.isSafeInteger(last) && typeof hash === 'string') return { size, hash, last } as TextPosition
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error
  }
  throw textMismatch('its note of how far it goes')
}

export function writePosition(database: Database, position: TextPosition): void {
  writeMeta(database, 'position', JSON.stringify(position))
}

/** The values of a row, in the order of `INSERT_TEXT`. */
export function rowOf(seq: number, { prompt, output, tools, data }: RecordText): SqlValue[] {
  return [seq, prompt, output, tools, data]
}

export const INSERT_TEXT = 'INSERT INTO text (rowid, prompt, output, tools, data) VALUES (?, ?, ?, ?, ?)'
/** Takes a row out again; the values must be those that were put in. */
export const REMOVE_TEXT = "INSERT INTO text (text, rowid, prompt, output, tools, data) VALUES ('delete', ?, ?, ?, ?, ?)"
