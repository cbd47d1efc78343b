/** The members of an entry that have a column, found without parsing it. */

import { BACKSLASH, COLON, Memory, QUOTE, skipPlain } from '../../verify/bytes.ts'

const LETTER_N = 0x6e

const PROVIDER = Buffer.from('provider_name')
const MODEL = Buffer.from('model_name')
const KEY_END = Buffer.from('_name":')

/** Where a value lies; null: there is no such member. */
export interface Slice {
  readonly start: number
  readonly end: number
}

export interface EntryNames {
  readonly provider: Slice | null
  readonly model: Slice | null
}

/** True where the entry may name one; where not, it names none. Finding bytes is several times faster than walking through them. */
export function mayHaveNames(bytes: Buffer, start: number, end: number): boolean {
  return bytes.subarray(start, end).includes(KEY_END)
}

const memory = new Memory()

/** Behind the closing quote of the string whose text starts at `at`. Eight bytes at a time: long texts are most of an entry. */
function stringEnd(bytes: Buffer, start: number, end: number, shift: number): number {
  let at = start
  while (at < end) {
    const byte = bytes[at] as number
    if (byte === QUOTE) return at + 1
    if (byte === BACKSLASH) at += 2
    // What is not ASCII comes in a row.
    else if (byte >= 0x7f) at++
    else at = Math.max(at + 1, skipPlain(memory, at + shift) - shift)
  }
  return end
}

function isKey(bytes: Buffer, start: number, end: number, key: Buffer): boolean {
  if (end - start !== key.length) return false
  for (let i = 0; i < key.length; i++) if (bytes[start + i] !== key[i]) return false
  return true
}

/**
 * The texts of the entry's own members `provider_name` and `model_name`, without quotes; those of objects inside it do not
 * count. Undefined where it takes a parser to tell: a value that is neither null nor a string, or is spelled with escapes, a key that comes twice.
 */
export function findNames(bytes: Buffer, start: number, end: number): EntryNames | undefined {
  let provider: Slice | null = null
  let model: Slice | null = null
  let depth = 0
  const shift = memory.view(bytes)
  for (let at = start; at < end;) {
    const byte = bytes[at++] as number
    // { and [ are 0x7b and 0x5b, } and ] 0x7d and 0x5d.
    if ((byte | 0x20) === 0x7b) depth++
    else if ((byte | 0x20) === 0x7d) depth--
    else if (byte === QUOTE) {
      const text = at
      at = stringEnd(bytes, at, end, shift)
      if (depth !== 1 || bytes[at] !== COLON) continue
      const isProvider = isKey(bytes, text, at - 1, PROVIDER)
      if (!isProvider && !isKey(bytes, text, at - 1, MODEL)) continue
      // null
      if (bytes[at + 1] === LETTER_N) continue
      if ((isProvider ? provider : model) !== null || bytes[at + 1] !== QUOTE) return undefined
      const value = at + 2
      at = stringEnd(bytes, value, end, shift)
      for (let i = value; i < at - 1; i++) if (bytes[i] === BACKSLASH) return undefined
      // An empty name is none.
      if (at - 1 === value) continue
      if (isProvider) provider = { start: value, end: at - 1 }
      else model = { start: value, end: at - 1 }
    }
  }
  return { provider, model }
}
