/**
 * Publishes a ledger as a static log: `checkpoint`, tiles, and bundles of headers, as files that any web server can
 * serve. No entry leaves. Source: C2SP tlog-tiles v0.1.0; docs/format.md, "The published log".
 *
 * It goes on from what the folder holds, after checking what it builds upon. The same ledger at the same checkpoint
 * gives the same bytes, whatever keeps it, in one step or in many, also where a run was killed in between.
 */
import { parseCheckpoint } from '../verify/checkpoint.ts'
import type { Checkpoint } from '../verify/checkpoint.ts'
import { GENESIS, HEADER_LIMITS } from '../verify/header.ts'
import { parseHeader } from '../verify/header-scan.ts'
import { parseNote } from '../verify/note.ts'
import { checkInclusion, proveInclusion } from '../verify/proof.ts'
import { splitLine } from '../verify/record.ts'
import { encodeText } from '../verify/text.ts'
import type { Tile } from '../verify/tiles.ts'
import { TILE_WIDTH, tileIn, tilePath, tileReader } from '../verify/tiles.ts'
import { emptyRoot, foldRange, HASH_BYTES, hashBytes, hashHex, rangeNodes, TreeEdge } from '../verify/tree.ts'
import { LedgerError } from './errors.ts'
import { nodeHashing } from './hashing.ts'
import { LogFolder } from './log-folder.ts'
import type { Store } from './store.ts'
import { nodeParent } from './tree.ts'

export interface PublishOptions {
  /** Keep partial tiles of earlier checkpoints also where the full tile is there, for readers who don't look for that. */
  readonly keepPartials?: boolean | undefined
  /** Locks the file at this path until the process ends or lets go. @throws LedgerError `locked` where another one has it */
  readonly lock?: ((path: string) => Promise<() => void>) | undefined
  /** Hears now and then up to which size records have been read. */
  readonly onProgress?: ((size: number) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

export interface PublishReport {
  readonly origin: string
  /** Records that are published now. */
  readonly size: number
  /** Root of the tree over them, hex. */
  readonly root: string
  /** Records that were published before; null where nothing was. */
  readonly previous_size: number | null
  /** Files that were put in place. */
  readonly files_written: number
  /** Folders of partial tiles that were removed because the full tile is there. */
  readonly partials_removed: number
}

const TILE_HEIGHT = 8

/** What the folder holds, checked: where to go on. */
interface Published {
  readonly size: number
  readonly edge: TreeEdge
  /** Of each level the hashes of its partial tile. */
  readonly partials: readonly Uint8Array[]
}

/**
 * Writes into `dir` what is missing there of the log of this checkpoint. `store` must hold its records.
 * @throws LedgerError `publish_conflict` where `dir` holds something else, is ahead of the ledger, or contradicts it;
 *   `damaged` where the ledger or the folder is not what it was; `locked`, `disk_full`, `read_only`, `io_error`
 */
export async function publishLog(
  store: Pick<Store, 'read' | 'location'>,
  checkpoint: { readonly note: string },
  dir: string,
  options: PublishOptions = {},
): Promise<PublishReport> {
  const stated = readCheckpoint(encodeText(checkpoint.note))
  if (typeof stated === 'string') throw new LedgerError('damaged', `the ledger's checkpoint can't be read: ${stated}`)
  const folder = new LogFolder(dir)
  const release = await folder.enter(options.lock)
  try {
    const before = await readPublished(folder, stated)
    await new Publication(store, folder, stated, before, options).run()
    await folder.finish(checkpoint.note, options.keepPartials ?? false)
    return {
      origin: stated.origin,
      size: Number(stated.size),
      root: hashHex(stated.root),
      previous_size: before?.size ?? null,
      files_written: folder.written,
      partials_removed: folder.removed,
    }
  } finally {
    await folder.quiet()
    release()
  }
}

function readCheckpoint(bytes: Uint8Array): Checkpoint | string {
  const note = parseNote(bytes)
  return typeof note === 'string' ? note : parseCheckpoint(note.text)
}

/** @throws LedgerError `publish_conflict` | `damaged` */
async function readPublished(folder: LogFolder, stated: Checkpoint): Promise<Published | null> {
  const bytes = await folder.checkpoint()
  if (bytes === null) return null
  const there = readCheckpoint(bytes)
  if (typeof there === 'string') throw folder.damaged(`its checkpoint can't be read, as ${there}`)
  const { origin, size, root } = there
  const conflict = (message: string): LedgerError =>
    new LedgerError('publish_conflict', `${message}. Nothing was changed; give another folder`, {
      location: folder.path,
      origin,
      size: Number(size),
    })
  if (origin !== stated.origin) throw conflict(`${folder.path} is the published log of ${origin}, not of ${stated.origin}`)
  if (size > stated.size)
    throw conflict(`${folder.path} has ${size} records, the ledger's checkpoint ${stated.size}: the ledger was cut, or is an older copy`)
  if (size === stated.size && hashHex(root) !== hashHex(stated.root))
    throw conflict(`${folder.path} contradicts the ledger: both have ${size} records, and other ones`)
  return resume(folder, size, root)
}

/** The tree's edge, and the partial tiles: all that is built upon, and all that the root vouches for. */
async function resume(folder: LogFolder, size: bigint, root: Uint8Array): Promise<Published> {
  const hashes = await readerOf(folder, size).readHashes(rangeNodes(0n, size))
  const found = size === 0n ? emptyRoot(nodeHashing.sha256) : foldRange(nodeParent, hashes)
  if (hashHex(found) !== hashHex(root)) throw folder.damaged('its tiles do not give the root of its checkpoint')
  const partials: Uint8Array[] = []
  for (let level = 0; size >> BigInt(TILE_HEIGHT * level) > 0n; level++) {
    const tile = tileIn(size, level, size >> BigInt(TILE_HEIGHT * (level + 1)))
    partials.push(tile === null ? new Uint8Array(0) : await folder.hashes(tile))
  }
  return { size: Number(size), edge: new TreeEdge(nodeParent, Number(size), hashes), partials }
}

function readerOf(folder: LogFolder, size: bigint): ReturnType<typeof tileReader> {
  return tileReader(nodeParent, size, (tile) => folder.hashes(tile))
}

/** The tile at the end of a level. */
interface OpenTile {
  index: number
  width: number
  readonly bytes: Uint8Array
  /** It has hashes that are not in the folder yet. */
  grown: boolean
}

/** Headers one behind the other, as a bundle has them, in memory that is used again. */
class OpenBundle {
  count = 0
  #bytes = new Uint8Array(128 * 1024)
  #length = 0

  add(header: Uint8Array): void {
    const length = this.#length + 2 + header.length
    if (length > this.#bytes.length) {
      const wide = new Uint8Array(Math.max(length, 2 * this.#bytes.length))
      wide.set(this.#bytes.subarray(0, this.#length))
      this.#bytes = wide
    }
    // What `formatBundle` writes.
    this.#bytes[this.#length] = header.length >> 8
    this.#bytes[this.#length + 1] = header.length & 0xff
    this.#bytes.set(header, this.#length + 2)
    this.#length = length
    this.count++
  }

  /** A copy. */
  bytes(): Uint8Array {
    return this.#bytes.slice(0, this.#length)
  }

  clear(): void {
    this.count = 0
    this.#length = 0
  }
}

/** The number of the bundle, or tile, in which an entry, or hash, of this number is. */
function bundleOf(number: number): number {
  return Math.floor(number / TILE_WIDTH)
}

/** One run over the records that are new. */
class Publication {
  readonly #store: Pick<Store, 'read' | 'location'>
  readonly #folder: LogFolder
  readonly #stated: Checkpoint
  readonly #before: Published | null
  readonly #options: PublishOptions
  readonly #edge: TreeEdge
  readonly #levels: OpenTile[]
  /** Records that were published before. */
  readonly #known: number
  readonly #bundle = new OpenBundle()
  /** 0x00 and the header at hand. */
  readonly #leaf = new Uint8Array(1 + HEADER_LIMITS.header_bytes_max)
  /** What the next record points back to; null where that is not known yet. */
  #previous: string | null = null

  constructor(
    store: Pick<Store, 'read' | 'location'>,
    folder: LogFolder,
    stated: Checkpoint,
    before: Published | null,
    options: PublishOptions,
  ) {
    this.#store = store
    this.#folder = folder
    this.#stated = stated
    this.#before = before
    this.#options = options
    this.#edge = before?.edge ?? new TreeEdge(nodeParent)
    this.#levels = (before?.partials ?? []).map((hashes, level) => {
      const bytes = new Uint8Array(TILE_WIDTH * HASH_BYTES)
      bytes.set(hashes)
      return { index: Math.floor(before!.size / TILE_WIDTH ** (level + 1)), width: hashes.length / HASH_BYTES, bytes, grown: false }
    })
    this.#known = before?.size ?? 0
  }

  async run(): Promise<void> {
    const size = Number(this.#stated.size)
    // From the start of the last bundle that is there: what it builds upon is compared, and a partial one is written anew.
    const from = this.#known === 0 ? 0 : bundleOf(this.#known - 1) * TILE_WIDTH
    let seq = from
    if (from === 0) this.#previous = GENESIS
    for await (const chunk of this.#store.read({ filter: {}, from, before: size, reverse: false, limit: Infinity })) {
      this.#options.signal?.throwIfAborted()
      for (const line of chunk) await this.#take(line, seq++)
      this.#options.onProgress?.(seq)
    }
    if (seq !== size) throw this.#damaged(`its checkpoint speaks of ${size} records, and there are ${seq}`)
    await this.#finish(size)
  }

  #damaged(what: string): LedgerError {
    return new LedgerError(
      'damaged',
      `the ledger at ${this.#store.location} can't be published: ${what}. Run verify to see what is wrong`,
      {
        location: this.#store.location,
      },
    )
  }

  async #take(line: Uint8Array, seq: number): Promise<void> {
    const { header, hash } = this.#headerOf(line, seq)
    this.#bundle.add(header)
    if (seq >= this.#known) this.#edge.append(hash, (level, index, node) => this.#complete(level, index, node))
    else if (seq === this.#known - 1) await this.#compare(this.#before!, seq, hash)
    if ((seq + 1) % TILE_WIDTH === 0) await this.#flush(seq)
  }

  /** The header, good until the next one, after a look whether it is what was hashed, and continues the one before. */
  #headerOf(line: Uint8Array, seq: number): { header: Uint8Array; hash: Uint8Array } {
    const slices = splitLine(line)
    const length = slices === null ? Infinity : slices.header_end - slices.header_start
    if (slices === null || length > HEADER_LIMITS.header_bytes_max) throw this.#damaged(`record ${seq} has not the form of one`)
    this.#leaf.set(line.subarray(slices.header_start, slices.header_end), 1)
    const leaf = this.#leaf.subarray(0, 1 + length)
    const hex = nodeHashing.sha256(leaf)
    const header = parseHeader(leaf, 1)
    if (!('v' in header) || hex !== Buffer.from(line.buffer, line.byteOffset + slices.hash_start, 64).toString('latin1'))
      throw this.#damaged(`record ${seq} is not what was hashed`)
    if (header.seq !== seq || (this.#previous !== null && header.previous_hash !== this.#previous))
      throw this.#damaged(`record ${seq} does not continue the one before`)
    if (seq === 0 && header.actor !== this.#stated.origin)
      throw this.#damaged(`its checkpoint is of ${this.#stated.origin}, and record 0 of ${header.actor}`)
    this.#previous = hex
    return { header: leaf.subarray(1), hash: hashBytes(hex) }
  }

  /**
   * Is what is published the beginning of the ledger? The last record that is there stands for all before it, by the
   * chain. Nothing has been written yet.
   */
  async #compare({ size, edge }: Published, seq: number, hash: Uint8Array): Promise<void> {
    const [at, whole] = [BigInt(seq), BigInt(size)]
    const root = foldRange(nodeParent, edge.hashes)
    const path = await proveInclusion(nodeParent, readerOf(this.#folder, whole), at, whole)
    if (checkInclusion(nodeParent, at, whole, hash, root, path) !== null)
      throw new LedgerError(
        'publish_conflict',
        `${this.#folder.path} contradicts the ledger: record ${seq} there is another one. Nothing was changed; run verify on both`,
        { location: this.#folder.path, seq },
      )
    const tile = tileIn(whole, 'entries', BigInt(bundleOf(seq)))!
    const found = await this.#folder.read(tile)
    const bundle = this.#bundle.bytes()
    // A full bundle in place of a partial one, of a run that did not come to its end, begins with the same bytes.
    const there = found?.isFull === true ? found.bytes.subarray(0, bundle.length) : found?.bytes
    if (there === undefined || Buffer.compare(there, bundle) !== 0)
      throw this.#folder.damaged(`${tilePath(tile)} is not what the ledger gives`)
  }

  /** A perfect subtree: every eighth level is one of tiles. */
  #complete(level: number, number: number, hash: Uint8Array): void {
    if (level % TILE_HEIGHT !== 0) return
    const at = level / TILE_HEIGHT
    const open = (this.#levels[at] ??= { index: bundleOf(number), width: 0, bytes: new Uint8Array(TILE_WIDTH * HASH_BYTES), grown: false })
    open.bytes.set(hash, open.width * HASH_BYTES)
    open.width++
    open.grown = true
  }

  /** Writes what is full: at every border of a bundle, so a tile is written before its next hash comes. */
  async #flush(seq: number): Promise<void> {
    if (seq >= this.#known) await this.#put('entries', bundleOf(seq), this.#bundle.bytes(), TILE_WIDTH)
    this.#bundle.clear()
    for (const [level, open] of this.#levels.entries()) {
      if (open.width < TILE_WIDTH) continue
      await this.#put(level, open.index++, open.bytes.slice(), TILE_WIDTH)
      open.width = 0
      open.grown = false
    }
  }

  #put(level: Tile['level'], index: number, bytes: Uint8Array, width: number): Promise<void> {
    return this.#folder.put({ level, index: BigInt(index), width }, bytes)
  }

  /** The partial ones, once it is sure that the records are those of the checkpoint. */
  async #finish(size: number): Promise<void> {
    const found = this.#edge.root() ?? emptyRoot(nodeHashing.sha256)
    if (hashHex(found) !== hashHex(this.#stated.root)) throw this.#damaged('its records do not give the root of its checkpoint')
    const { count } = this.#bundle
    if (size > this.#known && count > 0) await this.#put('entries', bundleOf(size), this.#bundle.bytes(), count)
    for (const [level, { index, width, bytes, grown }] of this.#levels.entries()) {
      if (grown) await this.#put(level, index, bytes.slice(0, width * HASH_BYTES), width)
    }
  }
}
