/** Base64 with padding (RFC 4648, section 4), one spelling for each byte string: whatever else there is, is refused. */
import { ascii } from './bytes.ts'
import { decodeText } from './text.ts'

const DIGITS = ascii('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/')
const PADDING = 0x3d
const NO_DIGIT = 0xff
const VALUES = new Uint8Array(128).fill(NO_DIGIT)
for (const [value, digit] of DIGITS.entries()) VALUES[digit] = value

export function formatBase64(bytes: Uint8Array): string {
  // Written as bytes: a text of 16 MiB that grows letter by letter takes seconds, and a gigabyte of memory.
  const text = new Uint8Array(Math.ceil(bytes.length / 3) * 4).fill(PADDING)
  for (let at = 0, to = 0; at < bytes.length; at += 3, to += 4) {
    const three = (bytes[at]! << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0)
    const digits = Math.min(bytes.length - at, 3) + 1
    for (let i = 0; i < digits; i++) text[to + i] = DIGITS[(three >> (18 - 6 * i)) & 63]!
  }
  return decodeText(text)
}

/** The bytes, or null where the text is not their base64: no padding, white space, other digits, spare bits that are set. */
export function parseBase64(text: string): Uint8Array | null {
  if (text.length % 4 !== 0) return null
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0
  const bytes = new Uint8Array((text.length / 4) * 3 - padding)
  let bits = 0
  for (let i = 0; i < text.length - padding; i++) {
    const value = VALUES[text.charCodeAt(i)] ?? NO_DIGIT
    if (value === NO_DIGIT) return null
    bits = ((bits << 6) | value) & 0xff_ffff
    // A digit completes a byte unless it is the first of four; what is left of the last one has to be zero.
    const done = ((i * 6 + 6) >> 3) - 1
    const spare = (i * 6 + 6) & 7
    if (i % 4 !== 0) bytes[done] = bits >> spare
    if (i === text.length - padding - 1 && (bits & ((1 << spare) - 1)) !== 0) return null
  }
  return bytes
}
