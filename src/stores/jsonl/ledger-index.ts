/**
 * The index as a store uses it: brought up in the background, asked from the caller's thread, made anew where it is
 * broken. Whatever happens to it, nothing is lost but time: every answer can be had from the segments as well.
 */
import { LedgerError } from '../../ledger/errors.ts'
import type { RecordFilter, Selection, TallyColumn } from '../../ledger/store.ts'
import { identityOf, isBrokenDatabase, removeDatabase } from '../sql/derived.ts'
import type { Database } from '../sql/driver.ts'
import { countRecords, tallyRecords } from '../sql/select.ts'
import { catchUpStep, indexPath, isOfLedger, isStillThere, LARGE_STEP, SMALL_STEP } from './index-catch-up.ts'
import type { CatchUpEnd } from './index-catch-up.ts'
import {
  findRuns,
  findStreams,
  indexGone,
  isGoneIndex,
  openIndex,
  openIndexToRead,
  PLACE_COLUMNS,
  placeOf,
  readPosition,
} from './index-db.ts'
import type { IndexedPlace, IndexPosition } from './index-db.ts'
import { IndexThread } from './index-thread.ts'
import { keepIndexUp } from './index-upkeep.ts'
import type { IndexUpkeep } from './index-upkeep.ts'
import { SelectedPlaces } from './selected-places.ts'

/** So few records are scanned in less time than it takes to index them; and are indexed on the caller's thread (3 ms) where all must be. */
const FEW_RECORDS = 64
/** So many wait before the thread is told; fewer wait for the timer. */
const FEED_RECORDS = 500
const FEED_DELAY_MS = 250
/** After a failure, a full disk perhaps, it is tried again so much later. */
const RETRY_DELAY_MS = 5000
/** So much is gone through on the caller's thread where the other one was never started. Bytes. */
const HERE_BYTES_MAX = 1_000_000
/** So many are indexed at closing even where the thread was never started. */
const CLOSING_RECORDS = 1000

/** The caller's thread must not stand still for long because another process is adding to the index. */
const TUNING = { busyTimeoutMs: 250, cacheKib: 4096 }

export interface FeedPlace extends CatchUpEnd {
  /** Position behind its last record. */
  readonly size: number
}

/**
 * `owner`: this process writes the ledger. `helper`: it reads it, and may bring the index up, which it does on the thread;
 * by itself it opens the file for reading, so that looking for a record changes nothing. `guest`: it may only read.
 */
export type IndexAccess = 'owner' | 'helper' | 'guest'

export class LedgerIndex {
  readonly #dir: string
  readonly #path: string
  readonly #access: IndexAccess
  readonly #thread: IndexThread
  #database: Database | null = null
  #isWritable = false
  #opening: Promise<void> = Promise.resolve()
  #identity: string | null = null
  #fed: FeedPlace | null = null
  #timer: NodeJS.Timeout | null = null
  #isFailing = false
  #isClosed = false

  private constructor(dir: string, access: IndexAccess, thread: IndexThread) {
    this.#dir = dir
    this.#path = indexPath(dir)
    this.#access = access
    this.#thread = thread
  }

  /** Never fails: an index that can't be opened is one that has nothing. */
  static async open(dir: string, access: IndexAccess, thread: IndexThread = new IndexThread(dir)): Promise<LedgerIndex> {
    const index = new LedgerIndex(dir, access, thread)
    await index.#reopen(access === 'owner')
    return index
  }

  get #isCurrent(): boolean {
    return this.#database !== null && this.#identity === identityOf(this.#path)
  }

  /** Opens what stands there now, unless that is open already. One at a time, so that none is opened twice. */
  #reopen(toWrite: boolean): Promise<void> {
    this.#opening = this.#opening.then(async () => {
      if (this.#isClosed || (this.#isCurrent && (this.#isWritable || !toWrite))) return
      this.#letGo()
      let database: Database | null = null
      if (toWrite) database = await openIndex(this.#path, TUNING).catch(() => null)
      this.#isWritable = database !== null
      database ??= await openIndexToRead(this.#path).catch(() => null)
      this.#database = database
      this.#identity = database === null ? null : identityOf(this.#path)
      // Another ledger's index, one of a longer ledger, one that somebody changed: what is cheap to see is seen here.
      if (database !== null && !this.#guard(false, () => isOfLedger(database, this.#dir))) this.discard()
    })
    return this.#opening
  }

  #letGo(): void {
    try {
      this.#database?.close()
    } catch {
      // Broken; it is let go of anyway.
    }
    this.#database = null
  }

  /** Somebody else may have made it anew, or made the first one. */
  async #fresh(): Promise<Database | null> {
    if (!this.#isCurrent) await this.#reopen(this.#access === 'owner')
    return this.#isClosed ? null : this.#database
  }

  /** The last record that it has; null where it has none or can't be used. */
  async position(): Promise<IndexPosition | null> {
    const database = await this.#fresh()
    return database === null ? null : this.#guard(null, () => readPosition(database, 'position'))
  }

  /** The same for a process that exits; no new file is looked for. */
  positionNow(): IndexPosition | null {
    const database = this.#database
    return database === null || !this.#isCurrent ? null : this.#guard(null, () => readPosition(database, 'position'))
  }

  /** The record up to which a writer once knew everything to be durable. */
  async durable(): Promise<IndexPosition | null> {
    const database = await this.#fresh()
    return database === null ? null : this.#guard(null, () => readPosition(database, 'durable'))
  }

  #guard<Result>(otherwise: Result, act: () => Result): Result {
    try {
      return act()
    } catch (error) {
      if (isBrokenDatabase(error)) this.discard()
      return otherwise
    }
  }

  /**
   * True where the error is one of the index, and asking again makes sense: a wrong one is removed, and the next
   * catch-up makes it anew; one that was replaced is opened.
   */
  heals(error: unknown): boolean {
    if (isGoneIndex(error)) return true
    if (!isBrokenDatabase(error)) return false
    this.discard()
    return true
  }

  /** The next catch-up makes it anew. */
  discard(): void {
    this.#letGo()
    if (this.#access === 'guest') return
    try {
      removeDatabase(this.#path)
    } catch {
      // Not allowed to: then it is not used, and the segments are scanned.
    }
  }

  /**
   * Brings it up to there, as far as that works, and resolves to what it then has. The last few records it may leave to
   * be scanned, unless all are wanted.
   */
  async catchUp(end: FeedPlace, isAllWanted = false): Promise<IndexPosition | null> {
    let position = await this.position()
    if (this.#access === 'guest' || this.#isClosed) return position
    if (position !== null && position.seq >= end.size && !isStillThere(this.#dir, position)) {
      this.discard()
      position = null
    }
    const lag = end.size - (position === null ? 0 : position.seq + 1)
    if (lag <= 0 || (lag <= FEW_RECORDS && !isAllWanted)) return position
    try {
      if (lag > FEW_RECORDS || this.#thread.isBusy || !(await this.#triedHere(end))) await this.#catchUpThere(end)
      this.#isFailing = false
    } catch {
      this.#isFailing = true
    }
    return this.position()
  }

  /** False where another process is adding to it just now: then it takes the thread to wait for that. */
  async #triedHere(end: CatchUpEnd): Promise<boolean> {
    try {
      await this.#catchUpHere(end)
      return true
    } catch (error) {
      if (error instanceof LedgerError && error.code === 'locked') return false
      throw error
    }
  }

  async #catchUpThere(end: CatchUpEnd): Promise<void> {
    if (this.#thread.isBroken) return this.#catchUpHere(end)
    try {
      await this.#thread.catchUp(end, true)
    } catch (error) {
      if (!this.#thread.isBroken) throw error
      await this.#catchUpHere(end)
    }
  }

  async #catchUpHere(end: CatchUpEnd): Promise<void> {
    for (let rebuilt = false; ;) {
      await this.#reopen(true)
      // What was there was of another ledger, and is gone.
      if (this.#database === null) await this.#reopen(true)
      const database = this.#database
      if (database === null || !this.#isWritable || this.#isClosed) return
      try {
        if (catchUpStep(database, this.#dir, end, SMALL_STEP).done) return
      } catch (error) {
        if (rebuilt || !isBrokenDatabase(error)) throw error
        rebuilt = true
        this.discard()
      }
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /**
   * What follows from rewriting segments. False where it could not be done to the end because somebody else reads the
   * index, and where there is none.
   * @param bytes that are to be read for it, about
   * @throws LedgerError `disk_full` | `io_error` | `locked`
   */
  async keepUp(work: IndexUpkeep, bytes: number, isAwaited = true): Promise<boolean> {
    if (this.#thread.isBroken || (bytes <= HERE_BYTES_MAX && !this.#thread.isRunning)) {
      await this.#reopen(true)
      if (this.#database === null || !this.#isWritable || this.#isClosed) return false
      try {
        return keepIndexUp(this.#database, this.#dir, work)
      } catch (error) {
        // Another process is adding to it just now: then it takes the thread to wait for that.
        if (this.#thread.isBroken || !(error instanceof LedgerError && error.code === 'locked')) throw error
      }
    }
    return this.#thread.keepUp(work, isAwaited).catch((error: unknown) => {
      if (this.#thread.isBroken) return this.keepUp(work, bytes, isAwaited)
      throw error
    })
  }

  readonly #straying = new Set<number>()

  /** A place in this segment was another one: the segment was rewritten, and whoever did it has not told the index yet, or can't any more. */
  strayed(segment: number): void {
    if (this.#access === 'guest' || this.#isClosed || this.#straying.has(segment)) return
    this.#straying.add(segment)
    const over = (): unknown => this.#straying.delete(segment)
    this.keepUp({ kind: 'moved', segment }, Infinity, false).then(over, over)
  }

  /** Records were acknowledged up to there; `indexed` is what the index is known to have. It follows behind. */
  feed(end: FeedPlace, indexed: number): void {
    if (this.#isClosed) return
    this.#fed = end
    if (this.#thread.isBroken) this.#wait()
    else if (this.#thread.isBusy) return
    else if (end.size - indexed >= FEED_RECORDS && !this.#isFailing) this.#start()
    else this.#wait()
  }

  #wait(): void {
    if (this.#timer !== null) return
    this.#timer = setTimeout(
      () => {
        this.#timer = null
        this.#start()
      },
      this.#isFailing ? RETRY_DELAY_MS : FEED_DELAY_MS,
    )
    this.#timer.unref()
  }

  #start(): void {
    const end = this.#fed
    if (end === null || this.#isClosed) return
    this.#fed = null
    const caughtUp = this.#thread.isBroken ? this.#catchUpHere(end) : this.#thread.catchUp(end, false)
    caughtUp.then(
      () => {
        this.#isFailing = false
        void this.position().then((position) => this.onProgress(position === null ? 0 : position.seq + 1))
        if (this.#fed === null) return
        // A transaction for each few records would keep the thread busy with nothing but transactions.
        if (this.#fed.size - end.size >= FEED_RECORDS) this.#start()
        else this.#wait()
      },
      () => {
        this.#isFailing = true
        if (this.#fed === null) this.#fed = end
      },
    )
  }

  /** Told when the background has indexed all records before `size`. */
  onProgress: (size: number) => void = () => {}

  /** It has all records before this position: what it says now is the whole truth about them. */
  #covering(database: Database | null, before: number): Database {
    if (database === null || this.#isClosed || !this.#isCurrent) throw indexGone()
    if ((readPosition(database, 'position')?.seq ?? -1) + 1 < before) throw indexGone()
    return database
  }

  /** Places of a selection's records, all of which are before `before`. @throws LedgerError for which `heals` is true */
  async select(selection: Selection, before: number): Promise<SelectedPlaces> {
    const database = this.#covering(await this.#fresh(), before)
    return new SelectedPlaces(database, selection, () => this.#database === database)
  }

  /** Of the records before `before` alone: the thread may have added more by now, and the caller counts those itself. */
  async count(filter: RecordFilter, before: number): Promise<number> {
    return countRecords(this.#covering(await this.#fresh(), before), filter, before)
  }

  async tally(column: TallyColumn, filter: RecordFilter, before: number): Promise<Map<string, number>> {
    return tallyRecords(this.#covering(await this.#fresh(), before), column, filter, before)
  }

  /** Where the record at this position lies, by the index; null where it can't tell. */
  async placeOf(seq: number): Promise<IndexedPlace | null> {
    const database = await this.#fresh()
    if (database === null) return null
    return this.#guard(null, () => {
      const row = database.cached(`SELECT seq, ${PLACE_COLUMNS} FROM records WHERE seq = ?`).get(seq)
      return row === undefined ? null : placeOf(row)
    })
  }

  /** Where the records with these run_ids lie, and the last ones of these streams, of all before `before`. Blocking. */
  find(run_ids: readonly string[], streams: readonly string[], before: number): FoundPlaces {
    const database = this.#covering(this.#database, before)
    return {
      runs: run_ids.length === 0 ? new Map() : findRuns(database, run_ids),
      streams: streams.length === 0 ? new Map() : findStreams(database, streams),
    }
  }

  /** Blocking catch-up for a process that exits. */
  catchUpNow(end: CatchUpEnd): void {
    const database = this.#database
    if (database === null || !this.#isWritable || !this.#isCurrent) return
    while (!catchUpStep(database, this.#dir, end, LARGE_STEP).done);
  }

  /** @param end what was acknowledged last, where this process has written */
  async close(end: FeedPlace | null): Promise<void> {
    if (this.#isClosed) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    if (end !== null) await this.#lastCatchUp(end)
    this.#isClosed = true
    await this.#thread.close()
    await this.#opening
    try {
      // At rest the file needs no log beside it, so that those who may only read can read it.
      if (this.#isWritable) this.#database?.exec('PRAGMA busy_timeout = 0; PRAGMA journal_mode = DELETE')
    } catch {
      // Somebody else has it open.
    }
    this.#letGo()
  }

  async #lastCatchUp(end: FeedPlace): Promise<void> {
    const position = await this.position()
    const lag = end.size - (position === null ? 0 : position.seq + 1)
    if (lag <= 0 && !this.#thread.isRunning) return
    try {
      if (this.#thread.isRunning) void this.#thread.catchUp(end, false).catch(() => {})
      else if (lag <= CLOSING_RECORDS) await this.#catchUpHere(end)
    } catch {
      // The next opening goes on with it.
    }
  }
}

export interface FoundPlaces {
  readonly runs: Map<string, IndexedPlace>
  readonly streams: Map<string, IndexedPlace & { readonly stream_version: number }>
}
