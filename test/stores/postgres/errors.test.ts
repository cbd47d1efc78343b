/** What a real server says, and what the ledger makes of it. */
import { describe, expect, onTestFinished, test } from 'vitest'
import { LedgerError } from '../../../src/ledger/errors.ts'
import type { LedgerErrorCode } from '../../../src/ledger/errors.ts'
import { connect } from '../../../src/stores/postgres/connect.ts'
import type { ConnectOptions, PostgresConnection } from '../../../src/stores/postgres/connect.ts'
import { asPostgresError, isConnectionLoss, sqlStateOf } from '../../../src/stores/postgres/errors.ts'
import { parseTarget } from '../../../src/stores/postgres/target.ts'
import { clusterMissing, useCluster } from '../../helpers/postgres.ts'
import { ask } from './helpers.ts'

const HERE = { display: 'postgres://u@h/d' }

function told(error: unknown): LedgerError {
  const made = asPostgresError(error, 'appending', HERE)
  expect(made).toBeInstanceOf(LedgerError)
  return made as LedgerError
}

describe.skipIf(clusterMissing !== null)('errors of a server', () => {
  const cluster = useCluster()

  async function session(options: Partial<ConnectOptions> = {}): Promise<PostgresConnection> {
    const connection = await connect(parseTarget(cluster().adminUrl, {}), { need: 'primary', patience_ms: 0, ...options })
    onTestFinished(() => connection.close())
    return connection
  }

  /** What the statement fails with, as the driver gives it. */
  async function failing(connection: PostgresConnection, text: string): Promise<Error> {
    const error: unknown = await connection.client.query(text).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(Error)
    return error as Error
  }

  test.each<[statement: string, sqlstate: string, code: LedgerErrorCode, advice: RegExp]>([
    ['SELECT * FROM nowhere', '42P01', 'not_a_ledger', /make a ledger with init/],
    ['CREATE TABLE nowhere.t (n int)', '3F000', 'not_a_ledger', /schema of the URL/],
    ['SELECT nothing FROM pg_class', '42703', 'not_a_ledger', /init/],
    ['SELECT no_such_function()', '42883', 'not_a_ledger', /init/],
    ['BEGIN READ ONLY; CREATE TABLE t (n int)', '25006', 'read_only', /name the primary/],
    ['SET ROLE pg_monitor; CREATE TABLE public.t (n int)', '42501', 'read_only', /a role that may/],
    ['DROP DATABASE postgres', '55006', 'locked', /another session is using it/],
    ['SET statement_timeout = 20; SELECT pg_sleep(60)', '57014', 'io_error', /statement_timeout/],
    ['SELECT 1/0', '22012', 'io_error', /server's log/],
  ])('%s', async (statement, sqlstate, code, advice) => {
    const error = await failing(await session(), statement)
    expect(sqlStateOf(error)).toBe(sqlstate)
    expect(isConnectionLoss(error)).toBe(false)
    const made = told(error)
    expect(made).toMatchObject({ code, details: { sqlstate, cause: error } })
    expect(made.details['connection_lost']).toBe(undefined)
    expect(made.message).toMatch(advice)
    expect(made.message).toContain(`SQLSTATE ${sqlstate} while appending at postgres://u@h/d`)
    expect(sqlStateOf(made)).toBe(sqlstate)
  })

  // What can't be had by a statement, said by the server all the same.
  test.each<[sqlstate: string, code: LedgerErrorCode, advice: RegExp]>([
    ['53100', 'disk_full', /free some space/],
    ['53200', 'io_error', /no memory left.*max_locks_per_transaction/],
    ['53300', 'io_error', /max_connections/],
    ['54000', 'too_large', /split the entry/],
    ['58030', 'io_error', /disk and its log/],
    ['XX001', 'damaged', /run verify/],
    ['XX002', 'damaged', /run verify/],
    ['XX000', 'io_error', /server's log/],
    ['0A000', 'unsupported', /version/],
    ['40001', 'head_moved', /can be done again/],
  ])('SQLSTATE %s', async (sqlstate, code, advice) => {
    const error = await failing(await session(), `DO $$ BEGIN RAISE EXCEPTION 'made up' USING ERRCODE = '${sqlstate}'; END $$`)
    expect(told(error)).toMatchObject({ code, message: expect.stringMatching(advice), details: { sqlstate } })
    expect(isConnectionLoss(error)).toBe(false)
  })

  test('transactions that stand in each other’s way can be done again', async () => {
    const [a, b] = [await session(), await session()]
    await a.client.query('CREATE TABLE public.two (n int); INSERT INTO public.two VALUES (1), (2)')
    await a.client.query('BEGIN ISOLATION LEVEL SERIALIZABLE')
    await ask(a, 'SELECT sum(n) FROM public.two')
    await b.client.query('UPDATE public.two SET n = n + 1')
    const serialization = await failing(a, 'UPDATE public.two SET n = n + 1')
    await a.client.query('ROLLBACK')
    expect(told(serialization)).toMatchObject({ code: 'head_moved', details: { sqlstate: '40001' } })

    await a.client.query('BEGIN; SELECT pg_advisory_xact_lock(1)')
    await b.client.query('BEGIN; SELECT pg_advisory_xact_lock(2)')
    const answers = await Promise.allSettled([
      a.client.query('SELECT pg_advisory_xact_lock(2)'),
      b.client.query('SELECT pg_advisory_xact_lock(1)'),
    ])
    const refused = answers.flatMap((answer) => (answer.status === 'rejected' ? [told(answer.reason)] : []))
    expect(refused).toMatchObject([{ code: 'head_moved', details: { sqlstate: '40P01' } }])
    await Promise.all([a.client.query('ROLLBACK'), b.client.query('ROLLBACK')])
  })

  test('a lock that somebody holds', async () => {
    const [a, b] = [await session(), await session({ lock_timeout_ms: 20 })]
    await a.client.query('BEGIN; SELECT pg_advisory_xact_lock(3)')
    expect(told(await failing(b, 'SELECT pg_advisory_xact_lock(3)'))).toMatchObject({ code: 'locked', details: { sqlstate: '55P03' } })
  })

  test('a session that stands still in a transaction is ended', async () => {
    const connection = await session()
    await connection.client.query(`SET idle_in_transaction_session_timeout = 20; BEGIN`)
    await expect.poll(() => connection.lost).toMatchObject({ code: 'io_error', details: { sqlstate: '25P03', connection_lost: true } })
    expect(isConnectionLoss(connection.lost)).toBe(true)
  })

  test('a server that is shut down or killed is a lost connection', async () => {
    const server = cluster()
    for (const end of ['shutdown', 'kill'] as const) {
      const connection = await session()
      const under_way = failing(connection, 'SELECT pg_sleep(600)')
      await server[end]()
      const error = await under_way
      expect(isConnectionLoss(error)).toBe(true)
      const made = told(error)
      expect(made).toMatchObject({ code: 'io_error', details: { connection_lost: true } })
      expect(made.message).toMatch(/check that the server runs/)
      expect(isConnectionLoss(made)).toBe(true)
      await server.start()
    }
  })

  test('no message quotes a row', async () => {
    const connection = await session()
    await connection.client.query(`CREATE TABLE public.secrets (name text PRIMARY KEY); INSERT INTO public.secrets VALUES ('hunter2')`)
    const made = told(await failing(connection, `INSERT INTO public.secrets VALUES ('hunter2')`))
    expect(made.message).not.toContain('hunter2')
    expect(made.details['sqlstate']).toBe('23505')
  })
})

test('misuse and what is told already pass as they are', () => {
  for (const error of [new TypeError('x'), new RangeError('x'), new LedgerError('locked', 'x'), 'text', undefined])
    expect(asPostgresError(error, 'appending', HERE)).toBe(error)
})

test('errors of the network', () => {
  const errno = (code: string, syscall: string): Error => Object.assign(new Error(`${syscall} ${code}`), { code, syscall })
  for (const [code, syscall] of [
    ['ECONNRESET', 'read'],
    ['EPIPE', 'write'],
    ['ENOENT', 'connect'],
    ['ENOTFOUND', 'getaddrinfo'],
  ] as const) {
    expect(isConnectionLoss(errno(code, syscall))).toBe(true)
    // Five letters, as an SQLSTATE has them.
    expect(told(errno(code, syscall)).details['sqlstate']).toBe(undefined)
  }
  expect(isConnectionLoss(errno('ENOENT', 'open'))).toBe(false)
  expect(isConnectionLoss(new LedgerError('io_error', 'x'))).toBe(false)
  // All addresses of a name refused.
  const all = new AggregateError([new Error('connect ECONNREFUSED ::1:1'), new Error('connect ECONNREFUSED 127.0.0.1:1')])
  const made = told(Object.assign(all, { code: 'ECONNREFUSED' }))
  expect(made.message).toMatch(/^connect ECONNREFUSED ::1:1; connect ECONNREFUSED 127.0.0.1:1 \(while appending/)
})
