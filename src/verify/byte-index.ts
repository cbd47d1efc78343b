/**
 * Numbers byte strings in the order in which they first come: which ids were there before. A `Map` of strings takes
 * three times the memory and has to make a string of every id; this keeps the bytes themselves, so it is exact.
 */
import { sameBytes } from './bytes.ts'

const SLOTS_MIN = 1024
/** Bytes an id may take on average before there is no more room. */
const ID_BYTES_MEAN_MAX = 128

export class ByteIndex {
  /** How many different ids there are. */
  size = 0
  readonly #idsMax: number
  readonly #bytesMax: number
  // A number from chance decides where ids fall, so nobody can prepare ids that all fall into one place.
  readonly #seed = (Math.random() * 0x1_0000_0000) | 1
  #arena = new Uint8Array(SLOTS_MIN * 16)
  #used = 0
  /** Where each id ends in the arena; it starts where the one before ends. */
  #ends = new Uint32Array(SLOTS_MIN / 2)
  #hashes = new Int32Array(SLOTS_MIN / 2)
  /** Number of an id plus one, or 0; at most half of them taken. */
  #slots = new Int32Array(SLOTS_MIN)

  constructor(idsMax: number) {
    this.#idsMax = Math.min(idsMax, 0x1000_0000)
    this.#bytesMax = Math.min(this.#idsMax * ID_BYTES_MEAN_MAX, 0xffff_fff0)
  }

  /** The number of the id, which is `size` before the call where it is new; -1 where it is new and there is no more room. */
  add(bytes: Uint8Array, start: number, end: number): number {
    const hash = this.#hash(bytes, start, end)
    const mask = this.#slots.length - 1
    let slot = hash & mask
    for (;;) {
      const number = this.#slots[slot]! - 1
      if (number === -1) break
      if (this.#hashes[number] === hash) {
        const from = number === 0 ? 0 : this.#ends[number - 1]!
        if (sameBytes(bytes, start, end, this.#arena, from, this.#ends[number]!)) return number
      }
      slot = (slot + 1) & mask
    }
    return this.#insert(bytes, start, end, hash, slot)
  }

  #insert(bytes: Uint8Array, start: number, end: number, hash: number, slot: number): number {
    const used = this.#used + end - start
    if (this.size >= this.#idsMax || used > this.#bytesMax) return -1
    if (used > this.#arena.length)
      this.#arena = grown(this.#arena, Uint8Array, Math.min(Math.max(used, this.#arena.length * 2), this.#bytesMax))
    for (let from = start, to = this.#used; from < end; from++, to++) this.#arena[to] = bytes[from]!
    this.#used = used
    const number = this.size++
    this.#ends[number] = used
    this.#hashes[number] = hash
    this.#slots[slot] = number + 1
    if (this.size * 2 === this.#slots.length) this.#widen()
    return number
  }

  #widen(): void {
    const length = this.#slots.length * 2
    this.#ends = grown(this.#ends, Uint32Array, length / 2)
    this.#hashes = grown(this.#hashes, Int32Array, length / 2)
    const slots = new Int32Array(length)
    for (let number = 0; number < this.size; number++) {
      let slot = this.#hashes[number]! & (length - 1)
      while (slots[slot] !== 0) slot = (slot + 1) & (length - 1)
      slots[slot] = number + 1
    }
    this.#slots = slots
  }

  #hash(bytes: Uint8Array, start: number, end: number): number {
    const seed = this.#seed
    let hash = seed
    for (let at = start; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, seed ^ 0x5bd1e994) + (hash >>> 15)
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
    return hash ^ (hash >>> 13)
  }
}

function grown<T extends Uint8Array | Uint32Array | Int32Array | Float64Array>(
  from: T,
  make: new (length: number) => T,
  length: number,
): T {
  const to = new make(length)
  to.set(from)
  return to
}
