/** The fast way through a header says what the whole grammar says. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isLowerHex } from '../../src/verify/bytes.ts'
import { KEY } from '../../src/verify/header-grammar.ts'
import { HeaderScan } from '../../src/verify/header-scan.ts'
import { honestLedger } from '../helpers/make-lines.ts'
import { scale } from '../helpers/scale.ts'

const HEADERS = honestLedger(50).map(({ header_text }) => header_text)

interface Said {
  readonly at: number
  readonly values: readonly (readonly [start: number, end: number, number: number])[]
  readonly unknown: readonly string[]
  readonly notAscii: boolean
  readonly fault: string
}

function said(scan: HeaderScan, bytes: Uint8Array, start: number, end: number, strictly: boolean): Said {
  const at = scan.scan(bytes, start, end, strictly)
  const { starts, ends, numbers, unknown, notAscii, fault } = scan
  const values = Array.from(starts, (from, key) => [from, from === -1 ? -1 : ends[key]!, from === -1 ? -1 : numbers[key]!] as const)
  return { at, values: at === -1 ? [] : values, unknown, notAscii, fault }
}

/** True where the scan took something for hashes that are none: it says so itself that it does not look. */
function hasBadHash(scan: HeaderScan, bytes: Uint8Array, start: number): boolean {
  return [KEY.entry_hash, KEY.previous_hash].some((key) => {
    const [from, to] = [start + scan.starts[key]!, start + scan.ends[key]!]
    return to - from === 64 && !isLowerHex(bytes, from, to)
  })
}

const edit = fc.tuple(
  fc.nat(),
  fc.nat({ max: 3 }),
  fc.constantFrom(
    '',
    '"',
    '\\',
    '}',
    ',',
    ':',
    '0',
    '9',
    'a',
    '\u0001',
    '\u007f',
    '\u00e9',
    '\u0085',
    ' ',
    '"x":1,',
    ',"seq":1',
    'Z',
    'success',
  ),
)

test('whatever came before, and wherever it lies', () => {
  const usual = new HeaderScan()
  fc.assert(
    fc.property(
      fc.nat({ max: HEADERS.length - 1 }),
      fc.array(edit, { maxLength: 2 }),
      fc.nat(9),
      fc.nat(40),
      (number, edits, before, behind) => {
        let text = HEADERS[number]!
        for (const [place, cut, put] of edits) {
          const at = place % (text.length + 1)
          text = text.slice(0, at) + put + text.slice(at + cut)
        }
        const header = Buffer.from(text)
        const bytes = new Uint8Array(
          Buffer.concat([
            Buffer.alloc(before, '{'),
            header,
            Buffer.from(',"salt":"AAAAAAAAAAAAAAAAAAAAAA","entry":{}}').subarray(0, behind),
          ]),
        )
        const end = before + header.length
        const fast = said(usual, bytes, before, end, false)
        if (fast.at !== -1 && hasBadHash(usual, bytes, before)) return
        expect(fast).toEqual(said(new HeaderScan(), bytes, before, end, true))
      },
    ),
    { numRuns: scale(20_000, 2_000_000) },
  )
})

test('an honest header of each kind takes the fast way once it was seen, and says the same', () => {
  const usual = new HeaderScan()
  for (let round = 0; round < 2; round++) {
    for (const text of HEADERS) {
      const bytes = new Uint8Array(Buffer.from(text))
      expect(said(usual, bytes, 0, bytes.length, false)).toEqual(said(new HeaderScan(), bytes, 0, bytes.length, true))
    }
  }
})
