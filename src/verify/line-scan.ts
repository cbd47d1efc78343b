/**
 * Finds what a line says without decoding any of it: whoever reads many records looks at few of their values. It says yes
 * or nothing; of a line that it does not know `readSense` tells what it says, or why it is no record.
 */
import { CLOSE_LIST, CLOSE_OBJECT, isLowerHex, Memory } from './bytes.ts'
import { KEY } from './header-grammar.ts'
import { HeaderScan } from './header-scan.ts'
import {
  ENTRY_OPEN,
  HASH_LENGTH,
  HASH_OPEN,
  HASH_START,
  HEADER_OPEN,
  SALT_LENGTH,
  SALT_OPEN,
  SIGNATURES_OPEN,
  WITHHELD,
} from './line-parts.ts'
import { HEADER_START } from './record.ts'

/** Behind the line's own hash. */
export const HASH_END = HASH_START + HASH_LENGTH
/** From the start of the salt to the `{` of the entry. */
export const SALT_TO_ENTRY = SALT_LENGTH + ENTRY_OPEN.length - 1
/** Memory up to here is kept until the next line, which mostly lies in the same, so that no new views of it are made. Bytes. */
const KEPT_BYTES_MAX = 256 * 1024

/** One scan, used again and again: its fields tell about the last line that was found to be a record. Offsets are of the bytes given. */
export class LineScan {
  seq = 0
  /** Behind the `}` of the header, which starts at `HEADER_START`. */
  headerEnd = 0
  /** The type without its quotes; escapes and UTF-8 are as they stand. */
  typeStart = 0
  typeEnd = 0
  /** The `{` of the entry, which ends with the byte before the last; -1 where it is withheld. */
  entryStart = 0
  readonly #memory = new Memory()
  readonly #header = new HeaderScan(this.#memory)

  /**
   * True where the whole of `bytes` is a line that `readSense` takes, provided that it is UTF-8, which is not looked at;
   * false where it may be none.
   */
  scan(bytes: Uint8Array): boolean {
    const memory = this.#memory
    const shift = memory.view(bytes)
    const isRecord = this.#scan(bytes, shift, bytes.length)
    if (memory.size > KEPT_BYTES_MAX) memory.release()
    return isRecord
  }

  #scan(bytes: Uint8Array, shift: number, end: number): boolean {
    const memory = this.#memory
    const header = this.#header
    if (end <= HEADER_START || !HASH_OPEN.standsAt(memory, shift) || !HEADER_OPEN.standsAt(memory, shift + HASH_END)) return false
    const headerEnd = header.scan(bytes, HEADER_START, end)
    if (headerEnd === -1) return false
    const { starts, ends, numbers } = header
    const entryHash = HEADER_START + starts[KEY.entry_hash]!
    const previous = HEADER_START + starts[KEY.previous_hash]!
    if (!isLowerHex(bytes, entryHash, entryHash + HASH_LENGTH)) return false
    // GENESIS is shorter, and was compared.
    if (numbers[KEY.seq] !== 0 && !isLowerHex(bytes, previous, previous + HASH_LENGTH)) return false
    let at = headerEnd
    if (SIGNATURES_OPEN.standsAt(memory, shift + at)) {
      // No part of a signature has a bracket in it.
      at = bytes.indexOf(CLOSE_LIST, at + SIGNATURES_OPEN.length - 1) + 1
      if (at === 0) return false
    }
    if (at + WITHHELD.length === end && WITHHELD.standsAt(memory, shift + at)) {
      this.entryStart = -1
    } else {
      const salt = at + SALT_OPEN.length
      const entry = salt + SALT_TO_ENTRY
      if (entry + 3 > end || !SALT_OPEN.standsAt(memory, shift + at)) return false
      if (!ENTRY_OPEN.standsAt(memory, shift + salt + SALT_LENGTH)) return false
      if (bytes[end - 1] !== CLOSE_OBJECT || bytes[end - 2] !== CLOSE_OBJECT) return false
      this.entryStart = entry
    }
    this.seq = numbers[KEY.seq]!
    this.headerEnd = headerEnd
    this.typeStart = HEADER_START + starts[KEY.type]!
    this.typeEnd = HEADER_START + ends[KEY.type]!
    return true
  }
}
