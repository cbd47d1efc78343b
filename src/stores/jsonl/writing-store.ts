/** A ledger that this process writes. */
import { asStorageError, LedgerError } from '../../ledger/errors.ts'
import type {
  AppendOptions,
  AuditSink,
  ExitAppender,
  Head,
  RecordFilter,
  SealedRecord,
  Selection,
  StateRequest,
  Store,
  StoreDescription,
  StoreState,
  TallyColumn,
} from '../../ledger/store.ts'
import { formatLine } from '../../verify/record.ts'
import { auditSegments } from './audit.ts'
import type { LedgerEnd } from './end.ts'
import { settleNow, writeNow } from './exit.ts'
import type { FilePort } from './files.ts'
import { isBrokenIndex } from './index-db.ts'
import { listSegments } from './layout.ts'
import type { Segment } from './layout.ts'
import type { FeedPlace, LedgerIndex } from './ledger-index.ts'
import type { WriterLock } from './lock.ts'
import { loadOverlay, lookUp, lookUpNow, WHOLE_GENERATION } from './lookups.ts'
import type { Found } from './lookups.ts'
import { Overlay } from './overlay.ts'
import { describeFiles } from './reading-store.ts'
import { Reader } from './reader.ts'
import type { Recovered, Recovery } from './recovery.ts'
import type { StartPlace } from './scan.ts'
import { SegmentWriter } from './segment-writer.ts'

/** Records of one generation of the overlay where the index follows. */
const OVERLAY_GENERATION = 4096
/** The most that are kept in memory for the index to come: then appends wait for it. */
const LAG_RECORDS_MAX = 200_000
/** Larger batches are remembered in several runs, so that finding a line in one reads little. Bytes. */
const RUN_BYTES = 1024 * 1024

export interface WritingParts {
  readonly files: FilePort
  readonly dir: string
  readonly lock: WriterLock
  readonly recovery: Recovery
  readonly segmentBytes: number
  readonly index: LedgerIndex | null
  /** Everything, where there is no index. */
  readonly overlay: Overlay | null
  /** The blocking calls at exit work on the same files. */
  readonly canBlock: boolean
}

/** A batch as it is written, and what is true when it is durable. */
interface Batch {
  readonly records: readonly SealedRecord[]
  readonly bytes: Buffer
  readonly head: Head
}

export class WritingStore implements Store {
  readonly kind = 'jsonl'
  readonly readOnly = false
  readonly location: string
  readonly recovered: Recovered | null
  readonly atExit?: ExitAppender
  readonly #parts: WritingParts
  readonly #writer: SegmentWriter
  readonly #reader: Reader
  readonly #segments: Segment[]
  #index: LedgerIndex | null
  #overlay: Overlay
  #head: Head
  /** Positions before this one are in the index. */
  #indexed: number
  #lagAllowed = LAG_RECORDS_MAX
  #underway: Batch | null = null
  /** Appends one after the other. */
  #turn: Promise<unknown> | null = null
  #closing: Promise<void> | null = null

  constructor(parts: WritingParts) {
    const { recovery, index, files, dir } = parts
    this.location = dir
    this.recovered = recovery.recovered
    this.#parts = parts
    this.#head = recovery.head
    this.#segments = [...recovery.segments]
    this.#writer = new SegmentWriter(files, dir, recovery.live)
    this.#index = index
    this.#overlay = parts.overlay ?? new Overlay(recovery.head.size, index === null ? WHOLE_GENERATION : OVERLAY_GENERATION)
    this.#indexed = 0
    if (index !== null) index.onProgress = (size) => this.#noteIndexed(size)
    this.#reader = new Reader({
      files,
      currentEnd: async () => this.#end(),
      assertOpen: () => this.#assertOpen(),
      index,
      nearby: (seq) => this.#nearby(seq),
    })
    if (parts.canBlock) {
      this.atExit = {
        settle: () => this.#settleNow(),
        state: (request) => this.#stateNow(request),
        append: (records, expected) => this.#appendNow(records, expected),
      }
    }
  }

  get segmentFull(): boolean {
    // An empty live segment behind a filled one: its beginning was cut short, and the seal is still to come.
    return this.#writer.length >= this.#parts.segmentBytes || (this.#writer.length === 0 && this.#head.size > 0)
  }

  /** Of the segment that holds the last record. */
  get segmentName(): string | null {
    return (this.#writer.length > 0 ? this.#writer.segment : this.#segments.at(-2))?.name ?? null
  }

  #assertOpen(): void {
    if (this.#closing !== null) throw new LedgerError('closed', 'the ledger is closed: open it again')
  }

  #end(): LedgerEnd {
    return { segments: [...this.#segments], byte: this.#writer.length, head: this.#head, damage: null }
  }

  #feedPlace(): FeedPlace | null {
    const { segment, length } = this.#writer
    return segment === null || this.#head.size === 0 ? null : { segment: segment.first_seq, byte: length, size: this.#head.size, durable: true }
  }

  #nearby(seq: number): StartPlace | null {
    const { segment, length } = this.#writer
    if (segment !== null && seq === this.#head.size) return { seq, segment: segment.first_seq, byte: length }
    const run = this.#overlay.locate(seq)
    return run === undefined || run.first_seq !== seq ? null : { seq, segment: run.segment.first_seq, byte: run.byte }
  }

  #noteIndexed(size: number): void {
    if (size <= this.#indexed) return
    this.#indexed = size
    this.#overlay.evict(size)
  }

  async append(records: readonly SealedRecord[], expected: Head, options: AppendOptions = {}): Promise<void> {
    // Another append is under way only where somebody races; the ledger's own writer waits for each.
    while (this.#turn !== null) await this.#turn.catch(() => {})
    this.#assertOpen()
    const turn = this.#append(records, expected, options.newSegment === true)
    this.#turn = turn
    try {
      await turn
    } finally {
      this.#turn = null
    }
  }

  async #append(records: readonly SealedRecord[], expected: Head, newSegment: boolean): Promise<void> {
    const batch = this.#batch(records, expected)
    if (batch === null) return
    if (this.#head.size - this.#indexed > this.#lagAllowed && this.#index !== null) await this.#waitForIndex()
    this.#underway = batch
    try {
      await this.#writer.write(batch.bytes, this.#head.size, newSegment)
    } finally {
      this.#underway = null
    }
    this.#accept(batch)
  }

  /** @throws LedgerError `head_moved` */
  #batch(records: readonly SealedRecord[], expected: Head): Batch | null {
    const { size, hash } = this.#head
    if (expected.size !== size || expected.hash !== hash) {
      throw new LedgerError('head_moved', `the ledger has ${size} records, not ${expected.size}: read the head again`, {
        expected_size: expected.size,
        actual_size: size,
      })
    }
    let text = ''
    let seq = size
    for (const record of records) {
      if (record.header.seq !== seq) throw new RangeError(`a record of position ${record.header.seq} can't stand at ${seq}`)
      text += `${formatLine(record)}\n`
      seq++
    }
    const last = records.at(-1)
    if (last === undefined) return null
    return { records, bytes: Buffer.from(text), head: { size: seq, hash: last.hash, recorded_at: last.header.recorded_at } }
  }

  /** The batch is durable. */
  #accept({ records, bytes, head }: Batch): void {
    const { segment, length } = this.#writer
    if (segment === null) return
    const live = this.#segments.at(-1)
    if (live?.first_seq !== segment.first_seq) {
      // An empty file that got another name is the same segment.
      if (live !== undefined && live.first_seq >= segment.first_seq) this.#segments.pop()
      this.#segments.push(segment)
    }
    this.#remember(records, bytes, segment, length - bytes.length)
    this.#head = head
    const place = this.#feedPlace()
    if (place !== null) this.#index?.feed(place, this.#indexed)
  }

  #remember(records: readonly SealedRecord[], bytes: Buffer, segment: Segment, byte: number): void {
    const first_seq = this.#head.size
    if (bytes.length <= RUN_BYTES) {
      this.#overlay.add(records, { first_seq, segment, byte, end: byte + bytes.length })
      return
    }
    for (let first = 0, start = 0; first < records.length; ) {
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

  async #waitForIndex(): Promise<void> {
    const place = this.#feedPlace()
    if (place === null || this.#index === null) return
    const position = await this.#index.catchUp(place)
    this.#noteIndexed(position === null ? 0 : position.seq + 1)
    // An index that can't follow (its disk is full) keeps nobody from recording: memory takes more, and it is asked again later.
    const lag = this.#head.size - this.#indexed
    this.#lagAllowed = lag > LAG_RECORDS_MAX ? lag + LAG_RECORDS_MAX / 4 : LAG_RECORDS_MAX
  }

  async state(request: StateRequest): Promise<StoreState> {
    this.#assertOpen()
    if (this.#writer.isUnsettled) await this.#settle()
    const head = this.#head
    const found = await this.#lookUp(request)
    return { head, ...found, now: null }
  }

  async #settle(): Promise<void> {
    while (this.#turn !== null) await this.#turn.catch(() => {})
    try {
      await this.#writer.settle()
    } catch (error) {
      throw asStorageError(error, 'taking back a failed write', { outcome_unknown: true })
    }
  }

  async #lookUp(request: StateRequest): Promise<Found> {
    if (request.streams.length + request.run_ids.length === 0) return { streams: new Map(), runs: new Map() }
    for (let attempt = 0; attempt < 2 && this.#index !== null && this.#overlay.from > 0; attempt++) {
      if (!(await this.#isCovered(this.#index))) break
      try {
        return await lookUp(this.#parts.files, this.#segments, request, this.#overlay, this.#index)
      } catch (error) {
        if (!isBrokenIndex(error)) throw error
        this.#index.discard()
      }
    }
    if (this.#overlay.from > 0) {
      // The index can't be used or made: everything in memory instead, which takes one reading of the ledger.
      this.#index = null
      const head = this.#head
      const overlay = await loadOverlay(this.#parts.files, this.#end(), 0)
      if (this.#head !== head) return this.#lookUp(request)
      this.#overlay = overlay
    }
    return lookUp(this.#parts.files, this.#segments, request, this.#overlay, null)
  }

  /** The index has what the overlay has not. */
  async #isCovered(index: LedgerIndex): Promise<boolean> {
    const has = (position: { seq: number } | null): boolean => (position?.seq ?? -1) + 1 >= this.#overlay.from
    if (has(await index.position())) return true
    const place = this.#feedPlace()
    return place !== null && has(await index.catchUp(place))
  }

  #settleNow(): void {
    const batch = this.#underway
    const wasDurable = settleNow(this.#writer, this.location)
    this.#underway = null
    if (wasDurable && batch !== null) this.#accept(batch)
  }

  #stateNow(request: StateRequest): StoreState {
    if (request.streams.length + request.run_ids.length === 0) return { head: this.#head, streams: new Map(), runs: new Map(), now: null }
    if (this.#overlay.from > 0) {
      const place = this.#feedPlace()
      if ((this.#index?.positionNow()?.seq ?? -1) + 1 < this.#overlay.from && place !== null) this.#index?.catchUpNow(place)
      if ((this.#index?.positionNow()?.seq ?? -1) + 1 < this.#overlay.from) {
        throw new LedgerError('io_error', 'the index is not there, so at exit nobody can tell whether a run_id is recorded already')
      }
    }
    return { head: this.#head, ...lookUpNow(this.location, request, this.#overlay, this.#overlay.from > 0 ? this.#index : null), now: null }
  }

  #appendNow(records: readonly SealedRecord[], expected: Head): void {
    this.#assertOpen()
    const batch = this.#batch(records, expected)
    if (batch === null) return
    writeNow(this.#writer, this.location, batch.bytes, this.#head.size)
    this.#accept(batch)
  }

  read(selection: Selection): AsyncIterable<readonly Uint8Array[]> {
    return this.#reader.read(selection)
  }

  count(filter: RecordFilter): Promise<number> {
    return this.#reader.count(filter)
  }

  tally(column: TallyColumn, filter: RecordFilter): Promise<ReadonlyMap<string, number>> {
    return this.#reader.tally(column, filter)
  }

  async describe(): Promise<StoreDescription> {
    this.#assertOpen()
    return describeFiles(this.#parts.files, this.location, this.#segments, this.#index, this.#head.size)
  }

  async audit(sink: AuditSink, signal?: AbortSignal): Promise<void> {
    this.#assertOpen()
    const { files, dir } = this.#parts
    const { segments, byte } = this.#end()
    try {
      // As they lie there, not as they are remembered: one that is missing or was put there is for the verifier to see.
      const listed = (await listSegments(files, dir)).filter(({ first_seq }) => first_seq <= (segments.at(-1)?.first_seq ?? -1))
      await auditSegments({ files, segments: listed, ownEnd: byte, isWriterAtWork: async () => true, isLedger: true }, sink, signal)
    } catch (error) {
      if (signal?.aborted === true) throw error
      throw asStorageError(error, `reading ${dir}`)
    }
  }

  async flush(): Promise<void> {
    this.#assertOpen()
    while (this.#turn !== null) await this.#turn.catch(() => {})
    const place = this.#feedPlace()
    if (this.#index === null || place === null) return
    const position = await this.#index.catchUp(place)
    this.#noteIndexed(position === null ? 0 : position.seq + 1)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    while (this.#turn !== null) await this.#turn.catch(() => {})
    // What a failed batch left is taken back now if it can be; else the next opening finds it, whole appends or torn.
    await this.#writer.settle().catch(() => {})
    const place = this.#feedPlace()
    await this.#writer.close()
    await this.#index?.close(place)
    // Last of all: until here nobody else may write.
    await this.#parts.lock.release()
  }
}
