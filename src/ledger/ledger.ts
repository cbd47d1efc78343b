/**
 * A ledger over a store: record, read, query, verify. There is no update and no delete: not a method that throws,
 * no method. `AuditLedger` of src/open.ts adds `open`, which knows the stores.
 */
import type { LedgerKey } from '../verify/key-log.ts'
import type { SnapshotCheck, VerificationReport } from '../verify/report.ts'
import { hashHex } from '../verify/tree.ts'
import type { AuditOptions } from './audit.ts'
import type { CallHandle, CallInfo, CallOptions } from './call.ts'
import { Captures } from './captures.ts'
import type { Checkpoints, SignedCheckpoint } from './checkpoints.ts'
import type { AppendCondition, EventQuery } from './conditions.ts'
import { runInContext } from './context.ts'
import type { LedgerContext } from './context.ts'
import type { CorrectedRecord } from './corrections.ts'
import type { Draft, EventInput, RecordOptions } from './draft.ts'
import type { LedgerEntryInput } from './entry.ts'
import { LedgerError } from './errors.ts'
import { readEvents } from './event-reading.ts'
import type { EventsRange, EventsRead } from './event-reading.ts'
import { drainAtExit, forgetAtExit } from './exit.ts'
import { LedgerKeys } from './key-records.ts'
import type { KeyToAdd, RetireOptions } from './key-records.ts'
import { checkpointsOf, projectionsOf, retentionOf } from './ledger-rooms.ts'
import type { LedgerParts } from './parts.ts'
import type { Inclusion, Receipt, StreamExpectation } from './plan.ts'
import type { Projection, ProjectionScope } from './projection.ts'
import type { LoadedState, LoadOptions, Projections } from './projections.ts'
import type { ProofRequest, ProveOptions } from './prove.ts'
import { HeadWatch } from './head-watch.ts'
import type { Criteria, Query, QueryPage, ReadRange } from './query.ts'
import type { LedgerRecord } from './record.ts'
import { Recording } from './recording.ts'
import type { AppendConditions, AppendEventsOptions, StreamEvents } from './recording.ts'
import type { RetentionApplied } from './retention/apply.ts'
import type { RetentionPolicyInput } from './retention/policy.ts'
import type { Retention } from './retention/retention.ts'
import { writerOver } from './rotation.ts'
import type { SnapshotListing } from './snapshot-check.ts'
import { storedStats } from './stats.ts'
import type { LedgerStats } from './stats.ts'
import type { Head, Store, TallyColumn } from './store.ts'
import { Subscription } from './subscription.ts'
import type { SubscribeOptions } from './subscription.ts'
import type { TextIndex } from './text.ts'
import { TextSearch } from './text-search.ts'
import { LedgerTree } from './tree.ts'
import { boundsOf, LedgerView } from './view.ts'
import type { AsOf } from './view.ts'
import type { Writer } from './writer.ts'

export class Ledger {
  readonly origin: string | null
  readonly verifierKey: string | null
  readonly keyFile: string | null
  /** Tiers, restoring, legal holds and erasure (docs/guides/retention.md). */
  readonly retention: Retention
  readonly #store: Store
  readonly #recording: Recording
  readonly #writer: Writer
  readonly #keys: LedgerKeys
  readonly #text: TextIndex | null
  readonly #search: TextSearch
  readonly #watch: HeadWatch
  readonly #all: LedgerView
  readonly #captures: Captures
  readonly #tree: LedgerTree
  readonly #checkpoints: Checkpoints
  readonly #projections: () => Promise<Projections>
  #closing: Promise<void> | null = null

  protected constructor(parts: LedgerParts) {
    this.#store = parts.store
    this.origin = parts.origin
    this.verifierKey = parts.verifierKey
    this.keyFile = parts.keyFile
    this.#text = parts.text ?? null
    this.#search = new TextSearch(parts.store, this.#text)
    this.#watch = new HeadWatch(parts.store)
    this.#all = new LedgerView(parts.store, this.#search)
    this.#tree = new LedgerTree(parts.store)
    this.#checkpoints = checkpointsOf(parts, this.#tree)
    this.#writer = writerOver(parts.store, parts.drafting, {
      queue: parts.queue,
      batch: parts.batch,
      signing: parts.signing,
      make: parts.writer,
      answered: (size, records) => {
        this.#watch.appended(size, records)
        this.#text?.follow(size)
        if (parts.followsTree) this.#tree.follow(records)
        this.#checkpoints.follow(size)
      },
      inclusion: (seq) => this.#included(seq),
    })
    this.#keys = new LedgerKeys({ ...parts, submit: (drafts, stream, expected) => this.#submit(drafts, [{ stream, expected }]) })
    this.#captures = new Captures({ ...parts, submit: (draft) => this.#submit([draft], []), drain: () => this.#writer.drain() })
    this.#recording = new Recording({
      ...parts,
      captures: this.#captures,
      submit: (drafts, expectations, condition) => this.#submit(drafts, expectations, condition),
    })
    this.#projections = projectionsOf(parts, (drafts) => this.#submit(drafts, []))
    this.retention = retentionOf(parts, (drafts, condition) => this.#submit(drafts, [], condition), this)
    if (!parts.store.readOnly) drainAtExit(this.#writer)
    if (parts.isNew) this.#checkpoints.follow(1)
  }

  get location(): string {
    return this.#store.location
  }

  /** `memory`, `jsonl` or `sqlite`. */
  get kind(): string {
    return this.#store.kind
  }

  get readOnly(): boolean {
    return this.#store.readOnly
  }

  #refuseToWrite(): void {
    if (this.#closing !== null) throw new LedgerError('closed', 'the ledger is closed: open it again to record. This was not recorded')
    if (this.#store.readOnly)
      throw new LedgerError('read_only', 'the ledger is open for reading: open it without readOnly to record. This was not recorded')
  }

  #submit(drafts: readonly Draft[], expectations: readonly StreamExpectation[], condition?: AppendCondition): Promise<Receipt[]> {
    return this.#writer.submit({ drafts, expectations, condition, newSegment: false })
  }

  /**
   * Records an agent call; durable when it resolves. The same `run_id` again gets the first receipt ("Idempotency").
   * @throws LedgerError `invalid_entry` | `too_large` | `reserved` | `run_id_conflict` | `queue_full` | `disk_full` | `io_error` | `read_only` | `closed`
   */
  async record(entry: LedgerEntryInput, options: RecordOptions = {}): Promise<Receipt> {
    this.#refuseToWrite()
    return this.#recording.record(entry, options)
  }

  /**
   * Appends events to a stream, all or none. `expectedVersion` is the `stream_version` of the stream's last event, or
   * `no-stream`, `stream-exists`, `any` (unless said). `failIfEventsMatch`: only if no such event came behind `after`.
   * @throws LedgerError as `record`, and `version_conflict` | `condition_failed`
   */
  async append(stream: string, events: EventInput | readonly EventInput[], options: AppendEventsOptions = {}): Promise<Receipt[]> {
    this.#refuseToWrite()
    return this.#recording.append(stream, events, options)
  }

  /** Appends to several streams, all or none; gives each part's receipts. @throws LedgerError as `append` */
  async appendAll(parts: readonly StreamEvents[], conditions: AppendConditions = {}): Promise<Receipt[][]> {
    this.#refuseToWrite()
    return this.#recording.appendAll(parts, conditions)
  }

  /** Runs `fn`: what it records, also in what it awaits, has this correlation, causation and actor unless it says others. */
  withContext<T>(context: LedgerContext, fn: () => T): T {
    return runInContext(context, fn)
  }

  /**
   * Makes a call and records it: what went in, what came back or was thrown, how long it took. The result, or the
   * error, is passed on unchanged. The record is written behind (drained at exit) unless `durable`; one that can't be
   * written is told to `onWarning` and, when recording works again, named by a `RecordingGapDetected` record.
   */
  async call<T>(info: CallInfo, fn: (call: CallHandle) => T | PromiseLike<T>, options: CallOptions<T> = {}): Promise<T> {
    this.#refuseToWrite()
    return this.#recording.call(info, fn, options)
  }

  /** Records in the order of position, in bounded memory. @throws TypeError | RangeError | LedgerError */
  read(range: ReadRange = {}): AsyncGenerator<LedgerRecord, void, undefined> {
    return this.#all.read(range)
  }

  /**
   * The events that fit the query, or any of several, in the order of position, and the `head` to give to an append that
   * must not miss one: `append(…, { failIfEventsMatch: query, after: head })`.
   * @throws TypeError | RangeError | LedgerError
   */
  events(query: EventQuery | readonly EventQuery[], range: EventsRange = {}): Promise<EventsRead> {
    return readEvents(this.#store, query, range)
  }

  /**
   * The state of a projection at the end of the ledger, or behind `upTo`: from the newest snapshot that fits and what has
   * come since, else from all records, in bounded memory. A snapshot that does not match its record is told to `onWarning`
   * and not used.
   * @throws TypeError | RangeError, what a handler throws, LedgerError `not_found` | `newer_format` | `damaged` | `io_error`
   */
  async load<State>(projection: Projection<State>, options: LoadOptions = {}): Promise<LoadedState<State>> {
    return (await this.#projections()).load(projection, options)
  }

  /** Records that a state was taken (`SnapshotTaken`) and keeps it beside the ledger. Gives its id. @throws as `load` and `record` */
  async createSnapshot<State>(projection: Projection<State>, scope: ProjectionScope = {}): Promise<string> {
    this.#refuseToWrite()
    return (await this.#projections()).take(projection, scope)
  }

  /** The snapshots that the ledger names, oldest first. */
  async snapshots(): Promise<SnapshotListing[]> {
    return (await import('./snapshot-check.ts')).listSnapshots(this.#store)
  }

  /** Looks at every kept snapshot; those of these projections are compared with a replay. */
  async checkSnapshots(projections: readonly Projection[] = []): Promise<SnapshotCheck[]> {
    return (await import('./snapshot-check.ts')).checkSnapshots(this.#store, projections)
  }

  /** All records that fit, in the order of position, in bounded memory: what `query` gives page by page. */
  scan(criteria: Criteria = {}): AsyncGenerator<LedgerRecord, void, undefined> {
    return this.#all.scan(criteria)
  }

  /** One page of the records that fit. @throws TypeError | RangeError | LedgerError */
  query(query: Query = {}): Promise<QueryPage> {
    return this.#all.query(query)
  }

  /** How many records fit. */
  count(criteria: Criteria = {}): Promise<number> {
    return this.#all.count(criteria)
  }

  /** How many records fit, by the values of a column. */
  tally(column: TallyColumn, criteria: Criteria = {}): Promise<ReadonlyMap<string, number>> {
    return this.#all.tally(column, criteria)
  }

  /**
   * All records from a position on that fit, then those that come, from any process, each once and in order, until the
   * signal or `close`. Whoever is slow is waited for; `after` goes on where another subscription ended.
   * @throws TypeError | RangeError; what goes wrong later, `next` tells
   */
  subscribe(options: SubscribeOptions = {}): Subscription {
    return new Subscription(this.#store, this.#watch, options)
  }

  /** The ledger as it was known at `recordedAt` about what had happened at `happenedAt`. @throws TypeError | RangeError */
  asOf(asOf: AsOf): LedgerView {
    return new LedgerView(this.#store, this.#search, boundsOf(asOf))
  }

  /** A record with its corrections and annotations; the first record stays. @throws LedgerError `not_found` */
  corrected(about: string | LedgerRecord): Promise<CorrectedRecord> {
    return this.#all.corrected(about)
  }

  /** Calls that started and have not ended, or never will (`capture: 'start-and-end'`). */
  openCalls(): AsyncGenerator<LedgerRecord, void, undefined> {
    return this.#all.openCalls()
  }

  /** The record of this run_id. */
  get(run_id: string): Promise<LedgerRecord | undefined> {
    return this.#all.get(run_id)
  }

  /** The record at this position. */
  async at(seq: number): Promise<LedgerRecord | undefined> {
    for await (const record of this.read({ from: seq, limit: 1 })) return record
    return undefined
  }

  /** All records of one task, conversation or trace, oldest first. */
  async getEntriesByCorrelation(correlation_id: string): Promise<LedgerRecord[]> {
    const records: LedgerRecord[] = []
    for await (const record of this.scan({ correlation_id })) records.push(record)
    return records
  }

  /** The end of the ledger as the store has it now, other processes' appends included. */
  async head(): Promise<Head> {
    return (await this.#store.state({ streams: [], run_ids: [] })).head
  }

  /** Checks every record. Returns a report whatever the data; throws only where the store can't be read at all. */
  async verifyIntegrity(options: Omit<AuditOptions, 'origin'> = {}): Promise<VerificationReport> {
    await this.#writer.drain()
    const { auditStore } = await import('./audit.ts')
    return auditStore(this.#store, options)
  }

  /** Seals the live segment and begins a new one. `null` where nothing was recorded since the last time. */
  async rotate(): Promise<Receipt | null> {
    this.#refuseToWrite()
    const [receipt] = await this.#writer.submit({ drafts: [], expectations: [], newSegment: true })
    return receipt ?? null
  }

  /** Moves and erases entries as the policy says, else that with which the ledger was opened. @throws as `retention.apply` */
  applyRetention(policy?: RetentionPolicyInput): Promise<RetentionApplied> {
    return this.retention.apply(policy)
  }

  /**
   * Signs the ledger as it is now: its size and its root. `cosigned`: wait for the policy's witnesses, who are asked in
   * any case; they get ten seconds.
   * @throws LedgerError `key_error` | `behind_checkpoint` | `forked` | `damaged` | `io_error` | `read_only` | `closed`
   */
  async checkpoint({ cosigned = false }: { readonly cosigned?: boolean | undefined } = {}): Promise<SignedCheckpoint> {
    this.#refuseToWrite()
    await this.#writer.drain()
    const signed = await this.#checkpoints.sign()
    return cosigned ? ((await this.#checkpoints.cosigned()) ?? signed) : signed
  }

  /** The last checkpoint that is kept with the ledger, with its cosignatures; null where there is none. */
  latestCheckpoint(): Promise<SignedCheckpoint | null> {
    return this.#checkpoints.latest()
  }

  /** The keys that the ledger names, retired ones too, in the order in which they were added. */
  keys(): Promise<LedgerKey[]> {
    return this.#keys.list()
  }

  /** Records that a key is right from here on (`KeyAdded`): a signer, or its public half. @throws as `retireKey` */
  async addKey(key: KeyToAdd): Promise<Receipt> {
    this.#refuseToWrite()
    return this.#keys.add(key)
  }

  /**
   * Records that a key is not right any more, for good (`KeyRetired`), with the last checkpoint by it, where there is one:
   * whoever trusts the old key finds the new one under it. @throws LedgerError `key_error`, and as `record`
   */
  async retireKey(id: string, options: RetireOptions = {}): Promise<Receipt> {
    this.#refuseToWrite()
    const last = options.checkpoint ?? (await this.#checkpoints.lastSignedBy(id))
    return this.#keys.retire(id, last === undefined ? options : { ...options, checkpoint: last })
  }

  /**
   * The records that are asked for with the proof that they are in the ledger, as one file that anyone can check offline
   * (docs/format.md, "Bundles"). Entries are withheld unless `disclose` says otherwise.
   * @throws LedgerError `not_found` | `not_covered` | `too_large` | `damaged` | `key_error` | `io_error`
   */
  async prove(request: ProofRequest, options: ProveOptions = {}): Promise<Uint8Array> {
    const { prove } = await import('./prove.ts')
    const sign = this.readOnly ? null : () => this.checkpoint()
    return prove({ store: this.#store, tree: this.#tree, latestCheckpoint: () => this.latestCheckpoint(), sign }, request, options)
  }

  /** The Merkle tree over the records' hashes. */
  get tree(): LedgerTree {
    return this.#tree
  }

  async #included(seq: number): Promise<Inclusion> {
    await this.#tree.catchUp(seq + 1)
    const { size } = this.#tree
    return { seq, size, root: hashHex(await this.#tree.root(size)) }
  }

  async stats(): Promise<LedgerStats> {
    const figures = await storedStats(this.#store, this.origin, this.#text)
    return { ...figures, pending: this.#writer.pending, unrecorded: this.#captures.unrecorded }
  }

  /** Resolves when the queue has room: for callers that do not await each `record`. */
  ready(): Promise<void> {
    return this.#writer.ready()
  }

  /** Resolves when all that was given so far is durable (or was refused), and the index has it. */
  async flush(): Promise<void> {
    await this.#captures.settle()
    await this.#writer.drain()
    await this.#store.flush()
    await this.#text?.flush()
  }

  /** Writes what waits, then lets go of the ledger. A second call waits for the first. */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      try {
        await this.retention.close()
        await this.#captures.close()
        await this.#writer.close()
        await this.#checkpoints.close()
      } finally {
        forgetAtExit(this.#writer)
        const watched = this.#watch.close()
        await this.#tree.close()
        await this.#text?.close()
        await this.#store.close()
        await watched
      }
    })()
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
