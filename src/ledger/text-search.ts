/**
 * Queries by words: the text index says which records have them, the store which of these fit the filter; each record
 * that is handed out has been looked at. Where the two disagree, the index is made anew.
 */
import { LedgerError } from './errors.ts'
import { isEmptyFilter } from './filter.ts'
import { LedgerRecord } from './record.ts'
import { recordsOf } from './record-reading.ts'
import { recordText } from './record-text.ts'
import type { RecordFilter, Selection, Store, TallyColumn } from './store.ts'
import type { TextIndex, TextOrder } from './text.ts'

/** Positions that are asked for first, where so many are wanted or a filter will leave some out; the next time more. */
const FIRST_WINDOW = 4096
const WINDOW_MAX = 262_144
/** Positions whose records are counted, or read to be ranked, at once. */
const COUNTED_AT_ONCE = 16_384
const RANKED_AT_ONCE = 256
/** A filter that so few records fit is asked first, where many have the words. */
const FEW_MATCHES = 4096

/** The index said what its records do not say. */
class Disagreement extends Error {
  override readonly name = 'Disagreement'
}

export interface TextFound {
  readonly record: LedgerRecord
  /** Its place in the ranking, from 0. */
  readonly place: number
}

export interface TextRequest {
  readonly text: string
  readonly order: TextOrder
  readonly selection: Selection
  /** Places of the ranking that were handed out before. */
  readonly offset: number
}

export class TextSearch {
  readonly #store: Store
  readonly #index: TextIndex | null

  constructor(store: Store, index: TextIndex | null) {
    this.#store = store
    this.#index = index
  }

  async #checked(text: string): Promise<TextIndex> {
    if (this.#index === null)
      throw new LedgerError('unsupported', 'this ledger was opened without full text: it can not be searched for words')
    await this.#index.check(text)
    return this.#index
  }

  async #size(): Promise<number> {
    return (await this.#store.state({ streams: [], run_ids: [] })).head.size
  }

  /** The first records that fit, `selection.limit` at most. `size`: the ranking is that of the records before it. */
  async page(request: TextRequest): Promise<{ readonly found: readonly TextFound[]; readonly size: number }> {
    const index = await this.#checked(request.text)
    const size = Math.min(request.selection.before, await this.#size())
    const pinned = { ...request, selection: { ...request.selection, before: size } }
    for (let isLast = false; ; isLast = true) {
      const found: TextFound[] = []
      try {
        for await (const each of this.#find(index, pinned, isLast)) {
          found.push(each)
          if (found.length >= request.selection.limit) break
        }
        return { found, size }
      } catch (error) {
        if (!(error instanceof Disagreement)) throw error
        await index.rebuild()
      }
    }
  }

  /** All records that fit, oldest first, in bounded memory. */
  async *scan(text: string, filter: RecordFilter): AsyncGenerator<LedgerRecord, void, undefined> {
    const index = await this.#checked(text)
    const before = await this.#size()
    let from = 0
    for (let isLast = false; ; isLast = true) {
      try {
        const selection = { filter, from, before, reverse: false, limit: Infinity }
        for await (const { record } of this.#find(index, { text, order: 'oldest', selection, offset: 0 }, isLast)) {
          from = record.seq + 1
          yield record
        }
        return
      } catch (error) {
        if (!(error instanceof Disagreement)) throw error
        await index.rebuild()
      }
    }
  }

  async count(text: string, filter: RecordFilter): Promise<number> {
    const index = await this.#checked(text)
    if (isEmptyFilter(filter)) return index.count(text, await this.#size())
    let count = 0
    for await (const seq of this.#windows(index, text)) count += await this.#store.count({ ...filter, seq })
    return count
  }

  async tally(column: TallyColumn, text: string, filter: RecordFilter): Promise<ReadonlyMap<string, number>> {
    const index = await this.#checked(text)
    const tally = new Map<string, number>()
    for await (const seq of this.#windows(index, text)) {
      for (const [value, count] of await this.#store.tally(column, { ...filter, seq })) tally.set(value, (tally.get(value) ?? 0) + count)
    }
    return tally
  }

  async *#windows(index: TextIndex, text: string): AsyncGenerator<ReadonlySet<number>, void, undefined> {
    const before = await this.#size()
    for (let from = 0; ;) {
      const seqs = await index.find({ text, order: 'oldest', from, before, offset: 0, limit: COUNTED_AT_ONCE, among: null })
      if (seqs.length > 0) yield new Set(seqs)
      if (seqs.length < COUNTED_AT_ONCE) return
      from = (seqs.at(-1) as number) + 1
    }
  }

  /** @param isLast the index was made anew: what its records do not say is left out. @throws Disagreement */
  async *#find(index: TextIndex, request: TextRequest, isLast: boolean): AsyncGenerator<TextFound, void, undefined> {
    const { text, order, selection } = request
    const { filter, limit } = selection
    const isFiltered = !isEmptyFilter(filter)
    let { from, before } = selection
    let { offset } = request
    let window = isFiltered ? FIRST_WINDOW : Math.min(limit, FIRST_WINDOW)
    let among: readonly number[] | null = null
    for (let isFirst = true; ; isFirst = false) {
      const ask = (only: readonly number[] | null): Promise<readonly number[]> =>
        index.find({ text, order, from: order === 'rank' ? 0 : from, before, offset, limit: window, among: only })
      let seqs = await ask(among)
      if (isFirst && isFiltered && order !== 'rank' && seqs.length >= window) {
        among = await this.#fewThatFit(filter, from, before)
        if (among !== null) seqs = await ask(among)
      }
      if (seqs.length === 0) return
      const part = { index, text, filter, seqs, offset, isFiltered, isLast }
      yield* order === 'rank' ? this.#inRank(part) : this.#inOrder(part, order === 'newest', limit)
      if (seqs.length < window) return
      const last = seqs.at(-1) as number
      if (order === 'rank') offset += seqs.length
      else if (order === 'newest') before = last
      else from = last + 1
      window = Math.min(window * 8, order === 'rank' ? WINDOW_MAX : COUNTED_AT_ONCE)
    }
  }

  /** Positions of the records that fit the filter, where these are few. */
  async #fewThatFit(filter: RecordFilter, from: number, before: number): Promise<number[] | null> {
    if ((await this.#store.count(filter)) > FEW_MATCHES) return null
    const seqs: number[] = []
    for await (const chunk of this.#store.read({ filter, from, before, reverse: false, limit: Infinity })) {
      for (const line of chunk) seqs.push(new LedgerRecord(line).seq)
    }
    return seqs
  }

  async *#inOrder(part: Part, reverse: boolean, limit: number): AsyncGenerator<TextFound, void, undefined> {
    let found = 0
    for await (const records of this.#read(part, part.seqs, reverse, part.isLast ? Infinity : limit)) {
      found += records.length
      for (const record of await this.#looked(part, records)) yield { record, place: 0 }
    }
    this.#compare(part, found, Math.min(part.seqs.length, part.isLast ? Infinity : limit))
  }

  async *#inRank(part: Part): AsyncGenerator<TextFound, void, undefined> {
    for (let at = 0; at < part.seqs.length; at += RANKED_AT_ONCE) {
      const slice = part.seqs.slice(at, at + RANKED_AT_ONCE)
      const places = new Map(slice.map((seq, i) => [seq, part.offset + at + i]))
      const found: LedgerRecord[] = []
      for await (const records of this.#read(part, slice, false, Infinity)) found.push(...records)
      this.#compare(part, found.length, slice.length)
      const placed = (await this.#looked(part, found)).map((record) => ({ record, place: places.get(record.seq) as number }))
      yield* placed.sort((a, b) => a.place - b.place)
    }
  }

  /** The records at these positions that fit the filter, in the order of position. */
  async *#read(part: Part, seqs: readonly number[], reverse: boolean, limit: number): AsyncGenerator<LedgerRecord[], void, undefined> {
    const seq = new Set(seqs)
    const [from, last] = seqs.reduce(([least, most], each) => [Math.min(least, each), Math.max(most, each)], [Infinity, 0])
    const selection = { filter: { ...part.filter, seq }, from, before: last + 1, reverse, limit }
    for await (const chunk of this.#store.read(selection)) yield recordsOf(this.#store, chunk)
  }

  /** Those that have the words. */
  async #looked({ index, text, isLast }: Part, records: readonly LedgerRecord[]): Promise<readonly LedgerRecord[]> {
    const matches = await index.matching(text, records.map(recordText))
    // What is archived and not read from there can't be looked at: the index knew it when it was here.
    const fits = matches.map((fit, i) => fit || records[i]!.withheld?.state === 'archived')
    if (fits.every((fit) => fit)) return records
    if (!isLast) throw new Disagreement()
    return records.filter((_, i) => fits[i])
  }

  /** Without a filter there is a record at each position that the index names. */
  #compare({ isFiltered, isLast }: Part, found: number, named: number): void {
    if (!isFiltered && !isLast && found < named) throw new Disagreement()
  }
}

/** One answer of the index, on its way to records. */
interface Part {
  readonly index: TextIndex
  readonly text: string
  readonly filter: RecordFilter
  readonly seqs: readonly number[]
  /** Place of the first of them in the ranking. */
  readonly offset: number
  readonly isFiltered: boolean
  readonly isLast: boolean
}
