/**
 * The Merkle tree of a ledger, kept beside its records (`Store.tree`). It follows from them, so nothing that is kept is
 * trusted: each root is compared with the edge that was computed from records, each proof is checked before it leaves,
 * and what does not fit is computed anew from the records. Source: RFC 6962, section 2.1; C2SP tlog-tiles.
 */
import { hash } from 'node:crypto'
import { checkConsistency, checkInclusion, proveConsistency, proveInclusion, readRoot } from '../verify/proof.ts'
import type { HashReader } from '../verify/proof.ts'
import { splitLine } from '../verify/record.ts'
import { headerHash } from '../verify/hash.ts'
import { emptyRoot, HASH_BYTES, hashBytes, hashHex, TreeEdge } from '../verify/tree.ts'
import type { ParentHash } from '../verify/tree.ts'
import { LedgerError } from './errors.ts'
import { nodeHashing } from './hashing.ts'
import type { SealedRecord, Store, StoreState, TreeFiles } from './store.ts'
import { TileNodes } from './tile-nodes.ts'

const TILE_HEIGHT = 8
const TILE_WIDTH = 256
/** Hashes that are kept in memory before they are put with the others: half a MiB. */
const UNWRITTEN_MAX = 16_384
/** Records that wait while older ones are read; more of them are read later. */
const WAITING_MAX = 20_000
/** Room for so many hashes at first. */
const HASHES_MIN = 32
/** So many records more than at the last time make it worth noting where the tree stands. */
const NOTED_MIN = 512
/** Records that are taken in one go before others have their turn: about a millisecond. */
const SLICE_RECORDS = 256

const NODE = new Uint8Array(1 + 2 * HASH_BYTES)
NODE[0] = 0x01

/** SHA-256( 0x01 ‖ left ‖ right ) by the native hash. As a string of one byte a character: a `Buffer` takes three times as long. */
export const nodeParent: ParentHash = (left, right) => {
  NODE.set(left, 1)
  NODE.set(right, 1 + HASH_BYTES)
  const digits = hash('sha256', NODE, 'binary')
  const bytes = new Uint8Array(HASH_BYTES)
  for (let i = 0; i < HASH_BYTES; i++) bytes[i] = digits.charCodeAt(i)
  return bytes
}

const turnOfTheLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** The hashes of one level of tiles that are not with the others yet. */
class Unwritten {
  /** Number of the first of them in its level. */
  first: number
  #count = 0
  #bytes = new Uint8Array(0)

  constructor(first: number) {
    this.first = first
  }

  push(node: Uint8Array): void {
    const end = this.#count * HASH_BYTES
    if (end === this.#bytes.length) {
      const wide = new Uint8Array(Math.max(2 * end, HASHES_MIN * HASH_BYTES))
      wide.set(this.#bytes)
      this.#bytes = wide
    }
    this.#bytes.set(node, end)
    this.#count++
  }

  /** A copy of those from number `from` up to and without number `before`, as far as they are here. */
  copy(from: number, before: number): Uint8Array {
    const [start, end] = [Math.max(from - this.first, 0), Math.min(before - this.first, this.#count)]
    return this.#bytes.slice(start * HASH_BYTES, Math.max(start, end) * HASH_BYTES)
  }

  /** Those before this number are elsewhere now. */
  drop(before: number): void {
    const count = before - this.first
    this.#bytes = this.#bytes.slice(count * HASH_BYTES, this.#count * HASH_BYTES)
    this.#count -= count
    this.first = before
  }
}

/** Where the tree stands: its size and its edge. With a digest, since nothing of it is synced. */
function formatState(size: number, hashes: readonly Uint8Array[]): string {
  const body = JSON.stringify({ size, edge: hashes.map(hashHex) })
  return `${body}\n${hash('sha256', body, 'hex')}\n`
}

function parseState(text: string | null): TreeEdge {
  const [body = '', digest] = (text ?? '').split('\n')
  if (text === null || digest !== hash('sha256', body, 'hex')) return new TreeEdge(nodeParent)
  try {
    const { size, edge } = JSON.parse(body) as { size: number; edge: string[] }
    return new TreeEdge(nodeParent, size, edge.map(hashBytes))
  } catch {
    return new TreeEdge(nodeParent)
  }
}

export class LedgerTree {
  readonly #store: Store
  readonly #files: TreeFiles
  #edge: TreeEdge | null = null
  #levels: Unwritten[] = []
  #unwritten = 0
  #noted = 0
  #writing: Promise<void> | null = null
  #catching: Promise<void> | null = null
  /** The files take nothing: the disk is full, or this process may only read. What is new stays in memory. */
  #isHomeless: boolean
  /** A record can't be taken: it is not tried again for each new one, only where somebody asks. */
  #isStuck = false
  /** Records that came while older ones were read. */
  #waiting: SealedRecord[] = []
  #isClosed = false
  readonly #nodes = new TileNodes(nodeParent, (level, first, count) => this.#readHashes(level, first, count))
  /** Roots of other sizes that were found to be those of this tree. */
  readonly #roots = new Map<number, Uint8Array>()

  constructor(store: Store) {
    this.#store = store
    this.#files = store.tree
    this.#isHomeless = store.readOnly
  }

  /** Records that are in the tree. */
  get size(): number {
    return this.#edge?.size ?? 0
  }

  async #opened(): Promise<TreeEdge> {
    if (this.#edge !== null) return this.#edge
    const edge = parseState(await this.#files.readText('state'))
    if (this.#edge !== null) return this.#edge
    this.#begin(edge)
    return edge
  }

  #begin(edge: TreeEdge): void {
    this.#edge = edge
    this.#noted = edge.size
    this.#levels = []
    this.#unwritten = 0
    this.#roots.clear()
    this.#nodes.forget()
    for (let kept = edge.size; kept > 0; kept = Math.floor(kept / TILE_WIDTH)) this.#levels.push(new Unwritten(kept))
  }

  readonly #completed = (level: number, index: number, node: Uint8Array): void => {
    if (level % TILE_HEIGHT !== 0) return
    ;(this.#levels[level / TILE_HEIGHT] ??= new Unwritten(index)).push(node)
    this.#unwritten++
  }

  /** Takes records that have just become durable. Those it can't take yet it reads later. */
  follow(records: readonly SealedRecord[]): void {
    const edge = this.#edge
    const first = records[0]
    if (first === undefined) return
    if (edge === null || edge.size !== first.header.seq || this.#catching !== null) {
      if (this.#isStuck) return
      // Others have written in between. Where many write, each would read what all others wrote: it is read when it is needed.
      if (this.#store.takeTurn !== undefined && edge !== null && edge.size < first.header.seq && this.#catching === null) return
      // What comes while older records are read waits for them: reading it as well, one would never catch up.
      if (this.#waiting.length >= WAITING_MAX || this.#waiting.at(-1)?.header.seq !== first.header.seq - 1) this.#waiting = []
      this.#waiting.push(...records)
      if (this.#catching === null)
        void this.catchUp(first.header.seq)
          .then(() => this.#takeWaiting())
          .catch(() => (this.#isStuck = true))
      return
    }
    for (const record of records) edge.append(hashBytes(record.hash), this.#completed)
    if (this.#unwritten >= UNWRITTEN_MAX) void this.#write().catch(() => {})
  }

  #takeWaiting(): void {
    const edge = this.#edge
    const waiting = this.#waiting
    this.#waiting = []
    if (edge === null || this.#catching !== null) return
    const known = edge.size - (waiting[0]?.header.seq ?? 0)
    if (known >= 0) for (const record of waiting.slice(known)) edge.append(hashBytes(record.hash), this.#completed)
  }

  /**
   * Resolves when the first `size` records are in the tree; all that the ledger has now, where no size is said.
   * @throws LedgerError `damaged` where a record is not what was hashed; `io_error`
   * @throws RangeError where the ledger has not so many
   */
  async catchUp(size?: number): Promise<void> {
    const edge = await this.#opened()
    if (size !== undefined && size <= edge.size) return
    const { head } = await this.#end(size)
    const wanted = size ?? head.size
    if (wanted > head.size) throw new RangeError(`the ledger has ${head.size} records, not ${wanted}`)
    while ((this.#edge ?? edge).size < wanted) {
      this.#catching ??= this.#readOn(wanted).finally(() => (this.#catching = null))
      await this.#catching
    }
  }

  /** All that there is now may be signed, so it has to be durable: a record that is seen and then lost would make two histories. */
  #end(size: number | undefined): Promise<StoreState> {
    const store = this.#store
    const nothing = { streams: [], run_ids: [] }
    if (size !== undefined || store.readOnly || store.confirmedState === undefined) return store.state(nothing)
    return store.confirmedState(nothing)
  }

  async #readOn(before: number): Promise<void> {
    const edge = await this.#opened()
    const from = edge.size
    let taken = 0
    const store = this.#store
    const lines = store.readHeaders?.(from, before) ?? store.read({ filter: {}, from, before, reverse: false, limit: Infinity })
    for await (const chunk of lines) {
      for (const line of chunk) {
        edge.append(leafOf(line, edge.size), this.#completed)
        if (++taken % SLICE_RECORDS === 0) await turnOfTheLoop()
        if (this.#isClosed) throw new LedgerError('closed', 'the ledger was closed while its tree was made; it goes on at the next opening')
      }
      if (this.#unwritten >= UNWRITTEN_MAX) await this.#write()
    }
    if (edge.size === from)
      throw new LedgerError('damaged', `records from position ${from} on can't be read: run verify to see what is wrong with the ledger`)
  }

  /** Puts what is new with the others. Failing is no harm: it is kept here, and tried again. */
  #write(): Promise<void> {
    if (this.#isHomeless) return Promise.resolve()
    this.#writing ??= this.#writeAll().finally(() => (this.#writing = null))
    return this.#writing
  }

  async #writeAll(): Promise<void> {
    const edge = this.#edge
    if (edge === null) return
    const state = formatState(edge.size, edge.hashes)
    const size = edge.size
    const levels = this.#levels
    const parts = levels.map((level) => ({ first: level.first, bytes: level.copy(level.first, Infinity) }))
    this.#unwritten = 0
    try {
      for (const [level, { first, bytes }] of parts.entries()) if (bytes.length > 0) await this.#files.write(level, first, bytes)
      await this.#files.writeText('state', state)
    } catch (error) {
      if (!(error instanceof LedgerError)) throw error
      this.#isHomeless = error.code === 'read_only'
      return
    }
    if (edge !== this.#edge) return
    this.#noted = size
    for (const [level, { first, bytes }] of parts.entries()) levels[level]?.drop(first + bytes.length / HASH_BYTES)
  }

  /** Notes where the tree stands, so that the next to open it need not read the records again. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#catching?.catch(() => {})
    await this.#writing
    if (this.#edge !== null && this.#edge.size - this.#noted >= NOTED_MIN) await this.#write()
  }

  async #readHashes(level: number, first: number, count: number): Promise<Uint8Array> {
    const unwritten = this.#levels[level]
    const there = unwritten === undefined ? count : Math.max(0, Math.min(first + count, unwritten.first) - first)
    // Taken before anything is awaited: what is written meanwhile leaves this list.
    const behind = unwritten?.copy(first, first + count) ?? new Uint8Array(0)
    const kept = unwritten !== undefined && there === 0 ? new Uint8Array(0) : await this.#files.read(level, first, there)
    const bytes = Buffer.concat([kept, behind])
    if (bytes.length !== count * HASH_BYTES) throw new TreeFault(`level ${level} of the tree has no hashes ${first} to ${first + count}`)
    return bytes
  }

  /** The hashes of perfect subtrees of the tree over the first `size` records, which must be in it. They are as they were kept. */
  reader(size: number): HashReader {
    return this.#nodes.reader(size)
  }

  /** `work`, and once more over a tree that was computed anew, where what was kept is not what the records give. */
  async #sound<T>(size: number, work: () => Promise<T>): Promise<T> {
    await this.catchUp(size)
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof TreeFault || error instanceof RangeError)) throw error
      await this.rebuild(size)
    }
    return work()
  }

  /** Computes the tree anew from the records. */
  async rebuild(size?: number): Promise<void> {
    await this.#catching?.catch(() => {})
    await this.#writing
    if (!this.#isHomeless) await this.#files.clear()
    // A process that may only read must not take what others keep: it has all in memory then.
    this.#begin(new TreeEdge(nodeParent))
    await this.catchUp(size)
  }

  /** The root of the tree over the first `size` records. @throws RangeError beyond the ledger's end */
  root(size: number): Promise<Uint8Array> {
    return this.#sound(size, () => this.#rootOf(size))
  }

  async #rootOf(size: number): Promise<Uint8Array> {
    const edge = this.#edge as TreeEdge
    if (size === 0) return emptyRoot(nodeHashing.sha256)
    if (size === edge.size) return edge.root() as Uint8Array
    const known = this.#roots.get(size)
    if (known !== undefined) return known
    // The edge is of records that were read: what leads to its root is of them, too.
    const whole = edge.size
    const wholeRoot = edge.root() as Uint8Array
    const reader = this.reader(whole)
    const root = await readRoot(nodeParent, reader, BigInt(size))
    const proof = await proveConsistency(nodeParent, reader, BigInt(size), BigInt(whole))
    const fault = checkConsistency(nodeParent, BigInt(size), BigInt(whole), root, wholeRoot, proof)
    if (fault !== null) throw new TreeFault(fault)
    if (this.#roots.size >= 64) this.#roots.clear()
    this.#roots.set(size, root)
    return root
  }

  /** The path from the record at `seq` to the root over the first `size` records, checked. */
  async inclusion(seq: number, size: number): Promise<Uint8Array[]> {
    if (!(seq >= 0 && seq < size)) throw new RangeError(`record ${seq} is not among the first ${size}`)
    return this.#sound(size, async () => {
      const root = await this.#rootOf(size)
      const path = await proveInclusion(nodeParent, this.reader(size), BigInt(seq), BigInt(size))
      const [leaf] = await this.reader(size).readHashes([{ level: 0, index: BigInt(seq) }])
      const fault = checkInclusion(nodeParent, BigInt(seq), BigInt(size), leaf!, root, path)
      if (fault !== null) throw new TreeFault(fault)
      return path
    })
  }

  /** That the first `oldSize` records are the beginning of the first `size`, checked. */
  async consistency(oldSize: number, size: number): Promise<Uint8Array[]> {
    if (!(oldSize >= 0 && oldSize <= size)) throw new RangeError(`a tree of ${size} records was never one of ${oldSize}`)
    return this.#sound(size, async () => {
      const [oldRoot, root] = [await this.#rootOf(oldSize), await this.#rootOf(size)]
      const proof = await proveConsistency(nodeParent, this.reader(size), BigInt(oldSize), BigInt(size))
      const fault = checkConsistency(nodeParent, BigInt(oldSize), BigInt(size), oldRoot, root, proof)
      if (fault !== null) throw new TreeFault(fault)
      return proof
    })
  }
}

/** What was kept is not what the records give. */
class TreeFault extends Error {
  override readonly name = 'TreeFault'
}

/** The hash of a record as it is now, which must be the one that it states. @throws LedgerError `damaged` */
function leafOf(line: Uint8Array, seq: number): Uint8Array {
  const slices = splitLine(line)
  if (slices !== null) {
    const computed = headerHash(nodeHashing.sha256, line.subarray(slices.header_start, slices.header_end))
    if (computed === Buffer.from(line.subarray(slices.hash_start, slices.hash_end)).toString('latin1')) return hashBytes(computed)
  }
  throw new LedgerError('damaged', `the record at position ${seq} is not what was hashed, so no tree can be made of it: run verify`, {
    seq,
  })
}
