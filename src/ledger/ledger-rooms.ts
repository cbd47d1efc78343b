/** Rooms of an open ledger, out of what it is made of. */
import { Checkpoints } from './checkpoints.ts'
import type { Draft } from './draft.ts'
import type { LedgerParts } from './parts.ts'
import type { Projections } from './projections.ts'
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
