import fc from 'fast-check'
import { expect, test } from 'vitest'
import { AscendingRanges, countOf, lastClaims, partition, union } from '../../src/verify/ranges.ts'
import type { Range } from '../../src/verify/ranges.ts'

const range = fc.tuple(fc.nat(60), fc.nat(20)).map(([first, length]): Range => ({ first, last: first + length }))
const ranges = fc.array(range, { maxLength: 12 })
const positions = (list: readonly Range[]): number[] => {
  const all = new Set<number>()
  for (const { first, last } of list) for (let at = first; at <= last; at++) all.add(at)
  return [...all].sort((a, b) => a - b)
}
/** Ascending, with a gap between each two. */
const isNormal = (list: readonly Range[]): boolean => list.every(({ first }, i) => i === 0 || first > list[i - 1]!.last + 1)

test('union holds the same positions, in order and without overlap', () => {
  fc.assert(
    fc.property(ranges, (list) => {
      const merged = union(list)
      expect(positions(merged)).toEqual(positions(list))
      expect(isNormal(merged)).toBe(true)
      expect(countOf(merged)).toBe(positions(list).length)
    }),
  )
})

test('partition splits into what is inside and what is not', () => {
  fc.assert(
    fc.property(ranges, ranges, (a, b) => {
      const { inside, outside } = partition(union(a), union(b))
      const inB = new Set(positions(b))
      expect(positions(inside)).toEqual(positions(a).filter((at) => inB.has(at)))
      expect(positions(outside)).toEqual(positions(a).filter((at) => !inB.has(at)))
      expect(countOf(inside) + countOf(outside)).toBe(positions(a).length)
    }),
  )
})

test('of several claims about a position the last one holds', () => {
  fc.assert(
    fc.property(fc.array(fc.record({ range, holds: fc.boolean() }), { maxLength: 12 }), (claims) => {
      const state = new Map<number, boolean>()
      for (const claim of claims) for (const at of positions([claim.range])) state.set(at, claim.holds)
      const held = lastClaims(claims)
      expect(positions(held)).toEqual([...state.keys()].filter((at) => state.get(at) === true).sort((a, b) => a - b))
      expect(isNormal(held)).toBe(true)
    }),
  )
})

test('many claims, each within the last, take no time', () => {
  const claims = Array.from({ length: 100_000 }, (_, i) => ({ range: { first: i, last: 200_000 - i }, holds: i % 2 === 0 }))
  expect(countOf(lastClaims(claims))).toBe(100_000)
})

test('ascending positions share ranges, up to a limit', () => {
  const list = new AscendingRanges(2)
  for (const at of [1, 2, 3, 7]) list.add(at)
  expect(list.ranges).toEqual([
    { first: 1, last: 3 },
    { first: 7, last: 7 },
  ])
  expect(list.overflown).toBe(false)
  list.add(8)
  list.add(10)
  expect(list.ranges.at(-1)).toEqual({ first: 7, last: 8 })
  expect(list.overflown).toBe(true)
})
