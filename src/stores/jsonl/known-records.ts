/**
 * What a writer knows of its records, to find run_ids and the ends of streams: the newest are in memory, all others in
 * the index, which follows behind. Whatever the index can't do, memory does.
 */
import { LedgerError } from '../../ledger/errors.ts'
import type { SealedRecord, StateRequest } from '../../ledger/store.ts'
import type { LedgerEnd } from './end.ts'
import type { FilePort } from './files.ts'
import type { IndexPosition } from './index-db.ts'
import type { Segment } from './layout.ts'
import type { FeedPlace, LedgerIndex } from './ledger-index.ts'
import { loadOverlay, lookUp, lookUpNow } from './lookups.ts'
import type { Found } from './lookups.ts'
import { FOLLOWED_GENERATION, LASTING_GENERATION, Overlay } from './overlay.ts'
import type { StartPlace } from './scan.ts'

/** The most that are kept in memory for the index to come: then appends wait for it. */
export const LAG_RECORDS_MAX = 200_000
/** Larger batches are remembered in several runs, so that finding a line in one reads little. Bytes. */
const RUN_BYTES = 1024 * 1024

/** The index is asked again so often when it was wrong, or was replaced meanwhile. */
const ATTEMPTS = 4

export interface KnownParts {
  readonly files: FilePort
  readonly dir: string
  readonly index: LedgerIndex | null
  /** Positions before this one are in the index. */
  readonly indexed: number
  /** Everything, where there is no index. */
  readonly overlay: Overlay | null
  /** Behind the last acknowledged record. */
  readonly end: () => LedgerEnd
  readonly lagRecordsMax?: number
}

/** Number of records that the index has. */
const sizeOf = (position: IndexPosition | null): number => (position === null ? 0 : position.seq + 1)

const asksNothing = ({ streams, run_ids }: StateRequest): boolean => streams.length === 0 && run_ids.length === 0

export class KnownRecords {
  readonly #parts: KnownParts
  readonly #lagMax: number
  #index: LedgerIndex | null
  #overlay: Overlay
  #indexed: number
  #lagAllowed: number

  constructor(parts: KnownParts) {
    this.#parts = parts
    this.#index = parts.index
    this.#indexed = parts.indexed
    this.#lagMax = parts.lagRecordsMax ?? LAG_RECORDS_MAX
    this.#lagAllowed = this.#lagMax
    this.#overlay = parts.overlay ?? new Overlay(parts.end().head.size, parts.index === null ? LASTING_GENERATION : FOLLOWED_GENERATION)
    if (parts.index !== null) parts.index.onProgress = (size) => this.#noteIndexed(size)
  }

  #place(): FeedPlace | null {
    const { segments, byte, head } = this.#parts.end()
    const live = segments.at(-1)
    return live === undefined || head.size === 0 ? null : { segment: live.first_seq, byte, size: head.size, durable: true }
  }

  /** Where the record lies, if that is known exactly. */
  nearby(seq: number): StartPlace | null {
    const run = this.#overlay.locate(seq)
    return run === undefined || run.first_seq !== seq ? null : { seq, segment: run.segment.first_seq, byte: run.byte }
  }

  /** A batch is durable; `bytes` are its lines, which lie at `byte` of the segment. */
  add(records: readonly SealedRecord[], bytes: Buffer, first_seq: number, segment: Segment, byte: number): void {
    if (bytes.length <= RUN_BYTES) {
      this.#overlay.add(records, { first_seq, segment, byte, end: byte + bytes.length })
      return
    }
    for (let first = 0, start = 0; first < records.length;) {
      let next = first
      let end = start
      while (next < records.length && (next === first || end - start < RUN_BYTES)) {
        end = bytes.indexOf(0x0a, end) + 1
        next++
      }
      this.#overlay.add(records.slice(first, next), { first_seq: first_seq + first, segment, byte: byte + start, end: byte + end })
      first = next
      start = end
    }
  }

  /** The index is told how far it may follow. */
  follow(): void {
    if (this.#index === null) return
    const place = this.#place()
    if (place !== null) this.#index.feed(place, this.#indexed)
  }

  #noteIndexed(size: number): void {
    if (size <= this.#indexed) return
    this.#indexed = size
    this.#overlay.evict(size)
  }

  /** True where `size` records are more than memory should hold without the index. */
  isCrowded(size: number): boolean {
    return this.#index !== null && size - this.#indexed > this.#lagAllowed
  }

  /** Waits for the index, so that memory stays bounded. */
  async makeRoom(): Promise<void> {
    const place = this.#place()
    if (place === null || this.#index === null) return
    this.#noteIndexed(sizeOf(await this.#index.catchUp(place)))
    // An index that can't follow (its disk is full) keeps nobody from recording: memory takes more, and it is asked again later.
    const lag = place.size - this.#indexed
    this.#lagAllowed = lag > this.#lagMax ? lag + this.#lagMax / 4 : this.#lagMax
  }

  /** A segment was rewritten. */
  moved(segment: number, to: (byte: number) => number): void {
    this.#overlay.move(segment, to)
  }

  /** Resolves when the index has all. */
  async flush(): Promise<void> {
    const place = this.#place()
    if (place !== null && this.#index !== null) this.#noteIndexed(sizeOf(await this.#index.catchUp(place, true)))
  }

  async find(request: StateRequest): Promise<Found> {
    if (asksNothing(request)) return { streams: new Map(), runs: new Map() }
    const { files, end } = this.#parts
    for (let attempt = 0; attempt < ATTEMPTS && this.#index !== null; attempt++) {
      await this.#cover(this.#index)
      try {
        return await lookUp(files, end().segments, request, this.#overlay, this.#index)
      } catch (error) {
        if (!this.#index.heals(error)) throw error
      }
    }
    if (this.#index !== null) {
      // Wrong, made anew, and wrong again and again: everything in memory instead, which takes one reading of the ledger.
      this.#index = null
      await this.#load(0, LASTING_GENERATION)
    }
    return lookUp(files, end().segments, request, this.#overlay, null)
  }

  /** What is not in the index is in memory: after opening, and when the index was made anew. */
  async #cover(index: LedgerIndex): Promise<void> {
    const { from } = this.#overlay
    if (from === 0) return
    let indexed = sizeOf(await index.position())
    if (indexed >= from) return
    const place = this.#place()
    // A gap that memory has room for is read at once, and the index follows behind; a larger one is waited for.
    if (place !== null && place.size - indexed > this.#lagMax) indexed = sizeOf(await index.catchUp(place))
    this.#indexed = indexed
    if (indexed < from) await this.#load(indexed, FOLLOWED_GENERATION)
    this.follow()
  }

  async #load(from: number, generationRecords: number): Promise<void> {
    for (;;) {
      const end = this.#parts.end()
      const overlay = await loadOverlay(this.#parts.files, end, from, generationRecords)
      // What was appended meanwhile is only in the old one.
      if (this.#parts.end().head !== end.head) continue
      this.#overlay = overlay
      return
    }
  }

  /** `find` with blocking calls. @throws LedgerError `io_error` where the index has a gap that can't be closed now */
  findNow(request: StateRequest): Found {
    if (asksNothing(request)) return { streams: new Map(), runs: new Map() }
    const { from } = this.#overlay
    const index = from > 0 ? this.#index : null
    if (from > 0 && sizeOf(index?.positionNow() ?? null) < from) {
      const place = this.#place()
      if (place !== null) index?.catchUpNow(place)
      if (sizeOf(index?.positionNow() ?? null) < from) {
        throw new LedgerError('io_error', 'the index is not there, so at exit nobody can tell whether a run_id is recorded already')
      }
    }
    return lookUpNow(this.#parts.dir, request, this.#overlay, index)
  }

  async close(): Promise<void> {
    await this.#parts.index?.close(this.#place())
  }
}
