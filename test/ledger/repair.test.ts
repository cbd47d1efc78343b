import fc from 'fast-check'
import { expect, test } from 'vitest'
import { canonicalize } from '../../src/verify/canonical.ts'
import { repair } from '../../src/ledger/repair.ts'

test('what canonical JSON can carry stays as it is, and nothing is said', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
      // JSON numbers may be integers that canonical JSON refuses; those are repaired.
      fc.pre(!JSON.stringify(value).match(/\d{16}/))
      const repaired = repair(value)
      expect(repaired.repairs).toEqual([])
      expect(canonicalize(repaired.value)).toBe(canonicalize(value))
    }),
  )
})

test('anything at all becomes canonical, and every change is named', () => {
  fc.assert(
    fc.property(
      fc.anything({
        withBigInt: true,
        withDate: true,
        withMap: true,
        withSet: true,
        withTypedArray: true,
        withSparseArray: true,
        withNullPrototype: true,
      }),
      (value) => {
        const { value: fit } = repair({ value })
        expect(() => canonicalize(fit)).not.toThrow()
      },
    ),
    { numRuns: 500 },
  )
})

const cycle: { self?: unknown } = {}
cycle.self = cycle

test.each([
  ['NaN', NaN, '"NaN"'],
  ['a BigInt', 12n, '"12"'],
  ['a big integer', 2 ** 53, '"9007199254740992"'],
  ['a Map', new Map([['a', 1]]), '[["a",1]]'],
  ['an Error', new RangeError('no'), '{"message":"no","name":"RangeError"}'],
  ['a lone surrogate', 'a\ud800', '"a\ufffd"'],
  ['a hole', [1, , 2], '[1,null,2]'], // oxlint-disable-line no-sparse-arrays
  ['a cycle', cycle, '{"self":null}'],
  ['a function', { f: Math.max }, '{"f":"function max() { [native code] }"}'],
  ['a throwing getter', { get a(): never { throw new Error('x') } }, 'null'], // prettier-ignore
  ['bytes', { b: new Uint8Array(3) }, '{"b":null}'],
])('%s is repaired and named', (_, value, expected) => {
  const repaired = repair(value)
  expect(canonicalize([repaired.value]).slice(1, -1)).toBe(expected)
  expect(repaired.repairs).toHaveLength(1)
})
