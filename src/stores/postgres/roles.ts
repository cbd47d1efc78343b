/** Who may do what, as roles that nobody logs in by: an owner grants them to the users of programs and people. */
import { LedgerError } from '../../ledger/errors.ts'
import { connect } from './connect.ts'
import { migrate, quoted } from './migrate.ts'
import { ServerClock, Session } from './session.ts'
import { parseTarget } from './target.ts'

export const ROLES = ['writer', 'reader', 'auditor', 'retention'] as const
export type LedgerRole = (typeof ROLES)[number]

/** Columns that say nothing of what was said: what comes from the entry is not among them. */
const HEADER_COLUMNS =
  'seq, recorded_at, occurred_at, stream_version, ledger_id, run_id, stream, type, actor, action, outcome, correlation_id, causation_id, tags, hash, header, signatures'

const APPEND_TYPES = `integer, bigint, text, text, bigint, timestamptz[], timestamptz[], bigint[]${', text[]'.repeat(16)}`

function grants(name: (role: LedgerRole) => string, schema: string): string[] {
  const all = ROLES.map(name).join(', ')
  const of = `SCHEMA ${schema} FROM ${all}`
  const seeing = [name('writer'), name('reader'), name('retention')].join(', ')
  return [
    // Whatever else they were given goes, and nobody may put a function of the same name beside ours.
    `REVOKE ALL ON ALL TABLES IN ${of}`,
    `REVOKE ALL ON ALL FUNCTIONS IN ${of}`,
    `REVOKE ALL ON ${of}`,
    `REVOKE CREATE ON SCHEMA ${schema} FROM PUBLIC`,
    `GRANT USAGE ON SCHEMA ${schema} TO ${all}`,
    `GRANT SELECT ON schema_version, ledgers, heads, run_keys, tree_hashes, ledger_texts, audit_headers TO ${all}`,
    `GRANT EXECUTE ON FUNCTION read_state(integer, text[], text[]), default_partition_rows() TO ${all}`,
    `GRANT SELECT ON audit_log, audit_records, snapshots, data_keys, entry_files, entry_pieces TO ${seeing}`,
    `GRANT SELECT (${HEADER_COLUMNS}) ON audit_log TO ${name('auditor')}`,
    // Records come in by one function; what is derived from them is nobody's truth.
    `GRANT EXECUTE ON FUNCTION append_records(${APPEND_TYPES}), seal_records, lock_state(integer, text[], text[]), confirm_state(integer),
      ensure_partitions(timestamptz, integer) TO ${name('writer')}`,
    `GRANT INSERT, UPDATE, DELETE ON tree_hashes, ledger_texts, snapshots TO ${name('writer')}`,
    `GRANT EXECUTE ON FUNCTION ensure_partitions(timestamptz, integer), withhold_entries(integer, bigint[], bigint[], boolean, bigint),
      restore_entries(integer, bigint[], text[], text[], text[], text[]), rewrite_table(text, bigint), upkeep_holder(xid8),
      renew_statistics() TO ${name('retention')}`,
    `GRANT INSERT, UPDATE, DELETE ON entry_files, entry_pieces TO ${name('retention')}`,
    `GRANT SELECT, DELETE ON upkeep_due TO ${name('retention')}`,
    // Who records makes keys; who erases takes them away, or puts them under another master key.
    `GRANT INSERT ON data_keys TO ${name('writer')}`,
    `GRANT UPDATE, DELETE ON data_keys TO ${name('retention')}`,
  ]
}

/**
 * Makes the tables where there are none, and the roles `<schema>_writer`, `_reader`, `_auditor` and `_retention`, or grants
 * them again what they may do, and nothing else. Needs CREATEROLE, and the tables' owner; no superuser. PostgreSQL's
 * roles are of the whole server: where two of its databases have ledgers in schemas of one name, they share the roles.
 * @returns the names of the roles
 * @throws LedgerError `read_only` where this user may not, `not_a_ledger`, `newer_format`, `io_error`
 */
export async function makeRoles(url: string): Promise<string[]> {
  const target = parseTarget(url)
  const connection = await connect(target, { need: 'primary', patience_ms: 5000 })
  const session = new Session(connection, { display: target.display, clock: new ServerClock(), timeout_ms: 60_000 })
  try {
    await migrate(session, target.schema, target.display)
    const names = ROLES.map((role) => `${target.schema}_${role}`)
    await session.transaction(async () => {
      // Two that grant at once would be in each other's way.
      await session.query({ text: 'SELECT pg_advisory_xact_lock(hashtext($1))' }, [`cortex-ledger roles ${target.schema}`])
      const known = await session.query({ text: 'SELECT rolname FROM pg_roles WHERE rolname = ANY ($1)' }, [`{${names.join(',')}}`])
      const there = new Set(known.map(([name]) => name))
      for (const name of names) if (!there.has(name)) await session.query({ text: `CREATE ROLE ${quoted(name)} NOLOGIN` })
      const named = (role: LedgerRole): string => quoted(`${target.schema}_${role}`)
      for (const text of grants(named, quoted(target.schema))) await session.query({ text })
    })
    return names
  } catch (error) {
    if (!(error instanceof LedgerError) || error.code !== 'read_only') throw error
    throw new LedgerError(
      'read_only',
      `${target.user} may not make the roles of ${target.display}: connect as the owner of its tables, with CREATEROLE (${error.message})`,
      { ...error.details, cause: error },
    )
  } finally {
    await session.end()
  }
}
