/**
 * What a verification says: four verdicts that are kept apart because they are different claims, and the
 * problems behind them. Nothing here ever throws on data. Source: docs/format.md, "Verification".
 */

export type Verdict = 'pass' | 'fail' | 'not checked'

/** The closed set of problem codes; docs/format.md explains each. */
export const PROBLEM_CODES = [
  /** The line does not have the form of a record (grammar, UTF-8, a header that breaks a rule, signatures, salt, entry). */
  'malformed_record',
  /** SHA-256(0x00 ‖ header) is not the line's `hash`. */
  'hash_mismatch',
  /** SHA-256 of salt and entry is not the header's `entry_hash`. */
  'entry_mismatch',
  /** The header's `previous_hash` is not the hash of the record before. */
  'chain_broken',
  /** One or more positions are not there. `seq` is the first missing position, `found` the position that came instead. */
  'missing_records',
  /** A record that does not belong where it stands: inserted, doubled or moved. `seq` is the position it stands at. */
  'unexpected_record',
  /** The last line of the live end has no line feed, and no writer is at work. */
  'torn_tail',
  /** A sealed segment's last line has no line feed. */
  'unended_segment',
  /** A segment file's name is not the position of its first record. */
  'segment_misplaced',
  /** Record 0 is not a `LedgerCreated`, or its actor is not a legal origin, or not the origin that was asked for. */
  'wrong_origin',
  /** `recorded_at` is below the record's before, and the record is no `ClockMovedBack`. */
  'clock_moved_back',
  /** A `run_id` that an earlier record has. */
  'duplicate_run_id',
  /** `stream_version` is not the one after the stream's last. */
  'stream_version_gap',
  /** An append of several records is not whole: `append_last_seq` names a position that is not there or not of it. */
  'incomplete_append',
  /** The entry is one JSON object but its bytes are not RFC 8785 canonical. */
  'entry_not_canonical',
  /** The entry is withheld, and no record names it as erased or archived. */
  'withheld_unnamed',
  /** The ledger says that the entry is in an archive file, and that is not there, can't be read, or has another one. `seq` is the first where it is about all in a file. */
  'archive_mismatch',
  /** A record of the reserved stream or of a reserved type that is not both. */
  'reserved_misused',
  /** A store's index column differs from the record. `expected` and `found` start with `<column>=`. */
  'column_mismatch',
  /** The store itself could not be read at this place (a damaged database page, an unreadable file). */
  'unreadable',
  /** A signature of a record is not right under its key. */
  'signature_invalid',
  /** A key that is not known, is for another purpose, or was not right there; or a record that adds or retires a key and can't. */
  'key_misused',
  /** A checkpoint is malformed, of another origin, or not rightly signed; or there is none by a key that is trusted. Authenticity. */
  'checkpoint_invalid',
  /** The records don't give the root of the ledger's own or published checkpoint. Integrity. */
  'root_mismatch',
  /** There are fewer records than a checkpoint says. Completeness. */
  'behind_checkpoint',
  /** The records don't give the root of a checkpoint from before: they are of another history. Completeness. */
  'forked',
  /** The last record that a checkpoint covers says that it was recorded later than witnesses saw the checkpoint. Time. */
  'time_contradicted',
  /** A policy was given, and no checkpoint has the cosignatures that it asks for. Time. */
  'quorum_not_met',
  /** A published tile is not what the records give. Integrity. */
  'tile_mismatch',
  /** An encrypted entry does not open under its data key. It fails no verdict: the hashes are of the ciphertext. */
  'entry_not_opened',
] as const

export type ProblemCode = (typeof PROBLEM_CODES)[number]

/** The verdict that a problem makes fail, where that is not integrity. */
const OTHER_VERDICTS: { readonly [code in ProblemCode]?: keyof Verdicts } = {
  signature_invalid: 'authenticity',
  key_misused: 'authenticity',
  checkpoint_invalid: 'authenticity',
  behind_checkpoint: 'completeness',
  forked: 'completeness',
  time_contradicted: 'time',
  quorum_not_met: 'time',
}

/** The verdict that such a problem makes fail. */
export function verdictOf(code: ProblemCode): keyof Verdicts {
  return OTHER_VERDICTS[code] ?? 'integrity'
}

/** Where the problem lies: a byte offset in a file (relative to the ledger), or a row of the records table. */
export type Where = { readonly file: string; readonly byte: number } | { readonly row: number }

export interface Problem {
  readonly code: ProblemCode
  /** 0-based position of the record in the ledger; null where it can't be told. */
  readonly seq: number | null
  readonly expected: string | null
  readonly found: string | null
  readonly where: Where | null
}

/** Something worth saying that is no problem. */
export interface Note {
  readonly code:
    | 'unended_line_of_live_writer'
    | 'unknown_header_key'
    | 'newer_format'
    | 'erasure_pending'
    | 'records_behind_checkpoint'
    | 'only_new_records'
    | 'excerpt'
    | 'archive_not_read'
  readonly seq: number | null
  readonly text: string
  readonly where: Where | null
}

/** Checks that need memory for every id, or more time; each stands for itself. */
export interface SubCheck {
  readonly verdict: Verdict
  /** What would be needed, where the verdict is `not checked`. */
  readonly missing?: string
}

export interface Verdicts {
  /** Is every record what it was when it was hashed, and in its place? */
  readonly integrity: Verdict
  /** Did the holder of a key say so? */
  readonly authenticity: Verdict
  /** Is nothing missing at the end, or from a view that others saw? */
  readonly completeness: Verdict
  /** Did it exist by then? */
  readonly time: Verdict
}

/** The checkpoint that stands for most of the records: they give its root. */
export interface VouchedCheckpoint {
  readonly size: number
  /** 64 hex. */
  readonly root: string
  /** Trusted keys whose signatures it carries, as `<name>+<key id>`; none where no key from outside was given. */
  readonly signed_by: readonly string[]
  /** Witnesses of the policy whose cosignatures it carries, and when they saw it. */
  readonly cosigned_by: readonly { readonly name: string; readonly time: string }[]
  /** How many records stand behind it, which it does not cover. */
  readonly behind: number
}

/** What the verdicts claim that pass, and of how many records: none of them says anything about records behind those. */
export interface Claims {
  /** So many records are what the holder of a trusted key signed. */
  readonly authentic: number | null
  /** So many records were there before, or were seen by others, and are here. */
  readonly complete: number | null
  /** So many records existed by this time. */
  readonly existed: { readonly size: number; readonly by: string } | null
}

/** A snapshot of a projection that is kept beside the ledger. */
export interface SnapshotCheck {
  /** `run_id` of the record that is to name it. */
  readonly id: string
  /** Null where it can't be told. */
  readonly projection: string | null
  readonly version: number | null
  readonly position: number
  /** `pass`: the record, the position, the digest and a replay agree. */
  readonly verdict: Verdict
  /** Why not, in words; null where it passes. */
  readonly reason: string | null
}

export interface VerificationReport {
  /** No verdict is `fail`. `not checked` is not `fail`: read `missing` to see what was not claimed. */
  readonly ok: boolean
  /** Position of the first record that was read: 0, or the size of the checkpoint with which verification began. */
  readonly from: number
  /** Number of records: one more than the last position that was accepted. */
  readonly size: number
  /** Hash of the last record, or null where there is none. */
  readonly head: string | null
  /** The root of the records' Merkle tree, 64 hex; null where no checkpoint was to be judged, or a record is missing. */
  readonly root: string | null
  /** The actor of record 0, or null where it can't be read. */
  readonly origin: string | null
  readonly verdicts: Verdicts
  /** For each verdict that is `not checked`: what would be needed. */
  readonly missing: { readonly [verdict in keyof Verdicts]?: string }
  readonly claims: Claims
  readonly checkpoint: VouchedCheckpoint | null
  readonly checks: {
    readonly run_ids_unique: SubCheck
    readonly stream_versions: SubCheck
    readonly entries_canonical: SubCheck
    readonly columns: SubCheck
    /** The signatures that records carry: `pass` where there are any, and all are right under keys that were right there. */
    readonly signatures: SubCheck
    /** Where it was asked for: every encrypted entry opens under its data key. */
    readonly entries_opened?: SubCheck
    /** Of a published log, which has headers only: the entries, which are never checked there. */
    readonly entries?: SubCheck
    /** Of a published log: every tile is what the headers give. */
    readonly tiles?: SubCheck
  }
  /** The first problems, in the order of the ledger (at most `problems_max` of them). */
  readonly problems: readonly Problem[]
  /** How many problems there are in all. */
  readonly problems_total: number
  readonly notes: readonly Note[]
  /** Entries that are not there, by why. */
  readonly withheld: { readonly erased: number; readonly archived: number; readonly unnamed: number; readonly pending: number }
  /**
   * Where only some of a ledger's records were there, as in an archive file: how many, in how many runs of consecutive
   * positions, and how many of them without their entries. What follows from all records is not checked then.
   */
  readonly excerpt?: { readonly records: number; readonly runs: number; readonly withheld: number }
  /** Where it was asked for: encrypted entries that open, whose key is gone and which are named as erased, and that do not open. */
  readonly opened?: { readonly opened: number; readonly erased: number; readonly failed: number }
  /** Where it was asked for: the snapshots that are kept. One that fails makes `ok` false; the records may be right all the same. */
  readonly snapshots?: readonly SnapshotCheck[]
  /** `recorded_at` of the first and the last record. */
  readonly recorded: { readonly first: string | null; readonly last: string | null }
}
