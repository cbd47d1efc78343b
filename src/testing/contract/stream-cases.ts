/** Appending events through the ledger: versions that are expected, appends that are whole, and the clock. */
import assert from 'node:assert/strict'
import type { EventInput } from '../../ledger/draft.ts'
import type { Ledger } from '../../ledger/ledger.ts'
import type { ExpectedVersion } from '../../ledger/plan.ts'
import { RESERVED_TYPES } from '../../verify/header.ts'
import { parseTime } from '../../verify/time.ts'
import { assertMisuse, assertRefused } from '../checks.ts'
import { persistent, type Scenario } from './bench.ts'
import { assertSound, newLedger, recordsOf, restarted, sizeOf, someCall } from './ledger-bench.ts'

const STEP: EventInput = { type: 'StepTaken', data: { step: 1 } }

/** The append goes through where it should, and else is refused without a trace. */
async function expects(ledger: Ledger, stream: string, expectedVersion: ExpectedVersion, actual: number | null): Promise<void> {
  const size = await sizeOf(ledger)
  if (actual === null) {
    await ledger.append(stream, STEP, { expectedVersion })
    assert.equal(await sizeOf(ledger), size + 1)
    return
  }
  const { details } = await assertRefused(
    ledger.append(stream, STEP, { expectedVersion }),
    'version_conflict',
    `${stream} at ${expectedVersion}`,
  )
  assert.deepEqual([details['expected'], details['actual']], [expectedVersion, actual < 0 ? 'no-stream' : actual])
  assert.equal(await sizeOf(ledger), size)
}

export const streamCases: readonly Scenario[] = [
  {
    name: 'an event has its data, and defaults',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const [first] = await ledger.append('cart-1', STEP)
      const given = {
        type: 'CartPaid',
        data: { a: 1 },
        actor: 'user-7',
        action: 'pay',
        outcome: 'failure',
        schema: 3,
        tags: ['x'],
        run_id: 'mine',
      } as const
      await ledger.append('cart-1', { ...given, timestamp: '2020-01-01T00:00:00Z', correlation_id: 'c', causation_id: first!.run_id })
      const { header, entry } = (await ledger.get(first!.run_id))!
      assert.deepEqual(
        [header.actor, header.action, header.outcome, header.schema, header.stream],
        ['tester', 'StepTaken', 'success', 1, 'cart-1'],
      )
      assert.deepEqual(entry, { step: 1 })
      const other = (await ledger.get('mine'))!.header
      assert.deepEqual([other.actor, other.action, other.outcome, other.schema, other.tags], ['user-7', 'pay', 'failure', 3, ['x']])
      assert.deepEqual([other.timestamp, other.correlation_id, other.causation_id], ['2020-01-01T00:00:00.000000Z', 'c', first!.run_id])
      assert.equal(other.stream_version, 1)
      await assertSound(ledger)
    },
  },
  {
    name: 'a number expects the version of the last event',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      await expects(ledger, 's', 0, -1)
      await expects(ledger, 's', 'any', null)
      await expects(ledger, 's', 1, 0)
      await expects(ledger, 's', 0, null)
      await expects(ledger, 's', 0, 1)
      await expects(ledger, 's', 1, null)
      await expects(ledger, 's', Number.MAX_SAFE_INTEGER, 2)
      await assertSound(ledger)
    },
  },
  {
    name: 'no-stream and stream-exists expect what they say',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      await expects(ledger, 's', 'stream-exists', -1)
      await expects(ledger, 's', 'no-stream', null)
      await expects(ledger, 's', 'no-stream', 0)
      await expects(ledger, 's', 'stream-exists', null)
      await expects(ledger, 't', 'any', null)
      await expects(ledger, 't', 'any', null)
      await assertSound(ledger)
    },
  },
  {
    name: 'an expectation holds after a restart',
    needs: persistent,
    async run(bench) {
      const before = await newLedger(bench)
      await before.ledger.append('s', [STEP, STEP, STEP])
      const { ledger } = await restarted(bench, before)
      await expects(ledger, 's', 'no-stream', 2)
      await expects(ledger, 's', 1, 2)
      await expects(ledger, 's', 2, null)
      await expects(ledger, 't', 'no-stream', null)
      await assertSound(ledger)
    },
  },
  {
    name: 'an expectation that makes no sense is misuse',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      for (const expectedVersion of [-1, 1.5, NaN, 'exists'] as ExpectedVersion[]) {
        await assertMisuse(() => ledger.append('s', STEP, { expectedVersion }), RangeError)
      }
      await assertMisuse(() => ledger.append('s', []), RangeError)
      await assertMisuse(() => ledger.append(7 as never, STEP), TypeError)
      assert.equal(await sizeOf(ledger), 1)
    },
  },
  {
    name: 'several events of one append stand together, and say so',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const [many, one, two] = await Promise.all([
        ledger.append(
          's',
          Array.from({ length: 50 }, (_, step) => ({ type: 'StepTaken', data: { step } })),
        ),
        ledger.append('s', STEP),
        ledger.append('t', [STEP, STEP]),
      ])
      assert.deepEqual(
        many.map(({ stream_version }) => stream_version),
        Array.from({ length: 50 }, (_, i) => i),
      )
      for (const receipts of [many, two]) {
        const last = receipts.at(-1)!.seq
        assert.equal(last - receipts[0]!.seq, receipts.length - 1)
        for (const { run_id } of receipts) assert.equal((await ledger.get(run_id))?.header.append_last_seq, last)
      }
      assert.equal((await ledger.get(one[0]!.run_id))?.header.append_last_seq, undefined)
      await assertSound(ledger)
    },
  },
  {
    name: 'one event that is refused keeps its whole append out',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      await assertRefused(ledger.append('s', [STEP, { type: 'StepTaken', data: { x: NaN } }, STEP]), 'invalid_entry')
      await assertRefused(ledger.append('s', [STEP, { type: '', data: {} }]), 'invalid_entry')
      await assertRefused(ledger.append('s', [STEP, { ...STEP, extra: 1 } as EventInput]), 'invalid_entry')
      await assertRefused(ledger.append('s', [STEP, { type: 'StepTaken', data: [] }]), 'invalid_entry')
      await assertRefused(ledger.append('s', [STEP, { type: 'StepTaken', data: { $enc: {} } }]), 'invalid_entry')
      await assertRefused(ledger.append('x'.repeat(513), STEP), 'invalid_entry')
      assert.equal(await sizeOf(ledger), 1)
    },
  },
  {
    name: 'an append of more than ten thousand events is refused',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      await assertRefused(
        ledger.append(
          's',
          Array.from({ length: 10_001 }, () => STEP),
        ),
        'too_large',
      )
      assert.equal(await sizeOf(ledger), 1)
    },
  },
  {
    name: 'neighbours in one batch fail alone',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      await ledger.append('s', STEP)
      const results = await Promise.allSettled([
        ledger.append('s', STEP, { expectedVersion: 0 }),
        ledger.append('s', STEP, { expectedVersion: 0 }),
        ledger.append('t', [STEP, STEP], { expectedVersion: 'no-stream' }),
        ledger.append('t', STEP, { expectedVersion: 'no-stream' }),
        ledger.append('s', STEP, { expectedVersion: 1 }),
        ledger.record(someCall({ agent_name: '' })),
        ledger.append('t', STEP, { expectedVersion: 1 }),
        ledger.record(someCall()),
      ])
      const expected = [true, false, true, false, true, false, true, true]
      assert.deepEqual(
        results.map(({ status }) => status === 'fulfilled'),
        expected,
      )
      assert.equal(await sizeOf(ledger), 2 + 6)
      await assertSound(ledger)
    },
  },
  {
    name: 'twenty who read, decide and append make a gapless stream',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      await ledger.append('counter', { type: 'Counted', data: { value: 0 } })
      const increment = async (): Promise<void> => {
        for (;;) {
          const [last] = await recordsOf(ledger.read({ stream: 'counter', reverse: true, limit: 1 }))
          const event = { type: 'Counted', data: { value: (last!.entry as { value: number }).value + 1 } }
          try {
            await ledger.append('counter', event, { expectedVersion: last!.header.stream_version })
            return
          } catch (error) {
            await assertRefused(Promise.reject(error as Error), 'version_conflict')
          }
        }
      }
      await Promise.all(Array.from({ length: 20 }, increment))
      const values = (await recordsOf(ledger.read({ stream: 'counter' }))).map(({ entry }) => entry?.['value'])
      assert.deepEqual(
        values,
        Array.from({ length: 21 }, (_, i) => i),
      )
      await assertSound(ledger)
    },
  },
  {
    name: "the ledger's own stream and types are refused",
    async run(bench) {
      const { ledger } = await newLedger(bench)
      await assertRefused(ledger.append('ledger', STEP), 'reserved')
      await assertRefused(ledger.record(someCall(), { stream: 'ledger' }), 'reserved')
      await assertRefused(ledger.record(someCall({ correlation_id: 'ledger' })), 'reserved')
      await assertRefused(ledger.record(someCall({ run_id: 'ledger' })), 'reserved')
      for (const type of RESERVED_TYPES) await assertRefused(ledger.append('s', { type, data: {} }), 'reserved', type)
      assert.equal(await sizeOf(ledger), 1)
    },
  },
  {
    name: 'an event needs an actor',
    async run(bench) {
      const { ledger } = await newLedger(bench, { actor: undefined })
      await assertRefused(ledger.append('s', STEP), 'invalid_entry')
      await ledger.append('s', { ...STEP, actor: 'somebody' })
      assert.equal(await sizeOf(ledger), 2)
    },
  },
]

const SECOND_US = 1_000_000

/** Records before and after the clock was set back by this much; types and recorded_at of all but record 0. */
async function afterGoingBack(bench: Parameters<Scenario['run']>[0], back_us: number): Promise<[string, number][]> {
  const { ledger, clock } = await newLedger(bench)
  const start = clock.now()
  clock.advance(3600 * SECOND_US)
  await ledger.record(someCall())
  clock.set(clock.now() - back_us)
  await Promise.all([ledger.record(someCall()), ledger.record(someCall())])
  clock.advance(SECOND_US)
  await ledger.record(someCall())
  await assertSound(ledger)
  const records = await recordsOf(ledger.read({ from: 1 }))
  return records.map(({ header }) => [header.type, (parseTime(header.recorded_at)! - start) / SECOND_US])
}

const CALL = 'AgentCallCompleted'

export const clockCases: readonly Scenario[] = [
  {
    name: 'a clock that is back by 3 s holds recorded_at',
    async run(bench) {
      const times = await afterGoingBack(bench, 3 * SECOND_US)
      assert.deepEqual(
        times,
        Array.from({ length: 4 }, () => [CALL, 3600]),
      )
    },
  },
  {
    name: 'a clock that is back by 5 s holds recorded_at, and by a microsecond more does not',
    async run(bench) {
      assert.deepEqual(
        await afterGoingBack(bench, 5 * SECOND_US),
        Array.from({ length: 4 }, () => [CALL, 3600]),
      )
      const back = 3600 - 5.000001
      assert.deepEqual(await afterGoingBack(bench, 5 * SECOND_US + 1), [
        [CALL, 3600],
        ['ClockMovedBack', back],
        [CALL, back],
        [CALL, back],
        [CALL, back + 1],
      ])
    },
  },
  {
    name: 'a clock that is back by an hour is recorded, and time goes on from there',
    async run(bench) {
      assert.deepEqual(await afterGoingBack(bench, 3600 * SECOND_US), [
        [CALL, 3600],
        ['ClockMovedBack', 0],
        [CALL, 0],
        [CALL, 0],
        [CALL, 1],
      ])
    },
  },
  {
    name: 'a clock that is back when the ledger is opened again is recorded',
    needs: persistent,
    async run(bench) {
      const before = await newLedger(bench)
      await before.ledger.record(someCall())
      before.clock.set(before.clock.now() - 3600 * SECOND_US)
      const { ledger, clock } = await restarted(bench, before)
      await ledger.record(someCall())
      clock.set(clock.now() - 3 * SECOND_US)
      await ledger.append('s', [STEP, STEP])
      const records = await recordsOf(ledger.read())
      assert.deepEqual(
        records.map(({ header }) => header.type),
        ['LedgerCreated', CALL, 'ClockMovedBack', CALL, 'StepTaken', 'StepTaken'],
      )
      assert.deepEqual(records[2]?.header.stream, 'ledger')
      await assertSound(ledger)
    },
  },
  {
    name: 'a clock that jumps ahead for a moment does not freeze time',
    async run(bench) {
      const { ledger, clock } = await newLedger(bench)
      const now = clock.now()
      clock.set(now + 365 * 86_400 * SECOND_US)
      await ledger.record(someCall())
      clock.set(now + SECOND_US)
      const receipt = await ledger.record(someCall())
      assert.equal(parseTime(receipt.recorded_at), now + SECOND_US)
      await assertSound(ledger)
    },
  },
  {
    name: 'when it happened may lie anywhere, before and after it is recorded',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      for (const timestamp_end of ['1970-01-01T00:00:00Z', '2999-12-31T23:59:59.999999Z', '0001-01-01T00:00:00Z'])
        await ledger.record(someCall({ timestamp_end }))
      await assertSound(ledger)
    },
  },
]
