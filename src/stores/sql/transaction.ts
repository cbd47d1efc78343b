/** One transaction that writes. */
import type { Database } from './driver.ts'

/** All that `work` wrote is there when this returns, or nothing. @throws what `work` does, and LedgerError of the storage */
export function inTransaction<T>(database: Database, work: () => T): T {
  database.exec('BEGIN IMMEDIATE')
  try {
    const result = work()
    database.exec('COMMIT')
    return result
  } catch (error) {
    // Some errors have ended it already.
    if (database.inTransaction) database.exec('ROLLBACK')
    throw error
  }
}
