/**
 * Where a ledger in PostgreSQL is: a URL as libpq reads it, completed from the PG* variables and libpq's defaults.
 * Source: https://www.postgresql.org/docs/current/libpq-connect.html, 34.1.1.2 and 34.15. Read more strictly: unknown
 * parameters are refused, and so is what another reader could take apart in another way. No message here repeats a part
 * of the URL that could be a password which was not percent-encoded.
 */
import { isIP } from 'node:net'
import { homedir, userInfo } from 'node:os'
import { join } from 'node:path'

export type Environment = { readonly [name: string]: string | undefined }

const SSL_MODES = ['disable', 'require', 'verify-ca', 'verify-full'] as const
/**
 * `require` is encrypted, and verified as `verify-ca` where a root certificate is given; `verify-ca` checks who signed the
 * certificate, `verify-full` also that it is for this host.
 */
export type SslMode = (typeof SSL_MODES)[number]

const SESSION_KINDS = ['any', 'read-write', 'read-only', 'primary', 'standby', 'prefer-standby'] as const
/** Which of several hosts to take, as libpq's `target_session_attrs`. */
export type SessionKind = (typeof SESSION_KINDS)[number]

export interface PostgresHost {
  /** A name, an address, or the absolute path of the folder of a Unix socket. */
  readonly host: string
  readonly port: number
}

export interface PostgresTarget {
  /** In the order in which they are tried; at least one. */
  readonly hosts: readonly PostgresHost[]
  readonly user: string
  readonly database: string
  /** Null: by the password file. Not enumerable, so that no log and no `inspect` shows it. */
  readonly password: string | null
  /** libpq's password file. */
  readonly passfile: string
  readonly ledger: string
  readonly schema: string
  /** Null: `verify-full` for hosts that are not on this machine, and none for those that are. */
  readonly sslmode: SslMode | null
  /** A file of certificates (PEM), or `system`; null: those that the runtime trusts. */
  readonly sslrootcert: string | null
  readonly sslcert: string | null
  readonly sslkey: string | null
  readonly target_session_attrs: SessionKind
  readonly application_name: string
  /** For one host, s; 0 waits without end; null: 10, and 3 where there are several hosts. */
  readonly connect_timeout_s: number | null
  /** The URL without the password, for messages. */
  readonly display: string
}

const LEDGER_NAME = /^[a-z0-9][a-z0-9_.-]{0,62}$/
const SCHEMA_NAME = /^(?!pg_)[a-z_][a-z0-9_]{0,39}$/
const HOST_NAME = /^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?$/i
const DEFAULT_PORT = 5432

/** Parameters of the URL, with the variable that speaks where one is absent. */
const PARAMETERS = {
  host: 'PGHOST',
  port: 'PGPORT',
  user: 'PGUSER',
  password: 'PGPASSWORD',
  dbname: 'PGDATABASE',
  passfile: 'PGPASSFILE',
  sslmode: 'PGSSLMODE',
  sslrootcert: 'PGSSLROOTCERT',
  sslcert: 'PGSSLCERT',
  sslkey: 'PGSSLKEY',
  target_session_attrs: 'PGTARGETSESSIONATTRS',
  application_name: 'PGAPPNAME',
  connect_timeout: 'PGCONNECT_TIMEOUT',
  ledger: null,
  schema: null,
} as const
type Parameter = keyof typeof PARAMETERS

const ENCODE = 'write every character of names and passwords that is not a letter, a digit or one of -._~ as %XX: @ as %40, / as %2F'

/** @throws TypeError for a URL that names no place, and for variables that make none of it */
export function parseTarget(location: string, env: Environment = process.env): PostgresTarget {
  const said = readUrl(location)
  /** The value, and what it is called where it was found. */
  const find = (name: Parameter): { readonly value: string; readonly called: string } | null => {
    const value = said.get(name)
    if (value !== undefined) return { value, called: `the URL's ${name}` }
    const variable = PARAMETERS[name]
    const text = variable === null ? undefined : env[variable]
    // As libpq: a variable that is set to nothing says nothing.
    if (variable === null || text === undefined || text === '') return null
    if (text.includes('\0')) throw new TypeError(`${variable} must not contain a zero byte`)
    return { value: text, called: variable }
  }
  const oneOf = <T extends string>(name: Parameter, values: readonly T[], reasons: { readonly [value: string]: string } = {}): T | null => {
    const found = find(name)
    if (found === null) return null
    if ((values as readonly string[]).includes(found.value)) return found.value as T
    throw new TypeError(`${found.called} must be one of ${values.join(', ')}${reasons[found.value] ?? ''}`)
  }
  const matching = (name: Parameter, pattern: RegExp, otherwise: string, rule: string): string => {
    const value = find(name)?.value ?? otherwise
    if (!pattern.test(value)) throw new TypeError(`the URL's ${name} must be ${rule}`)
    return value
  }

  const user = find('user')?.value ?? systemUser()
  const timeout = find('connect_timeout')
  if (timeout !== null && !/^\d{1,6}$/.test(timeout.value)) throw new TypeError(`${timeout.called} must be a whole number of seconds`)
  const weak = ': with them somebody between here and the server can turn encryption off'
  const parts = {
    hosts: hostsOf(find('host'), find('port')),
    user,
    database: find('dbname')?.value ?? user,
    passfile: find('passfile')?.value ?? defaultPassfile(env),
    ledger: matching('ledger', LEDGER_NAME, 'main', '1 to 63 characters of a-z, 0-9, _, . and -, the first a letter or digit'),
    schema: matching('schema', SCHEMA_NAME, 'cortex_ledger', '1 to 40 characters of a-z, 0-9 and _, not beginning with a digit or pg_'),
    sslmode: oneOf('sslmode', SSL_MODES, { prefer: `, not prefer or allow${weak}`, allow: `, not prefer or allow${weak}` }),
    sslrootcert: find('sslrootcert')?.value ?? null,
    sslcert: find('sslcert')?.value ?? null,
    sslkey: find('sslkey')?.value ?? null,
    target_session_attrs: oneOf('target_session_attrs', SESSION_KINDS) ?? 'any',
    application_name: find('application_name')?.value ?? 'cortex-ledger',
    connect_timeout_s: timeout === null ? null : Number(timeout.value),
  }
  if ((parts.sslcert === null) !== (parts.sslkey === null)) throw new TypeError('sslcert and sslkey belong together: give both or none')
  if (parts.sslrootcert === 'system' && (parts.sslmode ?? 'verify-full') !== 'verify-full') {
    // As libpq: anybody can get a certificate that the system trusts, for a host of their own.
    throw new TypeError('sslrootcert=system needs sslmode=verify-full: a certificate of any host would do otherwise')
  }
  return withPassword(parts, find('password')?.value ?? null, env)
}

function withPassword(parts: Omit<PostgresTarget, 'password' | 'display'>, password: string | null, env: Environment): PostgresTarget {
  const target = { ...parts, display: formatParts(parts, env) }
  Object.defineProperty(target, 'password', { value: password, enumerable: false })
  return target as typeof target & { readonly password: string | null }
}

function systemUser(): string {
  try {
    return userInfo().username
  } catch {
    throw new TypeError('the URL names no user, and this process runs as one without a name: write postgres://USER@HOST/DATABASE')
  }
}

function defaultPassfile(env: Environment): string {
  return process.platform === 'win32'
    ? join(env['APPDATA'] ?? homedir(), 'postgresql', 'pgpass.conf')
    : join(env['HOME'] || homedir(), '.pgpass')
}

/** The parameters that the URL gives. @throws TypeError */
function readUrl(location: string): ReadonlyMap<Parameter, string> {
  if (/\p{Cc}/u.test(location)) throw new TypeError(`the URL has a control character, such as a line feed: ${ENCODE}`)
  const [, authority, path, query] = /^postgres(?:ql)?:\/\/([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/i.exec(location) ?? []
  if (authority === undefined) throw new TypeError('a URL of PostgreSQL begins with postgres://')
  const said = new Map<Parameter, string>()
  const say = (name: Parameter, value: string): void => {
    if (said.has(name)) throw new TypeError(`the URL gives its ${name} twice`)
    said.set(name, value)
  }
  const at = authority.split('@')
  if (at.length > 2 || path?.includes('@') === true) throw new TypeError(`more than one @, or one in the path: ${ENCODE}`)
  if (at.length === 2) {
    const [user = '', ...password] = (at[0] as string).split(':')
    if (user !== '') say('user', decode(user))
    if (password.join(':') !== '') say('password', decode(password.join(':')))
  }
  const { hosts, ports } = readAuthority(at.at(-1) as string)
  if (hosts !== '') say('host', hosts)
  if (/\d/.test(ports)) say('port', ports)
  if (path !== undefined && path !== '') say('dbname', decode(path))
  for (const pair of query === undefined || query === '' ? [] : query.split('&')) {
    const [name = '', ...value] = pair.split('=')
    // hasOwn, since `constructor` is no parameter.
    if (!Object.hasOwn(PARAMETERS, name)) {
      const shown = /^[a-z_]{1,40}$/i.test(name) ? ` ${name}` : ''
      throw new TypeError(`the URL has an unknown parameter${shown}; known are ${Object.keys(PARAMETERS).join(', ')}`)
    }
    if (value.length !== 1) throw new TypeError(`write ${name} in the URL as ${name}=VALUE, with = in the value as %3D`)
    if (value[0] !== '') say(name as Parameter, decode(value[0] as string))
  }
  return said
}

/** `h1:5432,[::1],h2` as libpq's two lists: `h1,::1,h2` and `5432,,`. */
function readAuthority(text: string): { readonly hosts: string; readonly ports: string } {
  const pairs = text.split(',').map((one) => {
    const match = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(\d*))?$/.exec(one)
    if (match === null)
      throw new TypeError(`the host must be NAME:PORT, with an IPv6 address in [ ]; or the password is not encoded: ${ENCODE}`)
    return { host: match[1] ?? decode(match[2] ?? ''), port: match[3] ?? '' }
  })
  if (pairs.some(({ host }) => host.includes(','))) throw new TypeError('a host must not have a comma in its name')
  return { hosts: pairs.map(({ host }) => host).join(','), ports: pairs.map(({ port }) => port).join(',') }
}

function decode(text: string): string {
  let value: string
  try {
    value = decodeURIComponent(text)
  } catch {
    throw new TypeError(`% must be followed by two hexadecimal digits that make UTF-8: ${ENCODE}`)
  }
  // It would end the value in the protocol, and what follows would be read as another parameter.
  if (value.includes('\0')) throw new TypeError('the URL must not contain a zero byte')
  return value
}

type Found = { readonly value: string; readonly called: string } | null

function hostsOf(host: Found, port: Found): PostgresHost[] {
  const hosts = (host?.value ?? '').split(',').map((one) => (one === '' ? 'localhost' : one))
  const ports = (port?.value ?? '').split(',')
  if (ports.length !== 1 && ports.length !== hosts.length) {
    throw new TypeError(`${port?.called} has ${ports.length} ports for ${hosts.length} hosts: give one, or one for each`)
  }
  return hosts.map((one, i) => {
    if (!one.startsWith('/') && isIP(one) === 0 && !HOST_NAME.test(one)) {
      throw new TypeError(
        `${host?.called ?? 'the host'} must be names, addresses or absolute paths of folders of sockets, with a comma between`,
      )
    }
    const text = (ports.length === 1 ? ports[0] : ports[i]) || String(DEFAULT_PORT)
    const number = Number(text)
    if (!/^\d{1,5}$/.test(text) || number < 1 || number > 65535)
      throw new TypeError(`a port must be a number from 1 to 65535 (${port?.called})`)
    return { host: one, port: number }
  })
}

/** On this machine: nobody is between. */
export function isLocal({ host }: PostgresHost): boolean {
  return host.startsWith('/') || host === '::1' || /^localhost\.?$/i.test(host) || (isIP(host) === 4 && host.startsWith('127.'))
}

const encode = (text: string): string => encodeURIComponent(text)

function formatHost({ host, port }: PostgresHost): string {
  const name = isIP(host) === 6 ? `[${host}]` : encode(host)
  return port === DEFAULT_PORT ? name : `${name}:${port}`
}

function formatParts(target: Omit<PostgresTarget, 'password' | 'display'>, env: Environment): string {
  const passfile = target.passfile === defaultPassfile(env) ? null : target.passfile
  const application = target.application_name === 'cortex-ledger' ? null : target.application_name
  const parameters: readonly (readonly [Parameter, string | null])[] = [
    ['passfile', passfile],
    ['sslmode', target.sslmode],
    ['sslrootcert', target.sslrootcert],
    ['sslcert', target.sslcert],
    ['sslkey', target.sslkey],
    ['target_session_attrs', target.target_session_attrs === 'any' ? null : target.target_session_attrs],
    ['application_name', application],
    ['connect_timeout', target.connect_timeout_s === null ? null : String(target.connect_timeout_s)],
    ['schema', target.schema === 'cortex_ledger' ? null : target.schema],
    ['ledger', target.ledger === 'main' ? null : target.ledger],
  ]
  const query = parameters.flatMap(([name, value]) => (value === null ? [] : [`${name}=${value.split('/').map(encode).join('/')}`]))
  const place = `${encode(target.user)}@${target.hosts.map(formatHost).join(',')}/${encode(target.database)}`
  return `postgres://${place}${query.length === 0 ? '' : `?${query.join('&')}`}`
}

/** The URL with its password: `parseTarget` of it, without variables, gives the target again. A secret. */
export function formatTarget(target: PostgresTarget): string {
  if (target.password === null) return target.display
  return target.display.replace('@', () => `:${encode(target.password as string)}@`)
}

/** A URL as it may be shown, whether or not it can be read. */
export function withoutPassword(location: string): string {
  try {
    return parseTarget(location).display
  } catch {
    return /^postgres(ql)?:\/\//i.exec(location) === null ? location : 'postgres://…'
  }
}
