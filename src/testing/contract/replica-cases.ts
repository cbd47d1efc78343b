/** The mark of a replica, and records as a copy brings them. */
import assert from 'node:assert/strict'
import { formatReplicaNote } from '../../ledger/replica.ts'
import { assertLines, assertRefused, linesOf } from '../checks.ts'
import { faultyStore } from '../faulty-store.ts'
import { persistent, type Scenario } from './bench.ts'
import { assertSound, ledgerOver, someCall } from './ledger-bench.ts'

const MARK = formatReplicaNote({ source: '/some/where', origin: 'example.com/contract', verified: null })

export const replicaCases: readonly Scenario[] = [
  {
    name: 'a ledger is no replica until it is marked; the mark is replaced whole, and taken away',
    async run(bench) {
      const { replica } = await bench.open()
      assert.equal(await replica.read(), null)
      await replica.write(null)
      assert.equal(await replica.read(), null)
      for (const text of ['a longer text \u2014 of é🦊 "\\ \n lines\n', 'short', '', MARK]) {
        await replica.write(text)
        assert.equal(await replica.read(), text)
      }
      await replica.write(null)
      assert.equal(await replica.read(), null)
    },
  },
  {
    name: 'the mark touches no record, and appending no mark',
    async run(bench) {
      const { store, chain } = await bench.started()
      await store.replica.write(MARK)
      await chain.append(store, [{}, { withheld: true }, {}])
      assert.equal(await store.replica.read(), MARK)
      await store.replica.write(null)
      assertLines(await linesOf(store), chain.lines)
    },
  },
  {
    name: 'the mark is there after opening again, and so is its absence',
    needs: persistent,
    async run(bench) {
      let store = await bench.open()
      for (const text of [MARK, `${MARK}${MARK}`, null]) {
        await store.replica.write(text)
        await store.close()
        store = await bench.reopen(store)
        assert.equal(await store.replica.read(), text)
      }
    },
  },
  {
    name: 'who only reads sees the mark and can not change it',
    needs: persistent,
    async run(bench) {
      const { store } = await bench.started()
      await store.replica.write(MARK)
      await store.close()
      const reader = await bench.reopen(store, { readOnly: true })
      assert.equal(await reader.replica.read(), MARK)
      for (const text of ['another', null]) await assertRefused(reader.replica.write(text), 'read_only', 'marking by a reader')
      assert.equal(await reader.replica.read(), MARK)
    },
  },
  {
    name: 'nobody records in a replica, whether it has records or none, and nothing is written',
    async run(bench) {
      const empty = await bench.open()
      const { store, chain } = await bench.started()
      for (const replica of [empty, store]) {
        await replica.replica.write(MARK)
        // Whoever is refused closes the store, and this one is still to be looked at.
        const held = { ...faultyStore(replica), close: async () => {} }
        const refused = await assertRefused(ledgerOver(bench, held), 'read_only', 'opening a replica for writing')
        assert.match(refused.message, /promote/)
      }
      assertLines(await linesOf(empty), [])
      assertLines(await linesOf(store), chain.lines)
      await store.replica.write(null)
      const { ledger } = await ledgerOver(bench, store)
      await ledger.record(someCall())
      await assertSound(ledger)
    },
  },
]
