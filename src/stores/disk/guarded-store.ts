/**
 * A store that tells its owner when the disk is nearly full, and that keeps a reserve for the moment when it is.
 *
 * An append that meets a full disk gives the reserve up and is written once more. From then on appends are refused at
 * once, whatever is left: that is for closing in order. Records of the stream `ledger` still go through, since they say
 * what could not be recorded, and are what archiving and erasing, which make room, begin with.
 */
import { asStorageError, LedgerError } from '../../ledger/errors.ts'
import type { AppendOptions, ExitAppender, Head, SealedRecord, Store, StoreDescription } from '../../ledger/store.ts'
import type { LedgerWarning } from '../../ledger/warning.ts'
import { LEDGER_STREAM } from '../../verify/header.ts'
import { removeReserve, Reserve } from './reserve.ts'
import { DiskWatch, spaceAt } from './space.ts'
import { withMembers } from '../../ledger/store-members.ts'

/** Unless the owner says otherwise; less on a small file system. It holds the largest batch but for its last append. */
const RESERVE_BYTES = 16 * 1024 * 1024
/** Of the whole file system. */
const RESERVE_SHARE = 0.05
/** A process that has not recorded for so long, nor so much as the reserve, makes none unless it was asked for. */
const RESERVE_AFTER_MS = 60_000
/** How often the free bytes are asked for: after a time, and after a part of what is left until the warning. */
const LOOK_MS = 10_000
const LOOK_BYTES_MIN = 256 * 1024
const LOOK_BYTES_MAX = 64 * 1024 * 1024
/** Other files grow too: the indexes, the tree, what other processes write. */
const LOOK_SHARE = 0.25
/** How often a refused append looks whether there is room again, and how long it waits where making the reserve failed. */
const AGAIN_MS = 250
const AGAIN_AFTER_FAILURE_MS = 10_000

export interface DiskOptions {
  /**
   * `onWarning` hears `disk_nearly_full` once when fewer bytes are left, and again when there were more in between; of the
   * archive directory as well. 0: never. Unless said 1 GiB, or a tenth of the file system where that is less.
   */
  readonly warnBelowBytes?: number | undefined
  /**
   * Room that is taken beforehand, and given up for the last records when the disk is full. 0: none. Unless said 16 MiB, or
   * a twentieth of the file system where that is less, taken once the process has written as much or for a minute; where
   * said, at opening.
   */
  readonly reserveBytes?: number | undefined
}

export interface GuardedPlace {
  /** Whose file system is watched first: the ledger's folder. */
  readonly folder: string
  readonly reserve: string
  /** Further paths to watch. */
  readonly others: readonly string[]
}

/** Misuse is told before anything is made. @throws TypeError | RangeError */
export function requireDiskOptions(options: DiskOptions | undefined): void {
  if (options === undefined) return
  if (typeof options !== 'object' || options === null) throw new TypeError('disk must be { warnBelowBytes, reserveBytes }')
  for (const name of ['warnBelowBytes', 'reserveBytes'] as const) {
    const bytes = options[name]
    if (bytes !== undefined && !(Number.isSafeInteger(bytes) && bytes >= 0))
      throw new RangeError(`disk.${name} must be a number of bytes from 0`)
  }
}

const isFull = (error: unknown): error is LedgerError => error instanceof LedgerError && error.code === 'disk_full'

/** What the ledger says of itself. */
const isOwn = (records: readonly SealedRecord[]): boolean => records.every(({ header }) => header.stream === LEDGER_STREAM)

class DiskGuard {
  readonly #store: Store
  readonly #place: GuardedPlace
  readonly #reserve: Reserve | null
  readonly #watch: DiskWatch
  readonly #warn: (warning: LedgerWarning) => void
  readonly #opened_ms = performance.now()
  #written_bytes = 0
  #looking: Promise<void> | null = null
  #looked = { at_ms: -Infinity, at_bytes: 0, again_after_bytes: 0 }
  #lookAgainAt_ms = 0
  #isReserveWanted: boolean
  #isClosed = false

  constructor(store: Store, place: GuardedPlace, reserve: Reserve | null, options: DiskOptions, warn: (warning: LedgerWarning) => void) {
    this.#store = store
    this.#place = place
    this.#reserve = reserve
    this.#warn = warn
    this.#watch = new DiskWatch([place.folder, ...place.others], options.warnBelowBytes ?? null, (warning) => {
      if (!this.#isClosed) warn(warning)
    })
    this.#isReserveWanted = options.reserveBytes !== undefined
  }

  /** Appends don't wait for what is begun here. */
  async open(): Promise<void> {
    await this.#reserve?.look()
    if (this.#isReserveWanted) await this.#makeReserve()
    this.#look()
  }

  async append(records: readonly SealedRecord[], expected: Head, options?: AppendOptions): Promise<void> {
    if (this.#reserve?.isUsed === true && !isOwn(records)) await this.#requireRoom(this.#reserve)
    try {
      await this.#store.append(records, expected, options)
    } catch (error) {
      if (!isFull(error) || this.#reserve === null || !(await this.#reserve.giveUp())) throw error
      await this.#appendAgain(records, expected, options, error, this.#reserve)
    }
    this.#wrote(records)
  }

  async #appendAgain(
    records: readonly SealedRecord[],
    expected: Head,
    options: AppendOptions | undefined,
    error: LedgerError,
    { path, size_bytes }: Reserve,
  ): Promise<void> {
    this.#warn({
      code: 'disk_reserve_used',
      message: `the disk is full: the reserve of ${this.#store.location} (${size_bytes} bytes) was given up for the last records. Appends are refused with disk_full until there is room again`,
      error,
    })
    try {
      // What the failed write left is taken back before anything is written anew, now that there is room for that.
      if (error.details.outcome_unknown === true) await this.#store.state({ streams: [], run_ids: [] })
    } catch {
      throw error
    }
    try {
      await this.#store.append(records, expected, options)
    } catch (again) {
      if (!isFull(again)) throw again
      throw new LedgerError(again.code, again.message, { ...again.details, reserve: path })
    }
  }

  /** @throws LedgerError `disk_full` until there is room for the reserve and for as much again */
  async #requireRoom(reserve: Reserve): Promise<void> {
    const now_ms = performance.now()
    if (now_ms >= this.#lookAgainAt_ms) {
      this.#lookAgainAt_ms = now_ms + AGAIN_MS
      await reserve.look()
      // Another process has made it again.
      if (!reserve.isUsed) return
      const hadRoom = await this.#hasRoom(reserve)
      if (hadRoom && (await reserve.make())) return
      // A quota shows in no figure, only in writing.
      if (hadRoom) this.#lookAgainAt_ms = performance.now() + AGAIN_AFTER_FAILURE_MS
    }
    const needed_bytes = 2 * reserve.size_bytes
    throw new LedgerError(
      'disk_full',
      `no space left: the reserve of ${this.#store.location} was given up for the last records. Make ${needed_bytes} bytes free, and recording goes on by itself`,
      { needed_bytes, available_bytes: (await spaceAt(this.#place.folder))?.available_bytes, reserve: reserve.path },
    )
  }

  async #hasRoom(reserve: Reserve): Promise<boolean> {
    const space = await spaceAt(this.#place.folder)
    return space === null || space.available_bytes >= 2 * reserve.size_bytes
  }

  async #makeReserve(): Promise<void> {
    const reserve = this.#reserve
    if (reserve === null) return
    const size = (await reserve.look()) ?? 0
    // Part of it may be there.
    if (size === reserve.size_bytes || this.#isClosed) return
    if (size > reserve.size_bytes || (await this.#hasRoom(reserve))) await reserve.make()
  }

  #wrote(records: readonly SealedRecord[]): void {
    for (const { header_text, entry_text } of records) this.#written_bytes += header_text.length + (entry_text?.length ?? 0)
    const { at_ms, at_bytes, again_after_bytes } = this.#looked
    if (this.#written_bytes - at_bytes >= again_after_bytes || performance.now() - at_ms >= LOOK_MS) this.#look()
  }

  /** Behind the appends. */
  #look(): void {
    if (this.#isClosed) return
    this.#looking ??= (async () => {
      this.#looked = { at_ms: performance.now(), at_bytes: this.#written_bytes, again_after_bytes: Infinity }
      const left_bytes = await this.#watch.look()
      const hasWritten = this.#written_bytes >= (this.#reserve?.size_bytes ?? 0) || performance.now() - this.#opened_ms >= RESERVE_AFTER_MS
      this.#isReserveWanted ||= hasWritten
      if (this.#isReserveWanted && this.#reserve?.isUsed === false) await this.#makeReserve()
      const again_after_bytes = Math.min(Math.max(left_bytes * LOOK_SHARE, LOOK_BYTES_MIN), LOOK_BYTES_MAX)
      this.#looked = { ...this.#looked, again_after_bytes }
    })().finally(() => {
      this.#looking = null
    })
  }

  /** What still waits at exit is tried in any case: nothing comes after it. */
  atExit(exit: ExitAppender): ExitAppender {
    return {
      settle: () => this.#twice(() => exit.settle()),
      state: (request) => exit.state(request),
      append: (records, expected) => this.#twice(() => exit.append(records, expected)),
    }
  }

  #twice(work: () => void): void {
    try {
      work()
    } catch (error) {
      if (this.#reserve === null || !isFull(asStorageError(error, 'ending'))) throw error
      // It may have been given up just now, by a thread that nobody heard of any more.
      this.#reserve.giveUpNow()
      work()
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#reserve?.stop()
    await this.#looking
    await this.#store.close()
  }
}

async function described(store: Store, { folder, reserve }: GuardedPlace): Promise<StoreDescription> {
  const disk_free_bytes = (await spaceAt(folder))?.available_bytes ?? null
  return { ...(await store.describe()), disk_free_bytes, disk_reserve_bytes: await new Reserve(reserve, 0).look() }
}

async function reserveOf({ folder, reserve }: GuardedPlace, wanted: number | undefined): Promise<Reserve | null> {
  if (wanted === 0) {
    await removeReserve(reserve)
    return null
  }
  const total_bytes = (await spaceAt(folder))?.total_bytes ?? Infinity
  return new Reserve(reserve, wanted ?? Math.min(RESERVE_BYTES, Math.floor(total_bytes * RESERVE_SHARE)))
}

/**
 * The store behind a watch over its disk.
 * @param store owned: closing closes it. One that only reads only tells how much room there is
 */
export async function guardedStore(
  store: Store,
  place: GuardedPlace,
  options: DiskOptions,
  warn: (warning: LedgerWarning) => void,
): Promise<Store> {
  const members: Partial<Store> = { describe: () => described(store, place) }
  if (!store.readOnly) {
    const guard = new DiskGuard(store, place, await reserveOf(place, options.reserveBytes), options, warn)
    await guard.open()
    const { atExit } = store
    Object.assign(members, {
      append: (records, expected, given) => guard.append(records, expected, given),
      close: () => guard.close(),
      ...(atExit === undefined ? {} : { atExit: guard.atExit(atExit) }),
    } satisfies Partial<Store>)
  }
  return withMembers(store, members)
}
