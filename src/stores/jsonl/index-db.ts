/**
 * The index: an SQLite file that says which records there are and where in the segments they lie. It is derived and
 * disposable. Nothing in it is believed: a record that it names is read from its segment and looked at, and where the
 * two disagree the index is made anew. It serves as a note of what is durable, too, and that is looked at likewise.
 */
import { LedgerError } from '../../ledger/errors.ts'
import { INDEX_COLUMNS_SQL, INDEX_STATEMENTS, TAGS_TABLE_SQL } from '../sql/columns.ts'
import { derivedMismatch, openDerived } from '../sql/derived.ts'
import { openDatabase } from '../sql/driver.ts'
import type { Database, SqlRow } from '../sql/driver.ts'
import { inTransaction } from '../sql/transaction.ts'

/** Of the tables here and of the columns of src/stores/sql; a file of another version is made anew. */
const SCHEMA_VERSION = 'jsonl-index/1'

/** The last record that the index has: its line in its segment. */
export interface IndexPosition {
  readonly seq: number
  /** `first_seq` of its segment. */
  readonly segment: number
  readonly byte: number
  /** Without line feed. */
  readonly length: number
  readonly hash: string
}

/** `position`: indexed up to there. `durable`: the same of the last record that a writer knew to be durable. */
export type MetaKey = 'schema' | 'position' | 'durable'

/** The index names a record that is not there, or another one. */
export function indexMismatch(what: string): LedgerError {
  return derivedMismatch(`the index does not agree with the segments (${what}): it is made anew`)
}

/** It was closed, removed or replaced since it was last looked at: there is nothing wrong with what stands there now. */
export function indexGone(): LedgerError {
  return new LedgerError('io_error', 'the index was replaced meanwhile', { index_gone: true })
}

export function isGoneIndex(error: unknown): boolean {
  return error instanceof LedgerError && error.details['index_gone'] === true
}

/** How a connection waits and how much it keeps in memory. */
export interface IndexTuning {
  readonly busyTimeoutMs: number
  readonly cacheKib: number
}

/** Opens the index for writing, and makes it where it is not there. A broken one is removed and made anew. */
export async function openIndex(path: string, tuning: IndexTuning): Promise<Database> {
  return openDerived(path, () => openWhole(path, tuning))
}

async function openWhole(path: string, { busyTimeoutMs, cacheKib }: IndexTuning): Promise<Database> {
  const database = await openDatabase(path, { busyTimeoutMs })
  try {
    // In WAL a reader never waits for the writer, which is on another thread. NORMAL: no sync per transaction, but the
    // file is whole after a power loss.
    database.exec(
      `PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -${cacheKib}`,
    )
    if (readSchema(database) !== SCHEMA_VERSION) createSchema(database)
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

/** The index for reading, or null where it can't be used: not there, of another version, or not readable for this user. */
export async function openIndexToRead(path: string): Promise<Database | null> {
  let database: Database | null = null
  try {
    database = await openDatabase(path, { readOnly: true, busyTimeoutMs: 5000 })
    if (readSchema(database) === SCHEMA_VERSION) return database
  } catch (error) {
    if (!(error instanceof LedgerError)) throw error
  }
  database?.close()
  return null
}

function readSchema(database: Database): string | null {
  const table = database.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'meta'").get()
  return table === undefined ? null : readMetaText(database, 'schema')
}

function createSchema(database: Database): void {
  inTransaction(database, () => {
    // Another process may have been faster.
    const found = readSchema(database)
    if (found === null) {
      if (database.prepare('SELECT 1 FROM sqlite_schema').get() !== undefined) throw otherSchema(database.path)
      database.exec(`CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE records (seq INTEGER PRIMARY KEY, segment INTEGER NOT NULL, byte INTEGER NOT NULL, length INTEGER NOT NULL,
          ${INDEX_COLUMNS_SQL}) STRICT;
        ${TAGS_TABLE_SQL};
        ${INDEX_STATEMENTS.join(';\n')}`)
      writeMeta(database, 'schema', SCHEMA_VERSION)
    } else if (found !== SCHEMA_VERSION) throw otherSchema(database.path)
  })
}

function otherSchema(path: string): LedgerError {
  return indexMismatch(`${path} is of another version`)
}

function readMetaText(database: Database, key: MetaKey): string | null {
  const value = database.cached('SELECT value FROM meta WHERE key = ?').get(key)?.['value']
  return typeof value === 'string' ? value : null
}

export function writeMeta(database: Database, key: MetaKey, value: string): void {
  database.cached('INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value').run(key, value)
}

/** Null where nothing is indexed yet, or what stands there makes no sense. */
export function readPosition(database: Database, key: 'position' | 'durable'): IndexPosition | null {
  try {
    const { seq, segment, byte, length, hash } = JSON.parse(readMetaText(database, key) ?? 'null') as Partial<IndexPosition>
    if (![seq, segment, byte, length].every((value) => Number.isSafeInteger(value) && (value as number) >= 0)) return null
    return typeof hash === 'string' ? ({ seq, segment, byte, length, hash } as IndexPosition) : null
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return null
    throw error
  }
}

/** Where a record lies, by the index. */
export interface IndexedPlace {
  readonly seq: number
  readonly segment: number
  readonly byte: number
  readonly length: number
}

export const PLACE_COLUMNS = 'records.segment AS segment, records.byte AS byte, records.length AS length'

export function placeOf(row: SqlRow): IndexedPlace {
  return { seq: Number(row['seq']), segment: Number(row['segment']), byte: Number(row['byte']), length: Number(row['length']) }
}

/** Places of the records with these run_ids; the first one of each, should there be two. */
export function findRuns(database: Database, run_ids: readonly string[]): Map<string, IndexedPlace> {
  const rows = database
    .cached(
      `SELECT records.run_id AS run_id, records.seq AS seq, ${PLACE_COLUMNS} FROM json_each(?) AS wanted
       CROSS JOIN records ON records.run_id = wanted.value ORDER BY records.seq DESC`,
    )
    .all(JSON.stringify(run_ids))
  return new Map(rows.map((row) => [String(row['run_id']), placeOf(row)]))
}

/** Places of the last records of these streams. */
export function findStreams(
  database: Database,
  streams: readonly string[],
): Map<string, IndexedPlace & { readonly stream_version: number }> {
  const rows = database
    .cached(
      `SELECT stream, stream_version, records.seq AS seq, ${PLACE_COLUMNS} FROM json_each(?) AS wanted
       CROSS JOIN records ON records.seq = (SELECT max(last.seq) FROM records AS last WHERE last.stream = wanted.value)`,
    )
    .all(JSON.stringify(streams))
  return new Map(rows.map((row) => [String(row['stream']), { ...placeOf(row), stream_version: Number(row['stream_version']) }]))
}
