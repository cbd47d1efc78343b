/**
 * Reading a ledger, all of it or as it was known at a time. Two times count: when a record came into the ledger
 * (`recorded_at`), and when what it tells happened (`timestamp`). Source: docs/guides/two-times.md.
 */
import { formatTimeOfMs } from '../verify/time.ts'
import { asFilters } from './conditions.ts'
import type { EventQuery } from './conditions.ts'
import { correctedRecord, openCallsIn } from './corrections.ts'
import type { CorrectedRecord } from './corrections.ts'
import { mergedRecords } from './event-reading.ts'
import { bothFilters, fitsNothing } from './projection.ts'
import { asFilter, asRange, asSelection, asTime, formatCursor, formatRankCursor, textOf } from './query.ts'
import type { AskedPage, Criteria, Query, QueryPage, ReadRange } from './query.ts'
import type { LedgerRecord } from './record.ts'
import { readRecords } from './record-reading.ts'
import { TALLY_COLUMNS } from './store.ts'
import type { RecordFilter, Selection, Store, TallyColumn } from './store.ts'
import type { TextSearch } from './text-search.ts'

/** Both inclusive; RFC 3339 with a zone, or a `Date`. */
export interface AsOf {
  /** What was in the ledger then. */
  readonly recordedAt?: string | Date | undefined
  /** What had happened then. */
  readonly happenedAt?: string | Date | undefined
}

const KEYS = new Set(['recordedAt', 'happenedAt'])
const EVERYTHING: Selection = { filter: {}, from: 0, before: Infinity, reverse: false, limit: Infinity }

/** The first instant behind this one, a µs later; undefined behind the last that can be spelled. */
function behind(time: string): string | undefined {
  const us = Number(time.slice(23, 26))
  if (us < 999) return `${time.slice(0, 23)}${String(us + 1).padStart(3, '0')}Z`
  const ms = Date.parse(`${time.slice(0, 23)}Z`) + 1
  return time.startsWith('9999-12-31T23:59:59.999') ? undefined : formatTimeOfMs(ms)
}

/** As the end of a filter, which is exclusive. @throws TypeError | RangeError */
function endOf(key: string, time: string | Date | undefined): string | undefined {
  return time === undefined ? undefined : behind(asTime(key, time))
}

function earlier(a: string | undefined, b: string | undefined): string | undefined {
  if (a === undefined || b === undefined) return a ?? b
  return a < b ? a : b
}

/** What a state is made of: `defineProjection` gives one. */
export interface Replayable<State> {
  /** Types of the events that count. */
  readonly types: readonly string[]
  readonly filter: RecordFilter
  /** The state before any event. */
  start(): State
  apply(state: State, record: LedgerRecord): State
}

export interface StateAsOf<State> {
  readonly state: State
  /** Of the last record that went into it; -1 where none did. */
  readonly position: number
}

interface Bounds {
  readonly until: string | undefined
  readonly recorded_until: string | undefined
}

/** @throws TypeError for an unknown key, RangeError for what is no time */
export function boundsOf(asOf: AsOf): Bounds {
  for (const key of Object.keys(asOf))
    if (!KEYS.has(key)) throw new TypeError(`unknown key ${JSON.stringify(key)}; known are ${[...KEYS].join(', ')}`)
  return { until: endOf('happenedAt', asOf.happenedAt), recorded_until: endOf('recordedAt', asOf.recordedAt) }
}

/** A ledger as it was known at a time. Nothing in it changes any more, once that time has passed. */
export class LedgerView {
  readonly #store: Store
  readonly #search: TextSearch
  readonly #bounds: Bounds

  constructor(store: Store, search: TextSearch, bounds: Bounds = { until: undefined, recorded_until: undefined }) {
    this.#store = store
    this.#search = search
    this.#bounds = bounds
  }

  #bounded(filter: RecordFilter): RecordFilter {
    const until = earlier(filter.until, this.#bounds.until)
    const recorded_until = earlier(filter.recorded_until, this.#bounds.recorded_until)
    return { ...filter, ...(until === undefined ? {} : { until }), ...(recorded_until === undefined ? {} : { recorded_until }) }
  }

  /** Records in the order of position, in bounded memory. @throws TypeError | RangeError | LedgerError */
  async *read(range: ReadRange = {}): AsyncGenerator<LedgerRecord, void, undefined> {
    const selection = asRange(range)
    yield* readRecords(this.#store, { ...selection, filter: this.#bounded(selection.filter) })
  }

  /** All records that fit, in the order of position, in bounded memory: what `query` gives page by page. */
  async *scan(criteria: Criteria = {}): AsyncGenerator<LedgerRecord, void, undefined> {
    const filter = this.#bounded(asFilter(criteria))
    const text = textOf(criteria)
    if (text !== null) return yield* this.#search.scan(text, filter)
    yield* readRecords(this.#store, { ...EVERYTHING, filter })
  }

  /**
   * The events that fit the query, or any of several, in the order of position. Without a head to append behind: what was
   * known once is nothing to decide on now.
   */
  async *events(query: EventQuery | readonly EventQuery[]): AsyncGenerator<LedgerRecord, void, undefined> {
    const filters = asFilters(query).map((filter) => this.#bounded(filter))
    const { size } = (await this.#store.state({ streams: [], run_ids: [] })).head
    yield* mergedRecords(this.#store, filters, 0, size)
  }

  /** One page of the records that fit. @throws TypeError | RangeError | LedgerError */
  async query(query: Query = {}): Promise<QueryPage> {
    const asked = asSelection(query)
    const { order, limit, text } = asked
    const selection = { ...asked.selection, filter: this.#bounded(asked.selection.filter) }
    if (text !== null || order === 'rank') return this.#pageByWords({ ...asked, selection }, text ?? '')
    const records: LedgerRecord[] = []
    for await (const record of readRecords(this.#store, selection)) records.push(record)
    const more = records.length > limit
    if (more) records.pop()
    return { records, cursor: more ? formatCursor(order, (records.at(-1) as LedgerRecord).seq) : null }
  }

  async #pageByWords({ selection, order, limit, offset }: AskedPage, text: string): Promise<QueryPage> {
    const { found, size } = await this.#search.page({ text, order, selection, offset })
    const page = found.slice(0, limit)
    const records = page.map(({ record }) => record)
    const last = page.at(-1)
    if (found.length <= limit || last === undefined) return { records, cursor: null }
    return { records, cursor: order === 'rank' ? formatRankCursor(size, last.place + 1) : formatCursor(order, last.record.seq) }
  }

  /** How many records fit. */
  async count(criteria: Criteria = {}): Promise<number> {
    const filter = this.#bounded(asFilter(criteria))
    const text = textOf(criteria)
    return text === null ? this.#store.count(filter) : this.#search.count(text, filter)
  }

  /** How many records fit, by the values of a column. */
  async tally(column: TallyColumn, criteria: Criteria = {}): Promise<ReadonlyMap<string, number>> {
    if (!TALLY_COLUMNS.includes(column)) throw new RangeError(`column must be one of ${TALLY_COLUMNS.join(', ')}`)
    const filter = this.#bounded(asFilter(criteria))
    const text = textOf(criteria)
    return text === null ? this.#store.tally(column, filter) : this.#search.tally(column, text, filter)
  }

  /** The state that follows from what was known then, by replaying it. @param stream only events of this stream */
  async load<State>(projection: Replayable<State>, { stream }: { readonly stream?: string | undefined } = {}): Promise<StateAsOf<State>> {
    const { types, filter } = projection
    let state = projection.start()
    let position = -1
    const asked = bothFilters(bothFilters(filter, { type: types }), stream === undefined ? {} : { stream: [stream] })
    if (fitsNothing(asked)) return { state, position }
    const selected = this.#bounded(asked)
    for await (const record of readRecords(this.#store, { ...EVERYTHING, filter: selected })) {
      state = projection.apply(state, record)
      position = record.seq
    }
    return { state, position }
  }

  /** The record of this run_id. */
  async get(run_id: string): Promise<LedgerRecord | undefined> {
    return (await this.query({ run_id, limit: 1 })).records[0]
  }

  /**
   * A record with what was said of it later: `EntryCorrected` and `EntryAnnotated` of its run_id and hash, in the order of
   * position. Of these only those count that were recorded by `recordedAt`; when they happened says nothing about when
   * that happened which they are about.
   * @throws LedgerError `not_found`
   */
  corrected(about: string | LedgerRecord): Promise<CorrectedRecord> {
    const { recorded_until } = this.#bounds
    return correctedRecord(this.#store, about, (run_id) => this.get(run_id), recorded_until === undefined ? {} : { recorded_until })
  }

  /**
   * Calls that started and never ended, in the order of position: `AgentCallStarted` to which no `AgentCallCompleted` has
   * come. Those that are still under way are among them.
   */
  openCalls(): AsyncGenerator<LedgerRecord, void, undefined> {
    return openCallsIn(this.#store, (filter) => this.#bounded(filter))
  }
}
