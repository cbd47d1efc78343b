/**
 * Selections over the segments: by the index as far as it goes, by scanning for the rest. The index says where to look
 * and never what is there: each line that it names is looked at, and one that doesn't fit makes the index anew.
 */
import { LedgerError } from '../../ledger/errors.ts'
import { fitsFilter, isEmptyFilter, NO_NAMES } from '../../ledger/filter.ts'
import type { EntryNames } from '../../ledger/filter.ts'
import type { RecordFilter, Selection, TallyColumn } from '../../ledger/store.ts'
import type { RecordHeader } from '../../verify/header.ts'
import { headerOfLine, isWithheld, namesOfLine } from './checked-line.ts'
import type { LedgerEnd } from './end.ts'
import { asFileError } from './files.ts'
import type { FilePort } from './files.ts'
import { indexMismatch } from './index-db.ts'
import { namesAt, readNames } from './kept-names.ts'
import type { SegmentNames } from './kept-names.ts'
import type { Segment } from './layout.ts'
import type { LedgerIndex } from './ledger-index.ts'
import { findLine, isLineOf, readPlaces } from './places.ts'
import { scan } from './scan.ts'
import type { StartPlace } from './scan.ts'

/** What a reading hands out at once. */
const CHUNK_RECORDS = 64
const CHUNK_BYTES = 1024 * 1024
/** A record so many positions into its segment is looked up in the index rather than counted to. */
const LOOK_UP_FROM = 2000

interface FoundLine {
  readonly seq: number
  readonly line: Buffer
  /** What its entry names, where that was asked for. */
  readonly names?: EntryNames
}

const EVERYTHING: Selection = { filter: {}, from: 0, before: Infinity, reverse: false, limit: Infinity }

export interface ReaderParts {
  /** For messages. */
  readonly location: string
  readonly files: FilePort
  /** The end as it is now, and that the store is open. */
  readonly currentEnd: () => Promise<LedgerEnd>
  /** Throws when the store was closed. */
  readonly assertOpen: () => void
  readonly index: LedgerIndex | null
  /** A place that is known in memory, at or before this position, for a reading that begins there. */
  readonly nearby: (seq: number) => StartPlace | null
  /** The end is what this very process has made durable. */
  readonly isAcknowledged: boolean
}

export class Reader {
  readonly #parts: ReaderParts

  constructor(parts: ReaderParts) {
    this.#parts = parts
  }

  /** @throws LedgerError `closed` | `damaged` (at a line that is no record) | `io_error` */
  async *read(selection: Selection): AsyncGenerator<readonly Uint8Array[], void, undefined> {
    try {
      yield* this.#chunks(selection)
    } catch (error) {
      throw this.#asTold(error)
    }
  }

  count(filter: RecordFilter): Promise<number> {
    return this.#count(filter).catch((error: unknown) => Promise.reject(this.#asTold(error)))
  }

  tally(column: TallyColumn, filter: RecordFilter): Promise<Map<string, number>> {
    return this.#tally(column, filter).catch((error: unknown) => Promise.reject(this.#asTold(error)))
  }

  #asTold(error: unknown): unknown {
    return asFileError(error, `reading ${this.#parts.location}`)
  }

  async *#chunks(selection: Selection): AsyncGenerator<readonly Uint8Array[], void, undefined> {
    this.#parts.assertOpen()
    const end = await this.#parts.currentEnd()
    let chunk: Buffer[] = []
    let bytes = 0
    try {
      for await (const found of this.#find(selection, end)) {
        for (const { line } of found) {
          chunk.push(line)
          bytes += line.length
          if (chunk.length < CHUNK_RECORDS && bytes < CHUNK_BYTES) continue
          const full = chunk
          chunk = []
          bytes = 0
          yield full
          this.#parts.assertOpen()
        }
      }
    } catch (error) {
      // What stands before a line that is no record can be read.
      if (chunk.length > 0) yield chunk
      throw error
    }
    if (chunk.length > 0) yield chunk
  }

  async #count(filter: RecordFilter): Promise<number> {
    this.#parts.assertOpen()
    const end = await this.#parts.currentEnd()
    if (isEmptyFilter(filter) && end.damage === null && (end.segments[0]?.first_seq ?? 0) === 0) return end.head.size
    const { indexed, result } = await this.#byIndex(end, (index, before) => index.count(filter, before), 0)
    let count = result
    for await (const found of this.#scanned({ ...EVERYTHING, filter, from: indexed }, end)) count += found.length
    return count
  }

  async #tally(column: TallyColumn, filter: RecordFilter): Promise<Map<string, number>> {
    this.#parts.assertOpen()
    const end = await this.#parts.currentEnd()
    const { indexed, result } = await this.#byIndex(end, (index, before) => index.tally(column, filter, before), new Map<string, number>())
    const isName = column === 'provider' || column === 'model'
    for await (const found of this.#scanned({ ...EVERYTHING, filter, from: indexed }, end, isName)) {
      for (const { line, names = NO_NAMES } of found) {
        const value = isName ? names[column] : headerValue(column, line)
        if (value !== null) result.set(value, (result.get(value) ?? 0) + 1)
      }
    }
    return result
  }

  /** Brings the index up and asks it. `indexed`: position behind the last record that the answer covers. */
  async #byIndex<Result>(
    end: LedgerEnd,
    ask: (index: LedgerIndex, before: number) => Promise<Result>,
    nothing: Result,
  ): Promise<{ indexed: number; result: Result }> {
    for (let attempt = 0; attempt < 2; attempt++) {
      const indexed = await this.#indexed(end)
      if (indexed === 0 || this.#parts.index === null) break
      try {
        return { indexed, result: await ask(this.#parts.index, indexed) }
      } catch (error) {
        if (!this.#parts.index.heals(error)) throw error
      }
    }
    return { indexed: 0, result: nothing }
  }

  /** The index, caught up: how many positions it covers. */
  async #indexed(end: LedgerEnd): Promise<number> {
    const live = end.segments.at(-1)
    if (this.#parts.index === null || live === undefined) return 0
    const position = await this.#parts.index.catchUp({
      segment: live.first_seq,
      byte: end.byte,
      size: end.head.size,
      durable: this.#parts.isAcknowledged,
    })
    return position === null ? 0 : position.seq + 1
  }

  async *#find(selection: Selection, end: LedgerEnd): AsyncGenerator<readonly FoundLine[], void, undefined> {
    // Pinned: what is appended meanwhile is not in this reading. A damaged end has no size; its byte is pinned anyway.
    const before = end.damage === null ? Math.min(selection.before, end.head.size) : selection.before
    const pinned = { ...selection, before }
    if (selection.limit <= 0 || selection.from >= before) return
    if (isEmptyFilter(selection.filter)) {
      yield* this.#scanned(pinned, end)
      return
    }
    const indexed = await this.#indexed(end)
    const inIndex = { ...pinned, before: Math.min(before, indexed) }
    const behind = { ...pinned, from: Math.max(selection.from, indexed) }
    let left = selection.limit
    for (const part of selection.reverse ? [behind, inIndex] : [inIndex, behind]) {
      if (part.from >= part.before || left <= 0) continue
      const limited = { ...part, limit: left }
      for await (const found of part === inIndex ? this.#indexedLines(limited, end) : this.#scanned(limited, end)) {
        left -= found.length
        yield found
      }
    }
  }

  /** By the index. Where it is found to be wrong it is made anew, and the reading goes on behind what was handed out. */
  async *#indexedLines(selection: Selection, end: LedgerEnd): AsyncGenerator<readonly FoundLine[], void, undefined> {
    let { from, before, limit } = selection
    for (let attempt = 0; ; attempt++) {
      try {
        for await (const found of this.#checkedLines({ ...selection, from, before, limit }, end)) {
          const { seq } = found.at(-1) as FoundLine
          limit -= found.length
          if (selection.reverse) before = seq
          else from = seq + 1
          yield found
          // Nothing more is wanted, so an index that breaks now is nobody's concern.
          if (limit <= 0) return
        }
        return
      } catch (error) {
        if (this.#parts.index?.heals(error) !== true) throw error
        // Wrong once more, or not to be made anew: then without it.
        if (attempt > 0 || (await this.#indexed(end)) < before) break
      }
    }
    yield* this.#scanned({ ...selection, from, before, limit }, end)
  }

  async *#checkedLines(selection: Selection, end: LedgerEnd): AsyncGenerator<readonly FoundLine[], void, undefined> {
    const places = await this.#parts.index?.select(selection, selection.before)
    if (places === undefined) return
    for (;;) {
      this.#parts.assertOpen()
      const page = places.next(CHUNK_RECORDS, CHUNK_BYTES)
      if (page.length === 0) return
      const lines = await readPlaces(this.#parts.files, end.segments, page)
      const found: FoundLine[] = []
      for (const [i, { seq, segment }] of page.entries()) {
        const line = isLineOf(lines[i] as Buffer, seq) ? (lines[i] as Buffer) : await this.#strayed(segment, seq, end)
        const header = headerOfLine(line, 0, line.length)
        if (header === null || !fitsAsIndexed(selection.filter, header, line)) throw indexMismatch(`position ${seq}`)
        found.push({ seq, line })
      }
      yield found
    }
  }

  /** The segment was rewritten since the index noted the place. */
  async #strayed(segment: number, seq: number, end: LedgerEnd): Promise<Buffer> {
    const line = await findLine(this.#parts.files, end.segments, segment, seq)
    this.#parts.index?.strayed(segment)
    return line
  }

  async *#scanned(
    { filter, from, before, reverse, limit }: Selection,
    end: LedgerEnd,
    alsoNames = false,
  ): AsyncGenerator<readonly FoundLine[], void, undefined> {
    const isAll = isEmptyFilter(filter)
    const wantsNames = alsoNames || filter.provider !== undefined || filter.model !== undefined
    let [kept, keptOf]: [SegmentNames, Segment | null] = [[], null]
    const place = await this.#startPlace(reverse ? before : from, end)
    let left = limit
    for await (const { segment, bytes, lines } of scan(this.#parts.files, end, { from, before, reverse }, place)) {
      this.#parts.assertOpen()
      if (wantsNames && keptOf !== segment) [kept, keptOf] = [await readNames(this.#parts.files, segment), segment]
      const found: FoundLine[] = []
      for (const { seq, start, end: lineEnd } of lines) {
        const view = bytes.subarray(start, lineEnd)
        const names = wantsNames ? namesOf(view, seq, kept) : NO_NAMES
        if (!isAll) {
          const header = headerOfLine(view, 0, view.length)
          if (header === null || !fitsFilter(filter, header, names.provider, names.model)) continue
        }
        // Few of a block are wanted where there is a filter: a copy doesn't keep the whole block in memory.
        found.push({ seq, line: isAll ? view : Buffer.from(view), ...(wantsNames ? { names } : {}) })
        if (--left <= 0) break
      }
      if (found.length > 0) yield found
      if (left <= 0) return
    }
  }

  async #startPlace(seq: number, end: LedgerEnd): Promise<StartPlace | null> {
    if (!Number.isFinite(seq)) return null
    const segment = end.segments.findLast(({ first_seq }) => first_seq <= seq)
    if (segment === undefined || seq - segment.first_seq < LOOK_UP_FROM) return null
    const nearby = this.#parts.nearby(seq)
    if (nearby !== null && nearby.seq === seq) return nearby
    return (await this.#parts.index?.placeOf(seq)) ?? null
  }
}

/** Of an entry that is withheld: what is kept of it. */
function namesOf(line: Buffer, seq: number, kept: SegmentNames): EntryNames {
  return isWithheld(line, 0, line.length) ? namesAt(kept, seq) : namesOfLine(line, 0, line.length)
}

/** What an entry that is withheld once said, the index remembers. */
function fitsAsIndexed(filter: RecordFilter, header: RecordHeader, line: Buffer): boolean {
  const { provider, model, ...others } = filter
  if ((provider === undefined && model === undefined) || isWithheld(line, 0, line.length)) return fitsFilter(others, header, null, null)
  const names = namesOfLine(line, 0, line.length)
  return fitsFilter(filter, header, names.provider, names.model)
}

function headerValue(column: Exclude<TallyColumn, 'provider' | 'model'>, line: Buffer): string | null {
  const header = headerOfLine(line, 0, line.length)
  if (header === null) throw new LedgerError('damaged', 'a line is no record: run verify')
  return header[column]
}
