/** What a witness shows beside what the log says: is it another history? */
import { parseCheckpoint } from '../verify/checkpoint.ts'
import type { Checkpoint } from '../verify/checkpoint.ts'
import type { Contradiction, ForkEvidence } from '../verify/fork-evidence.ts'
import { openNote, parseNote } from '../verify/note.ts'
import type { VerifierKey } from '../verify/note.ts'
import { checkConsistency } from '../verify/proof.ts'
import { encodeText } from '../verify/text.ts'
import { hashHex, parentHashing } from '../verify/tree.ts'
import { ed25519Check } from './ed25519.ts'
import { nodeHashing } from './hashing.ts'

/** The hashes that prove that the tree of `size` records begins with that of `oldSize`. May reject. */
export type ProveConsistency = (oldSize: bigint, size: bigint) => Promise<readonly Uint8Array[]>
/** The root of the tree over the first `size` records. May reject. */
export type RootAt = (size: bigint) => Promise<Uint8Array>

/** A checkpoint of ours, and what is known of the tree under it. */
export interface OwnView {
  readonly note: string
  readonly checkpoint: Checkpoint
  /** Keys of the log whose signature on the note was verified. */
  readonly keys: readonly VerifierKey[]
  readonly prove: ProveConsistency
  readonly rootAt: RootAt | null
}

const parent = parentHashing(nodeHashing.sha256)

/**
 * Compares our checkpoint with one that somebody shows. Null where they fit. A string where it is not signed by our key
 * and so says nothing about us. Otherwise evidence, which may be `unproven`: see src/verify/fork-evidence.ts.
 */
export async function findFork(own: OwnView, shown: string): Promise<ForkEvidence | string | null> {
  const note = parseNote(encodeText(shown))
  if (typeof note === 'string') return note
  const opened = await openNote(note, own.keys, ed25519Check)
  if (typeof opened === 'string') return opened
  if (opened.verified.length === 0) return 'it is not signed by our key'
  const other = parseCheckpoint(opened.text)
  if (typeof other === 'string') return other
  if (other.origin !== own.checkpoint.origin) return 'it is of another log'
  const contradiction = await contradictionOf(own, other)
  if (contradiction === null) return null
  return { contradiction, notes: other.size < own.checkpoint.size ? [shown, own.note] : [own.note, shown] }
}

async function contradictionOf({ checkpoint, prove, rootAt }: OwnView, other: Checkpoint): Promise<Contradiction | null> {
  const { size, root } = checkpoint
  if (other.size === size) return hashHex(other.root) === hashHex(root) ? null : { kind: 'same-size' }
  if (other.size === 0n || size === 0n) return null
  const [first, second] = other.size < size ? [other, checkpoint] : [checkpoint, other]
  // Where the other one is larger, we may have grown past it meanwhile; where not, there is nothing to prove with.
  const proof = await prove(first.size, second.size).catch(() => null)
  if (proof === null) return { kind: 'unproven' }
  if (checkConsistency(parent, first.size, second.size, first.root, second.root, proof) === null) return null
  // The root that our tree has at their size: with the same proof it shows that ours never was what they have.
  const ours = first === other && rootAt !== null ? await rootAt(first.size).catch(() => null) : null
  if (ours === null || hashHex(ours) === hashHex(first.root)) return { kind: 'unproven' }
  const holds = checkConsistency(parent, first.size, second.size, ours, second.root, proof) === null
  return holds ? { kind: 'prefix', root: ours, proof } : { kind: 'unproven' }
}
