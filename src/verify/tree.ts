/**
 * The Merkle tree over the records' hashes. Source: RFC 6962 and RFC 9162, section 2.1, with SHA-256.
 *
 * A node (level, index) is the root of the perfect subtree over the leaves [index × 2^level, (index + 1) × 2^level); the
 * hashes of all perfect subtrees are what is kept. Any range of leaves is put together from them.
 */
import type { Sha256 } from './hash.ts'

export const HASH_BYTES = 32
/** What is put before two hashes: a leaf has 0x00 there, so neither can be taken for the other. */
const NODE_PREFIX = 0x01

/** Hash of two neighbours' parent. */
export type ParentHash = (left: Uint8Array, right: Uint8Array) => Uint8Array

/** The hash of 64 hex digits as bytes. */
export function hashBytes(hex: string): Uint8Array {
  const bytes = new Uint8Array(HASH_BYTES)
  for (let i = 0; i < HASH_BYTES; i++) bytes[i] = (digit(hex, 2 * i) << 4) | digit(hex, 2 * i + 1)
  return bytes
}

function digit(hex: string, at: number): number {
  const unit = hex.charCodeAt(at)
  return unit <= 0x39 ? unit - 0x30 : unit - 0x57
}

/** Bytes as lower-case hex. */
export function hashHex(bytes: Uint8Array): string {
  let hex = ''
  for (const byte of bytes) hex += (byte < 16 ? '0' : '') + byte.toString(16)
  return hex
}

/** SHA-256( 0x01 ‖ left ‖ right ). */
export function parentHashing(sha256: Sha256): ParentHash {
  const bytes = new Uint8Array(1 + 2 * HASH_BYTES)
  bytes[0] = NODE_PREFIX
  return (left, right) => {
    bytes.set(left, 1)
    bytes.set(right, 1 + HASH_BYTES)
    return hashBytes(sha256(bytes))
  }
}

/** The root of a tree without leaves: SHA-256 of nothing. */
export function emptyRoot(sha256: Sha256): Uint8Array {
  return hashBytes(sha256(new Uint8Array(0)))
}

/** A perfect subtree by its place: the leaves [index × 2^level, (index + 1) × 2^level). */
export interface TreeNode {
  readonly level: number
  readonly index: bigint
}

/** The perfect subtrees that make up the leaves [start, end), from left to right: at most two a level. */
export function rangeNodes(start: bigint, end: bigint): TreeNode[] {
  const nodes: TreeNode[] = []
  for (let at = start; at < end;) {
    let level = 0
    // As large as what is left, and begins where such a subtree begins.
    while (at % (2n << BigInt(level)) === 0n && at + (2n << BigInt(level)) <= end) level++
    nodes.push({ level, index: at >> BigInt(level) })
    at += 1n << BigInt(level)
  }
  return nodes
}

/**
 * The hash of the leaves of a range that begins where a subtree as large begins, from the hashes of its `rangeNodes`.
 * @throws RangeError where there are none
 */
export function foldRange(parent: ParentHash, hashes: readonly Uint8Array[]): Uint8Array {
  let folded = hashes.at(-1)
  if (folded === undefined) throw new RangeError('a range without leaves has no hash')
  for (let i = hashes.length - 2; i >= 0; i--) folded = parent(hashes[i]!, folded)
  return folded
}

/**
 * The right edge of a tree that grows: one hash for each set bit of the size, the largest subtree first. A leaf costs
 * one node hash on average. Sizes are those of ledgers, below 2^53.
 */
export class TreeEdge {
  readonly #parent: ParentHash
  readonly #hashes: Uint8Array[]
  #size: number

  /** @param hashes of the `rangeNodes` of [0, size) */
  constructor(parent: ParentHash, size = 0, hashes: readonly Uint8Array[] = []) {
    if (rangeNodes(0n, BigInt(size)).length !== hashes.length) throw new RangeError(`a tree of ${size} leaves has another edge`)
    this.#parent = parent
    this.#size = size
    this.#hashes = [...hashes]
  }

  get size(): number {
    return this.#size
  }

  /** Largest subtree first. */
  get hashes(): readonly Uint8Array[] {
    return this.#hashes
  }

  /** Adds a leaf. `completed` hears of each perfect subtree that it completes, the leaf itself (level 0) first. */
  append(leaf: Uint8Array, completed?: (level: number, index: number, hash: Uint8Array) => void): void {
    let hash = leaf
    let index = this.#size
    let level = 0
    completed?.(level, index, hash)
    while (index % 2 === 1) {
      hash = this.#parent(this.#hashes.pop()!, hash)
      index = (index - 1) / 2
      level++
      completed?.(level, index, hash)
    }
    this.#hashes.push(hash)
    this.#size++
  }

  /** The tree's root; null where it has no leaves (then it is `emptyRoot`). */
  root(): Uint8Array | null {
    return this.#hashes.length === 0 ? null : foldRange(this.#parent, this.#hashes)
  }
}
