/** Many writers at once: of those who expect the same, one wins; of those who expect nothing, nobody is lost. */
import assert from 'node:assert/strict'
import type { LedgerError } from '../../ledger/errors.ts'
import type { Ledger } from '../../ledger/ledger.ts'
import type { AppendEventsOptions } from '../../ledger/recording.ts'
import { seededRandom } from '../seeded-random.ts'
import type { Bench, Scenario } from './bench.ts'
import { assertSound, ledgerOver, newLedger, recordsOf, sizeOf, type LedgerBench } from './ledger-bench.ts'

const WRITERS = 20

/** Ledgers of their own: over stores of their own, where the place takes several writers. */
async function writersOf(bench: Bench, { store }: LedgerBench): Promise<Ledger[]> {
  const writers: Ledger[] = []
  for (let i = 0; i < WRITERS; i++) {
    const own = bench.capabilities.secondWriter === 'serialised' ? await bench.reopen(store) : store
    writers.push((await ledgerOver(bench, own, { random: seededRandom(bench.seed + 100 + i), tree: 'on-demand' })).ledger)
  }
  return writers
}

/** All append at once; gives how many won, and asserts why the others did not. */
async function race(writers: readonly Ledger[], options: AppendEventsOptions, code: string): Promise<number> {
  const ended = await Promise.allSettled(
    writers.map((ledger, writer) => ledger.append('contended', { type: 'SeatReserved', data: { writer } }, options)),
  )
  for (const one of ended) if (one.status === 'rejected') assert.equal((one.reason as LedgerError).code, code)
  return ended.filter(({ status }) => status === 'fulfilled').length
}

export const raceCases: readonly Scenario[] = [
  {
    name: `of ${WRITERS} writers with the same expected version one wins`,
    async run(bench) {
      const made = await newLedger(bench)
      const writers = await writersOf(bench, made)
      assert.equal(await race(writers, { expectedVersion: 'no-stream' }, 'version_conflict'), 1)
      assert.equal(await race(writers, { expectedVersion: 0 }, 'version_conflict'), 1)
      assert.equal(await race(writers, { expectedVersion: 0 }, 'version_conflict'), 0)
      assert.equal(await sizeOf(made.ledger), 3)
      await assertSound(made.ledger)
    },
  },
  {
    name: `of ${WRITERS} writers that rule out the same event one wins`,
    async run(bench) {
      const made = await newLedger(bench)
      const writers = await writersOf(bench, made)
      assert.equal(await race(writers, { failIfEventsMatch: { types: 'SeatReserved' }, after: 0 }, 'condition_failed'), 1)
      assert.equal(await race(writers, { failIfEventsMatch: { types: 'SeatReserved' }, after: 1 }, 'condition_failed'), 1)
      assert.equal(await sizeOf(made.ledger), 3)
      await assertSound(made.ledger)
    },
  },
  {
    name: `of ${WRITERS} writers with any version all are there, while somebody follows`,
    async run(bench) {
      const made = await newLedger(bench)
      const writers = await writersOf(bench, made)
      const subscription = made.ledger.subscribe({ after: 0 })
      const followed = (async () => {
        const seqs: number[] = []
        for await (const { seq } of subscription) if (seqs.push(seq) === WRITERS) break
        return seqs
      })()
      assert.equal(await race(writers, { expectedVersion: 'any' }, 'none'), WRITERS)
      assert.deepEqual(
        await followed,
        Array.from({ length: WRITERS }, (_, i) => i + 1),
      )
      const records = (await recordsOf(made.ledger.read({ stream: 'contended' }))).map(({ entry, header }) => ({ entry, header }))
      assert.deepEqual(
        records.map(({ header }) => header.stream_version),
        Array.from({ length: WRITERS }, (_, i) => i),
      )
      assert.equal(new Set(records.map(({ entry }) => entry?.['writer'])).size, WRITERS)
      await assertSound(made.ledger)
    },
  },
]
