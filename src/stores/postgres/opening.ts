/** Opening a ledger in a database: the connections, the tables, the ledger's row. */
import { LedgerError } from '../../ledger/errors.ts'
import type { LedgerWarning } from '../../ledger/warning.ts'
import { connect } from './connect.ts'
import { migrate, schemaVersion } from './migrate.ts'
import { SCHEMA_VERSION } from './schema.ts'
import { ServerClock, Session } from './session.ts'
import { Sessions } from './sessions.ts'
import { parseTarget } from './target.ts'
import type { PostgresTarget } from './target.ts'
import type { LedgerPlace } from './writing.ts'

export interface PostgresStoreOptions {
  readonly readOnly?: boolean | undefined
  /** Make tables and ledger where there are none. Default: unless `readOnly`. */
  readonly create?: boolean | undefined
  /** Records get their time from the database's clock, which all writers share. Default true. */
  readonly databaseClock?: boolean | undefined
  /** How long a server that can't be had is tried again, also in mid-work, before a caller hears of it. Default 30,000. */
  readonly patienceMs?: number | undefined
  /** How long one statement may take before the connection is taken for lost. Default 60,000. */
  readonly timeoutMs?: number | undefined
  readonly onWarning?: ((warning: LedgerWarning) => void) | undefined
}

const PATIENCE_MS = 30_000
const TIMEOUT_MS = 60_000
/** Nobody waits at the first opening for a server that is not there as long as one in mid-work does. */
const OPENING_PATIENCE_MS = 5000

export interface Opened {
  readonly sessions: Sessions
  readonly place: LedgerPlace
  /** Servers that the URL names. */
  readonly hosts: number
  readonly serverClock: () => number | null
}

/** @throws as `openPostgresStore` */
export async function openSessions(url: string, options: PostgresStoreOptions): Promise<Opened> {
  const target = parseTarget(url)
  const readOnly = options.readOnly ?? false
  const clock = new ServerClock()
  const timeout_ms = options.timeoutMs ?? TIMEOUT_MS
  let patience_ms = Math.min(options.patienceMs ?? PATIENCE_MS, OPENING_PATIENCE_MS)
  const sessions = new Sessions({
    location: target.display,
    patience_ms: options.patienceMs ?? PATIENCE_MS,
    open: async (signal, { pipeline } = { pipeline: true }) => {
      const connection = await connect(target, { need: readOnly ? 'any' : 'primary', patience_ms, signal, pipeline })
      return new Session(connection, { display: target.display, clock, timeout_ms })
    },
  })
  try {
    const place = await sessions.reading((session) => placeOf(session, target, { readOnly, create: options.create ?? !readOnly }))
    patience_ms = options.patienceMs ?? PATIENCE_MS
    return { sessions, place, hosts: target.hosts.length, serverClock: () => clock.now() }
  } catch (error) {
    await sessions.close()
    throw error
  }
}

/** Everything is there and of this version when it resolves. */
async function placeOf(
  session: Session,
  target: PostgresTarget,
  { readOnly, create }: { readOnly: boolean; create: boolean },
): Promise<LedgerPlace> {
  const { schema, ledger, display } = target
  const version = await schemaVersion(session, schema, display)
  if (version === 0 && !create) throw notFound(display, `the schema ${schema} has no tables of a ledger`)
  // Tables of an older version are read as they are.
  if (version === 0 || (version < SCHEMA_VERSION && !readOnly)) await migrate(session, schema, display)
  const [known] = await session.query({ text: KNOWN }, [ledger])
  const [found, mayAppend, seesEntries] = known as (string | null)[]
  const id = found ?? (create ? (await session.query({ text: 'SELECT add_ledger($1)' }, [ledger]))[0]?.[0] : null)
  if (id === null || id === undefined) throw notFound(display, `the database has no ledger ${ledger}`)
  if (!readOnly && mayAppend !== 't') {
    throw new LedgerError(
      'read_only',
      `${target.user} may not append to ${display}: open it for reading, or have its owner GRANT ${schema}_writer TO ${target.user}`,
    )
  }
  return { id: Number(id), display, headersOnly: seesEntries !== 't' }
}

/** The ledger, and what this role may do. */
const KNOWN = `SELECT (SELECT ledger_id FROM ledgers WHERE name = $1),
  (SELECT bool_or(has_function_privilege(oid, 'EXECUTE')) FROM pg_proc WHERE proname = 'append_records' AND pronamespace = current_schema()::regnamespace),
  has_column_privilege('audit_log', 'entry', 'SELECT') AND has_column_privilege('audit_log', 'salt', 'SELECT')`

function notFound(display: string, why: string): LedgerError {
  return new LedgerError('not_found', `no ledger at ${display} (${why}): check the URL, or make one with init`, { location: display })
}
