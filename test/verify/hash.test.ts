import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { seededRandom } from '../../src/testing/index.ts'
import { headerHash, sha256 } from '../../src/verify/hash.ts'

// FIPS 180-4 examples (NIST, "SHA256.pdf") and the NESSIE vectors.
const VECTORS: readonly [message: string, digest: string][] = [
  ['', 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
  ['abc', 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'],
  ['abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq', '248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1'],
  [
    'abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu',
    'cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1',
  ],
  ['a'.repeat(1_000_000), 'cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0'],
]

test.each(VECTORS)('sha256 of a published vector: %#', (message, digest) => {
  expect(sha256(Buffer.from(message))).toBe(digest)
})

test('sha256 agrees with node:crypto on every length around the block borders', () => {
  const bytes = seededRandom(1).bytes(400)
  for (let length = 0; length <= bytes.length; length++) {
    const part = bytes.subarray(0, length)
    expect(sha256(part), `${length} bytes`).toBe(createHash('sha256').update(part).digest('hex'))
  }
})

test('a record is hashed as a leaf: 0x00 before the header', () => {
  const header = Buffer.from('{"action":"a"}')
  const leaf = createHash('sha256')
    .update(Buffer.concat([Buffer.of(0), header]))
    .digest('hex')
  expect(headerHash(sha256, header)).toBe(leaf)
  expect(headerHash(sha256, header)).not.toBe(sha256(header))
})
