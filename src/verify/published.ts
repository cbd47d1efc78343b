/**
 * Audits a log that was published as files: every header's grammar and its place, every tile recomputed and compared,
 * and the root. In one pass and bounded memory, over whoever reads the files. Source: C2SP tlog-tiles v0.1.0, and
 * docs/format.md, "The published log".
 */
import { ascii } from './bytes.ts'
import type { LedgerVerifier } from './chain.ts'
import type { Checkpoint } from './checkpoint.ts'
import type { Sha256 } from './hash.ts'
import { parseHeader } from './header-scan.ts'
import { HEADER_LIMITS } from './header.ts'
import type { SubCheck } from './report.ts'
import { parseBundle, TILE_WIDTH, tileIn, tilePath } from './tiles.ts'
import type { Tile } from './tiles.ts'
import { emptyRoot, HASH_BYTES, hashBytes, hashHex, parentHashing, TreeEdge } from './tree.ts'

/** Where a published log's files are. */
export interface PublishedFiles {
  /**
   * The bytes of the file at this path below the log's address, or in words why there are none (no such file, longer
   * than `bytes_max`). Throws where that can't be told, as when a network fails: then nothing is claimed.
   */
  read(path: string, bytes_max: number): Promise<Uint8Array | string>
}

/** A checkpoint with a hundred signatures of the longest kind has less. */
export const CHECKPOINT_BYTES_MAX = 512 * 1024
const TILE_BYTES = TILE_WIDTH * HASH_BYTES
const BUNDLE_BYTES_MAX = TILE_WIDTH * (HEADER_LIMITS.header_bytes_max + 2)
/** Pieces (a bundle and its tile) that are asked for ahead. */
const AHEAD = 8
/** So many bundles one after the other without an entry: no more are looked for. A size is only a number. */
const LOST_MAX = 16
const TILE_HEIGHT = 8

export interface PublishedAuditOptions {
  readonly sha256: Sha256
  /** Sizes of which the root is asked for. */
  readonly sizes?: readonly bigint[]
  /** Called between pieces of some ms of work, with the number of headers so far; what it throws ends the audit. */
  readonly pause?: (headers: number) => Promise<void> | void
}

/** A file as it was found, under the path at which it was. */
interface Found {
  readonly path: string
  readonly bytes: Uint8Array | string
}

/** 256 records: their headers, and the hashes that the tile states. */
interface Piece {
  readonly bundle: Found
  readonly tile: Found
}

/** A partial tile may be gone once the full one is there, which begins with the same bytes. */
async function readTile(files: PublishedFiles, tile: Tile, bytes_max: number): Promise<Found> {
  const path = tilePath(tile)
  const bytes = await files.read(path, bytes_max)
  if (typeof bytes !== 'string' || tile.width === TILE_WIDTH) return { path, bytes }
  const full = tilePath({ ...tile, width: TILE_WIDTH })
  const whole = await files.read(full, bytes_max)
  return typeof whole === 'string' ? { path, bytes } : { path: full, bytes: whole }
}

/** The hashes of a tile, or why there are none. `path` tells whether it is the full one. */
function tileBytes(tile: Tile, { path, bytes }: Found): Uint8Array | string {
  if (typeof bytes === 'string') return bytes
  const length = (path === tilePath(tile) ? tile.width : TILE_WIDTH) * HASH_BYTES
  return bytes.length === length ? bytes.subarray(0, tile.width * HASH_BYTES) : `${bytes.length} bytes, not ${length}`
}

/** The entries of a bundle, and what is wrong with it. */
function bundleEntries(tile: Tile, { path, bytes }: Found): { entries: readonly Uint8Array[]; fault: string | null } {
  if (typeof bytes === 'string') return { entries: [], fault: bytes }
  const entries = parseBundle(bytes)
  if (entries === null) return { entries: [], fault: 'bytes that do not end with an entry' }
  const width = path === tilePath(tile) ? tile.width : TILE_WIDTH
  return { entries: entries.slice(0, tile.width), fault: entries.length === width ? null : `${entries.length} entries` }
}

/** Results of `load` in their order, some of them asked for ahead. */
async function* ahead<T>(count: number, load: (index: number) => Promise<T>): AsyncGenerator<T, void, undefined> {
  const waiting: Promise<T>[] = []
  for (let next = 0; next < count || waiting.length > 0;) {
    while (next < count && waiting.length < AHEAD) {
      const result = load(next++)
      // It fails when it is its turn, and not before.
      result.catch(() => {})
      waiting.push(result)
    }
    yield await waiting.shift()!
  }
}

class PublishedAudit {
  /** Hex by size, of those that were asked for. */
  readonly roots = new Map<bigint, string>()
  readonly #files: PublishedFiles
  readonly #size: bigint
  readonly #verifier: LedgerVerifier
  readonly #options: PublishedAuditOptions
  readonly #edge: TreeEdge
  /** Of each level, the hashes of the tile at its end; from level 1 on, as level 0 is compared with the headers. */
  readonly #levels: Uint8Array[] = []
  #full: { readonly tile: Tile; readonly bytes: Uint8Array }[] = []
  /** A leaf is known neither by its header nor by its tile: from there on there is no tree. */
  #lost = false
  #headers = 0
  /** Some tile or bundle is not what it should be. */
  differs = false

  constructor(files: PublishedFiles, size: bigint, verifier: LedgerVerifier, options: PublishedAuditOptions) {
    this.#files = files
    this.#size = size
    this.#verifier = verifier
    this.#options = options
    this.#edge = new TreeEdge(parentHashing(options.sha256))
  }

  /** Hex of the root, or null where headers and tiles together don't give one. */
  async run(): Promise<string | null> {
    this.#noteRoot()
    const count = Number((this.#size + BigInt(TILE_WIDTH - 1)) / BigInt(TILE_WIDTH))
    let index = 0
    let piece: Piece | null = null
    let lost = 0
    for await (const next of ahead(count, (at) => this.#load(at))) {
      if (piece !== null) await this.#take(index++, piece, next)
      lost = typeof next.bundle.bytes === 'string' && typeof next.tile.bytes === 'string' ? lost + 1 : 0
      piece = next
      if (lost === LOST_MAX) break
    }
    if (piece !== null) await this.#take(index++, piece, null)
    if (index < count) {
      const found = `nothing at ${tilePath(this.#tile('entries', index - 1))} and the ${LOST_MAX - 1} before it; no more was looked for`
      this.#problem(null, `${this.#size} records`, found, 'checkpoint', 0)
      this.#lost = true
    }
    return this.#lost ? null : this.#root()
  }

  #tile(level: number | 'entries', index: number): Tile {
    return tileIn(this.#size, level, BigInt(index))!
  }

  async #load(index: number): Promise<Piece> {
    const [bundle, tile] = await Promise.all([
      readTile(this.#files, this.#tile('entries', index), BUNDLE_BYTES_MAX),
      readTile(this.#files, this.#tile(0, index), TILE_BYTES),
    ])
    return { bundle, tile }
  }

  #problem(seq: number | null, expected: string, found: string, file: string, byte: number): void {
    this.differs = true
    this.#verifier.problem({ code: 'tile_mismatch', seq, expected, found, where: { file, byte } })
  }

  /** The records of a piece. `next`: the piece behind it, whose first header may tell who is right about the last one here. */
  async #take(index: number, { bundle, tile }: Piece, next: Piece | null): Promise<void> {
    const first = index * TILE_WIDTH
    const place = this.#tile('entries', index)
    const { entries, fault } = bundleEntries(place, bundle)
    if (fault !== null) this.#problem(first, `${place.width} entries`, fault, bundle.path, 0)
    const hashes = tileBytes(this.#tile(0, index), tile)
    if (typeof hashes === 'string') this.#problem(first, `${place.width} hashes`, hashes, tile.path, 0)
    const behind = next === null ? undefined : bundleEntries(this.#tile('entries', index + 1), next.bundle).entries[0]
    this.#verifier.file(bundle.path, null)
    let isTold = false
    for (let at = 0; at < place.width; at++) {
      const stated = typeof hashes === 'string' ? null : hashAt(hashes, at)
      const header = entries[at]
      if (header === undefined) {
        this.#append(stated)
        continue
      }
      const hash = this.#leafHash(header)
      // Where an entry is too many or too few, which position each has can't be told: then only the tile says.
      const differs = fault === null && stated !== null && !sameHash(stated, hash)
      const isHeaders = differs && pointsTo(entries[at + 1] ?? behind, stated)
      this.#hand(bundle, header, isHeaders ? stated : null)
      if (differs && !isHeaders && !isTold) {
        isTold = true
        this.#problem(first + at, hashHex(hash), hashHex(stated), tile.path, at * HASH_BYTES)
      }
      this.#append(isHeaders || fault !== null ? stated : hash)
    }
    this.#headers += place.width
    await this.#compareTiles()
    await this.#options.pause?.(this.#headers)
  }

  /** `stated`: the hash that the header should have, where it is the header that was changed. */
  #hand(bundle: Found, header: Uint8Array, stated: Uint8Array | null): void {
    const bytes = bundle.bytes as Uint8Array
    const start = header.byteOffset - bytes.byteOffset
    this.#verifier.header(bytes, start, start + header.length, start, stated === null ? null : ascii(hashHex(stated)))
  }

  #leafHash(header: Uint8Array): Uint8Array {
    const leaf = new Uint8Array(header.length + 1)
    leaf.set(header, 1)
    return hashBytes(this.#options.sha256(leaf))
  }

  #append(leaf: Uint8Array | null): void {
    if (leaf === null) this.#lost = true
    if (this.#lost || leaf === null) return
    this.#edge.append(leaf, (level, index, hash) => {
      if (level > 0 && level % TILE_HEIGHT === 0) this.#complete(level / TILE_HEIGHT, index, hash)
    })
    this.#noteRoot()
  }

  #noteRoot(): void {
    const size = BigInt(this.#edge.size)
    if (this.#options.sizes?.includes(size) === true) this.roots.set(size, this.#root())
  }

  #root(): string {
    return hashHex(this.#edge.root() ?? emptyRoot(this.#options.sha256))
  }

  /** A hash of a tile above level 0. */
  #complete(level: number, number: number, hash: Uint8Array): void {
    const at = number % TILE_WIDTH
    if (at === 0) this.#levels[level - 1] = new Uint8Array(TILE_BYTES)
    const bytes = this.#levels[level - 1]!
    bytes.set(hash, at * HASH_BYTES)
    const tile = tileIn(this.#size, level, BigInt((number - at) / TILE_WIDTH))!
    if (tile.width === at + 1) this.#full.push({ tile, bytes: bytes.subarray(0, tile.width * HASH_BYTES) })
  }

  async #compareTiles(): Promise<void> {
    const full = this.#full
    this.#full = []
    for (const { tile, bytes } of full) {
      const file = await readTile(this.#files, tile, TILE_BYTES)
      const found = tileBytes(tile, file)
      const at = typeof found === 'string' ? 0 : firstDifference(bytes, found)
      if (at === -1) continue
      const seq = (Number(tile.index) * TILE_WIDTH + at) * TILE_WIDTH ** Number(tile.level)
      const [expected, is] =
        typeof found === 'string' ? [`${tile.width} hashes`, found] : [hashHex(hashAt(bytes, at)), hashHex(hashAt(found, at))]
      this.#problem(seq, expected, is, file.path, at * HASH_BYTES)
    }
  }
}

function hashAt(tile: Uint8Array, at: number): Uint8Array {
  return tile.subarray(at * HASH_BYTES, (at + 1) * HASH_BYTES)
}

/** Number of the first hash that differs in two tiles of one length, or -1. */
function firstDifference(a: Uint8Array, b: Uint8Array): number {
  const byte = a.findIndex((each, i) => each !== b[i])
  return byte === -1 ? -1 : Math.floor(byte / HASH_BYTES)
}

function sameHash(a: Uint8Array, b: Uint8Array): boolean {
  return firstDifference(a, b) === -1
}

/** True where the next header was chained to this hash. */
function pointsTo(next: Uint8Array | undefined, hash: Uint8Array): boolean {
  const header = next === undefined ? null : parseHeader(next)
  return header !== null && 'v' in header && header.previous_hash === hashHex(hash)
}

export interface PublishedFindings {
  /** Roots (hex) of the sizes that were asked for, as far as there are any. */
  readonly roots: ReadonlyMap<bigint, string>
  /** That every tile and bundle is there, and is what the headers give. */
  readonly tiles: SubCheck
}

/**
 * Reads the whole log of a checkpoint: each header goes to the verifier, in its order, and so does what is wrong with
 * bundles, tiles and the root.
 */
export async function auditPublished(
  files: PublishedFiles,
  checkpoint: Checkpoint,
  verifier: LedgerVerifier,
  options: PublishedAuditOptions,
): Promise<PublishedFindings> {
  const audit = new PublishedAudit(files, checkpoint.size, verifier, options)
  const root = await audit.run()
  const expected = hashHex(checkpoint.root)
  // Without a leaf there is no root to compare; that it is missing is told already.
  if (root !== null && root !== expected)
    verifier.problem({ code: 'root_mismatch', seq: null, expected, found: root, where: { file: 'checkpoint', byte: 0 } })
  return { roots: audit.roots, tiles: { verdict: audit.differs ? 'fail' : 'pass' } }
}
