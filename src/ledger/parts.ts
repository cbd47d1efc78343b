/** What an open ledger is made of: put together in founding.ts. */
import type { CheckpointOptions } from './checkpoints.ts'
import type { Clock } from './clock.ts'
import type { DraftContext } from './draft.ts'
import type { Keyring } from './encryption/keyring.ts'
import type { BatchLimits, QueueLimits } from './queue.ts'
import type { RetentionPolicyInput } from './retention/policy.ts'
import type { RecordSigning } from './record-signing.ts'
import type { OriginMemory } from './remembered.ts'
import type { SigningKeys } from './signing-keys.ts'
import type { Store } from './store.ts'
import type { TextIndex } from './text.ts'
import type { LedgerWarning } from './warning.ts'
import type { Witnesses } from './witnesses.ts'
import type { Writer, WriterOptions } from './writer.ts'

export interface LedgerParts {
  readonly store: Store
  readonly clock: Clock
  readonly drafting: DraftContext
  /** Origin by record 0; null where it can't be read (a damaged ledger that is open for reading). */
  readonly origin: string | null
  /** The first public key that record 0 names, as a signed-note verifier key. */
  readonly verifierKey: string | null
  /** Where a key file was made at opening. */
  readonly keyFile: string | null
  /** Record 0 was written just now. */
  readonly isNew: boolean
  readonly keys: SigningKeys
  /** Absent where records are not signed one by one. */
  readonly signing: RecordSigning | undefined
  /** Null for a ledger that is gone with its process, and for one that is only read. */
  readonly memory: OriginMemory | null
  readonly witnesses: Witnesses | null
  readonly checkpoints: CheckpointOptions | false
  /** New records are put into the tree as they come. */
  readonly followsTree: boolean
  readonly queue: Partial<QueueLimits> | undefined
  readonly batch: Partial<BatchLimits> | undefined
  readonly warn: (warning: LedgerWarning) => void
  /** Makes the writer, where it is another one than that of plain entries. */
  readonly writer?: (store: Store, options: WriterOptions) => Writer
  /** Data keys of encrypted entries; absent where the ledger was opened without a master key. */
  readonly keyring?: Keyring
  /** How long entries are kept where, unless a call says otherwise. */
  readonly retention?: RetentionPolicyInput | undefined
  /** Finds records by their words; absent where nothing does. */
  readonly text?: TextIndex
}
