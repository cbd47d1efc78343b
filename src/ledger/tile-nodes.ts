/**
 * The hashes inside tiles. A proof takes one from each level between a tile's hashes and its root, which are not kept but
 * computed: of the tiles that were asked for last they stay in memory, since all proofs share those of the upper levels.
 */
import type { HashReader } from '../verify/proof.ts'
import { HASH_BYTES } from '../verify/tree.ts'
import type { ParentHash, TreeNode } from '../verify/tree.ts'

const TILE_HEIGHT = 8
const TILE_WIDTH = 256
/** Of 16 KiB each. */
const TILES_MAX = 128

/** Hashes of a level of tiles, `count` of them from number `first` on. */
export type ReadHashes = (level: number, first: number, count: number) => Promise<Uint8Array>

/** Number of the first hash at this height in a tile: the tile's own hashes come first, then their parents, and so on. */
function firstAt(height: number): number {
  return 2 * TILE_WIDTH - 2 ** (TILE_HEIGHT + 1 - height)
}

function hashAt(bytes: Uint8Array, number: number): Uint8Array {
  return bytes.subarray(number * HASH_BYTES, (number + 1) * HASH_BYTES)
}

export class TileNodes {
  readonly #parent: ParentHash
  readonly #read: ReadHashes
  /** By level and index; what was asked for last comes last. */
  readonly #tiles = new Map<string, Promise<Uint8Array>>()

  constructor(parent: ParentHash, read: ReadHashes) {
    this.#parent = parent
    this.#read = read
  }

  /** What is kept may have changed. */
  forget(): void {
    this.#tiles.clear()
  }

  /** Hashes of the tree over the first `size` records, as they are kept. */
  reader(size: number): HashReader {
    return { readHashes: (nodes) => Promise.all(nodes.map((node) => this.#hash(size, node))) }
  }

  async #hash(size: number, { level, index }: TreeNode): Promise<Uint8Array> {
    const tileLevel = Math.floor(level / TILE_HEIGHT)
    const height = level % TILE_HEIGHT
    const width = 2 ** height
    const first = Number(index) * width
    const tile = Math.floor(first / TILE_WIDTH)
    const complete = Math.floor(size / TILE_WIDTH ** tileLevel)
    const nodes = await this.#tile(tileLevel, tile, Math.min(TILE_WIDTH, complete - tile * TILE_WIDTH))
    return hashAt(nodes, firstAt(height) + (first % TILE_WIDTH) / width)
  }

  /** All hashes of a tile, from its own up to its root, as far as so many of its own give them. */
  #tile(level: number, index: number, width: number): Promise<Uint8Array> {
    const name = `${level} ${index} ${width}`
    const known = this.#tiles.get(name)
    this.#tiles.delete(name)
    const tile = known ?? this.#compute(level, index, width)
    this.#tiles.set(name, tile)
    // One that could not be read is read again by the next.
    if (known === undefined) tile.catch(() => this.#tiles.delete(name))
    const oldest = this.#tiles.keys().next()
    if (this.#tiles.size > TILES_MAX && oldest.done !== true) this.#tiles.delete(oldest.value)
    return tile
  }

  async #compute(level: number, index: number, width: number): Promise<Uint8Array> {
    const nodes = new Uint8Array(2 * TILE_WIDTH * HASH_BYTES)
    nodes.set(await this.#read(level, index * TILE_WIDTH, width))
    for (let height = 0, count = width; count > 1; height++, count >>= 1) {
      const [from, to] = [firstAt(height), firstAt(height + 1)]
      for (let pair = 0; pair < count >> 1; pair++) {
        nodes.set(this.#parent(hashAt(nodes, from + 2 * pair), hashAt(nodes, from + 2 * pair + 1)), (to + pair) * HASH_BYTES)
      }
    }
    return nodes
  }
}
