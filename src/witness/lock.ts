/**
 * One process for a witness' folder: an exclusive SQLite transaction on a file that holds nothing. It is a lock of the
 * kernel, so it dies with its owner however that ends, and a crash leaves none behind. Nothing but SQLite may ever open
 * that file: closing any descriptor of it would drop the lock (https://www.sqlite.org/howtocorrupt.html, section 2.2).
 */
import { join } from 'node:path'
import { LedgerError } from '../ledger/errors.ts'
import { openDatabase } from '../stores/sql/driver.ts'
import type { Database } from '../stores/sql/driver.ts'

const LOCK_FILE = 'witness.lock'
/** The owner before this one may be about to end. */
const BUSY_TIMEOUT_MS = 500

/** Gives what lets go of the lock. @throws LedgerError `locked` | `read_only` | `io_error` */
export async function lockFolder(dir: string): Promise<() => void> {
  let database: Database | null = null
  try {
    database = await openDatabase(join(dir, LOCK_FILE), { busyTimeoutMs: BUSY_TIMEOUT_MS })
    // No journal file: nothing is ever written in the transaction.
    database.exec('PRAGMA journal_mode = MEMORY')
    database.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    database?.close()
    if (!(error instanceof LedgerError) || error.code !== 'locked') throw error
    throw new LedgerError(
      'locked',
      `another process is the witness of ${dir}: two of them could cosign two histories. Stop that one first, or give this one a folder and a key of its own`,
      { location: dir, cause: error },
    )
  }
  const held = database
  let released = false
  return () => {
    if (released) return
    released = true
    held.close()
  }
}
