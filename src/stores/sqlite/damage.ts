/** What an audit does when the database itself can't be read somewhere. */
import { LedgerError } from '../../ledger/errors.ts'
import type { Problem } from '../../verify/report.ts'
import type { Database } from '../sql/driver.ts'

/** Runs a piece of work on the database when no other process is in the way; it is begun again when one was. */
export type Runner = <T>(work: (database: Database) => T) => Promise<T>

/** Errors that are about the file's content, and not about this process's access to it. */
export function isDamage(error: unknown): error is LedgerError {
  return error instanceof LedgerError && ['damaged', 'io_error', 'not_a_ledger'].includes(error.code)
}

export function unreadable(row: number | null, error: LedgerError, what = 'a record'): Problem {
  return { code: 'unreadable', seq: row, expected: what, found: error.message, where: row === null ? null : { row } }
}
