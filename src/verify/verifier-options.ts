import type { Sha256 } from './hash.ts'
import type { TemporarySpace } from './id-log.ts'
import type { RecordSignatureCheck } from './record-signatures.ts'

/** What a `LedgerVerifier` is told. */
export interface VerifierOptions {
  /** SHA-256; by default the one in plain ECMAScript. In Node: `(bytes) => crypto.hash('sha256', bytes)`. */
  readonly sha256?: Sha256
  /** True for valid UTF-8; by default by the platform's decoder. In Node: `buffer.isUtf8`. */
  readonly isUtf8?: (bytes: Uint8Array) => boolean
  /** Checks the signatures that records carry; without it they are not checked. */
  readonly checkRecordSignature?: RecordSignatureCheck
  /** The origin that the ledger must have. */
  readonly origin?: string
  /** Also check that each entry's bytes are canonical JSON: a twentieth more, several times as long for spellings that are not. */
  readonly canonical_entries?: boolean
  /** Problems that are kept; the others are counted. 1000 by default. */
  readonly problems_max?: number
  /** Ids (of runs and of streams) that memory has to find doubles and gaps. 2,000,000 by default, of about 60 bytes each. */
  readonly ids_max?: number
  /**
   * Makes room outside memory for ids beyond `ids_max`: at most twice, where it is needed. Without it, or where it
   * fails, what needs them is not checked. Some 120 bytes a record are written. The caller clears it away.
   */
  readonly temporary_space?: () => TemporarySpace
  /**
   * Sizes at which the root of the records' tree is wanted, for `facts`; that at the end comes along. Without them no
   * tree is computed: it costs a hash a record.
   */
  readonly root_sizes?: Iterable<number>
  /** Of verifiers whose parts are to be joined: the same number, from chance. */
  readonly ids_seed?: number
}
