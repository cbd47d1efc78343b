/**
 * The tables of an SQLite ledger and what guards them, by version. The records table is the truth; everything that its
 * index columns and the tags say is in the header too, and `audit` compares them.
 */
import { LedgerError } from '../../ledger/errors.ts'
import { INDEX_COLUMNS, INDEX_COLUMNS_SQL, INDEX_STATEMENTS, TAGS_TABLE_SQL } from '../sql/columns.ts'
import type { Database } from '../sql/driver.ts'
import { inTransaction } from '../sql/transaction.ts'

/** `application_id` of the file, "CLDG": tells a ledger from other people's databases. */
export const APPLICATION_ID = 0x434c4447
/** `user_version` of the file. */
export const SCHEMA_VERSION = 2

/**
 * What comes first in a row is read first: conditions are decided on the index columns without touching the pages of a
 * long entry.
 */
const RECORDS_TABLE_SQL = `CREATE TABLE records (seq INTEGER PRIMARY KEY,
  ${INDEX_COLUMNS_SQL},
  hash TEXT NOT NULL, header TEXT NOT NULL, signatures TEXT, salt TEXT, entry TEXT) STRICT`

/**
 * These keep an honest hand from changing what was recorded, and a second writer from leaving a gap; who owns the file
 * can drop them, and is then found out by `verify`.
 *
 * The triggers on INSERT refuse any row that is not the next one. That covers INSERT OR REPLACE as well, which removes
 * the row that is in its way without a DELETE trigger.
 *
 * They say FAIL, and records are inserted with INSERT OR FAIL, for speed alone: with ABORT in either of them SQLite
 * keeps a journal for every single INSERT, copying each of a dozen index pages before it is touched (measured: 17 µs
 * a record instead of 8 µs; 55 µs where that journal is a file). Nothing is lost by it: the trigger fires before the
 * row, and whatever fails, the store rolls the whole append back.
 */
const GUARDS_OF_INSERT_AND_DELETE: readonly string[] = [
  `CREATE TRIGGER records_only_append BEFORE INSERT ON records
  WHEN NEW.seq <> (SELECT coalesce(max(seq), -1) + 1 FROM records) OR EXISTS (SELECT 1 FROM records WHERE run_id = NEW.run_id)
  BEGIN SELECT RAISE(FAIL, 'a ledger only grows: the next seq, and a run_id that is not there yet'); END`,
  `CREATE TRIGGER records_no_delete BEFORE DELETE ON records
  BEGIN SELECT RAISE(ABORT, 'a ledger is append-only: records are not removed'); END`,
  `CREATE TRIGGER tags_only_append BEFORE INSERT ON tags WHEN NEW.seq <> (SELECT max(seq) FROM records)
  BEGIN SELECT RAISE(FAIL, 'a ledger only grows: tags come with their record'); END`,
  `CREATE TRIGGER tags_no_update BEFORE UPDATE ON tags
  BEGIN SELECT RAISE(ABORT, 'a ledger is append-only: tags are not changed'); END`,
  `CREATE TRIGGER tags_no_delete BEFORE DELETE ON tags
  BEGIN SELECT RAISE(ABORT, 'a ledger is append-only: tags are not removed'); END`,
]

const NO_UPDATE_OF_VERSION_1 = `CREATE TRIGGER records_no_update BEFORE UPDATE ON records
  BEGIN SELECT RAISE(ABORT, 'a ledger is append-only: records are not changed'); END`

/** Of `records`: all but what goes and comes with an entry. */
const FIXED_COLUMNS = [
  'seq',
  ...INDEX_COLUMNS.filter((column) => column !== 'provider' && column !== 'model'),
  'hash',
  'header',
  'signatures',
]

/**
 * A row's entry may go with its salt, and come back with it. Nothing else may change, and that only in a transaction that
 * has put a row into `upkeep_now`, which it takes out again before it ends: no other connection ever sees one. Provider
 * and model come from the entry: they may go when it goes or after it, and come back with it where they are gone.
 */
const NO_UPDATE = `CREATE TRIGGER records_no_update BEFORE UPDATE ON records
  WHEN NOT EXISTS (SELECT 1 FROM upkeep_now)
    OR ${FIXED_COLUMNS.map((column) => `NEW.${column} IS NOT OLD.${column}`).join(' OR ')}
    OR (NEW.entry IS NULL) <> (NEW.salt IS NULL)
    OR (NEW.entry IS NULL AND NOT ((NEW.provider IS NULL OR NEW.provider IS OLD.provider) AND (NEW.model IS NULL OR NEW.model IS OLD.model)))
    OR (NEW.entry IS NOT NULL AND NOT (OLD.entry IS NULL AND OLD.salt IS NULL
      AND (OLD.provider IS NULL OR NEW.provider IS OLD.provider) AND (OLD.model IS NULL OR NEW.model IS OLD.model)))
  BEGIN SELECT RAISE(ABORT, 'a ledger is append-only: records are not changed'); END`
const GUARDS = [...GUARDS_OF_INSERT_AND_DELETE, NO_UPDATE]

/**
 * `entry_files`: archive files that lie in the ledger, in `entry_pieces` (src/ledger/archive-pieces.ts); one without a name
 * is not whole. `upkeep_due`: how often something was taken away of which the file may still hold bytes; no row: never
 * since the last time that all was reclaimed.
 */
const UPKEEP_TABLES: readonly string[] = [
  'CREATE TABLE upkeep_now (what TEXT NOT NULL) STRICT',
  'CREATE TABLE upkeep_due (one INTEGER PRIMARY KEY CHECK (one = 1), times INTEGER NOT NULL) STRICT',
  'CREATE TABLE entry_files (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, bytes INTEGER, sha256 TEXT) STRICT',
  'CREATE TABLE entry_pieces (id INTEGER NOT NULL, piece INTEGER NOT NULL, content BLOB NOT NULL, UNIQUE (id, piece)) STRICT',
]

/** What leads from each version to the next. Each runs in one transaction with the new number. */
const MIGRATIONS: readonly (readonly string[])[] = [
  [RECORDS_TABLE_SQL, TAGS_TABLE_SQL, ...INDEX_STATEMENTS, ...GUARDS_OF_INSERT_AND_DELETE, NO_UPDATE_OF_VERSION_1],
  ['DROP TRIGGER IF EXISTS records_no_update', ...UPKEEP_TABLES, NO_UPDATE],
]

/** `empty`: nothing in it yet, so it may become a ledger. `older`: it can be read as it is. */
export type SchemaState = 'empty' | 'older' | 'current'

/**
 * Whose database this is.
 * @throws LedgerError `not_a_ledger` | `newer_format` | `damaged`
 */
export function inspectSchema(database: Database): SchemaState {
  const applicationId = Number(database.pragma('PRAGMA application_id'))
  const version = Number(database.pragma('PRAGMA user_version'))
  if (applicationId !== APPLICATION_ID) {
    const objects = Number(database.pragma('SELECT count(*) FROM sqlite_schema'))
    if (applicationId === 0 && version === 0 && objects === 0) return 'empty'
    // Another process made the ledger between these questions: its tables come in one transaction with the id.
    if (applicationId === 0 && Number(database.pragma('PRAGMA application_id')) === APPLICATION_ID) return inspectSchema(database)
    throw new LedgerError('not_a_ledger', `${database.path} is an SQLite database, but no ledger: check the path`, {
      application_id: applicationId,
    })
  }
  if (version > SCHEMA_VERSION) {
    throw new LedgerError(
      'newer_format',
      `${database.path} was written by a newer version (schema ${version}; this one knows ${SCHEMA_VERSION}): install a newer cortex-ledger`,
      { schema: version },
    )
  }
  if (version < 1) {
    throw new LedgerError(
      'damaged',
      `the version of the tables in ${database.path} is ${version}, and no ledger has that: compare it with a backup`,
      {
        schema: version,
      },
    )
  }
  for (const table of [RECORDS_TABLE_SQL, TAGS_TABLE_SQL, ...(version < 2 ? [] : UPKEEP_TABLES)]) {
    if (statementOf(database, nameOf(table)) === table) continue
    throw new LedgerError(
      'damaged',
      `the table ${nameOf(table)} of ${database.path} is not the one that was made: compare the file with a backup`,
      { found: statementOf(database, nameOf(table)) },
    )
  }
  return version < SCHEMA_VERSION ? 'older' : 'current'
}

/**
 * Makes the tables in an empty database, or brings an older one up to date; all of it or nothing, and once, however
 * many processes try. Guards and indexes that somebody dropped are put back, and so is a guard that says something else.
 * @throws LedgerError as `inspectSchema`, and of the storage
 */
export function migrate(database: Database): void {
  if (inspectSchema(database) === 'current' && missing(database).length === 0) return
  inTransaction(database, () => {
    // Another process may have been faster.
    if (inspectSchema(database) !== 'current') {
      for (const statements of MIGRATIONS.slice(Number(database.pragma('PRAGMA user_version')))) {
        for (const statement of statements) database.exec(statement)
      }
      database.exec(`PRAGMA application_id = ${APPLICATION_ID}`)
      database.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`)
    }
    for (const statement of missing(database)) database.exec(statement)
  })
}

/** Tables of version 2 are there: an older ledger that is open for reading has none. */
export function hasUpkeepTables(database: Database): boolean {
  return Number(database.pragma('PRAGMA user_version')) >= 2
}

/** Names of the indexes that are there and as they were made. */
export function wholeIndexes(database: Database): ReadonlySet<string> {
  return new Set(INDEX_STATEMENTS.map(nameOf).filter((name, i) => statementOf(database, name) === INDEX_STATEMENTS[i]))
}

function missing(database: Database): string[] {
  const indexes = INDEX_STATEMENTS.filter((statement) => statementOf(database, nameOf(statement)) === null)
  const guards = GUARDS.filter((statement) => statementOf(database, nameOf(statement)) !== statement)
  return [...indexes, ...guards.flatMap((statement) => [`DROP TRIGGER IF EXISTS ${nameOf(statement)}`, statement])]
}

/** SQLite keeps the text of each statement as it was given. */
function statementOf(database: Database, name: string): string | null {
  const row = database.cached('SELECT sql FROM sqlite_schema WHERE name = ?').get(name)
  return row === undefined ? null : String(row['sql'])
}

function nameOf(statement: string): string {
  return statement.split(/[\s(]+/, 3)[2] as string
}
