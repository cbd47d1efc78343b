/** What a store does to its entries: taken away and put back, while all else stays as it is. */
import assert from 'node:assert/strict'
import type { RecordFilter } from '../../ledger/store.ts'
import { formatLine } from '../../verify/record.ts'
import { assertFinds, assertLines, assertRefused, linesOf } from '../checks.ts'
import { seededRandom } from '../seeded-random.ts'
import type { Scenario } from './bench.ts'
import { assertSound, newLedger, someCall } from './ledger-bench.ts'
import {
  able,
  ableAndPersistent,
  assertWithheld,
  bytesOf,
  entriesOf,
  isWithin,
  keepsNames,
  linesWithout,
  naming,
  restore,
  sealed,
  upkeepOf,
  verified,
  withhold,
} from './upkeep-bench.ts'

export const upkeepCases: readonly Scenario[] = [
  {
    name: 'salt and entry go, and nothing else does',
    needs: able,
    async run(bench) {
      const { store, chain } = await sealed(bench, 60, (i) => (i % 7 === 0 ? { signatures_text: '[{"key":"00000000","sig":"AA"}]' } : {}))
      await store.flush()
      const ranges = [
        { first: 3, last: 3 },
        { first: 20, last: 41 },
      ]
      const gone = chain.records.filter(({ header }) => isWithin(ranges, header.seq))
      assert.deepEqual(await withhold(store, ranges), { records: gone.length, bytes: bytesOf(gone) })
      await assertWithheld(store, chain, ranges)
      await chain.append(store, [{ actor: 'after' }, { actor: 'actor-1' }])
      await store.flush()
      await assertWithheld(store, chain, ranges, 'after another append')
    },
  },
  {
    name: 'ranges may overlap, stand in any order, and name what is not there or withheld already',
    needs: able,
    async run(bench) {
      const { store, chain } = await sealed(bench, 40, (i) => ({ withheld: i === 9 }))
      assert.deepEqual(await withhold(store, []), { records: 0, bytes: 0 })
      assert.deepEqual(await withhold(store, [{ first: 1000, last: 2000 }]), { records: 0, bytes: 0 })
      const ranges = [
        { first: 30, last: 35 },
        { first: 10, last: 12 },
        { first: 8, last: 11 },
        { first: 32, last: 33 },
      ]
      assert.equal((await withhold(store, ranges)).records, 10)
      assert.deepEqual(await withhold(store, ranges), { records: 0, bytes: 0 })
      assert.equal((await withhold(store, [{ first: 7, last: 13 }])).records, 2)
      await assertWithheld(store, chain, [...ranges, { first: 7, last: 13 }])
    },
  },
  {
    name: 'what is left undone is finished by the same call again',
    needs: able,
    async run(bench) {
      const { store, chain } = await sealed(bench, 50)
      const ranges = [{ first: 5, last: 45 }]
      let first = 0
      for await (const { records } of upkeepOf(store).withhold(ranges)) {
        first = records
        break
      }
      assert.ok(first > 0, 'a step takes something away')
      assert.equal(first + (await withhold(store, ranges)).records, 41)
      await assertWithheld(store, chain, ranges)
      let back = 0
      for await (const { records } of upkeepOf(store).restore(entriesOf(chain.records.slice(0, 50)))) {
        back = records
        break
      }
      assert.ok(back > 0, 'a step puts something back')
      assert.equal(back + (await restore(store, chain.records.slice(0, 50))).records, 41)
      await assertWithheld(store, chain, [])
    },
  },
  {
    name: 'what is put back is what it was, byte for byte, and only where it was withheld',
    needs: able,
    async run(bench) {
      const texts = ['é🦊\u2028', '"\\\u0000\n', 'x'.repeat(300_000)]
      const { store, chain } = await sealed(bench, 40, (i) => ({ entry: { text: texts[i % 3], i, provider_name: 'p', model_name: 'm' } }))
      const ranges = [{ first: 2, last: 38 }]
      await withhold(store, ranges)
      const some = chain.records.filter(({ header: { seq } }) => seq % 2 === 0 && seq < 40)
      const back = some.filter(({ header }) => isWithin(ranges, header.seq))
      assert.deepEqual(await restore(store, some), { records: back.length, bytes: bytesOf(back) })
      await assertWithheld(
        store,
        chain,
        chain.records
          .map(({ header: { seq } }) => ({ first: seq, last: seq }))
          .filter(({ first }) => first % 2 === 1 && first > 2 && first < 38),
      )
      await restore(store, chain.records.slice(0, 40))
      await assertWithheld(store, chain, [])
    },
  },
  {
    name: 'what is archived is still found by provider and model, also after it is put back',
    needs: keepsNames,
    async run(bench) {
      const { store, chain } = await sealed(bench, 60)
      const ranges = [{ first: 1, last: 60 }]
      const filter: RecordFilter = { provider: ['provider-1'], model: ['model-4', 'model-5'] }
      const fitting = (lines: readonly string[]): string[] =>
        lines.filter((_, i) => filter.provider!.includes(chain.records[i]!.provider!) && filter.model!.includes(chain.records[i]!.model!))
      const tally = await store.tally('model', {})
      for (const gone of [ranges, []]) {
        await (gone.length > 0 ? withhold(store, gone) : restore(store, chain.records.slice(1, 61)))
        for (let round = 0; round < 2; round++) {
          await assertFinds(store, filter, fitting(linesWithout(chain, gone)), `round ${round}, ${gone.length} ranges gone`)
          assert.deepEqual(await store.tally('model', {}), tally)
          await store.flush()
        }
      }
    },
  },
  {
    name: 'what is erased is not found by provider and model any more, archived before or not',
    needs: able,
    async run(bench) {
      const { store, chain } = await sealed(bench, 60)
      await withhold(store, [{ first: 1, last: 20 }])
      const ranges = [{ first: 10, last: 30 }]
      await withhold(store, ranges, { erase: true })
      assert.deepEqual(await withhold(store, ranges, { erase: true }), { records: 0, bytes: 0 })
      const left = chain.records.filter(({ header }) => header.seq > 30)
      for (let i = 0; i < 3; i++) {
        const from = { filter: { provider: [`provider-${i}`] }, from: 10 }
        assertLines(await linesOf(store, from), left.filter(({ provider }) => provider === `provider-${i}`).map(formatLine))
      }
      await assertWithheld(store, chain, [{ first: 1, last: 30 }])
    },
  },
  {
    name: 'positions of the live segment are refused, and nothing is changed then',
    needs: (capabilities) => able(capabilities) && capabilities.segments,
    async run(bench) {
      const { store, chain } = await sealed(bench, 20)
      const error = await assertRefused(withhold(store, [{ first: 3, last: 1000 }]), 'locked', 'withholding in the live segment')
      assert.match(error.message, /rotate/)
      await assertWithheld(store, chain, [])
      await chain.append(store, [{ actor: 'next' }], { newSegment: true })
      await withhold(store, [{ first: 3, last: 21 }])
      await assertWithheld(store, chain, [{ first: 3, last: 21 }])
    },
  },
  {
    name: 'an unnamed withheld entry is a finding, and a named one none; put back, all is as it was',
    needs: able,
    async run(bench) {
      const { store, chain } = await sealed(bench, 30)
      const range = { first: 4, last: 20 }
      await withhold(store, [range])
      const unnamed = await verified(store)
      assert.deepEqual(
        unnamed.problems.map(({ code, seq }) => [code, seq]),
        [['withheld_unnamed', 4]],
      )
      await chain.append(store, [naming('EntriesArchived', range)])
      await store.flush()
      const named = await verified(store)
      assert.deepEqual([named.problems, named.ok, named.size, named.head], [[], true, chain.head.size, chain.head.hash])
      assert.notEqual(named.checks.columns.verdict, 'fail')
      await restore(store, chain.records.slice(4, 21))
      await chain.append(store, [naming('EntriesRestored', range)])
      const back = await verified(store)
      assert.deepEqual([back.problems, back.ok, back.size], [[], true, chain.head.size])
      assert.notEqual(back.checks.columns.verdict, 'fail')
      await chain.append(store, [naming('EntryErased', range)])
      await withhold(store, [range], { erase: true })
      const erased = await verified(store)
      assert.deepEqual([erased.problems, erased.ok], [[], true])
      assert.notEqual(erased.checks.columns.verdict, 'fail')
    },
  },
  {
    name: 'reclaim says how much there is, leaves nothing undone, and may be called at any time',
    needs: able,
    async run(bench) {
      const { store, chain } = await sealed(bench, 40, (i) => ({
        entry: { i, text: Buffer.from(seededRandom(i).bytes(10_000)).toString('hex') },
      }))
      const range = { first: 1, last: 40 }
      const before = await upkeepOf(store).reclaim()
      assert.ok(before.bytes_before > 800_000, `${before.bytes_before} bytes before`)
      await withhold(store, [range], { erase: true })
      const { bytes_after } = await upkeepOf(store).reclaim()
      assert.ok(bytes_after < before.bytes_before - 600_000, `${before.bytes_before} bytes, then ${bytes_after}`)
      assert.ok((await store.describe()).bytes < 300_000)
      await assertWithheld(store, chain, [range])
      await chain.append(store, [{}])
      await upkeepOf(store).reclaim()
      await assertWithheld(store, chain, [range])
    },
  },
  {
    name: 'it is so after opening again, and who only reads can change none of it',
    needs: ableAndPersistent,
    async run(bench) {
      const { store, chain } = await sealed(bench, 60)
      const ranges = [{ first: 5, last: 25 }]
      await withhold(store, ranges)
      await store.close()
      const reader = await bench.reopen(store, { readOnly: true })
      await assertWithheld(reader, chain, ranges)
      await assertRefused(withhold(reader, [{ first: 30, last: 31 }]), 'read_only', 'withholding by a reader')
      await assertRefused(restore(reader, chain.records.slice(5, 7)), 'read_only', 'restoring by a reader')
      await assertRefused(upkeepOf(reader).reclaim(), 'read_only', 'reclaiming by a reader')
      await reader.close()
      const writer = await bench.reopen(store)
      await assertWithheld(writer, chain, ranges)
      await restore(writer, chain.records.slice(5, 26))
      await chain.append(writer, [{}])
      await assertWithheld(writer, chain, [])
      await writer.close()
      await assertRefused(withhold(writer, ranges), 'closed', 'withholding after closing')
    },
  },
  {
    name: 'a call that comes again when its entry is withheld gets its first receipt',
    needs: able,
    async run(bench) {
      const { ledger, store } = await newLedger(bench)
      const call = someCall({ run_id: 'again', prompt: 'the prompt' })
      const first = await ledger.record(call)
      await ledger.rotate()
      await assertSound(ledger)
      await withhold(store, [{ first: first.seq, last: first.seq }])
      const again = await ledger.record(call)
      assert.deepEqual([again.seq, again.hash, again.content_not_compared], [first.seq, first.hash, true])
      assert.equal((await ledger.get('again'))?.entry, null)
    },
  },
]
