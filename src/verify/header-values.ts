/** The values of a header, read from their bytes: integers, times, texts. Source: docs/format.md, "The header". */
import { asciiText, BACKSLASH, textStandsAt } from './bytes.ts'
import type { Memory } from './bytes.ts'
import { OUTCOMES } from './header.ts'
import { decodeText } from './text.ts'
import { isRealTime } from './time.ts'

const ZERO = 0x30

/** From the first digit to behind the last, the number into `into[slot]`; -1 where it is no canonical integer to 2^53-1. */
export function readInteger(memory: Uint8Array, from: number, slot: number, into: Float64Array): number {
  let at = from
  let value = 0
  for (;;) {
    const digit = memory[at]! - ZERO
    if (!(digit >= 0 && digit <= 9)) break
    value = value * 10 + digit
    at++
  }
  into[slot] = value
  const digits = at - from
  // With 16 digits at most, a number beyond is rounded to one that is beyond as well.
  if (digits === 0 || digits > 16 || value > Number.MAX_SAFE_INTEGER || (digits > 1 && memory[from] === ZERO)) return -1
  return at
}

/** The text of a string with its quotes, or null where it is not UTF-8. */
export function readString(memory: Uint8Array, start: number, end: number): string | null {
  for (let at = start + 1; at < end - 1; at++) {
    if (memory[at]! < 0x80 && memory[at] !== BACKSLASH) continue
    try {
      return JSON.parse(decodeText(memory.subarray(start, end)))
    } catch {
      return null
    }
  }
  return asciiText(memory, start + 1, end - 1)
}

const TIME_PATTERN = '0000-00-00T00:00:00.000000Z'
export const TIME_LENGTH = TIME_PATTERN.length
const TIME_WORDS = 7
/** The pattern four bytes at a time, and for each byte 0xff where a digit stands; behind the pattern nothing is asked. */
const WANTED = new Int32Array(TIME_WORDS)
const IS_DIGIT = new Int32Array(TIME_WORDS)
const IS_ASKED = new Int32Array(TIME_WORDS)
for (let i = 0; i < TIME_PATTERN.length; i++) {
  const bits = (i & 3) << 3
  WANTED[i >> 2]! |= TIME_PATTERN.charCodeAt(i) << bits
  IS_ASKED[i >> 2]! |= 0xff << bits
  if (TIME_PATTERN[i] === '0') IS_DIGIT[i >> 2]! |= 0xff << bits
}

function pair(memory: Uint8Array, at: number): number {
  return (memory[at]! - ZERO) * 10 + memory[at + 1]! - ZERO
}

/** True where the ledger's spelling of a real time stands, and at least one byte behind it. */
export function timeStandsAt({ bytes, data, size }: Memory, at: number): boolean {
  if (at + TIME_WORDS * 4 > size) return false
  let wrong = 0
  for (let i = 0; i < TIME_WORDS; i++) {
    const word = data.getInt32(at + i * 4, true)
    const digit = IS_DIGIT[i]!
    // What is no digit's place is taken for a zero: so each byte must be 0x30 to 0x39, and 6 more below 0x40.
    const digits = (word & digit) | (0x30303030 & ~digit)
    wrong |= ((digits ^ 0x30303030) & 0xf0f0f0f0) | ((digits + 0x06060606) & 0x40404040) | ((word ^ WANTED[i]!) & ~digit & IS_ASKED[i]!)
  }
  if (wrong !== 0) return false
  const year = pair(bytes, at) * 100 + pair(bytes, at + 2)
  return isRealTime(year, pair(bytes, at + 5), pair(bytes, at + 8), pair(bytes, at + 11), pair(bytes, at + 14), pair(bytes, at + 17))
}

/** The one outcome that a first letter leaves. */
const OUTCOME_OF: (string | undefined)[] = []
for (const outcome of OUTCOMES) OUTCOME_OF[outcome.charCodeAt(0)] = outcome

/** Behind the outcome that stands there, or -1; what follows it is not looked at. */
export function outcomeEnd(memory: Uint8Array, at: number): number {
  const outcome = OUTCOME_OF[memory[at]!]
  return outcome !== undefined && textStandsAt(memory, at, outcome) ? at + outcome.length : -1
}
