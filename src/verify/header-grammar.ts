/**
 * The keys of a header, in the order in which they stand, and what each value is: the table of docs/format.md, "The
 * header", in the shape in which `HeaderScan` reads it fast.
 */
import { ascii, standsAt } from './bytes.ts'
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
const NAME_TEXTS = NAMES.map((name) => ascii(`"${name}":`))
/** How long each name is with quotes and colon. */
export const NAME_LENGTHS = Uint8Array.from(NAME_TEXTS, (text) => text.length)

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
export function isName(memory: Uint8Array, at: number, key: number): boolean {
  const text = NAME_TEXTS[key]!
  // The first letter tells most keys apart.
  return memory[at + 1] === text[1] && standsAt(memory, at, memory.length, text)
}
