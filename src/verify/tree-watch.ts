/**
 * The roots that checkpoints speak of, computed from the records' own hashes in the one pass over them: at each size
 * that was asked for, and at the end. One node hash a record, and memory that does not grow.
 *
 * It may begin behind other records, whose tree is not known here. So what it keeps for a size are the hashes of the
 * perfect subtrees between its beginning and there (`rangeNodes`); `TreeJoin` makes roots of them.
 */
import type { Sha256 } from './hash.ts'
import { emptyRoot, foldRange, HASH_BYTES, hashHex, parentHashing, rangeNodes } from './tree.ts'
import type { ParentHash } from './tree.ts'

/** At most two for each level. */
const NODES_MAX = 128
/** Leaves that are kept, so that a checkpoint that a record quotes can be looked at: it is of a size before that record. */
const WINDOW = 8192
/** Looking back costs up to as many hashes; who quotes more of them gets them in a pass of their own. */
const LOOKS_BACK_MAX = 100
const DIGIT_VALUES = new Uint8Array(128)
for (let value = 0; value < 16; value++) DIGIT_VALUES[value.toString(16).charCodeAt(0)] = value

/** The tree between the beginning and a size. */
export interface TreeAt {
  /** Of the `rangeNodes` of [beginning, size). */
  readonly hashes: readonly Uint8Array[]
  /** `recorded_at` of the last record before the size, where it is known. */
  readonly recorded_at: string | null
}

/** Subtrees side by side, as few as can be, while leaves come. */
class Edge {
  readonly #sha256: Sha256
  readonly #hashes = new Uint8Array(NODES_MAX * HASH_BYTES)
  readonly #levels = new Uint8Array(NODES_MAX)
  #depth = 0
  /** 0x01, the left one, the right one. */
  readonly #node = new Uint8Array(1 + 2 * HASH_BYTES)

  constructor(sha256: Sha256) {
    this.#sha256 = sha256
    this.#node[0] = 1
  }

  /** Adds the leaf of this index, which lies at `from`. */
  append(leaf: Uint8Array, from: number, index: number): void {
    const node = this.#node
    const right = 1 + HASH_BYTES
    for (let i = 0; i < HASH_BYTES; i++) node[right + i] = leaf[from + i]!
    let level = 0
    // The neighbour on the left is there unless it lies before the beginning.
    for (let at = index; at % 2 === 1 && this.#depth > 0 && this.#levels[this.#depth - 1] === level; at = (at - 1) / 2, level++) {
      const left = --this.#depth * HASH_BYTES
      for (let i = 0; i < HASH_BYTES; i++) node[1 + i] = this.#hashes[left + i]!
      const hex = this.#sha256(node)
      for (let i = 0; i < HASH_BYTES; i++)
        node[right + i] = (DIGIT_VALUES[hex.charCodeAt(2 * i)]! << 4) | DIGIT_VALUES[hex.charCodeAt(2 * i + 1)]!
    }
    const top = this.#depth * HASH_BYTES
    for (let i = 0; i < HASH_BYTES; i++) this.#hashes[top + i] = node[right + i]!
    this.#levels[this.#depth++] = level
  }

  hashes(): Uint8Array[] {
    return Array.from({ length: this.#depth }, (_, i) => this.#hashes.slice(i * HASH_BYTES, (i + 1) * HASH_BYTES))
  }

  copy(): Edge {
    const copy = new Edge(this.#sha256)
    copy.#hashes.set(this.#hashes)
    copy.#levels.set(this.#levels)
    copy.#depth = this.#depth
    return copy
  }
}

/** Takes the records' hashes in their order. */
export class TreeWatch {
  /** Position of the first record that is taken. */
  readonly start: number
  /** Position behind the last one that was taken. */
  size: number
  /** A position is not there, or its hash can't be told: of no size behind it is the root known. */
  isBroken = false
  /** Lowest position whose salt or entry is not what the header commits to; Infinity where there is none. */
  firstFault = Infinity
  readonly #sizes: readonly number[]
  #next = 0
  readonly #recordedAt: () => string | null
  readonly #edge: Edge
  readonly #found = new Map<number, TreeAt>()
  // The last leaves, in two halves, with the edge before each.
  readonly #leaves = [new Uint8Array(WINDOW * HASH_BYTES), new Uint8Array(WINDOW * HASH_BYTES)] as const
  #edges: [before: Edge, here: Edge]
  #looksBack = 0

  /** @param sizes at which roots are asked for @param recordedAt tells that of the last record */
  constructor(sha256: Sha256, start: number, sizes: Iterable<number>, recordedAt: () => string | null) {
    this.start = start
    this.size = start
    this.#sizes = [...new Set(sizes)].filter((size) => size > start).toSorted((a, b) => a - b)
    this.#recordedAt = recordedAt
    this.#edge = new Edge(sha256)
    this.#edges = [this.#edge.copy(), this.#edge.copy()]
  }

  /** @param digits of the record's hash, in ASCII @param isFaulty its content is not what the header commits to */
  take(seq: number, digits: Uint8Array, isFaulty: boolean): void {
    if (seq < this.size) return
    if (isFaulty) this.firstFault = Math.min(this.firstFault, seq)
    if (seq > this.size) this.isBroken = true
    if (this.isBroken) return
    const count = seq - this.start
    const within = count % WINDOW
    if (within === 0) this.#edges = [this.#edges[1], this.#edge.copy()]
    const leaves = this.#leaves[Math.floor(count / WINDOW) % 2 === 0 ? 0 : 1]
    const from = within * HASH_BYTES
    for (let i = 0; i < HASH_BYTES; i++) leaves[from + i] = (DIGIT_VALUES[digits[2 * i]!]! << 4) | DIGIT_VALUES[digits[2 * i + 1]!]!
    this.#edge.append(leaves, from, seq)
    this.size = seq + 1
    if (this.#sizes[this.#next] !== this.size) return
    this.#next++
    this.#found.set(this.size, { hashes: this.#edge.hashes(), recorded_at: this.#recordedAt() })
  }

  /** What is known of the sizes that were asked for, by size. */
  get found(): ReadonlyMap<number, TreeAt> {
    return this.#found
  }

  /** The tree between the beginning and all that was taken. */
  end(): TreeAt {
    return { hashes: this.#edge.hashes(), recorded_at: this.#recordedAt() }
  }

  /** Asks for a size that lies behind; it is found where that is not far behind. */
  lookBack(size: number): void {
    if (this.#found.has(size) || this.isBroken || size <= this.start || size > this.size || this.#looksBack === LOOKS_BACK_MAX) return
    const halves = Math.floor((this.size - 1 - this.start) / WINDOW)
    const half = Math.floor((size - 1 - this.start) / WINDOW)
    if (half < halves - 1) return
    this.#looksBack++
    const edge = this.#edges[half === halves ? 1 : 0].copy()
    const leaves = this.#leaves[half % 2 === 0 ? 0 : 1]
    for (let seq = this.start + half * WINDOW; seq < size; seq++) edge.append(leaves, ((seq - this.start) % WINDOW) * HASH_BYTES, seq)
    this.#found.set(size, { hashes: edge.hashes(), recorded_at: null })
  }
}

/** Puts what was found in parts, one behind the other, together to roots. */
export class TreeJoin {
  readonly #parent: ParentHash
  readonly #emptyRoot: Uint8Array
  /** Up to where the part at hand begins. */
  #before: readonly Uint8Array[]
  #start: number
  readonly roots = new Map<number, { readonly root: string; readonly recorded_at: string | null }>()

  /** @param hashes of the `rangeNodes` of [0, start): what stands before the first part */
  constructor(sha256: Sha256, start = 0, hashes: readonly Uint8Array[] = []) {
    this.#parent = parentHashing(sha256)
    this.#emptyRoot = emptyRoot(sha256)
    this.#start = start
    this.#before = hashes
    this.roots.set(start, { root: hashHex(start === 0 ? this.#emptyRoot : foldRange(this.#parent, hashes)), recorded_at: null })
  }

  /** The next part: what was found at sizes in it, and its own end. */
  add(found: ReadonlyMap<number, TreeAt>, size: number, end: TreeAt): void {
    for (const [at, { hashes, recorded_at }] of found) this.roots.set(at, { root: this.#rootOf(hashes, at), recorded_at })
    if (!this.roots.has(size) && size > this.#start)
      this.roots.set(size, { root: this.#rootOf(end.hashes, size), recorded_at: end.recorded_at })
    this.#before = this.#joined(end.hashes, size)
    this.#start = size
  }

  #rootOf(hashes: readonly Uint8Array[], size: number): string {
    return hashHex(foldRange(this.#parent, this.#joined(hashes, size)))
  }

  /** Of the `rangeNodes` of [0, size), from those before the part and those in it. */
  #joined(hashes: readonly Uint8Array[], size: number): Uint8Array[] {
    const nodes = [...rangeNodes(0n, BigInt(this.#start)), ...rangeNodes(BigInt(this.#start), BigInt(size))]
    const joined: { level: number; index: bigint; hash: Uint8Array }[] = []
    for (const [i, hash] of [...this.#before, ...hashes].entries()) {
      let next = { ...nodes[i]!, hash }
      for (let left = joined.at(-1); left?.level === next.level && next.index % 2n === 1n; left = joined.at(-1)) {
        joined.pop()
        next = { level: next.level + 1, index: next.index >> 1n, hash: this.#parent(left.hash, next.hash) }
      }
      joined.push(next)
    }
    return joined.map(({ hash }) => hash)
  }
}
