/** Records out of a store's lines. */
import { fitsFilter } from './filter.ts'
import { LedgerRecord } from './record.ts'
import type { RecordFilter, Selection, Store } from './store.ts'

/** Fewer records than these are not worth the question how many of them fit. */
const ASKED_MIN = 5000
/** Where more than this share fits, reading all in their order is faster than fetching each by an index. */
const COMMON_SHARE = 0.5

/** A store, and what opens its encrypted entries: nothing, unless the ledger was opened with a master key. */
export type Readable = Pick<Store, 'read' | 'entries'>

/** Records of these lines, of which none is withheld from whoever has the keys. @throws LedgerError `damaged` */
export async function recordsOf({ entries }: Pick<Store, 'entries'>, lines: readonly Uint8Array[]): Promise<LedgerRecord[]> {
  const opening = await entries?.opening(lines)
  return lines.map((line) => new LedgerRecord(line, opening))
}

/** The records that a store selects, one by one, in bounded memory. @throws LedgerError */
export async function* readRecords(store: Readable, selection: Selection): AsyncGenerator<LedgerRecord, void, undefined> {
  for await (const chunk of store.read(selection)) {
    // Of plain ledgers nothing is awaited.
    const opening = store.entries === undefined ? undefined : await store.entries.opening(chunk)
    for (const line of chunk) yield new LedgerRecord(line, opening)
  }
}

async function isCommon(store: Store, filter: RecordFilter, records: number): Promise<boolean> {
  // What comes from the entry stands in no header.
  if (records < ASKED_MIN || filter.provider !== undefined || filter.model !== undefined) return false
  const [fitting, all] = [await store.count(filter), await store.count({})]
  return fitting > all * COMMON_SHARE
}

/**
 * The records from `from` up to and without `before` that fit, in the order of position: by an index, or, where they are
 * most of all, among all.
 * @throws LedgerError
 */
export async function* readFitting(store: Store, filter: RecordFilter, from: number, before: number): AsyncGenerator<LedgerRecord> {
  const selection: Selection = { filter, from, before, reverse: false, limit: Infinity }
  if (!(await isCommon(store, filter, before - from))) {
    yield* readRecords(store, selection)
    return
  }
  for await (const chunk of store.read({ ...selection, filter: {} })) {
    for (const line of chunk) {
      const record = new LedgerRecord(line)
      if (fitsFilter(filter, record.header, null, null)) yield record
    }
  }
}
