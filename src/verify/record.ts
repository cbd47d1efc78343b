/**
 * The line of a record. Source: docs/format.md, "The line".
 *
 *     {"hash":"<64 hex>","header":{…}[,"signatures":[…]],"salt":"<22 base64url>","entry":{…}}
 *     {"hash":"<64 hex>","header":{…}[,"signatures":[…]],"entry":null}
 *
 * What is hashed are slices of these bytes, never a text written anew, so reading is cutting at the right places.
 */
import { ascii, CLOSE_LIST, CLOSE_OBJECT, COMMA, QUOTE, standsAt } from './bytes.ts'
import { parseHeader } from './header-scan.ts'
import type { RecordHeader } from './header.ts'
import { decodeText } from './text.ts'

/** The parts of a line; `formatLine` joins them. */
export interface LineParts {
  /** 64 lower-case hex digits. */
  readonly hash: string
  /** Canonical JSON of the header: the hashed bytes. */
  readonly header_text: string
  /** The JSON array's exact text, or null where nobody signed. */
  readonly signatures_text: string | null
  /** 22 base64url digits, or null where the entry is withheld. */
  readonly salt: string | null
  /** Canonical JSON of the entry, or null where it is withheld. */
  readonly entry_text: string | null
}

/** A line's parts and its header as an object: what a consumer of its own store reads. */
export interface LineContent extends LineParts {
  readonly header: RecordHeader
}

/** Where the parts of a line lie, as offsets into the bytes: each from `…_start` up to and without `…_end`. */
export interface LineSlices {
  readonly hash_start: number
  readonly hash_end: number
  readonly header_start: number
  readonly header_end: number
  /** -1, as the end, where there are no signatures. */
  readonly signatures_start: number
  readonly signatures_end: number
  /** -1, as the end, where the entry is withheld. */
  readonly salt_start: number
  readonly salt_end: number
  /** Start of the bytes that `entry_hash` commits to: `"salt":"` up to `entry_end`. -1 where the entry is withheld. */
  readonly commitment_start: number
  /** The entry's `{` to behind its last `}`; the `null` where it is withheld. */
  readonly entry_start: number
  readonly entry_end: number
}

/** The line's text, without a line feed. It checks nothing. */
export function formatLine(parts: LineParts): string {
  const { hash, header_text, signatures_text, salt, entry_text } = parts
  const signatures = signatures_text === null ? '' : `,"signatures":${signatures_text}`
  const content = entry_text === null ? '"entry":null}' : `"salt":"${salt}","entry":${entry_text}}`
  return `{"hash":"${hash}","header":${header_text}${signatures},${content}`
}

// 16 bytes are 22 digits, of which the last has four spare bits: canonical base64url has them zero.
const SALT = /^[A-Za-z0-9_-]{21}[AQgw]$/
/** 1: a base64url digit, 3: one that may be the last. */
const SALT_DIGITS = new Uint8Array(256)
for (const digit of ascii('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_')) SALT_DIGITS[digit] = 1
for (const digit of ascii('AQgw')) SALT_DIGITS[digit] = 3

/** True for 16 bytes in canonical base64url. */
export function isSalt(text: string): boolean {
  return SALT.test(text)
}

/** True where a salt stands, which is followed by a byte that is none of its digits. */
export function saltStandsAt(bytes: Uint8Array, at: number): boolean {
  const last = at + SALT_LENGTH - 1
  for (let i = at; i < last; i++) if (SALT_DIGITS[bytes[i]!] === 0) return false
  return SALT_DIGITS[bytes[last]!] === 3
}

export const HASH_OPEN = ascii('{"hash":"')
export const HEADER_OPEN = ascii('","header":{')
export const SIGNATURES_OPEN = ascii(',"signatures":[')
export const SALT_OPEN = ascii(',"salt":"')
export const ENTRY_OPEN = ascii('","entry":{')
export const WITHHELD = ascii(',"entry":null}')
const HASH_START = HASH_OPEN.length
const HASH_LENGTH = 64
const SALT_LENGTH = 22
/** Where the header starts, from the start of the line. */
export const HEADER_START = 84

/**
 * The end of the header that starts at `start`: behind the first `}` that `,"s` or `,"e` follows; -1 where there is none
 * up to `end`. Inside a header no text can look so: a quote in a string is escaped, and behind a string's own closing
 * quote comes no letter.
 */
export function headerEnd(bytes: Uint8Array, start: number, end: number): number {
  // A whole line ends with a brace, so a search from brace to brace never leaves it: half the time of looking at each byte.
  const isLine = bytes[end - 1] === CLOSE_OBJECT
  for (let at = start; at + 3 < end; at++) {
    if (isLine) at = bytes.indexOf(CLOSE_OBJECT, at)
    if (bytes[at] !== CLOSE_OBJECT || bytes[at + 1] !== COMMA || bytes[at + 2] !== QUOTE) continue
    const letter = bytes[at + 3]
    if (at + 3 < end && (letter === 0x73 || letter === 0x65)) return at + 1
  }
  return -1
}

/**
 * Where the parts of the line `bytes[start, end)` lie (no line feed), or null where it has not the shape of one. It cuts
 * and does not check what is inside the parts.
 */
export function splitLine(bytes: Uint8Array, start = 0, end = bytes.length): LineSlices | null {
  const hash_start = start + HASH_START
  const hash_end = hash_start + HASH_LENGTH
  if (!standsAt(bytes, start, end, HASH_OPEN) || !standsAt(bytes, hash_end, end, HEADER_OPEN)) return null
  const header_start = start + HEADER_START
  const header_end = headerEnd(bytes, header_start, end)
  if (header_end === -1) return null
  let at = header_end
  let signatures_start = -1
  let signatures_end = -1
  if (standsAt(bytes, at, end, SIGNATURES_OPEN)) {
    signatures_start = at + SIGNATURES_OPEN.length - 1
    // No part of a signature has a bracket in it.
    signatures_end = bytes.indexOf(CLOSE_LIST, signatures_start) + 1
    if (signatures_end === 0 || signatures_end > end) return null
    at = signatures_end
  }
  const common = { hash_start, hash_end, header_start, header_end, signatures_start, signatures_end }
  if (standsAt(bytes, at, end, WITHHELD) && at + WITHHELD.length === end) {
    return { ...common, salt_start: -1, salt_end: -1, commitment_start: -1, entry_start: end - 5, entry_end: end - 1 }
  }
  const salt_start = at + SALT_OPEN.length
  const salt_end = salt_start + SALT_LENGTH
  if (!standsAt(bytes, at, end, SALT_OPEN) || !standsAt(bytes, salt_end, end, ENTRY_OPEN)) return null
  const entry_start = salt_end + ENTRY_OPEN.length - 1
  const entry_end = end - 1
  if (entry_end < entry_start + 2 || bytes[entry_end] !== CLOSE_OBJECT || bytes[entry_end - 1] !== CLOSE_OBJECT) return null
  return { ...common, salt_start, salt_end, commitment_start: at + 1, entry_start, entry_end }
}

/** What a line says, without the texts that only whoever writes it again needs. */
export type LineSense = Pick<LineContent, 'hash' | 'header' | 'salt' | 'entry_text'>

/**
 * What a line says that a store of our own gave back.
 * @throws TypeError where it is no record. To judge a line from elsewhere use `LedgerVerifier`.
 */
export function readSense(bytes: Uint8Array): LineSense {
  return senseOf(bytes, slicesOf(bytes))
}

/**
 * The parts of a line that a store of our own gave back; `formatLine` of them is the line again.
 * @throws TypeError where it is no record. To judge a line from elsewhere use `LedgerVerifier`.
 */
export function readLine(bytes: Uint8Array): LineContent {
  const slices = slicesOf(bytes)
  const { signatures_start, signatures_end } = slices
  return {
    ...senseOf(bytes, slices),
    header_text: decodeText(bytes.subarray(slices.header_start, slices.header_end)),
    signatures_text: signatures_start === -1 ? null : decodeText(bytes.subarray(signatures_start, signatures_end)),
  }
}

function slicesOf(bytes: Uint8Array): LineSlices {
  const slices = splitLine(bytes)
  if (slices === null) throw new TypeError('the line is no record: it has not the shape of one')
  return slices
}

function senseOf(bytes: Uint8Array, slices: LineSlices): LineSense {
  const header = parseHeader(bytes, slices.header_start, slices.header_end)
  if (!('v' in header)) throw new TypeError(`the line is no record: ${header.fault}`)
  const withheld = slices.salt_start === -1
  return {
    hash: decodeText(bytes.subarray(slices.hash_start, slices.hash_end)),
    header,
    salt: withheld ? null : decodeText(bytes.subarray(slices.salt_start, slices.salt_end)),
    entry_text: withheld ? null : decodeText(bytes.subarray(slices.entry_start, slices.entry_end)),
  }
}
