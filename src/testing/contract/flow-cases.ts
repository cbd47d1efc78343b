/** The ledger at work: many callers, a bounded queue, calls, masks, rotation, closing and opening. */
import assert from 'node:assert/strict'
import type { JsonObject } from '../../ledger/entry.ts'
import type { Ledger } from '../../ledger/ledger.ts'
import { LedgerRecord } from '../../ledger/record.ts'
import { assertRefused, textOf } from '../checks.ts'
import { SAMPLE_ORIGIN } from '../sample-chain.ts'
import { persistent, type Scenario } from './bench.ts'
import { assertSound, ledgerOver, newLedger, recordsOf, restarted, sizeOf, someCall } from './ledger-bench.ts'

async function typesOf(ledger: Ledger): Promise<string[]> {
  return (await recordsOf(ledger.read())).map(({ header }) => header.type)
}

function settledAs(results: readonly PromiseSettledResult<unknown>[], status: 'fulfilled' | 'rejected'): number {
  return results.filter((result) => result.status === status).length
}

const STEP = { type: 'StepTaken', data: {} }

export const flowCases: readonly Scenario[] = [
  {
    name: '64 callers at once: no gap, every receipt true, each caller in order',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const caller = async (name: string): Promise<number[]> => {
        const seqs: number[] = []
        for (let i = 0; i < 5; i++) {
          const receipt = await ledger.record(someCall({ agent_name: name, correlation_id: `task-${i}`, raw_output: `${name} ${i}` }))
          const record = await ledger.at(receipt.seq)
          assert.deepEqual([record?.hash, record?.entry?.['raw_output']], [receipt.hash, `${name} ${i}`])
          seqs.push(receipt.seq)
        }
        return seqs
      }
      const all = await Promise.all(Array.from({ length: 64 }, (_, i) => caller(`agent-${i}`)))
      for (const seqs of all)
        assert.deepEqual(
          seqs,
          seqs.toSorted((a, b) => a - b),
        )
      assert.equal(new Set(all.flat()).size, 320)
      assert.equal(await sizeOf(ledger), 321)
      await assertSound(ledger)
    },
  },
  {
    name: 'while a batch is written the next one gathers',
    async run(bench) {
      const { ledger, store } = await newLedger(bench)
      store.plan('append', { kind: 'delay', ms: 30 })
      const first = ledger.record(someCall())
      while (!store.seen.some(({ fault }) => fault === 'delay')) await new Promise((resolve) => setImmediate(resolve))
      const rest = Array.from({ length: 200 }, () => ledger.record(someCall()))
      await Promise.all([first, ...rest])
      const sizes = store.seen.filter(({ call }) => call === 'append').map(({ seqs }) => seqs.length)
      // A pipelined store gets what has gathered in two halves.
      assert.deepEqual(sizes, store.pipelined === true ? [1, 1, 100, 100] : [1, 1, 200])
      await assertSound(ledger)
    },
  },
  {
    name: 'a batch is bounded, and takes at least one append',
    async run(bench) {
      const { ledger, store } = await newLedger(bench, { batch: { records_max: 5, bytes_max: 100_000 } })
      const big = 'x'.repeat(90_000)
      await Promise.all([
        ...Array.from({ length: 23 }, () => ledger.record(someCall())),
        ledger.append(
          's',
          Array.from({ length: 12 }, () => STEP),
        ),
        ...Array.from({ length: 4 }, () => ledger.record(someCall({ raw_output: big }))),
      ])
      for (const { seqs } of store.seen) assert.ok(seqs.length <= 5 + 11, `a batch of ${seqs.length} records`)
      assert.equal(await sizeOf(ledger), 1 + 23 + 12 + 4)
      await assertSound(ledger)
    },
  },
  {
    name: 'the queue is bounded in records: who comes too much is told, and later gets in',
    async run(bench) {
      const { ledger, store } = await newLedger(bench, { queue: { records_max: 10 } })
      let release = (): void => {}
      store.plan('append', { kind: 'wait', for: new Promise<void>((resolve) => (release = resolve)) })
      const all = Array.from({ length: 50 }, (_, i) => ledger.record(someCall({ run_id: `r${i}` })))
      setTimeout(release, 5)
      const results = await Promise.allSettled(all)
      assert.ok(settledAs(results, 'rejected') >= 30, 'the queue takes ten, not fifty')
      assert.ok(settledAs(results, 'fulfilled') >= 10)
      for (const result of results)
        if (result.status === 'rejected') await assertRefused(Promise.reject(result.reason as Error), 'queue_full')
      assert.equal(await sizeOf(ledger), 1 + settledAs(results, 'fulfilled'))
      await ledger.ready()
      for (let i = 0; i < 50; i++) await ledger.record(someCall({ run_id: `r${i}` }))
      assert.equal(await sizeOf(ledger), 51)
      await assertSound(ledger)
    },
  },
  {
    name: 'the queue is bounded in bytes, and an append alone in it may be larger',
    async run(bench) {
      const { ledger } = await newLedger(bench, { queue: { bytes_max: 50_000 } })
      const text = 'x'.repeat(20_000)
      const results = await Promise.allSettled(Array.from({ length: 10 }, () => ledger.record(someCall({ raw_output: text }))))
      assert.ok(settledAs(results, 'rejected') >= 5)
      assert.ok(settledAs(results, 'fulfilled') >= 2)
      await ledger.record(someCall({ raw_output: text.repeat(10) }))
      await assertSound(ledger)
    },
  },
  {
    name: 'ready resolves when there is room again, so that no record is refused',
    async run(bench) {
      const { ledger } = await newLedger(bench, { queue: { records_max: 20 } })
      const all: Promise<unknown>[] = []
      for (let i = 0; i < 300; i++) {
        await ledger.ready()
        all.push(ledger.record(someCall()))
      }
      await Promise.all(all)
      assert.equal(await sizeOf(ledger), 301)
    },
  },
  {
    name: 'a mask changes what is recorded, before anything is hashed',
    async run(bench) {
      const seen: object[] = []
      const mask = (data: JsonObject, about: object): object => {
        seen.push(about)
        return { ...data, raw_output: String(data['raw_output']).replaceAll(/secret-\w+/g, '…'), model_name: 'masked' }
      }
      const { ledger } = await newLedger(bench, { mask })
      const entry = someCall({ run_id: 'r', raw_output: 'the secret-abc is out', model_name: 'm' })
      const first = await ledger.record(entry)
      assert.deepEqual(await ledger.record(entry), first)
      await assertRefused(ledger.record({ ...entry, raw_output: 'the public is out' }), 'run_id_conflict')
      const record = await ledger.get('r')
      assert.equal(record?.line.includes('secret'), false)
      assert.equal(record?.entry?.['raw_output'], 'the … is out')
      assert.equal(await ledger.count({ model: 'masked' }), 1)
      assert.equal(await ledger.count({ model: 'm' }), 0)
      assert.deepEqual(seen[0], { type: 'AgentCallCompleted', stream: 'r' })
      assert.equal(entry.raw_output, 'the secret-abc is out')
      await assertSound(ledger)
    },
  },
  {
    name: 'a mask that fails keeps its record out, and no other',
    async run(bench) {
      const mask = (data: JsonObject): object => {
        if (data['raw_output'] === 'bad') throw new Error('the mask is torn')
        return data['raw_output'] === 'worse' ? { ...data, x: NaN } : data
      }
      const { ledger } = await newLedger(bench, { mask })
      await assert.rejects(ledger.record(someCall({ raw_output: 'bad' })), /the mask is torn/)
      await assertRefused(ledger.record(someCall({ raw_output: 'worse' })), 'invalid_entry')
      await ledger.record(someCall({ raw_output: 'good' }))
      assert.equal(await sizeOf(ledger), 2)
    },
  },
  {
    name: 'rotate seals the segment, once, and the records run on',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      await ledger.record(someCall())
      assert.notEqual(await ledger.rotate(), null)
      assert.equal(await ledger.rotate(), null)
      await Promise.all([ledger.record(someCall()), ledger.rotate(), ledger.record(someCall())])
      await ledger.record(someCall())
      const seals = (await ledger.query({ type: 'SegmentSealed' })).records
      assert.equal(seals.length, 2)
      const { header, entry } = seals[0]!
      assert.deepEqual([header.stream, header.seq, entry?.['first_seq'], entry?.['last_seq']], ['ledger', 2, 0, 1])
      assert.equal(entry?.['last_hash'], (await ledger.at(1))?.hash)
      assert.equal(await sizeOf(ledger), 2 + 2 + 3)
      await assertSound(ledger)
    },
  },
  {
    name: 'full segments seal themselves, and the records run on',
    needs: ({ segments }) => segments,
    async run(bench) {
      const { ledger } = await newLedger(bench, {}, { segmentBytes: 10_000 })
      for (let i = 0; i < 10; i++) await Promise.all(Array.from({ length: 8 }, () => ledger.record(someCall())))
      const seals = (await ledger.query({ type: 'SegmentSealed' })).records
      assert.ok(seals.length >= 3, `${seals.length} segments sealed`)
      assert.equal(await sizeOf(ledger), 1 + 80 + seals.length)
      let next = 0
      for (const { entry } of seals) {
        assert.equal(entry?.['first_seq'], next)
        next = Number(entry?.['last_seq']) + 1
      }
      await assertSound(ledger)
    },
  },
  {
    name: 'close writes what waits, and refuses what comes after',
    async run(bench) {
      const { ledger, store } = await newLedger(bench)
      store.plan('append', { kind: 'delay', ms: 10 })
      const waiting = Array.from({ length: 30 }, () => ledger.record(someCall()))
      const closing = ledger.close()
      await assertRefused(ledger.record(someCall()), 'closed')
      await assertRefused(ledger.append('s', STEP), 'closed')
      assert.equal(settledAs(await Promise.allSettled(waiting), 'fulfilled'), 30)
      await Promise.all([closing, ledger.close(), ledger[Symbol.asyncDispose]()])
    },
  },
  {
    name: 'a ledger that is opened again is the same ledger, and goes on',
    needs: persistent,
    async run(bench) {
      let current = await newLedger(bench)
      const seen: string[] = []
      for (let i = 0; i < 4; i++) {
        await current.ledger.record(someCall({ run_id: `r${i}` }))
        const lines = (await recordsOf(current.ledger.read())).map(({ line }) => line)
        assert.deepEqual(lines.slice(0, seen.length), seen)
        seen.splice(0, seen.length, ...lines)
        current = await restarted(bench, current)
        assert.deepEqual(current.warnings, [])
      }
      assert.equal(seen.length, 5)
      assert.equal(current.ledger.origin, SAMPLE_ORIGIN)
      await assertSound(current.ledger)
    },
  },
  {
    name: 'a ledger of another origin is refused, and left open for its own',
    needs: persistent,
    async run(bench) {
      const before = await newLedger(bench)
      await assertRefused(restarted(bench, before, { origin: 'example.com/another' }), 'not_a_ledger')
      const { ledger } = await ledgerOver(bench, await bench.reopen(before.store), { origin: undefined })
      assert.equal(ledger.origin, SAMPLE_ORIGIN)
    },
  },
  {
    name: 'a ledger opened for reading finds and verifies, and records nothing',
    needs: persistent,
    async run(bench) {
      const before = await newLedger(bench)
      await before.ledger.record(someCall({ run_id: 'r' }))
      await before.ledger.close()
      const { ledger } = await ledgerOver(bench, await bench.reopen(before.store, { readOnly: true }))
      assert.equal(ledger.readOnly, true)
      assert.equal((await ledger.get('r'))?.seq, 1)
      await assertRefused(ledger.record(someCall()), 'read_only')
      await assertRefused(ledger.append('s', STEP), 'read_only')
      await assertRefused(ledger.rotate(), 'read_only')
      await assertSound(ledger)
    },
  },
  {
    name: 'call passes on what the function gives, and records it',
    async run(bench) {
      const { ledger, clock } = await newLedger(bench)
      const result = { answer: 42 }
      const passed = await ledger.call({ agent_name: 'a', method_name: 'm', correlation_id: 'c' }, (call) => {
        clock.advance(1_500_000)
        call.set({ model_name: 'late' })
        return result
      })
      assert.equal(passed, result)
      assert.equal(await ledger.call({ agent_name: 'a', method_name: 'm', correlation_id: 'c' }, async () => 'text'), 'text')
      await ledger.flush()
      const [first, second] = await ledger.getEntriesByCorrelation('c')
      assert.deepEqual([first?.entry?.['parsed_data'], first?.entry?.['latency_ms'], first?.entry?.['model_name']], [result, 1500, 'late'])
      assert.deepEqual([second?.entry?.['raw_output'], second?.header.outcome], ['text', 'success'])
      await assertSound(ledger)
    },
  },
  {
    name: 'call passes on what the function throws, and records how it ended',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const info = { agent_name: 'a', method_name: 'm', correlation_id: 'c' }
      const aborted = AbortSignal.abort()
      const late = AbortSignal.abort(new DOMException('too late', 'TimeoutError'))
      const ways: [Error, AbortSignal | undefined, string][] = [
        [new Error('broken'), undefined, 'failure'],
        [new DOMException('too late', 'TimeoutError'), undefined, 'timeout'],
        [aborted.reason as Error, aborted, 'cancelled'],
        [late.reason as Error, late, 'timeout'],
      ]
      for (const [error, signal] of ways) {
        const thrown = await ledger.call({ ...info, signal }, () => Promise.reject(error)).catch((caught: unknown) => caught)
        assert.equal(thrown, error)
      }
      await ledger.flush()
      const outcomes = (await ledger.getEntriesByCorrelation('c')).map(({ header }) => header.outcome)
      assert.deepEqual(
        outcomes,
        ways.map(([, , outcome]) => outcome),
      )
      await assertSound(ledger)
    },
  },
  {
    name: 'call with start-and-end leaves a trace before it begins',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      let during: string[] = []
      await ledger.call({ agent_name: 'a', method_name: 'm' }, async () => (during = await typesOf(ledger)), {
        capture: 'start-and-end',
        durable: true,
      })
      assert.deepEqual(during, ['LedgerCreated', 'AgentCallStarted'])
      const [, started, completed] = await recordsOf(ledger.read())
      assert.equal(completed?.header.causation_id, started?.run_id)
      assert.equal(completed?.header.stream, started?.header.stream)
      await assertSound(ledger)
    },
  },
  {
    name: 'call never loses a record for what it returned',
    async run(bench) {
      const { ledger, warnings } = await newLedger(bench)
      const cyclic: { self?: unknown; n: bigint } = { n: 1n }
      cyclic.self = cyclic
      for (const result of [NaN, cyclic, new Map([[1, 2]]), 'x\ud800', () => 1, undefined, Symbol('x'), [undefined, new Error('e')]]) {
        assert.equal(await ledger.call({ agent_name: 'a', method_name: 'm', correlation_id: 'c' }, () => result), result)
      }
      await ledger.flush()
      assert.equal((await ledger.getEntriesByCorrelation('c')).length, 8)
      assert.deepEqual(warnings, [])
      await assertSound(ledger)
    },
  },
  {
    name: 'stats tell size, head, times and counts',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      await ledger.record(someCall(), { outcome: 'denied' })
      const receipt = await ledger.record(someCall())
      const stats = await ledger.stats()
      assert.deepEqual([stats.origin, stats.size, stats.head, stats.pending], [SAMPLE_ORIGIN, 3, receipt.hash, 0])
      assert.deepEqual(stats.outcomes, { success: 2, denied: 1 })
      assert.deepEqual(stats.types, { LedgerCreated: 1, AgentCallCompleted: 2 })
      assert.equal(stats.recorded.last, receipt.recorded_at)
      assert.ok(stats.store.bytes > 0)
    },
  },
  {
    name: 'verification finds what the store has, its head and origin, and what would be needed for more',
    async run(bench) {
      const { ledger, store } = await newLedger(bench)
      const { hash } = await ledger.record(someCall())
      const report = await ledger.verifyIntegrity()
      assert.deepEqual([report.ok, report.size, report.head, report.origin], [true, 2, hash, SAMPLE_ORIGIN])
      assert.equal(report.verdicts.completeness, 'not checked')
      assert.ok(report.missing.completeness, 'a bare chain can not see a cut tail, and the report says so')
      const { runs } = await store.state({ streams: [], run_ids: [(await ledger.at(1))!.run_id] })
      for (const line of runs.values()) assert.equal(new LedgerRecord(line).hash, JSON.parse(textOf(line)).hash)
    },
  },
]
