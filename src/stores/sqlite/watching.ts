/** Noticing what other connections commit, for which SQLite has a counter and no call. */
import { setTimeout as sleep } from 'node:timers/promises'
import { LedgerError } from '../../ledger/errors.ts'
import type { Database } from '../sql/driver.ts'

/** A look costs some µs: a page of shared memory is compared. */
const LOOK_MS = 5

/**
 * Yields when another connection has committed. @param open the database; null when it is closed
 * Source: https://www.sqlite.org/pragma.html#pragma_data_version
 */
export async function* watchDatabase(open: () => Database | null, signal: AbortSignal): AsyncGenerator<void, void, undefined> {
  let known: unknown
  while (!signal.aborted) {
    const database = open()
    if (database === null) return
    try {
      const version = database.cached('PRAGMA data_version').get()?.['data_version']
      if (known !== undefined && version !== known) yield
      known = version
    } catch (error) {
      // Somebody is in the way for a moment.
      if (!(error instanceof LedgerError) || error.code !== 'locked') throw error
    }
    await sleep(LOOK_MS, undefined, { signal, ref: false }).catch(() => {})
  }
}
