/** `json.loads` and `json.dumps` as Python has them. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../src/testing/index.ts'
import { dumps } from '../../../src/verify/python/dumps.ts'
import { loads, loadsWithNotes } from '../../../src/verify/python/loads.ts'
import { PYTHON_3_11, PythonError, type PythonValue } from '../../../src/verify/python/value.ts'
import { scale } from '../../helpers/scale.ts'
import { askPython, pythonMissing } from './python.ts'

/** What JSON.parse would have made of it. */
function plain(value: PythonValue): unknown {
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, member]) => [key, plain(member)]))
  if (Array.isArray(value)) return value.map(plain)
  return typeof value === 'bigint' ? Number(value) : value
}

function exceptionOf(text: string): string {
  try {
    return `reads ${dumps(loads(text))}`
  } catch (error) {
    if (!(error instanceof PythonError)) throw error
    return error.exception
  }
}

const value = fc.letrec<{ value: PythonValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom(null, true, false),
    fc.bigInt(),
    fc.double(),
    fc.string({ unit: 'binary' }),
    fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units)),
    fc.array(tie('value')),
    fc.array(fc.tuple(fc.string({ unit: 'binary' }), tie('value'))).map((members) => new Map(members)),
  ),
})).value

test('what dumps writes, loads reads back the same, and dumps writes again', () => {
  fc.assert(
    fc.property(value, fc.boolean(), (given, sort_keys) => {
      const text = dumps(given, { sort_keys })
      const { value: read, notes } = loadsWithNotes(text)
      expect(read).toEqual(given)
      expect(dumps(read, { sort_keys })).toBe(text)
      expect(dumps(read, { sort_keys: true })).toBe(dumps(given, { sort_keys: true }))
      expect(text).toMatch(/^[ -~]*$/)
      expect(notes).toMatchObject({ duplicate_key: null, lost_precision: null })
    }),
    { numRuns: scale(500, 5_000) },
  )
})

test('loads reads what JSON.parse reads, and refuses with JSONDecodeError', () => {
  fc.assert(
    fc.property(fc.json(), fc.nat(), fc.string({ maxLength: 3 }), (json, at, slip) => {
      const text = json.slice(0, at % json.length) + slip + json.slice(at % json.length)
      let parsed: string
      try {
        parsed = JSON.stringify(JSON.parse(text))
      } catch {
        // The three names that Python takes are not to be had by slipping in three letters.
        expect(text.includes('NaN') ? 'JSONDecodeError' : exceptionOf(text)).toBe('JSONDecodeError')
        return
      }
      expect(JSON.stringify(plain(loads(text)))).toBe(parsed)
    }),
    { numRuns: scale(2_000, 50_000) },
  )
})

test.each([
  ['-0', '0'],
  ['-0.0', '-0.0'],
  ['1.0', '1.0'],
  ['1.00e0', '1.0'],
  ['1e16', '1e+16'],
  ['1e15', '1000000000000000.0'],
  ['0.00001', '1e-05'],
  ['0.0001', '0.0001'],
  ['1e400', 'Infinity'],
  ['[NaN, -Infinity]', '[NaN, -Infinity]'],
  ['123456789012345678901234567890', '123456789012345678901234567890'],
  ['"\u007f\u00e9\u{1f600}/\\/"', '"\\u007f\\u00e9\\ud83d\\ude00//"'],
  ['"\\uD83D\\uD83D\\uDE00"', '"\\ud83d\\ud83d\\ude00"'],
  ['{"10": 1, "9": 2, "__proto__": 3, "10": 4}', '{"10": 4, "9": 2, "__proto__": 3}'],
  [' \t\n\r[ 1 ,2 ] ', '[1, 2]'],
])('%s is read and written as %s', (text, written) => {
  expect(dumps(loads(text))).toBe(written)
})

test.each([
  ...[
    '',
    ' ',
    '\ufeff{}',
    '{"a":1}x',
    '01',
    '1.',
    '.5',
    '+1',
    '-',
    '"\t"',
    '"\\x"',
    '"\\u12g4"',
    '"',
    '[1,]',
    '{"a":1,}',
    '{a:1}',
    "{'a':1}",
    '\u00a0 1',
    '-NaN',
    'nul',
  ].map((text) => [text, 'JSONDecodeError']),
  [`1${'0'.repeat(4300)}`, 'ValueError'],
  [`-1${'0'.repeat(4299)}`, `reads -1${'0'.repeat(4299)}`],
  // In the order in which Python meets them.
  [`[1${'0'.repeat(4300)}, x]`, 'ValueError'],
  [`[x, 1${'0'.repeat(4300)}]`, 'JSONDecodeError'],
  ['['.repeat(995), 'RecursionError'],
  ['['.repeat(994), 'JSONDecodeError'],
  [`x${'['.repeat(995)}`, 'JSONDecodeError'],
])('%# refuses as Python does', (text, outcome) => {
  expect(exceptionOf(text!)).toBe(outcome)
})

test('limits can be those of another Python, far beyond the depth of our own stack', () => {
  const depth = 200_000
  const limits = { ...PYTHON_3_11, loads_depth_max: depth, int_digits_max: Infinity }
  const text = `${'['.repeat(depth)}1${'0'.repeat(5000)}${']'.repeat(depth)}`
  expect(dumps(loads(text, limits))).toBe(text)
  expect(() => dumps(loads(text, limits), { depth_max: depth - 1 })).toThrow(expect.objectContaining({ exception: 'RecursionError' }))
})

test.each([
  ['{"a": {"b": 1, "b": 1}}', '/a/b', null],
  ['[0, {"~/": 1, "\\u007e/": 1}]', '/1/~0~1', null],
  ['{"a": 1, "A": 1}', null, null],
  ['{"a": 0.1000000000000000055}', null, '0.1000000000000000055'],
  ['[9007199254740993.0]', null, '9007199254740993.0'],
  ['[1e400]', null, '1e400'],
  ['[1e-400]', null, '1e-400'],
  ['[1.00e0, 100e-2, 0.1, 0.10000000000000000, 0e-999, 9007199254740993, 0.000000000000000000001e21, 5e-324, NaN]', null, null],
])('%s: notes what the value no longer says', (text, duplicate_key, token) => {
  const { notes } = loadsWithNotes(text)
  expect(notes.duplicate_key).toBe(duplicate_key)
  expect(notes.lost_precision?.token ?? null).toBe(token)
})

/** Every text of up to three of the code units around which the orders by unit and by code point differ. */
function surrogateTexts(): string[] {
  const units = ['', 'a', '\ud83d', '\udbff', '\udc00', '\udfff', '\ue000', '\uffff']
  return [...new Set(units.flatMap((a) => units.flatMap((b) => units.map((c) => a + b + c))))]
}

describe.skipIf(pythonMissing !== null)('beside Python', () => {
  const compare = (texts: readonly string[]): void => {
    const { answers } = askPython([{ kind: 'D', payload: Buffer.from(JSON.stringify(texts)) }])
    expect(texts.map((text) => dumps(loads(text), { sort_keys: true }))).toEqual(answers[0]!.texts)
  }

  test('the order of keys', () => {
    compare([dumps(new Map(surrogateTexts().map((key, i) => [key, BigInt(i)])))])
  })

  test('every code unit', () => {
    compare([dumps(Array.from({ length: 0x10000 }, (_, unit) => String.fromCharCode(unit)))])
  })

  test('floats: all powers of two and ten with their neighbours, and random ones', (context) => {
    const seed = 7
    context.annotate(`seed ${seed}`)
    const random = seededRandom(seed)
    const view = new DataView(new ArrayBuffer(8))
    const around = (given: number): number[] => {
      view.setFloat64(0, given)
      const bits = view.getBigUint64(0)
      return [-2n, -1n, 0n, 1n, 2n].map((step) => {
        view.setBigUint64(0, BigInt.asUintN(64, bits + step))
        return view.getFloat64(0)
      })
    }
    const floats = [
      ...Array.from({ length: 2098 }, (_, i) => 2 ** (i - 1074)).flatMap(around),
      ...Array.from({ length: 632 }, (_, i) => Number(`1e${i - 323}`)).flatMap(around),
      ...Array.from({ length: scale(20_000, 500_000) }, () => new DataView(random.bytes(8).buffer).getFloat64(0)),
    ]
    compare([
      `[${floats
        .filter(Number.isFinite)
        .map((float) => float.toExponential(16))
        .join(',')}]`,
    ])
  })
})
