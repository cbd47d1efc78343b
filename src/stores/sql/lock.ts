/**
 * A lock of the kernel on a file that holds nothing, by an exclusive transaction of SQLite: it dies with its owner
 * however that ends, so no stale lock is ever left behind.
 *
 * DANGER: on POSIX a process loses all its locks on a file when it closes any descriptor of it, so nothing but SQLite
 * may ever open the file. Source: https://www.sqlite.org/howtocorrupt.html, section 2.2.
 */
import { LedgerError } from '../../ledger/errors.ts'
import { openDatabase } from './driver.ts'
import type { Database } from './driver.ts'

/** The owner before this one may be about to end; and whoever looks whether there is an owner holds it for a moment. */
const BUSY_TIMEOUT_MS = 500

/**
 * Locks the file, which is made where there is none; gives what lets go of it.
 * @throws LedgerError `locked`, with this message, where another one holds it | `read_only` | `io_error`
 */
export async function lockFile(path: string, message: string): Promise<() => void> {
  let database: Database | null = null
  try {
    database = await openDatabase(path, { busyTimeoutMs: BUSY_TIMEOUT_MS })
    // No journal file: nothing is ever written in the transaction.
    database.exec('PRAGMA journal_mode = MEMORY')
    database.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    database?.close()
    if (!(error instanceof LedgerError) || error.code !== 'locked') throw error
    throw new LedgerError('locked', message, { file: path, cause: error })
  }
  const held = database
  let released = false
  return () => {
    if (released) return
    released = true
    held.close()
  }
}
