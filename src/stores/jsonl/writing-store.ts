/** A ledger that this process writes. */
import { LedgerError } from '../../ledger/errors.ts'
import type {
  AppendOptions,
  AuditRange,
  AuditSink,
  ExitAppender,
  Head,
  RecordFilter,
  ReplicaMark,
  SealedRecord,
  Selection,
  SnapshotFiles,
  StateRequest,
  Store,
  StoreDescription,
  StoreState,
  TallyColumn,
  TreeFiles,
} from '../../ledger/store.ts'
import { auditSegments } from './audit.ts'
import { BatchEncoder } from './batch-encoder.ts'
import type { LedgerEnd } from './end.ts'
import { settleNow, writeNow } from './exit.ts'
import { asFileError } from './files.ts'
import type { FilePort } from './files.ts'
import { KnownRecords } from './known-records.ts'
import type { DataKeyFile } from '../keys/key-file.ts'
import { dataKeysOf, listSegments, replicaOf, snapshotsOf, treeOf } from './layout.ts'
import type { LedgerIndex } from './ledger-index.ts'
import type { WriterLock } from './lock.ts'
import type { Overlay } from './overlay.ts'
import { describeFiles } from './reading-store.ts'
import { Reader } from './reader.ts'
import type { Recovered, Recovery } from './recovery.ts'
import type { StartPlace } from './scan.ts'
import type { Segment } from './layout.ts'
import { SegmentWriter } from './segment-writer.ts'
import { JsonlUpkeep } from './upkeep.ts'

export interface WritingParts {
  readonly files: FilePort
  readonly dir: string
  readonly lock: WriterLock
  readonly recovery: Recovery
  readonly segmentBytes: number
  readonly index: LedgerIndex | null
  /** Positions before this one are in it. */
  readonly indexed: number
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
  readonly tree: TreeFiles
  readonly replica: ReplicaMark
  readonly snapshots: SnapshotFiles
  readonly dataKeys: DataKeyFile
  readonly upkeep: JsonlUpkeep
  readonly atExit?: ExitAppender
  readonly #parts: WritingParts
  readonly #writer: SegmentWriter
  readonly #reader: Reader
  readonly #known: KnownRecords
  /** One batch at a time is under way, so one buffer serves them all. */
  readonly #encoder = new BatchEncoder()
  #head: Head
  #underway: Batch | null = null
  #turn: Promise<unknown> | null = null
  #closing: Promise<void> | null = null

  constructor(parts: WritingParts) {
    const { recovery, index, files, dir } = parts
    this.location = dir
    this.tree = treeOf(files, dir)
    this.replica = replicaOf(files, dir, false)
    this.snapshots = snapshotsOf(files, dir, false)
    this.dataKeys = dataKeysOf(files, dir, false)
    this.recovered = recovery.recovered
    this.#parts = parts
    this.#head = recovery.head
    this.#writer = new SegmentWriter(files, dir, recovery.segments, recovery.live)
    const { indexed, overlay } = parts
    this.#known = new KnownRecords({ files, dir, index, indexed, overlay, end: () => this.#end() })
    this.#reader = new Reader({
      location: dir,
      files,
      currentEnd: async () => this.#end(),
      assertOpen: () => this.#assertOpen(),
      index,
      nearby: (seq) => this.#nearby(seq),
      isAcknowledged: true,
    })
    this.upkeep = new JsonlUpkeep({
      files,
      dir,
      index,
      known: this.#known,
      segments: () => ({ all: this.#writer.segments, live: this.segment, size: this.#head.size }),
      assertOpen: () => this.#assertOpen(),
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

  /** The one that holds the last record. */
  get segment(): Segment | null {
    return (this.#writer.length > 0 ? this.#writer.segment : this.#writer.segments.at(-2)) ?? null
  }

  #assertOpen(): void {
    if (this.#closing !== null) throw new LedgerError('closed', 'the ledger is closed: open it again')
  }

  #end(): LedgerEnd {
    return { segments: [...this.#writer.segments], byte: this.#writer.length, head: this.#head, damage: null }
  }

  #nearby(seq: number): StartPlace | null {
    const { segment, length } = this.#writer
    if (segment !== null && seq === this.#head.size) return { seq, segment: segment.first_seq, byte: length }
    return this.#known.nearby(seq)
  }

  async append(records: readonly SealedRecord[], expected: Head, options: AppendOptions = {}): Promise<void> {
    await this.#inTurn(() => this.#append(records, expected, options.newSegment === true))
  }

  /**
   * What changes the live file, one after the other: a cut that overtakes a write would take acknowledged records with
   * it. Somebody else's turn is met only where callers race; the ledger's own writer waits for each append.
   */
  async #inTurn(act: () => Promise<void>): Promise<void> {
    while (this.#turn !== null) await this.#turn.catch(() => {})
    const turn = act()
    this.#turn = turn
    try {
      await turn
    } finally {
      this.#turn = null
    }
  }

  async #append(records: readonly SealedRecord[], expected: Head, newSegment: boolean): Promise<void> {
    this.#assertOpen()
    const batch = this.#batch(records, expected, this.#encoder)
    if (batch === null) return
    if (this.#known.isCrowded(this.#head.size)) await this.#known.makeRoom()
    this.#underway = batch
    try {
      await this.#writer.write(batch.bytes, this.#head.size, newSegment)
    } finally {
      this.#underway = null
    }
    this.#accept(batch)
  }

  /** @throws LedgerError `head_moved` */
  #batch(records: readonly SealedRecord[], expected: Head, encoder: BatchEncoder): Batch | null {
    const { size, hash } = this.#head
    if (expected.size !== size || expected.hash !== hash) {
      throw new LedgerError('head_moved', `the ledger has ${size} records, not ${expected.size}: read the head again`, {
        expected_size: expected.size,
        actual_size: size,
      })
    }
    let seq = size
    for (const record of records) {
      if (record.header.seq !== seq) throw new RangeError(`a record of position ${record.header.seq} can't stand at ${seq}`)
      seq++
    }
    const last = records.at(-1)
    if (last === undefined) return null
    const bytes = encoder.encode(records)
    return { records, bytes, head: { size: seq, hash: last.hash, recorded_at: last.header.recorded_at } }
  }

  /** The batch is durable. */
  #accept({ records, bytes, head }: Batch): void {
    const { segment, length } = this.#writer
    if (segment === null) return
    this.#known.add(records, bytes, this.#head.size, segment, length - bytes.length)
    this.#head = head
    this.#known.follow()
  }

  async state(request: StateRequest): Promise<StoreState> {
    this.#assertOpen()
    if (this.#writer.isUnsettled) await this.#settle()
    const head = this.#head
    try {
      return { head, ...(await this.#known.find(request)), now: null }
    } catch (error) {
      throw asFileError(error, `reading ${this.location}`)
    }
  }

  async #settle(): Promise<void> {
    try {
      await this.#inTurn(() => this.#writer.settle())
    } catch (error) {
      if (!(error instanceof LedgerError)) throw error
      // Until it is taken back, a crash would leave it there: whoever gave it can't be told that it is not.
      throw new LedgerError(error.code, error.message, { ...error.details, outcome_unknown: true })
    }
  }

  #settleNow(): void {
    const batch = this.#underway
    const wasDurable = settleNow(this.#writer, this.location)
    this.#underway = null
    if (wasDurable && batch !== null) this.#accept(batch)
  }

  #stateNow(request: StateRequest): StoreState {
    return { head: this.#head, ...this.#known.findNow(request), now: null }
  }

  #appendNow(records: readonly SealedRecord[], expected: Head): void {
    this.#assertOpen()
    if (this.#underway !== null || this.#writer.isUnsettled) this.#settleNow()
    // A buffer of its own: a thread may still be writing out of the other one.
    const batch = this.#batch(records, expected, new BatchEncoder())
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
    return describeFiles(this.#parts.files, this.location, this.#writer.segments, this.#parts.index, this.#head.size)
  }

  async audit(sink: AuditSink, signal?: AbortSignal, range?: AuditRange): Promise<void> {
    this.#assertOpen()
    const { files, dir } = this.#parts
    // As they lie there, not as they are remembered: one that is missing or was put there is for the verifier to see.
    const list = async (): Promise<readonly Segment[]> => {
      const listed = await listSegments(files, dir)
      const live = this.#writer.segment?.first_seq ?? -1
      return listed.filter(({ first_seq }) => first_seq <= live)
    }
    const ownEnd = ({ first_seq }: Segment): number | null => (first_seq === this.#writer.segment?.first_seq ? this.#writer.length : null)
    try {
      await auditSegments({ files, list, ownEnd, isWriterAtWork: async () => true, isLedger: true }, sink, signal, range)
    } catch (error) {
      if (signal?.aborted === true) throw error
      throw asFileError(error, `reading ${dir}`)
    }
  }

  async flush(): Promise<void> {
    this.#assertOpen()
    while (this.#turn !== null) await this.#turn.catch(() => {})
    await this.#known.flush()
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    // A segment must not be renamed once somebody else has the lock.
    await this.upkeep.settle()
    // What a failed batch left is taken back now if it can be; else the next opening finds it, whole appends or torn.
    await this.#inTurn(() => this.#writer.settle()).catch(() => {})
    this.dataKeys.close()
    await this.#writer.close()
    await this.#known.close()
    // Last of all: until here nobody else may write.
    await this.#parts.lock.release()
  }
}
