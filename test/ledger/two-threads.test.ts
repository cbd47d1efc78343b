/** Two threads say what one says: of honest ledgers in every field, and of damaged ones as well. */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { verifyLedger } from '../../src/index.ts'
import type { VerificationReport } from '../../src/index.ts'
import { auditOnce } from '../../src/ledger/audit.ts'
import type { AuditOptions } from '../../src/ledger/audit.ts'
import { auditInTwo, auditPart } from '../../src/open-audit.ts'
import type { OtherThread } from '../../src/open-audit.ts'
import { openStore } from '../../src/open-store.ts'
import { openJsonlStore } from '../../src/stores/jsonl/index.ts'
import { openSqliteStore } from '../../src/stores/sqlite/index.ts'
import { LEDGER_CREATED, SampleChain } from '../../src/testing/sample-chain.ts'
import type { Sample } from '../../src/testing/sample-chain.ts'
import { makeHonestLedger } from '../helpers/honest-ledger.ts'
import { scale, soaking } from '../helpers/scale.ts'
import { changedBytes, linesIn, movedLines, spelledOtherwise } from '../helpers/tampering.ts'
import type { Tampered } from '../helpers/tampering.ts'
import { tempDir } from '../helpers/temp.ts'

/** The other part on this thread: the same code, without the price of a thread. */
function here(): OtherThread {
  let close = (): void => {}
  return {
    async ask(request) {
      const found = await auditPart(request)
      if (found !== null) ({ close } = found)
      return found?.answer ?? null
    },
    close: async () => close(),
  }
}

interface Both {
  readonly one: VerificationReport
  /** Null where the parts could not be joined, so that one thread does it all. */
  readonly two: VerificationReport | null
}

async function both(location: string, from: number, options: AuditOptions, sizes: readonly number[] | null): Promise<Both> {
  const store = await openStore(location, { readOnly: true, index: 'off' })
  try {
    const one = await auditOnce(store, options, sizes)
    const two = await auditInTwo(location, store, options, sizes, from, here())
    if (two !== null)
      expect(two.facts === null ? null : [...two.facts.roots].toSorted(([a], [b]) => a - b)).toEqual(
        one.facts === null ? null : [...one.facts.roots].toSorted(([a], [b]) => a - b),
      )
    if (two !== null) expect(two.facts?.keys).toEqual(one.facts?.keys)
    return { one: one.report, two: two?.report ?? null }
  } finally {
    await store.close()
  }
}

const sample: fc.Arbitrary<Sample> = fc.record(
  {
    stream: fc.constantFrom('a', 'b', 'c', 'd', 'é🦊'),
    correlation_id: fc.constantFrom('x', 'y'),
    tags: fc.constantFrom(['t'], ['t', 'u']),
    entry: fc.constantFrom({ n: 1 }, { text: 'é\u2028' }),
    further: fc.constantFrom({ zone: 'z' }, { zebra: 7 }, { zzz: 'q', zz: 1 }),
  },
  { requiredKeys: [] },
)
const appended = fc.record({ samples: fc.array(sample, { minLength: 1, maxLength: 4 }), whole: fc.boolean(), newSegment: fc.boolean() })
const own: fc.Arbitrary<Sample> = fc.constantFrom(
  { stream: 'ledger', type: 'EntryErased', entry: { seq: 2 } },
  { stream: 'ledger', type: 'EntriesArchived', entry: { first_seq: 1, last_seq: 3 } },
  { stream: 'ledger', type: 'EntriesRestored', entry: { seqs: [1, 3] } },
  { stream: 'ledger', type: 'EntriesArchived', entry: { seqs: [0, 2] } },
)

describe.each([
  ['JSONL', 'audit', (path: string) => openJsonlStore(path, { index: 'off' })],
  ['SQLite', 'audit.db', (path: string) => openSqliteStore(path)],
] as const)('%s', (_, file, open) => {
  test(
    'random honest ledgers, cut anywhere: joined, and equal in every field',
    async () => {
      const histories = fc.record({
        appends: fc.array(fc.oneof({ weight: 5, arbitrary: appended }, { weight: 1, arbitrary: own }), { minLength: 1, maxLength: 14 }),
        share: fc.double({ min: 0, max: 1, noNaN: true }),
        idsInMemory: fc.constantFrom(0, 5, 100_000),
        canonicalEntries: fc.boolean(),
        withTree: fc.boolean(),
      })
      await fc.assert(
        fc.asyncProperty(histories, async ({ appends, share, idsInMemory, canonicalEntries, withTree }) => {
          const location = join(tempDir(), file)
          const store = await open(location)
          const chain = new SampleChain()
          await chain.append(store, [LEDGER_CREATED])
          for (const step of appends) {
            if ('samples' in step) await chain.append(store, step.samples, { whole: step.whole, newSegment: step.newSegment })
            else await chain.append(store, [step])
          }
          await store.close()
          const size = chain.lines.length
          const from = Math.max(1, Math.min(size - 1, Math.floor(size * share)))
          const { one, two } = await both(location, from, { idsInMemory, canonicalEntries }, withTree ? [1, from, size, size + 5] : null)
          expect(one.problems).toEqual([])
          expect(two).toEqual(one)
        }),
        { numRuns: scale(15, 1000) },
      )
    },
    scale(60_000, 3_600_000),
  )
})

async function honestSegment(records: number, seed = 1): Promise<Buffer> {
  const { readFileSync } = await import('node:fs')
  const location = join(tempDir(), 'ledger')
  await makeHonestLedger(location, records, seed, { index: 'off' })
  return readFileSync(join(location, 'segments', '00000000000000000000.jsonl'))
}

describe('a damaged ledger', () => {
  test(
    'of every kind is never joined: what it is told of is what one thread tells',
    async () => {
      const segment = await honestSegment(16)
      const strangers = linesIn(await honestSegment(16, 2))
      const location = join(tempDir(), 'audit')
      mkdirSync(join(location, 'segments'), { recursive: true })
      const every = soaking ? 1 : 61
      const variants = [
        ...movedLines(segment, strangers),
        ...spelledOtherwise(segment),
        ...changedBytes(
          segment,
          [...segment.keys()].filter((at) => at % every === 0),
        ),
      ]
      const chosen: Tampered[] = soaking ? variants : variants.filter((_variant, i) => i % 11 === 0)
      const joined: string[] = []
      for (const [i, { name, bytes }] of chosen.entries()) {
        writeFileSync(join(location, 'segments', '00000000000000000000.jsonl'), bytes)
        const { one, two } = await both(location, 1 + (i % 15), {}, null)
        expect(one.ok, name).toBe(false)
        if (two !== null) joined.push(name)
      }
      expect(joined).toEqual([])
      expect(chosen.length).toBeGreaterThan(80)
    },
    scale(120_000, 3_600_000),
  )

  test('ids and versions that go wrong only across the cut are found', async () => {
    for (const [name, samples] of [
      ['a run_id twice', [{ run_id: 'same' }, {}, {}, {}, {}, { run_id: 'same' }]],
      ['an open append', [{}, {}, {}, {}, {}, { further: { append_last_seq: 9 } }]],
    ] as const) {
      const location = join(tempDir(), 'audit')
      const store = await openJsonlStore(location, { index: 'off' })
      const chain = new SampleChain()
      await chain.append(store, [LEDGER_CREATED])
      for (const each of samples) await chain.append(store, [each])
      await store.close()
      for (let from = 1; from < chain.lines.length; from++) {
        const { one, two } = await both(location, from, {}, null)
        expect(one.problems_total, name).toBe(1)
        expect(two, `${name}, cut at ${from}`).toBeNull()
      }
    }
  })

  test('a part that can not be had, or no room, is no harm', async () => {
    const location = join(tempDir(), 'audit')
    await makeHonestLedger(location, 30)
    const store = await openStore(location, { readOnly: true, index: 'off' })
    const lost: OtherThread = { ask: async () => Promise.reject(new Error('no thread')), close: async () => {} }
    expect(await auditInTwo(location, store, {}, null, 12, lost)).toBeNull()
    const nowhere = { temporaryFolder: join(location, 'not there') }
    expect(await auditInTwo(location, store, nowhere, null, 12, here())).toBeNull()
    await store.close()
  })
})

describe('real threads', () => {
  test.each(['audit', 'audit.db'])('%s: the same report, nothing left behind, honest and damaged', async (name) => {
    const location = join(tempDir(), name)
    const temporaryFolder = tempDir()
    await makeHonestLedger(location, 200)
    const one = await verifyLedger(location, { threads: 1 })
    expect(await verifyLedger(location, { threads: 2, temporaryFolder })).toEqual(one)
    expect(readdirSync(temporaryFolder)).toEqual([])
    if (name !== 'audit') return
    const file = join(location, 'segments', '00000000000000000000.jsonl')
    const { readFileSync } = await import('node:fs')
    const segment = readFileSync(file)
    for (const share of [0.2, 0.8]) {
      const changed = Buffer.from(segment)
      changed[Math.floor(segment.length * share)]! ^= 1
      writeFileSync(file, changed)
      expect(await verifyLedger(location, { threads: 2 })).toEqual(await verifyLedger(location, { threads: 1 }))
    }
  })

  test('what is aborted ends with the reason', async () => {
    const location = join(tempDir(), 'audit')
    await makeHonestLedger(location, 50)
    await expect(verifyLedger(location, { threads: 2, signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough')
  })
})
