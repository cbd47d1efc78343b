/** Roots of a growing tree, found in one pass, in parts that are joined, and looked up behind it. */
import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { nodeHashing } from '../../src/ledger/hashing.ts'
import { hashHex, parentHashing, TreeEdge } from '../../src/verify/tree.ts'
import { TreeJoin, TreeWatch } from '../../src/verify/tree-watch.ts'
import { scale } from '../helpers/scale.ts'

const { sha256 } = nodeHashing
const parent = parentHashing(sha256)
const LEAVES = 40_000
const leaves = Array.from({ length: LEAVES }, (_, i) => createHash('sha256').update(`leaf ${i}`).digest())
const digits = leaves.map((leaf) => Buffer.from(hashHex(leaf)))

/** The judge: `TreeEdge`, which is held against RFC 9162 itself elsewhere. */
const edge = new TreeEdge(parent)
const roots = [hashHex(createHash('sha256').digest()), ...leaves.map((leaf) => (edge.append(leaf), hashHex(edge.root()!)))]

function watched(start: number, end: number, sizes: readonly number[]): TreeWatch {
  const watch = new TreeWatch(sha256, start, sizes, () => `time of ${watch.size - 1}`)
  for (let seq = start; seq < end; seq++) watch.take(seq, digits[seq]!, false)
  return watch
}

test('in any parts, at any sizes, the roots are those of the tree', () => {
  const inputs = fc.record({
    cuts: fc.array(fc.integer({ min: 1, max: 600 }), { maxLength: 4 }),
    end: fc.integer({ min: 1, max: 600 }),
    sizes: fc.array(fc.integer({ min: 0, max: 600 }), { maxLength: 12 }),
  })
  fc.assert(
    fc.property(inputs, ({ cuts, end, sizes }) => {
      const bounds = [0, ...cuts.filter((cut) => cut < end).toSorted((a, b) => a - b), end]
      const join = new TreeJoin(sha256)
      for (let i = 1; i < bounds.length; i++) {
        const watch = watched(bounds[i - 1]!, bounds[i]!, sizes)
        join.add(watch.found, watch.size, watch.end())
      }
      for (const size of [...sizes.filter((each) => each <= end), end])
        expect(join.roots.get(size)?.root, `root of ${size}`).toBe(roots[size])
      for (const size of sizes.filter((each) => each > 0 && each <= end))
        expect(join.roots.get(size)?.recorded_at).toBe(`time of ${size - 1}`)
      for (const size of sizes.filter((each) => each > end)) expect(join.roots.has(size)).toBe(false)
    }),
    { numRuns: scale(100, 5000) },
  )
})

test('a size behind is found while it is not far behind, and never wrongly', () => {
  for (const [start, end] of [
    [0, 100],
    [0, 8192],
    [0, 8193],
    [0, 20_000],
    [5, 30_001],
    [8191, 40_000],
  ] as const) {
    const watch = watched(start, end, [])
    const sizes = [1, 2, 3, 100, 8190, 8192, 9000, 16_383, 16_384].map((back) => end + 1 - back)
    for (const size of sizes) watch.lookBack(size)
    const join = new TreeJoin(sha256)
    if (start > 0) {
      const before = watched(0, start, [])
      join.add(before.found, before.size, before.end())
    }
    join.add(watch.found, watch.size, watch.end())
    for (const size of sizes)
      if (join.roots.has(size)) expect(join.roots.get(size)?.root, `${size} of ${start} to ${end}`).toBe(roots[size])
    for (const back of [1, 2, 100, 8190]) if (end + 1 - back > start) expect(join.roots.has(end + 1 - back)).toBe(true)
  }
})

test('behind a position that is missing no root is known', () => {
  const watch = new TreeWatch(sha256, 0, [3, 6, 9], () => null)
  for (const seq of [0, 1, 2, 3, 2, 4, 6, 7, 8]) watch.take(seq, digits[seq]!, seq === 4)
  expect([...watch.found.keys()]).toEqual([3])
  expect(watch).toMatchObject({ isBroken: true, size: 5, firstFault: 4 })
  watch.lookBack(4)
  expect([...watch.found.keys()]).toEqual([3])
})
