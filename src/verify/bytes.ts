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

const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1
// Offsets within it fit into 31 bits, which shifts need.
const WORDS_MEMORY_MAX = 0x7000_0000
const NO_BYTES = new Uint8Array(0)
const NO_WORDS = new Int32Array(0)

/**
 * The memory behind byte arrays, byte by byte and four bytes at a time, kept from one range to the next of the same
 * memory. Offsets are of the memory: `bytes.byteOffset` more than of the bytes.
 */
export class Memory {
  bytes: Uint8Array = NO_BYTES
  /** Little-endian words of `bytes`, without the last bytes that fill none; empty where the machine has another order. */
  words: Int32Array = NO_WORDS

  view(buffer: ArrayBufferLike): void {
    if (this.bytes.buffer === buffer) return
    this.bytes = new Uint8Array(buffer)
    const usable = LITTLE_ENDIAN && buffer.byteLength <= WORDS_MEMORY_MAX
    this.words = usable ? new Int32Array(buffer, 0, buffer.byteLength >> 2) : NO_WORDS
  }

  /** Keeps no memory alive any more. */
  release(): void {
    this.bytes = NO_BYTES
    this.words = NO_WORDS
  }
}

/** Four bytes from any offset as a word; the next word must be there too. */
export function wordAt(words: Int32Array, at: number): number {
  const word = at >> 2
  const bits = (at & 3) << 3
  return bits === 0 ? words[word]! : (words[word]! >>> bits) | (words[word + 1]! << (32 - bits))
}

const DIGEST_LENGTH = 64
const DIGEST_WORDS = DIGEST_LENGTH / 4

/** A hash as 64 hex digits in ASCII, to be compared with bytes a word at a time. */
export class Digest {
  readonly bytes = new Uint8Array(DIGEST_LENGTH)
  readonly #words = new Int32Array(this.bytes.buffer)

  /** True where these digits stand at this offset of the memory. */
  standsAt(memory: Memory, at: number): boolean {
    const { bytes, words } = memory
    const own = this.#words
    // Without the word behind the last one, or with words of another order, byte by byte.
    if ((at + DIGEST_LENGTH) >> 2 >= words.length) return sameBytes(bytes, at, at + DIGEST_LENGTH, this.bytes, 0, DIGEST_LENGTH)
    let word = at >> 2
    const bits = (at & 3) << 3
    if (bits === 0) {
      for (let i = 0; i < DIGEST_WORDS; i++) if (words[word++] !== own[i]) return false
      return true
    }
    // Each word of the memory is read once: its high part begins one of ours, the low part of the next ends it.
    let begun = words[word]! >>> bits
    for (let i = 0; i < DIGEST_WORDS; i++) {
      const next = words[++word]!
      if ((begun | (next << (32 - bits))) !== own[i]) return false
      begun = next >>> bits
    }
    return true
  }
}

/**
 * Behind the bytes of a string that need no further look: all but quote, backslash, the controls of C0 and all from
 * 0x7f on; at the end of the memory, behind it. Four bytes at a time it takes 0.3 ns a byte, a look-up for each byte
 * in a table up to 1.1 ns (Node 24). In `hit` the high bit of each byte to look at is set; bits above the lowest one
 * may come from a borrow and mean nothing.
 */
export function skipPlain(memory: Uint8Array, words: Int32Array, start: number): number {
  let at = start
  let word = start >> 2
  if (word < words.length) {
    // The bytes before the start are taken for letters.
    const keep = -1 << ((start & 3) << 3)
    let four = (words[word]! & keep) | (0x61616161 & ~keep)
    for (;;) {
      const hit =
        ((four - 0x20202020) | ((four ^ 0x22222222) - 0x01010101) | ((four ^ 0x5c5c5c5c) - 0x01010101) | (four + 0x01010101) | four) &
        0x80808080
      if (hit !== 0) return (word << 2) + ((31 - Math.clz32(hit & -hit)) >> 3)
      if (++word === words.length) break
      four = words[word]!
    }
    at = word << 2
  }
  for (;;) {
    const byte = memory[at]
    if (byte === undefined || byte < 0x20 || byte === QUOTE || byte === BACKSLASH || byte >= 0x7f) return at
    at++
  }
}
