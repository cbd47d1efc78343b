/**
 * The port that every store fulfils. A store keeps lines (docs/format.md) and finds them again; it knows nothing of
 * sealing, idempotency or policy. What it promises is tested by the contract suite of `cortex-ledger/testing`:
 *
 * 1. `append` is atomic and durable before it resolves, or has no effect; it compares the head and refuses a stale
 *    one with `head_moved`.
 * 2. Records come back byte for byte.
 * 3. A second writer is refused (`locked`), or serialised, never interleaved.
 * 4. After a crash at any point, opening for writing recovers by itself: every acknowledged record is there, no half
 *    record and no half append is.
 * 5. Where the outcome of a write is unknown, the error says so (`details.outcome_unknown`); `state` then tells the truth.
 * 6. Reading streams in bounded memory at any size. Opening costs the same at any size.
 * 7. A failed write is a typed error, leaves nothing half-written, and the next append goes on when the cause is gone.
 */
import type { EntryUpkeep } from './upkeep.ts'
import type { Outcome, RecordHeader } from '../verify/header.ts'
import type { Problem } from '../verify/report.ts'

/** The end of a ledger: its size, the hash that the next record's `previous_hash` must be, and the last `recorded_at`. */
export interface Head {
  readonly size: number
  /** Hash of the last record; GENESIS where size is 0. */
  readonly hash: string
  readonly recorded_at: string | null
}

/** What sealing a batch needs to know; one consistent view in one round trip. */
export interface StateRequest {
  /** Streams whose last version is asked for. */
  readonly streams: readonly string[]
  /** Ids that may be in the ledger already. */
  readonly run_ids: readonly string[]
}

export interface StoreState {
  readonly head: Head
  /** Last `stream_version` of each asked stream that has one. */
  readonly streams: ReadonlyMap<string, number>
  /** The whole line of each asked run_id that is there. */
  readonly runs: ReadonlyMap<string, Uint8Array>
  /** The store's own clock in µs since the epoch, where many writers share it; else null. */
  readonly now: number | null
  /** Plain text of those of `runs` whose entries are encrypted and could be opened. No store fills it in: the ledger does. */
  readonly opened?: ReadonlyMap<string, string>
}

/** A record as it goes to the store. The line is `formatLine` of these parts. */
export interface SealedRecord {
  readonly hash: string
  readonly header: RecordHeader
  /** Canonical JSON of the header: the hashed bytes. */
  readonly header_text: string
  /** The JSON array's exact text, or null where nobody signed. */
  readonly signatures_text: string | null
  /** Null, as the entry, where it is withheld: a copy takes over what is there. */
  readonly salt: string | null
  /** Canonical JSON of the entry. */
  readonly entry_text: string | null
  /** From the entry, for queries only. */
  readonly provider: string | null
  readonly model: string | null
}

/** Any of the values fits; all keys that are there must fit. Times are in the header's spelling. */
export interface RecordFilter {
  /** Positions, as another index found them: some thousands at once. */
  readonly seq?: ReadonlySet<number>
  readonly run_id?: readonly string[]
  readonly correlation_id?: readonly string[]
  readonly causation_id?: readonly string[]
  readonly actor?: readonly string[]
  readonly action?: readonly string[]
  readonly outcome?: readonly Outcome[]
  readonly type?: readonly string[]
  readonly stream?: readonly string[]
  /** A record fits when it has every one of these tags. */
  readonly tags?: readonly string[]
  readonly provider?: readonly string[]
  readonly model?: readonly string[]
  /** `timestamp` (when it happened): inclusive, exclusive. */
  readonly since?: string
  readonly until?: string
  /** `recorded_at`: inclusive, exclusive. */
  readonly recorded_since?: string
  readonly recorded_until?: string
}

/** Which records, in which order. Positions: `from` inclusive, `before` exclusive, both in seq. */
export interface Selection {
  readonly filter: RecordFilter
  readonly from: number
  /** Exclusive; Infinity for all that are there when reading starts. */
  readonly before: number
  /** Highest position first. */
  readonly reverse: boolean
  /** Infinity for all. */
  readonly limit: number
}

/** The columns by which records can be counted in groups. */
export const TALLY_COLUMNS = ['actor', 'action', 'outcome', 'type', 'stream', 'provider', 'model'] as const
export type TallyColumn = (typeof TALLY_COLUMNS)[number]

export interface StoreDescription {
  /** `memory`, `jsonl`, `sqlite`, `postgres`. */
  readonly kind: string
  /** Bytes that the records take in the store. */
  readonly bytes: number
  /** Further figures in the store's own words, such as `segments` or `index_lag_records`. */
  readonly [figure: string]: number | string | boolean | null
}

/** Takes a store's records for verification, in the order of position. Fulfilled by `LedgerVerifier` of src/verify. */
export interface AuditSink {
  /** The lines that follow are of this file (its name relative to the ledger), whose name promises `first_seq`; null: rows. */
  file(name: string | null, first_seq: number | null): void
  /** One line without its line feed: `bytes[start, end)`, good until this returns. `position` is its byte offset in the file, or its row. */
  line(bytes: Uint8Array, start: number, end: number, position: number): void
  /**
   * The bytes after the last line feed of the current file. `live`: this is the live end and a writer holds the lock
   * (a note); `tail`: the live end without a writer; `sealed`: a segment that another one follows.
   */
  unended(position: number, length: number, state: 'live' | 'tail' | 'sealed'): void
  /** What only the store can see, such as an index column that differs. */
  problem(problem: Problem): void
  /** The store compared its index columns with every record (or why it did not). */
  columnsChecked(missing?: string): void
}

/** Records by position, `from` inclusive, `before` exclusive (Infinity: all that are there). */
export interface AuditRange {
  readonly from: number
  readonly before: number
}

/** A place where an audit can be cut in two. */
export interface AuditCut {
  /** Position of the first record of the second part; from 1. */
  readonly seq: number
  /** Bytes of all that an audit goes through. */
  readonly bytes: number
}

/** What is kept beside the tree: where it stands, and the last signed checkpoint. */
export type TreeText = 'state' | 'checkpoint'

/**
 * Where a store keeps what follows from the records' hashes and can be deleted at any time: the levels of the tree's
 * tiles, each one sequence of hashes of 32 bytes, of which every 256 are a tile of C2SP tlog-tiles; and two small texts.
 * Nothing has to be durable, and nobody trusts what comes back: whoever reads it checks it (src/ledger/tree.ts). Several
 * processes may write at once, since all of them write the same.
 */
export interface TreeFiles {
  /** Up to `count` hashes of a level of tiles (0: the records' own), from number `first` on; fewer where the rest is not kept. */
  read(level: number, first: number, count: number): Promise<Uint8Array>
  /** @throws LedgerError `disk_full` | `io_error` | `read_only` */
  write(level: number, first: number, hashes: Uint8Array): Promise<void>
  readText(name: TreeText): Promise<string | null>
  /** Replaces it as a whole. @throws LedgerError as `write` */
  writeText(name: TreeText, text: string): Promise<void>
  /** Forgets the levels and where the tree stands; the checkpoint stays. */
  clear(): Promise<void>
}

/**
 * A small text kept with the ledger. While it is there the ledger is the copy of another one, and nobody records in it
 * (src/ledger/replica.ts).
 */
export interface ReplicaMark {
  /** Null where the ledger is no replica. @throws LedgerError `io_error` */
  read(): Promise<string | null>
  /**
   * Replaces it as a whole; null takes it away. It has happened for good when this resolves; when the process or the
   * machine ends in between, the old text is there or the new one.
   * @throws LedgerError `read_only` | `disk_full` | `io_error`
   */
  write(text: string | null): Promise<void>
}

/**
 * Where a store keeps states of projections, as texts with names. They follow from the records and can be deleted at any
 * time; nobody trusts what comes back: whoever reads one checks it (src/ledger/snapshots.ts). Names have 1 to 100
 * characters of a-z, 0-9 and -.
 */
export interface SnapshotFiles {
  /** Names that begin so, in any order. @throws LedgerError `io_error` | `read_only` */
  list(prefix: string): Promise<readonly string[]>
  /** Null where none has the name. @throws LedgerError as `list` */
  read(name: string): Promise<string | null>
  /** Replaces it as a whole. @throws LedgerError `read_only` | `disk_full` | `io_error` */
  write(name: string, text: string): Promise<void>
  /** Where it is there. @throws LedgerError as `write` */
  remove(name: string): Promise<void>
}

/** A data key as it is kept: wrapped by a master key (docs/format.md, "Encrypted entries"). */
export interface StoredKey {
  /** What entries name it by: 1 to 64 characters of A-Z, a-z, 0-9, _ and -. It tells nobody whose key it is. */
  readonly id: string
  /** Whose key it is, as a keyed digest. No two keys that are there have the same. */
  readonly label: string
  /** Id of the master key that wrapped it. */
  readonly master: string
  /** Base64. */
  readonly wrapped: string
}

/** One data key under two master keys. */
export interface Rewrapping {
  readonly before: StoredKey
  readonly after: StoredKey
}

/**
 * Where a store keeps wrapped data keys: beside the records, never among them, since a key goes when its subject is
 * erased and a record never does. Any number of processes may use it at once.
 */
export interface DataKeyStore {
  isEmpty(): Promise<boolean>
  /** Those that are there of these, in any order. @throws LedgerError `io_error` | `read_only` | `damaged` */
  find(by: 'id' | 'label', values: readonly string[]): Promise<readonly StoredKey[]>
  /**
   * Keeps each key whose label no other has yet, and leaves out the rest: `find` tells which one counts. Durable when it
   * resolves: no entry is ever encrypted under a key that a power cut takes away.
   * @throws LedgerError `read_only` | `disk_full` | `io_error`
   */
  add(keys: readonly StoredKey[]): Promise<void>
  /** Puts each new wrapping in the place of the old one, durable when it resolves. Gives how many old ones were still there. */
  rewrap(changes: readonly Rewrapping[]): Promise<number>
  /** Takes keys away for good, overwritten where that means something. Gives the ids that were there. @throws LedgerError as `add` */
  remove(ids: readonly string[]): Promise<readonly string[]>
  /** By ascending id, from behind this one on. */
  list(after: string, limit: number): Promise<readonly StoredKey[]>
}

/** How the entries of some lines are opened. */
export interface EntryOpening {
  /** The owner lets what is in encrypted entries be indexed. */
  readonly indexed: boolean
  /** The plain text of an encrypted entry. @throws LedgerError `key_error` | `damaged` */
  open(entry_text: string, run_id: string, seq: number): string
}

/** Opens encrypted entries, where the ledger was opened with a master key. */
export interface EntryOpener {
  /** Fetches the keys of these lines; undefined where no entry in them is encrypted. Never rejects: what can't be had, `open` tells. */
  opening(lines: readonly Uint8Array[]): Promise<EntryOpening | undefined>
  readonly indexed: boolean
}

/** A record that is still to be sealed: its header but for what only the ledger's end says. */
export interface UnsealedRecord {
  readonly header: UnsealedHeader
  /** The header's text in four pieces, between which stand `previous_hash` and `recorded_at`, `seq`, `stream_version`. */
  readonly pieces: readonly [front: string, middle: string, near: string, back: string]
  /** Its stream begins with it. */
  readonly isStreamNew: boolean
  readonly salt: string
  readonly entry_text: string
  readonly provider: string | null
  readonly model: string | null
}

export interface UnsealedHeader {
  readonly run_id: string
  readonly stream: string
  readonly type: string
  readonly actor: string
  readonly action: string
  readonly outcome: Outcome
  readonly timestamp: string
  readonly correlation_id: string | undefined
  readonly causation_id: string | undefined
  readonly tags: readonly string[] | undefined
}

/** What a store sealed records for. */
export interface SealedFor {
  /** The end before them. */
  readonly head: Head
  readonly streams: ReadonlyMap<string, number>
  /** Of all of them. */
  readonly recorded_at: string
  /** Hash of the last one. */
  readonly hash: string
}

export interface AppendOptions {
  /** The first of these records begins a new segment (stores without segments ignore it). */
  readonly newSegment?: boolean
}

/** The head is held. Exactly one of `append` and `release` is called, and ends the turn. */
export interface Turn {
  readonly state: StoreState
  /** To the state's head. @throws LedgerError as `Store.append` */
  append(records: readonly SealedRecord[]): Promise<void>
  release(): Promise<void>
}

export interface Store {
  readonly kind: string
  /** The path or URL, for messages. */
  readonly location: string
  readonly readOnly: boolean
  /** True where one reading may be answered by several servers, of which one knows less than another told before. */
  readonly mayLag?: boolean
  /** True when the store would like its live segment sealed and a new one begun. */
  readonly segmentFull: boolean
  /** The live segment's name and the position of its first record; null where the store has no segments. */
  readonly segment: { readonly name: string; readonly first_seq: number } | null
  /** What is derived from the records' hashes. */
  readonly tree: TreeFiles
  /** Says that the ledger is a replica. A store that only reads can't write it. */
  readonly replica: ReplicaMark
  /** States of projections. A store that only reads can't write them. */
  readonly snapshots: SnapshotFiles
  /** Compressing, archiving and erasing of entries; absent where a store can't. A store that only reads refuses all but reading. */
  readonly upkeep?: EntryUpkeep
  /** Data keys of encrypted entries, wrapped. A store that only reads can't change them. */
  readonly dataKeys: DataKeyStore
  /** Absent in every store: the ledger that was opened with a master key puts it in front of its own. */
  readonly entries?: EntryOpener
  /** What recovery did at opening, to be recorded by the ledger; null where there was nothing to do. */
  readonly recovered: { readonly bytes: number; readonly moved_to: string; readonly reason: string } | null

  state(request: StateRequest): Promise<StoreState>
  /**
   * `state`, once what it shows is as durable as an append: what can be seen need not be, where a commit was seen here and
   * is still to reach a standby. Absent where what is seen is durable.
   * @throws LedgerError as `append`
   */
  confirmedState?(request: StateRequest): Promise<StoreState>
  /** @throws LedgerError `head_moved` | `disk_full` | `io_error` | `read_only` | `locked`; nothing is written unless `details.outcome_unknown`. */
  append(records: readonly SealedRecord[], expected: Head, options?: AppendOptions): Promise<void>
  /**
   * `append` may be called while others are on their way: they take effect in order, and one behind another that fails
   * fails too. Absent where it is not so, or nothing is gained by it.
   */
  readonly pipelined?: true
  /**
   * Where many writers share the head: waits for the turn to append, and keeps all others out until it is over. Absent
   * where nobody else writes, or writing is too quick for it to matter.
   */
  takeTurn?(request: StateRequest): Promise<Turn>
  /**
   * The same for records that nothing is asked about before they are sealed: the store seals them at the end, whatever
   * that is when their turn comes. Null where it can't, and nothing was appended; absent where it never can.
   * @throws LedgerError as `append`, without `head_moved`
   */
  sealAndAppend?(records: readonly UnsealedRecord[]): Promise<SealedFor | null>
  /** The clock that all writers share, µs since the epoch; absent or null where there is none. */
  now?(): number | null
  /** For a process that is exiting, where nothing asynchronous runs any more; absent where a store can't. */
  readonly atExit?: ExitAppender

  /**
   * Yields now and then when somebody may have appended, until the signal is aborted. Only a hint: it may come late, too
   * often or not at all, so whoever waits also looks by itself. Absent where nothing is known before one looks.
   */
  watch?(signal: AbortSignal): AsyncIterable<void>

  /** Lines without line feed, in chunks of bounded size, each record one exact line. */
  read(selection: Selection): AsyncIterable<readonly Uint8Array[]>
  /** All records from `from` up to and without `before` as lines that withhold their entry, where that is less to read. */
  readHeaders?(from: number, before: number): AsyncIterable<readonly Uint8Array[]>
  count(filter: RecordFilter): Promise<number>
  /** Number of records by a column's values; records without the value are left out. */
  tally(column: TallyColumn, filter: RecordFilter): Promise<ReadonlyMap<string, number>>
  describe(): Promise<StoreDescription>
  /**
   * Feeds every record to the sink, whatever state the store is in; never throws on data, and changes nothing. With a
   * range those of it only: two audits of neighbouring ranges feed together what one of all does. Where the beginning or
   * the end of a range can't be found, the sink hears of a problem.
   */
  audit(sink: AuditSink, signal?: AbortSignal, range?: AuditRange): Promise<void>
  /** About where this share (0 to 1) of an audit's work lies behind it; null where it can't be told. A store without it is audited in one go. */
  auditCut?(share: number): Promise<AuditCut | null>
  /** What is derived (an index) is up to date when this resolves. */
  flush(): Promise<void>
  close(): Promise<void>
}

/** The blocking siblings of `state` and `append`, used only in a process's `exit` handler. */
export interface ExitAppender {
  /** Waits for an append that is under way, however it ends. */
  settle(): void
  state(request: StateRequest): StoreState
  append(records: readonly SealedRecord[], expected: Head): void
}
