/** Appending that is measured, whatever the store: by few callers, by many, or by the thousand. */
import { AuditLedger } from '../src/index.ts'
import type { Store } from '../src/ledger/store.ts'
import { countBatches, readBatches } from './batches.ts'
import type { Batch } from './batches.ts'
import { LEDGER_OPTIONS, timed } from './session.ts'
import { sampleCalls, sampleEvents } from './workloads.ts'
import type { Workload } from './workloads.ts'

const BATCH = 1000

/** How records come: by so many callers, each of whom waits for its own, or 1,000 at once. */
export interface Manner {
  readonly who: string
  readonly callers: number | 'batches'
  readonly usual: number
  readonly quick: number
  readonly hasTarget: boolean
}

/** `callers` at once, each of whom appends the next when its last one is durable. */
export async function byCallers(callers: number, count: number, append: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0
  const caller = async (): Promise<void> => {
    while (next < count) await append(next++)
  }
  await Promise.all(Array.from({ length: callers }, caller))
}

/** Makes the samples beforehand; what it returns does the work that is measured. */
export function appending(workload: Workload, { callers }: Manner, count: number): (ledger: AuditLedger) => Promise<void> {
  if (workload === 'calls') {
    const calls = sampleCalls(count)
    if (callers !== 'batches') return (ledger) => byCallers(callers, count, (i) => ledger.record(calls[i]!))
    return async (ledger) => {
      for (let i = 0; i < count; i += BATCH) await Promise.all(calls.slice(i, i + BATCH).map((call) => ledger.record(call)))
    }
  }
  const events = sampleEvents(count)
  if (callers !== 'batches') return (ledger) => byCallers(callers, count, (i) => ledger.append(events[i]!.correlation_id, events[i]!))
  return async (ledger) => {
    for (let i = 0; i < count; i += BATCH) await ledger.append(`run-${i / BATCH}`, events.slice(i, i + BATCH))
  }
}

export interface Appended {
  readonly seconds: number
  /** Until the index has them too, from the first record on. */
  readonly sustained: number
  /** What was there before. */
  readonly before: Batch
  readonly batches: readonly Batch[]
}

export async function appendTo(store: Store, append: (ledger: AuditLedger) => Promise<void>): Promise<Appended> {
  const sizes: number[] = []
  const ledger = await AuditLedger.open('memory:', { ...LEDGER_OPTIONS, store: countBatches(store, sizes) })
  try {
    // Neither record 0 nor starting the index's thread, which takes as long as some thousand records, is measured.
    await ledger.append('warm-up', sampleEvents(BATCH))
    await ledger.flush()
    const { size } = await ledger.head()
    sizes.length = 0
    const seconds = await timed(() => append(ledger))
    const start = performance.now()
    await ledger.flush()
    const sustained = seconds + (performance.now() - start) / 1000
    const [before = [], ...batches] = await readBatches(ledger, 0, [size, ...sizes])
    return { seconds, sustained, before, batches }
  } finally {
    await ledger.close()
  }
}
