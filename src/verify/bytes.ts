/** Small questions about ranges of bytes, without making strings or views of them. */

export const QUOTE = 0x22
export const COLON = 0x3a
export const COMMA = 0x2c
export const BACKSLASH = 0x5c
export const OPEN_LIST = 0x5b
export const CLOSE_LIST = 0x5d
export const OPEN_OBJECT = 0x7b
export const CLOSE_OBJECT = 0x7d
export const LINE_FEED = 0x0a

/** The bytes of an ASCII text. */
export function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0))
}

/** True where `part` stands at `at`, wholly before `end`. */
export function standsAt(bytes: Uint8Array, at: number, end: number, part: Uint8Array): boolean {
  const length = part.length
  if (at + length > end) return false
  for (let i = 0; i < length; i++) if (bytes[at + i] !== part[i]) return false
  return true
}

/** True where the ASCII text stands at `at`. */
export function textStandsAt(bytes: Uint8Array, at: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text.charCodeAt(i)) return false
  return true
}

/** True where the two ranges hold the same bytes. */
export function sameBytes(a: Uint8Array, aStart: number, aEnd: number, b: Uint8Array, bStart: number, bEnd: number): boolean {
  if (aEnd - aStart !== bEnd - bStart) return false
  for (let i = aStart, j = bStart; i < aEnd; i++, j++) if (a[i] !== b[j]) return false
  return true
}

/** The ASCII text of a range, for the few bytes of a message or an id; 0x80 and above come out wrong. */
export function asciiText(bytes: Uint8Array, start: number, end: number): string {
  let text = ''
  for (let at = start; at < end; at++) text += String.fromCharCode(bytes[at]!)
  return text
}

const HEX = new Uint8Array(256)
for (const digit of ascii('0123456789abcdef')) HEX[digit] = 1

/** True where the range holds lower-case hex digits only. */
export function isLowerHex(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (HEX[bytes[at]!] !== 1) return false
  return true
}

const NO_BYTES = new Uint8Array(0)
const NO_DATA = new DataView(NO_BYTES.buffer)

/**
 * The memory behind byte arrays, byte by byte and several bytes at a time from any offset, kept from one range to the
 * next of the same memory. Offsets are of the memory: `bytes.byteOffset` more than of the bytes.
 */
export class Memory {
  bytes: Uint8Array = NO_BYTES
  /** Throws where a read goes beyond the end, unlike `bytes`. */
  data: DataView = NO_DATA
  buffer: ArrayBufferLike = NO_BYTES.buffer
  /** In bytes: asking the `DataView` for it each time is a call that no compiler takes away. */
  size = 0
  #viewed: Uint8Array = NO_BYTES
  #shift = 0

  /** Looks at the memory of these bytes; returns how far from its start they lie. */
  view(viewed: Uint8Array): number {
    // Asking an array for its buffer is a call as well: the lines of a block are handed over in the same array.
    if (viewed === this.#viewed) return this.#shift
    const { buffer, byteOffset } = viewed
    this.#viewed = viewed
    this.#shift = byteOffset
    if (this.buffer !== buffer) {
      this.buffer = buffer
      this.bytes = new Uint8Array(buffer)
      this.data = new DataView(buffer)
      this.size = buffer.byteLength
    }
    return byteOffset
  }

  /** Keeps no memory alive any more. */
  release(): void {
    this.bytes = NO_BYTES
    this.data = NO_DATA
    this.buffer = NO_BYTES.buffer
    this.size = 0
    this.#viewed = NO_BYTES
    this.#shift = 0
  }
}

/**
 * True where the `length` bytes from `at` on are those of `text` from `from` on, all of which must be printable ASCII
 * (0x20 to 0x7e). Eight bytes at a time are compared as one double: printable bytes make neither zero nor NaN, so such
 * a double is equal to another exactly where the bytes are. The last eight may overlap those before.
 */
export function printableStandsAt(memory: Memory, at: number, text: DataView, from: number, length: number): boolean {
  if (at + length > memory.size) return false
  const { data } = memory
  if (length >= 8) {
    const last = length - 8
    for (let i = 0; i < last; i += 8) if (data.getFloat64(at + i, true) !== text.getFloat64(from + i, true)) return false
    return data.getFloat64(at + last, true) === text.getFloat64(from + last, true)
  }
  for (let i = 0; i < length; i++) if (data.getUint8(at + i) !== text.getUint8(from + i)) return false
  return true
}

/** Printable ASCII that is looked for in memory. */
export class Printable {
  readonly length: number
  readonly #data: DataView

  constructor(text: string) {
    this.length = text.length
    this.#data = new DataView(ascii(text).buffer)
  }

  /** True where the text stands at this offset of the memory. */
  standsAt(memory: Memory, at: number): boolean {
    return printableStandsAt(memory, at, this.#data, 0, this.length)
  }
}

const DIGEST_LENGTH = 64

/** A hash as 64 hex digits in ASCII. */
export class Digest {
  /** Hold hex digits only. */
  readonly bytes = new Uint8Array(DIGEST_LENGTH).fill(0x30)
  readonly #data = new DataView(this.bytes.buffer)

  /** True where these digits stand at this offset of the memory. */
  standsAt(memory: Memory, at: number): boolean {
    return printableStandsAt(memory, at, this.#data, 0, DIGEST_LENGTH)
  }
}

/**
 * Behind the bytes of a string that need no further look: all but quote, backslash, the controls of C0 and all from
 * 0x7f on; at the end of the memory, behind it. Eight bytes at a time it takes 0.3 to 0.5 ns a byte, a look-up for each
 * byte in a table up to 1.1 ns (Node 24). In a `hit` the high bit of each byte to look at is set; bits above the lowest
 * one may come from a borrow and mean nothing.
 */
export function skipPlain(memory: Memory, start: number): number {
  const { bytes, data } = memory
  let at = start
  for (const last = memory.size - 8; at <= last; at += 8) {
    const a = data.getInt32(at, true)
    let hit = ((a - 0x20202020) | ((a ^ 0x22222222) - 0x01010101) | ((a ^ 0x5c5c5c5c) - 0x01010101) | (a + 0x01010101) | a) & 0x80808080
    if (hit !== 0) return at + ((31 - Math.clz32(hit & -hit)) >> 3)
    const b = data.getInt32(at + 4, true)
    hit = ((b - 0x20202020) | ((b ^ 0x22222222) - 0x01010101) | ((b ^ 0x5c5c5c5c) - 0x01010101) | (b + 0x01010101) | b) & 0x80808080
    if (hit !== 0) return at + 4 + ((31 - Math.clz32(hit & -hit)) >> 3)
  }
  for (;;) {
    const byte = bytes[at]
    if (byte === undefined || byte < 0x20 || byte === QUOTE || byte === BACKSLASH || byte >= 0x7f) return at
    at++
  }
}
