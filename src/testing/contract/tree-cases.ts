/** The tree beside the records: what the store keeps of it, and that nothing false comes of what it keeps. */
import assert from 'node:assert/strict'
import { LedgerTree, nodeParent } from '../../ledger/tree.ts'
import type { Store } from '../../ledger/store.ts'
import { checkConsistency, checkInclusion } from '../../verify/proof.ts'
import { emptyRoot, hashBytes, hashHex, TreeEdge } from '../../verify/tree.ts'
import { sha256 } from '../../verify/hash.ts'
import { seededRandom } from '../seeded-random.ts'
import { persistent, type Bench, type Scenario } from './bench.ts'
import { newLedger, recordsOf, someCall } from './ledger-bench.ts'

/** More than two tiles, so that there is a level above and a partial tile at the end. */
const RECORDS = 600

async function grown(bench: Bench, count = RECORDS): Promise<{ store: Store; leaves: Uint8Array[] }> {
  const { store, chain } = await bench.started()
  const samples = Array.from({ length: count - 1 }, () => ({}))
  for (let at = 0; at < samples.length; at += 200) await chain.append(store, samples.slice(at, at + 200))
  return { store, leaves: chain.records.map(({ hash }) => hashBytes(hash)) }
}

function rootsOf(leaves: readonly Uint8Array[]): string[] {
  const edge = new TreeEdge(nodeParent)
  const roots = [hashHex(emptyRoot(sha256))]
  for (const leaf of leaves) {
    edge.append(leaf)
    roots.push(hashHex(edge.root()!))
  }
  return roots
}

/** Roots and proofs of this tree are those of the leaves. */
async function assertTree(tree: LedgerTree, leaves: readonly Uint8Array[]): Promise<void> {
  const roots = rootsOf(leaves)
  const size = leaves.length
  for (const some of [0, 1, 2, 255, 256, 257, 511, 512, 513, size - 1, size].filter((one) => one <= size)) {
    assert.equal(hashHex(await tree.root(some)), roots[some], `the root over ${some} records`)
  }
  for (const [seq, of] of [
    [0, size],
    [255, 256],
    [256, size],
    [size - 1, size],
    [3, 300],
  ] as const) {
    if (seq >= of || of > size) continue
    const path = await tree.inclusion(seq, of)
    assert.equal(checkInclusion(nodeParent, BigInt(seq), BigInt(of), leaves[seq]!, hashBytes(roots[of]!), path), null)
  }
  for (const [from, to] of [
    [1, size],
    [256, size],
    [300, 512],
    [size, size],
  ] as const) {
    if (from > to || to > size) continue
    const proof = await tree.consistency(from, to)
    assert.equal(checkConsistency(nodeParent, BigInt(from), BigInt(to), hashBytes(roots[from]!), hashBytes(roots[to]!), proof), null)
  }
}

const bytesOf = (...values: readonly number[]): Uint8Array =>
  Uint8Array.from(values.flatMap((value) => Array.from({ length: 32 }, () => value)))

export const treeCases: readonly Scenario[] = [
  {
    name: 'hashes come back from where they were put, as far as there are any, and are replaced by the same',
    async run(bench) {
      const { tree } = await bench.open()
      assert.equal((await tree.read(0, 0, 5)).length, 0)
      await tree.write(0, 0, bytesOf(1, 2, 3))
      await tree.write(0, 3, bytesOf(4, 5))
      await tree.write(1, 0, bytesOf(9))
      await tree.write(0, 2, bytesOf(3, 4))
      assert.deepEqual(Uint8Array.from(await tree.read(0, 1, 3)), bytesOf(2, 3, 4))
      assert.deepEqual(Uint8Array.from(await tree.read(0, 3, 10)), bytesOf(4, 5))
      assert.equal((await tree.read(0, 5, 1)).length, 0)
      assert.deepEqual(Uint8Array.from(await tree.read(1, 0, 1)), bytesOf(9))
      const many = Uint8Array.from({ length: 32 * 5000 }, (_, i) => i % 251)
      await tree.write(2, 0, many)
      assert.deepEqual(Uint8Array.from(await tree.read(2, 0, 5000)), many)
    },
  },
  {
    name: 'texts are replaced whole; clearing leaves the checkpoint',
    async run(bench) {
      const { tree } = await bench.open()
      assert.equal(await tree.readText('state'), null)
      await tree.writeText('state', 'one\n')
      await tree.writeText('state', '2')
      await tree.writeText('checkpoint', 'signed \u2014 note\n')
      assert.equal(await tree.readText('state'), '2')
      await tree.write(0, 0, bytesOf(1))
      await tree.clear()
      assert.equal(await tree.readText('state'), null)
      assert.equal((await tree.read(0, 0, 1)).length, 0)
      assert.equal(await tree.readText('checkpoint'), 'signed \u2014 note\n')
    },
  },
  {
    name: 'what was kept is there after opening again, also for a reader',
    needs: persistent,
    async run(bench) {
      const { store } = await bench.started()
      await store.tree.write(0, 0, bytesOf(7, 8))
      await store.tree.writeText('checkpoint', 'note')
      await store.close()
      for (const readOnly of [false, true]) {
        const again = await bench.reopen(store, { readOnly })
        assert.deepEqual(Uint8Array.from(await again.tree.read(0, 0, 2)), bytesOf(7, 8))
        assert.equal(await again.tree.readText('checkpoint'), 'note')
        await again.close()
      }
    },
  },
  {
    name: 'the tree over the records has the roots and the proofs of the RFC, read from the records',
    async run(bench) {
      const { store, leaves } = await grown(bench)
      await assertTree(new LedgerTree(store), leaves)
    },
  },
  {
    name: 'a tree that was closed goes on where it stood, in another process too',
    needs: persistent,
    async run(bench) {
      const { store, leaves } = await grown(bench)
      const first = new LedgerTree(store)
      await first.catchUp(550)
      await first.close()
      assert.notEqual(await store.tree.readText('state'), null)
      await assertTree(new LedgerTree(store), leaves)
      await store.close()
      const reader = await bench.reopen(store, { readOnly: true })
      await assertTree(new LedgerTree(reader), leaves)
    },
  },
  {
    name: 'whatever stands in its place, no false root or proof comes of it',
    async run(bench) {
      const { store, leaves } = await grown(bench)
      const random = seededRandom(bench.seed)
      for (let round = 0; round < 4 * bench.effort; round++) {
        const kept = new LedgerTree(store)
        await kept.rebuild()
        await kept.close()
        for (const level of [0, 1]) {
          const count = level === 0 ? RECORDS : 2
          const at = Math.floor((random.bytes(2)[0]! / 256) * count)
          if (round % 4 === 3) await store.tree.clear()
          else if (round % 4 !== 2 || level === 0) await store.tree.write(level, at, random.bytes(32))
        }
        if (round % 4 === 1) await store.tree.writeText('state', '{"size":3,"edge":[]}\n')
        await assertTree(new LedgerTree(store), leaves)
      }
    },
  },
  {
    name: 'a receipt tells when the tree has its record, and appends go on meanwhile',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const receipts = await Promise.all(Array.from({ length: 300 }, () => ledger.record(someCall())))
      const inclusions = await Promise.all(receipts.map((receipt) => receipt.included()))
      const leaves = (await recordsOf(ledger.read())).map(({ hash }) => hashBytes(hash))
      const roots = rootsOf(leaves)
      for (const [i, { seq, size, root }] of inclusions.entries()) {
        assert.equal(seq, receipts[i]!.seq)
        assert.ok(size > seq)
        assert.equal(root, roots[size])
      }
      await assertTree(ledger.tree, leaves)
      assert.deepEqual(Object.keys(receipts[0]!), ['run_id', 'seq', 'hash', 'recorded_at', 'stream', 'stream_version'])
    },
  },
  {
    name: 'a size or a position that is not there is misuse',
    async run(bench) {
      const { store } = await grown(bench, 5)
      const tree = new LedgerTree(store)
      await assert.rejects(tree.root(6), RangeError)
      await assert.rejects(tree.inclusion(5, 5), RangeError)
      await assert.rejects(tree.inclusion(-1, 5), RangeError)
      await assert.rejects(tree.inclusion(0, 6), RangeError)
      await assert.rejects(tree.consistency(5, 4), RangeError)
    },
  },
]
