/**
 * What a store can do to the entries that it keeps, and to nothing else: headers, hashes, signatures and indexes stay as
 * they are. Whoever calls it has recorded why, durably, before (src/ledger/retention).
 */
import type { ArchiveStore } from './archive.ts'
import type { Range } from '../verify/ranges.ts'

/** The entry of one record, with its salt: they come and go together. */
export interface KeptEntry {
  readonly seq: number
  readonly salt: string
  /** The exact text. */
  readonly entry_text: string
}

export interface WithholdOptions {
  /**
   * Whatever the store's indexes have from the entry (provider and model) goes, too. Unless said, it stays: an archived
   * record is still found by them.
   */
  readonly erase?: boolean
}

/** One step that is durable. */
export interface UpkeepStep {
  readonly records: number
  /** Bytes of salts and entries. */
  readonly bytes: number
}

export interface EntryUpkeep {
  /** Archive files that lie in the ledger itself. */
  readonly archive: ArchiveStore
  /**
   * Takes salt and entry of these positions away, step by step: what a step names is gone for good when it is yielded.
   * What is withheld already, or not there, is passed by, so the same call again finishes what a crash cut short. Nobody
   * asks it of the ledger's own records; a store that is guarded against its callers passes them by, too.
   * @throws LedgerError `read_only` | `disk_full` | `io_error`; `locked` for positions that can't be changed yet (of a live segment)
   */
  withhold(positions: readonly Range[], options?: WithholdOptions): AsyncIterable<UpkeepStep>
  /**
   * Puts salts and entries back where they are withheld; the positions ascend. Whoever gives them has compared them with
   * the records' `entry_hash`.
   * @throws LedgerError as `withhold`
   */
  restore(entries: AsyncIterable<readonly KeptEntry[]>): AsyncIterable<UpkeepStep>
  /**
   * The room of what was taken away goes back to the file system, and none of its bytes is left in the store's files: free
   * pages and write-ahead logs included, as far as the store can reach them. Says what it can't.
   */
  reclaim(): Promise<Reclaimed>
  /**
   * Keeps everybody else's upkeep of this ledger out until the returned function is called, or the process ends however
   * it does. Absent where whoever writes is alone anyway.
   * @throws LedgerError `locked`
   */
  lock?(): Promise<() => Promise<void>>
}

export interface Reclaimed {
  /** Of all the ledger's files, before and after. */
  readonly bytes_before: number
  readonly bytes_after: number
  /** What could not be cleaned and why, such as the server's WAL; empty where nothing is left. */
  readonly left: readonly string[]
}
