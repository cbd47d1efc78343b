import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { AuditLedger, LedgerError } from '../../src/index.ts'
import type { ProveOptions } from '../../src/index.ts'
import { ed25519Check } from '../../src/ledger/ed25519.ts'
import { nodeHashing } from '../../src/ledger/hashing.ts'
import { signerFromSeed } from '../../src/ledger/keys.ts'
import { parseBundle } from '../../src/verify/bundle.ts'
import { checkBundle } from '../../src/verify/bundle-check.ts'
import type { BundleReport } from '../../src/verify/bundle-report.ts'
import { parseVerifierKey } from '../../src/verify/note.ts'
import type { VerifierKey } from '../../src/verify/note.ts'
import { useLedgerUrls } from '../helpers/postgres.ts'
import { tempDir } from '../helpers/temp.ts'

const ORIGIN = 'example.com/prove'
const SIGNER = signerFromSeed(ORIGIN, Buffer.alloc(32, 7))
const KEY = parseVerifierKey(nodeHashing.sha256, SIGNER.verifierKey) as VerifierKey

const STORES: readonly [kind: string, location: () => string][] = [
  ['jsonl', () => join(tempDir(), 'audit')],
  ['sqlite', () => join(tempDir(), 'audit.db')],
  ...useLedgerUrls().map((url): [string, () => string] => ['postgres', url]),
  ['memory', () => 'memory:'],
]

/** Every second call is of task `even`; the tasks' calls have their numbers as run_ids. */
async function filled(location: string, count: number): Promise<AuditLedger> {
  const ledger = await AuditLedger.open(location, {
    origin: ORIGIN,
    signer: SIGNER,
    checkpoints: false,
    stateFolder: join(tempDir(), 'state'),
  })
  await record(ledger, 1, count)
  return ledger
}

async function record(ledger: AuditLedger, from: number, count: number): Promise<void> {
  const calls = Array.from({ length: count }, (_, i) => from + i)
  await Promise.all(
    calls.map((n) =>
      ledger.record({
        agent_name: 'analyst',
        method_name: 'classify',
        run_id: `run-${n}`,
        correlation_id: n % 2 === 0 ? 'even' : 'odd',
        prompt: `secret ${n}`,
      }),
    ),
  )
}

async function checked(bytes: Uint8Array): Promise<BundleReport> {
  return checkBundle(bytes, { ...nodeHashing, ed25519: ed25519Check, keys: [KEY] })
}

async function refusal(work: Promise<unknown>): Promise<LedgerError> {
  const error = await work.then(
    () => null,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(LedgerError)
  return error as LedgerError
}

describe.each(STORES)('%s', (_, location) => {
  test('each record, by its run_id, under checkpoints of each size', async () => {
    await using ledger = await filled(location(), 20)
    await ledger.checkpoint()
    for (let n = 1; n <= 20; n++) {
      const report = await checked(await ledger.prove({ run_id: `run-${n}` }, { disclose: true }))
      expect(report).toMatchObject({ ok: true, checkpoint: { origin: ORIGIN, size: 21 }, verdicts: { authenticity: 'pass' } })
      expect(report.records).toMatchObject([{ entry: 'disclosed', header: { run_id: `run-${n}` }, problems: [] }])
      expect(JSON.parse(report.records[0]!.entry_text!)).toMatchObject({ prompt: `secret ${n}` })
    }
    for (let size = 22; size < 40; size++) {
      await record(ledger, size - 1, 1)
      const checkpoint = await ledger.checkpoint()
      expect(checkpoint.size).toBe(size)
      const report = await checked(await ledger.prove({ seq: [0, 7, size - 1] }, { checkpoint }))
      expect([report.ok, report.checkpoint!.size, report.records.map(({ index }) => index)]).toEqual([true, size, [0, 7, size - 1]])
    }
  })

  test('a task whole, its entries withheld unless they are disclosed', async () => {
    await using ledger = await filled(location(), 9)
    const bytes = await ledger.prove({ correlation_id: 'even' })
    const report = await checked(bytes)
    expect(report.records.map(({ index, entry }) => [index, entry])).toEqual([2, 4, 6, 8].map((seq) => [seq, 'withheld']))
    expect(Buffer.from(bytes).includes('secret'), 'nothing of an entry is in it').toBe(false)
    for (const record of await ledger.getEntriesByCorrelation('even')) expect(Buffer.from(bytes).includes(record.salt!)).toBe(false)
    const some = await checked(await ledger.prove({ correlation_id: ['even', 'odd'] }, { disclose: ({ seq }) => seq % 3 === 0 }))
    expect([some.ok, some.records.map(({ entry }) => entry[0])]).toEqual([true, [...'wwdwwdwwd']])
  })

  test('a checkpoint is signed where none covers the records', async () => {
    await using ledger = await filled(location(), 3)
    expect(await ledger.latestCheckpoint()).toBe(null)
    expect((await checked(await ledger.prove({ seq: 2 }))).checkpoint!.size).toBe(4)
    await record(ledger, 4, 2)
    expect((await checked(await ledger.prove({ seq: 2 }))).checkpoint!.size, 'the old one covers it').toBe(4)
    expect((await checked(await ledger.prove({ seq: 5 }))).checkpoint!.size).toBe(6)
  })

  test('what is not there, and what means nothing', async () => {
    await using ledger = await filled(location(), 3)
    for (const [request, why] of [
      [{ run_id: 'run-9' }, 'run-9'],
      [{ run_id: ['run-1', 'run-9'] }, 'run-9'],
      [{ correlation_id: 'none' }, 'none'],
      [{ seq: 4 }, 'position 4'],
    ] as const) {
      const { code, message } = await refusal(ledger.prove(request))
      expect([code, message]).toEqual(['not_found', expect.stringContaining(why)])
    }
    for (const request of [{}, { run_id: 'a', seq: 1 }, { run_id: undefined }, { run_id: 7 }, { correlation_id: [1] }, { size: 3 }])
      await expect(ledger.prove(request as object), JSON.stringify(request)).rejects.toThrow(TypeError)
    for (const request of [{ seq: -1 }, { seq: 0.5 }, { seq: [] }, { seq: ['1'] }])
      await expect(ledger.prove(request as object), JSON.stringify(request)).rejects.toThrow(RangeError)
    await expect(ledger.prove({ seq: 1 }, { disclose: 'yes' } as unknown as ProveOptions)).rejects.toThrow(TypeError)
    const checkpoint = await ledger.checkpoint()
    await expect(ledger.prove({ seq: 1 }, { checkpoint: { ...checkpoint, size: 3 } })).rejects.toThrow(RangeError)
    await expect(ledger.prove({ seq: 1 }, { checkpoint: { ...checkpoint, note: 'x' } })).rejects.toThrow(RangeError)
    await record(ledger, 4, 1)
    expect((await refusal(ledger.prove({ seq: 4 }, { checkpoint }))).code).toBe('not_covered')
  })
})

describe.each(STORES.slice(0, -1))('%s, read by another', (_, locationOf) => {
  test('a reader proves beside a writer, and says where it can not', async () => {
    const location = locationOf()
    await using writer = await filled(location, 5)
    await using reader = await AuditLedger.open(location, { readOnly: true })
    const none = await refusal(reader.prove({ seq: 3 }))
    expect([none.code, none.message]).toEqual(['not_covered', expect.stringMatching(/record 3 .* no checkpoint .*ledger\.checkpoint\(\)/)])
    await writer.checkpoint()
    expect(await checked(await reader.prove({ run_id: 'run-3' }))).toMatchObject({ ok: true, checkpoint: { size: 6 } })
    await record(writer, 6, 10)
    const behind = await refusal(reader.prove({ run_id: 'run-9' }))
    expect([behind.code, behind.details]).toEqual(['not_covered', { seq: 9, size: 6 }])
    await writer.checkpoint()
    expect(await reader.prove({ run_id: 'run-9' })).toEqual(await writer.prove({ run_id: 'run-9' }))
  })

  test('a checkpoint that was signed for another ledger proves nothing of this one', async () => {
    await using one = await filled(locationOf(), 5)
    await using other = await filled(locationOf(), 5)
    const checkpoint = await other.checkpoint()
    const { code, message } = await refusal(one.prove({ seq: 3 }, { checkpoint }))
    expect([code, message]).toEqual(['damaged', expect.stringContaining('run verify')])
  })
})

test('more records than are read at once, all in one file', async () => {
  await using ledger = await filled('memory:', 2500)
  const bytes = await ledger.prove({ correlation_id: ['odd', 'even'] })
  const bundle = parseBundle(bytes)
  expect(typeof bundle === 'string' ? bundle : bundle.records.map(({ index }) => index)).toEqual(
    Array.from({ length: 2500 }, (_, i) => i + 1),
  )
  expect((await checked(bytes)).ok).toBe(true)
  expect((await checked(await ledger.prove({ seq: [2400, 7, 7, 1200] }))).records.map(({ index }) => index)).toEqual([7, 1200, 2400])
})
