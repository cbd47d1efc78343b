/** What encryption costs: recording and reading with and without, and an entry alone beside the cipher on the same bytes. */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { AuditLedger, masterKeyFrom } from '../src/index.ts'
import type { OpenOptions } from '../src/index.ts'
import { boundTo, DATA_KEY_BYTES, openSealedEntry, sealEntry } from '../src/ledger/encryption/sealed-entry.ts'
import { systemRandom } from '../src/ledger/random.ts'
import { byCallers } from './appending.ts'
import { inRounds } from './figures.ts'
import type { Result, Row } from './rows.ts'
import { LEDGER_OPTIONS, locationIn, STORES, timed } from './session.ts'
import type { Session, StoreKind } from './session.ts'
import { sampleCalls } from './workloads.ts'

const CALLERS = 64
/** Fewer than elsewhere: each data key that is new costs a sync, and each ledger is read whole. */
const ROUNDS = 3
const IV_BYTES = 12
const master = masterKeyFrom(new Uint8Array(32).fill(7))

const IN_CLEAR: OpenOptions = LEDGER_OPTIONS
const ONE_KEY: OpenOptions = { ...LEDGER_OPTIONS, encryption: { master, keyOf: () => 'all of it' } }
/** The stream's, which is the task's; a new one costs a synced write. */
const KEY_A_TASK: OpenOptions = { ...LEDGER_OPTIONS, encryption: { master } }

async function recordedIn(location: string, options: OpenOptions, count: number): Promise<number> {
  const calls = sampleCalls(count)
  const ledger = await AuditLedger.open(location, options)
  try {
    return await timed(() => byCallers(CALLERS, count, (i) => ledger.record(calls[i]!)))
  } finally {
    await ledger.close()
  }
}

async function recordingRows(session: Session, store: StoreKind): Promise<Row[]> {
  const count = session.count(6400, 64)
  const rate = (options: OpenOptions): Promise<number> =>
    session.inFolder(async (folder) => count / (await recordedIn(locationIn(folder, store), options, count)))
  const series = await inRounds(session.count(ROUNDS, 1), async () => ({
    clear: await rate(IN_CLEAR),
    one: await rate(ONE_KEY),
    many: await rate(KEY_A_TASK),
  }))
  const row = (keys: string, ours: readonly number[]): Row => ({
    topic: 'encryption',
    what: `recording, ${store}, ${CALLERS} callers, ${keys}`,
    unit: 'records/s',
    ours,
    floor: series.clear,
    target: null,
    note: 'beside it: in clear',
  })
  return [row('one data key', series.one), row('a data key a task', series.many)]
}

async function readingRow(session: Session, store: StoreKind): Promise<Row> {
  const count = session.count(20_000, 100)
  const made = async (options: OpenOptions): Promise<() => Promise<number>> => {
    const location = locationIn(session.keptFolder(), store)
    await recordedIn(location, options, count)
    return async () => {
      const ledger = await AuditLedger.open(location, { ...options, readOnly: true })
      let read = 0
      const seconds = await timed(async () => {
        for await (const { entry, header } of ledger.read()) if (entry?.['agent_name'] === header.actor) read++
      })
      await ledger.close()
      if (read !== count) throw new Error(`${read} of ${count} entries could be read`)
      return count / seconds
    }
  }
  const [encrypted, clear] = [await made(KEY_A_TASK), await made(IN_CLEAR)]
  const { ours, floor } = await inRounds(session.count(ROUNDS, 1), async () => ({ ours: await encrypted(), floor: await clear() }))
  return { topic: 'encryption', what: `reading, ${store}`, unit: 'records/s', ours, floor, target: null, note: 'beside it: in clear' }
}

/** Entries by themselves, beside the cipher alone under one key, whose ivs lie ready. */
async function aloneRows(session: Session): Promise<Row[]> {
  const texts = sampleCalls(session.count(10_000, 50)).map((call) => JSON.stringify(call))
  const bytes = texts.map((text) => Buffer.from(text))
  const key = { id: 'bench', bytes: randomBytes(DATA_KEY_BYTES) }
  const bound = texts.map((_, i) => boundTo(LEDGER_OPTIONS.origin, `run-${i}`))
  const [random, ivs] = [systemRandom(), texts.map(() => randomBytes(IV_BYTES))]
  const sealed = texts.map((text, i) => sealEntry(text, key, bound[i]!, random))
  const enciphered = bytes.map((plain, i) => encipher(key.bytes, ivs[i]!, plain))
  const rate = async (work: (i: number) => unknown): Promise<number> => texts.length / (await timed(() => texts.forEach((_, i) => work(i))))
  const series = await inRounds(session.rounds, async () => ({
    seal: await rate((i) => sealEntry(texts[i]!, key, bound[i]!, random)),
    encipher: await rate((i) => encipher(key.bytes, ivs[i]!, bytes[i]!)),
    open: await rate((i) => openSealedEntry(sealed[i]!, key, bound[i]!)),
    decipher: await rate((i) => decipher(key.bytes, ivs[i]!, enciphered[i]!)),
  }))
  const note = `${(bytes.reduce((sum, { length }) => sum + length, 0) / bytes.length).toFixed(0)} bytes an entry; beside it: AES-256-GCM`
  const row = (what: string, ours: readonly number[], floor: readonly number[]): Row => ({
    topic: 'encryption',
    what,
    unit: 'records/s',
    ours,
    floor,
    target: null,
    note,
  })
  return [row('an entry encrypted', series.seal, series.encipher), row('an entry decrypted', series.open, series.decipher)]
}

interface Enciphered {
  readonly content: Buffer
  readonly tag: Buffer
}

function encipher(key: Uint8Array, iv: Uint8Array, plain: Uint8Array): Enciphered {
  const cipher = createCipheriv('aes-256-gcm', key, iv)
  const content = Buffer.concat([cipher.update(plain), cipher.final()])
  return { content, tag: cipher.getAuthTag() }
}

function decipher(key: Uint8Array, iv: Uint8Array, { content, tag }: Enciphered): Buffer {
  const opened = createDecipheriv('aes-256-gcm', key, iv).setAuthTag(tag)
  return Buffer.concat([opened.update(content), opened.final()])
}

export async function encryptionRows(session: Session): Promise<Result[]> {
  const rows: Row[] = []
  for (const store of session.some(STORES)) {
    rows.push(...(await recordingRows(session, store)), await readingRow(session, store))
    session.say(`encryption, ${store}`)
  }
  rows.push(...(await aloneRows(session)))
  session.say('encryption, entries alone')
  return rows
}
