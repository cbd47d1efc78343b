/**
 * Inclusion and consistency proofs. `prove…` reads O(log n) hashes of perfect subtrees, `check…` needs nothing but the
 * proof. Both are iterative and take any size to 2^63−1. Source: RFC 9162, sections 2.1.3 and 2.1.4; where it is silent
 * about an old size of 0, C2SP tlog-witness (the proof is empty).
 */
import { foldRange, HASH_BYTES, rangeNodes } from './tree.ts'
import type { ParentHash, TreeNode } from './tree.ts'

/** Sizes of trees end here: C2SP tlog-cosignature has them in 63 bits. */
export const TREE_SIZE_MAX = (1n << 63n) - 1n

/** Where the hashes of perfect subtrees are. */
export interface HashReader {
  /** The hash of each node, in their order. Nodes that are not in the tree of the size in question are never asked for. */
  readHashes(nodes: readonly TreeNode[]): Promise<readonly Uint8Array[]>
}

/** Leaves [start, end). */
interface Span {
  readonly start: bigint
  readonly end: bigint
}

/** The largest power of two below n, for n from 2: where RFC 9162 splits. */
function splitOf(n: bigint): bigint {
  return 1n << BigInt(bitLength(n - 1n) - 1)
}

function bitLength(n: bigint): number {
  return n === 0n ? 0 : n.toString(2).length
}

function ones(n: bigint): number {
  let count = 0
  for (; n > 0n; n &= n - 1n) count++
  return count
}

function requireSize(size: bigint): void {
  if (size < 0n || size > TREE_SIZE_MAX) throw new RangeError(`a tree has 0 to 2^63-1 leaves, not ${size}`)
}

/** The hashes of spans: all that they are made of is read at once. */
async function readSpans(parent: ParentHash, reader: HashReader, spans: readonly Span[]): Promise<Uint8Array[]> {
  const parts = spans.map(({ start, end }) => rangeNodes(start, end))
  const hashes = await reader.readHashes(parts.flat())
  let next = 0
  return parts.map((nodes) => foldRange(parent, hashes.slice(next, (next += nodes.length))))
}

/** The root of the tree over the first `size` leaves. @throws RangeError for 0: that root is `emptyRoot` */
export async function readRoot(parent: ParentHash, reader: HashReader, size: bigint): Promise<Uint8Array> {
  requireSize(size)
  const [root] = await readSpans(parent, reader, [{ start: 0n, end: size }])
  return root!
}

/** The path from a leaf to the root of the tree over the first `size` leaves, the leaf's sibling first. */
export async function proveInclusion(parent: ParentHash, reader: HashReader, index: bigint, size: bigint): Promise<Uint8Array[]> {
  requireSize(size)
  if (index < 0n || index >= size) throw new RangeError(`leaf ${index} is not in a tree of ${size} leaves`)
  const path: Span[] = []
  for (let start = 0n, end = size; end - start > 1n;) {
    const middle = start + splitOf(end - start)
    if (index < middle) {
      path.push({ start: middle, end })
      end = middle
    } else {
      path.push({ start, end: middle })
      start = middle
    }
  }
  return readSpans(parent, reader, path.toReversed())
}

/** That the tree over the first `oldSize` leaves is the beginning of that over the first `size`. Empty from 0, and to itself. */
export async function proveConsistency(parent: ParentHash, reader: HashReader, oldSize: bigint, size: bigint): Promise<Uint8Array[]> {
  requireSize(size)
  if (oldSize < 0n || oldSize > size) throw new RangeError(`a tree of ${size} leaves was never one of ${oldSize}`)
  if (oldSize === 0n || oldSize === size) return []
  const path: Span[] = []
  let [start, end] = [0n, size]
  // SUBPROOF of RFC 9162, 2.1.4.1, from the root down to the subtree in which the old tree ends.
  while (end !== oldSize) {
    const middle = start + splitOf(end - start)
    if (oldSize <= middle) {
      path.push({ start: middle, end })
      end = middle
    } else {
      path.push({ start, end: middle })
      start = middle
    }
  }
  // Where the old tree is itself a perfect subtree, whoever checks has its root.
  if (start > 0n) path.push({ start, end })
  return readSpans(parent, reader, path.toReversed())
}

/** What a proof must be to prove something: exactly so many hashes of 32 bytes. */
function shapeFault(proof: readonly Uint8Array[], length: number, roots: readonly Uint8Array[]): string | null {
  if (proof.length !== length) return `the proof has ${proof.length} hashes, not ${length}`
  if ([...roots, ...proof].every(({ length: bytes }) => bytes === HASH_BYTES)) return null
  return `a hash has not ${HASH_BYTES} bytes`
}

function sizeFault(size: bigint): string | null {
  return size < 0n || size > TREE_SIZE_MAX ? `a tree has 0 to 2^63-1 leaves, not ${size}` : null
}

function rootFault(what: string, computed: Uint8Array, root: Uint8Array): string | null {
  return computed.every((byte, i) => byte === root[i]) ? null : `the proof leads to another ${what}`
}

/** Why the proof does not show that this leaf is at this index of the tree with this root, or null where it does. */
export function checkInclusion(
  parent: ParentHash,
  index: bigint,
  size: bigint,
  leaf: Uint8Array,
  root: Uint8Array,
  proof: readonly Uint8Array[],
): string | null {
  if (sizeFault(size) !== null) return sizeFault(size)
  if (index < 0n || index >= size) return `leaf ${index} is not in a tree of ${size} leaves`
  // Below the level at which the leaf's path joins the tree's right edge it has siblings on both sides, above on the left.
  const inner = bitLength(index ^ (size - 1n))
  const border = ones(index >> BigInt(inner))
  const fault = shapeFault(proof, inner + border, [leaf, root])
  if (fault !== null) return fault
  let hash = leaf
  for (const [level, sibling] of proof.entries()) {
    const isRight = level >= inner || ((index >> BigInt(level)) & 1n) === 1n
    hash = isRight ? parent(sibling, hash) : parent(hash, sibling)
  }
  return rootFault('root', hash, root)
}

/** Why the proof does not show that the old tree is the beginning of the new one, or null where it does. */
export function checkConsistency(
  parent: ParentHash,
  oldSize: bigint,
  size: bigint,
  oldRoot: Uint8Array,
  root: Uint8Array,
  proof: readonly Uint8Array[],
): string | null {
  if (sizeFault(size) !== null) return sizeFault(size)
  if (oldSize < 0n || oldSize > size) return `a tree of ${size} leaves was never one of ${oldSize}`
  if (oldSize === size)
    return shapeFault(proof, 0, [oldRoot, root]) ?? (rootFault('root', oldRoot, root) === null ? null : 'the roots differ')
  if (oldSize === 0n) return shapeFault(proof, 0, [oldRoot, root])
  // The largest perfect subtree that the old tree ends with; everything is folded onto it.
  const shift = bitLength(oldSize & -oldSize) - 1
  const isSeeded = oldSize === 1n << BigInt(shift)
  const inner = bitLength((oldSize - 1n) ^ (size - 1n)) - shift
  const border = ones((oldSize - 1n) >> BigInt(inner + shift))
  const fault = shapeFault(proof, (isSeeded ? 0 : 1) + inner + border, [oldRoot, root])
  if (fault !== null) return fault
  const seed = isSeeded ? oldRoot : proof[0]!
  let [oldHash, hash] = [seed, seed]
  for (const [level, sibling] of proof.slice(isSeeded ? 0 : 1).entries()) {
    if (level >= inner || (((oldSize - 1n) >> BigInt(shift + level)) & 1n) === 1n) {
      oldHash = parent(sibling, oldHash)
      hash = parent(sibling, hash)
    } else hash = parent(hash, sibling)
  }
  return rootFault('old root', oldHash, oldRoot) ?? rootFault('root', hash, root)
}
