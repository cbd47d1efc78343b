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
    | 'disk_nearly_full'
    | 'disk_reserve_used'
  readonly message: string
  readonly error?: LedgerError
  /** Of `disk_nearly_full`: what is on the file system, what is left of it, and when that is told. */
  readonly disk?: { readonly path: string; readonly available_bytes: number; readonly warn_below_bytes: number }
}

/** Where nobody said who wants to hear of it. */
export function emitWarning({ code, message }: LedgerWarning): void {
  process.emitWarning(message, { type: 'LedgerWarning', code })
}
