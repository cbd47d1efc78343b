/** Making the tables, and bringing older ones up to date: by numbered migrations, once, however many processes try. */
import { LedgerError } from '../../ledger/errors.ts'
import { sqlStateOf } from './errors.ts'
import type { Session } from './session.ts'
import { MIGRATIONS, SCHEMA_VERSION } from './schema.ts'

/** 0 where there are no tables of ours in the schema. @throws LedgerError `newer_format` | `not_a_ledger` */
export async function schemaVersion(session: Session, schema: string, display: string): Promise<number> {
  // By a query and not by to_regclass: that answers from what the session has cached, while it waited for another's migration.
  const found = await session.query(
    {
      text: `SELECT relname FROM pg_class WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND relname IN ('schema_version', 'audit_log')`,
    },
    [schema],
  )
  if (found.length === 0) return 0
  if (found.length === 1) throw foreign(schema, display, found[0]?.[0] ?? '')
  const [row] = await session.query({ text: `SELECT max(version) FROM ${quoted(schema)}.schema_version` })
  const version = Number(row?.[0] ?? NaN)
  if (!Number.isSafeInteger(version) || version < 1) throw foreign(schema, display, 'schema_version')
  if (version > SCHEMA_VERSION)
    throw new LedgerError(
      'newer_format',
      `the tables in ${display} are of a newer version (${version}; this one knows ${SCHEMA_VERSION}): install a newer cortex-ledger`,
      { schema: version },
    )
  return version
}

function foreign(schema: string, display: string, what: string, cause?: unknown): LedgerError {
  return new LedgerError(
    'not_a_ledger',
    `the schema ${schema} of ${display} has a ${what} that is not ours: give another one by ?schema=`,
    {
      cause,
    },
  )
}

export function quoted(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`
}

/**
 * Brings the tables up to date, all of it or nothing. Needs the right to make a schema in the database, or to make
 * tables in the schema that is there.
 * @throws LedgerError as `schemaVersion`, and `read_only` where this role may not
 */
export async function migrate(session: Session, schema: string, display: string): Promise<void> {
  await session.transaction(async () => {
    await session.query({ text: 'SELECT pg_advisory_xact_lock(hashtext($1))' }, [`cortex-ledger migrate ${schema}`])
    // Another process may have been faster.
    const version = await schemaVersion(session, schema, display)
    if (version === SCHEMA_VERSION) return
    // Not CREATE SCHEMA IF NOT EXISTS: that asks for the right to make one even where it is there.
    const there = await session.query({ text: 'SELECT 1 FROM pg_namespace WHERE nspname = $1' }, [schema])
    if (there.length === 0) await session.query({ text: `CREATE SCHEMA ${quoted(schema)}` })
    await session.query({ text: `SET LOCAL search_path = ${quoted(schema)}, pg_temp` })
    await session.query({
      text: `CREATE TABLE IF NOT EXISTS schema_version (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT clock_timestamp())`,
    })
    for (let next = version; next < SCHEMA_VERSION; next++) {
      const sql = (MIGRATIONS[next] as (schema: string) => string)(quoted(schema))
      await session.query({ text: sql }).catch((error) => {
        // duplicate_table, _function, _object: somebody else's schema.
        throw /^(42P07|42723|42710)$/.test(sqlStateOf(error) ?? '') ? foreign(schema, display, 'table, view or function', error) : error
      })
      await session.query({ text: `INSERT INTO schema_version (version) VALUES (${next + 1})` })
    }
  })
}
