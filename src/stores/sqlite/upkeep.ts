/** What an SQLite ledger can do to its entries: in steps, between which whoever appends has its turn. */
import { setTimeout as sleep } from 'node:timers/promises'
import { archiveInPieces } from '../../ledger/archive-pieces.ts'
import { gathered, portionFrom, portionsOf } from '../../ledger/portions.ts'
import type { EntryUpkeep, KeptEntry, Reclaimed, UpkeepStep } from '../../ledger/upkeep.ts'
import type { Database } from '../sql/driver.ts'
import { lockFile } from '../sql/lock.ts'
import { Thread } from '../sql/thread.ts'
import { restoreStep, withholdStep } from './changing.ts'
import { sizeOf } from './connection.ts'
import { entryFilesIn } from './entry-files.ts'
import type { EntryFiles, EntryFilesAccess } from './entry-files.ts'
import { reclaimDatabase } from './reclaiming.ts'
import type { ReclaimRequest } from './reclaiming.ts'
import { readHead } from './writing.ts'

/** One transaction's. */
const STEP = { positions: 2000, ranges: 2000 } as const
const STEP_BYTES = 8 * 1024 * 1024
/**
 * After each step nobody holds the lock for so long, ms. Whoever waits for it in another process looks at least as often
 * (`patiently`), so it gets in between.
 */
const PAUSE_MS = 35

const WORKER_FILE = new URL(import.meta.url.endsWith('.ts') ? './reclaim-worker.ts' : './reclaim-worker.js', import.meta.url)

export class SqliteUpkeep implements EntryUpkeep {
  readonly archive
  readonly #access: EntryFilesAccess
  readonly #database: () => Database
  readonly #busyTimeoutMs: number
  readonly #files: EntryFiles
  #thread: Thread<ReclaimRequest> | null = null
  #reclaiming: Promise<unknown> | null = null

  /**
   * @param database the one that is open; throws where it is closed
   * @param busyTimeoutMs how long others may be in the way
   */
  constructor(access: EntryFilesAccess, database: () => Database, busyTimeoutMs: number) {
    this.#busyTimeoutMs = busyTimeoutMs
    this.#access = access
    this.#database = database
    this.#files = entryFilesIn(access)
    this.archive = archiveInPieces('entry_files', this.#files)
  }

  /** Resolves, never rejects, when this store's own thread has ended that needs the ledger for itself; null where none does. */
  get busy(): Promise<unknown> | null {
    return this.#reclaiming
  }

  async *withhold(positions: readonly { first: number; last: number }[], { erase = false } = {}): AsyncGenerator<UpkeepStep> {
    this.#access.assertWritable()
    const { size } = await this.#access.run(readHead)
    const portions = portionsOf(positions, size, STEP)
    // Pages that become free are overwritten at once, should it take a while until all is reclaimed.
    if (erase) this.#database().exec('PRAGMA secure_delete = ON')
    for (const portion of portions) {
      for (let rest = portion; rest.length > 0;) {
        const { next, ...step } = await this.#access.run((database) => withholdStep(database, rest, erase))
        if (step.records > 0) {
          yield step
          await sleep(PAUSE_MS)
        }
        rest = next === null ? [] : portionFrom(rest, next)
      }
    }
  }

  async *restore(entries: AsyncIterable<readonly KeptEntry[]>): AsyncGenerator<UpkeepStep> {
    this.#access.assertWritable()
    for await (const portion of gathered(entries, { entries: STEP.positions, bytes: STEP_BYTES })) {
      const step = await this.#access.run((database) => restoreStep(database, portion))
      if (step.records === 0) continue
      yield step
      await sleep(PAUSE_MS)
    }
  }

  async reclaim(): Promise<Reclaimed> {
    this.#access.assertWritable()
    const bytes_before = this.#bytes()
    await this.#files.removeLeftOvers()
    while (this.#reclaiming !== null) await this.#reclaiming
    const { path, driver } = this.#database()
    const asked = this.#ask({ path, driver, busyTimeoutMs: this.#busyTimeoutMs })
    const over = asked.then(
      () => (this.#reclaiming = null),
      () => (this.#reclaiming = null),
    )
    this.#reclaiming = over
    const left = await asked
    return { bytes_before, bytes_after: this.#bytes(), left }
  }

  /** By a thread; where it can't be had, by this one. */
  async #ask(request: ReclaimRequest): Promise<string[]> {
    const thread = (this.#thread ??= new Thread(WORKER_FILE, {}, 'cortex-ledger reclaim'))
    try {
      return await thread.ask<string[]>(request, true)
    } catch (error) {
      if (!thread.isBroken || thread.isRunning) throw error
      return reclaimDatabase(request)
    } finally {
      if (this.#thread === thread) this.#thread = null
      await thread.close()
    }
  }

  async lock(): Promise<() => Promise<void>> {
    this.#access.assertWritable()
    const { path } = this.#database()
    const held = 'another process is moving or erasing entries of this ledger: let it finish, then try again'
    const release = await lockFile(`${path}-upkeep`, held)
    return async () => release()
  }

  #bytes(): number {
    const { path } = this.#database()
    return sizeOf(path) + sizeOf(`${path}-wal`)
  }

  /** What is under way is left to be done by the next call. */
  async close(): Promise<void> {
    await this.#thread?.close()
    await this.#reclaiming
  }
}
