/**
 * A ledger verified in parts, side by side. Each part but the first begins behind a record that is sound by itself; when
 * the parts are joined that must be the very record that the part before ends with. Only parts in which nothing is wrong
 * are joined: what is wrong somewhere is told by going through the whole ledger once more, in one go.
 */
import type { WatchedPart } from './checkpoint-watch.ts'
import type { IdParts } from './id-checks.ts'
import type { CheckedPart } from './record-checks.ts'
import type { Note, SubCheck } from './report.ts'

/** What whoever joins the parts needs to know of one. It can be sent from thread to thread. */
export interface LedgerPart {
  /** Position of its first record. */
  readonly start: number
  /** `hash` of the record before. */
  readonly before: string
  /** Position behind its last record. */
  readonly size: number
  readonly head: string
  readonly records: CheckedPart
  readonly ids: IdParts
  readonly watched: WatchedPart | null
  readonly notes: readonly Note[]
  readonly columns: SubCheck
  /** A writer is at work at its end. */
  readonly live: boolean
}
