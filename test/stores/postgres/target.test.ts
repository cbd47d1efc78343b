/** URLs of PostgreSQL: read as libpq reads them, or refused without repeating a password. */
import { inspect } from 'node:util'
import { homedir, userInfo } from 'node:os'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { locate, shownLocation } from '../../../src/open-store.ts'
import { findPassword, passwordOf } from '../../../src/stores/postgres/passfile.ts'
import { formatTarget, isLocal, parseTarget } from '../../../src/stores/postgres/target.ts'
import type { Environment, PostgresTarget } from '../../../src/stores/postgres/target.ts'
import { sslModeOf } from '../../../src/stores/postgres/tls.ts'
import { tempDir } from '../../helpers/temp.ts'

const me = userInfo().username
const one = (host: string, port = 5432): { host: string; port: number }[] => [{ host, port }]

type Expected = Partial<PostgresTarget>
test.each<[location: string, env: Environment, expected: Expected]>([
  ['postgres://', {}, { hosts: one('localhost'), user: me, database: me, password: null, ledger: 'main', schema: 'cortex_ledger' }],
  ['postgresql://h', {}, { hosts: one('h'), user: me, database: me, sslmode: null, target_session_attrs: 'any' }],
  ['POSTGRES://u@h/d', {}, { user: 'u', database: 'd', application_name: 'cortex-ledger', connect_timeout_s: null }],
  ['postgres://u:p%40s%2Fs%3A%23@h:6000/d%20b', {}, { hosts: one('h', 6000), user: 'u', password: 'p@s/s:#', database: 'd b' }],
  // Only the first colon divides; `#` begins no fragment, as in libpq.
  ['postgres://u:a:b#c@h/', {}, { user: 'u', password: 'a:b#c', database: 'u' }],
  ['postgres://u@/d?ledger=agents.eu-1&schema=audit_2', {}, { hosts: one('localhost'), ledger: 'agents.eu-1', schema: 'audit_2' }],
  [
    'postgres://h1:5433,h2,[2001:db8::1]:5434/d',
    { PGPORT: '6000' },
    {
      hosts: [
        { host: 'h1', port: 5433 },
        { host: 'h2', port: 5432 },
        { host: '2001:db8::1', port: 5434 },
      ],
    },
  ],
  [
    'postgres://h1,h2/d',
    { PGPORT: '6000,6001' },
    {
      hosts: [
        { host: 'h1', port: 6000 },
        { host: 'h2', port: 6001 },
      ],
    },
  ],
  ['postgres://[::1]/d', {}, { hosts: one('::1') }],
  ['postgres:///d?host=/run/postgresql', {}, { hosts: one('/run/postgresql'), database: 'd' }],
  ['postgres://%2Fvar%2Frun:5433/d', {}, { hosts: one('/var/run', 5433) }],
  ['postgres:///?dbname=d&user=u&password=p%26&port=5434&host=h', {}, { hosts: one('h', 5434), user: 'u', password: 'p&', database: 'd' }],
  [
    'postgres://',
    { PGHOST: 'a,b', PGPORT: '1,2', PGUSER: 'u', PGPASSWORD: 'p', PGDATABASE: 'd', PGSSLMODE: 'require', PGSSLROOTCERT: '/r' },
    {
      hosts: [
        { host: 'a', port: 1 },
        { host: 'b', port: 2 },
      ],
      user: 'u',
      password: 'p',
      database: 'd',
      sslmode: 'require',
      sslrootcert: '/r',
    },
  ],
  [
    'postgres://',
    { PGSSLCERT: '/c', PGSSLKEY: '/k', PGAPPNAME: 'a', PGCONNECT_TIMEOUT: '7', PGTARGETSESSIONATTRS: 'standby', PGPASSFILE: '/p' },
    { sslcert: '/c', sslkey: '/k', application_name: 'a', connect_timeout_s: 7, target_session_attrs: 'standby', passfile: '/p' },
  ],
  // The URL wins, and a variable that is empty says nothing.
  [
    'postgres://u@h:1/d?sslmode=disable',
    { PGUSER: 'x', PGHOST: 'x', PGPORT: '9', PGSSLMODE: 'require' },
    { user: 'u', hosts: one('h', 1), sslmode: 'disable' },
  ],
  ['postgres://h', { PGUSER: '', PGSSLMODE: '' }, { user: me, sslmode: null }],
  ['postgres://h', { HOME: '/home/u' }, { passfile: '/home/u/.pgpass' }],
  ['postgres://h', {}, { passfile: join(homedir(), '.pgpass') }],
])('%s with %o', (location, env, expected) => {
  const target = parseTarget(location, env)
  expect({ ...target, password: target.password }).toMatchObject(expected)
})

test.each<[location: string, env: Environment, message: RegExp]>([
  ['postgres:/h/d', {}, /begins with postgres:\/\//],
  ['mysql://h/d', {}, /begins with postgres:\/\//],
  ['postgres://h/d?colour=red', {}, /unknown parameter colour; known are host, port, .*ledger, schema/],
  ['postgres://h/d?constructor=x', {}, /unknown parameter constructor/],
  ['postgres://h/d?ledger', {}, /ledger=VALUE/],
  ['postgres://h/d?ledger=a=b', {}, /ledger=VALUE/],
  ['postgres://h/d?ledger=a&ledger=b', {}, /ledger twice/],
  ['postgres://h/d?host=i', {}, /host twice/],
  ['postgres://h/d?dbname=e', {}, /dbname twice/],
  ['postgres://h/d?ledger=A', {}, /ledger must be 1 to 63 characters/],
  ['postgres://h/d?ledger=-a', {}, /ledger must/],
  [`postgres://h/d?ledger=${'a'.repeat(64)}`, {}, /ledger must/],
  ['postgres://h/d?schema=pg_x', {}, /schema must be 1 to 40 characters/],
  ['postgres://h/d?schema=a%22b', {}, /schema must/],
  [`postgres://h/d?schema=${'a'.repeat(41)}`, {}, /schema must/],
  ['postgres://h/d?sslmode=prefer', {}, /not prefer or allow: with them somebody/],
  ['postgres://h/d', { PGSSLMODE: 'allow' }, /^PGSSLMODE must be one of/],
  ['postgres://h/d?sslmode=no-verify', {}, /sslmode must be one of disable, require, verify-ca, verify-full$/],
  ['postgres://h/d?sslrootcert=system&sslmode=require', {}, /sslrootcert=system needs sslmode=verify-full/],
  ['postgres://h/d?sslcert=/c', {}, /belong together/],
  ['postgres://h/d?target_session_attrs=master', {}, /must be one of any, read-write/],
  ['postgres://h/d?connect_timeout=1.5', {}, /whole number of seconds/],
  ['postgres://h:0/d', {}, /1 to 65535/],
  ['postgres://h:65536/d', {}, /1 to 65535/],
  ['postgres://h/d', { PGPORT: 'x' }, /1 to 65535 \(PGPORT\)/],
  ['postgres://h1,h2,h3/d', { PGPORT: '1,2' }, /PGPORT has 2 ports for 3 hosts/],
  ['postgres://::1/d', {}, /IPv6 address in \[ \]/],
  ['postgres://a%20b/d', {}, /names, addresses or absolute paths/],
  ['postgres://a%2Cb/d', {}, /comma/],
  ['postgres://h/%zz', {}, /two hexadecimal digits/],
  ['postgres://h/%ff', {}, /two hexadecimal digits/],
  ['postgres://h/a%00user%00postgres', {}, /zero byte/],
  ['postgres://h/d\n', {}, /control character/],
  ['postgres://h/d', { PGUSER: 'a\0b' }, /PGUSER must not contain a zero byte/],
])('refused: %s with %o', (location, env, message) => {
  const error = (() => {
    try {
      return parseTarget(location, env)
    } catch (thrown) {
      return thrown
    }
  })()
  expect(error).toBeInstanceOf(TypeError)
  expect((error as Error).message).toMatch(message)
})

/** A password that was not encoded can come apart anywhere, and its parts into any message. */
test('no message, nothing shown and nothing printed has the password', () => {
  const secret = 'hunter2'
  const character = fc.constantFrom('@', '/', ':', '?', '#', '%', '&', '=', '[', ']', ',', '', ' ')
  fc.assert(
    fc.property(character, character, character, fc.constantFrom('u@', ''), (a, b, c, more) => {
      const location = `postgres://u:${a}${secret}${b}${secret}${c}${more}@h/d?password=${secret}`
      try {
        const target = parseTarget(location, {})
        expect(target.display).not.toContain(secret)
        expect(inspect(target, { showHidden: false })).not.toContain(secret)
        expect(JSON.stringify(target)).not.toContain(secret)
      } catch (error) {
        if (!(error instanceof TypeError)) throw error
        expect(error.message).not.toContain(secret)
      }
      expect(shownLocation(location)).not.toContain(secret)
    }),
  )
  expect(shownLocation('postgres://u:secret@h/d?ledger=x')).toBe('postgres://u@h/d?ledger=x')
  expect(shownLocation('postgres://u:se@cret@h/d')).toBe('postgres://…')
  expect(shownLocation('./audit')).toBe('./audit')
})

const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }).filter((one) => !one.includes('\0') && one.isWellFormed())
const host = fc.record({
  host: fc.oneof(
    fc.stringMatching(/^[a-z][a-z0-9-]{0,8}[a-z](\.[a-z]{2,4})?$/),
    fc.ipV4(),
    fc.ipV6(),
    fc.stringMatching(/^\/[a-z%@:]{1,6}(\/[a-z0-9 ]{1,6})?$/),
  ),
  port: fc.integer({ min: 1, max: 65535 }),
})
const nullable = <T>(of: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(of, { nil: null })
const parts = fc.record({
  hosts: fc.array(host, { minLength: 1, maxLength: 3 }),
  user: text,
  database: text,
  password: nullable(text),
  passfile: text,
  ledger: fc.stringMatching(/^[a-z0-9][a-z0-9_.-]{0,62}$/),
  schema: fc.stringMatching(/^[a-oq-z_][a-z0-9_]{0,39}$/),
  sslmode: nullable(fc.constantFrom('disable', 'require', 'verify-ca', 'verify-full')),
  sslrootcert: nullable(text.filter((file) => file !== 'system')),
  client: nullable(fc.record({ sslcert: text, sslkey: text })),
  target_session_attrs: fc.constantFrom('any', 'read-write', 'read-only', 'primary', 'standby', 'prefer-standby'),
  application_name: text,
  connect_timeout_s: nullable(fc.nat(999_999)),
})

test('formatting and parsing are inverse', () => {
  fc.assert(
    fc.property(parts, ({ hosts, user, database, password, client, connect_timeout_s, ...rest }) => {
      const say = encodeURIComponent
      const parameters = Object.entries({ ...rest, ...client, connect_timeout: connect_timeout_s, user, password })
        .filter(([, value]) => value !== null)
        .map(([name, value]) => `${name}=${say(String(value))}`)
      const places = hosts.map(
        (one) => `${one.host.includes(':') && !one.host.startsWith('/') ? `[${one.host}]` : say(one.host)}:${one.port}`,
      )
      const target = parseTarget(`postgres://${places.join(',')}/${say(database)}?${parameters.join('&')}`, {})
      expect({ ...target, password: target.password }).toMatchObject({
        ...rest,
        hosts,
        user,
        database,
        password,
        connect_timeout_s,
        ...(client ?? { sslcert: null, sslkey: null }),
      })
      const again = parseTarget(formatTarget(target), {})
      expect(again).toEqual(target)
      expect(again.password).toBe(password)
      expect(parseTarget(target.display, {})).toEqual(target)
      expect(parseTarget(target.display, {}).password).toBe(null)
    }),
  )
})

test('encryption is on for each host that is not on this machine', () => {
  const modeOf = (location: string): string => {
    const target = parseTarget(location, {})
    return sslModeOf(target, target.hosts[0]!)
  }
  for (const local of ['localhost', 'LOCALHOST.', '127.0.0.1', '127.9.9.9', '[::1]', '%2Frun']) {
    expect([local, modeOf(`postgres://${local}/d`)]).toEqual([local, 'disable'])
    expect(isLocal(parseTarget(`postgres://${local}/d`, {}).hosts[0]!)).toBe(true)
  }
  for (const far of ['db', 'localhost.example.com', '127.example.com', '10.0.0.1', '[::2]', '128.0.0.1'])
    expect([far, modeOf(`postgres://${far}/d`)]).toEqual([far, 'verify-full'])
  expect(modeOf('postgres://localhost/d?sslmode=require')).toBe('require')
  expect(modeOf('postgres://localhost/d?sslrootcert=/r')).toBe('verify-full')
  expect(modeOf('postgres://db/d?sslmode=disable')).toBe('disable')
  // As in libpq: a Unix socket is never encrypted.
  expect(modeOf('postgres://%2Frun/d?sslmode=verify-full')).toBe('disable')
})

test('a location of a ledger', () => {
  expect(locate('postgres://h/d')).toEqual({ kind: 'postgres', url: 'postgres://h/d' })
  expect(locate(new URL('postgresql://u:p@h/d?ledger=x'))).toEqual({ kind: 'postgres', url: 'postgresql://u:p@h/d?ledger=x' })
  expect(() => locate('postgres://h/d?ledger=NO')).toThrow(TypeError)
})

describe('the password file', () => {
  const wanted = ['h', '5432', 'd', 'u'] as const
  test.each<[text: string, password: string | null]>([
    ['h:5432:d:u:secret', 'secret'],
    ['# h:5432:d:u:no\nh:5432:d:u:secret\r\n', 'secret'],
    ['*:*:*:*:any', 'any'],
    ['i:*:*:*:no\nh:*:*:*:first\nh:5432:d:u:second', 'first'],
    [String.raw`h:5432:d:u:a\:b\\c`, String.raw`a:b\c`],
    ['h:5432:d:u', null],
    ['h:5432:d:u:', ''],
    [String.raw`h:5432:d:u:a:b`, 'a'],
    ['h:5432:d:u:a\\', 'a\\'],
    ['h:5432:d:x:no', null],
    ['', null],
  ])('%j', (content, password) => expect(findPassword(content, wanted)).toBe(password))

  test('names with colons and backslashes', () => {
    expect(findPassword(String.raw`\:\:1:1:a\\b:u\:v:s`, ['::1', '1', 'a\\b', 'u:v'])).toBe('s')
  })

  test('one that others can read is not used; a password that is given is', async () => {
    const file = join(tempDir(), 'pgpass')
    writeFileSync(file, 'h:*:*:*:secret\nlocalhost:*:*:*:socket\n')
    const target = parseTarget('postgres://u@h/d', { PGPASSFILE: file })
    const [where] = target.hosts
    chmodSync(file, 0o640)
    expect(await passwordOf(target, where!)).toBe(null)
    chmodSync(file, 0o600)
    expect(await passwordOf(target, where!)).toBe('secret')
    expect(await passwordOf(target, { host: '/run', port: 5432 })).toBe('socket')
    expect(await passwordOf(parseTarget('postgres://u:mine@h/d', { PGPASSFILE: file }), where!)).toBe('mine')
    expect(await passwordOf(parseTarget('postgres://u@h/d', { PGPASSFILE: `${file}-not` }), where!)).toBe(null)
  })
})
