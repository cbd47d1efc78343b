/** The keys of a ledger in its own records: added, retired, listed. */
import { generateKeyPairSync } from 'node:crypto'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { AuditLedger, recordPublicKeyFrom, recordSignerFromKey, signerFromSeed } from '../../src/index.ts'
import type { KeyToAdd } from '../../src/index.ts'
import { tempDir } from '../helpers/temp.ts'

const ORIGIN = 'example.com/keys'
const first = signerFromSeed(ORIGIN, Buffer.alloc(32, 1))
const second = signerFromSeed(ORIGIN, Buffer.alloc(32, 2))
const recordKey = recordSignerFromKey(generateKeyPairSync('ed25519').privateKey)
const idOf = (verifierKey: string): string => verifierKey.split('+')[1]!
const open = (location = 'memory:', more: object = {}): Promise<AuditLedger> =>
  AuditLedger.open(location, { origin: ORIGIN, signer: first, checkpoints: false, ...more })

test('what was added and retired is listed with its positions', async () => {
  const ledger = await open()
  const added = await ledger.addKey(second)
  expect(added.seq).toBe(1)
  await ledger.addKey(recordKey)
  const { note } = await ledger.checkpoint()
  await ledger.retireKey(idOf(first.verifierKey), { reason: 'yearly', checkpoint: note })
  await ledger.retireKey(recordKey.key)
  expect(await ledger.keys()).toEqual([
    { key: idOf(first.verifierKey), purpose: 'checkpoint', alg: 'ed25519', verifier_key: first.verifierKey, added_seq: 0, retired_seq: 3 },
    {
      key: idOf(second.verifierKey),
      purpose: 'checkpoint',
      alg: 'ed25519',
      verifier_key: second.verifierKey,
      added_seq: 1,
      retired_seq: null,
    },
    {
      key: recordKey.key,
      purpose: 'record',
      alg: 'ed25519',
      public_key: Buffer.from(recordKey.publicKey).toString('base64'),
      added_seq: 2,
      retired_seq: 4,
    },
  ])
  expect((await ledger.at(1))?.entry).toEqual({
    alg: 'ed25519',
    key: idOf(second.verifierKey),
    purpose: 'checkpoint',
    verifier_key: second.verifierKey,
  })
  expect((await ledger.at(3))?.entry).toEqual({ checkpoint: note, key: idOf(first.verifierKey), purpose: 'checkpoint', reason: 'yearly' })
  expect((await ledger.at(4))?.header).toMatchObject({ type: 'KeyRetired', action: 'retire_key', stream: 'ledger', actor: 'cortex-ledger' })
  expect(await ledger.verifyIntegrity()).toMatchObject({ ok: true, problems: [] })
  await ledger.close()
})

describe('refused, and nothing is written', () => {
  const twin = { key: '', alg: 'ed25519', publicKey: recordKey.publicKey } as const
  const cases: [name: string, key: unknown, error: object][] = [
    ['a key that is there', first, { code: 'key_error', message: expect.stringMatching(/in the ledger already \(added at 0\)/) }],
    ['a key that was retired', second, { code: 'key_error', message: expect.stringMatching(/retired at 2, for good/) }],
    ['a checkpoint key of another origin', signerFromSeed('example.com/other', Buffer.alloc(32, 3)), { code: 'key_error' }],
    ['no verifier key', { verifierKey: 'x' }, { name: 'RangeError' }],
    ['a record key with another id', twin, { code: 'key_error' }],
    ['a record key without a key', { key: 'x', alg: 'ed25519' }, { name: 'TypeError' }],
    ['nothing', null, { name: 'TypeError' }],
    [
      'the checkpoint key as a record key',
      'first as a record key',
      { code: 'key_error', message: expect.stringMatching(/another purpose/) },
    ],
  ]
  test.each(cases)('adding %s', async (_, key, error) => {
    const ledger = await open()
    await ledger.addKey(second)
    await ledger.retireKey(idOf(second.verifierKey))
    const given = key === 'first as a record key' ? asRecordKey(first.verifierKey) : (key as KeyToAdd)
    await expect(ledger.addKey(given)).rejects.toMatchObject(error)
    expect((await ledger.head()).size).toBe(3)
    await ledger.close()
  })

  const retirements: [name: string, id: unknown, options: object, error: object][] = [
    ['a key that is not there', '00000000', {}, { code: 'key_error', message: expect.stringMatching(/has no key "00000000"/) }],
    [
      'a key that was retired',
      idOf(second.verifierKey),
      {},
      { code: 'key_error', message: expect.stringMatching(/retired at position 2 already/) },
    ],
    ['no id', 5, {}, { name: 'TypeError' }],
    ['with a reason that is too long', idOf(first.verifierKey), { reason: 'x'.repeat(1025) }, { name: 'RangeError' }],
    ['with a checkpoint that is none', idOf(first.verifierKey), { checkpoint: 'x' }, { name: 'RangeError' }],
  ]
  test.each(retirements)('retiring %s', async (_, id, options, error) => {
    const ledger = await open()
    await ledger.addKey(second)
    await ledger.retireKey(idOf(second.verifierKey))
    await expect(ledger.retireKey(id as string, options)).rejects.toMatchObject(error)
    expect((await ledger.head()).size).toBe(3)
    await ledger.close()
  })

  test('by a caller who appends such records itself', async () => {
    const ledger = await open()
    const event = { type: 'KeyAdded', data: { key: recordKey.key }, actor: 'a' }
    await expect(ledger.append('s', event)).rejects.toMatchObject({ code: 'reserved' })
    await expect(ledger.append('ledger', { ...event, type: 'Other' })).rejects.toMatchObject({ code: 'reserved' })
    await ledger.close()
  })

  test('where the ledger is only read', async () => {
    const path = join(tempDir(), 'ledger')
    await (await open(path)).close()
    const ledger = await AuditLedger.open(path, { readOnly: true })
    await expect(ledger.addKey(second)).rejects.toMatchObject({ code: 'read_only' })
    expect(await ledger.keys()).toHaveLength(1)
    await ledger.close()
  })
})

/** The same key under the name of a record key. */
function asRecordKey(verifierKey: string): KeyToAdd {
  const raw = Buffer.from(verifierKey.split('+').slice(2).join('+'), 'base64').subarray(1)
  const spki = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), raw])
  return recordPublicKeyFrom(`-----BEGIN PUBLIC KEY-----\n${spki.toString('base64')}\n-----END PUBLIC KEY-----\n`)
}

test('two processes that add the same key: one does', async () => {
  const path = join(tempDir(), 'ledger.db')
  const ledgers = [await open(path, { signer: null }), await open(path, { signer: null })]
  const added = await Promise.allSettled(
    ledgers.flatMap((ledger) => [ledger.addKey(recordKey), ledger.record({ agent_name: 'a', method_name: 'm' })]),
  )
  expect(added.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'fulfilled', 'fulfilled', 'rejected'])
  const refused = added.find((each) => each.status === 'rejected')
  expect(refused?.reason).toMatchObject({ code: 'key_error', message: expect.stringMatching(/already/) })
  expect(await ledgers[0]!.keys()).toHaveLength(1)
  expect(await ledgers[0]!.verifyIntegrity()).toMatchObject({ ok: true, problems: [] })
  for (const ledger of ledgers) await ledger.close()
})
