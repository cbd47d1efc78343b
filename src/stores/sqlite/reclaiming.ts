/** Giving room back and leaving no byte of what was taken away; all synchronous, so it runs on a thread of its own. */
import { openDatabase } from '../sql/driver.ts'
import type { Database, DriverName } from '../sql/driver.ts'
import { inTransaction } from '../sql/transaction.ts'
import { LedgerError } from '../../ledger/errors.ts'
import { timesDue } from './changing.ts'

export interface ReclaimRequest {
  readonly path: string
  readonly driver: DriverName
  /** How long others may be in the way, ms. */
  readonly busyTimeoutMs: number
}

const CACHE_KIB = 32_768

/** Gives what is left and why. @throws LedgerError `locked` | `disk_full` | `io_error` | `read_only` */
export async function reclaimDatabase({ path, driver, busyTimeoutMs }: ReclaimRequest): Promise<string[]> {
  const database = await openDatabase(path, { driver, create: false, busyTimeoutMs })
  try {
    database.exec(`PRAGMA cache_size = -${CACHE_KIB}; PRAGMA mmap_size = 0; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON`)
    database.exec('PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON')
    // The new file is put together in a temporary one: in memory it would have to have the size of the ledger.
    database.exec('PRAGMA temp_store = FILE')
    const times = timesDue(database)
    if (times > 0 && !vacuum(database)) return [`${path}: somebody else writes all the time; reclaim again at a quieter hour`]
    if (!emptyLog(database)) {
      return [
        `the log of ${path} (-wal): somebody still reads the ledger as it was before, or writes all the time; reclaim again when that has ended`,
      ]
    }
    if (times > 0) {
      // What was taken away meanwhile is still due.
      inTransaction(database, () => database.cached('DELETE FROM upkeep_due WHERE times = ?').run(times))
      emptyLog(database)
    }
    return []
  } finally {
    database.close()
  }
}

/** False where somebody was in the way for as long as this connection waits. */
function emptyLog(database: Database): boolean {
  return database.pragma('PRAGMA wal_checkpoint(TRUNCATE)') === 0
}

/**
 * Only this writes every page anew: what a page held before stays in the gaps between its rows. False where somebody else
 * was in the way for as long as this connection waits.
 */
function vacuum(database: Database): boolean {
  try {
    database.exec('VACUUM')
    return true
  } catch (error) {
    if (!(error instanceof LedgerError)) throw error
    if (error.code === 'locked') return false
    throw new LedgerError(
      error.code,
      `${error.message} (VACUUM needs room for all that is left of the ledger in the folder of temporary files, SQLITE_TMPDIR or TMPDIR, and again beside the ledger)`,
      error.details,
    )
  }
}
