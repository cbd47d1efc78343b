import { createPublicKey, verify } from 'node:crypto'
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { defaultKeyPath, formatKeyFile, keyOfNewLedger, parseKeyFile, readKeyFile, signerFromSeed } from '../../src/ledger/keys.ts'
import { systemRandom } from '../../src/ledger/random.ts'
import { AuditLedger } from '../../src/index.ts'
import { tempDir } from '../helpers/temp.ts'

const SEED = Uint8Array.from({ length: 32 }, (_, i) => i)

test('the notation is that of signed notes', () => {
  // The published example of C2SP signed-note: name, key id and public key belong together by this rule.
  const { verifierKey } = signerFromSeed('example.com/foo', SEED)
  expect(verifierKey).toMatch(/^example\.com\/foo\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}$/)
  const parsed = parseKeyFile(formatKeyFile('example.com/foo', SEED), 'f')
  expect(parsed.verifierKey).toBe(verifierKey)
})

test('what it signs, node:crypto verifies with the verifier key alone', async () => {
  const signer = signerFromSeed('o', SEED)
  const message = Buffer.from('a message')
  const signature = await signer.sign(message)
  const raw = Buffer.from(signer.verifierKey.split('+').slice(2).join('+'), 'base64').subarray(1)
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: raw.toString('base64url') }, format: 'jwk' })
  expect(verify(null, message, key, signature)).toBe(true)
  expect(verify(null, Buffer.from('another'), key, signature)).toBe(false)
})

test('a new ledger makes its key where the configuration is, for the owner alone', async () => {
  const ledger = await AuditLedger.open('memory:', { origin: 'example.com/a b'.replace(' ', ''), key: join(tempDir(), 'deep', 'k.key') })
  expect(ledger.keyFile).not.toBeNull()
  expect(statSync(ledger.keyFile as string).mode & 0o777).toBe(0o600)
  const record = await ledger.at(0)
  expect(record?.entry?.['keys']).toEqual([ledger.verifierKey])
  expect((await readKeyFile(ledger.keyFile as string)).verifierKey).toBe(ledger.verifierKey)
  await ledger.close()
})

test('the default place is under XDG_CONFIG_HOME', async () => {
  const { signer, path } = await keyOfNewLedger('example.com/x', systemRandom(), undefined)
  expect(path).toBe(defaultKeyPath('example.com/x', signer.verifierKey))
  expect(path.startsWith(process.env['XDG_CONFIG_HOME'] as string)).toBe(true)
})

test('a key file that is there is used, never overwritten', async () => {
  const path = join(tempDir(), 'k.key')
  writeFileSync(path, formatKeyFile('o', SEED))
  const ledger = await AuditLedger.open('memory:', { origin: 'o', key: path })
  expect(ledger.verifierKey).toBe(signerFromSeed('o', SEED).verifierKey)
  expect(readFileSync(path, 'utf8')).toBe(formatKeyFile('o', SEED))
  await expect(AuditLedger.open('memory:', { origin: 'other', key: path })).rejects.toMatchObject({ code: 'key_error' })
})

test.each([
  ['empty', ''],
  ['junk', 'junk\n'],
  ['another key id', formatKeyFile('o', SEED).replace(/\+[0-9a-f]{8}\+/, '+00000000+')],
  ['another algorithm', formatKeyFile('o', SEED).replace(/\+[^+]*$/, `+${Buffer.concat([Uint8Array.of(2), SEED]).toString('base64')}\n`)],
  ['cut', formatKeyFile('o', SEED).slice(0, -6)],
])('a key file that is %s is refused', async (_, text) => {
  const path = join(tempDir(), 'k.key')
  writeFileSync(path, text)
  chmodSync(path, 0o600)
  await expect(readKeyFile(path)).rejects.toMatchObject({ code: 'key_error' })
})
