/**
 * Ids that are too many for memory, kept outside until the end. They are dealt out by a hash to many piles, so that
 * all entries of one id lie in one pile, in the order in which they came, and each pile can be looked at by itself.
 */
import { Memory } from './bytes.ts'
import type { Place } from './problems.ts'

/** Room outside memory, such as a temporary file. The caller makes it and clears it away. */
export interface TemporarySpace {
  /** Keeps these bytes behind those before. They may be changed afterwards. @throws Error where there is no room */
  write(bytes: Uint8Array): void
  /** Fills `into` with what lies from this position on. @throws Error where it can't be read */
  read(position: number, into: Uint8Array): void
}

/** One record's id, and what is asked about it; an object that is used again. */
export interface IdEntry {
  memory: Memory
  /** The id's bytes as they stand in the header, without quotes: offsets of the memory. */
  start: number
  end: number
  /** Position of the record; -1 for what was known before there was no more room in memory. */
  seq: number
  place: Place
  /** Of streams: the version, and how often the order was disturbed before it. */
  version: number
  disturbances: number
}

const PILES = 256
const CHUNK_BYTES = 16 * 1024
/** Bytes of a pile that are looked at together; of a larger one a part of the ids, and it is gone through again. */
const PART_BYTES = 8 * 1024 * 1024
/** The length of an id in its entry, and where it lies in it. */
const ID_AT = 38
/** A chunk begins with how much of it is used. */
const CHUNK_HEAD = 4

export function idSeed(): number {
  return (Math.random() * 0x1_0000_0000) | 1
}

/** Where the entries of a log lie in its room, once nothing more comes. */
export interface IdLogState {
  /** Of each pile's chunks. */
  readonly positions: readonly (readonly number[])[]
  readonly files: readonly (string | null)[]
}

export class IdLog {
  /** Why it can't be gone on with, or null. */
  failure: string | null = null
  readonly #space: TemporarySpace
  readonly #partBytes: number
  readonly #seed: number
  /** The chunk of each pile that is being filled. */
  readonly #chunks = new Uint8Array(PILES * CHUNK_BYTES)
  readonly #data = new DataView(this.#chunks.buffer)
  readonly #used = new Int32Array(PILES).fill(CHUNK_HEAD)
  /** Where the full chunks of each pile lie. */
  readonly #positions: number[][] = Array.from({ length: PILES }, () => [])
  /** What others wrote, to be looked at behind it. */
  readonly #others: { readonly space: TemporarySpace; readonly state: IdLogState }[] = []
  #size = 0
  readonly #files: (string | null)[] = []

  /** @param seed from chance, so that nobody can prepare ids that all fall on one pile; logs that are joined have the same */
  constructor(space: TemporarySpace, partBytes = PART_BYTES, seed = idSeed()) {
    this.#space = space
    this.#seed = seed
    this.#partBytes = partBytes
  }

  add(entry: IdEntry): void {
    if (this.failure !== null) return
    const { memory, start, end, place } = entry
    const pile = this.#hash(memory, start, end) & (PILES - 1)
    if (this.#used[pile]! + ID_AT + end - start > CHUNK_BYTES) this.#put(pile)
    const at = pile * CHUNK_BYTES + this.#used[pile]!
    if (this.#files.at(-1) !== place.file) this.#files.push(place.file)
    const data = this.#data
    data.setUint16(at, end - start, true)
    data.setUint32(at + 2, this.#files.length - 1, true)
    data.setFloat64(at + 6, entry.seq, true)
    data.setFloat64(at + 14, place.position, true)
    data.setFloat64(at + 22, entry.version, true)
    data.setFloat64(at + 30, entry.disturbances, true)
    for (let i = start, to = at + ID_AT; i < end; i++, to++) this.#chunks[to] = memory.bytes[i]!
    this.#used[pile]! += ID_AT + end - start
  }

  /** Puts all outside, and tells where it lies. Nothing can be added afterwards. */
  seal(): IdLogState {
    for (let pile = 0; pile < PILES; pile++) if (this.failure === null && this.#used[pile]! > CHUNK_HEAD) this.#put(pile)
    return { positions: this.#positions, files: this.#files }
  }

  /** What another log with the same seed has sealed comes behind this one's entries. */
  absorb(space: TemporarySpace, state: IdLogState): void {
    this.#others.push({ space, state })
  }

  /**
   * Hands all entries back, part by part: `begin` before each part, then `take` for each of its entries. All entries of
   * an id are in one part, in their order. It stops between the parts. The entry is good until `take` returns.
   */
  *replay(begin: () => void, take: (entry: IdEntry) => void): Generator<void, void, undefined> {
    const logs = [{ space: this.#space, state: this.seal() }, ...this.#others]
    for (let pile = 0; pile < PILES; pile++) {
      const chunks = logs.reduce((sum, { state }) => sum + (state.positions[pile]?.length ?? 0), 0)
      const parts = Math.ceil((chunks * CHUNK_BYTES) / this.#partBytes)
      for (let part = 0; part < parts && this.failure === null; part++) {
        begin()
        for (const { space, state } of logs) this.#takePart(space, state, pile, part, parts, take)
        yield
      }
    }
  }

  #takePart(
    space: TemporarySpace,
    { positions, files }: IdLogState,
    pile: number,
    part: number,
    parts: number,
    take: (entry: IdEntry) => void,
  ): void {
    const memory = new Memory()
    const chunk = new Uint8Array(CHUNK_BYTES)
    memory.view(chunk)
    const { data } = memory
    for (const position of positions[pile] ?? []) {
      if (!this.#attempt(() => space.read(position, chunk))) return
      const used = data.getUint32(0, true)
      for (let at = CHUNK_HEAD; at < used; at += ID_AT + data.getUint16(at, true)) {
        const [start, end] = [at + ID_AT, at + ID_AT + data.getUint16(at, true)]
        if (parts > 1 && (this.#hash(memory, start, end) >>> 8) % parts !== part) continue
        take({
          memory,
          start,
          end,
          seq: data.getFloat64(at + 6, true),
          place: { file: files[data.getUint32(at + 2, true)]!, position: data.getFloat64(at + 14, true) },
          version: data.getFloat64(at + 22, true),
          disturbances: data.getFloat64(at + 30, true),
        })
      }
    }
  }

  /** The pile's chunk goes outside. */
  #put(pile: number): void {
    const start = pile * CHUNK_BYTES
    this.#data.setUint32(start, this.#used[pile]!, true)
    this.#used[pile] = CHUNK_HEAD
    this.#positions[pile]!.push(this.#size)
    this.#size += CHUNK_BYTES
    this.#attempt(() => this.#space.write(this.#chunks.subarray(start, start + CHUNK_BYTES)))
  }

  #attempt(work: () => void): boolean {
    try {
      work()
    } catch (error) {
      this.failure = error instanceof Error ? error.message : String(error)
    }
    return this.failure === null
  }

  #hash({ bytes }: Memory, start: number, end: number): number {
    let hash = this.#seed
    for (let at = start; at < end; at++) {
      hash = Math.imul(hash ^ bytes[at]!, 0x01000193 ^ (this.#seed & 0xfff00))
      hash ^= hash >>> 15
    }
    hash = Math.imul(hash, 0x85ebca6b)
    return (hash ^ (hash >>> 13)) >>> 0
  }
}
