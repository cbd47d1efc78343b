import { chmodSync, existsSync, linkSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { AuditLedger, Pseudonyms } from '../../src/index.ts'
import { tempDir } from '../helpers/temp.ts'

const KEY = Uint8Array.from({ length: 32 }, (_, i) => i)

// Computed by Python's hmac and base64 modules.
test.each([
  ['person', 'ann@example.org', 'person-ek2uf2twzpi4uory7ptbc4x7og'],
  ['person', 'Grüße\n', 'person-zinvx6j72arejkrj2e2abaavsr'],
  ['customer', 'ann@example.org', 'customer-vsovzamo36rybzgtx6cfy7pyk4'],
])('the pseudonym of a %s %j', (kind, name, pseudonym) => {
  expect(Pseudonyms.fromKey(KEY, { kind }).of(name)).toBe(pseudonym)
})

test('the same name has the same pseudonym, another name or key another one', () => {
  const people = Pseudonyms.fromKey(KEY)
  const others = Pseudonyms.fromKey(KEY.map((byte) => byte ^ 1))
  const name = fc.string({ minLength: 1, unit: 'grapheme' })
  fc.assert(
    fc.property(name, name, (a, b) => {
      expect(people.of(a)).toMatch(/^person-[a-z2-7]{26}$/)
      expect(people.of(a) === people.of(b)).toBe(a === b)
      expect(others.of(a)).not.toBe(people.of(a))
    }),
  )
})

test.each([[''], ['\ud800'], [7], [null]])('%j is no name', (name) => {
  expect(() => Pseudonyms.fromKey(KEY).of(name as string)).toThrow(TypeError)
})

test('misuse', async () => {
  expect(() => Pseudonyms.fromKey(KEY.subarray(1))).toThrow(RangeError)
  expect(() => Pseudonyms.fromKey('key' as never)).toThrow(TypeError)
  expect(() => Pseudonyms.fromKey(KEY, { kind: 'a\nb' })).toThrow(RangeError)
  const path = join(tempDir(), 'people.key')
  await expect(Pseudonyms.open(path, { create: true, kind: 'Person' })).rejects.toThrow(RangeError)
  expect(existsSync(path), 'a key file of a call that was refused').toBe(false)
})

describe('the key file', () => {
  test('is made once, for its owner alone, and gives the same pseudonyms again', async () => {
    const path = join(tempDir(), 'keys', 'people.key')
    await expect(Pseudonyms.open(path)).rejects.toMatchObject({ code: 'key_error' })
    const first = await Pseudonyms.open(path, { create: true })
    expect(statSync(path).mode & 0o777).toBe(0o600)
    const again = await Pseudonyms.open(path, { create: true })
    expect(again.of('ann')).toBe(first.of('ann'))
    expect((await Pseudonyms.open(join(tempDir(), 'other.key'), { create: true })).of('ann')).not.toBe(first.of('ann'))
  })

  test('with any one character changed is refused', async () => {
    const path = join(tempDir(), 'people.key')
    await Pseudonyms.open(path, { create: true })
    const text = readFileSync(path, 'utf8')
    for (let at = 0; at < text.length - 1; at++) {
      writeFileSync(path, text.slice(0, at) + (text[at] === 'A' ? 'B' : 'A') + text.slice(at + 1))
      await expect(Pseudonyms.open(path), `character ${at}`).rejects.toMatchObject({ code: 'key_error' })
    }
  })

  test.each(['', 'PSEUDONYM+KEY+\n', 'x'.repeat(100_000)])('%j is none', async (text) => {
    const path = join(tempDir(), 'people.key')
    writeFileSync(path, text)
    await expect(Pseudonyms.open(path, { create: true })).rejects.toMatchObject({ code: 'key_error' })
    expect(readFileSync(path, 'utf8')).toBe(text)
  })
})

describe('erasing the key', () => {
  test('overwrites the file and takes it away; nobody gets a pseudonym from it any more', async () => {
    const folder = tempDir()
    const path = join(folder, 'people.key')
    const people = await Pseudonyms.open(path, { create: true })
    // Another name of the same bytes on the disk shows what became of them.
    linkSync(path, join(folder, 'witness'))
    await people.erase()
    expect(readdirSync(folder)).toEqual(['witness'])
    expect(readFileSync(join(folder, 'witness')).every((byte) => byte === 0)).toBe(true)
    expect(() => people.of('ann')).toThrow(expect.objectContaining({ code: 'key_error' }))
    await people.erase()
    await expect(Pseudonyms.open(path)).rejects.toMatchObject({ code: 'key_error' })
  })

  test.skipIf(process.getuid?.() === 0 || process.platform === 'win32')('that fails says so, and the key is still there', async () => {
    const path = join(tempDir(), 'people.key')
    const people = await Pseudonyms.open(path, { create: true })
    chmodSync(path, 0o400)
    await expect(people.erase()).rejects.toMatchObject({ code: 'key_error' })
    expect(people.of('ann')).toBe((await Pseudonyms.open(path)).of('ann'))
  })
})

test('with the key a person’s records are found again; the ledger has no byte of the name', async () => {
  const folder = tempDir()
  const people = await Pseudonyms.open(join(folder, 'people.key'), { create: true })
  const ledgerFolder = join(folder, 'audit')
  await using ledger = await AuditLedger.open(ledgerFolder, { key: join(folder, 'ledger.key'), stateFolder: join(folder, 'state') })
  for (const name of ['ann@example.org', 'bob@example.org', 'ann@example.org'])
    await ledger.append('refunds', { type: 'RefundApproved', actor: people.of(name), data: { cents: 1 } })
  await ledger.flush()
  expect(await ledger.count({ actor: people.of('ann@example.org') })).toBe(2)
  for (const name of readdirSync(ledgerFolder, { recursive: true, encoding: 'utf8' })) {
    const file = join(ledgerFolder, name)
    if (statSync(file).isFile()) expect(readFileSync(file).includes('example.org'), name).toBe(false)
  }
})
