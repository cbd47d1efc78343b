/**
 * The keys of a header, in the order in which they stand, and what each value is: the table of docs/format.md, "The
 * header", in the shape in which `HeaderScan` reads it fast.
 */
import { ascii, sameBytes, wordAt } from './bytes.ts'
import { GENESIS, HEADER_LIMITS, OUTCOMES } from './header.ts'

/** The kinds of values. */
export const STRING = 0
export const INTEGER = 1
export const LIST = 2
export const TIME = 3
export const HASH = 4
export const PREVIOUS = 5
export const OUTCOME = 6

/** The keys in their order on the wire, with what their values are and whether they must be there. */
const GRAMMAR = [
  ['action', STRING, true],
  ['actor', STRING, true],
  ['append_last_seq', INTEGER, false],
  ['causation_id', STRING, false],
  ['correlation_id', STRING, false],
  ['entry_hash', HASH, true],
  ['outcome', OUTCOME, true],
  ['previous_hash', PREVIOUS, true],
  ['recorded_at', TIME, true],
  ['run_id', STRING, true],
  ['schema', INTEGER, true],
  ['seq', INTEGER, true],
  ['signers', LIST, false],
  ['stream', STRING, true],
  ['stream_version', INTEGER, true],
  ['tags', LIST, false],
  ['timestamp', TIME, true],
  ['type', STRING, true],
  ['v', INTEGER, true],
] as const
export const KEY_COUNT = GRAMMAR.length

type HeaderKey = (typeof GRAMMAR)[number][0]
/** The number under which each key's value is found in a `HeaderScan`. */
export const KEY = Object.fromEntries(GRAMMAR.map(([key], index) => [key, index])) as { readonly [key in HeaderKey]: number }

/** The keys by their numbers. */
export const NAMES = GRAMMAR.map(([key]) => key)
/** `"action":` and so on, each from a whole word on, so that they are compared four bytes at a time. */
const NAME_TEXTS = NAMES.map((name) => `"${name}":`)
const NAME_STARTS = Uint16Array.from(NAMES, (_, index) =>
  NAME_TEXTS.slice(0, index).reduce((sum, text) => sum + ((text.length + 3) & ~3), 0),
)
/** How long each name is with quotes and colon. */
export const NAME_LENGTHS = Uint8Array.from(NAME_TEXTS, (text) => text.length)
const NAME_LENGTH_MAX = Math.max(...NAME_LENGTHS)
const NAME_BYTES = ascii(NAME_TEXTS.map((text) => text.padEnd((text.length + 3) & ~3, '\0')).join(''))
const NAME_WORDS = new Int32Array(NAME_BYTES.buffer)
/** What of each name's last word is of the name. */
const NAME_MASKS = Int32Array.from(NAME_TEXTS, (text) => (text.length % 4 === 0 ? -1 : (1 << ((text.length % 4) * 8)) - 1))

/** The kind of each key's value. */
export const KINDS = Uint8Array.from(GRAMMAR, ([, kind]) => kind)
/** The keys that must be there. */
export const REQUIRED = GRAMMAR.flatMap(([, , required], index) => (required ? [index] : []))
/** What the value of each kind is not, for the message. */
export const RULES: { readonly [kind: number]: string } = {
  [STRING]: `is empty or longer than ${HEADER_LIMITS.string_bytes_max} bytes`,
  [TIME]: 'is not a time such as 2026-11-22T20:15:33.123456Z',
  [HASH]: 'is not 64 lower-case hex digits',
  [PREVIOUS]: `is neither 64 lower-case hex digits nor ${GENESIS}`,
  [OUTCOME]: `is none of ${OUTCOMES.join(', ')}`,
}

/** True where the key's name stands, with quotes and colon. */
export function isName(memory: Uint8Array, words: Int32Array, at: number, key: number): boolean {
  const start = NAME_STARTS[key]!
  // The first letter tells most keys apart.
  if (memory[at + 1] !== NAME_BYTES[start + 1]) return false
  const length = NAME_LENGTHS[key]!
  if (((at + NAME_LENGTH_MAX) >> 2) + 1 >= words.length) return sameBytes(memory, at, at + length, NAME_BYTES, start, start + length)
  let word = start >> 2
  const last = word + ((length - 1) >> 2)
  let from = at
  for (; word < last; word++, from += 4) if (wordAt(words, from) !== NAME_WORDS[word]) return false
  return (wordAt(words, from) & NAME_MASKS[key]!) === NAME_WORDS[last]
}
