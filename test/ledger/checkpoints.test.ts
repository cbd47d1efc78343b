/** Signed checkpoints, and the memory that keeps a machine from ever signing two that contradict each other. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { AuditLedger, signerFromSeed } from '../../src/index.ts'
import type { LedgerWarning, OpenOptions, SignedCheckpoint, Signer } from '../../src/index.ts'
import { ed25519Check } from '../../src/ledger/ed25519.ts'
import { nodeHashing } from '../../src/ledger/hashing.ts'
import { folderOfOrigin, readRemembered } from '../../src/ledger/remembered.ts'
import { nodeParent } from '../../src/ledger/tree.ts'
import { parseCheckpoint } from '../../src/verify/checkpoint.ts'
import { openNote, parseNote, parseVerifierKey } from '../../src/verify/note.ts'
import { hashBytes, hashHex, TreeEdge } from '../../src/verify/tree.ts'
import { useLedgerUrls } from '../helpers/postgres.ts'
import { tempDir } from '../helpers/temp.ts'

const ORIGIN = 'example.com/checkpoints'
const SIGNER = signerFromSeed(
  ORIGIN,
  Uint8Array.from({ length: 32 }, (_, i) => i),
)
const someCall = { agent_name: 'a', method_name: 'm' }

/** On demand only, unless said. */
const options = (state: string, more: OpenOptions = {}): OpenOptions => ({
  origin: ORIGIN,
  signer: SIGNER,
  stateFolder: state,
  checkpoints: false,
  index: 'off',
  onWarning: (warning) => {
    throw new Error(`unexpected warning: ${warning.message}`)
  },
  ...more,
})

async function record(ledger: AuditLedger, count: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, () => ledger.record(someCall)))
}

/** A ledger of so many records, signed and closed. */
async function made(location: string, state: string, count: number): Promise<SignedCheckpoint> {
  const ledger = await AuditLedger.open(location, options(state))
  await record(ledger, count - 1)
  const signed = await ledger.checkpoint()
  await ledger.close()
  return signed
}

async function rootOf(ledger: AuditLedger, size: number): Promise<string> {
  const edge = new TreeEdge(nodeParent)
  for await (const { hash } of ledger.read({ limit: size })) edge.append(hashBytes(hash))
  return hashHex(edge.root()!)
}

async function assertSigned({ note, size, root }: SignedCheckpoint): Promise<void> {
  const key = parseVerifierKey(nodeHashing.sha256, SIGNER.verifierKey)
  const parsed = parseNote(Buffer.from(note))
  if (typeof key === 'string' || typeof parsed === 'string') throw new Error('no key or no note')
  const opened = await openNote(parsed, [key], ed25519Check)
  expect(opened).toMatchObject({ verified: [{ key }] })
  expect(parseCheckpoint(parsed.text)).toMatchObject({ origin: ORIGIN, size: BigInt(size), root: hashBytes(root) })
}

const [newUrl] = useLedgerUrls()
const KINDS = ['ledger', 'ledger.db', ...(newUrl === undefined ? [] : ['postgres'])]
const placeIn = (folder: string, name: string): string => (name === 'postgres' ? newUrl!() : join(folder, name))

test.each(KINDS)('%s: what is signed is the size and the root, by the key; the same again where nothing was recorded', async (name) => {
  const [folder, state] = [tempDir(), tempDir()]
  const place = placeIn(folder, name)
  const ledger = await AuditLedger.open(place, options(state))
  expect(await ledger.latestCheckpoint()).toBe(null)
  for (const count of [1, 255, 300]) {
    await record(ledger, count)
    const signed = await ledger.checkpoint()
    await assertSigned(signed)
    const { size } = await ledger.head()
    expect(signed).toMatchObject({ size, root: await rootOf(ledger, size) })
    expect(await ledger.checkpoint()).toEqual(signed)
    expect(await ledger.latestCheckpoint()).toEqual(signed)
    expect(await readRemembered(ORIGIN, state)).toMatchObject({ size, note: signed.note, hash: (await ledger.head()).hash })
  }
  expect(readdirSync(folderOfOrigin(state, ORIGIN)), 'the last one implies the others').toEqual(['00000000000000000557.tlog-proof'])
  const kept = await ledger.latestCheckpoint()
  await ledger.close()
  const again = await AuditLedger.open(place, options(state))
  expect(await again.checkpoint(), 'also by another process').toEqual(kept)
  await again.close()
  const reader = await AuditLedger.open(place, { readOnly: true })
  expect(await reader.latestCheckpoint()).toMatchObject({ size: 557 })
  await expect(reader.checkpoint()).rejects.toMatchObject({ code: 'read_only' })
  await reader.close()
})

test('by itself: after so many records, after a time, and at closing', async () => {
  const [folder, state] = [tempDir(), tempDir()]
  const location = join(folder, 'ledger')
  const sizeNow = async (): Promise<number> => (await readRemembered(ORIGIN, state))?.size ?? 0
  let ledger = await AuditLedger.open(location, options(state, { checkpoints: { everyRecords: 10, everyMs: 1e6, atClose: false } }))
  await record(ledger, 12)
  await vi.waitFor(async () => expect(await sizeNow()).toBeGreaterThanOrEqual(10))
  await ledger.close()
  const before = await sizeNow()
  ledger = await AuditLedger.open(location, options(state, { checkpoints: { everyRecords: 1e6, everyMs: 20, atClose: false } }))
  await record(ledger, 3)
  await vi.waitFor(async () => expect(await sizeNow()).toBe(16))
  expect(before).toBeLessThanOrEqual(13)
  await ledger.close()
  ledger = await AuditLedger.open(location, options(state, { checkpoints: {} }))
  await record(ledger, 1)
  await ledger.close()
  expect(await sizeNow()).toBe(17)
  ledger = await AuditLedger.open(location, options(state, { checkpoints: { atClose: false } }))
  await record(ledger, 1)
  await ledger.close()
  expect(await sizeNow()).toBe(17)
})

/** A ledger with this many records less at its end, as somebody with access to the files would leave it. */
function cutTail(location: string, count: number): void {
  const [segment] = readdirSync(join(location, 'segments'))
  const file = join(location, 'segments', segment!)
  const lines = readFileSync(file, 'utf8').split('\n')
  writeFileSync(file, lines.slice(0, -1 - count).join('\n') + '\n')
}

test('a tail cut by one record, or a restored older copy, is not written to', async () => {
  const [folder, state] = [tempDir(), tempDir()]
  const location = join(folder, 'ledger')
  await made(location, state, 20)
  cpSync(location, join(folder, 'copy'), { recursive: true })
  await made(location, state, 25 - 20 + 1)
  for (const [path, size] of [
    [join(folder, 'copy'), 20],
    [location, 24],
  ] as const) {
    if (path === location) cutTail(location, 1)
    const before = readFileSync(join(path, 'segments', readdirSync(join(path, 'segments'))[0]!))
    await expect(AuditLedger.open(path, options(state))).rejects.toMatchObject({
      code: 'behind_checkpoint',
      details: { size, remembered_size: 25 },
    })
    expect(readFileSync(join(path, 'segments', readdirSync(join(path, 'segments'))[0]!)).equals(before), 'nothing was written').toBe(true)
  }
  const reader = await AuditLedger.open(location, { readOnly: true })
  expect((await reader.head()).size, 'reading is for everybody').toBe(24)
  await reader.close()
})

test.each(KINDS)('%s: a ledger rewritten whole, by others or with the key itself, is not written to', async (name) => {
  const [folder, state] = [tempDir(), tempDir()]
  await made(placeIn(folder, name), state, 20)
  for (const signer of [null, SIGNER]) {
    const place = placeIn(folder, name === 'postgres' ? name : `${String(signer === null)}-${name}`)
    const other = await AuditLedger.open(place, options(tempDir(), { signer }))
    await record(other, 29)
    await other.close()
    await expect(AuditLedger.open(place, options(state, { signer }))).rejects.toMatchObject({
      code: 'forked',
      details: { remembered_size: 20 },
    })
  }
})

test('a remembered origin is not founded anew', async () => {
  const [folder, state] = [tempDir(), tempDir()]
  await made(join(folder, 'ledger'), state, 2)
  for (const name of ['again', 'again.db']) {
    await expect(AuditLedger.open(join(folder, name), options(state))).rejects.toMatchObject({ code: 'forked' })
  }
  const elsewhere = await AuditLedger.open(join(folder, 'again'), options(tempDir()))
  await elsewhere.close()
})

test('of two copies that part, one is signed and the other never, however they interleave', async () => {
  for (let round = 0; round < 5; round++) {
    const [folder, state] = [tempDir(), tempDir()]
    const locations = [join(folder, 'one.db'), join(folder, 'two.db')] as const
    await made(locations[0], state, 5)
    cpSync(locations[0], locations[1])
    const ledgers = await Promise.all(locations.map((location) => AuditLedger.open(location, options(state))))
    for (const ledger of ledgers) await record(ledger, 3)
    const outcomes = await Promise.allSettled(ledgers.map((ledger) => ledger.checkpoint()))
    const signed = outcomes.filter(({ status }) => status === 'fulfilled')
    expect(signed.length).toBeLessThanOrEqual(1)
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'forked' })
    }
    // Recording goes on for both; signing only for the one that was first, if any was.
    for (const ledger of ledgers) await record(ledger, 1)
    const later = await Promise.allSettled([ledgers[0]!.checkpoint()])
    if (signed.length === 0) expect(later[0]).toMatchObject({ status: 'fulfilled' })
    for (const ledger of ledgers) await ledger.close()
  }
})

test('two writers of one database sign as they like, and never contradict each other', async () => {
  const [folder, state] = [tempDir(), tempDir()]
  const location = join(folder, 'shared.db')
  await made(location, state, 2)
  const ledgers = await Promise.all([1, 2].map(() => AuditLedger.open(location, options(state))))
  const signed = (
    await Promise.all(
      ledgers.map(async (ledger) => {
        const all: SignedCheckpoint[] = []
        for (let i = 0; i < 15; i++) {
          await record(ledger, 3)
          all.push(await ledger.checkpoint())
        }
        return all
      }),
    )
  ).flat()
  for (const checkpoint of signed) {
    await assertSigned(checkpoint)
    expect(checkpoint.root).toBe(await rootOf(ledgers[0]!, checkpoint.size))
  }
  for (const ledger of ledgers) await ledger.close()
})

test('a statement that a crash left reserved counts: true of the ledger it is no hindrance, else it is', async () => {
  const [folder, state] = [tempDir(), tempDir()]
  const location = join(folder, 'ledger')
  await made(location, state, 5)
  const memory = folderOfOrigin(state, ORIGIN)
  const [file] = readdirSync(memory)
  const proof = readFileSync(join(memory, file!), 'utf8')
  writeFileSync(join(memory, file!.replace('.tlog-proof', '.00ff.reserved')), proof.slice(0, proof.lastIndexOf('\n\n') + 1))
  let ledger = await AuditLedger.open(location, options(state))
  await record(ledger, 1)
  expect((await ledger.checkpoint()).size).toBe(6)
  expect(readdirSync(memory)).toEqual(['00000000000000000006.tlog-proof'])
  await ledger.close()

  const [otherFolder, otherState] = [tempDir(), tempDir()]
  await made(join(otherFolder, 'ledger'), otherState, 6)
  cpSync(join(folderOfOrigin(otherState, ORIGIN), '00000000000000000006.tlog-proof'), join(memory, '00000000000000000006.00ff.reserved'))
  ledger = await AuditLedger.open(location, options(state))
  await record(ledger, 1)
  await expect(ledger.checkpoint()).rejects.toMatchObject({ code: 'forked' })
  expect(readdirSync(memory), 'what was not signed is not remembered').toHaveLength(2)
  await ledger.close()
})

test('a memory that is damaged is told, and not taken for none', async () => {
  const [folder, state] = [tempDir(), tempDir()]
  const location = join(folder, 'ledger')
  await made(location, state, 5)
  const file = join(folderOfOrigin(state, ORIGIN), '00000000000000000005.tlog-proof')
  const whole = readFileSync(file)
  const end = whole.lastIndexOf('\n\n')
  for (const at of Array.from({ length: 20 }, (_, i) => Math.floor((i * end) / 20))) {
    const harmed = Buffer.from(whole)
    harmed[at]! ^= 1
    writeFileSync(file, harmed)
    await expect(AuditLedger.open(location, options(state)), `byte ${at}`).rejects.toMatchObject({ code: 'damaged', details: { file } })
  }
  writeFileSync(file, whole)
  await (await AuditLedger.open(location, options(state))).close()
})

test('a checkpoint beside the ledger counts where the memory is gone, if the key signed it', async () => {
  const [folder, state] = [tempDir(), tempDir()]
  const location = join(folder, 'ledger')
  await made(location, state, 12)
  cutTail(location, 1)
  rmSync(join(location, 'tree', 'state'), { force: true })
  const ledger = await AuditLedger.open(location, options(tempDir()))
  await expect(ledger.checkpoint()).rejects.toMatchObject({ code: 'behind_checkpoint' })
  const note = readFileSync(join(location, 'tree', 'checkpoint'), 'utf8')
  writeFileSync(join(location, 'tree', 'checkpoint'), note.replace('12', '13'))
  expect((await ledger.checkpoint()).size, 'nobody signed that one').toBe(11)
  await ledger.close()
})

test('a lost, wrong or damaged key is told at opening; without one it goes on only where the owner says so', async () => {
  const [folder, state] = [tempDir(), tempDir()]
  const [location, key] = [join(folder, 'ledger'), join(folder, 'the.key')]
  const keyed = (more: OpenOptions = {}): OpenOptions => options(state, { signer: undefined, ...more })
  await (await AuditLedger.open(location, keyed({ key }))).close()
  await expect(AuditLedger.open(location, keyed())).rejects.toMatchObject({ code: 'key_error' })
  await expect(AuditLedger.open(location, keyed({ key: join(folder, 'no.key') }))).rejects.toMatchObject({ code: 'key_error' })
  const wrong = signerFromSeed(ORIGIN, new Uint8Array(32))
  await expect(AuditLedger.open(location, options(state, { signer: wrong }))).rejects.toMatchObject({ code: 'key_error' })
  for (const unsigned of [keyed({ signer: null }), keyed({ key: 'none' })]) {
    const ledger = await AuditLedger.open(location, unsigned)
    await record(ledger, 1)
    await expect(ledger.checkpoint()).rejects.toMatchObject({ code: 'key_error' })
    await ledger.close()
  }
  const ledger = await AuditLedger.open(location, keyed({ key }))
  expect((await ledger.checkpoint()).size).toBe(3)
  await ledger.close()
  writeFileSync(key, 'nonsense')
  await expect(AuditLedger.open(location, keyed({ key }))).rejects.toMatchObject({ code: 'key_error' })
})

test.each([
  ['fails', async () => Promise.reject(new Error('the HSM is away'))],
  ['gives another signature', async (message: Uint8Array) => signerFromSeed(ORIGIN, new Uint8Array(32)).sign(message)],
  ['gives half of one', async (message: Uint8Array) => (await SIGNER.sign(message)).subarray(32)],
])('a signer that %s signs nothing, and recording goes on', async (_, sign) => {
  const [folder, state] = [tempDir(), tempDir()]
  const signer: Signer = { verifierKey: SIGNER.verifierKey, sign }
  const warnings: LedgerWarning[] = []
  const ledger = await AuditLedger.open(
    join(folder, 'ledger'),
    options(state, { signer, checkpoints: {}, onWarning: (warning) => warnings.push(warning) }),
  )
  await expect(ledger.checkpoint()).rejects.toThrow()
  await record(ledger, 2)
  await ledger.close()
  expect(warnings).toMatchObject([{ code: 'checkpoint_failed' }])
  expect(await readRemembered(ORIGIN, state)).toBe(null)
  expect(existsSync(join(folder, 'ledger', 'tree', 'checkpoint'))).toBe(false)
})

test('where nothing can be remembered, nothing is signed', async () => {
  const [folder, state] = [tempDir(), tempDir()]
  const blocked = join(state, 'a file')
  writeFileSync(blocked, '')
  const ledger = await AuditLedger.open(join(folder, 'ledger'), options(state))
  await ledger.close()
  mkdirSync(join(state, 'writable'))
  const unmemorable = await AuditLedger.open(join(folder, 'second.db'), options(join(state, 'writable')))
  rmSync(join(state, 'writable'), { recursive: true })
  writeFileSync(join(state, 'writable'), 'in the way')
  await expect(unmemorable.checkpoint()).rejects.toMatchObject({ code: 'io_error' })
  expect(await unmemorable.latestCheckpoint()).toBe(null)
  await unmemorable.close()
})

test('keys overlap, and the retired one leaves the checkpoint behind that covers its successor', async () => {
  const [folder, state] = [tempDir(), tempDir()]
  const location = join(folder, 'ledger')
  const successor = signerFromSeed(ORIGIN, new Uint8Array(32).fill(9))
  const keys = [SIGNER, successor].map(({ verifierKey }) => parseVerifierKey(nodeHashing.sha256, verifierKey))
  const [first, second] = keys.map((key) => (typeof key === 'string' ? '' : key.id))
  const signersOf = (note: string): string[] => {
    const parsed = parseNote(Buffer.from(note))
    return typeof parsed === 'string' ? [] : parsed.signatures.map(({ id }) => id)
  }
  await made(location, state, 3)
  let ledger = await AuditLedger.open(location, options(state))
  const added = await ledger.addKey(successor)
  const retired = await ledger.retireKey(first!)
  const { note } = await ledger.at(retired.seq).then((record) => ({ note: record?.entry?.['checkpoint'] as string }))
  expect(signersOf(note)).toEqual([first])
  expect(Number(note.split('\n')[1])).toBeGreaterThan(added.seq)
  await expect(ledger.checkpoint(), 'nobody here may sign any more').rejects.toMatchObject({ code: 'key_error' })
  await ledger.close()
  await expect(AuditLedger.open(location, options(state))).rejects.toMatchObject({ code: 'key_error' })
  ledger = await AuditLedger.open(location, options(state, { signer: successor }))
  expect(signersOf((await ledger.checkpoint()).note)).toEqual([second])
  await ledger.close()
})
