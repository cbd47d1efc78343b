/**
 * OpenSSL judges the signatures of our records: from the exported lines alone, by the rules of docs/format.md. Where
 * there is no openssl of version 3 these tests are skipped.
 */
import { spawnSync } from 'node:child_process'
import { createHash, generateKeyPairSync } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { AuditLedger, recordSignerFromKey } from '../../src/index.ts'
import { tempDir } from '../helpers/temp.ts'

const version = spawnSync('openssl', ['version'], { encoding: 'utf8' })
const isThere = version.status === 0 && /^OpenSSL (?:[3-9]|\d\d)\./.test(version.stdout)
if (!isThere) console.log('skipped, since openssl 3 is not there')

const ORIGIN = 'example.com/judged'
const OF: { readonly [alg: string]: readonly string[] } = {
  ed25519: ['-rawin'],
  'rsa-pss-sha256': [
    '-rawin',
    '-digest',
    'sha256',
    ...['rsa_padding_mode:pss', 'rsa_pss_saltlen:32', 'rsa_mgf1_md:sha256'].flatMap((o) => ['-pkeyopt', o]),
  ],
}

interface Signed {
  readonly alg: string
  readonly message: Buffer
  readonly signature: Buffer
}

/** True where OpenSSL accepts it. */
function accepts(folder: string, publicKey: string, { alg, message, signature }: Signed): boolean {
  const [key, input, sig] = ['key.pem', 'message', 'signature'].map((name) => join(folder, name)) as [string, string, string]
  writeFileSync(key, `-----BEGIN PUBLIC KEY-----\n${publicKey.replace(/.{64}/g, '$&\n')}\n-----END PUBLIC KEY-----\n`)
  writeFileSync(input, message)
  writeFileSync(sig, signature)
  const ran = spawnSync('openssl', ['pkeyutl', '-verify', '-pubin', '-inkey', key, ...OF[alg]!, '-in', input, '-sigfile', sig], {
    encoding: 'utf8',
  })
  expect(ran.stdout + ran.stderr).toMatch(/Signature Verif(?:ied Successfully|ication Failure)/)
  return ran.status === 0
}

/** What a line's signatures are over, with nothing of ours but the line. */
function signedIn(line: string): Signed[] {
  const [, header, signatures] = /^.{84}(\{.*?\}),"signatures":(\[.*?\]),"salt":/.exec(line) ?? []
  const hash = createHash('sha256').update('\0').update(header!).digest('hex')
  const message = Buffer.from(`\0cortex-ledger/v1 record\n${ORIGIN}\n${hash}\n`)
  return (JSON.parse(signatures!) as { alg: string; sig: string }[]).map(({ alg, sig }) => ({
    alg,
    message,
    signature: Buffer.from(sig, 'base64'),
  }))
}

describe.skipIf(!isThere)('openssl pkeyutl -verify', () => {
  test.each([
    ['Ed25519', () => generateKeyPairSync('ed25519').privateKey],
    ['RSA-PSS, 2048 bits', () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey],
    ['RSA-PSS, 3072 bits', () => generateKeyPairSync('rsa', { modulusLength: 3072 }).privateKey],
  ])('accepts our signatures and refuses changed ones: %s', async (_, make) => {
    const folder = tempDir()
    const path = join(folder, 'ledger')
    const ledger = await AuditLedger.open(path, { origin: ORIGIN, signer: null, signRecords: recordSignerFromKey(make()) })
    await ledger.record({ agent_name: 'ä"a', method_name: 'm', prompt: '},"signatures":[' })
    const publicKey = (await ledger.keys())[0]!.public_key!
    await ledger.close()
    const lines = readFileSync(join(path, 'segments', '00000000000000000000.jsonl'), 'utf8')
      .trimEnd()
      .split('\n')
    const [signed] = signedIn(lines[2]!) as [Signed]
    expect(accepts(folder, publicKey, signed)).toBe(true)
    const changed = Buffer.from(signed.signature)
    changed[5]! ^= 1
    expect(accepts(folder, publicKey, { ...signed, signature: changed })).toBe(false)
    const otherMessage = Buffer.from(signed.message)
    otherMessage[40]! ^= 1
    expect(accepts(folder, publicKey, { ...signed, message: otherMessage })).toBe(false)
  })
})
