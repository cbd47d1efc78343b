/** Waiting for a database that another process has locked. */
import { setTimeout as sleep } from 'node:timers/promises'
import { LedgerError } from '../../ledger/errors.ts'

export const BUSY_TIMEOUT_MS = 10_000

/**
 * Repeats what finds the database locked until `timeoutMs` have passed. SQLite's own waiting would stop the event loop
 * for as long as another process writes.
 */
export async function patiently<T>(timeoutMs: number, work: () => T | Promise<T>): Promise<T> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof LedgerError) || error.code !== 'locked' || performance.now() >= deadline) throw error
    }
    await sleep(1 + Math.random() * 10)
  }
}
