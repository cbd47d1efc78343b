/** Where archive files lie: beside the ledger (warm), in a directory, or in a store of the S3 protocol (cold). */

export interface ArchiveFile {
  readonly name: string
  readonly bytes: number
}

export interface WrittenFile {
  readonly bytes: number
  /** Of the whole file, 64 hex. */
  readonly sha256: string
}

/** A place that keeps archive files, each written once and then read, and removed one day. */
export interface ArchiveStore {
  /** For messages and for the ledger's own records: it never holds credentials. */
  readonly location: string
  /**
   * Writes a whole file; durable and readable when it resolves. One of the same name and bytes is fine.
   * @throws LedgerError `disk_full` | `io_error` | `key_error` | `already_exists` (other bytes under this name)
   */
  write(name: string, content: Uint8Array | AsyncIterable<Uint8Array>): Promise<WrittenFile>
  /** Bytes from `start` up to and without `end` of it, or all. @throws LedgerError `not_found` | `io_error` | `damaged` | `key_error` */
  read(name: string, range?: { readonly start: number; readonly end: number }): AsyncIterable<Uint8Array>
  /** Null where it is not there. */
  stat(name: string): Promise<ArchiveFile | null>
  /** In any order. */
  list(prefix: string): AsyncIterable<ArchiveFile>
  /** Where it is there. */
  remove(name: string): Promise<void>
}
