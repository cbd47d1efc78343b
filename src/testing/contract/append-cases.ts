/** Appending to the port: all or nothing, at the head and nowhere else; and what sealing asks of the store. */
import assert from 'node:assert/strict'
import type { Head, SealedRecord, Store } from '../../ledger/store.ts'
import { GENESIS } from '../../verify/header.ts'
import { formatLine } from '../../verify/record.ts'
import { assertLines, assertRefused, linesOf, textOf } from '../checks.ts'
import { LEDGER_CREATED, SampleChain, type Sample } from '../sample-chain.ts'
import type { Scenario } from './bench.ts'

/** The store has exactly the chain's records, and says so. */
async function assertHolds(store: Store, chain: SampleChain): Promise<void> {
  const { head } = await store.state({ streams: [], run_ids: [] })
  assert.deepEqual(head, chain.head)
  assertLines(await linesOf(store), chain.lines)
}

function deepFreeze<Value>(value: Value): Value {
  if (typeof value === 'object' && value !== null) {
    Object.freeze(value)
    for (const member of Object.values(value)) deepFreeze(member)
  }
  return value
}

function samples(count: number): Sample[] {
  return Array.from({ length: count }, () => ({}))
}

/** A stale head is refused, nothing of the append is there, and the right one still goes in. */
function refusesHead(name: string, wrong: (head: Head) => Head): Scenario {
  return {
    name,
    async run(bench) {
      const { store, chain } = await bench.started()
      await chain.append(store, samples(3))
      await assertRefused(store.append(chain.seal([{}]), wrong(chain.head)), 'head_moved', 'an append to another head')
      await assertHolds(store, chain)
      await chain.append(store, [{}])
      await assertHolds(store, chain)
    },
  }
}

export const appendCases: readonly Scenario[] = [
  {
    name: 'a new store is empty',
    async run(bench) {
      const store = await bench.open()
      const state = await store.state({ streams: ['ledger'], run_ids: ['run-0'] })
      assert.deepEqual(state.head, { size: 0, hash: GENESIS, recorded_at: null })
      assert.equal(state.streams.size + state.runs.size, 0)
      assertLines(await linesOf(store), [])
      assertLines(await linesOf(store, { reverse: true }), [])
      assert.equal(await store.count({}), 0)
      assert.equal((await store.tally('actor', {})).size, 0)
      assert.equal(store.readOnly, false)
      assert.equal(store.recovered, null)
    },
  },
  {
    name: 'one record comes back, and is the head',
    async run(bench) {
      const { store, chain } = await bench.started()
      await assertHolds(store, chain)
    },
  },
  {
    name: 'a batch of a thousand records keeps its order',
    async run(bench) {
      const { store, chain } = await bench.started()
      await chain.append(store, samples(1000))
      await assertHolds(store, chain)
    },
  },
  {
    name: 'batch follows batch',
    async run(bench) {
      const { store, chain } = await bench.started()
      for (let size = 1; size <= 30; size++) await chain.append(store, samples(size))
      await assertHolds(store, chain)
    },
  },
  {
    name: 'an append of several records is kept whole',
    async run(bench) {
      const { store, chain } = await bench.started()
      await chain.append(store, samples(20), { whole: true })
      await chain.append(store, samples(2), { whole: true })
      await assertHolds(store, chain)
    },
  },
  refusesHead('an append to an older head is refused', (head) => ({ ...head, size: head.size - 1 })),
  refusesHead('an append to a head that is not there yet is refused', (head) => ({ ...head, size: head.size + 1 })),
  refusesHead('an append to another history of the same size is refused', (head) => ({ ...head, hash: 'a'.repeat(64) })),
  refusesHead('an append to the beginning of a ledger that has begun is refused', () => ({ size: 0, hash: GENESIS, recorded_at: null })),
  {
    name: 'of two appends to one head one goes in',
    async run(bench) {
      const { store, chain } = await bench.started()
      const rivals = [chain.seal([{ run_id: 'left' }, {}]), chain.seal([{ run_id: 'right' }, {}, {}])]
      const results = await Promise.allSettled(rivals.map((records) => store.append(records, chain.head)))
      const won = results.findIndex(({ status }) => status === 'fulfilled')
      assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
      const lost = results[1 - won] as PromiseRejectedResult
      await assertRefused(Promise.reject(lost.reason), 'head_moved', 'the second append')
      chain.accept(rivals[won] as SealedRecord[])
      await assertHolds(store, chain)
    },
  },
  {
    name: 'an append of nothing changes nothing',
    async run(bench) {
      const { store, chain } = await bench.started()
      await store.append([], chain.head)
      await assertHolds(store, chain)
    },
  },
  {
    name: 'what is given to append is not changed, and may change afterwards',
    async run(bench) {
      const { store, chain } = await bench.started()
      const frozen = deepFreeze(chain.seal([{ tags: ['a', 'b'] }, {}]))
      await store.append(frozen, chain.head)
      chain.accept(frozen)
      const records = chain.seal([{}, {}])
      const expected = [...chain.lines, ...records.map(formatLine)]
      const head = { ...chain.head }
      await store.append(records, head)
      records.length = 0
      head.size = 0
      assertLines(await linesOf(store), expected)
    },
  },
  {
    name: 'lines that were read may be written to',
    async run(bench) {
      const { store, chain } = await bench.started()
      await chain.append(store, [{ run_id: 'mine' }])
      for (let round = 0; round < 2; round++) {
        for await (const lines of store.read({ filter: {}, from: 0, before: Infinity, reverse: false, limit: Infinity })) {
          for (const line of lines) line.fill(0)
        }
        const { runs } = await store.state({ streams: [], run_ids: ['mine'] })
        assert.equal(textOf(runs.get('mine') as Uint8Array), chain.lines[1])
        runs.get('mine')?.fill(0)
      }
      await assertHolds(store, chain)
    },
  },
  {
    name: 'a new segment begins where it is asked for, and the records run on',
    async run(bench) {
      const { store, chain } = await bench.started()
      for (let i = 0; i < 4; i++) {
        const before = store.segment?.name
        await chain.append(store, [{ type: 'SegmentSealed', stream: 'ledger' }, {}], { newSegment: true })
        if (bench.capabilities.segments) assert.notEqual(store.segment?.name, before)
        await chain.append(store, samples(3))
      }
      await assertHolds(store, chain)
      assertLines(await linesOf(store, { reverse: true }), chain.lines.toReversed())
    },
  },
  {
    name: 'a full segment says so until a new one begins',
    needs: ({ segments }) => segments,
    async run(bench) {
      const { store, chain } = await bench.started({ segmentBytes: 20_000 })
      for (let segment = 0; segment < 3; segment++) {
        assert.equal(store.segmentFull, false)
        for (let i = 0; i < 1000 && !store.segmentFull; i++) await chain.append(store, samples(5))
        assert.equal(store.segmentFull, true)
        await chain.append(store, [{}], { newSegment: true })
      }
      await assertHolds(store, chain)
    },
  },
]

export const stateCases: readonly Scenario[] = [
  {
    name: 'state tells the last version of the streams it is asked for',
    async run(bench) {
      const { store, chain } = await bench.started()
      await chain.append(store, [{ stream: 'a' }, { stream: 'b' }, { stream: 'a' }])
      await chain.append(store, [{ stream: 'b' }, { stream: 'a' }])
      const { streams } = await store.state({ streams: ['a', 'b', 'c', 'ledger'], run_ids: [] })
      assert.equal(streams.get('a'), 2)
      assert.equal(streams.get('b'), 1)
      assert.equal(streams.get('c'), undefined)
      assert.equal(streams.get('ledger'), 0)
    },
  },
  {
    name: 'state returns the whole line of the runs it is asked for',
    async run(bench) {
      const { store, chain } = await bench.started()
      await chain.append(store, samples(10))
      const { runs } = await store.state({ streams: [], run_ids: ['run-3', 'run-10', 'nobody'] })
      assert.deepEqual([...runs.keys()].toSorted(), ['run-10', 'run-3'])
      for (const seq of [3, 10]) assert.equal(textOf(runs.get(`run-${seq}`) as Uint8Array), chain.lines[seq])
    },
  },
  {
    name: 'state is asked for ten thousand runs and streams at once',
    async run(bench) {
      const { store, chain } = await bench.started()
      await chain.append(store, samples(200))
      const run_ids = Array.from({ length: 10_000 }, (_, i) => `run-${i}`)
      const streams = Array.from({ length: 10_000 }, (_, i) => `stream-${i}`)
      const state = await store.state({ streams, run_ids })
      assert.equal(state.runs.size, 201)
      assert.equal(state.streams.size, 5)
    },
  },
  {
    name: 'names are told apart byte by byte',
    async run(bench) {
      const { store, chain } = await bench.started()
      const names = [
        'a',
        'A',
        ' a',
        'a ',
        'é',
        'e\u0301',
        '1',
        '01',
        '1.0',
        '__proto__',
        'constructor',
        'toString',
        '%',
        '_',
        "'",
        '"',
        '\\',
        '🦊',
        '\ufeffa',
        'lower',
        'UPPER',
      ]
      await chain.append(
        store,
        names.map((name) => ({ run_id: name, stream: name })),
      )
      const others = ['á', '2', 'B', '\ud7ff', '*', 'hasOwnProperty', 'Lower', 'upper', 'lower ', 'UPPE', 'UPPERS', '1e0']
      const none = await store.state({ streams: others, run_ids: others })
      assert.deepEqual([...none.runs.keys(), ...none.streams.keys()], [])
      const asked = [...names, ...others]
      const { runs, streams } = await store.state({ streams: asked, run_ids: asked })
      assert.deepEqual([...runs.keys()].toSorted(), names.toSorted())
      assert.deepEqual([...streams.keys()].toSorted(), names.toSorted())
      for (const [i, name] of names.entries()) assert.equal(textOf(runs.get(name) as Uint8Array), chain.lines[i + 1])
    },
  },
  {
    name: 'state is the same however often it is asked, and a moment later the new one',
    async run(bench) {
      const { store, chain } = await bench.started()
      const ask = { streams: ['stream-1'], run_ids: ['run-1'] }
      for (let i = 0; i < 5; i++) {
        await chain.append(store, [{ stream: 'stream-1' }])
        const [one, two] = await Promise.all([store.state(ask), store.state(ask)])
        assert.deepEqual(one.head, chain.head)
        assert.deepEqual(two.head, chain.head)
        assert.equal(one.streams.get('stream-1'), i)
        assert.equal(textOf(two.runs.get('run-1') as Uint8Array), chain.lines[1])
      }
    },
  },
  {
    name: 'the head carries the last recorded_at, lower than the one before too',
    async run(bench) {
      const { store, chain } = await bench.started()
      for (const [recorded_at, type] of [
        ['2026-05-01T00:00:00.000000Z', 'SampleTaken'],
        ['2026-04-01T00:00:00.000000Z', 'ClockMovedBack'],
      ] as const) {
        await chain.append(store, [{ recorded_at, type, stream: type === 'ClockMovedBack' ? 'ledger' : 's' }])
        assert.equal((await store.state({ streams: [], run_ids: [] })).head.recorded_at, recorded_at)
      }
    },
  },
  {
    name: "the store's own clock is absent or whole microseconds",
    async run(bench) {
      const { store } = await bench.started()
      const { now } = await store.state({ streams: [], run_ids: [] })
      assert.ok(now === null || Number.isSafeInteger(now))
    },
  },
  {
    name: 'the first record of a ledger can be refused and appended again',
    async run(bench) {
      const store = await bench.open()
      const chain = new SampleChain(bench.seed)
      await assertRefused(store.append(chain.seal([LEDGER_CREATED]), { size: 1, hash: 'b'.repeat(64), recorded_at: null }), 'head_moved')
      await chain.append(store, [LEDGER_CREATED])
      await assertHolds(store, chain)
    },
  },
]
