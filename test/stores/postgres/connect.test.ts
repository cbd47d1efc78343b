/** Connecting to real servers: those that fit, those that refuse, and those that are not there yet. */
import { spawnSync } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { connect as dial, createServer, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { LedgerError } from '../../../src/ledger/errors.ts'
import { connect } from '../../../src/stores/postgres/connect.ts'
import { isConnectionLoss } from '../../../src/stores/postgres/errors.ts'
import { parseTarget } from '../../../src/stores/postgres/target.ts'
import { linesWithout } from '../../helpers/absent-packages.ts'
import { clusterMissing, useCluster } from '../../helpers/postgres.ts'
import { sql, startStandby } from '../../helpers/postgres-cluster.ts'
import { tempDir } from '../../helpers/temp.ts'
import { ask, connected, notConnected } from './helpers.ts'

const HBA = [
  'local all postgres trust',
  'local all all scram-sha-256',
  'host all,replication postgres 127.0.0.1/32 trust',
  'host all all 127.0.0.1/32 scram-sha-256',
]

/** A port on which nothing listens. */
async function deadPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** A port that takes connections and never says anything. */
async function silentPort(): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => void sockets.add(socket.on('error', () => {}))).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

/** A port that passes all on to another one, but for this text in what the server says. */
async function altering(port: number, from: string, to: string): Promise<number> {
  const server = createServer((client) => {
    const upstream = dial(port, '127.0.0.1')
    client.on('error', () => {}).pipe(upstream.on('error', () => {}))
    upstream.on('data', (bytes) => client.write(bytes.toString('latin1').replace(from, to), 'latin1')).on('end', () => client.end())
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}

describe.skipIf(clusterMissing !== null)('a server', () => {
  const cluster = useCluster({ hba: HBA })
  const url = (query = '', user = 'postgres', database = 'postgres'): string =>
    `postgres://${user}@127.0.0.1:${cluster().port}/${database}${query === '' ? '' : `?${query}`}`
  const newRole = async (options: string): Promise<string> => {
    const name = `role_${Math.random().toString(36).slice(2)}`
    await cluster().sql(`CREATE ROLE ${name} LOGIN ${options}`)
    return name
  }

  test('is set up in one way, whatever it has as defaults', async () => {
    await connected(
      url('schema=my_schema&ledger=x'),
      async (connection) => {
        const { client, server, host, lost } = connection
        expect(host.port).toBe(cluster().port)
        expect(server).toMatchObject({ in_recovery: false, read_only: false })
        expect(server.version).toBeGreaterThanOrEqual(150_000)
        expect(await ask(connection, 'SELECT pg_backend_pid()')).toBe(String(server.backend_pid))
        expect(lost).toBe(null)
        const shown: Record<string, string> = {}
        const names = ['application_name', 'search_path', 'default_transaction_isolation', 'jit', 'client_min_messages', 'client_encoding']
        names.push(
          'idle_in_transaction_session_timeout',
          'lock_timeout',
          'statement_timeout',
          'TimeZone',
          'DateStyle',
          'synchronous_commit',
        )
        for (const name of names) shown[name] = await ask(connection, `SHOW ${name}`)
        expect(shown).toEqual({
          application_name: 'cortex-ledger',
          search_path: '"my_schema", pg_temp',
          default_transaction_isolation: 'read committed',
          jit: 'off',
          client_min_messages: 'warning',
          client_encoding: 'UTF8',
          idle_in_transaction_session_timeout: '10s',
          lock_timeout: '1500ms',
          statement_timeout: '2s',
          TimeZone: 'UTC',
          DateStyle: 'ISO, YMD',
          synchronous_commit: 'remote_apply',
        })
        // Numbers beyond 2^53, times and bytes come as the server writes them.
        const { rows } = await client.query(`SELECT 9223372036854775807 AS n, timestamptz '2026-07-01T00:00:00.123456+02' AS t,
          '\\x00ff'::bytea AS b, true AS yes, null AS nothing, ARRAY[1, 2] AS list`)
        expect(rows).toEqual([
          { n: '9223372036854775807', t: '2026-06-30 22:00:00.123456+00', b: '\\x00ff', yes: 't', nothing: null, list: '{1,2}' },
        ])
        // Three statements are on their way before the first is answered; one that fails leaves the others alone.
        const answers = await Promise.allSettled(['SELECT 1', 'SELECT 1/0', 'SELECT 3'].map((text) => ask(connection, text)))
        expect(answers.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
        expect(client.pipeline).toBe(true)
      },
      { lock_timeout_ms: 1500, statement_timeout_ms: 2000, synchronous_commit: 'remote_apply' },
    )
    await connected(url('application_name=mine'), async (connection) => {
      expect(await ask(connection, 'SHOW application_name')).toBe('mine')
      expect(await ask(connection, 'SHOW synchronous_commit')).toBe('on')
    })
  })

  test('one without encryption is refused where it is asked for, and what to do is said', async () => {
    const error = await notConnected(url('sslmode=require'), { patience_ms: 600_000 })
    expect(error.code).toBe('unsupported')
    expect(error.message).toMatch(/offers no TLS, and sslmode=require asks for it: set ssl=on .*sslmode=disable/)
  })

  test('variables of the driver that are set by chance change nothing', async () => {
    for (const [name, value] of Object.entries({ PGCLIENT_ENCODING: 'LATIN1', PGSSLMODE: 'require', PGHOST: 'nowhere' })) {
      process.env[name] = value
      onTestFinished(() => void delete process.env[name])
    }
    await connected(url(), async (connection) => {
      expect(await ask(connection, "SELECT 'é😀'")).toBe('é😀')
    })
  })

  test('by its Unix socket', async () => {
    const { socketDir, port } = cluster()
    const at = await connected(`postgres://postgres@/postgres?host=${socketDir}&port=${port}`, async ({ host }) => host.host)
    expect(at).toBe(socketDir)
    expect(await notConnected(`postgres://postgres@/postgres?host=${socketDir}&port=1`)).toMatchObject({ code: 'io_error' })
  })

  test('passwords: right, wrong, none, from the file', async () => {
    const role = await newRole(`PASSWORD 'right: one'`)
    const withPassword = url('', `${role}:right%3A%20one`)
    await connected(withPassword, async (connection) => expect(await ask(connection, 'SELECT current_user')).toBe(role))
    // The patience is for servers that are not there: a wrong password stays wrong.
    const wrong = await notConnected(url('', `${role}:wrong-secret`), { patience_ms: 600_000 })
    expect(wrong).toMatchObject({ code: 'read_only', details: { sqlstate: '28P01' } })
    expect(wrong.message).toMatch(/password authentication failed.*check user and password/)
    expect(wrong.message).not.toContain('secret')
    // Nothing was lost that could be had again.
    expect(isConnectionLoss(wrong)).toBe(false)

    const file = join(tempDir(), 'pgpass')
    const none = await notConnected(url(`passfile=${file}`, role), { patience_ms: 600_000 })
    expect(none.code).toBe('read_only')
    expect(none.message).toContain(
      `asks for a password of ${role}: write one into the URL, PGPASSWORD, or a line for this host into ${file}`,
    )
    writeFileSync(file, `127.0.0.1:*:*:${role}:right\\: one\n`)
    chmodSync(file, 0o600)
    await connected(url(`passfile=${file}`, role), () => Promise.resolve())
    await connected(url('', role), () => Promise.resolve(), {}, { PGPASSFILE: file })
  })

  test('no such database, no such role', async () => {
    const database = await notConnected(url('', 'postgres', 'nowhere'), { patience_ms: 600_000 })
    expect(database).toMatchObject({ code: 'not_found', details: { sqlstate: '3D000' } })
    expect(database.message).toMatch(/"nowhere" does not exist .*createdb/)
    expect(await notConnected(url('', 'nobody_of_that_name:x'), { patience_ms: 600_000 })).toMatchObject({ code: 'read_only' })
  })

  test('a database in another encoding is refused', async () => {
    await cluster().sql(`CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0`)
    const error = await notConnected(url('', 'postgres', 'latin'))
    expect(error.code).toBe('unsupported')
    expect(error.message).toMatch(/encoding LATIN1.*createdb --encoding=UTF8/)
  })

  test('one that is too old is refused', async () => {
    const [{ version } = { version: '' }] = await cluster().sql<{ version: string }>(
      "SELECT current_setting('server_version_num') AS version",
    )
    const old = await altering(cluster().port, version, '140005')
    const error = await notConnected(`postgres://postgres@127.0.0.1:${old}/postgres`, { patience_ms: 600_000 })
    expect(error).toMatchObject({ code: 'unsupported', message: expect.stringMatching(/is PostgreSQL 14: 15 or newer is needed/) })
  })

  test('one that is set to read only takes no writers, but readers', async () => {
    const role = await newRole(`PASSWORD 'p'`)
    await cluster().sql(`ALTER ROLE ${role} SET default_transaction_read_only = on`)
    const error = await notConnected(url('', `${role}:p`))
    expect(error).toMatchObject({ code: 'read_only', message: expect.stringContaining('default_transaction_read_only') })
    await connected(url('', `${role}:p`), async ({ server }) => expect(server.read_only).toBe(true), { need: 'any' })
    await connected(url('target_session_attrs=read-only', `${role}:p`), () => Promise.resolve(), { need: 'any' })
    expect(await notConnected(url('target_session_attrs=read-only'), { need: 'any' })).toMatchObject({ code: 'read_only' })
    expect((await notConnected(url('target_session_attrs=standby'))).message).toMatch(/target_session_attrs=standby leads to servers/)
  })

  test('one without room is tried again until there is some', async () => {
    const role = await newRole(`PASSWORD 'p' CONNECTION LIMIT 1`)
    const first = await connect(parseTarget(url('', `${role}:p`), {}), { need: 'primary', patience_ms: 0 })
    expect(await notConnected(url('', `${role}:p`))).toMatchObject({ code: 'io_error', details: { sqlstate: '53300' } })
    const second = connected(url('', `${role}:p`), async ({ server }) => server.backend_pid, { patience_ms: 60_000 })
    setTimeout(() => void first.close(), 200)
    expect(await second).not.toBe(first.server.backend_pid)
  })

  test('one that is down is waited for, also while it is starting', async () => {
    const server = cluster()
    await sql(server.adminUrl, 'CREATE TABLE filled AS SELECT n FROM generate_series(1, 100000) n')
    await server.kill()
    const once = await notConnected(url())
    expect(once).toMatchObject({ code: 'io_error', details: { connection_lost: true } })
    expect(once.message).toMatch(/ECONNREFUSED.*check that the server runs/)
    const waiting = connected(url(), async ({ server: { backend_pid } }) => backend_pid, { patience_ms: 60_000 })
    await server.start({ wait: false })
    expect(await waiting).toBeGreaterThan(0)
  })

  test('a connection that is lost says so, and its process lives on', async () => {
    const connection = await connect(parseTarget(url(), {}), { need: 'primary', patience_ms: 0 })
    const under_way = connection.client.query('SELECT pg_sleep(600)').catch((error: Error) => error)
    await cluster().sql('SELECT pg_terminate_backend($1)', [connection.server.backend_pid])
    expect(isConnectionLoss(await under_way)).toBe(true)
    await expect.poll(() => connection.lost).toMatchObject({ code: 'io_error', details: { connection_lost: true } })
    await connection.close()
    const other = await connect(parseTarget(url(), {}), { need: 'primary', patience_ms: 0 })
    const cut = other.client.query('SELECT pg_sleep(600)').catch((error: Error) => error)
    other.destroy()
    expect(isConnectionLoss(await cut)).toBe(true)
    await expect(other.client.query('SELECT 1')).rejects.toSatisfy(isConnectionLoss)
    await other.close()
  })

  test('several hosts: those that are down, silent or refuse are passed over', async () => {
    const { port } = cluster()
    const [dead, silent] = [await deadPort(), await silentPort()]
    const places = `127.0.0.1:${dead},127.0.0.1:${silent},127.0.0.1:${port}`
    const found = await connected(`postgres://postgres@${places}/postgres?connect_timeout=1`, async ({ host }) => host.port)
    expect(found).toBe(port)
    const error = await notConnected(`postgres://postgres@127.0.0.1:${dead},127.0.0.1:${port}/nowhere`)
    expect(error.code).toBe('io_error')
    expect(error.message).toMatch(/^none of the 2 hosts of .*ECONNREFUSED.*; and .*"nowhere" does not exist/)
    expect(error.details['hosts']).toMatchObject([{ code: 'io_error' }, { host: `127.0.0.1:${port}`, code: 'not_found' }])
    // Where each of them refuses, there is nothing to wait for.
    const all = await notConnected(`postgres://postgres@127.0.0.1:${port},127.0.0.1:${port}/nowhere`, { patience_ms: 600_000 })
    expect(all.code).toBe('not_found')
  })

  test('a silent one is given up, and waiting can be broken off', async () => {
    const silent = await silentPort()
    const at = (query: string): string => `postgres://postgres@127.0.0.1:${silent}/d?${query}`
    const error = await notConnected(at('connect_timeout=1'))
    expect(error).toMatchObject({ code: 'io_error', message: expect.stringContaining('no answer within 1 s') })
    for (const location of [at('connect_timeout=0'), `postgres://postgres@127.0.0.1:${await deadPort()}/d`]) {
      const abort = new AbortController()
      const waiting = connect(parseTarget(location, {}), { need: 'any', patience_ms: 600_000, signal: abort.signal })
      setTimeout(() => abort.abort(new LedgerError('closed', 'given up')), 100)
      await expect(waiting).rejects.toThrow('given up')
    }
  })

  test('a standby takes no writers, and does when it is promoted', async () => {
    const primary = cluster()
    const standby = await startStandby(primary, { hba: HBA })
    onTestFinished(() => standby.stop())
    const both = `postgres://postgres@127.0.0.1:${standby.port},127.0.0.1:${primary.port}/postgres`
    const portOf = (location: string, need: 'primary' | 'any'): Promise<number> =>
      connected(location, async ({ host }) => host.port, { need })
    expect(await portOf(both, 'primary')).toBe(primary.port)
    expect(await portOf(both, 'any')).toBe(standby.port)
    expect(await portOf(`${both}?target_session_attrs=primary`, 'any')).toBe(primary.port)
    const turned = `postgres://postgres@127.0.0.1:${primary.port},127.0.0.1:${standby.port}/postgres`
    expect(await portOf(turned, 'any')).toBe(primary.port)
    expect(await portOf(`${turned}?target_session_attrs=standby`, 'any')).toBe(standby.port)
    expect(await portOf(`${turned}?target_session_attrs=prefer-standby`, 'any')).toBe(standby.port)
    expect(await portOf(`${url()}?target_session_attrs=prefer-standby`, 'any')).toBe(primary.port)
    const refused = await notConnected(standby.url())
    expect(refused).toMatchObject({ code: 'read_only', message: expect.stringContaining('it is a standby, which takes no writes') })

    await primary.kill()
    onTestFinished(() => primary.start())
    const writer = connected(both, async ({ host }) => host.port, { patience_ms: 60_000 })
    await standby.promote()
    expect(await writer).toBe(standby.port)
  })
})

/** Certificates that openssl makes: who signs, the server's for `localhost`, and a client's for the role `robot`. */
function certificates(): Record<'ca.crt' | 'server.crt' | 'server.key' | 'robot.crt' | 'robot.key', string> | null {
  const script = `
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=signer -keyout ca.key -out ca.crt
    for name in server:localhost robot:robot; do
      openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=\${name#*:}" -keyout "\${name%:*}.key" -out "\${name%:*}.csr"
    done
    printf 'subjectAltName=DNS:localhost' > names
    openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.crt
    openssl x509 -req -in robot.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out robot.crt
    cat ca.crt; echo '#'; cat server.crt; echo '#'; cat server.key; echo '#'; cat robot.crt; echo '#'; cat robot.key`
  const { status, stdout } = spawnSync('bash', ['-ec', `cd "$(mktemp -d)"; trap 'rm -rf "$PWD"' EXIT; ${script}`], { encoding: 'utf8' })
  if (status !== 0) return null
  const [ca, server, serverKey, robot, robotKey] = stdout.split('#\n')
  return { 'ca.crt': ca!, 'server.crt': server!, 'server.key': serverKey!, 'robot.crt': robot!, 'robot.key': robotKey! }
}

const pem = clusterMissing === null ? certificates() : null
if (clusterMissing === null && pem === null) console.log('skipped: encrypted connections, since openssl makes no certificates here')

describe.skipIf(pem === null)('encryption', () => {
  const cluster = useCluster({
    hba: [
      'hostssl all robot 127.0.0.1/32 cert',
      'hostssl all all 127.0.0.1/32 trust',
      'local all all trust',
      'hostnossl all postgres 127.0.0.1/32 trust',
    ],
    files: { 'ca.crt': pem?.['ca.crt'] ?? '', 'server.crt': pem?.['server.crt'] ?? '', 'server.key': pem?.['server.key'] ?? '' },
    settings: { ssl: 'on', ssl_ca_file: 'ca.crt' },
  })
  const fileOf = (name: keyof NonNullable<typeof pem>): string => {
    const file = join(tempDir(), name)
    writeFileSync(file, pem![name], { mode: 0o600 })
    return file
  }
  const at = (host: string, query: string, user = 'postgres'): string => `postgres://${user}@${host}:${cluster().port}/postgres?${query}`
  const isEncrypted = (location: string): Promise<string> =>
    connected(location, (connection) => ask(connection, 'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()'))

  test('the certificate is verified by the one that is given, and its name too', async () => {
    const root = fileOf('ca.crt')
    expect(await isEncrypted(at('localhost', `sslrootcert=${root}`))).toBe('t')
    expect(await isEncrypted(at('localhost', `sslmode=verify-full&sslrootcert=${root}`))).toBe('t')
    expect(await isEncrypted(at('localhost', `sslmode=verify-ca&sslrootcert=${root}`))).toBe('t')
    // The certificate is for localhost, not for the address.
    expect(await isEncrypted(at('127.0.0.1', `sslmode=verify-ca&sslrootcert=${root}`))).toBe('t')
    const named = await notConnected(at('127.0.0.1', `sslmode=verify-full&sslrootcert=${root}`), { patience_ms: 600_000 })
    expect(named.code).toBe('io_error')
    expect(named.message).toMatch(/certificate of 127.0.0.1:\d+ is not trusted.*connect by a name that the certificate has/)
  })

  test('one that nobody vouches for is refused, unless nothing is to be verified', async () => {
    for (const query of [
      'sslmode=verify-full',
      'sslmode=verify-ca',
      'sslmode=verify-full&sslrootcert=system',
      `sslmode=require&sslrootcert=${fileOf('robot.crt')}`,
    ]) {
      const error = await notConnected(at('localhost', query), { patience_ms: 600_000 })
      expect([query, error.code]).toEqual([query, 'io_error'])
      expect(error.message).toMatch(/not trusted .*sslrootcert=FILE/)
    }
    expect(await isEncrypted(at('localhost', 'sslmode=require'))).toBe('t')
    expect(await isEncrypted(at('127.0.0.1', 'sslmode=disable'))).toBe('f')
    expect(await isEncrypted(at('localhost', ''))).toBe('f')
  })

  test("a client's certificate", async () => {
    await cluster().sql('CREATE ROLE robot LOGIN')
    const root = `sslrootcert=${fileOf('ca.crt')}`
    const own = `sslcert=${fileOf('robot.crt')}&sslkey=${fileOf('robot.key')}`
    expect(await isEncrypted(at('localhost', `${root}&${own}`, 'robot'))).toBe('t')
    expect(await notConnected(at('localhost', root, 'robot'))).toMatchObject({ code: 'read_only', details: { sqlstate: '28000' } })
    const missing = await notConnected(at('localhost', `${root}&sslcert=/not/there&sslkey=${fileOf('robot.key')}`, 'robot'))
    expect(missing).toMatchObject({ code: 'io_error', message: expect.stringContaining('sslcert names') })
  })
})

test('without the driver it is said what to install', () => {
  const [pg] = linesWithout(
    ['pg'],
    `const { connect } = await import(source('stores/postgres/connect.ts'))
    const { parseTarget } = await import(source('stores/postgres/target.ts'))
    await connect(parseTarget('postgres://localhost:1/d'), { need: 'any', patience_ms: 0 }).catch(told)`,
  )
  expect(pg).toMatch(/^unsupported: the driver pg can't be loaded: .*npm install pg@8"/)
})
