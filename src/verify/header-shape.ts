/**
 * The fast way through a header: most have the same keys as one shortly before. What stands between two values is then
 * what stood there before, so it is compared, eight bytes at a time, and only values are read. It says yes or nothing:
 * whatever it does not know is left to `HeaderScan`, which has the whole grammar. One flat loop that calls as little as
 * it can: it takes 0.3 µs for 470 bytes and 15 keys, the whole grammar 0.9 µs (Node 24).
 */
import { CLOSE_OBJECT, printableStandsAt, QUOTE, skipPlain } from './bytes.ts'
import type { Memory } from './bytes.ts'
import { HASH, INTEGER, KEY_COUNT, KINDS, LIST, OUTCOME, PREVIOUS, STRING, TIME } from './header-grammar.ts'
import { outcomeEnd, readInteger, TIME_LENGTH, timeStandsAt } from './header-values.ts'
import { HEADER_LIMITS } from './header.ts'

/** More than the names of all keys have together, with quotes, colons and commas. */
const TEXT_BYTES = 512
const HASH_LENGTH = 64

/** Where a header's values lie: see `HeaderScan`. */
export interface HeaderFields {
  readonly starts: Int32Array
  readonly ends: Int32Array
  readonly numbers: Float64Array
}

/** Behind the array of strings at this offset, or -1. `key`: its number. */
export type ListReader = (at: number, key: number) => number

export class HeaderShape {
  /** How many keys; 0 before anything was learnt. */
  #count = 0
  /** The numbers of the keys that are there, and of those that are not. */
  readonly #keys = new Uint8Array(KEY_COUNT)
  readonly #absent: number[] = []
  /** The text before each value, one behind the other: where each ends. */
  readonly #textEnds = new Int32Array(KEY_COUNT)
  readonly #bytes = new Uint8Array(TEXT_BYTES)
  readonly #text = new DataView(this.#bytes.buffer)

  /** Takes the shape of a header that starts at `start`, has no unknown keys, and was read into the fields. */
  learn(memory: Memory, start: number, { starts, ends }: HeaderFields): void {
    this.#count = 0
    this.#absent.length = 0
    let length = 0
    let at = start
    for (let key = 0; key < KEY_COUNT; key++) {
      if (starts[key] === -1) {
        this.#absent.push(key)
        continue
      }
      while (at < start + starts[key]!) this.#bytes[length++] = memory.bytes[at++]!
      at = start + ends[key]!
      this.#keys[this.#count] = key
      this.#textEnds[this.#count++] = length
    }
  }

  /**
   * From the `{` to behind the `}`, values noted in the fields; -1 where the header has another shape, a string in it
   * is not plain ASCII, or it breaks a rule. Hashes are not looked at: that their 64 bytes are hex digits is left to
   * the caller. Any bytes behind the header may be read.
   */
  read(memory: Memory, start: number, { starts, ends, numbers }: HeaderFields, readList: ListReader): number {
    const { bytes } = memory
    const keys = this.#keys
    const textEnds = this.#textEnds
    const text = this.#text
    const count = this.#count
    let at = start
    let textStart = 0
    for (let i = 0; i < count; i++) {
      const length = textEnds[i]! - textStart
      if (!printableStandsAt(memory, at, text, textStart, length)) return -1
      textStart += length
      at += length
      const key = keys[i]!
      const from = at
      switch (KINDS[key]) {
        case STRING:
          at = skipPlain(memory, at)
          if (at === from || at - from > HEADER_LIMITS.string_bytes_max || bytes[at] !== QUOTE) return -1
          break
        case INTEGER:
          at = readInteger(bytes, at, key, numbers)
          break
        case HASH:
        case PREVIOUS:
          at += HASH_LENGTH
          break
        case TIME:
          if (!timeStandsAt(memory, at)) return -1
          at += TIME_LENGTH
          break
        case OUTCOME:
          at = outcomeEnd(bytes, at)
          break
        case LIST:
          at = readList(at, key)
          break
      }
      if (at === -1) return -1
      starts[key] = from - start
      ends[key] = at - start
    }
    if (count === 0 || bytes[at] !== CLOSE_OBJECT) return -1
    for (let i = 0; i < this.#absent.length; i++) starts[this.#absent[i]!] = -1
    return at + 1
  }
}
