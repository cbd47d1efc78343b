/** Records out of a store's lines. */
import { fitsFilter, isEmptyFilter } from './filter.ts'
import { LedgerRecord } from './record.ts'
import type { EntryOpening, RecordFilter, Selection, Store } from './store.ts'

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

/** Made one by one: those before a line that is no record are handed out. @throws LedgerError `damaged` */
function* eachRecord(lines: readonly Uint8Array[], opening: EntryOpening | undefined): Generator<LedgerRecord, void, undefined> {
  for (const line of lines) yield new LedgerRecord(line, opening)
}

/** The records of each chunk of a store. Whoever takes each of them at once, awaits nothing but the next chunk. */
export type RecordBatches = AsyncGenerator<Iterable<LedgerRecord>, void, undefined>

async function* selectedBatches(store: Readable, selection: Selection): RecordBatches {
  for await (const chunk of store.read(selection)) {
    // Of plain ledgers nothing is awaited.
    yield eachRecord(chunk, store.entries === undefined ? undefined : await store.entries.opening(chunk))
  }
}

/** The records that a store selects, one by one, in bounded memory. @throws LedgerError */
export async function* readRecords(store: Readable, selection: Selection): AsyncGenerator<LedgerRecord, void, undefined> {
  for await (const batch of selectedBatches(store, selection)) for (const record of batch) yield record
}

async function isCommon(store: Store, filter: RecordFilter, records: number): Promise<boolean> {
  // What comes from the entry stands in no header.
  if (records < ASKED_MIN || filter.provider !== undefined || filter.model !== undefined) return false
  const [fitting, all] = [await store.count(filter), await store.count({})]
  return fitting > all * COMMON_SHARE
}

function* fitting(records: Iterable<LedgerRecord>, { type, ...others }: RecordFilter): Generator<LedgerRecord, void, undefined> {
  const isTypeAlone = isEmptyFilter(others)
  for (const record of records) {
    // Only where the type does not decide it, the header is parsed.
    if (type !== undefined && !type.includes(record.type)) continue
    if (isTypeAlone || fitsFilter(others, record.header, null, null)) yield record
  }
}

/**
 * The records from `from` up to and without `before` that fit, in the order of position, by chunks: by an index, or, where
 * they are most of all, among all.
 * @throws LedgerError
 */
export async function* readFitting(store: Store, filter: RecordFilter, from: number, before: number): RecordBatches {
  const selection: Selection = { filter, from, before, reverse: false, limit: Infinity }
  if (!(await isCommon(store, filter, before - from))) {
    yield* selectedBatches(store, selection)
    return
  }
  for await (const batch of selectedBatches(store, { ...selection, filter: {} })) yield fitting(batch, filter)
}
