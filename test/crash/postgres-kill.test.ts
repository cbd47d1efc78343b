/** PostgreSQL, its backends and its writers killed under load: nothing acknowledged is lost, nothing is there twice, the writers go on by themselves. */
import { describe, expect, test } from 'vitest'
import { AuditLedger } from '../../src/index.ts'
import { seededRandom } from '../../src/testing/index.ts'
import { acknowledgedIn, assertCaptured, assertKept } from '../helpers/acknowledged.ts'
import { startChild, type Child } from '../helpers/child.ts'
import { pause, sql } from '../helpers/postgres-cluster.ts'
import { clusterMissing, useCluster } from '../helpers/postgres.ts'
import { scale } from '../helpers/scale.ts'

const SEED = 20261125
const OPEN = { signer: null, origin: 'example.com/crash', onWarning: () => {} } as const
const WRITERS = scale(2, 4)

/** Each of them has been told of more records. */
async function goOn(writers: readonly Child[], lines = 10): Promise<void> {
  await Promise.all(writers.map((writer) => writer.waitForCount(writer.lines.length + lines)))
  for (const { lines: printed, stderr } of writers) {
    expect(printed.filter((line) => line.startsWith('refused'))).toEqual([])
    expect(stderr()).toBe('')
  }
}

/** Kills the writers, and holds the ledger against all that was told. @returns its size */
async function killAndCompare(location: string, writers: readonly Child[]): Promise<number> {
  await Promise.all(writers.map((writer) => writer.kill()))
  for (const writer of writers) expect(await writer.exited, writer.stderr()).toEqual({ code: null, signal: 'SIGKILL' })
  const ledger = await AuditLedger.open(location, OPEN)
  const lines = writers.flatMap((writer) => writer.lines)
  const size = await assertKept(ledger, acknowledgedIn(lines))
  await assertCaptured(ledger, lines)
  await ledger.close()
  return size
}

describe.skipIf(clusterMissing !== null)('PostgreSQL', () => {
  const cluster = useCluster()

  /** They write without end, captures too. */
  function startWriters(location: string, count = WRITERS, callers = 4): Child[] {
    return Array.from({ length: count }, (_, i) =>
      startChild('writer-process', {
        location,
        name: `p${i}`,
        callers,
        captures: true,
        seed: SEED + i,
        textMax: 20_000,
        open: { tree: 'on-demand' },
      }),
    )
  }

  test(`${scale(2, 50)} × kill -9 of the server`, async () => {
    const random = seededRandom(SEED)
    for (let kills = 0; kills < scale(2, 50);) {
      const location = await cluster().createDatabase()
      const writers = startWriters(location)
      await Promise.all(writers.map((writer) => writer.waitFor(/^ready/)))
      for (let life = 0; life < 10 && kills < scale(2, 50); life++, kills++) {
        await goOn(writers)
        await pause(random.below(60))
        await cluster().kill()
        await pause(random.chance(0.3) ? random.below(800) : 0)
        await cluster().start()
      }
      await goOn(writers)
      await killAndCompare(location, writers)
    }
  })

  test(`${scale(2, 100)} × kill -9 of one writer of two`, async () => {
    const random = seededRandom(SEED + 1)
    for (let kills = 0; kills < scale(2, 100);) {
      const location = await cluster().createDatabase()
      const all = startWriters(location, 1, 1)
      for (let life = 0; life < 10 && kills < scale(2, 100); life++, kills++) {
        const writer = startChild('writer-process', { location, name: `life-${life}`, callers: 1 + random.below(16), seed: kills })
        all.push(writer)
        await writer.waitFor(/^ready/)
        if (random.chance(0.7)) await writer.waitForCount(2 + random.below(200))
        await pause(random.below(30))
        await writer.kill()
      }
      // The lock of one that died is free at once: the other goes on.
      await goOn(all.slice(0, 1), 50)
      await killAndCompare(location, all)
    }
  })

  test(`backends are terminated at random for ${scale(1, 60)} s`, async () => {
    const random = seededRandom(SEED + 2)
    const location = await cluster().createDatabase()
    const writers = startWriters(location)
    await Promise.all(writers.map((writer) => writer.waitFor(/^ready/)))
    const victim = `SELECT pg_terminate_backend(pid) AS done FROM pg_stat_activity
      WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'cortex-ledger' ORDER BY random() LIMIT 1`
    let terminated = 0
    for (const until = performance.now() + scale(1000, 60_000); performance.now() < until;) {
      terminated += (await sql(location, victim)).length
      await pause(random.below(100))
    }
    expect(terminated).toBeGreaterThan(scale(3, 300))
    await goOn(writers)
    await killAndCompare(location, writers)
  })
})
