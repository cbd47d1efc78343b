/** The scan's word on canonical spelling, against parsing and writing anew. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Memory } from '../../src/verify/bytes.ts'
import { canonicalize, isCanonicalJson } from '../../src/verify/canonical.ts'
import { JsonScanner } from '../../src/verify/scan.ts'
import { scale } from '../helpers/scale.ts'

const scanner = new JsonScanner(new Memory(), true)

/** True where the scan is sure; it must be one JSON value, or nothing is asked. */
function surely(text: string): boolean | null {
  const bytes = Buffer.from(`  ${text}}`)
  return scanner.scan(bytes, 2, bytes.length - 1) === bytes.length - 1 ? scanner.canonical : null
}

function isCanonical(text: string): boolean {
  const bytes = Buffer.from(text)
  return isCanonicalJson(bytes, 0, bytes.length)
}

/** What is spelled canonically and the scan leaves to the parser all the same: `\u`, and keys with an escape or of high letters. */
const LEFT_OPEN = /\\u|"(?:[^"\\]|\\.)*(?:\\.|[\ue000-\uffff]|[\ud800-\udfff])(?:[^"\\]|\\.)*":/s

const digits = fc.integer({ min: 0, max: 9 }).map(String)
const digitString = (max: number): fc.Arbitrary<string> => fc.array(digits, { minLength: 1, maxLength: max }).map((all) => all.join(''))
const numberText = fc
  .tuple(
    fc.constantFrom('', '-'),
    fc.oneof(
      fc.constant('0'),
      digitString(18).map((text) => text.replace(/^0+(?=.)/, '')),
    ),
    fc.oneof(
      fc.constant(''),
      digitString(18).map((text) => `.${text}`),
      digitString(4).map((text) => `.00000${text}`),
    ),
    fc.oneof(
      { weight: 3, arbitrary: fc.constant('') },
      fc.tuple(fc.constantFrom('e', 'E', 'e+', 'e-'), fc.integer({ min: 0, max: 330 })).map((all) => all.join('')),
    ),
  )
  .map((parts) => parts.join(''))

describe('canonical', { timeout: scale(120_000, 1_800_000) }, () => {
  test('numbers: sure exactly where the spelling is canonical', () => {
    fc.assert(
      fc.property(fc.oneof(numberText, fc.double({ noNaN: true, noDefaultInfinity: true }).map(String)), (text) => {
        expect(surely(text), text).toBe(isCanonical(text))
      }),
      { numRuns: scale(30_000, 2_000_000) },
    )
  })

  test.each([
    '0',
    '-0',
    '0.0',
    '-0.5',
    '0.1',
    '0.10',
    '1.0',
    '1e0',
    '1e21',
    '1e+21',
    '1e-7',
    '0.000001',
    '0.0000001',
    '0.00000123',
    '0.0000010',
    '123456789012345',
    '999999999999999',
    '9007199254740991',
    '-9007199254740991',
    '9007199254740992',
    '9007199254740993',
    '-9007199254740992',
    '100000000000000000000',
    '12345678.12345678',
    '0.1234567890123456',
    '0.12345678901234567',
    '5e-324',
    '1.7976931348623157e+308',
    '1e400',
  ])('%s', (text) => {
    expect(surely(text)).toBe(isCanonical(text))
    expect(surely(`{"n":${text}}`)).toBe(isCanonical(`{"n":${text}}`))
  })

  const value = fc.jsonValue({
    maxDepth: 5,
    stringUnit: fc.oneof(
      fc.constantFrom('a', 'b', 'é', '\u20ac', '\ue000', '\ud83d\ude00', '"', '\\', '\n', '\u0001', '/'),
      fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
    ),
  })

  test('what is written canonically: sure, but for what it leaves open', () => {
    fc.assert(
      fc.property(value, (data) => {
        let text: string
        try {
          text = canonicalize(data)
        } catch {
          return
        }
        if (surely(text) !== true) expect(LEFT_OPEN.test(text), text).toBe(true)
      }),
      { numRuns: scale(3_000, 200_000) },
    )
  })

  test('what is spelled otherwise by a little is never taken for canonical', () => {
    const edit = fc.tuple(
      fc.nat(),
      fc.nat({ max: 2 }),
      fc.constantFrom('', ' ', '\t', '0', '.0', '-', 'e1', '\\/', '\\u0061', '"a":1,', '1', ',', 'Z', 'a', '\ue000', '\ud83d\ude00'),
    )
    fc.assert(
      fc.property(value, fc.array(edit, { maxLength: 2 }), fc.boolean(), (data, edits, isSorted) => {
        let text = JSON.stringify(data)
        try {
          if (isSorted) text = canonicalize(data)
        } catch {
          return
        }
        for (const [place, cut, put] of edits) {
          const at = place % (text.length + 1)
          text = text.slice(0, at) + put + text.slice(at + cut)
        }
        if (!text.isWellFormed()) return
        if (surely(text) === true) expect(isCanonical(text), text).toBe(true)
      }),
      { numRuns: scale(10_000, 1_000_000) },
    )
  })

  test.each([
    ['{"a":1,"b":2}', true],
    ['{"b":1,"a":2}', false],
    ['{"a":1,"a":2}', false],
    ['{"a":{"z":1},"b":{"a":1}}', true],
    ['{"":1,"a":1,"aa":1}', true],
    ['{"aa":1,"a":1}', false],
    ['{"10":1,"9":1}', true],
    ['{"a":"\\n\\"\\\\\\t"}', true],
    ['{"a":"\\/"}', false],
    ['{"a" :1}', false],
    ['{"a":[1, 2]}', false],
    ['{"é":1,"€":1}', true],
    ['[{"b":1},{"a":1}]', true],
  ])('%s: %s', (text, wanted) => {
    expect(surely(text)).toBe(wanted)
    expect(isCanonical(text)).toBe(wanted)
  })

  test('is not said where it was not asked for', () => {
    const plain = new JsonScanner()
    const bytes = Buffer.from('{"a":1}')
    expect(plain.scan(bytes, 0, bytes.length)).toBe(bytes.length)
    expect(plain.canonical).toBe(false)
  })
})
