/** A small ledger in memory whose calls came in a day apart, with a cold archive in memory. */
import { onTestFinished } from 'vitest'
import { AuditLedger } from '../../src/index.ts'
import type { OpenOptions } from '../../src/index.ts'
import { archiveInMemory } from '../../src/ledger/archive-in-memory.ts'
import type { ArchiveStore } from '../../src/ledger/archive.ts'
import type { Store } from '../../src/ledger/store.ts'
import { openMemoryStore } from '../../src/stores/memory.ts'
import { fixedClock } from '../../src/testing/fixed-clock.ts'
import type { FixedClock } from '../../src/testing/fixed-clock.ts'
import { signer } from './published.ts'

export const DAY_US = 86_400_000_000

export interface Retained {
  readonly ledger: AuditLedger
  readonly store: Store
  readonly clock: FixedClock
  readonly cold: ArchiveStore
  /** Another opening of the same ledger. */
  readonly open: (options?: OpenOptions) => Promise<AuditLedger>
}

export async function retained(days = 40, options: OpenOptions = {}, store: Store = openMemoryStore()): Promise<Retained> {
  const clock = fixedClock()
  const cold = archiveInMemory('cold:')
  // Closing a ledger in memory refuses everything else, so it stays open below.
  const kept = { ...store, close: async () => {} }
  const open = (more: OpenOptions = {}): Promise<AuditLedger> =>
    AuditLedger.open('memory:', {
      store: kept,
      clock,
      archive: cold,
      origin: signer.verifierKey.split('+')[0]!,
      signer,
      checkpoints: false,
      ...options,
      ...more,
    })
  const ledger = await open()
  onTestFinished(() => ledger.close())
  for (let i = 0; i < days; i++) {
    const said = { agent_name: `agent-${i % 3}`, method_name: 'ask', model_name: i % 2 === 0 ? 'large' : 'small' }
    await ledger.record({ run_id: `run-${i}`, correlation_id: `task-${i % 5}`, prompt: `the secret ${i}`, ...said })
    clock.advance(DAY_US)
  }
  return { ledger, store, clock, cold, open }
}

export async function namesIn(archive: ArchiveStore, prefix = 'entries-'): Promise<string[]> {
  const names: string[] = []
  for await (const { name } of archive.list(prefix)) names.push(name)
  return names
}

/** All that comes, in order. */
export async function gathered<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const all: Item[] = []
  for await (const item of items) all.push(item)
  return all
}
