/** What a ledger holds, in figures. */
import { LedgerRecord } from './record.ts'
import type { Store, StoreDescription, TallyColumn } from './store.ts'
import type { TextFigures, TextIndex } from './text.ts'

export interface LedgerStats {
  readonly origin: string | null
  readonly size: number
  /** Hash of the last record, or null where there is none. */
  readonly head: string | null
  readonly recorded: { readonly first: string | null; readonly last: string | null }
  readonly outcomes: { readonly [outcome: string]: number }
  readonly types: { readonly [type: string]: number }
  /** Records that wait to be written by this process. */
  readonly pending: number
  /** Captured calls of this process that could not be recorded and are in no gap record yet. */
  readonly unrecorded: number
  readonly store: StoreDescription
  /** The full-text index, and how many records it does not have yet; null where there is none. */
  readonly text: (TextFigures & { readonly lag_records: number }) | null
}

async function counts(store: Store, column: TallyColumn): Promise<{ [value: string]: number }> {
  return Object.fromEntries(await store.tally(column, {}))
}

async function firstRecordedAt(store: Store): Promise<string | null> {
  for await (const [line] of store.read({ filter: {}, from: 0, before: 1, reverse: false, limit: 1 })) {
    if (line !== undefined) return new LedgerRecord(line).header.recorded_at
  }
  return null
}

/** All that the store and the text index can tell. */
export async function storedStats(
  store: Store,
  origin: string | null,
  textIndex: TextIndex | null,
): Promise<Omit<LedgerStats, 'pending' | 'unrecorded'>> {
  const { head } = await store.state({ streams: [], run_ids: [] })
  const text = (await textIndex?.figures()) ?? null
  return {
    origin,
    size: head.size,
    head: head.size === 0 ? null : head.hash,
    recorded: { first: await firstRecordedAt(store).catch(() => null), last: head.recorded_at },
    outcomes: await counts(store, 'outcome'),
    types: await counts(store, 'type'),
    store: await store.describe(),
    text: text === null ? null : { ...text, lag_records: Math.max(0, head.size - text.records) },
  }
}
