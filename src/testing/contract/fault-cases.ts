/** The ledger over a store that fails: a typed error for each who waits, nothing twice, nothing half, and it goes on. */
import assert from 'node:assert/strict'
import { LedgerError, type LedgerErrorCode } from '../../ledger/errors.ts'
import type { Receipt } from '../../ledger/plan.ts'
import { assertRefused } from '../checks.ts'
import type { Fault } from '../faulty-store.ts'
import { seededRandom } from '../seeded-random.ts'
import type { Scenario } from './bench.ts'
import { assertSound, ledgerOver, newLedger, recordsOf, sizeOf, someCall, type LedgerBench } from './ledger-bench.ts'

const STEP = { type: 'StepTaken', data: {} }

/** Everybody's receipt is true: the record stands there, once. */
async function assertReceipts({ ledger }: LedgerBench, receipts: readonly Receipt[]): Promise<void> {
  for (const receipt of receipts) {
    const found = (await ledger.query({ run_id: receipt.run_id })).records
    assert.deepEqual(
      found.map(({ seq, hash, header }) => [seq, hash, header.stream_version]),
      [[receipt.seq, receipt.hash, receipt.stream_version]],
    )
  }
}

/** Thirty appends of several kinds at once meet the fault, and get their receipts all the same. */
function overcomes(name: string, ...faults: readonly Fault[]): Scenario {
  return {
    name,
    async run(bench) {
      const made = await newLedger(bench)
      const { ledger, store } = made
      await ledger.append('s', STEP)
      store.plan('append', ...faults)
      const receipts = await Promise.all([
        ...Array.from({ length: 20 }, (_, i) => ledger.record(someCall({ correlation_id: `task-${i % 3}` }))),
        ledger.append('s', [STEP, STEP, STEP], { expectedVersion: 0 }),
        ledger.append('t', [STEP, STEP], { expectedVersion: 'no-stream' }),
        ledger.record(someCall({ run_id: 'given' })),
        ledger.record(someCall({ run_id: 'given' })),
      ])
      assert.equal(await sizeOf(ledger), 2 + 20 + 3 + 2 + 1)
      await assertReceipts(made, receipts.flat())
      await ledger.record(someCall())
      await assertSound(ledger)
    },
  }
}

/** Each who waits hears this code, nothing is recorded, and the next one gets through. */
function refuses(code: LedgerErrorCode, call: 'append' | 'state'): Scenario {
  return {
    name: `a store whose ${call} fails with ${code}: each caller is told, nothing is recorded, recording goes on`,
    async run(bench) {
      const made = await newLedger(bench)
      const { ledger, store } = made
      store.always(call, { kind: 'refuse', code })
      // A given run_id makes the writer ask for the state.
      const given = (i: number): object => (call === 'state' ? { run_id: `given-${i}` } : {})
      const results = await Promise.allSettled(Array.from({ length: 10 }, (_, i) => ledger.record(someCall(given(i)))))
      for (const result of results) {
        assert.equal(result.status, 'rejected')
        await assertRefused(Promise.reject((result as PromiseRejectedResult).reason), code)
      }
      store.heal()
      assert.equal(await sizeOf(ledger), 1)
      const receipts = await Promise.all(Array.from({ length: 10 }, (_, i) => ledger.record(someCall(given(i)))))
      await assertReceipts(made, receipts)
      assert.equal(await sizeOf(ledger), 11)
      await assertSound(ledger)
    },
  }
}

export const faultCases: readonly Scenario[] = [
  overcomes('an append that may have taken effect and did not is written once', { kind: 'lose' }),
  overcomes('an append that may have taken effect and did is not written twice', { kind: 'persist' }),
  overcomes('a head that moved is read again', { kind: 'refuse', code: 'head_moved' }),
  overcomes(
    'a head that keeps moving is read again and again',
    ...Array.from({ length: 12 }, (): Fault => ({ kind: 'refuse', code: 'head_moved' })),
  ),
  overcomes('a head that moved, then an answer that was lost', { kind: 'refuse', code: 'head_moved' }, { kind: 'persist' }),
  overcomes('an append that was lost, then a head that moved', { kind: 'lose' }, { kind: 'refuse', code: 'head_moved' }),
  refuses('disk_full', 'append'),
  refuses('io_error', 'append'),
  refuses('read_only', 'append'),
  refuses('io_error', 'state'),
  {
    name: 'an answer that is lost again and again is told, and a retry settles it',
    async run(bench) {
      const made = await newLedger(bench)
      const { ledger, store } = made
      store.always('append', { kind: 'lose' })
      const results = await Promise.allSettled([ledger.record(someCall({ run_id: 'r' })), ledger.append('s', [STEP, STEP])])
      for (const result of results) {
        assert.equal(result.status, 'rejected')
        const error = (result as PromiseRejectedResult).reason as unknown
        assert.ok(error instanceof LedgerError && error.details.outcome_unknown === true, 'each caller hears that it can not be told')
      }
      store.heal()
      await assertReceipts(made, [await ledger.record(someCall({ run_id: 'r' }))])
      assert.equal(await sizeOf(ledger), 2)
      await assertSound(ledger)
    },
  },
  {
    name: 'another writer that comes first is followed',
    async run(bench) {
      const made = await newLedger(bench)
      const { ledger, store } = made
      // The other writer has ids of its own.
      const rival = await ledgerOver(bench, store, { random: seededRandom(bench.seed + 99) })
      const first: Receipt[] = []
      await ledger.append('s', STEP)
      store.plan('append', {
        kind: 'interfere',
        act: async () =>
          first.push(...(await rival.ledger.append('s', [STEP, STEP])), await rival.ledger.record(someCall({ correlation_id: 'task' }))),
      })
      const results = await Promise.allSettled([
        ledger.append('s', STEP, { expectedVersion: 0 }),
        ledger.append('s', STEP, { expectedVersion: 2 }),
        ledger.record(someCall({ correlation_id: 'task' })),
      ])
      assert.deepEqual(
        results.map(({ status }) => status),
        ['rejected', 'fulfilled', 'fulfilled'],
      )
      await assertRefused(Promise.reject((results[0] as PromiseRejectedResult).reason), 'version_conflict')
      assert.equal(await sizeOf(ledger), 1 + 1 + 3 + 2)
      await assertReceipts(made, first)
      await assertSound(ledger)
    },
  },
  {
    name: 'what another writer appended in between is seen',
    async run(bench) {
      const made = await newLedger(bench)
      const rival = await ledgerOver(bench, made.store, { random: seededRandom(bench.seed + 99) })
      for (let i = 0; i < 4; i++) {
        // Both know the stream; the one that comes next must not go by what it remembers.
        await made.ledger.append('s', STEP)
        await rival.ledger.append('s', [STEP, STEP])
        const [known, unknown] = await Promise.all([
          made.ledger.append('s', STEP),
          made.ledger.append(`t${i}`, STEP, { expectedVersion: 'no-stream' }),
        ])
        assert.deepEqual([known[0]!.stream_version, unknown[0]!.stream_version], [4 * i + 3, 0])
      }
      await assertSound(made.ledger)
    },
  },
  {
    name: 'an expectation is judged by what the store has, not by what the writer remembers',
    async run(bench) {
      const made = await newLedger(bench)
      const rival = await ledgerOver(bench, made.store, { random: seededRandom(bench.seed + 99) })
      await made.ledger.append('s', STEP)
      await rival.ledger.append('s', STEP, { expectedVersion: 0 })
      // The first still remembers version 0, and whoever reads the stream knows better.
      await made.ledger.append('s', STEP, { expectedVersion: 1 })
      await assertRefused(rival.ledger.append('s', STEP, { expectedVersion: 1 }), 'version_conflict')
      await rival.ledger.append('s', STEP, { expectedVersion: 2 })
      await assertRefused(made.ledger.append('s', STEP, { expectedVersion: 2 }), 'version_conflict')
      await assertSound(made.ledger)
    },
  },
  {
    name: 'two writers on one store take turns under load',
    async run(bench) {
      const made = await newLedger(bench)
      const rival = await ledgerOver(bench, made.store, { random: seededRandom(bench.seed + 99) })
      const receipts: Receipt[] = []
      const caller = async (name: string, i: number): Promise<void> => {
        const { ledger } = i % 2 === 0 ? made : rival
        for (let n = 0; n < 5; n++) receipts.push(await ledger.record(someCall({ correlation_id: `task-${n}`, raw_output: name })))
      }
      await Promise.all(Array.from({ length: 16 }, (_, i) => caller(`caller-${i}`, i)))
      assert.equal(await sizeOf(made.ledger), 81)
      assert.equal(new Set(receipts.map(({ seq }) => seq)).size, 80)
      await assertReceipts(made, receipts)
      await assertSound(rival.ledger)
    },
  },
  {
    name: 'one run_id by two writers at once is one record',
    async run(bench) {
      const made = await newLedger(bench)
      const rival = await ledgerOver(bench, made.store, { random: seededRandom(bench.seed + 99) })
      for (let i = 0; i < 10; i++) {
        const entry = someCall({ run_id: `both-${i}` })
        const [left, right] = await Promise.all([made.ledger.record(entry), rival.ledger.record(entry)])
        assert.deepEqual(left, right)
      }
      assert.equal(await sizeOf(made.ledger), 11)
      await assertSound(made.ledger)
    },
  },
  {
    name: 'what the writer knew is forgotten with a failure: versions stay gapless',
    async run(bench) {
      const { ledger, store } = await newLedger(bench)
      for (let i = 0; i < 12; i++) {
        const faults: Fault[] = [{ kind: 'refuse', code: 'disk_full' }, { kind: 'persist' }, { kind: 'lose' }, { kind: 'none' }]
        store.plan('append', faults[i % 4]!)
        await ledger.append(`s${i % 2}`, [STEP, STEP]).catch((error: unknown) => assertRefused(Promise.reject(error as Error), 'disk_full'))
      }
      const versions = (await recordsOf(ledger.read({ stream: 's0' }))).map(({ header }) => header.stream_version)
      assert.deepEqual(
        versions,
        Array.from(versions, (_, i) => i),
      )
      await assertSound(ledger)
    },
  },
  {
    name: 'a rotation that meets faults seals once',
    async run(bench) {
      const { ledger, store } = await newLedger(bench)
      const faults: Fault[] = [{ kind: 'persist' }, { kind: 'lose' }, { kind: 'refuse', code: 'head_moved' }]
      for (const [i, fault] of faults.entries()) {
        await ledger.record(someCall())
        store.plan('append', fault)
        await ledger.rotate()
        assert.equal(await ledger.count({ type: 'SegmentSealed' }), i + 1, fault.kind)
      }
      await ledger.record(someCall())
      await assertSound(ledger)
    },
  },
  {
    name: 'calls that could not be recorded pass on their results, and the gap is recorded',
    async run(bench) {
      const { ledger, store, warnings, clock } = await newLedger(bench)
      store.always('append', { kind: 'refuse', code: 'disk_full' })
      for (let i = 0; i < 3; i++) {
        clock.advance(1_000_000)
        assert.equal(await ledger.call({ agent_name: 'a', method_name: 'm' }, () => i), i)
        await ledger.flush()
      }
      assert.deepEqual(
        warnings.map(({ code, error }) => [code, error?.code]),
        Array.from({ length: 3 }, () => ['recording_failed', 'disk_full']),
      )
      assert.equal((await ledger.stats()).unrecorded, 3)
      store.heal()
      await ledger.call({ agent_name: 'a', method_name: 'm' }, () => 'works again')
      await ledger.flush()
      const [gap] = (await ledger.query({ type: 'RecordingGapDetected' })).records
      assert.deepEqual([gap?.header.stream, gap?.entry?.['records_lost']], ['ledger', 3])
      assert.deepEqual([gap?.entry?.['since'], gap?.entry?.['until']], ['2026-01-01T00:00:01.000000Z', '2026-01-01T00:00:03.000000Z'])
      assert.equal((await ledger.stats()).unrecorded, 0)
      await assertSound(ledger)
    },
  },
  {
    name: 'closing a ledger whose store fails tells those who wait, and closes',
    async run(bench) {
      const { ledger, store } = await newLedger(bench)
      store.always('append', { kind: 'refuse', code: 'io_error' })
      const waiting = [ledger.record(someCall()), ledger.append('s', STEP)]
      const results = Promise.allSettled(waiting)
      await ledger.close()
      for (const result of await results) assert.equal(result.status, 'rejected')
      await assertRefused(ledger.record(someCall()), 'closed')
    },
  },
  {
    name: 'faults by chance: each record that was acknowledged is there once, with its receipt',
    async run(bench) {
      const made = await newLedger(bench)
      const { ledger, store } = made
      const random = seededRandom(bench.seed + 3)
      const receipts = new Map<string, Receipt>()
      const caller = async (name: string): Promise<void> => {
        for (let i = 0; i < 6 * bench.effort; i++) {
          const entry = someCall({ run_id: `${name}-${i}`, correlation_id: `task-${i % 4}` })
          for (let attempt = 0; ; attempt++) {
            const fault = random.pick<Fault>([
              { kind: 'none' },
              { kind: 'lose' },
              { kind: 'persist' },
              { kind: 'refuse', code: 'io_error' },
              { kind: 'delay', ms: 1 },
            ])
            if (random.chance(0.5)) store.plan('append', fault)
            const receipt = await ledger.record(entry).catch((error: unknown) => {
              assert.ok(error instanceof LedgerError && error.code === 'io_error', String(error))
              return null
            })
            if (receipt !== null) receipts.set(entry.run_id as string, receipt)
            if (receipt !== null || attempt > 100) break
          }
        }
      }
      await Promise.all(Array.from({ length: 16 }, (_, i) => caller(`caller-${i}`)))
      assert.equal(receipts.size, 96 * bench.effort)
      assert.equal(await sizeOf(ledger), 1 + 96 * bench.effort)
      await assertReceipts(made, [...receipts.values()])
      await assertSound(ledger)
    },
  },
]
