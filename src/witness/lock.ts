/** One process for a witness' folder. */
import { join } from 'node:path'
import { lockFile } from '../stores/sql/lock.ts'

const LOCK_FILE = 'witness.lock'

/** Gives what lets go of the lock. @throws LedgerError `locked` | `read_only` | `io_error` */
export function lockFolder(dir: string): Promise<() => void> {
  return lockFile(
    join(dir, LOCK_FILE),
    `another process is the witness of ${dir}: two of them could cosign two histories. Stop that one first, or give this one a folder and a key of its own`,
  )
}
