/**
 * A connection to the host of a target that fits: tried in turn, again and again until the caller's patience is over,
 * since a server restarts and a standby is promoted.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { LedgerError } from '../../ledger/errors.ts'
import type { LedgerErrorCode } from '../../ledger/errors.ts'
import { loadPg } from './driver.ts'
import type { Client, ClientConfig } from './driver.ts'
import { asPostgresError, isConnectionLoss, sqlStateOf } from './errors.ts'
import { passwordOf } from './passfile.ts'
import type { PostgresHost, PostgresTarget, SessionKind } from './target.ts'
import { asTlsError, tlsOptions } from './tls.ts'

export interface ConnectOptions {
  /** `primary`: it takes writes. `any`: as `target_session_attrs` says, so standbys too. */
  readonly need: 'primary' | 'any'
  /** How long to try again where no host can be had, ms. 0: each host once. */
  readonly patience_ms: number
  readonly signal?: AbortSignal | undefined
  /** Send statements without waiting for the ones before. Default true; COPY streams need a connection without. */
  readonly pipeline?: boolean | undefined
  /** ms; 0 (the default): none. */
  readonly lock_timeout_ms?: number | undefined
  readonly statement_timeout_ms?: number | undefined
  /** As the server has it unless given, and `on` where it has `off`. */
  readonly synchronous_commit?: 'on' | 'off' | 'local' | 'remote_write' | 'remote_apply' | undefined
}

export interface PostgresServer {
  /** `server_version_num`: 150018 is 15.18. */
  readonly version: number
  /** It is a standby. */
  readonly in_recovery: boolean
  /** It takes no writes: a standby, or set so. */
  readonly read_only: boolean
  readonly backend_pid: number
}

export interface PostgresConnection {
  /** Its types are all texts. Errors of the connection itself are heard; `lost` has them. */
  readonly client: Client
  readonly host: PostgresHost
  readonly server: PostgresServer
  /** Why the session is over; null while it lives. */
  readonly lost: LedgerError | null
  /** Never rejects. Statements under way have 2 s to finish. */
  close(): Promise<void>
  /** At once: what is under way fails. */
  destroy(): void
}

/** PostgreSQL 15. */
const VERSION_MIN = 150_000
const FIRST_PAUSE_MS = 50
const PAUSE_MS_MAX = 1000
const KEEPALIVE_MS = 10_000
const IDLE_IN_TRANSACTION_MS = 10_000
const CONNECT_S = 10
/** Where there is another host to turn to. */
const CONNECT_ONE_OF_SEVERAL_S = 3
const CLOSE_MS_MAX = 2000

/**
 * One round trip for all. `pg_temp` last: a temporary table must not stand in front of the ledger's. Where the server does
 * not wait for its own disk (synchronous_commit is off), this session does: what it is told is committed has to stay.
 */
const SET_UP = `SELECT set_config(name, CASE WHEN value <> '' THEN value WHEN current_setting(name) = 'off' THEN 'on'
  ELSE current_setting(name) END, false), current_setting('server_version_num') AS version,
  current_setting('server_encoding') AS encoding, pg_is_in_recovery() AS in_recovery,
  current_setting('transaction_read_only') AS read_only, pg_backend_pid() AS backend_pid
  FROM unnest($1::text[], $2::text[]) AS setting (name, value)`

interface Failure {
  readonly host: PostgresHost
  readonly error: LedgerError
  /** Trying again can't help while nobody changes something. */
  readonly isFinal: boolean
}

/**
 * @throws LedgerError `io_error` (unreachable) | `read_only` (not permitted; no host takes writes) | `not_found` (no such
 * database) | `unsupported` (driver, version, encoding, no TLS); the signal's reason
 */
export async function connect(target: PostgresTarget, options: ConnectOptions): Promise<PostgresConnection> {
  const kind = sessionKind(target, options.need)
  const NewClient = await loadPg()
  const attempt = { target, options, NewClient }
  const deadline = performance.now() + options.patience_ms
  for (let round = 0; ; round++) {
    const failures: Failure[] = []
    // A standby is preferred: each host is asked for one before any is taken as it is.
    for (const wanted of kind === 'prefer-standby' ? (['standby', 'any'] as const) : [kind]) {
      failures.length = 0
      for (const host of target.hosts) {
        options.signal?.throwIfAborted()
        const answer = await tryHost(attempt, host, wanted)
        if ('client' in answer) return answer
        failures.push(answer)
      }
    }
    const left_ms = deadline - performance.now()
    if (left_ms <= 0 || failures.every(({ isFinal }) => isFinal)) throw summary(failures, target)
    // When the time is up, once more.
    await sleep(Math.min(pauseMs(round), left_ms), undefined, options.signal === undefined ? {} : { signal: options.signal }).catch(
      () => {},
    )
    options.signal?.throwIfAborted()
  }
}

/** Before a further attempt, by chance, so that not all come again at once. */
export function pauseMs(round: number): number {
  return Math.min(FIRST_PAUSE_MS * 2 ** Math.min(round, 10), PAUSE_MS_MAX) * (0.5 + Math.random() / 2)
}

/** @throws LedgerError `read_only` where the URL rules out what is needed */
function sessionKind(target: PostgresTarget, need: 'primary' | 'any'): SessionKind {
  const asked = target.target_session_attrs
  if (need === 'any') return asked
  if (asked === 'standby' || asked === 'read-only') {
    throw new LedgerError(
      'read_only',
      `target_session_attrs=${asked} leads to servers that take no writes: open the ledger for reading, or leave it out`,
    )
  }
  // Both: neither a standby nor a primary that is set to read only can be written to.
  return 'read-write'
}

/** Why the server is not of this kind; null where it is. */
function misfit(server: PostgresServer, wanted: SessionKind): string | null {
  const { in_recovery, read_only } = server
  switch (wanted) {
    case 'read-write':
      if (in_recovery) return 'it is a standby, which takes no writes: promote it, or name the primary in the URL'
      return read_only ? 'it takes no writes (default_transaction_read_only): change that, or name another host' : null
    case 'primary':
      return in_recovery ? 'it is a standby, and the URL asks for a primary' : null
    case 'standby':
      return in_recovery ? null : 'it is no standby, and the URL asks for one'
    case 'read-only':
      return read_only ? null : 'it takes writes, and the URL asks for one that does not'
    default:
      return null
  }
}

interface Attempt {
  readonly target: PostgresTarget
  readonly options: ConnectOptions
  readonly NewClient: new (config: ClientConfig) => Client
}

async function tryHost(attempt: Attempt, host: PostgresHost, wanted: SessionKind): Promise<PostgresConnection | Failure> {
  const { target, options } = attempt
  let client: Client | null = null
  try {
    client = new attempt.NewClient(await clientConfig(target, host, options))
    const connection = new LiveConnection(client, host, target)
    const rows = await withinTime(client, target, options.signal, async (live) => {
      await live.connect()
      return (await live.query<SetUpRow>(SET_UP, settings(target, options))).rows
    })
    connection.server = requireServer(rows[0] as SetUpRow, host)
    const why = misfit(connection.server, wanted)
    if (why === null) return connection
    await connection.close()
    return { host, error: new LedgerError('read_only', `${nameOf(host)} does not fit: ${why}`), isFinal: false }
  } catch (error) {
    client?.connection.stream.destroy()
    options.signal?.throwIfAborted()
    return failure(error, target, host)
  }
}

function failure(error: unknown, target: PostgresTarget, host: PostgresHost): Failure {
  if (!(error instanceof Error)) throw error
  if (error instanceof LedgerError) return { host, error, isFinal: true }
  if (error instanceof NoPassword) {
    const advice = `write one into the URL, PGPASSWORD, or a line for this host into ${target.passfile}, which nobody else may read (mode 600)`
    return { host, error: new LedgerError('read_only', `${nameOf(host)} asks for a password of ${target.user}: ${advice}`), isFinal: true }
  }
  const tls = asTlsError(error, target, host)
  if (tls !== null) return { host, error: tls, isFinal: true }
  const told = asPostgresError(error, 'connecting', { display: `${nameOf(host)} (${target.display})` })
  // Misuse of the driver by this file.
  if (!(told instanceof LedgerError)) throw told
  const sqlstate = sqlStateOf(error)
  // A refusal is FATAL too. It is final, unless the server is starting, stopping, or has no room.
  const isPassing = sqlstate === null ? isConnectionLoss(error) || isHandshakeRefused(error) : /^(08|53|55|57|58)/.test(sqlstate)
  return { host, error: told, isFinal: !isPassing }
}

/** A server that is out of processes answers the request for TLS with an error of the old protocol. */
function isHandshakeRefused(error: Error): boolean {
  return error.message === 'There was an error establishing an SSL connection'
}

function summary(failures: readonly Failure[], target: PostgresTarget): LedgerError {
  const [first] = failures as readonly [Failure]
  if (failures.length === 1) return first.error
  const codes = new Set(failures.map(({ error }) => error.code))
  const code: LedgerErrorCode = codes.size === 1 ? first.error.code : 'io_error'
  const each = failures.map(({ error }) => error.message).join('; and ')
  return new LedgerError(code, `none of the ${failures.length} hosts of ${target.display} can be used: ${each}`, {
    hosts: failures.map(({ host, error }) => ({ host: nameOf(host), code: error.code, message: error.message })),
    ...(failures.some(({ error }) => isConnectionLoss(error)) ? { connection_lost: true } : {}),
    cause: first.error,
  })
}

function nameOf({ host, port }: PostgresHost): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

class NoPassword extends Error {}

async function clientConfig(target: PostgresTarget, host: PostgresHost, options: ConnectOptions): Promise<ClientConfig> {
  return {
    host: host.host,
    port: host.port,
    user: target.user,
    database: target.database,
    // Asked for only where the server wants one. As a function, so that the driver looks nowhere by itself.
    password: async () => {
      const password = await passwordOf(target, host)
      if (password === null) throw new NoPassword()
      return password
    },
    ssl: await tlsOptions(target, host),
    sslnegotiation: 'postgres',
    pipeline: options.pipeline ?? true,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEPALIVE_MS,
    application_name: target.application_name,
    client_encoding: 'UTF8',
    types: { getTypeParser: () => (value: unknown) => value },
  }
}

function settings(target: PostgresTarget, options: ConnectOptions): [names: string[], values: string[]] {
  const all: Record<string, string> = {
    search_path: `"${target.schema}", pg_temp`,
    // A policy of row security would leave rows out in silence; so the server refuses instead.
    row_security: 'off',
    client_encoding: 'UTF8',
    default_transaction_isolation: 'read committed',
    // Compiling a plan takes longer than any query of ours runs.
    jit: 'off',
    client_min_messages: 'warning',
    // A process that stands still must not hold the lock that all others wait for.
    idle_in_transaction_session_timeout: String(IDLE_IN_TRANSACTION_MS),
    lock_timeout: String(options.lock_timeout_ms ?? 0),
    statement_timeout: String(options.statement_timeout_ms ?? 0),
    TimeZone: 'UTC',
    DateStyle: 'ISO, YMD',
    IntervalStyle: 'iso_8601',
    bytea_output: 'hex',
    standard_conforming_strings: 'on',
    extra_float_digits: '1',
    synchronous_commit: options.synchronous_commit ?? '',
  }
  return [Object.keys(all), Object.values(all)]
}

interface SetUpRow {
  readonly version: string
  readonly encoding: string
  readonly in_recovery: string
  readonly read_only: string
  readonly backend_pid: string
}

/** @throws LedgerError `unsupported` */
function requireServer(row: SetUpRow, host: PostgresHost): PostgresServer {
  const version = Number(row.version)
  if (!(version >= VERSION_MIN)) {
    throw new LedgerError('unsupported', `${nameOf(host)} is PostgreSQL ${Math.floor(version / 10_000)}: 15 or newer is needed`)
  }
  if (row.encoding !== 'UTF8') {
    throw new LedgerError(
      'unsupported',
      `the database at ${nameOf(host)} has the encoding ${row.encoding}, which can't hold every text: make one with createdb --encoding=UTF8 --template=template0`,
    )
  }
  const in_recovery = row.in_recovery === 't'
  return { version, in_recovery, read_only: in_recovery || row.read_only === 'on', backend_pid: Number(row.backend_pid) }
}

/** Cuts the connection when the time is over or the caller aborts; the driver then fails what waits for it. */
async function withinTime<T>(
  client: Client,
  target: PostgresTarget,
  signal: AbortSignal | undefined,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const timeout_s = target.connect_timeout_s ?? (target.hosts.length > 1 ? CONNECT_ONE_OF_SEVERAL_S : CONNECT_S)
  const cut = (why: string): void => void client.connection.stream.destroy(Object.assign(new Error(why), { code: 'ETIMEDOUT' }))
  const timer = timeout_s === 0 ? undefined : setTimeout(cut, timeout_s * 1000, `no answer within ${timeout_s} s`)
  const aborted = (): void => cut('aborted')
  signal?.addEventListener('abort', aborted)
  try {
    return await work(client)
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', aborted)
  }
}

class LiveConnection implements PostgresConnection {
  readonly client: Client
  readonly host: PostgresHost
  server: PostgresServer = { version: 0, in_recovery: false, read_only: false, backend_pid: 0 }
  lost: LedgerError | null = null
  #closing = false

  constructor(client: Client, host: PostgresHost, target: PostgresTarget) {
    this.client = client
    this.host = host
    const lose = (error: Error): void => {
      if (this.#closing) return
      const told = asPostgresError(error, 'waiting', { display: `${nameOf(host)} (${target.display})` })
      this.lost ??= told instanceof LedgerError ? told : new LedgerError('io_error', String(told), { connection_lost: true, cause: told })
    }
    // Without a listener an error of the connection would end the process.
    client.on('error', lose)
    client.on('end', () => lose(new Error('Connection terminated unexpectedly')))
  }

  async close(): Promise<void> {
    this.#closing = true
    // A server that does not answer must not keep a process from ending.
    const timer = setTimeout(() => this.destroy(), CLOSE_MS_MAX)
    await this.client.end().catch(() => {})
    clearTimeout(timer)
  }

  destroy(): void {
    this.#closing = true
    this.client.connection.stream.destroy()
  }
}
