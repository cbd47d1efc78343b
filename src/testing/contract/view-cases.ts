/** Two times, and what is said of records later: corrections, annotations, calls that never ended. */
import assert from 'node:assert/strict'
import { EntryAnnotated, EntryCorrected } from '../../ledger/built-in-events.ts'
import type { Ledger } from '../../ledger/ledger.ts'
import { defineProjection } from '../../ledger/projection.ts'
import type { LedgerRecord } from '../../ledger/record.ts'
import type { AsOf, StateAsOf } from '../../ledger/view.ts'
import { assertMisuse, assertRefused } from '../checks.ts'
import { seededRandom } from '../seeded-random.ts'
import type { Scenario } from './bench.ts'
import { assertSound, newLedger, recordsOf, someCall, type LedgerBench } from './ledger-bench.ts'

const at = (us: number): string => `2026-02-01T00:00:00.${String(us).padStart(6, '0')}Z`

async function seqsOf(records: AsyncIterable<LedgerRecord>): Promise<number[]> {
  return (await recordsOf(records)).map(({ seq }) => seq)
}

/** Recorded at these µs, happened at those. */
async function recordedAt(made: LedgerBench, times: readonly (readonly [recorded: number, happened: number])[]): Promise<void> {
  for (const [recorded, happened] of times) {
    made.clock.set(at(recorded))
    await made.ledger.append('s', { type: 'StepTaken', data: {}, timestamp: at(happened), tags: [`r${recorded}`] })
  }
}

async function callWith(ledger: Ledger, members: object): Promise<LedgerRecord> {
  const { run_id } = await ledger.record(someCall(members))
  return (await ledger.get(run_id))!
}

export const viewCases: readonly Scenario[] = [
  {
    name: 'both times are inclusive, to the µs',
    async run(bench) {
      const made = await newLedger(bench)
      const { ledger } = made
      await recordedAt(made, [
        [100, 50],
        [200, 300],
        [200, 999],
        [999, 20],
        [1000, 1000],
      ])
      const seqs = (recorded?: number, happened?: number): Promise<number[]> =>
        seqsOf(
          ledger
            .asOf({
              ...(recorded === undefined ? {} : { recordedAt: at(recorded) }),
              ...(happened === undefined ? {} : { happenedAt: at(happened) }),
            })
            .read({ from: 1 }),
        )
      assert.deepEqual(await seqs(), [1, 2, 3, 4, 5])
      assert.deepEqual(await seqs(99), [])
      assert.deepEqual(await seqs(100), [1])
      assert.deepEqual(await seqs(199), [1])
      assert.deepEqual(await seqs(200), [1, 2, 3])
      assert.deepEqual(await seqs(998), [1, 2, 3])
      assert.deepEqual(await seqs(999), [1, 2, 3, 4])
      assert.deepEqual(await seqs(1000), [1, 2, 3, 4, 5])
      assert.deepEqual(await seqs(undefined, 50), [1, 4])
      assert.deepEqual(await seqs(undefined, 998), [1, 2, 4])
      assert.deepEqual(await seqs(undefined, 999), [1, 2, 3, 4])
      assert.deepEqual(await seqs(200, 50), [1])
      assert.deepEqual(await seqs(999, 50), [1, 4])
    },
  },
  {
    name: 'times at the ends of seconds and of what can be spelled; dates and zones',
    async run(bench) {
      const made = await newLedger(bench)
      const { ledger } = made
      made.clock.set('2026-12-31T23:59:59.999999Z')
      await ledger.append('s', { type: 'StepTaken', data: {}, timestamp: '9999-12-31T23:59:59.999999Z' })
      made.clock.set('2027-01-01T00:00:00.000000Z')
      await ledger.append('s', { type: 'StepTaken', data: {}, timestamp: '0000-01-01T00:00:00.000000Z' })
      const read = (asOf: object): Promise<number[]> => seqsOf(ledger.asOf(asOf).read({ from: 1 }))
      assert.deepEqual(await read({ recordedAt: '2026-12-31T23:59:59.999999Z' }), [1])
      assert.deepEqual(await read({ recordedAt: '2027-01-01T01:00:00+01:00' }), [1, 2])
      assert.deepEqual(await read({ recordedAt: new Date('2026-12-31T23:59:59.999Z') }), [])
      assert.deepEqual(await read({ happenedAt: '9999-12-31T23:59:59.999999Z' }), [1, 2])
      assert.deepEqual(await read({ happenedAt: '9999-12-31T23:59:59.999998Z' }), [2])
      assert.deepEqual(await read({ happenedAt: '0000-01-01T00:00:00Z' }), [2])
    },
  },
  {
    name: 'every way to read sees the same, and what is asked for beside the time counts too',
    async run(bench) {
      const made = await newLedger(bench)
      const { ledger } = made
      const random = seededRandom(bench.seed)
      let recorded = 10
      for (let i = 0; i < 30 * bench.effort; i++) await recordedAt(made, [[(recorded += random.below(3)), random.below(100)]])
      const all = await recordsOf(ledger.read())
      for (let i = 0; i < 8; i++) {
        const [recordedUs, happenedUs] = [random.below(recorded + 5), random.below(110)]
        const bounds = random.pick([
          { recordedAt: at(recordedUs) },
          { happenedAt: at(happenedUs) },
          { recordedAt: at(recordedUs), happenedAt: at(happenedUs) },
        ])
        const view = ledger.asOf(bounds)
        const fits = ({ header }: LedgerRecord): boolean =>
          (!('recordedAt' in bounds) || header.recorded_at <= bounds.recordedAt) &&
          (!('happenedAt' in bounds) || header.timestamp <= bounds.happenedAt)
        const expected = all.filter(fits).map(({ seq }) => seq)
        assert.deepEqual(await seqsOf(view.read()), expected)
        assert.deepEqual(await seqsOf(view.read({ reverse: true })), expected.toReversed())
        assert.deepEqual(await seqsOf(view.scan()), expected)
        assert.equal(await view.count(), expected.length)
        const steps = all.filter((record) => fits(record) && record.header.type === 'StepTaken').map(({ seq }) => seq)
        assert.deepEqual(await seqsOf(view.events({ types: 'StepTaken' })), steps)
        assert.equal((await view.tally('type')).get('StepTaken') ?? 0, steps.length)
        const paged: number[] = []
        for (let cursor: string | null = null; ;) {
          const page = await view.query({ limit: 7, cursor, order: 'newest' })
          paged.push(...page.records.map(({ seq }) => seq))
          cursor = page.cursor
          if (cursor === null) break
        }
        assert.deepEqual(paged, expected.toReversed())
        const until = at(random.below(100))
        assert.equal(await view.count({ until }), all.filter((record) => fits(record) && record.header.timestamp < until).length)
      }
    },
  },
  {
    name: 'a projection as of a time is what the records of that time come to',
    async run(bench) {
      const made = await newLedger(bench)
      await recordedAt(made, [
        [100, 300],
        [200, 100],
        [300, 200],
      ])
      const steps = defineProjection({
        name: 'steps',
        version: 1,
        initial: [] as number[],
        on: { StepTaken: (seqs, _data, { seq }) => [...seqs, seq] },
      })
      const load = (asOf: AsOf): Promise<StateAsOf<number[]>> => made.ledger.asOf(asOf).load(steps)
      assert.deepEqual(await load({}), { state: [1, 2, 3], position: 3 })
      assert.deepEqual(await load({ recordedAt: at(200) }), { state: [1, 2], position: 2 })
      assert.deepEqual(await load({ happenedAt: at(200) }), { state: [2, 3], position: 3 })
      assert.deepEqual(await load({ recordedAt: at(99) }), { state: [], position: -1 })
      assert.deepEqual(await made.ledger.asOf({}).load(steps, { stream: 'other' }), { state: [], position: -1 })
    },
  },
  {
    name: 'a record is corrected and annotated, in order, and the first stays as it is',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const record = await callWith(ledger, { parsed_data: { price: 5, note: { a: 1, b: 2 } }, training_labels: { good: false } })
      const { line } = record
      await ledger.append('review', [
        EntryCorrected({ about: record, changes: { parsed_data: { price: 6, note: { a: null } } }, reason: 'misread' }),
        EntryAnnotated({ about: record, note: 'looked at', labels: { good: true, rater: 'u1' } }),
        EntryCorrected({ about: record, changes: { parsed_data: { price: 7 }, raw_output: 'seven' }, reason: 'misread again' }),
        EntryAnnotated({ about: record, labels: { rater: 'u2' } }),
      ])
      const found = await ledger.corrected(record.run_id)
      assert.deepEqual(found.entry?.['parsed_data'], { price: 7, note: { b: 2 } })
      assert.equal(found.entry?.['raw_output'], 'seven')
      assert.equal(found.entry?.['agent_name'], 'analyst')
      assert.deepEqual(found.labels, { good: true, rater: 'u2' })
      assert.deepEqual(
        [found.corrections, found.annotations].map((records) => records.map(({ seq }) => seq)),
        [
          [2, 4],
          [3, 5],
        ],
      )
      assert.deepEqual(found.unapplied, [])
      assert.equal(found.record.line, line)
      assert.equal((await ledger.get(record.run_id))?.line, line)
      assert.deepEqual((await ledger.corrected(found.record)).entry, found.entry)
      await assertSound(ledger)
    },
  },
  {
    name: 'what names another hash, is about another record, or has another form counts for nothing',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const [record, other] = [await callWith(ledger, { raw_output: 'first' }), await callWith(ledger, { raw_output: 'other' })]
      await ledger.append('review', [
        EntryCorrected({ about: { run_id: record.run_id, hash: other.hash }, changes: { raw_output: 'forged' }, reason: 'x' }),
        EntryCorrected({ about: other, changes: { raw_output: 'other, corrected' }, reason: 'x' }),
        // By hand, past the definition.
        { type: 'EntryCorrected', causation_id: record.run_id, data: { about: 7, changes: { raw_output: 'forged' } } },
        { type: 'EntryCorrected', causation_id: record.run_id, data: { about: { run_id: record.run_id, hash: record.hash }, changes: 7 } },
        { type: 'EntryAnnotated', causation_id: record.run_id, data: {} },
      ])
      const found = await ledger.corrected(record)
      assert.deepEqual([found.entry?.['raw_output'], found.corrections.length, found.annotations.length], ['first', 0, 0])
      assert.deepEqual(
        found.unapplied.map(({ seq }) => seq),
        [3, 5, 6, 7],
      )
      assert.equal((await ledger.corrected(other)).entry?.['raw_output'], 'other, corrected')
      await assertRefused(ledger.corrected('never-recorded'), 'not_found')
    },
  },
  {
    name: 'corrections are known from when they were recorded, whenever the record happened',
    async run(bench) {
      const { ledger, clock } = await newLedger(bench)
      clock.set(at(100))
      const record = await callWith(ledger, { raw_output: 'first' })
      clock.set(at(200))
      await ledger.append('review', EntryCorrected({ about: record, changes: { raw_output: 'second' }, reason: 'x' }))
      clock.set(at(300))
      await ledger.append('review', EntryCorrected({ about: record, changes: { raw_output: 'third' }, reason: 'x' }))
      const output = async (asOf: object): Promise<unknown> => (await ledger.asOf(asOf).corrected(record.run_id)).entry?.['raw_output']
      assert.equal(await output({ recordedAt: at(199) }), 'first')
      assert.equal(await output({ recordedAt: at(200) }), 'second')
      assert.equal(await output({ recordedAt: at(300) }), 'third')
      assert.equal(await output({ happenedAt: at(100) }), 'third')
      await assertRefused(output({ recordedAt: at(99) }), 'not_found')
    },
  },
  {
    name: 'calls that started and never ended are told, and those that ended are not',
    async run(bench) {
      const { ledger, clock } = await newLedger(bench)
      const info = { agent_name: 'a', method_name: 'm' }
      let end = (): void => {}
      const held = new Promise<void>((resolve) => (end = resolve))
      const count = 300
      clock.set(at(100))
      const ending = Array.from({ length: count }, () => ledger.call(info, () => 'done', { capture: 'start-and-end' }))
      await Promise.all(ending)
      clock.set(at(200))
      const calls: Promise<void>[] = []
      const running = [1, 2].map(
        (n) =>
          new Promise<void>((resolve) => {
            const call = (): Promise<void> => {
              resolve()
              return held
            }
            calls.push(ledger.call({ ...info, correlation_id: `task-${n}` }, call, { capture: 'start-and-end' }))
          }),
      )
      await ledger.call(info, () => 'done')
      await ledger.flush()
      // A call runs when its start is recorded.
      await Promise.all(running)
      const open = await recordsOf(ledger.openCalls())
      assert.deepEqual(
        open.map(({ header }) => header.correlation_id),
        ['task-1', 'task-2'],
      )
      clock.set(at(300))
      end()
      await Promise.all(calls)
      await ledger.flush()
      assert.deepEqual(await seqsOf(ledger.openCalls()), [])
      assert.equal((await recordsOf(ledger.asOf({ recordedAt: at(299) }).openCalls())).length, 2)
      assert.deepEqual(await seqsOf(ledger.asOf({ recordedAt: at(99) }).openCalls()), [])
    },
  },
  {
    name: 'a time that is none is misuse, as is a built-in event that says too little',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      await assertMisuse(() => ledger.asOf({ recordedAt: 'yesterday' }), RangeError)
      await assertMisuse(() => ledger.asOf({ recorded_at: at(1) } as object), TypeError)
      const record = await callWith(ledger, {})
      const appended = (event: object): Promise<unknown> => ledger.append('review', event as never)
      for (const data of [
        { about: record },
        { about: record.run_id, note: 'n' },
        { about: { run_id: record.run_id, hash: 'f' }, note: 'n' },
        { about: record, note: 'n', notes: 'n' },
      ])
        await assertRefused(appended(EntryAnnotated(data as never)), 'invalid_entry')
      const error = await assertRefused(appended(EntryCorrected({ about: record, changes: 7, reason: '' } as never)), 'invalid_entry')
      assert.deepEqual(error.details['issues'], [
        { path: '/changes', message: 'must be an object' },
        { path: '/reason', message: 'must be a string that is not empty' },
      ])
      assert.equal((await ledger.head()).size, 2)
    },
  },
]
