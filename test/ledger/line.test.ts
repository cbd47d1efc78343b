/** Batches on their way together: whatever becomes of one, what was acknowledged is there once, and nothing else is. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { AuditLedger, LedgerError } from '../../src/index.ts'
import type { Receipt } from '../../src/index.ts'
import { openMemoryStore } from '../../src/stores/memory.ts'
import type { Store } from '../../src/ledger/store.ts'
import { faultyStore } from '../../src/testing/index.ts'
import type { Fault } from '../../src/testing/index.ts'
import { scale } from '../helpers/scale.ts'

const OPEN = { origin: 'example.com/line', actor: 'tester', signer: null } as const

/** Appends in memory take effect at once, and so in order; what was appended is told some time later, all in order too. */
function pipelined(store: Store, { seen }: { seen: { most: number } }): Store {
  let [last, underWay]: [Promise<void>, number] = [Promise.resolve(), 0]
  return new Proxy(store, {
    get(target, name) {
      if (name === 'pipelined') return true
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      if (name !== 'append') return value.bind(target)
      return async (...args: Parameters<Store['append']>) => {
        seen.most = Math.max(seen.most, ++underWay)
        const appended = target.append(...args)
        const before = last
        last = appended.catch(() => {}).then(() => before)
        try {
          await new Promise((resolve) => setImmediate(resolve))
          await before
          await appended
        } finally {
          underWay--
        }
      }
    },
  })
}

interface Run {
  readonly faults: readonly ('none' | 'refuse' | 'lose' | 'persist' | 'interfere' | 'late')[]
  readonly callers: number
  /** Appends of each, and how many records each has. */
  readonly sizes: readonly number[]
  /** Of every so many callers one says which version its stream is at. */
  readonly expecting: number
}

const FAULTS = (act: () => Promise<unknown>): Record<Run['faults'][number], Fault> => ({
  none: { kind: 'none' },
  refuse: { kind: 'refuse', code: 'io_error' },
  lose: { kind: 'lose' },
  persist: { kind: 'persist' },
  interfere: { kind: 'interfere', act },
  late: { kind: 'delay', ms: 2 },
})

const runs: fc.Arbitrary<Run> = fc.record({
  faults: fc.array(fc.constantFrom('none', 'none', 'none', 'refuse', 'lose', 'persist', 'interfere', 'late'), { maxLength: 12 }),
  callers: fc.integer({ min: 1, max: 60 }),
  sizes: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 4 }),
  expecting: fc.integer({ min: 2, max: 5 }),
})

test('what was acknowledged is there once and in order, what was refused is not, and it verifies', async () => {
  const seen = { most: 0 }
  await fc.assert(
    fc.asyncProperty(runs, async ({ faults, callers, sizes, expecting }) => {
      const memory = await openMemoryStore()
      const store = faultyStore(pipelined(memory, { seen }))
      const ledger = await AuditLedger.open('memory:', { ...OPEN, store })
      const other = await AuditLedger.open('memory:', { ...OPEN, store: memory })
      const act = async (): Promise<void> => void (await other.append('other', { type: 'SomethingHappened', actor: 'other', data: {} }))
      store.plan('append', ...faults.map((name) => FAULTS(act)[name]))
      const [receipts, refused]: [Receipt[], string[]] = [[], []]
      await Promise.all(
        Array.from({ length: callers }, async (_, caller) => {
          const stream = `s-${caller}`
          let version = -1
          for (const [i, size] of sizes.entries()) {
            const events = Array.from({ length: size }, (_, n) => ({
              type: 'StepTaken',
              actor: stream,
              action: `${i}`,
              data: { id: `${stream}/${i}/${n}` },
            }))
            const expectedVersion = caller % expecting === 0 ? (version < 0 ? 'no-stream' : version) : 'any'
            try {
              const told = await ledger.append(stream, events, { expectedVersion })
              version = told.at(-1)!.stream_version
              receipts.push(...told)
            } catch (error) {
              if (!(error instanceof LedgerError)) throw error
              if (error.details.outcome_unknown !== true) refused.push(`${stream}/${i}/0`)
              break
            }
          }
        }),
      )
      const ids = new Map<string, number>()
      const hashes: string[] = []
      for await (const { hash, entry } of ledger.read()) {
        hashes.push(hash)
        const { id } = (entry?.['data'] ?? entry ?? {}) as { id?: string }
        if (id === undefined) continue
        expect(ids.has(id)).toBe(false)
        ids.set(id, hashes.length - 1)
      }
      for (const { seq, hash } of receipts) expect(hashes[seq]).toBe(hash)
      expect(ids.size).toBeGreaterThanOrEqual(receipts.length)
      expect(new Set(receipts.map(({ seq }) => seq)).size).toBe(receipts.length)
      for (const id of refused) expect(ids.has(id)).toBe(false)
      expect((await ledger.verifyIntegrity()).ok).toBe(true)
      await ledger.close()
      await other.close()
    }),
    { numRuns: scale(150, 5000) },
  )
  // Else none of this tried what it is for.
  expect(seen.most).toBe(2)
}, 300_000)

test('callers that come at once are parted in two, and few of them are not', async () => {
  const sizesOf = async (callers: number): Promise<number[]> => {
    const store = faultyStore(pipelined(await openMemoryStore(), { seen: { most: 0 } }))
    const ledger = await AuditLedger.open('memory:', { ...OPEN, store })
    // It asks where the ledger ends first.
    await ledger.append('s', { type: 'StepTaken', actor: 'a', data: {} })
    const before = store.seen.length
    await Promise.all(Array.from({ length: callers }, (_, i) => ledger.append(`s-${i}`, { type: 'StepTaken', actor: 'a', data: {} })))
    await ledger.close()
    return store.seen.slice(before).flatMap(({ call, seqs }) => (call === 'append' ? [seqs.length] : []))
  }
  expect(await sizesOf(15)).toEqual([15])
  expect(await sizesOf(16)).toEqual([8, 8])
  expect(await sizesOf(64)).toEqual([32, 32])
  expect(await sizesOf(1000)).toEqual([250, 250, 250, 250])
})
