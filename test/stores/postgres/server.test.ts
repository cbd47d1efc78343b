/** The test server itself: what the other tests rely on when they kill it. */
import { describe, expect, onTestFinished, test } from 'vitest'
import { clusterMissing, postgresMissing, useCluster, useDatabases } from '../../helpers/postgres.ts'
import { sql, startCluster, startStandby } from '../../helpers/postgres-cluster.ts'

describe.skipIf(postgresMissing !== null)('databases of a test', () => {
  const server = useDatabases()
  test('are empty, and apart', async () => {
    const [a, b] = [await server.newDatabase(), await server.newDatabase()]
    expect(a).not.toBe(b)
    // Where no database may be made, the places are schemas of one.
    if (new URL(a).searchParams.has('schema')) return
    await sql(a, 'CREATE TABLE one_of_two (n int)')
    await expect(sql(b, 'SELECT n FROM one_of_two')).rejects.toThrow(/does not exist/)
  })
})

describe.skipIf(clusterMissing !== null)('a cluster', () => {
  const cluster = useCluster()

  test('what was committed is there after kill -9; what was not is not', async () => {
    const server = cluster()
    const url = await server.createDatabase()
    await sql(url, 'CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)')
    const killed = sql(url, 'BEGIN; INSERT INTO kept VALUES (2); SELECT pg_sleep(60)').catch((error: Error) => error.message)
    await expect
      .poll(() => server.sql(`SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()`))
      .toHaveLength(1)
    const { pid } = server
    await server.kill()
    expect(server.isRunning).toBe(false)
    expect(await killed).toMatch(/terminated|ECONNRESET/)
    await expect(sql(url, 'SELECT 1')).rejects.toThrow(/ECONNREFUSED/)
    await server.start()
    expect(server.pid).not.toBe(pid)
    expect(await sql(url, 'SELECT n FROM kept')).toEqual([{ n: 1 }])
  })

  test('it can be reached by its socket', async () => {
    const { socketDir, port } = cluster()
    expect(await sql(`postgres://postgres@${encodeURIComponent(socketDir)}:${port}/postgres`, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
  })

  test('one that does not start says why', async () => {
    await expect(startCluster({ settings: { max_connections: 'many' } })).rejects.toThrow(/max_connections/)
  })
})

describe.skipIf(clusterMissing !== null)('a standby', () => {
  test('a synchronous one has what was acknowledged, and is promoted', async () => {
    const primary = await startCluster()
    onTestFinished(() => primary.stop())
    const standby = await startStandby(primary, { synchronous: true })
    onTestFinished(() => standby.stop())
    await primary.sql('CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)')
    await primary.kill()
    await expect(standby.sql('INSERT INTO kept VALUES (2)')).rejects.toThrow(/read-only/)
    await standby.promote()
    await standby.sql('INSERT INTO kept VALUES (2)')
    expect(await standby.sql('SELECT n FROM kept ORDER BY n')).toEqual([{ n: 1 }, { n: 2 }])
  })

  test('one that is cut off is behind, and catches up', async () => {
    const primary = await startCluster()
    onTestFinished(() => primary.stop())
    const standby = await startStandby(primary)
    onTestFinished(() => standby.stop())
    await primary.sql('CREATE TABLE kept (n int)')
    await standby.catchUp()
    await standby.detach()
    await primary.sql('INSERT INTO kept VALUES (1)')
    expect(await standby.sql('SELECT n FROM kept')).toEqual([])
    await standby.attach()
    await standby.catchUp()
    expect(await standby.sql('SELECT n FROM kept')).toEqual([{ n: 1 }])
    await standby.pauseReplay()
    await primary.sql('INSERT INTO kept VALUES (2)')
    expect(await standby.sql('SELECT n FROM kept')).toEqual([{ n: 1 }])
    await standby.resumeReplay()
    await standby.catchUp()
    expect(await standby.sql('SELECT n FROM kept')).toHaveLength(2)
  })
})
