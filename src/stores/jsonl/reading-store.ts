/** A ledger that somebody else writes, or nobody: a folder, or one exported file. */
import { join } from 'node:path'
import { LedgerError } from '../../ledger/errors.ts'
import type {
  AuditCut,
  AuditRange,
  AuditSink,
  RecordFilter,
  ReplicaMark,
  Selection,
  SnapshotFiles,
  StateRequest,
  Store,
  StoreDescription,
  StoreState,
  TallyColumn,
  TreeFiles,
} from '../../ledger/store.ts'
import type { EntryUpkeep } from '../../ledger/upkeep.ts'
import { cutSegments } from './audit-range.ts'
import { auditSegments } from './audit.ts'
import { findEnd } from './end.ts'
import type { LedgerEnd } from './end.ts'
import { asFileError, nodeFiles } from './files.ts'
import type { FilePort } from './files.ts'
import type { DataKeyFile } from '../keys/key-file.ts'
import { dataKeysOf, listSegments, replicaOf, snapshotsOf, TORN, treeOf } from './layout.ts'
import type { Segment } from './layout.ts'
import type { LedgerIndex } from './ledger-index.ts'
import { isWriterAtWork } from './lock.ts'
import { loadOverlay, lookUp } from './lookups.ts'
import type { Found } from './lookups.ts'
import { LASTING_GENERATION } from './overlay.ts'
import { Reader } from './reader.ts'
import type { StartPlace } from './scan.ts'
import { readingUpkeep } from './upkeep.ts'
import { watchSegments } from './watching.ts'

/** Ends of earlier readings: whoever follows a ledger goes on from one of them. */
const LANDMARKS_MAX = 16

/** Where the ledger ends, looked up anew only when its last file has changed. */
class EndTracker {
  readonly #files: FilePort
  readonly #list: () => Promise<readonly Segment[]>
  #known: { readonly sign: string; readonly end: LedgerEnd } | null = null
  #landmarks: StartPlace[] = []

  constructor(files: FilePort, list: () => Promise<readonly Segment[]>) {
    this.#files = files
    this.#list = list
  }

  async current(): Promise<LedgerEnd> {
    const segments = await this.#list()
    const live = segments.at(-1)
    const facts = live === undefined ? null : await this.#files.facts(live.path)
    const sign = `${segments.length} ${live?.name} ${facts?.size} ${facts?.changed_ms}`
    if (this.#known?.sign === sign) return this.#known.end
    const end = await findEnd(this.#files, segments)
    const last = end.segments.at(-1)
    if (last !== undefined)
      this.#landmarks = [...this.#landmarks.slice(1 - LANDMARKS_MAX), { seq: end.head.size, segment: last.first_seq, byte: end.byte }]
    this.#known = { sign, end }
    return end
  }

  nearby(seq: number): StartPlace | null {
    return this.#landmarks.find((landmark) => landmark.seq === seq) ?? null
  }
}

export interface ReadingParts {
  readonly files: FilePort
  readonly location: string
  /** False for one exported file. */
  readonly isLedger: boolean
  readonly list: () => Promise<readonly Segment[]>
  readonly index: LedgerIndex | null
}

export class ReadingStore implements Store {
  readonly kind = 'jsonl'
  readonly readOnly = true
  readonly segmentFull = false
  readonly recovered = null
  readonly tree: TreeFiles
  readonly replica: ReplicaMark
  readonly snapshots: SnapshotFiles
  readonly dataKeys: DataKeyFile
  readonly upkeep?: EntryUpkeep
  readonly location: string
  readonly #parts: ReadingParts
  readonly #ends: EndTracker
  readonly #reader: Reader
  #segment: Segment | null = null
  #isClosed = false

  constructor(parts: ReadingParts) {
    this.location = parts.location
    this.#parts = parts
    const dir = parts.isLedger ? parts.location : null
    this.tree = treeOf(parts.files, dir)
    this.replica = replicaOf(parts.files, dir, true)
    this.snapshots = snapshotsOf(parts.files, dir, true)
    this.dataKeys = dataKeysOf(parts.files, dir, true)
    if (dir !== null) this.upkeep = readingUpkeep(parts.files, dir, () => this.#assertOpen())
    this.#ends = new EndTracker(parts.files, parts.list)
    this.#reader = new Reader({
      location: parts.location,
      files: parts.files,
      currentEnd: () => this.#end(),
      assertOpen: () => this.#assertOpen(),
      index: parts.index,
      nearby: (seq) => this.#ends.nearby(seq),
      isAcknowledged: false,
    })
  }

  /** As it was when somebody last looked. */
  get segment(): Segment | null {
    return this.#segment
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new LedgerError('closed', 'the ledger is closed: open it again to read')
  }

  async #end(): Promise<LedgerEnd> {
    try {
      const end = await this.#ends.current()
      this.#segment = end.segments.at(-1) ?? null
      return end
    } catch (error) {
      throw asFileError(error, `reading ${this.location}`)
    }
  }

  async state(request: StateRequest): Promise<StoreState> {
    this.#assertOpen()
    const end = await this.#end()
    if (end.damage !== null) throw end.damage
    try {
      const asksNothing = request.streams.length + request.run_ids.length === 0
      const found = asksNothing ? { streams: new Map(), runs: new Map() } : await this.#lookUp(request, end)
      return { head: end.head, ...found, now: null }
    } catch (error) {
      throw asFileError(error, `reading ${this.location}`)
    }
  }

  async #lookUp(request: StateRequest, end: LedgerEnd): Promise<Found> {
    const { files, index } = this.#parts
    const live = end.segments.at(-1)
    if (live === undefined) return { streams: new Map(), runs: new Map() }
    for (let attempt = 0; index !== null && attempt < 2; attempt++) {
      const position = await index.catchUp({ segment: live.first_seq, byte: end.byte, size: end.head.size, durable: false })
      if (position === null) break
      try {
        return await lookUp(files, end.segments, request, await loadOverlay(files, end, position.seq + 1, LASTING_GENERATION), index)
      } catch (error) {
        if (!index.heals(error)) throw error
      }
    }
    return lookUp(files, end.segments, request, await loadOverlay(files, end, 0, LASTING_GENERATION), null)
  }

  append(): Promise<void> {
    if (this.#isClosed) return Promise.reject(new LedgerError('closed', 'the ledger is closed: open it again to record'))
    return Promise.reject(new LedgerError('read_only', `${this.location} was opened for reading: open it without readOnly to record`))
  }

  async *watch(signal: AbortSignal): AsyncGenerator<void, void, undefined> {
    // One exported file does not grow, and of a disk that a test has made up nobody hears.
    if (this.#parts.isLedger && this.#parts.files === nodeFiles) yield* watchSegments(this.location, signal)
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
    const size = (await this.#end()).head.size
    return describeFiles(this.#parts.files, this.location, await this.#parts.list(), this.#parts.index, size)
  }

  async audit(sink: AuditSink, signal?: AbortSignal, range?: AuditRange): Promise<void> {
    this.#assertOpen()
    const { files, isLedger, list, location } = this.#parts
    try {
      await auditSegments(
        { files, list, ownEnd: null, isWriterAtWork: async () => isLedger && isWriterAtWork(location), isLedger },
        sink,
        signal,
        range,
      )
    } catch (error) {
      if (signal?.aborted === true) throw error
      throw asFileError(error, `reading ${location}`)
    }
  }

  async auditCut(share: number): Promise<AuditCut | null> {
    this.#assertOpen()
    const { files, list, location } = this.#parts
    try {
      return await cutSegments(files, await list(), share)
    } catch (error) {
      throw asFileError(error, `reading ${location}`)
    }
  }

  async flush(): Promise<void> {
    this.#assertOpen()
    const end = await this.#end()
    const live = end.segments.at(-1)
    if (live !== undefined)
      await this.#parts.index?.catchUp({ segment: live.first_seq, byte: end.byte, size: end.head.size, durable: false }, true)
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.dataKeys.close()
    await this.#parts.index?.close(null)
  }
}

/** Figures for people; `index_lag_records` are found by scanning. */
export async function describeFiles(
  files: FilePort,
  location: string,
  segments: readonly Segment[],
  index: LedgerIndex | null,
  size: number,
): Promise<StoreDescription> {
  const sizes = await Promise.all(segments.map(async ({ path }) => (await files.facts(path))?.size ?? 0))
  const torn = join(location, TORN)
  const torn_files = (await files.facts(torn)) === null ? 0 : (await files.list(torn)).length
  const position = index === null ? null : await index.position()
  const index_records = position === null ? 0 : position.seq + 1
  return {
    kind: 'jsonl',
    bytes: sizes.reduce((sum, each) => sum + each, 0),
    segments: segments.length,
    index_records: index === null ? null : index_records,
    index_lag_records: index === null ? null : Math.max(0, size - index_records),
    torn_files,
  }
}

/** The segments of a ledger's folder. */
export function folderOf(files: FilePort, dir: string): () => Promise<readonly Segment[]> {
  return () => listSegments(files, dir)
}
