/** Reading what a decision is made on: the events that fit, and how far was looked. */
import { asFilters } from './conditions.ts'
import type { EventQuery } from './conditions.ts'
import type { LedgerRecord } from './record.ts'
import { readRecords } from './record-reading.ts'
import type { RecordFilter, Store } from './store.ts'

export interface EventsRead {
  readonly events: readonly LedgerRecord[]
  /** The last position that was looked at: the `after` of an append that must not miss anything since. */
  readonly head: number
}

export interface EventsRange {
  /** Only events behind this position; -1, unless said, for all. */
  readonly after?: number | undefined
}

/** The records of several readings in the order of position, each once. */
export async function* mergedRecords(
  store: Store,
  filters: readonly RecordFilter[],
  from: number,
  before: number,
): AsyncGenerator<LedgerRecord, void, undefined> {
  const readings = await Promise.all(
    filters.map(async (filter) => {
      const records = readRecords(store, { filter, from, before, reverse: false, limit: Infinity })
      return { records, next: await records.next() }
    }),
  )
  try {
    for (;;) {
      let first: number | null = null
      for (const { next } of readings) if (next.done !== true && (first === null || next.value.seq < first)) first = next.value.seq
      if (first === null) return
      let isTold = false
      for (const reading of readings) {
        if (reading.next.done === true || reading.next.value.seq !== first) continue
        if (!isTold) yield reading.next.value
        isTold = true
        reading.next = await reading.records.next()
      }
    }
  } finally {
    for (const { records } of readings) await records.return(undefined)
  }
}

/** In the order of position. @throws TypeError | RangeError */
export async function readEvents(
  store: Store,
  query: EventQuery | readonly EventQuery[],
  { after = -1 }: EventsRange,
): Promise<EventsRead> {
  if (!(Number.isSafeInteger(after) && after >= -1)) throw new RangeError(`after must be a position, or -1, not ${after}`)
  const filters = asFilters(query)
  // The end is taken first: what comes meanwhile is behind `head`, and an append with it as `after` is refused.
  const { size } = (await store.state({ streams: [], run_ids: [] })).head
  const events: LedgerRecord[] = []
  for await (const record of mergedRecords(store, filters, after + 1, size)) events.push(record)
  return { events, head: size - 1 }
}
