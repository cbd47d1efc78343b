/** As exit.test.ts, for PostgreSQL: what waits is written by a thread that is started for it. */
import { describe, expect, test } from 'vitest'
import { AuditLedger } from '../../src/index.ts'
import { openPostgresStore } from '../../src/stores/postgres/index.ts'
import { LEDGER_CREATED, SampleChain } from '../../src/testing/sample-chain.ts'
import { startChild } from '../helpers/child.ts'
import type { ExitPlan } from '../helpers/exiting-process.ts'
import { clusterMissing, postgresMissing, useCluster, useDatabases } from '../helpers/postgres.ts'

const COUNT = 60

async function assertAllThere(location: string, recordsEach: number): Promise<void> {
  const ledger = await AuditLedger.open(location, { signer: null })
  const ids: string[] = []
  for await (const { run_id } of ledger.read()) ids.push(run_id)
  expect(ids.length).toBe(1 + COUNT * recordsEach)
  expect(new Set(ids).size).toBe(ids.length)
  for (let i = 0; i < COUNT; i++) expect(ids).toContain(`r${i}`)
  expect(await ledger.verifyIntegrity()).toMatchObject({ ok: true, problems: [] })
  await ledger.close()
}

describe.skipIf(postgresMissing !== null)('PostgreSQL', () => {
  const { newDatabase } = useDatabases()
  const ways: [ExitPlan['what'], ExitPlan['end']][] = [
    ['record', 'natural'],
    ['record', 'exit'],
    ['record', 'later'],
    ['append', 'later'],
    ['call', 'exit'],
    ['call', 'throw'],
  ]
  test.each(ways)('%s without waiting, end: %s', async (what, end) => {
    const location = await newDatabase()
    const child = startChild('exiting-process', { location, what, end, count: COUNT } satisfies ExitPlan)
    const { code } = await child.exited
    expect(code, child.stderr()).toBe(end === 'throw' ? 1 : 0)
    if (end !== 'throw') expect(child.stderr()).toBe('')
    await assertAllThere(location, what === 'append' ? 2 : 1)
  })

  test('beside a process that writes all the time', async () => {
    const location = await newDatabase()
    const other = startChild('writer-process', { location, name: 'other', callers: 8, seed: 1, open: { origin: 'example.com/exit' } })
    await other.waitForCount(20)
    const child = startChild('exiting-process', { location, what: 'record', end: 'later', count: COUNT } satisfies ExitPlan)
    const { code } = await child.exited
    expect(code, child.stderr()).toBe(0)
    await other.kill()
    const ledger = await AuditLedger.open(location, { signer: null })
    for (let i = 0; i < COUNT; i++) expect((await ledger.get(`r${i}`))?.run_id).toBe(`r${i}`)
    expect(await ledger.verifyIntegrity()).toMatchObject({ ok: true, problems: [] })
    await ledger.close()
  })

  test('where the process may start no thread, it says how many were not written', async () => {
    const location = await newDatabase()
    await (await AuditLedger.open(location, { signer: null, origin: 'example.com/exit' })).close()
    const flags = ['--permission', '--allow-fs-read=*', '--allow-fs-write=*']
    const child = startChild('exiting-process', { location, what: 'record', end: 'exit', count: COUNT } satisfies ExitPlan, flags)
    const { code } = await child.exited
    expect(code, child.stderr()).toBe(0)
    expect(child.stderr()).toMatch(new RegExp(`records that waited at exit were not written: .*\\(at most ${COUNT}\\)`))
  })
})

describe.skipIf(clusterMissing !== null)('a server of its own', () => {
  const cluster = useCluster()

  test('that has less than was acknowledged: nothing is written to it', async () => {
    const url = await cluster().createDatabase('exiting')
    const chain = new SampleChain()
    const store = await openPostgresStore(url)
    await chain.append(store, [LEDGER_CREATED, {}])
    await store.close()
    const again = await openPostgresStore(url)
    const end = (): Promise<unknown> => cluster().sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'exiting'`)
    await end()
    await cluster().sql('CREATE DATABASE older TEMPLATE exiting')
    await chain.append(again, [{}, {}])
    await end()
    await cluster().sql('ALTER DATABASE exiting RENAME TO newer')
    await cluster().sql('ALTER DATABASE older RENAME TO exiting')
    again.atExit!.settle()
    expect(() => again.atExit!.state({ streams: [], run_ids: [] })).toThrow(/has 2 records, fewer than the 4 that were acknowledged/)
    await again.close()
  })

  test('that is gone: the process says so and ends', async () => {
    const location = await cluster().createDatabase()
    const child = startChild('exiting-process', { location, what: 'record', end: 'told', count: COUNT } satisfies ExitPlan)
    await child.waitFor(/^given/)
    await cluster().kill()
    child.tell('end')
    const { code } = await child.exited
    expect(code, child.stderr()).toBe(0)
    expect(child.stderr()).toMatch(new RegExp(`not written: .*\\(at most ${COUNT}\\)`))
    await cluster().start()
  })
})
