import { createHash, generateKeyPairSync } from 'node:crypto'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { AuditLedger, recordSignerFromKey } from '../../src/index.ts'
import type { LedgerKey } from '../../src/index.ts'
import { tempDir } from '../helpers/temp.ts'
import { jsonLines, ok, run } from './cli.ts'

const ORIGIN = 'example.com/cli-keys'

async function made(): Promise<{ folder: string; ledger: string; key: string }> {
  const folder = tempDir()
  const [ledger, key] = [join(folder, 'audit'), join(folder, 'first.key')]
  await ok(['init', ledger, '--origin', ORIGIN, '--key', key])
  return { folder, ledger, key }
}

async function listed(ledger: string): Promise<LedgerKey[]> {
  const { origin, keys } = JSON.parse(await ok(['keys', 'list', ledger, '--json'])) as { origin: string; keys: LedgerKey[] }
  expect(origin).toBe(ORIGIN)
  return keys
}

test('a checkpoint key is added, made where no file is, and retired', async () => {
  const { folder, ledger, key } = await made()
  const env = { CORTEX_LEDGER_KEY: key }
  const file = join(folder, 'second.key')
  const added = JSON.parse(await ok(['keys', 'add', ledger, '--key', file, '--json'], { env })) as { [name: string]: unknown }
  expect(added).toMatchObject({ purpose: 'checkpoint', alg: 'ed25519', key_file: file, made: true, added_seq: 1, receipt: { seq: 1 } })
  expect(readFileSync(file, 'utf8')).toMatch(new RegExp(`^PRIVATE\\+KEY\\+${ORIGIN}\\+${String(added['key'])}\\+`))
  expect(statSync(file).mode & 0o777).toBe(0o600)
  const [first, second] = await listed(ledger)
  expect(second?.verifier_key).toBe(added['verifier_key'])
  expect(await ok(['keys', 'list', ledger])).toContain(first!.verifier_key)
  const again = await run(['keys', 'add', ledger, '--key', file], { env })
  expect([again.code, again.stderr]).toEqual([3, expect.stringMatching(/key_error: the key [0-9a-f]{8} is in the ledger already/)])
  expect(await ok(['keys', 'retire', ledger, '--id', second!.key, '--reason', 'never used'], { env })).toMatch(
    /^retired the checkpoint key [0-9a-f]{8} at position 2/,
  )
  expect((await listed(ledger))[1]).toMatchObject({ retired_seq: 2 })
  const twice = await run(['keys', 'retire', ledger, '--key', file], { env })
  expect([twice.code, twice.stderr]).toEqual([3, expect.stringMatching(/was retired at position 2 already/)])
  await ok(['verify', ledger, '--quiet'])
})

test('a record key is a PEM: private, public, or made; then records can be signed by it', async () => {
  const { folder, ledger, key } = await made()
  const env = { CORTEX_LEDGER_KEY: key }
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const [pub, own] = [join(folder, 'rsa.pem'), join(folder, 'own.pem')]
  writeFileSync(pub, publicKey.export({ format: 'pem', type: 'spki' }))
  expect(await ok(['keys', 'add', ledger, '--purpose', 'record', '--key', pub], { env })).toMatch(
    /added the record key [0-9a-f]{8} \(rsa-pss-sha256\) at position 1/,
  )
  expect(await ok(['keys', 'add', ledger, '--purpose', 'record', '--key', own], { env })).toMatch(
    /\(ed25519\) at position 2[^]*own\.pem \(new\)/,
  )
  const signers = [recordSignerFromKey(readFileSync(own)), recordSignerFromKey(privateKey)]
  const writing = await AuditLedger.open(ledger, { key, signRecords: signers })
  await writing.record({ agent_name: 'a', method_name: 'm' })
  await writing.close()
  expect(await ok(['verify', ledger])).toMatch(/records' own signatures: pass/)
  await ok(['keys', 'retire', ledger, '--purpose', 'record', '--key', pub], { env })
  expect((await listed(ledger)).map(({ retired_seq }) => retired_seq)).toEqual([null, 4, null])
})

test('a key under a passphrase: made by init, added, opened with it only', async () => {
  const folder = tempDir()
  const [ledger, key, next, passphrase] = ['audit', 'k.key', 'next.key', 'passphrase'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
    string,
  ]
  writeFileSync(passphrase, 'correct horse\n')
  await ok(['init', ledger, '--origin', ORIGIN, '--key', key, '--passphrase-file', passphrase])
  expect(readFileSync(key, 'utf8')).toMatch(/^ENCRYPTED\+KEY\+/)
  const refused = await run(['keys', 'add', ledger, '--key', next], { env: { CORTEX_LEDGER_KEY: key } })
  expect([refused.code, refused.stderr]).toEqual([3, expect.stringMatching(/key_error: .*k\.key is under a passphrase: give it/)])
  expect(existsSync(next)).toBe(false)
  await ok(['keys', 'add', ledger, '--key', next, '--passphrase-file', '-'], { env: { CORTEX_LEDGER_KEY: key }, input: 'correct horse' })
  expect(readFileSync(next, 'utf8')).toMatch(/^ENCRYPTED\+KEY\+/)
  expect(await listed(ledger)).toHaveLength(2)
  const input = '{"agent_name":"a","method_name":"m"}'
  expect(await ok(['record', ledger, '--key', key, '--passphrase-file', passphrase], { input })).toMatch(/^recorded 1 record/)
  const wrong = await run(['rotate', ledger, '--key', key, '--passphrase-file', ledger])
  expect([wrong.code, wrong.stderr]).toEqual([3, expect.stringMatching(/key_error: .*can't be read/)])
})

describe('misuse', () => {
  test.each([
    [['keys'], 2],
    [['keys', 'add', 'LEDGER', '--purpose', 'all'], 2],
    [['keys', 'retire', 'LEDGER'], 2],
    [['keys', 'retire', 'LEDGER', '--id', 'xyz'], 2],
    [['keys', 'retire', 'LEDGER', '--id', '00000000', '--key', 'x'], 2],
    [['keys', 'retire', 'LEDGER', '--id', '00000000'], 3],
    [['keys', 'add', 'LEDGER', '--passphrase-file', '/nowhere'], 2],
    [['keys', 'list', '/nowhere/at/all'], 3],
  ])('%j ends with %i', async (args, code) => {
    const { ledger, key } = await made()
    const ended = await run(
      args.map((arg) => (arg === 'LEDGER' ? ledger : arg)),
      { env: { CORTEX_LEDGER_KEY: key } },
    )
    expect([ended.code, ended.stdout]).toEqual([code, ''])
    expect(ended.stderr).not.toBe('')
    expect(await listed(ledger)).toHaveLength(1)
  })

  test('a PEM is no checkpoint key, and a key file no record key', async () => {
    const { folder, ledger, key } = await made()
    const pem = join(folder, 'k.pem')
    writeFileSync(pem, generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }))
    const env = { CORTEX_LEDGER_KEY: key }
    expect(await run(['keys', 'add', ledger, '--key', pem], { env })).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/--purpose record/),
    })
    expect(await run(['keys', 'add', ledger, '--purpose', 'record', '--key', key], { env })).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/key_error/),
    })
  })
})

describe('keys pseudonym', () => {
  // As test/ledger/pseudonyms.test.ts has it from Python.
  const key = Uint8Array.from({ length: 32 }, (_, i) => i)
  const ANN = 'person-ek2uf2twzpi4uory7ptbc4x7og'
  const id = createHash('sha256').update('cortex-ledger/v1 pseudonym key\n').update(key).digest('hex').slice(0, 8)

  test('says what somebody is called, and finds her records', async () => {
    const file = join(tempDir(), 'people.key')
    writeFileSync(file, `PSEUDONYM+KEY+${id}+${Buffer.from(key).toString('base64')}\n`)
    expect(await ok(['keys', 'pseudonym', file, 'ann@example.org'])).toBe(`${ANN}\n`)
    expect(await ok(['keys', 'pseudonym', file], { input: 'ann@example.org\r\nGrüße\nann@example.org' })).toMatch(
      new RegExp(`^${ANN}\nperson-[a-z2-7]{26}\n${ANN}\n$`),
    )
    const json = jsonLines(await ok(['keys', 'pseudonym', file, 'ann@example.org', '--kind', 'customer', '--json']))
    expect(json).toEqual([{ name: 'ann@example.org', pseudonym: 'customer-vsovzamo36rybzgtx6cfy7pyk4' }])
  })

  test('without the right key or a name it says so and prints nothing', async () => {
    const file = join(tempDir(), 'people.key')
    const lost = await run(['keys', 'pseudonym', file, 'ann'])
    expect([lost.code, lost.stdout, lost.stderr]).toEqual([3, '', expect.stringMatching(/key_error.*people\.key/s)])
    expect(existsSync(file)).toBe(false)
    const made = await ok(['keys', 'pseudonym', file, 'ann', '--create'])
    expect(await ok(['keys', 'pseudonym', file, 'ann', '--create'])).toBe(made)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    for (const [args, input] of [
      [['ann', '--kind', 'Person'], ''],
      [[''], ''],
      [[], 'ann\n\n'],
      [[], Buffer.of(0xff, 10)],
    ] as const) {
      const refused = await run(['keys', 'pseudonym', file, ...args], { input })
      expect([refused.code, refused.stderr.includes('should not happen')], refused.stderr).toEqual([2, false])
    }
  })
})
