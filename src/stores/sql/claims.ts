/**
 * Which driver has a database file open in this process. Each driver carries an SQLite of its own, and POSIX locks belong
 * to the process: two of them in one process do not see each other's locks, and when one closes the file the other's are
 * gone. Both would write at once. So the second driver is refused. (Two connections of one driver are fine: its SQLite
 * keeps account. For the same reason nothing else may open and close the file while it is in use, not even to look at it.)
 */
import { realpathSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { LedgerError } from '../../ledger/errors.ts'

interface Claim {
  readonly driver: string
  connections: number
}

const claims = new Map<string, Claim>()

/**
 * To be called just before opening; gives what is to be called after closing.
 * @throws LedgerError `unsupported` where another driver has the file open
 */
export function claim(file: string, driver: string): () => void {
  if (file === ':memory:' || file === '') return () => {}
  const key = realPath(file)
  const held = claims.get(key) ?? { driver, connections: 0 }
  if (held.driver !== driver) {
    throw new LedgerError(
      'unsupported',
      `${file} is open in this process by ${held.driver}, whose locks ${driver} would not see: use one driver for it`,
      { file, driver: held.driver },
    )
  }
  held.connections++
  claims.set(key, held)
  let released = false
  return () => {
    if (released) return
    released = true
    if (--held.connections === 0) claims.delete(key)
  }
}

/** The file's path without symbolic links, or its folder's where it is not there yet. */
function realPath(file: string): string {
  try {
    return realpathSync(file)
  } catch {
    // Opening it says what is wrong.
  }
  try {
    return join(realpathSync(dirname(file)), basename(file))
  } catch {
    return file
  }
}
