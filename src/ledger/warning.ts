import type { LedgerError } from './errors.ts'

/** Something the owner should know that is no error of a call of theirs. */
export interface LedgerWarning {
  readonly code:
    | 'recording_failed'
    | 'torn_tail_moved'
    | 'checkpoint_failed'
    | 'quorum_missing'
    | 'witness_conflict'
    | 'partition_not_made'
    | 'snapshot_refused'
    | 'snapshot_failed'
  readonly message: string
  readonly error?: LedgerError
}

/** Where nobody said who wants to hear of it. */
export function emitWarning({ code, message }: LedgerWarning): void {
  process.emitWarning(message, { type: 'LedgerWarning', code })
}
