/**
 * The tree cut into tiles of 256 hashes, and the leaves into bundles of 256 entries, as files that any web server can
 * serve. Source: C2SP tlog-tiles v0.1.0.
 *
 * Tile (level, index) holds the roots of the perfect subtrees of 256^level leaves, from number index × 256 on. The last
 * one of a level is partial while fewer than 256 of them are complete.
 */
import type { HashReader } from './proof.ts'
import { foldRange, HASH_BYTES } from './tree.ts'
import type { ParentHash, TreeNode } from './tree.ts'

/** Hashes in a full tile, entries in a full bundle. */
export const TILE_WIDTH = 256
const TILE_HEIGHT = 8
const TILE_HEIGHT_BITS = BigInt(TILE_HEIGHT)
const ENTRY_BYTES_MAX = 0xffff

export interface Tile {
  /** 0 to 63; `entries` for a bundle. */
  readonly level: number | 'entries'
  readonly index: bigint
  /** 1 to 256; 256 is a full one. */
  readonly width: number
}

/** Path below the log's address: `tile/0/x001/x234/067`, or with `.p/<width>` behind it where it is partial. */
export function tilePath({ level, index, width }: Tile): string {
  let digits = String(index % 1000n).padStart(3, '0')
  for (let rest = index / 1000n; rest > 0n; rest /= 1000n) digits = `x${String(rest % 1000n).padStart(3, '0')}/${digits}`
  return `tile/${level}/${digits}${width === TILE_WIDTH ? '' : `.p/${width}`}`
}

/** The tile that a path names, or null where it is not the one spelling of one. */
export function parseTilePath(path: string): Tile | null {
  const [, level = '', digits = '', partial] =
    /^tile\/(entries|[0-9]{1,2})\/((?:x[0-9]{3}\/)*[0-9]{3})(?:\.p\/([0-9]{1,3}))?$/.exec(path) ?? []
  if (digits === '' || digits.length > 27) return null
  const tile: Tile = {
    level: level === 'entries' ? level : Number(level),
    index: BigInt(digits.replaceAll(/[x/]/g, '')),
    width: partial === undefined ? TILE_WIDTH : Number(partial),
  }
  return (tile.level === 'entries' || tile.level < 64) && tile.width > 0 && tilePath(tile) === path ? tile : null
}

/** The tile of a level as it is in a log of this size; null where none of its hashes is complete. */
export function tileIn(size: bigint, level: number | 'entries', index: bigint): Tile | null {
  const complete = level === 'entries' ? size : size >> (TILE_HEIGHT_BITS * BigInt(level))
  const hashes = complete - index * BigInt(TILE_WIDTH)
  return hashes <= 0n ? null : { level, index, width: hashes < BigInt(TILE_WIDTH) ? Number(hashes) : TILE_WIDTH }
}

/** All tiles, bundles included, that a log needs to serve to grow from `oldSize` to `size`. */
export function* tilesBetween(oldSize: bigint, size: bigint): Generator<Tile> {
  for (const level of ['entries', 0] as const) yield* levelBetween(level, oldSize, size)
  for (let level = 1; size >> (TILE_HEIGHT_BITS * BigInt(level)) > 0n; level++) yield* levelBetween(level, oldSize, size)
}

function* levelBetween(level: number | 'entries', oldSize: bigint, size: bigint): Generator<Tile> {
  const shift = level === 'entries' ? 0n : TILE_HEIGHT_BITS * BigInt(level)
  const [before, after] = [oldSize >> shift, size >> shift]
  if (before === after) return
  for (let index = before >> TILE_HEIGHT_BITS; ; index++) {
    const tile = tileIn(size, level, index)
    if (tile === null) return
    yield tile
  }
}

/** Hashes of perfect subtrees out of the tiles of a log of this size. `readTile` gives a tile's bytes, or throws. */
export function tileReader(parent: ParentHash, size: bigint, readTile: (tile: Tile) => Promise<Uint8Array>): HashReader {
  return {
    async readHashes(nodes) {
      const tiles = new Map<string, Promise<Uint8Array>>()
      const read = async ({ level, index }: TreeNode): Promise<Uint8Array> => {
        const within = level % TILE_HEIGHT
        const tile = tileIn(size, Math.floor(level / TILE_HEIGHT), index >> (TILE_HEIGHT_BITS - BigInt(within)))
        if (tile === null) throw new RangeError(`a log of ${size} leaves has no subtree ${index} of level ${level}`)
        const path = tilePath(tile)
        let bytes = tiles.get(path)
        if (bytes === undefined) tiles.set(path, (bytes = readTile(tile)))
        return foldWithin(parent, tile, await bytes, within, index)
      }
      return Promise.all(nodes.map(read))
    },
  }
}

/** The root of a subtree that lies in a tile: `2^within` of its hashes. */
function foldWithin(parent: ParentHash, tile: Tile, bytes: Uint8Array, within: number, index: bigint): Uint8Array {
  if (bytes.length !== tile.width * HASH_BYTES)
    throw new RangeError(`${tilePath(tile)} has ${bytes.length} bytes, not ${tile.width * HASH_BYTES}`)
  const count = 2 ** within
  const first = Number(index % BigInt(TILE_WIDTH / count)) * count
  if (first + count > tile.width) throw new RangeError(`${tilePath(tile)} is too narrow for subtree ${index}`)
  let hashes = Array.from({ length: count }, (_, i) => bytes.subarray((first + i) * HASH_BYTES, (first + i + 1) * HASH_BYTES))
  while (hashes.length > 1) {
    hashes = Array.from({ length: hashes.length / 2 }, (_, i) => foldRange(parent, hashes.slice(2 * i, 2 * i + 2)))
  }
  return hashes[0]!
}

/** A bundle's bytes: each entry behind its length, two bytes, the higher one first. @throws RangeError for an entry over 65,535 bytes */
export function formatBundle(entries: readonly Uint8Array[]): Uint8Array {
  const bundle = new Uint8Array(entries.reduce((sum, { length }) => sum + 2 + length, 0))
  let at = 0
  for (const entry of entries) {
    if (entry.length > ENTRY_BYTES_MAX)
      throw new RangeError(`an entry of a bundle has at most ${ENTRY_BYTES_MAX} bytes, not ${entry.length}`)
    bundle[at] = entry.length >> 8
    bundle[at + 1] = entry.length & 0xff
    bundle.set(entry, at + 2)
    at += 2 + entry.length
  }
  return bundle
}

/** A bundle's entries, views into it, or null where it does not end with one. */
export function parseBundle(bundle: Uint8Array): Uint8Array[] | null {
  const entries: Uint8Array[] = []
  for (let at = 0; at < bundle.length;) {
    const start = at + 2
    if (start > bundle.length) return null
    at = start + ((bundle[at]! << 8) | bundle[at + 1]!)
    if (at > bundle.length) return null
    entries.push(bundle.subarray(start, at))
  }
  return entries
}
