import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatLine, isSalt, readLine, splitLine } from '../../src/verify/record.ts'
import { signaturesFault } from '../../src/verify/signatures.ts'
import { honestLedger, makeRecord } from '../helpers/make-lines.ts'

const slice = (bytes: Buffer, start: number, end: number): string => bytes.subarray(start, end).toString()

describe('formatLine, splitLine and readLine', () => {
  test('undo each other on whole, withheld and signed lines', () => {
    const signatures_text = `[{"key":"0a1b2c3d","alg":"ed25519","sig":"${Buffer.alloc(64, 7).toString('base64')}"}]`
    const signed = { signers: ['0a1b2c3d'], signatures_text }
    const made = [
      ...honestLedger(),
      makeRecord(1, 'ab'.repeat(32), 0, signed),
      makeRecord(1, 'ab'.repeat(32), 0, { ...signed, withheld: true }),
    ]
    for (const { line, hash, header, header_text, entry_text, salt } of made) {
      const read = readLine(Buffer.from(line))
      const withheld = line.endsWith('"entry":null}')
      expect(formatLine(read)).toBe(line)
      expect(read).toMatchObject({ hash, header, header_text, salt: withheld ? null : salt, entry_text: withheld ? null : entry_text })
      expect(read.signatures_text).toBe('signers' in header ? signatures_text : null)
    }
  })

  test('splitLine gives the slices that are hashed, also within other bytes', () => {
    const { line, header_text, entry_text, salt, hash } = makeRecord(3, 'ab'.repeat(32), 0, { entry: { a: '},"salt":"', b: '},"e' } })
    const bytes = Buffer.from(`abc\n${line}\nxyz`)
    const slices = splitLine(bytes, 4, 4 + Buffer.byteLength(line))!
    expect(slices.header_start).toBe(4 + 84)
    expect(slice(bytes, slices.hash_start, slices.hash_end)).toBe(hash)
    expect(slice(bytes, slices.header_start, slices.header_end)).toBe(header_text)
    expect(slice(bytes, slices.salt_start, slices.salt_end)).toBe(salt)
    expect(slice(bytes, slices.entry_start, slices.entry_end)).toBe(entry_text)
    expect(slice(bytes, slices.commitment_start, slices.entry_end)).toBe(`"salt":"${salt}","entry":${entry_text}`)
    expect(slices.signatures_start).toBe(-1)
  })

  test.each([
    ['', 'nothing'],
    ['{}', 'an empty object'],
    ['{"hash":"ab","header":{}}', 'a short hash'],
  ])('%j is no line: %s', (text) => {
    expect(splitLine(Buffer.from(text))).toBe(null)
    expect(() => readLine(Buffer.from(text))).toThrow(TypeError)
  })

  test('a line cut anywhere, or with something behind, is none', () => {
    const bytes = Buffer.from(makeRecord(1, 'ab'.repeat(32), 0, { entry: { a: 1 } }).line)
    for (let end = 0; end < bytes.length; end++) expect(() => readLine(bytes.subarray(0, end))).toThrow(TypeError)
    expect(() => readLine(Buffer.concat([bytes, Buffer.from(' ')]))).toThrow(TypeError)
  })

  test('readLine refuses bytes that are not UTF-8 and headers that break a rule', () => {
    const { line } = makeRecord(1, 'ab'.repeat(32), 0, { actor: 'XX', entry: { a: 'YY' } })
    expect(() => readLine(Buffer.from(line.replace('YY', '\xc0\x80'), 'latin1'))).toThrow(TypeError)
    expect(() => readLine(Buffer.from(line.replace('"actor":"XX"', '"actor":""')))).toThrow(TypeError)
  })
})

describe('isSalt', () => {
  test('takes 16 bytes in base64url, and no other spelling of them', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.integer({ min: 1, max: 15 }), (bytes, spare) => {
        const salt = Buffer.from(bytes).toString('base64url')
        expect(isSalt(salt)).toBe(true)
        const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
        const other = salt.slice(0, -1) + digits[digits.indexOf(salt.at(-1)!) + spare]
        expect(Buffer.from(other, 'base64url')).toEqual(Buffer.from(bytes))
        expect(isSalt(other)).toBe(false)
      }),
    )
  })

  test.each(['', 'A'.repeat(21), 'A'.repeat(23), `${'A'.repeat(21)}=`, `+${'A'.repeat(21)}`, `${'A'.repeat(22)}\n`])(
    'refuses %j',
    (text) => {
      expect(isSalt(text)).toBe(false)
    },
  )
})

describe('signaturesFault', () => {
  const ed = Buffer.alloc(64, 7).toString('base64')
  const rsa = Buffer.alloc(256, 7).toString('base64')
  const one = `{"key":"0a1b2c3d","alg":"ed25519","sig":"${ed}"}`
  const two = `{"key":"1a1b2c3d","alg":"rsa-pss-sha256","sig":"${rsa}"}`

  test('takes one signature of each signer, in their order', () => {
    expect(signaturesFault(`[${one}]`, ['0a1b2c3d'])).toBe(null)
    expect(signaturesFault(`[${one},${two}]`, ['0a1b2c3d', '1a1b2c3d'])).toBe(null)
  })

  test.each<[name: string, text: string, signers: string[]]>([
    ['one missing', `[${one}]`, ['0a1b2c3d', '1a1b2c3d']],
    ['one too many', `[${one},${two}]`, ['0a1b2c3d']],
    ['another order', `[${two},${one}]`, ['0a1b2c3d', '1a1b2c3d']],
    ['another key', `[${one}]`, ['0a1b2c3e']],
    ['none', '[]', ['0a1b2c3d']],
    ['a capital digit', `[${one.replace('0a1b', '0A1b')}]`, ['0A1b2c3d']],
    ['an unknown algorithm', `[${one.replace('ed25519', 'ed448')}]`, ['0a1b2c3d']],
    ['members in another order', `[{"alg":"ed25519","key":"0a1b2c3d","sig":"${ed}"}]`, ['0a1b2c3d']],
    ['a member more', `[${one.replace('}', ',"x":1}')}]`, ['0a1b2c3d']],
    ['no padding', `[${one.replace('==', '')}]`, ['0a1b2c3d']],
    ['spare bits', `[${one.replace(ed, `${ed.slice(0, 85)}x==`)}]`, ['0a1b2c3d']],
    ['base64url', `[${one.replace(ed, Buffer.alloc(64, 255).toString('base64').replaceAll('/', '_'))}]`, ['0a1b2c3d']],
    ['a short Ed25519 signature', `[${one.replace(ed, Buffer.alloc(63, 7).toString('base64'))}]`, ['0a1b2c3d']],
    ['a short RSA signature', `[${two.replace(rsa, Buffer.alloc(128, 7).toString('base64'))}]`, ['1a1b2c3d']],
    ['white space', `[${one} ]`, ['0a1b2c3d']],
    ['something behind', `[${one}]]`, ['0a1b2c3d']],
  ])('refuses %s', (_, text, signers) => expect(signaturesFault(text, signers)).toEqual(expect.any(String)))
})
