/**
 * Numbers byte strings in the order in which they first come: which ids were there before. A `Map` of strings takes
 * three times the memory and has to make a string of every id; this keeps the bytes themselves, so it is exact.
 */
import { Memory } from './bytes.ts'

const SLOTS_MIN = 256
/** Words that an id may take on average before there is no more room. */
const ID_WORDS_MEAN_MAX = 32

/** No string of a header is longer, escapes counted. */
const LONG_ID_BYTES = 2048

/** Ids without a byte of 0x00, which fills their last word. */
export class ByteIndex {
  /** How many different ids there are. */
  size = 0
  readonly #idsMax: number
  readonly #wordsMax: number
  // A number from chance decides where ids fall, so nobody can prepare ids that all fall into one place.
  readonly #seed = (Math.random() * 0x1_0000_0000) | 1
  /** The words of all ids, one behind the other; then those of the id at hand. */
  #arena = new Int32Array(SLOTS_MIN * 4)
  #used = 0
  /** Where each id ends in the arena; it starts where the one before ends. */
  #ends = new Uint32Array(SLOTS_MIN / 2)
  #hashes = new Int32Array(SLOTS_MIN / 2)
  /** Number of an id plus one, or 0; at most half of them taken. */
  #slots = new Int32Array(SLOTS_MIN)
  constructor(idsMax: number) {
    this.#idsMax = Math.min(idsMax, 0x1000_0000)
    this.#wordsMax = Math.min(this.#idsMax * ID_WORDS_MEAN_MAX, 0x3fff_ffff)
  }

  /**
   * The number of the id between these offsets of the memory, which is `size` before the call where it is new; -1 where
   * it is new and there is no more room.
   */
  add(memory: Memory, start: number, end: number): number {
    const length = (end - start + 3) >> 2
    const hash = this.#read(memory, start, end, length)
    const mask = this.#slots.length - 1
    let slot = hash & mask
    for (;;) {
      const number = this.#slots[slot]! - 1
      if (number === -1) return this.#insert(length, hash, slot)
      if (this.#hashes[number] === hash && this.#isId(number, length)) return number
      slot = (slot + 1) & mask
    }
  }

  /** Takes the id behind those that are kept, word by word, and gives its hash. */
  #read(memory: Memory, start: number, end: number, length: number): number {
    const used = this.#used
    if (used + length > this.#arena.length) {
      this.#arena = grown(this.#arena, Int32Array, Math.max(used + length, Math.min(this.#arena.length * 2, this.#wordsMax)))
    }
    const { bytes, data } = memory
    const arena = this.#arena
    const seed = this.#seed
    const multiplier = seed ^ 0x5bd1e994
    const isCovered = start + length * 4 <= memory.size
    let hash = seed
    for (let i = 0, at = start; i < length; i++, at += 4) {
      let word: number
      if (isCovered) {
        word = data.getInt32(at, true)
        // What is behind the id in its last word is not of it.
        if (at + 4 > end) word &= (1 << ((end - at) << 3)) - 1
      } else {
        word = 0
        for (let j = Math.min(end - at, 4) - 1; j >= 0; j--) word = (word << 8) | bytes[at + j]!
      }
      arena[used + i] = word
      hash = Math.imul(hash ^ word, multiplier)
      hash ^= hash >>> 15
    }
    hash = Math.imul(hash, 0x85ebca6b)
    return hash ^ (hash >>> 13)
  }

  /** True where the id at hand is that of this number. */
  #isId(number: number, length: number): boolean {
    const arena = this.#arena
    const start = number === 0 ? 0 : this.#ends[number - 1]!
    if (this.#ends[number]! - start !== length) return false
    for (let i = 0, at = this.#used; i < length; i++, at++) if (arena[start + i] !== arena[at]) return false
    return true
  }

  /** Keeps the id at hand. */
  #insert(length: number, hash: number, slot: number): number {
    const used = this.#used + length
    if (this.size >= this.#idsMax || used > this.#wordsMax) return -1
    this.#used = used
    const number = this.size++
    this.#ends[number] = used
    this.#hashes[number] = hash
    this.#slots[slot] = number + 1
    if (this.size * 2 === this.#slots.length) this.#widen()
    return number
  }

  /** Hands over each id, in the order of the numbers; the memory is good until `take` returns. */
  each(take: (memory: Memory, start: number, end: number, number: number) => void): void {
    const bytes = new Uint8Array(LONG_ID_BYTES)
    const memory = new Memory()
    memory.view(bytes)
    for (let number = 0; number < this.size; number++) {
      let end = 0
      for (let i = number === 0 ? 0 : this.#ends[number - 1]!; i < this.#ends[number]!; i++, end += 4) {
        memory.data.setInt32(end, this.#arena[i]!, true)
      }
      while (bytes[end - 1] === 0) end--
      take(memory, 0, end, number)
    }
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
}

function grown<T extends Uint32Array | Int32Array>(from: T, make: new (length: number) => T, length: number): T {
  const to = new make(length)
  to.set(from)
  return to
}
