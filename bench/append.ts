/** Appending, each store against the floor under it: the same bytes in the same batches, written with nothing around them. */
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AuditLedger } from '../src/index.ts'
import type { LedgerEntryInput } from '../src/index.ts'
import type { Store } from '../src/ledger/store.ts'
import { openJsonlStore } from '../src/stores/jsonl/index.ts'
import { openSqliteStore } from '../src/stores/sqlite/index.ts'
import { countBatches, linesOf, readBatches } from './batches.ts'
import type { Batch } from './batches.ts'
import { sqliteFloor } from './sqlite-floor.ts'

/** What was written, for the floor. */
type Batches = Batch[]

/** Seconds that `work` takes in a new folder. */
export async function inFolder(work: (folder: string) => Promise<number>): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'cortex-ledger-bench-'))
  try {
    return await work(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function timed(work: () => unknown): Promise<number> {
  const start = performance.now()
  await work()
  return (performance.now() - start) / 1000
}

/** `waiters` callers, each of which records its next call when its last one is durable. */
async function recordAll(ledger: AuditLedger, calls: readonly LedgerEntryInput[], waiters: number): Promise<void> {
  let next = 0
  const caller = async (): Promise<void> => {
    while (next < calls.length) await ledger.record(calls[next++] as LedgerEntryInput)
  }
  await Promise.all(Array.from({ length: waiters }, caller))
}

async function appendTo(store: Store, calls: readonly LedgerEntryInput[], waiters: number, batches: Batches): Promise<number> {
  const sizes: number[] = []
  const ledger = await AuditLedger.open('memory:', { store: countBatches(store, sizes), origin: 'example.com/bench', signer: null })
  // Record 0 is not part of the measurement.
  sizes.length = 0
  const seconds = await timed(() => recordAll(ledger, calls, waiters))
  batches.push(...(await readBatches(ledger, 1, sizes)))
  await ledger.close()
  return seconds
}

export function appendJsonl(
  calls: readonly LedgerEntryInput[],
  waiters: number,
  index: 'background' | 'off',
  batches: Batches,
): Promise<number> {
  return inFolder(async (folder) =>
    appendTo(await openJsonlStore(join(folder, 'ledger'), { readOnly: false, create: true, index }), calls, waiters, batches),
  )
}

export function appendSqlite(calls: readonly LedgerEntryInput[], waiters: number, batches: Batches): Promise<number> {
  return inFolder(async (folder) =>
    appendTo(await openSqliteStore(join(folder, 'ledger.db'), { readOnly: false, create: true }), calls, waiters, batches),
  )
}

/** write and fdatasync of the same bytes in the same batches. */
export function floorJsonl(batches: Batches): Promise<number> {
  const writes = batches.map(linesOf)
  return inFolder(async (folder) => {
    const file = openSync(join(folder, 'floor'), 'a')
    try {
      return await timed(() => {
        for (const bytes of writes) {
          writeSync(file, bytes)
          fdatasyncSync(file)
        }
      })
    } finally {
      closeSync(file)
    }
  })
}

/** The same driver, columns, indexes and pragmas; one transaction for each batch. */
export function floorSqlite(batches: Batches): Promise<number> {
  return inFolder(async (folder) => {
    const floor = await sqliteFloor(join(folder, 'floor.db'))
    try {
      return await timed(() => {
        for (const batch of batches) floor.insert(batch)
      })
    } finally {
      floor.close()
    }
  })
}
