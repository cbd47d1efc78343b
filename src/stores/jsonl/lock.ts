/**
 * One writer: an exclusive SQLite transaction on a file that holds nothing. It is a lock of the kernel, so it dies
 * with its owner however that ends, and no stale lock is ever left behind.
 *
 * DANGER: on POSIX a process loses all its locks on a file when it closes any descriptor of it. So nothing but SQLite
 * (which knows, and keeps such descriptors open) may ever open `writer.lock`: not to read it, not to copy it. It must
 * be node:sqlite for everybody: another copy of SQLite in the same process does not know of this one's lock.
 * Source: https://www.sqlite.org/howtocorrupt.html, section 2.2.
 */
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { LedgerError } from '../../ledger/errors.ts'
import { openDatabase } from '../sql/driver.ts'
import type { Database } from '../sql/driver.ts'
import { lockFile } from '../sql/lock.ts'
import { writeFully } from './files.ts'
import type { FilePort } from './files.ts'
import { LOCK_FILE, readSmallFile, WRITER_FILE } from './layout.ts'

/** Who writes, for the message to whoever can't. */
export interface Owner {
  readonly pid: number
  readonly host: string
  /** When it opened the ledger; RFC 3339. */
  readonly since: string
  readonly program: string
}

export interface WriterLock {
  /** Lets go. A second call does nothing. */
  release(): Promise<void>
}

const isBusy = (error: unknown): boolean => error instanceof LedgerError && error.code === 'locked'

/** @throws LedgerError `locked`, naming the owner | `read_only` | `io_error` */
export async function acquireLock(files: FilePort, dir: string): Promise<WriterLock> {
  const path = join(dir, LOCK_FILE)
  let unlock: () => void
  try {
    unlock = await lockFile(path, `another process is writing to ${dir}`)
  } catch (error) {
    throw isBusy(error) ? await refusal(files, dir, error) : error
  }
  await writeOwner(files, dir)
  return new HeldLock(files, dir, unlock)
}

class HeldLock implements WriterLock {
  readonly #files: FilePort
  readonly #dir: string
  #unlock: (() => void) | null

  constructor(files: FilePort, dir: string, unlock: () => void) {
    this.#files = files
    this.#dir = dir
    this.#unlock = unlock
  }

  async release(): Promise<void> {
    const unlock = this.#unlock
    if (unlock === null) return
    this.#unlock = null
    // Before the lock goes: afterwards it could be another writer's file.
    await this.#files.remove(join(this.#dir, WRITER_FILE)).catch(() => {})
    unlock()
  }
}

/**
 * True while a writer holds the lock. It takes a shared lock for microseconds, so it works where nothing can be
 * written, and keeps no writer out.
 */
export async function isWriterAtWork(dir: string): Promise<boolean> {
  let database: Database
  try {
    database = await openDatabase(join(dir, LOCK_FILE), { readOnly: true, busyTimeoutMs: 0 })
  } catch (error) {
    return isBusy(error)
  }
  try {
    database.pragma('SELECT count(*) FROM sqlite_schema')
    return false
  } catch (error) {
    // A file system without locks can't tell: then no writer could have got its lock either.
    return isBusy(error)
  } finally {
    database.close()
  }
}

/** Only for messages, so a failure is none of anybody's business: the lock is what counts. */
async function writeOwner(files: FilePort, dir: string): Promise<void> {
  const owner: Owner = { pid: process.pid, host: hostname(), since: new Date().toISOString(), program: programName() }
  try {
    const file = await files.open(join(dir, WRITER_FILE), 'replace')
    try {
      await writeFully(file, Buffer.from(`${JSON.stringify(owner)}\n`), 0)
    } finally {
      await file.close()
    }
  } catch {
    // The disk may be full; recording itself says so to those who record.
  }
}

/** The script that runs, else the runtime: what `ps` would help to find. */
export function programName(): string {
  return process.argv[1] ?? process.execPath
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as { code?: unknown }).code === 'EPERM'
  }
}

async function readOwner(files: FilePort, dir: string): Promise<Owner | null> {
  // A writer that has just got the lock writes its name a moment later: until then the last one's, or none, is there.
  for (let attempt = 0; ; attempt++) {
    const owner = parseOwner(await readSmallFile(files, join(dir, WRITER_FILE)))
    const stale = owner === null || (owner.host === hostname() && !isRunning(owner.pid))
    if (!stale || attempt === 10) return stale ? null : owner
    await sleep(20)
  }
}

function parseOwner(text: string | null): Owner | null {
  try {
    const { pid, host, since, program } = JSON.parse(text ?? '') as Partial<Owner>
    if (typeof pid !== 'number' || typeof host !== 'string' || typeof since !== 'string') return null
    return { pid, host, since, program: typeof program === 'string' ? program : '' }
  } catch {
    return null
  }
}

async function refusal(files: FilePort, dir: string, cause: unknown): Promise<LedgerError> {
  const owner = await readOwner(files, dir)
  const who = owner === null ? 'another process' : `process ${owner.pid} on ${owner.host} (${owner.program}, since ${owner.since})`
  return new LedgerError(
    'locked',
    `${who} is writing to ${dir}: a ledger has one writer at a time. Record through that process, or wait until it has closed the ledger; reading needs no lock (readOnly)`,
    { location: dir, ...(owner === null ? {} : { owner }), cause },
  )
}
