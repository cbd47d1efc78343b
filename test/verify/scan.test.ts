import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../src/testing/index.ts'
import { JsonScanner, scanJsonValue } from '../../src/verify/scan.ts'
import { scale } from '../helpers/scale.ts'

/** What JSON.parse says, white space around the value excluded, which it allows. */
function parses(text: string): boolean {
  if (text !== text.trim()) return false
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function depthOf(text: string): number {
  let [depth, deepest, inString] = [0, 0, false]
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '"') inString = !inString
    else if (inString && text[i] === '\\') i++
    else if (!inString && '[{'.includes(text[i]!)) deepest = Math.max(deepest, ++depth)
    else if (!inString && ']}'.includes(text[i]!)) depth--
  }
  return deepest
}

const scanned = (text: string, offset = 0): boolean => {
  // In the middle of other bytes, at every alignment: it must not take these for part of the value.
  const inner = Buffer.from(text)
  const bytes = Buffer.concat([Buffer.alloc(offset, '"'), inner, Buffer.from('}]",1')])
  const end = offset + inner.length
  return scanJsonValue(bytes, offset, end) === end
}

const json = fc.json({ maxDepth: 6 })
/** JSON with characters changed, doubled, removed: mostly wrong by one. */
const nearlyJson = fc
  .tuple(
    fc.oneof(json, fc.json({ stringUnit: 'binary' })),
    fc.array(
      fc.tuple(
        fc.nat(),
        fc.constantFrom(
          '',
          '"',
          '\\',
          '{',
          '}',
          '[',
          ']',
          ',',
          ':',
          '0',
          '-',
          '.',
          'e',
          '+',
          ' ',
          '\t',
          '\n',
          '\u0001',
          'u',
          'true',
          'nul',
          '\u20ac',
          '\u007f',
        ),
      ),
      { maxLength: 3 },
    ),
  )
  .map(([text, edits]) => {
    let edited = text
    for (const [at, instead] of edits) {
      const i = edited.length === 0 ? 0 : at % edited.length
      edited = edited.slice(0, i) + instead + edited.slice(i + (at % 2))
    }
    return edited
  })
  .filter((text) => text.isWellFormed())

describe('scanJsonValue', { timeout: scale(120_000, 1_800_000) }, () => {
  test('agrees with JSON.parse on JSON and on what is nearly JSON', () => {
    fc.assert(
      fc.property(nearlyJson, fc.nat(7), (text, offset) => {
        expect(scanned(text, offset)).toBe(parses(text) && depthOf(text) <= 64)
      }),
      { numRuns: scale(5000, 200_000) },
    )
  })

  test('agrees with JSON.parse on every text of up to five of these characters', () => {
    const letters = ['"', '\\', '{', '}', '[', ']', ',', ':', '0', '1', '-', '.', 'e', 'a', ' ']
    const texts = letters.map((letter) => letter)
    for (let start = 0, length = 2; length <= scale(4, 5); length++) {
      const end = texts.length
      for (; start < end; start++) for (const letter of letters) texts.push(texts[start]! + letter)
    }
    for (const text of texts) if (scanned(text) !== parses(text)) expect.fail(JSON.stringify(text))
    expect(texts.length).toBeGreaterThan(50_000)
  })

  test.each([
    '01',
    '-',
    '+1',
    '1.',
    '.5',
    '1e',
    '1e+',
    '0x1',
    '--1',
    '1_0',
    'NaN',
    'Infinity',
    'tru',
    'truee',
    'nulL',
    "'a'",
    '{a:1}',
    '[1,]',
    '{"a":1,}',
    '[,1]',
    '"\\x"',
    '"\\u12g4"',
    '"\\u123"',
    '"\t"',
    '"\u0000"',
    '{"a"}',
    '{"a":}',
    '{1:2}',
    '[1 2]',
    '',
    ' 1',
    '1 ',
  ])('refuses %j', (text) => expect(scanned(text)).toBe(false))

  test('takes strings of every length at every alignment, and finds every byte that may not be there', () => {
    const scanner = new JsonScanner()
    for (let length = 0; length < 40; length++) {
      for (let offset = 0; offset < 4; offset++) {
        const bytes = Buffer.from(`${'"'.repeat(offset)}"${'#'.repeat(length)}"`)
        expect(scanner.scan(bytes, offset, bytes.length)).toBe(bytes.length)
        for (let at = 0; at < length; at++) {
          for (const byte of [0x00, 0x0a, 0x1f]) {
            bytes[offset + 1 + at] = byte
            expect(scanner.scan(bytes, offset, bytes.length), `0x${byte} at ${at} of ${length}`).toBe(-1)
          }
          bytes[offset + 1 + at] = 0x7f
          expect(scanner.scan(bytes, offset, bytes.length)).toBe(bytes.length)
          bytes[offset + 1 + at] = 0x80
          expect(scanner.scan(bytes, offset, bytes.length)).toBe(bytes.length)
          expect(scanner.notAscii).toBe(true)
          bytes[offset + 1 + at] = 0x23
        }
      }
    }
  })

  test('never says yes to a value that goes on behind the end', () => {
    const bytes = Buffer.from('{"a":["bcd",12.5e3,true]}')
    for (let end = 0; end < bytes.length; end++) expect(scanJsonValue(bytes, 0, end)).toBe(-1)
    expect(scanJsonValue(bytes, 0, bytes.length)).toBe(bytes.length)
    // The memory ends in the middle of everything.
    for (let end = 0; end < bytes.length; end++) expect(scanJsonValue(new Uint8Array(bytes.subarray(0, end)), 0, end)).toBe(-1)
  })

  test('takes a depth of 64 and no more, without recursion', () => {
    expect(scanned('['.repeat(64) + ']'.repeat(64))).toBe(true)
    expect(scanned('['.repeat(65) + ']'.repeat(65))).toBe(false)
    expect(scanned('{"a":'.repeat(64) + '1' + '}'.repeat(64))).toBe(true)
    expect(scanned('{"a":'.repeat(65) + '1' + '}'.repeat(65))).toBe(false)
    expect(scanned('['.repeat(1_000_000))).toBe(false)
  })

  test('returns an offset or -1 for any bytes', () => {
    const random = seededRandom(20_261_122)
    const scanner = new JsonScanner()
    for (let i = 0; i < scale(20_000, 500_000); i++) {
      const bytes = random.bytes(random.below(40))
      const start = random.below(bytes.length + 1)
      const end = start + random.below(bytes.length - start + 1)
      const at = scanner.scan(bytes, start, end)
      expect(at === -1 || (at > start && at <= end)).toBe(true)
    }
  })
})
