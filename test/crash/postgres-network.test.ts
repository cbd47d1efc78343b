/** A network that cuts and swallows between a ledger and its PostgreSQL: each record is there once, and its receipt is true. */
import { describe, expect, test } from 'vitest'
import { AuditLedger, type LedgerError } from '../../src/index.ts'
import { openPostgresStore } from '../../src/stores/postgres/index.ts'
import { assertKept } from '../helpers/acknowledged.ts'
import type { Acknowledged } from '../helpers/acknowledged.ts'
import { clusterMissing, useCluster } from '../helpers/postgres.ts'
import { soaking } from '../helpers/scale.ts'
import { startProxy } from '../helpers/tcp-proxy.ts'
import type { TcpProxy } from '../helpers/tcp-proxy.ts'

const OPEN = { signer: null, origin: 'example.com/network', checkpoints: false, tree: 'on-demand', onWarning: () => {} } as const
const APPEND = 'cortex_append'
const CALL = { agent_name: 'a', method_name: 'm' }

describe.skipIf(clusterMissing !== null)('PostgreSQL', () => {
  const cluster = useCluster()

  /** A new ledger, and the URL that leads to it through a proxy. */
  async function throughProxy(): Promise<{ proxy: TcpProxy; through: string; url: string }> {
    const url = await cluster().createDatabase()
    await (await AuditLedger.open(url, OPEN)).close()
    const proxy = await startProxy(cluster().port)
    const through = new URL(url)
    through.port = String(proxy.port)
    through.searchParams.set('connect_timeout', '1')
    return { proxy, through: through.href, url }
  }

  /** All that was acknowledged, each once, and nothing else but record 0. */
  async function assertOnce(url: string, acknowledged: readonly Acknowledged[]): Promise<void> {
    const ledger = await AuditLedger.open(url, OPEN)
    expect(await assertKept(ledger, acknowledged)).toBe(1 + acknowledged.length)
    expect(new Set(acknowledged.map(({ run_id }) => run_id)).size).toBe(acknowledged.length)
    await ledger.close()
  }

  test('cut at every byte of the answer, and of the request', async () => {
    const { proxy, through, url } = await throughProxy()
    const ledger = await AuditLedger.open(through, OPEN)
    const receipts: Acknowledged[] = [await ledger.record(CALL)]
    const counting = proxy.answerBytes(APPEND)
    receipts.push(await ledger.record(CALL))
    const answer = await counting
    expect(answer).toBeGreaterThan(80)
    const step = soaking ? 1 : 16
    const cuts: ({ answer: number } | { request: number })[] = []
    for (let at = 0; at <= answer; at += step) cuts.push({ answer: at })
    for (let at = 0; at < 1600; at += step * 12) cuts.push({ request: at })
    for (const [i, where] of cuts.entries()) {
      const cut = proxy.cutNext(APPEND, where)
      // With an id of its own and without, alone and several at once.
      const some = [ledger.record(i % 2 === 0 ? { ...CALL, run_id: `r${i}` } : CALL), ...(i % 3 === 0 ? [ledger.record(CALL)] : [])]
      receipts.push(...(await Promise.all(some)))
      await cut
    }
    await ledger.close()
    await assertOnce(url, receipts)
  })

  test('packets are swallowed: the statement times out, and what became of it is looked for', async () => {
    const { proxy, through, url } = await throughProxy()
    const ledger = await AuditLedger.open(through, { ...OPEN, store: await openPostgresStore(through, { timeoutMs: 300 }) })
    const receipts: Acknowledged[] = [await ledger.record(CALL)]
    for (const direction of ['requests', 'answers', 'both'] as const) {
      proxy.swallow(direction)
      let isTold = false
      const recording = ledger.record({ ...CALL, run_id: direction }).then((receipt) => {
        isTold = true
        return receipt
      })
      await new Promise((resolve) => setTimeout(resolve, 500))
      expect(isTold, 'nothing went through').toBe(false)
      // The request that timed out arrives late, too.
      proxy.deliver()
      receipts.push(await recording, await ledger.record(CALL))
    }
    await ledger.close()
    await assertOnce(url, receipts)
  })

  test('a server that is away for longer than anybody waits: an error that says so, a full queue, and then it goes on', async () => {
    const { proxy, through, url } = await throughProxy()
    const store = await openPostgresStore(through, { patienceMs: 500, timeoutMs: 400 })
    const warnings: string[] = []
    const ledger = await AuditLedger.open(through, {
      ...OPEN,
      store,
      queue: { records_max: 50 },
      onWarning: ({ code }) => warnings.push(code),
    })
    const receipts: Acknowledged[] = [await ledger.record(CALL)]
    proxy.swallow('requests')
    const codes = new Map<string, number>()
    const refused = (error: LedgerError): LedgerError => {
      codes.set(error.code, (codes.get(error.code) ?? 0) + 1)
      return error
    }
    // It is on its way when the others come.
    const unknown = ledger.record(CALL).catch(refused)
    for (let turns = 0; turns < 4; turns++) await new Promise((resolve) => setImmediate(resolve))
    const others = Array.from({ length: 120 }, (_, i) => ledger.record({ ...CALL, run_id: `r${i}` }).catch(refused))
    expect(await ledger.call(CALL, () => 'answered')).toBe('answered')
    expect(await unknown).toMatchObject({ code: 'io_error', details: { outcome_unknown: true } })
    // Of these nothing was sent, and they are told so.
    for (const error of await Promise.all(others)) expect((error as LedgerError).details.outcome_unknown).toBeUndefined()
    expect(Object.fromEntries(codes)).toEqual({ io_error: 51, queue_full: 70 })
    await ledger.flush()
    expect(warnings).toContain('recording_failed')
    proxy.deliver()
    await ledger.record(CALL)
    expect(await ledger.count()).toBeLessThanOrEqual(4)
    // Repeated: whatever became of the first ones, each is there once.
    for (let i = 0; i < 120; i++) receipts.push(await ledger.record({ ...CALL, run_id: `r${i}` }))
    await ledger.call(CALL, () => 'answered')
    await ledger.close()
    const after = await AuditLedger.open(url, OPEN)
    expect(await after.count({ type: 'RecordingGapDetected' })).toBe(1)
    // Record 0, the one after the cause was gone, the call and the gap; the one that nobody knew of is there or not.
    expect([receipts.length + 4, receipts.length + 5]).toContain(await assertKept(after, receipts))
    await after.close()
  })
})
