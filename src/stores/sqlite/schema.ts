/**
 * The tables of an SQLite ledger and what guards them, by version. The records table is the truth; everything that its
 * index columns and the tags say is in the header too, and `audit` compares them.
 */
import { LedgerError } from '../../ledger/errors.ts'
import { INDEX_COLUMNS_SQL, INDEX_STATEMENTS, TAGS_TABLE_SQL } from '../sql/columns.ts'
import type { Database } from '../sql/driver.ts'

/** `application_id` of the file, "CLDG": tells a ledger from other people's databases. */
export const APPLICATION_ID = 0x434c4447
/** `user_version` of the file. */
export const SCHEMA_VERSION = 1

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
const GUARDS: readonly string[] = [
  `CREATE TRIGGER records_only_append BEFORE INSERT ON records
  WHEN NEW.seq <> (SELECT coalesce(max(seq), -1) + 1 FROM records) OR EXISTS (SELECT 1 FROM records WHERE run_id = NEW.run_id)
  BEGIN SELECT RAISE(FAIL, 'a ledger only grows: the next seq, and a run_id that is not there yet'); END`,
  `CREATE TRIGGER records_no_update BEFORE UPDATE ON records
  BEGIN SELECT RAISE(ABORT, 'a ledger is append-only: records are not changed'); END`,
  `CREATE TRIGGER records_no_delete BEFORE DELETE ON records
  BEGIN SELECT RAISE(ABORT, 'a ledger is append-only: records are not removed'); END`,
  `CREATE TRIGGER tags_only_append BEFORE INSERT ON tags WHEN NEW.seq <> (SELECT max(seq) FROM records)
  BEGIN SELECT RAISE(FAIL, 'a ledger only grows: tags come with their record'); END`,
  `CREATE TRIGGER tags_no_update BEFORE UPDATE ON tags
  BEGIN SELECT RAISE(ABORT, 'a ledger is append-only: tags are not changed'); END`,
  `CREATE TRIGGER tags_no_delete BEFORE DELETE ON tags
  BEGIN SELECT RAISE(ABORT, 'a ledger is append-only: tags are not removed'); END`,
]

const STATEMENTS = [RECORDS_TABLE_SQL, TAGS_TABLE_SQL, ...INDEX_STATEMENTS, ...GUARDS]

/** What leads from each version to the next: `MIGRATIONS[1]` would make version 2 of version 1. Each runs in one transaction with the new number. */
const MIGRATIONS: readonly (readonly string[])[] = [STATEMENTS]

/** `empty`: nothing in it yet, so it may become a ledger. */
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
  if (version < SCHEMA_VERSION) return 'older'
  for (const table of [RECORDS_TABLE_SQL, TAGS_TABLE_SQL]) {
    if (statementOf(database, nameOf(table)) === table) continue
    throw new LedgerError(
      'damaged',
      `the table ${nameOf(table)} of ${database.path} is not the one that was made: compare the file with a backup`,
      { found: statementOf(database, nameOf(table)) },
    )
  }
  return 'current'
}

/**
 * Makes the tables in an empty database, or brings an older one up to date; all of it or nothing, and once, however
 * many processes try. Guards and indexes that somebody dropped are put back.
 * @throws LedgerError as `inspectSchema`, and of the storage
 */
export function migrate(database: Database): void {
  if (inspectSchema(database) === 'current' && missing(database).length === 0) return
  database.exec('BEGIN IMMEDIATE')
  try {
    // Another process may have been faster.
    if (inspectSchema(database) === 'current') {
      for (const statement of missing(database)) database.exec(statement)
    } else {
      for (const statements of MIGRATIONS.slice(Number(database.pragma('PRAGMA user_version')))) {
        for (const statement of statements) database.exec(statement)
      }
      database.exec(`PRAGMA application_id = ${APPLICATION_ID}`)
      database.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`)
    }
    database.exec('COMMIT')
  } catch (error) {
    if (database.inTransaction) database.exec('ROLLBACK')
    throw error
  }
}

/** Names of the indexes that are there and as they were made. */
export function wholeIndexes(database: Database): ReadonlySet<string> {
  return new Set(INDEX_STATEMENTS.map(nameOf).filter((name, i) => statementOf(database, name) === INDEX_STATEMENTS[i]))
}

function missing(database: Database): string[] {
  return [...INDEX_STATEMENTS, ...GUARDS].filter((statement) => statementOf(database, nameOf(statement)) === null)
}

/** SQLite keeps the text of each statement as it was given. */
function statementOf(database: Database, name: string): string | null {
  const row = database.cached('SELECT sql FROM sqlite_schema WHERE name = ?').get(name)
  return row === undefined ? null : String(row['sql'])
}

function nameOf(statement: string): string {
  return statement.split(/[\s(]+/, 3)[2] as string
}
