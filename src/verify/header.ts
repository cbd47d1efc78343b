/**
 * The header of a record: the small public audit fact. Source: docs/format.md, "The header".
 * `formatHeader` writes the canonical bytes, `parseHeader` reads and checks them; they mirror each other.
 */

export const FORMAT_VERSION = 1
export const GENESIS = 'GENESIS'
/** The reserved stream in which the ledger records what happens to itself. */
export const LEDGER_STREAM = 'ledger'

export const OUTCOMES = ['success', 'failure', 'denied', 'cancelled', 'timeout', 'unknown'] as const
export type Outcome = (typeof OUTCOMES)[number]

/** Event types that only the ledger itself writes, all in the stream `ledger`. */
export const RESERVED_TYPES = [
  'LedgerCreated',
  'KeyAdded',
  'KeyRetired',
  'SnapshotTaken',
  'SegmentSealed',
  'EntriesArchived',
  'EntriesRestored',
  'EntryErased',
  'LegalHoldPlaced',
  'LegalHoldReleased',
  'ClockMovedBack',
  'RecordingGapDetected',
] as const
export type ReservedType = (typeof RESERVED_TYPES)[number]

/** Limits of the header; all in bytes or counts. */
export const HEADER_LIMITS = { header_bytes_max: 16_384, string_bytes_max: 512, array_items_max: 64 } as const

/** Keys in canonical order (UTF-16 code units ascending), which is the order on the wire. */
export interface RecordHeader {
  /** What was done (`method_name` of an agent call). */
  readonly action: string
  /** Who or what caused it (`agent_name`, a user's pseudonym, a service). */
  readonly actor: string
  /** Position of the last record of the same append; absent where the append was one record. */
  readonly append_last_seq?: number
  /** `run_id` of the record that led to this one. */
  readonly causation_id?: string
  /** Links the records of one task, conversation or trace. */
  readonly correlation_id?: string
  /** SHA-256, 64 lower-case hex, of the line's bytes from `"salt":"` to the entry's last `}`. */
  readonly entry_hash: string
  readonly outcome: Outcome
  /** `hash` of the record before, or GENESIS at seq 0. */
  readonly previous_hash: string
  /** When the ledger took it: RFC 3339 UTC with six fraction digits. */
  readonly recorded_at: string
  /** Unique in the ledger; the idempotency key of the append. */
  readonly run_id: string
  /** Version of the entry's schema, from 1. */
  readonly schema: number
  /** 0-based position in the ledger. */
  readonly seq: number
  /** Ids of the keys that sign this record, ascending. */
  readonly signers?: readonly string[]
  readonly stream: string
  /** 0-based, gapless in its stream. */
  readonly stream_version: number
  /** What else to find it by; ascending, none twice. */
  readonly tags?: readonly string[]
  /** When it happened in the world (valid time). */
  readonly timestamp: string
  /** The event type, a past-tense fact. */
  readonly type: string
  readonly v: typeof FORMAT_VERSION
}
