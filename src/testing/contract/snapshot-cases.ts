/** Texts of snapshots beside the records, and states of projections on the store. */
import assert from 'node:assert/strict'
import { defineEvent } from '../../ledger/events.ts'
import { defineProjection } from '../../ledger/projection.ts'
import { assertLines, assertRefused, linesOf } from '../checks.ts'
import { persistent, type Scenario } from './bench.ts'
import { assertSound, newLedger, restarted } from './ledger-bench.ts'

const TEXTS = ['{"a":1}', 'salt\n{"text":"é🦊 \u2028 \\u0000 \\n"}', '', 'x'.repeat(3_000_000)]

async function sortedNames(names: Promise<readonly string[]>): Promise<string[]> {
  return [...(await names)].toSorted()
}

export const snapshotCases: readonly Scenario[] = [
  {
    name: 'a text comes back as it was written, replaces the one before, and is gone when it is removed',
    async run(bench) {
      const { snapshots } = await bench.open()
      assert.equal(await snapshots.read('nothing'), null)
      await snapshots.remove('nothing')
      for (const text of TEXTS) {
        await snapshots.write('a-1', text)
        assert.equal(await snapshots.read('a-1'), text)
      }
      await snapshots.remove('a-1')
      assert.equal(await snapshots.read('a-1'), null)
      assert.deepEqual(await snapshots.list(''), [])
    },
  },
  {
    name: 'names are told by how they begin, and each has its own text',
    async run(bench) {
      const { snapshots } = await bench.open()
      for (const name of ['a-1', 'a-2', 'ab-1', 'b-1', 'b'.repeat(100)]) await snapshots.write(name, name)
      assert.deepEqual(await sortedNames(snapshots.list('a-')), ['a-1', 'a-2'])
      assert.deepEqual(await sortedNames(snapshots.list('a')), ['a-1', 'a-2', 'ab-1'])
      assert.deepEqual(await sortedNames(snapshots.list('')), ['a-1', 'a-2', 'ab-1', 'b-1', 'b'.repeat(100)])
      assert.deepEqual(await snapshots.list('c'), [])
      await snapshots.remove('a-1')
      assert.deepEqual(await sortedNames(snapshots.list('a')), ['a-2', 'ab-1'])
      for (const name of ['a-2', 'ab-1', 'b-1']) assert.equal(await snapshots.read(name), name)
    },
  },
  {
    name: 'they touch no record, and appending touches none of them',
    async run(bench) {
      const { store, chain } = await bench.started()
      await store.snapshots.write('a-1', 'kept')
      await chain.append(store, [{}, { withheld: true }, {}])
      assert.equal(await store.snapshots.read('a-1'), 'kept')
      assertLines(await linesOf(store), chain.lines)
    },
  },
  {
    name: 'they are there after opening again, and who only reads can not change them',
    needs: persistent,
    async run(bench) {
      const { store } = await bench.started()
      await store.snapshots.write('a-1', 'kept')
      await store.snapshots.write('a-2', 'removed')
      await store.snapshots.remove('a-2')
      await store.close()
      const { snapshots } = await bench.reopen(store, { readOnly: true })
      assert.deepEqual(await snapshots.list(''), ['a-1'])
      assert.equal(await snapshots.read('a-1'), 'kept')
      await assertRefused(snapshots.write('a-1', 'another'), 'read_only', 'writing by a reader')
      await assertRefused(snapshots.remove('a-1'), 'read_only', 'removing by a reader')
      assert.equal(await snapshots.read('a-1'), 'kept')
    },
  },
]

const Added = defineEvent<'Added', { readonly n: number }>('Added')
const sum = defineProjection({
  name: 'sum',
  version: 1,
  initial: { sum: 0 },
  events: [Added],
  on: { Added: (state, { n }) => ({ sum: state.sum + n }) },
})

export const projectionCases: readonly Scenario[] = [
  {
    name: 'a state follows from the events, by stream and up to a position, with a snapshot or without',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      for (let n = 1; n <= 20; n++) await ledger.append(n % 2 === 0 ? 'even' : 'odd', [Added({ n }), { type: 'Other', data: {} }])
      const id = await ledger.createSnapshot(sum)
      await ledger.append('odd', Added({ n: 1000 }))
      for (const [options, expected] of [
        [{}, 1210],
        [{ stream: 'even' }, 110],
        [{ stream: 'nobody' }, 0],
        [{ filter: { types: 'Other' } }, 0],
        [{ upTo: 4 }, 3],
      ] as const) {
        assert.equal((await ledger.load(sum, options)).state.sum, expected)
        assert.equal((await ledger.load(sum, { ...options, snapshots: 'off' })).state.sum, expected)
      }
      const { replayed, snapshot, position, hash } = await ledger.load(sum)
      assert.deepEqual([replayed, snapshot?.id], [1, id])
      assert.deepEqual([position, hash], [(await ledger.head()).size - 1, (await ledger.head()).hash])
      assert.deepEqual(
        (await ledger.checkSnapshots([sum])).map(({ verdict }) => verdict),
        ['pass'],
      )
      await assertSound(ledger)
    },
  },
  {
    name: 'a snapshot that was changed is not used, an older one is, and it is told',
    async run(bench) {
      const { ledger, store, warnings } = await newLedger(bench)
      const ids: string[] = []
      for (let n = 1; n <= 3; n++) {
        await ledger.append('s', Added({ n }))
        ids.push(await ledger.createSnapshot(sum))
      }
      const newest = (await store.snapshots.list('')).toSorted().at(-1) as string
      const text = (await store.snapshots.read(newest)) as string
      await store.snapshots.write(newest, text.replace('"sum":6', '"sum":7'))
      const loaded = await ledger.load(sum)
      assert.deepEqual([loaded.state.sum, loaded.snapshot?.id], [6, ids[1]])
      assert.deepEqual(
        warnings.map(({ code }) => code),
        ['snapshot_refused'],
      )
      const verdicts = (await ledger.checkSnapshots([sum])).map(({ id, verdict }) => [id, verdict])
      assert.deepEqual(verdicts, [
        [ids[0], 'pass'],
        [ids[1], 'pass'],
        [ids[2], 'fail'],
      ])
    },
  },
  {
    name: 'a snapshot is used after opening again, and by a reader',
    needs: persistent,
    async run(bench) {
      const before = await newLedger(bench)
      await before.ledger.append('s', [Added({ n: 1 }), Added({ n: 2 })])
      const id = await before.ledger.createSnapshot(sum)
      const { ledger } = await restarted(bench, before)
      await ledger.append('s', Added({ n: 4 }))
      const loaded = await ledger.load(sum)
      assert.deepEqual([loaded.state.sum, loaded.replayed, loaded.snapshot?.id], [7, 1, id])
      assert.deepEqual(
        (await ledger.snapshots()).map((one) => [one.id, one.kept]),
        [[id, true]],
      )
    },
  },
]
