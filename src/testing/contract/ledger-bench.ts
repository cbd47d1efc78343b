/** A ledger on the store of a case: its clock stands still, its randomness repeats, it has no key file. */
import assert from 'node:assert/strict'
import type { LedgerEntryInput } from '../../ledger/entry.ts'
import { ledgerParts, type LedgerOptions } from '../../ledger/founding.ts'
import { Ledger } from '../../ledger/ledger.ts'
import type { LedgerWarning } from '../../ledger/warning.ts'
import type { LedgerRecord } from '../../ledger/record.ts'
import type { Store } from '../../ledger/store.ts'
import { faultyStore, type FaultyStore } from '../faulty-store.ts'
import { fixedClock, type FixedClock } from '../fixed-clock.ts'
import { SAMPLE_ORIGIN } from '../sample-chain.ts'
import { seededRandom } from '../seeded-random.ts'
import type { Bench, OpenStoreOptions } from './bench.ts'

class LedgerUnderTest extends Ledger {
  static async over(store: Store, options: LedgerOptions): Promise<LedgerUnderTest> {
    return new LedgerUnderTest(await ledgerParts(store, options, false))
  }
}

export interface LedgerBench {
  readonly ledger: Ledger
  readonly store: FaultyStore
  readonly clock: FixedClock
  readonly warnings: LedgerWarning[]
}

/** A ledger over a store that is open; the store can be made to fail. */
export async function ledgerOver(bench: Bench, inner: Store, options: LedgerOptions = {}, clock = fixedClock()): Promise<LedgerBench> {
  const warnings: LedgerWarning[] = []
  const store = faultyStore(inner)
  const ledger = await LedgerUnderTest.over(store, {
    origin: SAMPLE_ORIGIN,
    signer: null,
    actor: 'tester',
    clock,
    random: seededRandom(bench.seed),
    onWarning: (warning) => void warnings.push(warning),
    ...options,
  })
  return { ledger: bench.keep(ledger), store, clock, warnings }
}

export async function newLedger(bench: Bench, options: LedgerOptions = {}, opening: OpenStoreOptions = {}): Promise<LedgerBench> {
  return ledgerOver(bench, await bench.open(opening), options)
}

/** Closes the ledger and opens it again, at the same time of day. */
export async function restarted(bench: Bench, before: LedgerBench, options: LedgerOptions = {}): Promise<LedgerBench> {
  await before.ledger.close()
  // Other randomness than before: the ids and salts of a process that starts anew.
  const random = seededRandom(bench.seed + before.store.seen.length + 1000)
  return ledgerOver(bench, await bench.reopen(before.store), { random, ...options }, before.clock)
}

/** The least that an agent call is. */
export function someCall(more: Partial<LedgerEntryInput> = {}): LedgerEntryInput {
  return { agent_name: 'analyst', method_name: 'summarise', ...more }
}

export async function recordsOf(records: AsyncIterable<LedgerRecord>): Promise<LedgerRecord[]> {
  const all: LedgerRecord[] = []
  for await (const record of records) all.push(record)
  return all
}

export async function sizeOf(ledger: Ledger): Promise<number> {
  return (await ledger.head()).size
}

/** The whole ledger verifies, its entries' spelling and the store's columns too. */
export async function assertSound(ledger: Ledger): Promise<void> {
  await ledger.flush()
  const report = await ledger.verifyIntegrity({ canonicalEntries: true })
  assert.deepEqual(report.problems, [])
  assert.equal(report.ok, true)
  assert.equal(report.verdicts.integrity, 'pass')
  const { size, hash } = await ledger.head()
  assert.deepEqual([report.size, report.head], [size, size === 0 ? null : hash])
}
