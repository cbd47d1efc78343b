/**
 * Database files that are derived from records and can be made anew at any time: which errors say that one is broken,
 * how it is removed, and whether the one that is open still stands there.
 */
import { statSync, unlinkSync } from 'node:fs'
import { LedgerError } from '../../ledger/errors.ts'
import type { Database } from './driver.ts'

/** The file contradicts the records: the cure is a new one. */
export function derivedMismatch(message: string): LedgerError {
  return new LedgerError('damaged', message, { derived_mismatch: true })
}

/** SQLITE_ERROR (no such table or column), CORRUPT, CONSTRAINT, MISMATCH, NOTADB. */
const BROKEN_RESULTS = [1, 11, 19, 20, 26]
const BROKEN_NAMES = /^SQLITE_(ERROR|CORRUPT|CONSTRAINT|MISMATCH|NOTADB|IOERR_SHORT_READ)/
const SQLITE_IOERR_SHORT_READ = 522

/** True for errors that say the file is no good, not that the machine is in trouble: then it is made anew. */
export function isBrokenDatabase(error: unknown): boolean {
  if (!(error instanceof LedgerError)) return false
  if (error.details['derived_mismatch'] === true) return true
  const { errcode, code } = (error.details.cause ?? {}) as { errcode?: unknown; code?: unknown }
  if (typeof errcode === 'number') return BROKEN_RESULTS.includes(errcode & 0xff) || errcode === SQLITE_IOERR_SHORT_READ
  return typeof code === 'string' && BROKEN_NAMES.test(code)
}

/**
 * Removes the database. Whoever has it open goes on with the removed file and sees at their next use that it is gone.
 * The log goes first: SQLite would otherwise take it for that of a new file of the same name.
 */
export function removeDatabase(path: string): void {
  for (const file of [`${path}-wal`, `${path}-shm`, `${path}-journal`, path]) {
    try {
      unlinkSync(file)
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'ENOENT') throw error
    }
  }
}

/** Opens the database for writing; a broken one is removed and made anew. @throws as `open`, which is called twice at most */
export async function openDerived(path: string, open: () => Promise<Database>): Promise<Database> {
  try {
    return await open()
  } catch (error) {
    if (!isBrokenDatabase(error)) throw error
  }
  removeDatabase(path)
  return open()
}

/** Which file stands there now, to see whether an open one is still it; null where there is none. */
export function identityOf(path: string): string | null {
  try {
    const facts = statSync(path, { bigint: true, throwIfNoEntry: false })
    return facts === undefined ? null : `${facts.dev}:${facts.ino}`
  } catch {
    return null
  }
}
