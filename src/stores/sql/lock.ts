/**
 * A lock of the kernel on a file that holds nothing, by an exclusive transaction of SQLite: it dies with its owner
 * however that ends, so no stale lock is ever left behind.
 *
 * DANGER: on POSIX a process loses all its locks on a file when it closes any descriptor of it, so nothing but SQLite
 * may open the file. Source: https://www.sqlite.org/howtocorrupt.html, section 2.2.
 */
import { LedgerError } from '../../ledger/errors.ts'
import { openDatabase } from './driver.ts'
import type { Database } from './driver.ts'

/** Locks the file, which is made where there is none; returns how to let go. @throws LedgerError `locked`, with `message` */
export async function lockFile(path: string, message: string): Promise<() => void> {
  let database: Database | null = null
  try {
    database = await openDatabase(path, { busyTimeoutMs: 0 })
    // No journal file: nothing is ever written in the transaction.
    database.exec('PRAGMA journal_mode = MEMORY')
    database.exec('BEGIN EXCLUSIVE')
    const held = database
    return () => held.close()
  } catch (error) {
    database?.close()
    if (error instanceof LedgerError && error.code === 'locked') throw new LedgerError('locked', message, { file: path, cause: error })
    throw error
  }
}
