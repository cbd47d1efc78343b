/** The primary is lost and a standby promoted: what was acknowledged is there, and a standby that is behind is not gone on with. */
import { afterEach, describe, expect, test } from 'vitest'
import { AuditLedger, LedgerError, signerFromSeed, type Receipt } from '../../src/index.ts'
import { acknowledgedIn, assertCaptured, assertKept } from '../helpers/acknowledged.ts'
import { startChild } from '../helpers/child.ts'
import { pause, sql, startCluster, startStandby, until } from '../helpers/postgres-cluster.ts'
import type { Cluster, Standby, StandbyOptions } from '../helpers/postgres-cluster.ts'
import { clusterMissing } from '../helpers/postgres.ts'
import { scale } from '../helpers/scale.ts'
import { tempDir } from '../helpers/temp.ts'

const ORIGIN = 'example.com/crash'
const OPEN = { signer: null, origin: ORIGIN, tree: 'on-demand', onWarning: () => {} } as const
const CALL = { agent_name: 'a', method_name: 'm' }

describe.skipIf(clusterMissing !== null)('PostgreSQL', () => {
  const started: Cluster[] = []
  afterEach(async () => {
    for (const cluster of started.splice(0).toReversed()) await cluster.stop()
  })

  interface Pair {
    readonly primary: Cluster
    readonly standby: Standby
    /** Of both, the primary first. */
    readonly url: string
    readonly primaryUrl: string
    readonly standbyUrl: string
  }

  async function startPair(options: StandbyOptions): Promise<Pair> {
    const primary = await startCluster()
    started.push(primary)
    const primaryUrl = await primary.createDatabase()
    const database = new URL(primaryUrl).pathname
    const standby = await startStandby(primary, options)
    started.push(standby)
    const ports = `127.0.0.1:${primary.port},127.0.0.1:${standby.port}`
    return { primary, standby, primaryUrl, url: `postgres://postgres@${ports}${database}`, standbyUrl: standby.url(database.slice(1)) }
  }

  /** The standby is gone, and an append on the primary waits for it. @returns the pid of its backend */
  async function waitingForStandby(primary: Cluster): Promise<number> {
    const text = `SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE '%append_records%'`
    let pid = 0
    await until('an append waits for the standby', async () => {
      pid = (await primary.sql<{ pid: number }>(text))[0]?.pid ?? 0
      return pid !== 0
    })
    return pid
  }

  test('a synchronous standby takes over: the writers go on by themselves within ten seconds, and nothing is lost', async () => {
    const { primary, standby, url, standbyUrl } = await startPair({ synchronous: true })
    const plan = { location: url, callers: 4, captures: true, textMax: 20_000, open: { tree: 'on-demand' } }
    const writers = Array.from({ length: scale(2, 4) }, (_, i) => startChild('writer-process', { ...plan, name: `p${i}`, seed: i }))
    await Promise.all(writers.map((writer) => writer.waitForCount(scale(30, 300))))
    await primary.kill()
    const began = performance.now()
    await standby.promote()
    await Promise.all(writers.map((writer) => writer.waitForCount(writer.lines.length + 20)))
    expect(performance.now() - began).toBeLessThan(10_000)
    await Promise.all(writers.map((writer) => writer.kill()))
    const lines = writers.flatMap((writer) => writer.lines)
    expect(lines.filter((line) => line.startsWith('refused'))).toEqual([])
    const ledger = await AuditLedger.open(standbyUrl, OPEN)
    await assertKept(ledger, acknowledgedIn(lines))
    await assertCaptured(ledger, lines)
    await ledger.close()
  })

  test('a commit that is kept from waiting for the standby is neither acknowledged, to whoever repeats it, nor signed', async () => {
    const { primary, standby, url, primaryUrl } = await startPair({ synchronous: true })
    const stops = ['pg_terminate_backend', 'pg_cancel_backend']
    const cases = await Promise.all(
      stops.map(async (stop, i) => {
        const place = `${url}?ledger=${i}`
        const signed = {
          ...OPEN,
          signer: signerFromSeed(ORIGIN, new Uint8Array(32).fill(7)),
          stateFolder: tempDir(),
          checkpoints: false,
        } as const
        const first = await AuditLedger.open(place, signed)
        const [second, third] = [await AuditLedger.open(place, signed), await AuditLedger.open(place, signed)]
        await first.record({ ...CALL, run_id: `before-${i}` })
        await second.record({ ...CALL, run_id: `before-${i}` })
        return { stop, place, signed, first, second, third, id: `waits-${i}` }
      }),
    )
    await standby.kill()
    const told: string[] = []
    const hear = (receipt: Receipt): Receipt => {
      told.push(receipt.run_id)
      return receipt
    }
    const both: Promise<Receipt[]>[] = []
    const signing: Promise<unknown>[] = []
    for (const { stop, first, second, third, id } of cases) {
      const recording = first.record({ ...CALL, run_id: id }).then(hear)
      await primary.sql(`SELECT ${stop}($1)`, [await waitingForStandby(primary)])
      // It can be seen now, and is on this server alone.
      const seen = `SELECT 1 FROM cortex_ledger.run_keys WHERE run_id = $1`
      await until('the record is visible', async () => (await sql(primaryUrl, seen, [id])).length > 0)
      both.push(Promise.all([recording, second.record({ ...CALL, run_id: id }).then(hear)]))
      signing.push(third.checkpoint().finally(() => told.push(`signed ${id}`)))
    }
    await pause(300)
    expect(told).toEqual([])
    // The only server that had them is lost.
    await primary.kill()
    await standby.start()
    await standby.promote()
    for (const [i, { place, signed, first, second, third }] of cases.entries()) {
      const [one, other] = (await both[i]) as [Receipt, Receipt]
      expect(one.hash).toBe(other.hash)
      await signing[i]
      await Promise.all([first.close(), second.close(), third.close()])
      const ledger = await AuditLedger.open(place, signed)
      // With the checkpoint in view: what was signed is what is there.
      expect(await assertKept(ledger, [one])).toBe(3)
      await ledger.checkpoint()
      await ledger.close()
    }
  })

  test('a standby that was behind is promoted: refused by who had more, and by whoever finds a checkpoint here', async () => {
    const { primary, standby, url, standbyUrl } = await startPair({})
    const stateFolder = tempDir()
    const signer = signerFromSeed(ORIGIN, new Uint8Array(32).fill(7))
    const ledger = await AuditLedger.open(url, { ...OPEN, signer, stateFolder })
    await ledger.record(CALL)
    await standby.catchUp()
    await standby.detach()
    await ledger.record(CALL)
    await ledger.record(CALL)
    await ledger.checkpoint()
    await primary.kill()
    await standby.promote()
    const refusal = async (work: Promise<unknown>): Promise<LedgerError> => {
      const error = await work.then(
        () => null,
        (thrown: unknown) => thrown,
      )
      expect(error).toBeInstanceOf(LedgerError)
      return error as LedgerError
    }
    // This one knows it by itself, with and without a look before it writes.
    for (const entry of [CALL, { ...CALL, run_id: 'r' }]) {
      const behind = await refusal(ledger.record(entry))
      expect(behind.code).toBe('behind_checkpoint')
      expect(behind.message).toMatch(/has 2 records, fewer than the 4 that were acknowledged/)
    }
    const atOpening = await refusal(AuditLedger.open(url, { ...OPEN, signer, stateFolder }))
    expect(atOpening.code).toBe('behind_checkpoint')
    // Somebody who knows of nothing goes on there: as many records, and then more, that are others.
    const stranger = await AuditLedger.open(standbyUrl, { ...OPEN, stateFolder: tempDir() })
    await stranger.record(CALL)
    await stranger.record(CALL)
    expect((await refusal(ledger.record(CALL))).code).toBe('forked')
    await stranger.record(CALL)
    expect((await refusal(ledger.record(CALL))).code).toBe('forked')
    expect((await refusal(AuditLedger.open(url, { ...OPEN, signer, stateFolder }))).code).toBe('forked')
    await stranger.close()
    await ledger.close()
    const after = await AuditLedger.open(standbyUrl, { ...OPEN, stateFolder: tempDir() })
    expect(await after.count()).toBe(5)
    await after.close()
  })

  test('a replica is read while it replays: the tail in order, and verified though queries are cancelled', async () => {
    const { standby, url, primaryUrl, standbyUrl } = await startPair({ settings: { max_standby_streaming_delay: 0 } })
    const writer = await AuditLedger.open(url, OPEN)
    await Promise.all(Array.from({ length: scale(2000, 5000) }, () => writer.record(CALL)))
    const reader = await AuditLedger.open(`${url}?target_session_attrs=standby`, { readOnly: true })
    let isOver = false
    // As making a partition does: on the standby the lock stops every query that looks at the table.
    const lock = 'BEGIN; LOCK TABLE cortex_ledger.audit_log_default IN ACCESS EXCLUSIVE MODE; COMMIT'
    const writing = (async () => {
      for (; !isOver; await sql(primaryUrl, lock)) await Promise.all([writer.record(CALL), pause(10)])
    })()
    writing.catch(() => {})
    const conflicts = async (): Promise<number> => {
      const text = 'SELECT sum(confl_snapshot + confl_lock + confl_bufferpin)::int AS sum FROM pg_stat_database_conflicts'
      return (await sql<{ sum: number }>(standbyUrl, text))[0]!.sum
    }
    // It may be behind the first records still.
    while ((await reader.count({ action: 'm' })) === 0) await pause(10)
    let next = 0
    for (let round = 0; round < scale(3, 60) || (await conflicts()) < scale(2, 20); round++) {
      for await (const { seq } of reader.read({ from: next })) expect(seq).toBe(next++)
      expect(await reader.verifyIntegrity()).toMatchObject({ ok: true, problems: [] })
      expect(await reader.count({ action: 'm' })).toBeGreaterThan(0)
    }
    isOver = true
    await writing
    await standby.catchUp()
    for await (const { seq } of reader.read({ from: next })) expect(seq).toBe(next++)
    expect(next).toBe((await writer.head()).size)
    await expect(AuditLedger.open(`${url}?target_session_attrs=standby`, OPEN)).rejects.toMatchObject({ code: 'read_only' })
    await reader.close()
    await writer.close()
  })
})
