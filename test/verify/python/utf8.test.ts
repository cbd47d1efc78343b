/** What is not UTF-8, and where Python's decoder notices. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { utf8FaultAt } from '../../../src/verify/python/utf8.ts'
import { isUtf8 } from '../../../src/verify/text.ts'
import { scale } from '../../helpers/scale.ts'

/** Bytes at the bounds of what each place of a character may hold. */
const telling = [
  0x00, 0x61, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4,
  0xf5, 0xff,
]

test('a fault is found where the platform’s decoder finds one', () => {
  const last = [0x61, 0x80, 0xbf, 0xc2]
  for (const [a, b, c, d] of telling.flatMap((a) =>
    telling.flatMap((b) => telling.flatMap((c) => last.map((d) => [a, b, c, d] as const))),
  )) {
    const bytes = Uint8Array.of(a, b, c, d)
    if ((utf8FaultAt(bytes) === -1) !== isUtf8(bytes)) expect.fail(`${bytes}: ${utf8FaultAt(bytes)}`)
  }
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.constantFrom(...telling), fc.nat(255))), (list) => {
      const bytes = Uint8Array.from(list)
      const at = utf8FaultAt(bytes)
      expect(at === -1).toBe(isUtf8(bytes))
    }),
    { numRuns: scale(1_000, 50_000) },
  )
})

test.each([
  [[0x61, 0xff], 1],
  [[0x61, 0xc3], 2],
  [[0xc3, 0x61], 1],
  [[0xe2, 0x82], 2],
  [[0xe0, 0x80, 0x80], 1],
  [[0xf0, 0x9f, 0x98, 0x61], 3],
  [[0xf4, 0x90, 0x80, 0x80], 1],
  // A surrogate, at whose third byte only CPython gives up.
  [[0xed, 0xa0, 0x80], 2],
  [[0xed, 0x61], 1],
  [[0xc3, 0xa9, 0xf0, 0x9f, 0x98, 0x80], -1],
])('%j: at %i', (bytes, at) => {
  expect(utf8FaultAt(Uint8Array.from(bytes))).toBe(at)
})
