import { isUtf8 } from 'node:buffer'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { LedgerRecord } from '../../src/ledger/record.ts'
import { HASH_START } from '../../src/verify/line-parts.ts'
import { HASH_END, LineScan } from '../../src/verify/line-scan.ts'
import { readSense } from '../../src/verify/record.ts'
import type { LineSense } from '../../src/verify/record.ts'
import { ledgerLines, withheld } from '../helpers/bundle-maker.ts'

const whole = await ledgerLines(12)
const signed = Buffer.from(whole[1]!)
  .toString()
  .replace(/(,"salt":"[^"]*","entry":\{)/, ',"signatures":[{"alg":"Ed25519","sig":"AA"}]$1')
const LINES = [...whole, withheld(whole[2]!), Buffer.from(signed)].map((line) => Buffer.from(line))

function senseOf(line: Uint8Array): LineSense | null {
  try {
    return readSense(line)
  } catch {
    return null
  }
}

function recordOf(line: Uint8Array): LedgerRecord | null {
  try {
    return new LedgerRecord(line)
  } catch {
    return null
  }
}

/** As whoever parses all of it reads the line. */
function expectSame(line: Uint8Array): void {
  const sense = senseOf(line)
  const record = recordOf(line)
  expect(record === null).toBe(sense === null)
  if (record === null || sense === null) return
  const { hash, header, salt } = sense
  // The type first, while the header is not parsed.
  expect({ type: record.type, seq: record.seq }).toEqual({ type: header.type, seq: header.seq })
  expect({ hash: record.hash, header: record.header, salt: record.salt }).toEqual({ hash, header, salt })
  let entry: unknown = null
  try {
    entry = sense.entry_text === null ? null : JSON.parse(sense.entry_text)
  } catch {
    expect(() => record.entry).toThrow(expect.objectContaining({ code: 'damaged' }))
    return
  }
  if (!record.isEncrypted) expect(record.entry).toEqual(entry)
}

describe('a line whose values are only found', () => {
  test('is found to be a record, whole, withheld or signed', () => {
    const scan = new LineScan()
    for (const line of LINES) {
      expect(scan.scan(line)).toBe(true)
      const { seq, type } = readSense(line).header
      expect(scan.seq).toBe(seq)
      expect(line.toString('utf8', scan.typeStart, scan.typeEnd)).toBe(type)
      expect(line.toString('utf8', HASH_START, HASH_END)).toBe(readSense(line).hash)
      expectSame(line)
      // In the middle of other memory, as lines lie in a block.
      const block = Buffer.concat([Buffer.from('{"hash":"'), line, Buffer.from('\n{"hash":"')])
      expectSame(block.subarray(9, 9 + line.length))
      expectSame(new Uint8Array(line))
    }
  })

  test('says nothing else than one that is parsed, whichever bytes are changed, lost or put in', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...LINES),
        fc.array(fc.record({ at: fc.nat(4000), lost: fc.nat(3), put: fc.uint8Array({ maxLength: 3 }), end: fc.boolean() }), {
          minLength: 1,
          maxLength: 2,
        }),
        (line, changes) => {
          let bytes = line
          for (const { at, lost, put, end } of changes) {
            const place = end ? Math.max(0, bytes.length - (at % 60)) : at % bytes.length
            bytes = Buffer.concat([bytes.subarray(0, place), put, bytes.subarray(place + lost)])
          }
          expectSame(bytes)
          // What it takes for a record is one.
          if (new LineScan().scan(bytes) && isUtf8(bytes)) expect(senseOf(bytes)).not.toBeNull()
        },
      ),
      { numRuns: 1000 },
    )
  })

  test('of each single byte changed', () => {
    for (const line of LINES.slice(-3)) {
      for (let at = 0; at < line.length; at++) {
        for (const byte of [0x00, 0x22, 0x2c, 0x5c, 0x7d, 0xff]) {
          const bytes = Buffer.from(line)
          bytes[at] = byte
          expect(recordOf(bytes) === null).toBe(senseOf(bytes) === null)
        }
      }
    }
  })
})
