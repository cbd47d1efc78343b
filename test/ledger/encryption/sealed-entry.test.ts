import fc from 'fast-check'
import { hkdfSync, randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { LedgerError } from '../../../src/index.ts'
import { boundTo, keyIdOf, openSealedEntry, sealEntry } from '../../../src/ledger/encryption/sealed-entry.ts'
import type { DataKey } from '../../../src/ledger/encryption/sealed-entry.ts'
import { LIMITS } from '../../../src/ledger/limits.ts'
import { systemRandom } from '../../../src/ledger/random.ts'
import { canonicalize } from '../../../src/verify/canonical.ts'
import { scale } from '../../helpers/scale.ts'

const random = systemRandom()
const KEY: DataKey = { id: 'k-1', bytes: randomBytes(32) }
const BOUND = boundTo('example.com/sealed', 'run-1')

const seal = (plain: string, key = KEY, bound = BOUND): string => sealEntry(plain, key, bound, random)

/** What it opens to, or why it does not. */
function opened(sealed: string, key = KEY, bound = BOUND): unknown {
  try {
    return openSealedEntry(sealed, key, bound)
  } catch (error) {
    if (!(error instanceof LedgerError)) throw error
    return [error.code, error.details['reason']]
  }
}

interface Parts {
  alg: string
  ciphertext: string
  iv: string
  kc: string
  key: string
}

function changed(sealed: string, change: (parts: Parts) => void): string {
  const entry = JSON.parse(sealed) as { $enc: Parts }
  change(entry.$enc)
  return JSON.stringify(entry)
}

function flipped(base64url: string, bit: number): string {
  const bytes = Buffer.from(base64url, 'base64url')
  const at = bit % (bytes.length * 8)
  bytes[at >> 3]! ^= 1 << (at & 7)
  return bytes.toString('base64url')
}

const TEXT = fc.string({ unit: 'grapheme' })
const VALUE = fc.oneof(TEXT, fc.integer(), fc.boolean(), fc.constant(null), fc.array(TEXT), fc.dictionary(TEXT, fc.array(fc.integer())))

test('any entry opens to itself, is canonical, and says nothing of what it holds', () => {
  fc.assert(
    fc.property(fc.dictionary(TEXT, VALUE), fc.string(), (entry, run_id) => {
      const plain = canonicalize(entry)
      const bound = boundTo('example.com/sealed', run_id)
      const sealed = seal(plain, KEY, bound)
      expect(opened(sealed, KEY, bound)).toBe(plain)
      expect(canonicalize(JSON.parse(sealed))).toBe(sealed)
      expect(keyIdOf(sealed)).toBe(KEY.id)
      expect(seal(plain, KEY, bound)).not.toBe(sealed)
    }),
    { numRuns: scale(100, 5000) },
  )
})

test('one changed bit of ciphertext, iv or commitment opens nothing', () => {
  fc.assert(
    fc.property(
      fc.string({ maxLength: 100 }),
      fc.nat(),
      fc.constantFrom('ciphertext' as const, 'iv' as const, 'kc' as const),
      (text, bit, member) => {
        const sealed = seal(JSON.stringify({ text }))
        const found = opened(changed(sealed, (parts) => (parts[member] = flipped(parts[member], bit))))
        expect(found).toEqual(member === 'ciphertext' ? ['damaged', 'not_authentic'] : ['key_error', 'wrong_key'])
      },
    ),
    { numRuns: scale(300, 20_000) },
  )
})

test('a ciphertext opens in its own place alone', () => {
  const [one, other] = [seal('{"a":1}'), seal('{"a":2}')]
  expect(opened(one, KEY, boundTo('example.com/sealed', 'run-2'))).toEqual(['damaged', 'not_authentic'])
  expect(opened(one, KEY, boundTo('example.com/other', 'run-1'))).toEqual(['damaged', 'not_authentic'])
  const swapped = changed(one, (parts) => (parts.ciphertext = (JSON.parse(other) as { $enc: Parts }).$enc.ciphertext))
  expect(opened(swapped)).toEqual(['damaged', 'not_authentic'])
})

test('another key of the same id is told by the commitment', () => {
  expect(opened(seal('{}'), { id: KEY.id, bytes: randomBytes(32) })).toEqual(['key_error', 'wrong_key'])
  const kc = (JSON.parse(seal('{}')) as { $enc: Parts }).$enc.kc
  expect(opened(changed(seal('{}'), (parts) => (parts.kc = kc)))).toEqual(['key_error', 'wrong_key'])
})

test.each<[string, (sealed: string) => string]>([
  ['another algorithm', (sealed) => changed(sealed, (parts) => (parts.alg = 'A128GCM'))],
  ['another key id', (sealed) => changed(sealed, (parts) => (parts.key = 'k-2'))],
  ['a member more', (sealed) => changed(sealed, (parts) => Object.assign(parts, { more: 1 }))],
  ['no tag', (sealed) => changed(sealed, (parts) => (parts.ciphertext = 'AAAA'))],
  ['an iv of another length', (sealed) => changed(sealed, (parts) => (parts.iv = 'A'.repeat(20)))],
  // 43 digits are 32 bytes and two spare bits, which canonical base64url has zero.
  [
    'another spelling of the same bytes',
    (sealed) => changed(sealed, (parts) => (parts.kc = parts.kc.slice(0, -1) + String.fromCharCode(parts.kc.charCodeAt(42) + 1))),
  ],
  ['other members beside it', (sealed) => sealed.replace(/\}$/, ',"a":1}')],
  ['nothing of it', () => '{"$enc":{}}'],
])('%s is malformed', (_, change) => {
  const found = opened(change(seal('{"a":1}')))
  expect(found).toEqual(['damaged', 'malformed'])
})

test('what grows beyond the limit of an entry is refused', () => {
  const fits = JSON.stringify({ a: 'x'.repeat(Math.floor(LIMITS.entry_bytes_max * 0.74)) })
  expect(opened(seal(fits))).toBe(fits)
  const error = (() => {
    try {
      return seal(JSON.stringify({ a: 'x'.repeat(Math.floor(LIMITS.entry_bytes_max * 0.76)) }))
    } catch (thrown) {
      return thrown
    }
  })()
  expect(error).toMatchObject({ code: 'too_large' })
})

// RFC 5869, appendix A.
test.each([
  [
    '0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b',
    '000102030405060708090a0b0c',
    'f0f1f2f3f4f5f6f7f8f9',
    42,
    '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865',
  ],
  [
    '0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b',
    '',
    '',
    42,
    '8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8',
  ],
])('HKDF-SHA-256 of this runtime is that of RFC 5869', (secret, salt, info, length, expected) => {
  const [ikm, saltBytes, infoBytes] = [secret, salt, info].map((hex) => Buffer.from(hex, 'hex')) as [Buffer, Buffer, Buffer]
  expect(Buffer.from(hkdfSync('sha256', ikm, saltBytes, infoBytes, length)).toString('hex')).toBe(expected)
})
