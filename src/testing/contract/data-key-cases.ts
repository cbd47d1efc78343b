/** Wrapped data keys beside the records. */
import assert from 'node:assert/strict'
import type { DataKeyStore, StoredKey } from '../../ledger/store.ts'
import { assertLines, assertRefused, linesOf } from '../checks.ts'
import { persistent, type Scenario } from './bench.ts'

function key(n: number, more: Partial<StoredKey> = {}): StoredKey {
  const id = n.toString(16).padStart(32, '0')
  return { id, label: `label-${n}`, master: 'first', wrapped: Buffer.from(`wrapped ${n}`).toString('base64'), ...more }
}

async function idsOf(keys: DataKeyStore, limit = 1000): Promise<string[]> {
  return (await keys.list('', limit)).map(({ id }) => id)
}

export const dataKeyCases: readonly Scenario[] = [
  {
    name: 'a key comes back by its id and by its label, until it is removed',
    async run(bench) {
      const { dataKeys } = await bench.open()
      assert.equal(await dataKeys.isEmpty(), true)
      assert.deepEqual(await dataKeys.find('id', ['nothing']), [])
      assert.deepEqual(await dataKeys.remove(['nothing']), [])
      await dataKeys.add([key(1), key(2, { master: 'é🦊 \\ "' })])
      assert.equal(await dataKeys.isEmpty(), false)
      assert.deepEqual(await dataKeys.find('id', [key(1).id, 'nothing']), [key(1)])
      assert.deepEqual(await dataKeys.find('label', ['label-2']), [key(2, { master: 'é🦊 \\ "' })])
      assert.deepEqual(await dataKeys.find('label', []), [])
      assert.deepEqual(await dataKeys.remove([key(1).id, 'nothing']), [key(1).id])
      assert.deepEqual(await dataKeys.find('id', [key(1).id]), [])
      assert.deepEqual(await dataKeys.find('label', ['label-1']), [])
      assert.deepEqual(await dataKeys.remove([key(1).id]), [])
      await dataKeys.add([key(3, { label: 'label-1' })])
      assert.deepEqual(await idsOf(dataKeys), [key(2).id, key(3).id])
    },
  },
  {
    name: 'of two keys with one label the first counts, also where many are made at once',
    async run(bench) {
      const { dataKeys } = await bench.open()
      await dataKeys.add([key(1)])
      await dataKeys.add([key(2, { label: 'label-1' }), key(3)])
      assert.deepEqual(await dataKeys.find('label', ['label-1']), [key(1)])
      assert.deepEqual(await idsOf(dataKeys), [key(1).id, key(3).id])
      const labels = Array.from({ length: 20 }, (_, n) => `shared-${n}`)
      // In different orders, so that two which wait for each other would be found out.
      const makers = Array.from({ length: 4 }, (_, maker) =>
        labels.map((label, n) => key(100 + maker * 100 + n, { label })).toSorted(() => (maker % 2 === 0 ? 1 : -1)),
      )
      await Promise.all(makers.map((keys) => dataKeys.add(keys)))
      const found = await dataKeys.find('label', labels)
      assert.deepEqual(found.map(({ label }) => label).toSorted(), labels.toSorted())
    },
  },
  {
    name: 'they are listed by id, in pages',
    async run(bench) {
      const { dataKeys } = await bench.open()
      await dataKeys.add([5, 3, 1, 4, 2].map((n) => key(n)))
      assert.deepEqual(await idsOf(dataKeys, 2), [key(1).id, key(2).id])
      assert.deepEqual(
        (await dataKeys.list(key(2).id, 2)).map(({ id }) => id),
        [key(3).id, key(4).id],
      )
      assert.deepEqual(await dataKeys.list(key(5).id, 2), [])
    },
  },
  {
    name: 'a new wrapping replaces the one it was made from, and no other',
    async run(bench) {
      const { dataKeys } = await bench.open()
      await dataKeys.add([key(1)])
      const [second, third] = [key(1, { master: 'second', wrapped: 'c2Vjb25k' }), key(1, { master: 'third', wrapped: 'dGhpcmQ=' })]
      await dataKeys.add([key(2)])
      const other = { before: key(2), after: key(2, { master: 'second', wrapped: 'b3RoZXI=' }) }
      assert.equal(await dataKeys.rewrap([{ before: key(1), after: second }, other]), 2)
      assert.equal(await dataKeys.rewrap([{ before: key(1), after: third }, other]), 0)
      assert.deepEqual(await dataKeys.list('', 10), [second, other.after])
      await dataKeys.remove([key(1).id, key(2).id])
      assert.equal(await dataKeys.rewrap([{ before: second, after: third }]), 0)
      assert.equal(await dataKeys.isEmpty(), true)
    },
  },
  {
    name: 'they touch no record, and appending touches none of them',
    async run(bench) {
      const { store, chain } = await bench.started()
      await store.dataKeys.add([key(1)])
      await chain.append(store, [{}, { withheld: true }, {}])
      assert.deepEqual(await store.dataKeys.find('id', [key(1).id]), [key(1)])
      await store.dataKeys.remove([key(1).id])
      assertLines(await linesOf(store), chain.lines)
    },
  },
  {
    name: 'they are there after opening again, and who only reads can not change them',
    needs: persistent,
    async run(bench) {
      const { store } = await bench.started()
      await store.dataKeys.add([key(1), key(2)])
      await store.dataKeys.remove([key(2).id])
      await store.close()
      const { dataKeys } = await bench.reopen(store, { readOnly: true })
      assert.deepEqual(await dataKeys.list('', 10), [key(1)])
      await assertRefused(dataKeys.add([key(3)]), 'read_only', 'adding by a reader')
      await assertRefused(dataKeys.remove([key(1).id]), 'read_only', 'removing by a reader')
      await assertRefused(dataKeys.rewrap([{ before: key(1), after: key(1, { wrapped: 'YQ==' }) }]), 'read_only', 'rewrapping by a reader')
      assert.deepEqual(await dataKeys.find('id', [key(1).id]), [key(1)])
    },
  },
  {
    name: 'a reader of a ledger without keys finds none',
    needs: persistent,
    async run(bench) {
      const { store } = await bench.started()
      await store.close()
      const { dataKeys } = await bench.reopen(store, { readOnly: true })
      assert.equal(await dataKeys.isEmpty(), true)
      assert.deepEqual(await dataKeys.list('', 10), [])
    },
  },
]
