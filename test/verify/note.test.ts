import { createPublicKey, verify } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { nodeHashing } from '../../src/ledger/hashing.ts'
import { signerFromSeed } from '../../src/ledger/keys.ts'
import { formatBase64, parseBase64 } from '../../src/verify/base64.ts'
import { formatCheckpoint, parseCheckpoint } from '../../src/verify/checkpoint.ts'
import type { Checkpoint } from '../../src/verify/checkpoint.ts'
import { formatNote, formatVerifierKey, isKeyName, openNote, parseNote, parseVerifierKey } from '../../src/verify/note.ts'
import type { SignedNote, VerifierKey } from '../../src/verify/note.ts'
import { TREE_SIZE_MAX } from '../../src/verify/proof.ts'
import { emptyRoot } from '../../src/verify/tree.ts'

const { sha256 } = nodeHashing
const SPKI = Buffer.from('302a300506032b6570032100', 'hex')
const ed25519 = (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean =>
  verify(null, message, createPublicKey({ key: Buffer.concat([SPKI, publicKey]), format: 'der', type: 'spki' }), signature)

function made<T>(value: T | string): T {
  if (typeof value === 'string') throw new Error(value)
  return value
}

/** Of C2SP signed-note. */
const SPEC_KEY = 'example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k'
const SPEC_NOTE = `This is an example message.

\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
`

test("the specification's example", async () => {
  const key = made(parseVerifierKey(sha256, SPEC_KEY))
  expect(formatVerifierKey(key)).toBe(SPEC_KEY)
  const note = made(parseNote(Buffer.from(SPEC_NOTE)))
  expect(note.text).toBe('This is an example message.\n')
  expect(formatNote(note)).toBe(SPEC_NOTE)
  expect(made(await openNote(note, [key], ed25519)).verified.map((one) => one.key)).toEqual([key])
  expect(made(await openNote(note, [], ed25519)).verified).toEqual([])
})

test('every bit of a note, changed, is found or is not signed by anybody known', async () => {
  const key = made(parseVerifierKey(sha256, SPEC_KEY))
  const bytes = Buffer.from(SPEC_NOTE)
  for (let at = 0; at < bytes.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const harmed = Buffer.from(bytes)
      harmed[at]! ^= 1 << bit
      const note = parseNote(harmed)
      const opened = typeof note === 'string' ? note : await openNote(note, [key], ed25519)
      expect(typeof opened === 'string' || opened.verified.length === 0, `byte ${at}, bit ${bit}`).toBe(true)
    }
  }
})

test('our own signer and notes fit each other; a wrong signature spoils a note that somebody else signed', async () => {
  const signers = [1, 2].map((seed) => signerFromSeed('example.com/log', Buffer.alloc(32, seed)))
  const keys = signers.map(({ verifierKey }) => made(parseVerifierKey(sha256, verifierKey)))
  const text = 'a\n\nb\n'
  const signatures = await Promise.all(
    signers.map(async (signer, i) => ({ name: keys[i]!.name, id: keys[i]!.id, bytes: await signer.sign(Buffer.from(text)) })),
  )
  const note = made(parseNote(Buffer.from(formatNote({ text, signatures }))))
  expect(note.text).toBe(text)
  expect(made(await openNote(note, keys, ed25519)).verified.length).toBe(2)
  expect(made(await openNote(note, [keys[1]!], ed25519)).verified.length).toBe(1)
  const swapped: SignedNote = { text, signatures: [signatures[0]!, { ...signatures[1]!, bytes: signatures[0]!.bytes }] }
  expect(await openNote(swapped, keys, ed25519)).toContain('is wrong')
  expect(await openNote({ text, signatures: [signatures[0]!, signatures[0]!] }, keys, ed25519)).toContain('two signatures')
  // The same id under another name is somebody else.
  const other: VerifierKey = { ...keys[0]!, name: 'example.com/other' }
  expect(made(await openNote(note, [other], ed25519)).verified).toEqual([])
})

test.each([
  ['no signature', 'text\n\n'],
  ['no empty line', 'text\n\u2014 example.com/foo AAAAAAAA\n'],
  ['no line feed at the end', SPEC_NOTE.slice(0, -1)],
  ['a carriage return', SPEC_NOTE.replaceAll('\n', '\r\n')],
  ['a tab', SPEC_NOTE.replace('is an', 'is\tan')],
  ['another dash', SPEC_NOTE.replace('\u2014', '\u2013')],
  ['two spaces', SPEC_NOTE.replace('foo Uw', 'foo  Uw')],
  ['a third word', SPEC_NOTE.replace('aQM=', 'aQM= x')],
  ['a plus in the name', SPEC_NOTE.replace('example.com/foo', 'example+com')],
  ['base64 without padding', SPEC_NOTE.replace('aQM=', 'aQM')],
  ['spare bits', SPEC_NOTE.replace('aQM=', 'aQN=')],
  ['the key id alone', 'text\n\n\u2014 example.com/foo AAAAAA==\n'],
  ['more signatures than anybody needs', `text\n\n${'\u2014 example.com/foo AAAAAAAA\n'.repeat(101)}`],
])('no note: %s', (_, text) => {
  expect(typeof parseNote(Buffer.from(text))).toBe('string')
})

test('no note: bytes that are no UTF-8', () => {
  expect(parseNote(Buffer.concat([Buffer.of(0xff), Buffer.from(SPEC_NOTE)]))).toContain('UTF-8')
})

test.each([
  ['', '<name>'],
  ['example.com/foo', '<name>'],
  [SPEC_KEY.replace('530d903a', '530D903A'), '<name>'],
  [SPEC_KEY.replace('530d903a', '530d903b'), 'key id'],
  [SPEC_KEY.replace('example.com/foo', 'example.com/fop'), 'key id'],
  [SPEC_KEY.replace('example.com', 'example com'), 'white space'],
  [SPEC_KEY.slice(0, -4), '32 bytes'],
  [`${SPEC_KEY}\n`, 'base64'],
])('no verifier key: %s', (text, why) => {
  expect(parseVerifierKey(sha256, text)).toContain(why)
})

test('names of keys', () => {
  for (const name of ['a', 'example.com/log', '\u00fcber']) expect(isKeyName(name)).toBe(true)
  for (const name of ['', 'a b', 'a+b', 'a\u00a0b', 'a\u2028b', 'a\u0085b', '\ud800', 'a\u0001']) expect(isKeyName(name)).toBe(false)
})

describe('base64', () => {
  test('is what Buffer writes, and reads back', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        const text = formatBase64(bytes)
        expect(text).toBe(Buffer.from(bytes).toString('base64'))
        expect(parseBase64(text)).toEqual(bytes)
      }),
    )
  })

  test('has one spelling: whatever is read is written so', () => {
    const near = fc.string({ unit: fc.constantFrom(...'AQgwZ9+/-_= \n\u00c1'), maxLength: 9 })
    fc.assert(
      fc.property(near, (text) => {
        const bytes = parseBase64(text)
        if (bytes !== null) expect(formatBase64(bytes)).toBe(text)
        else expect(Buffer.from(text, 'base64').toString('base64') === text).toBe(false)
      }),
      { numRuns: 5000 },
    )
  })
})

describe('checkpoints', () => {
  test('mirror each other', () => {
    const any = fc.record({
      origin: fc.stringMatching(/^[!-*,-~]{1,40}$/),
      size: fc.bigInt({ min: 0n, max: TREE_SIZE_MAX }),
      root: fc.uint8Array({ minLength: 32, maxLength: 32 }),
      extensions: fc.array(fc.stringMatching(/^[!-~]{1,20}$/), { maxLength: 3 }),
    })
    fc.assert(
      fc.property(any, (checkpoint: Checkpoint) => {
        expect(parseCheckpoint(formatCheckpoint(checkpoint))).toEqual(checkpoint)
      }),
    )
  })

  const ROOT = formatBase64(emptyRoot(sha256))

  test("the empty tree's root", () => {
    expect(ROOT).toBe('47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=')
  })

  test.each([
    ['two lines', 'a\n1\n'],
    ['an empty origin', `\n1\n${ROOT}\n`],
    ['an empty line', `a\n1\n\n${ROOT}\n`],
    ['a leading zero', `a\n01\n${ROOT}\n`],
    ['a sign', `a\n+1\n${ROOT}\n`],
    ['hex', `a\n0x1\n${ROOT}\n`],
    ['no size', `a\n\n${ROOT}\n`],
    ['2^63', `a\n${2n ** 63n}\n${ROOT}\n`],
    ['a root of 31 bytes', `a\n1\n${formatBase64(new Uint8Array(31))}\n`],
    ['no line feed at the end', `a\n1\n${ROOT}`],
  ])('no checkpoint: %s', (_, text) => {
    expect(typeof parseCheckpoint(text)).toBe('string')
  })
})

const LOG = join(import.meta.dirname, '../../../shared/data/tlog/tessera-log')
const there = existsSync(LOG)
if (!there) console.log(`skipped: the published log is not there (${LOG})`)

test.skipIf(!there)('the checkpoints of a published log verify', async () => {
  const key = made(parseVerifierKey(sha256, 'example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx'))
  const names = readdirSync(LOG).filter((name) => name.startsWith('checkpoint'))
  expect(names.length).toBeGreaterThan(10)
  for (const name of names) {
    const note = made(parseNote(readFileSync(join(LOG, name))))
    expect(made(await openNote(note, [key], ed25519)).verified.length, name).toBe(1)
    const { origin, size } = made(parseCheckpoint(note.text))
    expect(origin).toBe('example.com/log/testdata')
    if (name.includes('.')) expect(size).toBe(BigInt(name.split('.')[1]!))
  }
})
