/** Opening the database file of a ledger, and what is set on each connection to it. */
import { accessSync, closeSync, constants, existsSync, fsyncSync, openSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { LedgerError, asStorageError } from '../../ledger/errors.ts'
import { openDatabase } from '../sql/driver.ts'
import type { Database, DriverName } from '../sql/driver.ts'
import { BUSY_TIMEOUT_MS, patiently } from '../sql/patience.ts'
import { inspectSchema, migrate } from './schema.ts'

export interface SqliteStoreOptions {
  readonly readOnly?: boolean
  /** Make a new ledger where no file is. Default: unless `readOnly`. */
  readonly create?: boolean
  /** `node:sqlite` unless said; `better-sqlite3` must be installed beside. */
  readonly driver?: DriverName
  /** How long to wait for another process that writes before it is `locked`. Default 10,000. */
  readonly busyTimeoutMs?: number
}

/** How long SQLite itself may block the thread; between such tries the event loop runs. */
export const BLOCKING_MS = 20

/**
 * @throws LedgerError `not_found` | `not_a_ledger` | `newer_format` | `damaged` | `locked` | `read_only` | `unsupported` | `io_error`
 */
export async function openLedgerDatabase(path: string, options: SqliteStoreOptions): Promise<Database> {
  const file = resolve(path)
  const driver = options.driver ?? 'node:sqlite'
  const timeoutMs = options.busyTimeoutMs ?? BUSY_TIMEOUT_MS
  if (options.readOnly === true) return patiently(timeoutMs, () => openForReading(file, driver))
  const create = options.create ?? true
  if (existsSync(file)) assertWritable(file)
  else if (!create) throw notFound(file)
  return patiently(timeoutMs, () => openForWriting(file, driver, create))
}

async function openForWriting(file: string, driver: DriverName, create: boolean): Promise<Database> {
  const database = await openDatabase(file, { driver, create, busyTimeoutMs: BLOCKING_MS })
  try {
    if (inspectSchema(database) === 'empty') {
      if (!create) throw emptyFile(file)
      // Takes effect with the first page that is written, and never again.
      database.exec(`PRAGMA page_size = ${PAGE_BYTES}`)
    }
    configure(database, 'writing')
    setForWriting(database)
    migrate(database)
    // SQLite syncs the folder for the log it makes, but not for the database file itself: after a power loss the file
    // could be gone, with all that was acknowledged. At each opening, since whoever made it may have died before this.
    syncFolder(file)
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

async function openForReading(file: string, driver: DriverName): Promise<Database> {
  try {
    return await openAndInspect(file, driver, false)
  } catch (error) {
    if (!(error instanceof LedgerError) || (error.code !== 'io_error' && error.code !== 'read_only')) throw error
    // Readers of a database with a write-ahead log need its -shm file, and make it where it is not there. On a read-only
    // file system or in a folder of others they can't. Where there is no log either, nobody is writing and all is in the
    // file itself, so it may be read without any locks as a file that does not change. This is the last resort: should
    // somebody with more rights begin to write meanwhile, this reader could see pages of two states, and verification
    // would report that as damage.
    if (!/^SQLITE_(CANTOPEN|READONLY)/.test(String(error.details['sqlite'])) || !isReadableFile(file)) throw error
    if (sizeOf(`${file}-wal`) > 0) {
      throw new LedgerError(
        'read_only',
        `${file} can't be read where it is: its folder is read-only, and the log beside it (-wal) holds records. Copy both to a folder that you may write to, or let somebody who may write open and close the ledger`,
        { file, cause: error },
      )
    }
    if (driver !== 'node:sqlite') {
      throw new LedgerError(
        'read_only',
        `${file} can't be read by ${driver} in a read-only folder: leave the driver option out to use node:sqlite`,
        {
          file,
          cause: error,
        },
      )
    }
    return openAndInspect(file, driver, true)
  }
}

async function openAndInspect(file: string, driver: DriverName, immutable: boolean): Promise<Database> {
  const database = await openDatabase(file, { driver, readOnly: true, immutable, busyTimeoutMs: BLOCKING_MS })
  try {
    configure(database, 'reading')
    // One of an older version is read as it is.
    if (inspectSchema(database) === 'empty') throw emptyFile(file)
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

/**
 * Small entries and single appends would like 4 KiB pages, long ones 16 KiB. Measured at 1.3 KB an entry, all indexes,
 * FULL: 4 KiB 33 µs a record in batches of 1,000 and 4.4 KB of file a record (one fits a page), 8 KiB 26 µs and 3.0 KB,
 * 16 KiB 26 µs and 2.7 KB; alone in its transaction a record takes 340, 370 and 400 µs and 73, 119 and 219 KB of writing.
 */
const PAGE_BYTES = 8192

/** KiB of pages in memory: index pages of a batch stay there between batches; whoever only reads has the system's cache. */
const CACHE_KIB = { writing: 32_768, reading: 2_048 } as const

/** Whatever the connection is for. */
function configure(database: Database, purpose: keyof typeof CACHE_KIB): void {
  database.exec(`PRAGMA cache_size = -${CACHE_KIB[purpose]}`)
  // A read that fails through a memory map is a signal that ends the process; without one it is an error.
  database.exec('PRAGMA mmap_size = 0')
  // Sorting of positions needs little, and a full or read-only /tmp is no reason to fail.
  database.exec('PRAGMA temp_store = MEMORY')
  // The file may come from others: nothing in its schema may call functions with side effects, and cells are checked as pages are read.
  database.exec('PRAGMA trusted_schema = OFF')
  database.exec('PRAGMA cell_size_check = ON')
}

function setForWriting(database: Database): void {
  const mode = String(database.pragma('PRAGMA journal_mode = WAL'))
  if (mode !== 'wal') {
    throw new LedgerError(
      'unsupported',
      `${database.path}: SQLite can't keep a write-ahead log there (journal mode ${mode}): use a local file system, or a JSONL ledger`,
      { journal_mode: mode },
    )
  }
  // A COMMIT returns when the log is synced. better-sqlite3 is compiled with NORMAL for WAL, where it would not be.
  database.exec('PRAGMA synchronous = FULL')
  // Elsewhere these do nothing; on macOS fsync alone leaves the data in the drive's cache.
  database.exec('PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON')
  // Pages: 16 MB. Twice as much made batches of 1,000 no faster, and a checkpoint is a pause for whoever waits for the commit.
  database.exec('PRAGMA wal_autocheckpoint = 2048')
  // A log that grew while a reader held it is cut to 64 MB when it is reset.
  database.exec('PRAGMA journal_size_limit = 67108864')
}

/** SQLite would open it for reading, and fail only at the first append. The folder, since the log comes and goes there. */
function assertWritable(file: string): void {
  try {
    accessSync(file, constants.W_OK)
    accessSync(dirname(file), constants.W_OK)
  } catch (error) {
    throw asStorageError(error, `opening ${file} for writing`)
  }
}

function syncFolder(file: string): void {
  if (process.platform === 'win32') return
  try {
    const folder = openSync(dirname(file), 'r')
    try {
      fsyncSync(folder)
    } finally {
      closeSync(folder)
    }
  } catch (error) {
    throw asStorageError(error, `making the new file ${file} durable`)
  }
}

function notFound(file: string): LedgerError {
  return new LedgerError('not_found', `no ledger at ${file}: check the path, or make one with init`, { file })
}

function emptyFile(file: string): LedgerError {
  return new LedgerError('not_a_ledger', `${file} is empty: check the path, or make a ledger there with init`, { file })
}

/** By asking, not by opening: closing a file takes away the locks that this process has on it by another connection. */
function isReadableFile(file: string): boolean {
  try {
    accessSync(file, constants.R_OK)
    return statSync(file).isFile()
  } catch {
    return false
  }
}

/** 0 where there is no such file. */
export function sizeOf(file: string): number {
  try {
    return statSync(file).size
  } catch {
    return 0
  }
}
