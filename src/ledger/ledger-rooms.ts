/** Rooms of an open ledger, out of what it is made of. */
import { Checkpoints } from './checkpoints.ts'
import type { Draft } from './draft.ts'
import type { LedgerParts } from './parts.ts'
import type { Projections } from './projections.ts'
import type { Receipt } from './plan.ts'
import { Retention } from './retention/retention.ts'
import type { CertificateSources } from './retention/certificate.ts'
import type { AppendCondition } from './conditions.ts'
import type { CheckpointToProve } from './prove.ts'
import type { LedgerTree } from './tree.ts'

export function checkpointsOf({ origin, store, keys, memory, witnesses, checkpoints, warn }: LedgerParts, tree: LedgerTree): Checkpoints {
  return new Checkpoints({
    origin: origin ?? '',
    store,
    tree,
    signers: () => keys.signers(),
    canSign: keys.canSign,
    memory,
    witnesses,
    options: checkpoints,
    warn,
  })
}

/** Loaded when the first state is asked for. */
export function projectionsOf(
  { store, drafting, warn }: LedgerParts,
  submit: (drafts: readonly Draft[]) => Promise<unknown>,
): () => Promise<Projections> {
  let made: Promise<Projections> | null = null
  return () => (made ??= import('./projections.ts').then(({ Projections: Made }) => new Made({ store, drafting, submit, warn })))
}

/** What retention asks of the ledger itself. */
interface RetainedLedger extends Pick<CertificateSources, 'prove' | 'tree'> {
  rotate(): Promise<unknown>
  checkpoint(): Promise<CheckpointToProve>
  latestCheckpoint(): Promise<CheckpointToProve | null>
}

export function retentionOf(
  { store, drafting, text, origin, retention, keyring }: LedgerParts,
  submit: (drafts: readonly Draft[], condition?: AppendCondition) => Promise<Receipt[]>,
  ledger: RetainedLedger,
): Retention {
  return new Retention({
    store,
    drafting,
    policy: retention,
    submit,
    rotate: () => ledger.rotate(),
    forgetWords: async () => text?.forget(),
    keyring: keyring ?? null,
    certificate: {
      origin,
      get tree() {
        return ledger.tree
      },
      size: async () => (await store.state({ streams: [], run_ids: [] })).head.size,
      checkpoint: () => ledger.checkpoint().catch(() => ledger.latestCheckpoint()),
      prove: (request, options) => ledger.prove(request, options),
    },
  })
}
