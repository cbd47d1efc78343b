/**
 * PostgreSQL's errors as the ledger's own.
 * Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
import { LedgerError } from '../../ledger/errors.ts'
import type { LedgerErrorCode } from '../../ledger/errors.ts'

interface Meaning {
  readonly code: LedgerErrorCode
  readonly advice: string
  /** The session is over, or the server is not there to begin one. */
  readonly lost?: true
}

const AGAIN = 'the transaction was rolled back and can be done again'
const SERVER_GONE: Meaning = {
  code: 'io_error',
  advice: 'check that the server runs and can be reached; recording goes on when it does',
  lost: true,
}
const NOT_PERMITTED: Meaning = { code: 'read_only', advice: "connect as a role that may, or have the ledger's owner grant it" }
const NO_LEDGER: Meaning = {
  code: 'not_a_ledger',
  advice: 'what belongs to a ledger is not there: check the database and the schema of the URL, or make a ledger with init',
}
const DAMAGED: Meaning = {
  code: 'damaged',
  advice: 'the server found its own files damaged: see its log, run verify to see what is left, and take the rest from a backup',
}

/** By SQLSTATE, else by its class of two characters; every other one is `io_error`. */
const MEANINGS: Readonly<Record<string, Meaning>> = {
  '08': SERVER_GONE,
  '0A000': { code: 'unsupported', advice: 'the server can not do this: check its version' },
  // Only append_records writes, so it is not another writer.
  23505: {
    code: 'damaged',
    advice:
      'a run_id or position of these records is in a table already, and its record is not: was a month detached? Attach it again, or run verify',
  },
  25006: { code: 'read_only', advice: 'it is a standby or set to read only: name the primary in the URL' },
  '25P03': { ...SERVER_GONE, advice: 'this process held a transaction open for too long; recording goes on over another connection' },
  '25P04': { ...SERVER_GONE, advice: 'a transaction took longer than the server allows; recording goes on over another connection' },
  28: {
    code: 'read_only',
    advice: 'check user and password of the URL, PGUSER, PGPASSWORD and the password file, and the pg_hba.conf of the server',
  },
  '3D000': { code: 'not_found', advice: 'make the database with createdb, or check its name in the URL' },
  '3F000': NO_LEDGER,
  40001: { code: 'head_moved', advice: AGAIN },
  '40P01': { code: 'head_moved', advice: AGAIN },
  '42P01': NO_LEDGER,
  42501: NOT_PERMITTED,
  42703: NO_LEDGER,
  42883: NO_LEDGER,
  53100: { code: 'disk_full', advice: 'free some space on the server; recording goes on by itself' },
  53200: {
    code: 'io_error',
    advice: 'the server has no memory left for this, or for locks on so many partitions: then raise max_locks_per_transaction',
  },
  53300: {
    code: 'io_error',
    advice: 'raise max_connections of the server, or the connection limit of the role or database, or close what is not used',
  },
  54: { code: 'too_large', advice: 'split the entry, or refer to large content' },
  55006: { code: 'locked', advice: 'another session is using it: wait until it has finished' },
  '55P03': { code: 'locked', advice: 'another session holds the lock: wait, or find out in pg_stat_activity which one does not finish' },
  57014: { code: 'io_error', advice: 'the server or an operator stopped the statement: look for statement_timeout; it can be tried again' },
  '57P01': SERVER_GONE,
  '57P02': SERVER_GONE,
  '57P03': SERVER_GONE,
  '57P04': { code: 'not_found', advice: 'the database was dropped while it was used', lost: true },
  '57P05': { ...SERVER_GONE, advice: 'the session was idle for longer than the server allows; recording goes on over another connection' },
  58: { code: 'io_error', advice: "the server can't read or write its files: check its disk and its log" },
  XX001: DAMAGED,
  XX002: DAMAGED,
}

const NETWORK_CODES: ReadonlySet<string> = new Set([
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'ENETDOWN',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EPIPE',
  'ETIMEDOUT',
  'ERR_STREAM_DESTROYED',
  'ERR_STREAM_WRITE_AFTER_END',
])
/** What the driver says itself, without a code. */
const DRIVER_LOST = /^(Connection terminated|timeout expired|Query read timeout|Client (has encountered a connection error|was closed))/

/** What a driver or the network gives. */
interface RawError {
  readonly code?: unknown
  readonly syscall?: unknown
  readonly severity?: unknown
  readonly errors?: unknown
}

/** SQLSTATE where a table is not there. */
export const UNDEFINED_TABLE = '42P01'

const SQLSTATE = /^[0-9A-Z]{5}$/

/** SQLSTATE of a server's error, or null. Node.js has codes of five letters too (EPIPE), but gives no severity. */
export function sqlStateOf(error: unknown): string | null {
  if (error instanceof LedgerError) return typeof error.details['sqlstate'] === 'string' ? error.details['sqlstate'] : null
  const { code, severity } = error as RawError
  return error instanceof Error && typeof code === 'string' && typeof severity === 'string' && SQLSTATE.test(code) ? code : null
}

/** True where the session is over: whether a statement that was under way took effect can't be told from the error. */
export function isConnectionLoss(error: unknown): boolean {
  if (error instanceof LedgerError) return error.details['connection_lost'] === true
  if (!(error instanceof Error)) return false
  const { code, severity } = error as RawError
  const sqlstate = sqlStateOf(error)
  // FATAL ends the session, PANIC the server. A refusal at its beginning is FATAL too, but then there was none to lose.
  if (sqlstate !== null)
    return meaningOf(sqlstate)?.lost === true || ((severity === 'FATAL' || severity === 'PANIC') && !/^(28|3D|42)/.test(sqlstate))
  if (typeof code === 'string' && NETWORK_CODES.has(code)) return true
  // A Unix socket that is not there.
  return (code === 'ENOENT' && (error as RawError).syscall === 'connect') || DRIVER_LOST.test(error.message)
}

/** A standby stopped the query, since it was in the way of what it has to replay: asked again, it may go through. */
export function isStandbyConflict(error: unknown): boolean {
  const sqlstate = sqlStateOf(error)
  return sqlstate === '40001' || sqlstate === '40P01'
}

function meaningOf(sqlstate: string): Meaning | undefined {
  return MEANINGS[sqlstate] ?? MEANINGS[sqlstate.slice(0, 2)]
}

/** The message; where a name has several addresses and all refuse, the error has none of its own. */
export function textOf(error: Error): string {
  const { errors } = error as RawError
  if (error.message !== '' || !Array.isArray(errors)) return error.message
  return [...new Set(errors.map((one) => (one instanceof Error ? one.message : String(one))))].join('; ')
}

/**
 * A driver's error as a LedgerError: `details.sqlstate` where the server sent it, `details.connection_lost` where the
 * session is over. Misuse (TypeError, RangeError) passes as it is. `doing` completes "while …", in few words.
 * Nothing that the server says in its DETAIL gets into the message: that quotes the rows.
 */
export function asPostgresError(error: unknown, doing: string, target: { readonly display: string }): unknown {
  if (error instanceof LedgerError || !(error instanceof Error) || error instanceof TypeError || error instanceof RangeError) return error
  const sqlstate = sqlStateOf(error)
  const lost = isConnectionLoss(error)
  const meaning: Meaning | undefined = sqlstate === null ? (lost ? SERVER_GONE : undefined) : meaningOf(sqlstate)
  const advice = meaning?.advice ?? (lost ? SERVER_GONE.advice : "see the server's log")
  const source = sqlstate === null ? '' : `SQLSTATE ${sqlstate} `
  return new LedgerError(meaning?.code ?? 'io_error', `${textOf(error)} (${source}while ${doing} at ${target.display}): ${advice}`, {
    ...(sqlstate === null ? {} : { sqlstate }),
    ...(lost ? { connection_lost: true } : {}),
    cause: error,
  })
}
