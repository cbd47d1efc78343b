/** From errors to exit codes, which others' scripts rely on. */
import { LedgerError } from '../ledger/errors.ts'
import type { LedgerErrorCode } from '../ledger/errors.ts'

export const EXIT = {
  ok: 0,
  /** Verification found problems. */
  problems: 1,
  /** Bad arguments, invalid entries. */
  misuse: 2,
  /** Can't read or write. */
  storage: 3,
  /** Conflict, locked, there already. */
  refused: 4,
} as const

const EXIT_OF: Record<LedgerErrorCode, number> = {
  invalid_entry: EXIT.misuse,
  too_large: EXIT.misuse,
  invalid_policy: EXIT.misuse,
  not_found: EXIT.storage,
  not_a_ledger: EXIT.storage,
  damaged: EXIT.storage,
  newer_format: EXIT.storage,
  disk_full: EXIT.storage,
  io_error: EXIT.storage,
  read_only: EXIT.storage,
  unsupported: EXIT.storage,
  key_error: EXIT.storage,
  queue_full: EXIT.storage,
  closed: EXIT.storage,
  reserved: EXIT.refused,
  run_id_conflict: EXIT.refused,
  version_conflict: EXIT.refused,
  condition_failed: EXIT.refused,
  head_moved: EXIT.refused,
  locked: EXIT.refused,
  already_exists: EXIT.refused,
  behind_checkpoint: EXIT.refused,
  forked: EXIT.refused,
  not_covered: EXIT.refused,
  publish_conflict: EXIT.refused,
  not_verified: EXIT.refused,
  projection_failed: EXIT.refused,
  held: EXIT.refused,
  archived: EXIT.storage,
  erased: EXIT.storage,
}

/** Arguments that mean nothing, told in a sentence that says what to type instead. */
export class Misuse extends Error {
  override readonly name = 'Misuse'
}

/** What to end with, and what to say; `isBug` where nobody foresaw the error, so that its stack is worth showing. */
export interface Ending {
  readonly exitCode: number
  readonly message: string
  readonly isBug: boolean
}

export function endingOf(error: unknown): Ending {
  if (error instanceof Misuse) return { exitCode: EXIT.misuse, message: error.message, isBug: false }
  if (error instanceof LedgerError) return { exitCode: EXIT_OF[error.code], message: `${error.code}: ${error.message}`, isBug: false }
  const { code, syscall } = error as NodeJS.ErrnoException
  if (error instanceof Error && typeof code === 'string' && typeof syscall === 'string') {
    return { exitCode: EXIT.storage, message: error.message, isBug: false }
  }
  // Never 1: a script would take that for "verification found problems".
  return { exitCode: EXIT.storage, message: error instanceof Error ? (error.stack ?? error.message) : String(error), isBug: true }
}

/** Runs what takes the user's own arguments: there a TypeError or RangeError is theirs, and anywhere else it is ours. */
export async function asked<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) throw new Misuse(error.message)
    throw error
  }
}
