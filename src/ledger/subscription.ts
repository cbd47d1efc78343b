/**
 * Following a ledger: all that is there, then all that comes, each record once and in the order of position. The position
 * is all that a subscriber has to keep to go on later. What is handed out is one chain: a ledger that goes on otherwise than
 * it was read (an older copy was put back, or what its writer had not acknowledged was lost) is told, not followed.
 */
import { asFilters } from './conditions.ts'
import type { EventQuery } from './conditions.ts'
import { LedgerError } from './errors.ts'
import { mergedRecords } from './event-reading.ts'
import { fitsFilter, indexedName, isEmptyFilter } from './filter.ts'
import type { HeadWatch } from './head-watch.ts'
import { asFilter } from './query.ts'
import type { Criteria } from './query.ts'
import { LedgerRecord } from './record.ts'
import { readRecords } from './record-reading.ts'
import type { RecordFilter, Store } from './store.ts'

export interface SubscribeOptions {
  /** First position, inclusive; 0 unless said. */
  readonly from?: number | undefined
  /**
   * What was handled last: a position, or a record or receipt, of which the hash is compared too. -1 for nothing yet.
   */
  readonly after?: number | { readonly seq: number; readonly hash: string } | undefined
  /** Which events, as `events` takes it, or which records, as `query` does (without `text`); all unless said. */
  readonly filter?: EventQuery | readonly EventQuery[] | Criteria | undefined
  /** Ends the subscription. */
  readonly signal?: AbortSignal | undefined
}

/** So many records are rather read whole and looked at than asked for by an index, which may lag behind the end. */
const SCANNED_MAX = 1024
/** How often the records that the head promises may not be there yet, half a minute about: a server that lags catches up, damage stays. */
const MISSES_MAX = 600

type EventQueries = EventQuery | readonly EventQuery[]

function isEventQuery(filter: EventQueries | Criteria): filter is EventQueries {
  return Array.isArray(filter) || 'types' in filter || 'tags' in filter
}

/** Null where everything fits. @throws TypeError | RangeError */
function filtersOf(filter: SubscribeOptions['filter']): readonly RecordFilter[] | null {
  if (filter === undefined) return null
  if (typeof filter !== 'object' || filter === null) throw new TypeError('filter must be an object')
  if (!isEventQuery(filter) && 'text' in filter && filter.text !== undefined)
    throw new TypeError('a subscription can not be filtered by text: look into the records as they come')
  const filters = isEventQuery(filter) ? asFilters(filter) : [asFilter(filter)]
  return filters.some(isEmptyFilter) ? null : filters
}

interface Start {
  readonly next: number
  /** Of the record before. */
  readonly hash: string | null
}

/** @throws TypeError | RangeError */
function startOf({ from, after }: SubscribeOptions): Start {
  if (from !== undefined && after !== undefined) throw new TypeError('give from (inclusive) or after (exclusive), not both')
  const isRecord = typeof after === 'object' && after !== null
  const seq = isRecord ? after.seq : (after ?? (from ?? 0) - 1)
  if (!Number.isSafeInteger(seq) || seq < -1) throw new RangeError('from and after must be positions: integers from 0 (after: from -1)')
  return { next: seq + 1, hash: isRecord ? after.hash : null }
}

function fits(filters: readonly RecordFilter[] | null, record: LedgerRecord): boolean {
  if (filters === null) return true
  return filters.some((filter) => {
    // Only these two look into the entry, which costs parsing it.
    const isLookedInto = (filter.provider !== undefined || filter.model !== undefined) && record.isIndexed
    const entry = isLookedInto ? record.entry : null
    return fitsFilter(filter, record.header, indexedName(entry?.['provider_name']), indexedName(entry?.['model_name']))
  })
}

/** Records as they come. Nothing is read ahead of the caller: whoever is slow is waited for. */
export class Subscription implements AsyncIterableIterator<LedgerRecord, undefined, undefined> {
  readonly #store: Store
  readonly #watch: HeadWatch
  readonly #filters: readonly RecordFilter[] | null
  readonly #stop = new AbortController()
  readonly #records: AsyncGenerator<LedgerRecord, undefined, undefined>
  /** The first position that was not looked at, and the hash of the record before it, where it is known. */
  #next: number
  #hash: string | null
  #position: number

  /** @throws TypeError | RangeError */
  constructor(store: Store, watch: HeadWatch, options: SubscribeOptions) {
    this.#store = store
    this.#watch = watch
    this.#filters = filtersOf(options.filter)
    const { next, hash } = startOf(options)
    this.#next = next
    this.#hash = hash
    this.#position = next - 1
    this.#records = this.#follow(options.signal)
  }

  /**
   * Up to here all that fits has been handed out: `after` for whoever goes on later, once the record that came last is
   * handled. -1 where nothing was looked at.
   */
  get position(): number {
    return this.#position
  }

  /** @throws LedgerError `forked` | `damaged` | `io_error`; then it is over, and another can go on behind `position` */
  next(): Promise<IteratorResult<LedgerRecord, undefined>> {
    return this.#records.next()
  }

  /** Ends it, also while the next record is waited for. */
  return(): Promise<IteratorResult<LedgerRecord, undefined>> {
    this.#stop.abort()
    return this.#records.return(undefined)
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  async *#follow(given: AbortSignal | undefined): AsyncGenerator<LedgerRecord, undefined, undefined> {
    const { signal } = this.#stop
    const stop = (): void => this.#stop.abort()
    given?.addEventListener('abort', stop)
    if (given?.aborted === true) stop()
    const leave = this.#watch.follow()
    try {
      for (let misses = 0; ;) {
        const head = await this.#watch.beyond(this.#next, signal)
        if (head === null) return undefined
        const before = this.#next
        yield* this.#upTo(head.size, head.hash)
        if (signal.aborted || this.#watch.isClosed) return undefined
        misses = this.#next > before ? 0 : misses + 1
        if (misses > MISSES_MAX) throw this.#missing(this.#next)
        if (misses > 0) await this.#watch.pause(signal)
      }
    } catch (error) {
      if (this.#watch.isClosed && error instanceof LedgerError && error.code === 'closed') return undefined
      throw error
    } finally {
      leave()
      given?.removeEventListener('abort', stop)
    }
  }

  async *#upTo(size: number, hash: string): AsyncGenerator<LedgerRecord, void, undefined> {
    // An index of a server that lags tells nothing of what it does not have; a gap in what is read one by one shows.
    const isNear = this.#store.mayLag === true || size - this.#next <= SCANNED_MAX
    if (this.#filters === null || isNear) yield* this.#scanned(size)
    else yield* this.#found(this.#filters, size, hash)
  }

  async *#scanned(size: number): AsyncGenerator<LedgerRecord, void, undefined> {
    for await (const record of readRecords(this.#store, {
      filter: {},
      from: this.#next,
      before: size,
      reverse: false,
      limit: Infinity,
    })) {
      if (this.#stop.signal.aborted || this.#watch.isClosed) return
      this.#take(record)
      if (fits(this.#filters, record)) yield record
    }
  }

  /** Far from the end: what fits is found by the store's index, and the chain is looked at where it begins. */
  async *#found(filters: readonly RecordFilter[], size: number, hash: string): AsyncGenerator<LedgerRecord, void, undefined> {
    const first = await this.#at(this.#next)
    if (first === null) return
    this.#continues(first)
    for await (const record of mergedRecords(this.#store, filters, this.#next, size)) {
      if (this.#stop.signal.aborted || this.#watch.isClosed) return
      this.#next = record.seq + 1
      this.#hash = record.hash
      this.#position = record.seq
      yield record
    }
    this.#next = size
    this.#hash = hash
    this.#position = size - 1
  }

  async #at(seq: number): Promise<LedgerRecord | null> {
    for await (const [line] of this.#store.read({ filter: {}, from: seq, before: seq + 1, reverse: false, limit: 1 })) {
      if (line !== undefined) return new LedgerRecord(line)
    }
    return null
  }

  #take(record: LedgerRecord): void {
    if (record.seq !== this.#next) throw this.#missing(this.#next)
    this.#continues(record)
    this.#next = record.seq + 1
    this.#hash = record.hash
    this.#position = record.seq
  }

  /** @throws LedgerError `forked` */
  #continues({ seq, header }: LedgerRecord): void {
    if (this.#hash === null || header.previous_hash === this.#hash) return
    throw new LedgerError(
      'forked',
      `the record at position ${seq} does not continue what was read before: ${this.#store.location} is another ledger, an older copy that went on, or lost what its writer had not acknowledged. Find out which (verify --since a checkpoint), then begin again from a position that both have`,
      { seq, expected: this.#hash, found: header.previous_hash },
    )
  }

  #missing(seq: number): LedgerError {
    return new LedgerError('damaged', `the record at position ${seq} is missing, though the ledger has later ones: run verify`, { seq })
  }
}
