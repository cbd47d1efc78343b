/** Finding through the ledger: pages, ranges, counts; and what is misuse. */
import assert from 'node:assert/strict'
import type { Ledger } from '../../ledger/ledger.ts'
import type { Criteria, Query, ReadRange } from '../../ledger/query.ts'
import type { LedgerRecord } from '../../ledger/record.ts'
import { assertMisuse } from '../checks.ts'
import type { Bench, Scenario } from './bench.ts'
import { newLedger, recordsOf, someCall, type LedgerBench } from './ledger-bench.ts'

/** Sixty calls a second apart, of a few agents, models, tasks and outcomes. */
async function busy(bench: Bench): Promise<LedgerBench> {
  const made = await newLedger(bench)
  for (let i = 0; i < 60; i++) {
    made.clock.advance(1_000_000)
    await made.ledger.record(
      someCall({
        run_id: `call-${i}`,
        agent_name: `agent-${i % 3}`,
        method_name: `method-${i % 4}`,
        correlation_id: `task-${i % 5}`,
        provider_name: `provider-${i % 2}`,
        model_name: `model-${i % 6}`,
      }),
      {
        outcome: i % 7 === 0 ? 'failure' : 'success',
        tags: [`tag-${i % 2}`, `three-${i % 3}`],
        ...(i > 0 ? { causation_id: `call-${i - 1}` } : {}),
      },
    )
  }
  return made
}

function ids(records: readonly LedgerRecord[]): string[] {
  return records.map(({ run_id }) => run_id)
}

function calls(fits: (i: number) => boolean): string[] {
  return Array.from({ length: 60 }, (_, i) => i)
    .filter(fits)
    .map((i) => `call-${i}`)
}

async function allPages(ledger: Ledger, query: Query, between: () => Promise<unknown> = async () => {}): Promise<LedgerRecord[]> {
  const records: LedgerRecord[] = []
  let cursor: string | null = null
  do {
    const page = await ledger.query({ ...query, cursor })
    assert.ok(page.records.length <= (query.limit ?? 100))
    assert.ok(page.cursor === null || page.records.length === (query.limit ?? 100), 'only the last page is short')
    records.push(...page.records)
    cursor = page.cursor
    await between()
  } while (cursor !== null && records.length < 1000)
  return records
}

const AT = (i: number): string =>
  `2026-01-01T00:${String(Math.floor((i + 1) / 60)).padStart(2, '0')}:${String((i + 1) % 60).padStart(2, '0')}Z`

export const queryCases: readonly Scenario[] = [
  {
    name: 'a query finds by every criterion',
    async run(bench) {
      const { ledger } = await busy(bench)
      const cases: [Criteria, (i: number) => boolean][] = [
        [{ run_id: 'call-7' }, (i) => i === 7],
        [{ run_id: ['call-7', 'call-8', 'nobody'] }, (i) => i === 7 || i === 8],
        [{ correlation_id: 'task-3' }, (i) => i % 5 === 3],
        [{ causation_id: 'call-8' }, (i) => i === 9],
        [{ actor: 'agent-1' }, (i) => i % 3 === 1],
        [{ actor: ['agent-1', 'agent-2'] }, (i) => i % 3 !== 0],
        [{ action: 'method-2' }, (i) => i % 4 === 2],
        [{ outcome: 'failure' }, (i) => i % 7 === 0],
        [{ type: 'AgentCallCompleted' }, () => true],
        [{ stream: 'task-0' }, (i) => i % 5 === 0],
        [{ tag: 'tag-1' }, (i) => i % 2 === 1],
        [{ tag: ['tag-1', 'three-2'] }, (i) => i % 2 === 1 && i % 3 === 2],
        [{ provider: 'provider-1' }, (i) => i % 2 === 1],
        [{ model: 'model-5' }, (i) => i % 6 === 5],
        [{ since: AT(10), until: AT(20) }, (i) => i >= 10 && i < 20],
        [{ type: 'AgentCallCompleted', until: new Date(AT(10)) }, (i) => i < 10],
        [{ recorded_since: AT(50) }, (i) => i >= 50],
        [{ type: 'AgentCallCompleted', recorded_until: AT(5).replace('Z', '+00:00') }, (i) => i < 5],
        [{ actor: 'agent-1', outcome: 'failure', since: AT(20) }, (i) => i % 3 === 1 && i % 7 === 0 && i >= 20],
      ]
      for (const [criteria, fits] of cases) {
        const what = JSON.stringify(criteria)
        assert.deepEqual(ids((await ledger.query(criteria)).records), calls(fits), what)
        assert.deepEqual(ids((await ledger.query({ ...criteria, order: 'newest' })).records), calls(fits).toReversed(), what)
        assert.deepEqual(ids(await recordsOf(ledger.scan(criteria))), calls(fits), what)
        assert.equal(await ledger.count(criteria), calls(fits).length, what)
      }
    },
  },
  {
    name: 'pages are a hundred records unless said, and their cursors end',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      await ledger.append(
        's',
        Array.from({ length: 250 }, (_, i) => ({ type: 'StepTaken', data: {}, run_id: `e${i}` })),
      )
      const sizes: number[] = []
      let cursor: string | null = null
      do {
        const page = await ledger.query({ stream: 's', cursor })
        sizes.push(page.records.length)
        cursor = page.cursor
      } while (cursor !== null)
      assert.deepEqual(sizes, [100, 100, 50])
      assert.equal((await ledger.query({ stream: 's', limit: 250 })).cursor, null)
      for (const limit of [1, 7, 249]) assert.equal((await allPages(ledger, { stream: 's', limit })).length, 250)
    },
  },
  {
    name: 'pages stay true while records are appended',
    async run(bench) {
      const { ledger } = await busy(bench)
      let extra = 0
      const more = (): Promise<unknown> => ledger.record(someCall({ run_id: `late-${extra++}`, agent_name: 'agent-1' }))
      const newest = await allPages(ledger, { actor: 'agent-1', order: 'newest', limit: 3 }, more)
      assert.deepEqual(ids(newest), calls((i) => i % 3 === 1).toReversed())
      const there = extra
      const oldest = ids(await allPages(ledger, { actor: 'agent-1', limit: 3 }, () => (extra < there + 4 ? more() : Promise.resolve())))
      assert.deepEqual(oldest, [...calls((i) => i % 3 === 1), ...Array.from({ length: there + 4 }, (_, i) => `late-${i}`)])
    },
  },
  {
    name: 'what was acknowledged is found at once',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      for (let i = 0; i < 25; i++) {
        const { run_id, hash } = await ledger.record(someCall({ correlation_id: 'now' }), { tags: ['fresh'] })
        assert.equal((await ledger.get(run_id))?.hash, hash)
        assert.equal((await ledger.getEntriesByCorrelation('now')).length, i + 1)
        assert.equal(await ledger.count({ tag: 'fresh' }), i + 1)
        assert.equal((await ledger.query({ tag: 'fresh', order: 'newest', limit: 1 })).records[0]?.run_id, run_id)
      }
    },
  },
  {
    name: 'entries of one correlation come oldest first, all of them',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      await ledger.append(
        's',
        Array.from({ length: 300 }, (_, i) => ({ type: 'StepTaken', data: { i }, correlation_id: i % 2 === 0 ? 'even' : 'odd' })),
      )
      const entries = await ledger.getEntriesByCorrelation('even')
      assert.deepEqual(
        entries.map(({ entry }) => entry?.['i']),
        Array.from({ length: 150 }, (_, i) => 2 * i),
      )
      assert.deepEqual(await ledger.getEntriesByCorrelation('neither'), [])
      assert.equal(await ledger.get('nobody'), undefined)
    },
  },
  {
    name: 'reads from, after, a stream, backwards, so many',
    async run(bench) {
      const { ledger } = await busy(bench)
      const all = Array.from({ length: 61 }, (_, seq) => seq)
      const cases: [ReadRange, number[]][] = [
        [{}, all],
        [{ from: 55 }, all.slice(55)],
        [{ after: 55 }, all.slice(56)],
        [{ after: 10, before: 20 }, all.slice(11, 20)],
        [{ from: 20, before: 20 }, []],
        [{ before: 900 }, all],
        [{ from: 3, before: 40, where: { type: 'LedgerCreated' } }, []],
        [{ before: 1, where: { type: 'LedgerCreated' } }, all.slice(0, 1)],
        [{ from: 60 }, [60]],
        [{ after: 60 }, []],
        [{ from: 61 }, []],
        [{ limit: 3 }, [0, 1, 2]],
        [{ from: 10, limit: 2 }, [10, 11]],
        [{ reverse: true, limit: 2 }, [60, 59]],
        [{ reverse: true, from: 2 }, [2, 1, 0]],
        [{ reverse: true, after: 2 }, [1, 0]],
        [{ stream: 'task-0', limit: 2 }, [1, 6]],
        [{ stream: 'task-0', reverse: true, from: 11 }, [11, 6, 1]],
        [{ stream: 'nobody' }, []],
      ]
      for (const [range, seqs] of cases)
        assert.deepEqual(
          (await recordsOf(ledger.read(range))).map(({ seq }) => seq),
          seqs,
          JSON.stringify(range),
        )
    },
  },
  {
    name: 'a record is its line',
    async run(bench) {
      const { ledger } = await busy(bench)
      for await (const record of ledger.read()) {
        const line = JSON.parse(record.line) as { hash: string; header: object; salt: string; entry: object }
        assert.deepEqual(Object.keys(line), ['hash', 'header', 'salt', 'entry'])
        assert.deepEqual(line, { hash: record.hash, header: record.header, salt: record.salt, entry: record.entry })
        assert.deepEqual(record.toJSON(), line)
        assert.equal(record.line.includes('\n'), false)
      }
    },
  },
  {
    name: 'tallies count by a column',
    async run(bench) {
      const { ledger } = await busy(bench)
      assert.deepEqual([...(await ledger.tally('outcome', { actor: 'agent-0' }))].toSorted(), [
        ['failure', 3],
        ['success', 17],
      ])
      assert.equal((await ledger.tally('model')).size, 6)
      assert.deepEqual([...(await ledger.tally('type', { stream: 'ledger' }))], [['LedgerCreated', 1]])
    },
  },
  {
    name: 'a query that makes no sense is misuse',
    async run(bench) {
      const { ledger } = await busy(bench)
      const page = await ledger.query({ limit: 5 })
      const ranges: Query[] = [
        { limit: 0 },
        { limit: 10_001 },
        { limit: 1.5 },
        { cursor: 'x' },
        { cursor: page.cursor, order: 'newest' },
        { order: 'up' as never },
      ]
      for (const query of [
        ...ranges,
        { since: 'yesterday' },
        { until: '2026-01-01T00:00:00' },
        { since: new Date(NaN) },
        { outcome: 'great' as never },
      ]) {
        await assertMisuse(() => ledger.query(query), RangeError)
      }
      for (const query of [{ agent: 'x' }, { actor: 7 }, { actor: ['x', null] }] as Query[])
        await assertMisuse(() => ledger.query(query), TypeError)
      await assertMisuse(() => ledger.count({ limit: 5 } as never), TypeError)
      await assertMisuse(() => ledger.tally('salt' as never), RangeError)
      await assertMisuse(() => recordsOf(ledger.read({ from: 1, after: 1 })), TypeError)
      await assertMisuse(() => recordsOf(ledger.read({ from: -1 })), RangeError)
      await assertMisuse(() => recordsOf(ledger.read({ seq: 1 } as never)), TypeError)
    },
  },
]
