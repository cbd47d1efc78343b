/** Records that are signed one by one, on their way into every store. */
import { generateKeyPairSync } from 'node:crypto'
import { appendFileSync, existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { AuditLedger, LedgerError, recordSignerFromKey } from '../../src/index.ts'
import type { OpenOptions, RecordSigner } from '../../src/index.ts'
import { openMemoryStore } from '../../src/stores/memory.ts'
import { faultyStore, fixedClock } from '../../src/testing/index.ts'
import { startChild } from '../helpers/child.ts'
import type { SigningPlan } from '../helpers/record-signing-process.ts'
import { useLedgerUrls } from '../helpers/postgres.ts'
import { tempDir } from '../helpers/temp.ts'

const ed25519 = generateKeyPairSync('ed25519').privateKey
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
const one = recordSignerFromKey(ed25519)
const two = recordSignerFromKey(rsa)
const ids = [one.key, two.key].toSorted()
const call = { agent_name: 'a', method_name: 'm' }
const plain = { signer: null, origin: 'example.com/signed', checkpoints: false } as const

const STORES: [name: string, location: () => string][] = [
  ['memory', () => 'memory:'],
  ['JSONL', () => join(tempDir(), 'ledger')],
  ['SQLite', () => join(tempDir(), 'ledger.db')],
  ...useLedgerUrls().map((url): [string, () => string] => ['PostgreSQL', url]),
]

async function expectRight(ledger: AuditLedger, from: number, signers: readonly string[]): Promise<void> {
  const report = await ledger.verifyIntegrity()
  expect(report).toMatchObject({ ok: true, problems: [], checks: { signatures: { verdict: 'pass' } } })
  for await (const { header } of ledger.read()) expect(header.signers, `at ${header.seq}`).toEqual(header.seq < from ? undefined : signers)
}

describe.each(STORES)('%s', (_, location) => {
  test('every record behind the keys is signed by them, the own records too', async () => {
    const clock = fixedClock(Date.UTC(2026, 10, 22) * 1000)
    const ledger = await AuditLedger.open(location(), { ...plain, clock, signRecords: [two, one] })
    // Record 0 and the keys are one append: there is never a ledger without its keys.
    expect((await ledger.at(0))?.header).toMatchObject({ type: 'LedgerCreated', append_last_seq: 2 })
    const receipts = await Promise.all(Array.from({ length: 70 }, (__, i) => ledger.record({ ...call, run_id: `r${i}` })))
    expect((await ledger.at(receipts[0]!.seq))?.hash).toBe(receipts[0]!.hash)
    await ledger.append('s', [
      { type: 'StepTaken', data: {}, actor: 'a' },
      { type: 'StepTaken', data: {}, actor: 'a' },
    ])
    await ledger.call(call, () => 'done', { durable: true })
    await ledger.rotate()
    clock.set(clock.now() - 3_600_000_000)
    await ledger.record(call)
    const types = await ledger.tally('type', { stream: 'ledger' })
    for (const type of ['ClockMovedBack', 'SegmentSealed']) expect(types.get(type)).toBe(1)
    await expectRight(ledger, 3, ids)
    await ledger.close()
  })

  test('a repeated run_id gets the first receipt, and no second signature', async () => {
    const ledger = await AuditLedger.open(location(), { ...plain, signRecords: one })
    const entry = { ...call, run_id: 'r', timestamp_end: '2026-11-22T20:15:33Z' }
    const first = await ledger.record(entry)
    expect(await ledger.record(entry)).toMatchObject({ seq: first.seq, hash: first.hash })
    expect((await ledger.head()).size).toBe(3)
    await ledger.close()
  })

  test('a signer that fails refuses the append, and nothing is written; when it works again, recording goes on', async () => {
    let sign: RecordSigner['sign'] = one.sign
    const signer: RecordSigner = { key: one.key, alg: one.alg, publicKey: one.publicKey, sign: (message) => sign(message) }
    const ledger = await AuditLedger.open(location(), { ...plain, signRecords: signer })
    const faults: [RecordSigner['sign'], RegExp][] = [
      [() => Promise.reject(new Error('no token')), /could not sign: no token\. Nothing was recorded/],
      [
        () => {
          throw new Error('thrown at once')
        },
        /thrown at once/,
      ],
      [async () => Buffer.alloc(64), /is none under that key/],
      [async () => 'x' as never, /is none under that key/],
      [two.sign, /is none under that key/],
      [(message) => one.sign(message.subarray(1)), /is none under that key/],
    ]
    for (const [fault, message] of faults) {
      sign = fault
      const appends = await Promise.allSettled([ledger.record(call), ledger.record(call), ledger.rotate()])
      for (const append of appends) {
        expect(append).toMatchObject({ status: 'rejected', reason: { code: 'key_error', message: expect.stringMatching(message) } })
      }
      expect((await ledger.head()).size).toBe(2)
    }
    sign = one.sign
    await ledger.record(call)
    await expectRight(ledger, 2, [one.key])
    await ledger.close()
  })
})

describe.each(STORES.slice(1))('an existing ledger, %s', (_, location) => {
  test('opens for signing only with keys that it knows and that are not retired', async () => {
    const path = location()
    await (await AuditLedger.open(path, plain)).close()
    const opening = (): Promise<AuditLedger> => AuditLedger.open(path, { ...plain, signRecords: one })
    await expect(opening()).rejects.toMatchObject({
      code: 'key_error',
      message: expect.stringMatching(/cortex-ledger keys add LEDGER --purpose record/),
    })
    const unsigned = await AuditLedger.open(path, plain)
    await unsigned.record(call)
    await unsigned.addKey(one)
    await unsigned.close()
    const ledger = await opening()
    await ledger.record(call)
    await expectRight(ledger, 3, [one.key])
    await expect(ledger.retireKey(one.key)).rejects.toMatchObject({
      code: 'key_error',
      message: expect.stringMatching(/this process signs/),
    })
    await ledger.close()
    const retiring = await AuditLedger.open(path, plain)
    await retiring.retireKey(one.key)
    await retiring.close()
    await expect(opening()).rejects.toMatchObject({ code: 'key_error', message: expect.stringMatching(/was retired at position 4/) })
    // Whoever only reads signs nothing.
    const reading = await AuditLedger.open(path, { readOnly: true, signRecords: one })
    expect((await reading.verifyIntegrity()).checks.signatures).toEqual({ verdict: 'pass' })
    await reading.close()
  })
})

test('what recovery moved aside is told by a signed record', async () => {
  const path = join(tempDir(), 'ledger')
  await (await AuditLedger.open(path, { ...plain, signRecords: one })).close()
  const [segment] = readdirSync(join(path, 'segments'))
  appendFileSync(join(path, 'segments', segment!), '{"hash":"torn')
  const ledger = await AuditLedger.open(path, { ...plain, signRecords: one, onWarning: () => {} })
  expect((await ledger.at(2))?.header).toMatchObject({ type: 'RecordingGapDetected', signers: [one.key] })
  await expectRight(ledger, 2, [one.key])
  await ledger.close()
})

describe('with a store that fails', () => {
  async function open(options: OpenOptions = {}) {
    const store = faultyStore(openMemoryStore())
    return { store, ledger: await AuditLedger.open('memory:', { ...plain, signRecords: one, store, ...options }) }
  }

  test('a lost race for the head seals and signs anew', async () => {
    const { store, ledger } = await open()
    const other = await AuditLedger.open('memory:', { ...plain, signRecords: one, store: { ...store, close: async () => {} } })
    store.plan('append', { kind: 'interfere', act: () => other.record({ ...call, run_id: 'theirs' }) })
    const receipt = await ledger.record({ ...call, run_id: 'ours' })
    expect([receipt.seq, (await ledger.at(2))?.run_id]).toEqual([3, 'theirs'])
    await expectRight(ledger, 2, [one.key])
    await ledger.close()
  })

  test('a write whose answer was lost is found, and not written again', async () => {
    const { store, ledger } = await open()
    store.plan('append', { kind: 'persist' })
    const [receipt] = await Promise.all([ledger.record(call), ledger.record(call)])
    expect(receipt.seq).toBe(2)
    expect((await ledger.head()).size).toBe(4)
    await expectRight(ledger, 2, [one.key])
    await ledger.close()
  })

  test('several signatures are asked for at once, but not all', async () => {
    let [now, most] = [0, 0]
    const sign = async (message: Uint8Array): Promise<Uint8Array> => {
      most = Math.max(most, ++now)
      await new Promise((resolve) => setImmediate(resolve))
      now--
      return one.sign(message)
    }
    const { ledger } = await open({ signRecords: { ...one, sign } })
    await Promise.all(Array.from({ length: 200 }, () => ledger.record(call)))
    expect(most).toBeGreaterThan(1)
    expect(most).toBeLessThanOrEqual(32)
    await expectRight(ledger, 2, [one.key])
    await ledger.close()
  })
})

test('two processes that write and sign: each record is right, and a key that one retires the other uses no more', async () => {
  const path = join(tempDir(), 'ledger.db')
  const a = await AuditLedger.open(path, { ...plain, signRecords: one })
  await a.addKey(two)
  const b = await AuditLedger.open(path, { ...plain, signRecords: two })
  await Promise.all(Array.from({ length: 60 }, (_, i) => (i % 2 === 0 ? a : b).record(call)))
  expect((await a.head()).size).toBe(63)
  const receipt = await b.retireKey(one.key, { reason: 'lost laptop' })
  await expect(a.record(call)).rejects.toMatchObject({ code: 'key_error', message: expect.stringMatching(/was retired at position 63/) })
  await expect(a.record(call)).rejects.toMatchObject({ code: 'key_error' })
  await b.record(call)
  expect((await b.head()).size).toBe(receipt.seq + 2)
  expect(await b.verifyIntegrity()).toMatchObject({ ok: true, problems: [], checks: { signatures: { verdict: 'pass' } } })
  await a.close()
  await b.close()
})

describe('a header with signers', () => {
  test('is no longer than a header may be', async () => {
    // So many tags that the header fits without signers only.
    const tags = Array.from({ length: 60 }, (_, i) => `${i}`.padStart(2, '0').padEnd(252, 'x'))
    const unsigned = await AuditLedger.open('memory:', plain)
    const signed = await AuditLedger.open('memory:', { ...plain, signRecords: one })
    let refused = 0
    for (let length = 252; length < 275; length++) {
      const longer = tags.map((tag) => tag.padEnd(length, 'x'))
      const [without, withSigner] = await Promise.allSettled([
        unsigned.record(call, { tags: longer }),
        signed.record(call, { tags: longer }),
      ])
      if (withSigner.status === 'fulfilled') continue
      expect(withSigner.reason).toMatchObject({ code: 'too_large' })
      if (without.status === 'rejected') break
      refused++
    }
    expect(refused).toBeGreaterThan(0)
    await expectRight(signed, 2, [one.key])
    await signed.close()
    await unsigned.close()
  })
})

describe('misuse', () => {
  const { privateKey: short } = generateKeyPairSync('rsa', { modulusLength: 1024 })
  const { privateKey: curve, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  test.each<[name: string, key: unknown, message: RegExp]>([
    ['a short RSA key', short, /1024 bits/],
    ['a key of another curve', curve, /of the kind ec/],
    ['a public key', publicKey, /can't sign/],
    ['no PEM', 'junk', /can't be read/],
    [
      'a PEM under a passphrase that is not given',
      ed25519.export({ format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'x' }),
      /can't be read/,
    ],
  ])('%s signs no records', (_, key, message) => {
    expect(() => recordSignerFromKey(key as string)).toThrow(
      expect.objectContaining({ code: 'key_error', message: expect.stringMatching(message) }),
    )
  })

  test('a PEM under a passphrase opens with it, PKCS #1 too', () => {
    const pem = ed25519.export({ format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'x' })
    expect(recordSignerFromKey(pem, 'x').key).toBe(one.key)
    expect(recordSignerFromKey(rsa.export({ format: 'pem', type: 'pkcs1' })).key).toBe(two.key)
  })

  test.each<[name: string, signRecords: unknown, error: object]>([
    ['no signer', 5, { name: 'TypeError' }],
    ['no function', { ...one, sign: 5 }, { name: 'TypeError' }],
    ['an algorithm that is none', { ...one, alg: 'ed448' }, { name: 'TypeError' }],
    ['a key twice', [one, one], { name: 'RangeError' }],
    ['another id', { ...one, key: '00000000' }, { code: 'key_error' }],
    ['another public key', { ...one, publicKey: two.publicKey }, { code: 'key_error' }],
  ])('signRecords: %s', async (_, signRecords, error) => {
    const path = join(tempDir(), 'ledger')
    await expect(AuditLedger.open(path, { ...plain, signRecords: signRecords as RecordSigner })).rejects.toMatchObject(error)
    expect(existsSync(join(path, 'segments')) && readdirSync(join(path, 'segments')).length > 0).toBe(false)
  })
})

describe('a process that exits', () => {
  const pem = ed25519.export({ format: 'pem', type: 'pkcs8' }).toString()
  const COUNT = 30

  async function exits(path: string, plan: Pick<SigningPlan, 'sync' | 'later'>) {
    const ledger = await AuditLedger.open(path, { ...plain, signRecords: one })
    await ledger.close()
    const child = startChild('record-signing-process', { location: path, pem, count: COUNT, ...plan } satisfies SigningPlan)
    expect((await child.exited).code, child.stderr()).toBe(0)
    const after = await AuditLedger.open(path, { ...plain, readOnly: true })
    const size = (await after.head()).size
    expect(await after.verifyIntegrity()).toMatchObject({ ok: true, problems: [] })
    await after.close()
    return { recorded: size - 2, stderr: child.stderr() }
  }

  test.each([
    ['JSONL', 'ledger', false],
    ['JSONL', 'ledger', true],
    ['SQLite', 'ledger.db', false],
  ])('signs what waits where it can: %s, while signing: %s %s', async (_, name, later) => {
    expect(await exits(join(tempDir(), name), { sync: true, later })).toEqual({ recorded: COUNT, stderr: '' })
  })

  test('says what was not written where it can not', async () => {
    const { recorded, stderr } = await exits(join(tempDir(), 'ledger'), { sync: false, later: false })
    expect(recorded).toBe(0)
    expect(stderr).toMatch(
      new RegExp(`records that waited at exit were not written: ${COUNT} records could not be signed .*await flush\\(\\)`),
    )
  })
})

test('an error of a signer is a LedgerError that carries its cause', async () => {
  const cause = new Error('no token')
  const signer = { ...one, sign: () => Promise.reject(cause) }
  const ledger = await AuditLedger.open('memory:', { ...plain, signRecords: signer })
  const error: unknown = await ledger.record(call).catch((each: unknown) => each)
  expect(error).toBeInstanceOf(LedgerError)
  expect((error as LedgerError).details).toMatchObject({ key: one.key, cause })
  await ledger.close()
})
