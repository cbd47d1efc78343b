/**
 * Errors of operations: one class, a closed set of codes, each message saying what to do. Misuse of the API
 * (a wrong type, a value out of range) throws TypeError or RangeError instead, and verification throws nothing:
 * it returns problems.
 */

export const LEDGER_ERROR_CODES = [
  /** The entry, event or header can't be recorded; `path` names the place. Nothing was written. */
  'invalid_entry',
  /** Over a limit (entry, header, append); nothing was written. */
  'too_large',
  /** A caller's append to the reserved stream or of a reserved type. */
  'reserved',
  /** The `run_id` is in the ledger already, with other content. */
  'run_id_conflict',
  /** The stream is not at the version that the append expected. */
  'version_conflict',
  /** An event that the append rules out has come since its caller looked. */
  'condition_failed',
  /** Another writer appended first; the writer reads the head again and seals anew. Callers never see it. */
  'head_moved',
  /** Another process is writing to this ledger. */
  'locked',
  /** The ledger was opened for reading, or the file system is read-only. */
  'read_only',
  /** No ledger there. */
  'not_found',
  /** What is there is not a ledger, or there is one already where a new one was asked for. */
  'not_a_ledger',
  'already_exists',
  /** The ledger's last record can't be read, so nothing can be chained to it. */
  'damaged',
  /** The ledger was written by a newer version. */
  'newer_format',
  /** No space left; nothing half-written. Recording goes on when there is space. */
  'disk_full',
  /** Reading or writing failed; nothing half-written. Recording goes on when the cause is gone. */
  'io_error',
  /** Callers put in more than the disk takes; await `record` or `ready`. */
  'queue_full',
  /** The ledger was closed. */
  'closed',
  /** A driver or a kind of store that is not there. */
  'unsupported',
  /** A key file is missing, unreadable, or not this ledger's. */
  'key_error',
  /** A file of witnesses and their quorum, or of how long what is kept, is missing, unreadable, or none. */
  'invalid_policy',
  /** The ledger has fewer records than this machine remembers to have signed: it was cut, or is an older copy. */
  'behind_checkpoint',
  /** The ledger is not the one that this machine remembers to have signed, nor its continuation. */
  'forked',
  /** No checkpoint covers the record yet, and none can be signed here. */
  'not_covered',
  /** The folder to publish to holds something else: another log, one that is ahead of the ledger or contradicts it, other files. */
  'publish_conflict',
  /** The replica's last copy did not come to its end, or did not verify. */
  'not_verified',
  /** A handler of a read model failed again and again, and its runner was told to stop there. */
  'projection_failed',
  /** A legal hold keeps the records from being erased or moved; `holds` names it. */
  'held',
  /** The entry lies in an archive file, which `file` and `location` name, and is not read from there. */
  'archived',
  /** The entry was erased, by the record at position `erased_by`. */
  'erased',
] as const

export type LedgerErrorCode = (typeof LEDGER_ERROR_CODES)[number]

export interface LedgerErrorDetails {
  /** JSON-pointer-like place in what the caller gave, such as `/parsed_data/items/3`. */
  readonly path?: string
  /** True where it can't be told whether the write took effect; the writer then looks. */
  readonly outcome_unknown?: boolean
  readonly cause?: unknown
  /** Evidence, such as the expected and the actual version. */
  readonly [evidence: string]: unknown
}

export class LedgerError extends Error {
  override readonly name = 'LedgerError'
  readonly code: LedgerErrorCode
  readonly details: LedgerErrorDetails

  constructor(code: LedgerErrorCode, message: string, details: LedgerErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.details = details
  }
}

/** A system error that says that there is no such file, or that what should be its folder is none. */
export function isMissing(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR'].includes(String((error as { code?: unknown }).code))
}

/** What failed unforeseen behind the caller's back, as an error that can be told. */
export function asToldError(error: unknown): LedgerError {
  return error instanceof LedgerError ? error : new LedgerError('io_error', String(error), { cause: error })
}

/** `error` as a LedgerError: a system error of a file or database operation gets the code that its errno calls for. */
export function asStorageError(error: unknown, doing: string, details: LedgerErrorDetails = {}): LedgerError {
  if (error instanceof LedgerError) return error
  const errno = (error as { code?: unknown }).code
  const text = error instanceof Error ? error.message : String(error)
  const evidence = { ...details, cause: error, ...(typeof errno === 'string' ? { errno } : {}) }
  switch (errno) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new LedgerError('disk_full', `no space left while ${doing}: free some space; recording goes on by itself (${text})`, evidence)
    case 'EROFS':
    case 'EACCES':
    case 'EPERM':
      return new LedgerError(
        'read_only',
        `not allowed to write while ${doing}: check the file's owner and mode, and that the file system is mounted for writing (${text})`,
        evidence,
      )
    case 'ENOENT':
      return new LedgerError('not_found', `no such file while ${doing}: check the path (${text})`, evidence)
    default:
      return new LedgerError(
        'io_error',
        `the storage failed while ${doing}: check the disk; recording goes on when it works again (${text})`,
        evidence,
      )
  }
}
