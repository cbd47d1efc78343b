import { existsSync, readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import canonicalizeOracle from 'canonicalize'
import { describe, expect, test } from 'vitest'
import { CanonicalError, canonicalize, canonicalizeOwn, isCanonicalJson } from '../../src/verify/canonical.ts'
import { scale } from '../helpers/scale.ts'

const VECTORS = new URL('../../../shared/data/rfc8785/', import.meta.url)

function refusal(value: unknown, limits?: { depth_max?: number; bytes_max?: number }): CanonicalError {
  try {
    canonicalize(value, limits)
  } catch (error) {
    expect(error).toBeInstanceOf(CanonicalError)
    return error as CanonicalError
  }
  throw new Error('was not refused')
}

/** JSON values that RFC 8785 and the ledger's rules both carry; keys that tempt an implementation to reorder or lose them. */
const key = fc.oneof(
  fc.string({ unit: 'binary' }).filter((text) => text.isWellFormed()),
  fc.constantFrom('__proto__', 'constructor', 'toString', '9', '10', '', '\u20ac', '\ud83d\ude00', '\uffee', '-1', '01'),
)
const number = fc
  .oneof(
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.maxSafeInteger(),
    fc.constantFrom(-0, 1e21, 5e-324, 1.7976931348623157e308, 1e-7, 0.1),
  )
  .filter((n) => !(Math.abs(n) > Number.MAX_SAFE_INTEGER && Math.abs(n) < 1e21))
const { value: jsonValue } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5 },
    fc.constantFrom(null, true, false),
    number,
    key,
    fc.array(tie('value'), { maxLength: 5 }),
    // From entries, so that `__proto__` becomes a member and not the prototype.
    fc.array(fc.tuple(key, tie('value')), { maxLength: 6 }).map((members) => Object.fromEntries(members)),
  ),
}))

describe('canonicalize', { timeout: scale(120_000, 1_800_000) }, () => {
  test('agrees with another implementation of RFC 8785', () => {
    fc.assert(
      fc.property(jsonValue, (value) => {
        expect(canonicalize(value)).toBe(canonicalizeOracle(value))
      }),
      { numRuns: scale(2000, 50_000) },
    )
  })

  test('is a fixed point, keeps the meaning, and does not touch its argument', () => {
    fc.assert(
      fc.property(jsonValue, (value) => {
        const before = structuredClone(value)
        const text = canonicalize(value)
        expect(canonicalize(JSON.parse(text))).toBe(text)
        const bytes = Buffer.from(text)
        expect(isCanonicalJson(bytes, 0, bytes.length)).toBe(true)
        expect(value).toEqual(before)
      }),
    )
  })

  test('gives the same text of an object that it may use up', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(key, jsonValue), { maxLength: 30 }), fc.boolean(), (members, isDated) => {
        const value = Object.fromEntries(isDated ? [...members, ['date', new Date(0)]] : members)
        const text = canonicalize(value)
        expect(canonicalizeOwn(value)).toBe(text)
      }),
    )
  })

  test('gives the same bytes by the short way and by the long way', () => {
    fc.assert(
      fc.property(jsonValue, (value) => {
        const sorted: unknown = JSON.parse(canonicalize(value))
        // A date makes the whole go the long way.
        const long = canonicalize([new Date(0), sorted])
        expect(long).toBe(`["1970-01-01T00:00:00.000000Z",${canonicalize(sorted)}]`)
      }),
    )
  })

  test('sorts by UTF-16 code unit and keeps integer-like keys and __proto__', () => {
    const value = JSON.parse('{"\\ufb33":1,"\\ud83d\\ude00":2,"10":3,"9":4,"__proto__":{"b":1,"a":2}}')
    expect(canonicalize(value)).toBe('{"10":3,"9":4,"__proto__":{"a":2,"b":1},"\ud83d\ude00":2,"\ufb33":1}')
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype)
  })

  test('takes plain data as it is: undefined members, dates, -0, class instances, shared parts', () => {
    class Point {
      y = 2
      x = -0
      #hidden = 1
      toJSON(): string {
        return `never called ${this.#hidden}`
      }
    }
    const shared = { a: [1] }
    expect(
      canonicalize({ u: undefined, p: new Point(), d: new Date(1_795_378_533_123), s: [shared, shared], n: Object.create(null) }),
    ).toBe('{"d":"2026-11-22T20:15:33.123000Z","n":{},"p":{"x":0,"y":2},"s":[{"a":[1]},{"a":[1]}]}')
  })

  test('calls no toJSON, wherever it hides', () => {
    const toJSON = (): never => {
      throw new Error('was called')
    }
    const array = Object.assign([1, { b: 2, a: 1 }], { toJSON })
    const hidden = Object.defineProperty({ b: [array], a: 0 }, 'toJSON', { value: toJSON, enumerable: false })
    class Derived extends Array<number> {
      toJSON = toJSON
    }
    expect(canonicalize({ hidden, derived: Derived.of(1, 2) })).toBe('{"derived":[1,2],"hidden":{"a":0,"b":[[1,{"a":1,"b":2}]]}}')
  })

  test('takes own members only, whatever is inherited', () => {
    const derived = Object.assign(Object.create({ inherited: 1 }), { b: 2, a: 1 })
    const prototype = Object.prototype as { haunted?: string }
    prototype.haunted = 'x'
    let text: string
    try {
      text = canonicalize({ derived, plain: { d: 4, c: 3 }, none: Object.assign(Object.create(null), { z: 0 }) })
    } finally {
      delete prototype.haunted
    }
    expect(text).toBe('{"derived":{"a":1,"b":2},"none":{"z":0},"plain":{"c":3,"d":4}}')
  })

  test('sorts many keys, and maps of ids, as few', () => {
    for (const count of [1, 2, 23, 24, 25, 200]) {
      const members = Array.from({ length: count }, (_, i) => [`k${(i * 7919) % count}`, { z: i, d: new Date(0) }] as const)
      const value = { outer: [Object.fromEntries(members)], a: 1 }
      expect(canonicalize(value)).toBe(canonicalizeOracle(JSON.parse(JSON.stringify(value).replaceAll('.000Z', '.000000Z'))))
    }
  })

  test('takes numbers with an exponent, however large, and the largest exact integers', () => {
    expect(canonicalize([1e30, -1e21, 2 ** 53 - 1, -(2 ** 53 - 1), 1e-7])).toBe('[1e+30,-1e+21,9007199254740991,-9007199254740991,1e-7]')
  })

  test.each<[name: string, value: unknown, path: string]>([
    ['NaN', { a: [NaN] }, '/a/0'],
    ['Infinity', { a: Infinity }, '/a'],
    ['-Infinity', [-Infinity], '/0'],
    ['a BigInt', { a: 1n }, '/a'],
    ['an integer beyond 2^53-1', { a: 2 ** 53 }, '/a'],
    ['a negative one', { a: -(2 ** 53) }, '/a'],
    ['one just below 1e21', { a: 999_999_999_999_999_900_000 }, '/a'],
    ['a function', { a: () => 1 }, '/a'],
    ['an own toJSON', { a: { toJSON: () => 1 } }, '/a/toJSON'],
    ['a symbol', { a: Symbol('s') }, '/a'],
    ['a symbol as a key', { a: { [Symbol('s')]: 1 } }, '/a'],
    ['a Map', { a: new Map() }, '/a'],
    ['a Set', { a: new Set() }, '/a'],
    ['a WeakMap', { a: new WeakMap() }, '/a'],
    ['a RegExp', { a: /x/ }, '/a'],
    ['an Error', { a: new TypeError('x') }, '/a'],
    ['a Buffer', { a: Buffer.from('x') }, '/a'],
    ['a typed array', { a: new Float64Array(1) }, '/a'],
    ['an ArrayBuffer', { a: new ArrayBuffer(1) }, '/a'],
    ['a DataView', { a: new DataView(new ArrayBuffer(1)) }, '/a'],
    ['a boxed string', { a: Object('x') }, '/a'],
    ['a boxed number', { a: Object(1) }, '/a'],
    ['a promise', { a: Promise.resolve(1) }, '/a'],
    ['a URL', { a: new URL('http://localhost') }, '/a'],
    [
      'arguments',
      {
        a: (function () {
          return arguments
        })(),
      },
      '/a',
    ],
    ['an invalid date', { a: new Date(NaN) }, '/a'],
    ['a date of the year 10000', { a: new Date('+010000-01-01T00:00:00Z') }, '/a'],
    [
      'what poses as a date',
      {
        a: new (class {
          get [Symbol.toStringTag]() {
            return 'Date'
          }
        })(),
      },
      '/a',
    ],
    ['a hole', { a: [1, , 3] }, '/a/1'], // eslint-disable-line no-sparse-arrays
    ['undefined in an array', { a: [undefined] }, '/a/0'],
    ['undefined alone', undefined, ''],
    ['an unpaired surrogate', { a: 'x\ud800' }, '/a'],
    ['one in a key', { 'x\udc00': 1 }, '/x\udc00'],
    ['a path with / and ~', { 'a/b': { 'c~d': NaN } }, '/a~1b/c~0d'],
  ])('refuses %s with its path', (_, value, path) => {
    const { path: found, reason, too_large, message } = refusal(value)
    expect(found).toBe(path)
    expect(reason).not.toBe('')
    expect(message).toContain(reason)
    expect(too_large).toBe(false)
  })

  test('refuses a cycle and says where it closes', () => {
    const cycle: { a: { b: unknown[] } } = { a: { b: [1] } }
    cycle.a.b.push({ back: cycle.a })
    expect(refusal(cycle)).toMatchObject({ path: '/a/b/1/back', reason: expect.stringContaining('cycle') })
    const self: unknown[] = []
    self.push(self)
    expect(refusal(self)).toMatchObject({ path: '/0', reason: expect.stringContaining('cycle') })
  })

  test('refuses depth over the limit, and takes the limit', () => {
    let value: unknown = 1
    for (let depth = 0; depth < 64; depth++) value = depth % 2 === 0 ? [value] : { a: value }
    expect(canonicalize(value)).toContain('1')
    expect(refusal([value]).reason).toContain('depth of 64')
    expect(refusal([[1]], { depth_max: 1 }).path).toBe('/0')
  })

  test('counts the size in UTF-8 bytes, and stops early where parts repeat without end', () => {
    expect(canonicalize('\u20ac', { bytes_max: 5 })).toBe('"\u20ac"')
    expect(refusal('\u20ac', { bytes_max: 4 })).toMatchObject({ too_large: true })
    expect(canonicalize(['\ud83d\ude00'], { bytes_max: 8 })).toBe('["\ud83d\ude00"]')
    expect(refusal(['\ud83d\ude00'], { bytes_max: 7 }).too_large).toBe(true)
    expect(refusal('\u0001', { bytes_max: 7 }).too_large).toBe(true)
    expect(refusal('x'.repeat(16 * 1024 * 1024 - 1)).too_large).toBe(true)
    expect(canonicalize('x'.repeat(16 * 1024 * 1024 - 2))).toHaveLength(16 * 1024 * 1024)
    let doubled: unknown = 'x'
    for (let i = 0; i < 60; i++) doubled = [doubled, doubled]
    expect(refusal(doubled).too_large).toBe(true)
  })

  test('is not led astray by a toJSON that others put on Object.prototype', () => {
    Object.defineProperty(Object.prototype, 'toJSON', { value: () => 'led astray', configurable: true })
    try {
      expect(canonicalize({ a: [1] })).toBe('{"a":[1]}')
    } finally {
      Reflect.deleteProperty(Object.prototype, 'toJSON')
    }
  })
})

describe('isCanonicalJson', () => {
  test.each([
    '{"b":1,"a":2}',
    '{"a":1,"a":1}',
    '{"a": 1}',
    '{"a":1.0}',
    '{"a":1e2}',
    '{"a":-0}',
    '{"a":"\\u0061"}',
    '{"a":"\\/"}',
    '{"a":"\\u000A"}',
    '{"a":"\\ud800"}',
    '{"a":9007199254740993}',
    '{"a":1e400}',
    '{"a":tru}',
    '\ufeff{}',
    '',
  ])('%j is not', (text) => {
    const bytes = Buffer.from(text)
    expect(isCanonicalJson(bytes, 0, bytes.length)).toBe(false)
  })

  test('looks at the slice only, and refuses what is not UTF-8', () => {
    const bytes = Buffer.from('x{"a":1}y')
    expect(isCanonicalJson(bytes, 1, bytes.length - 1)).toBe(true)
    expect(isCanonicalJson(Buffer.from([0x22, 0xc0, 0x80, 0x22]), 0, 4)).toBe(false)
  })
})

test.skipIf(!existsSync(VECTORS))('gives the published vectors of RFC 8785 byte for byte', () => {
  const names = readdirSync(new URL('input/', VECTORS))
  expect(names.length).toBeGreaterThan(0)
  for (const name of names) {
    const text = canonicalize(JSON.parse(readFileSync(new URL(`input/${name}`, VECTORS), 'utf8')))
    expect(Buffer.from(text), name).toEqual(readFileSync(new URL(`output/${name}`, VECTORS)))
  }
})
if (!existsSync(VECTORS))
  console.log('the vectors of RFC 8785 (cyberphone/json-canonicalization, testdata) are not here: that test is skipped')
