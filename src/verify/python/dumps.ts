/**
 * `json.dumps` of Python, byte for byte: ASCII only, `, ` and `: ` between the parts, floats as `repr` writes them, keys
 * in the order of code points. The chain of the seed's ledgers hashes this text, so one other byte is another hash.
 */
import { PythonError, type PythonDict, type PythonValue } from './value.ts'

export interface DumpsOptions {
  /** Keys by code point; else in the order of insertion. */
  readonly sort_keys?: boolean
  /** Objects and arrays within each other; Infinity by default. */
  readonly depth_max?: number
}

/** Needs its quotes and nothing else. */
const PLAIN = /^[ !#-[\]-~]*$/
const BEYOND_ASCII = /[\u007f-\uffff]/
const ALL_BEYOND_ASCII = /[\u007f-\uffff]/g

/** A text in quotes. What both languages escape they escape alike; Python escapes DEL and all above it too. */
export function quotePython(text: string): string {
  if (text.length < 64 && PLAIN.test(text)) return `"${text}"`
  const quoted = JSON.stringify(text)
  if (!BEYOND_ASCII.test(quoted)) return quoted
  return quoted.replace(ALL_BEYOND_ASCII, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** `float.__repr__`, and the names that `json.dumps` gives to what no JSON has. Both languages take the shortest digits that read back. */
export function reprFloat(value: number): string {
  if (Number.isNaN(value)) return 'NaN'
  if (!Number.isFinite(value)) return value > 0 ? 'Infinity' : '-Infinity'
  if (Object.is(value, -0)) return '-0.0'
  const magnitude = Math.abs(value)
  // ECMAScript would go on without an exponent from 1e-7 to 1e21. No double rounds up to one of these bounds.
  if (value === 0 || (magnitude >= 1e-4 && magnitude < 1e16)) return Number.isInteger(value) ? `${value}.0` : String(value)
  return value.toExponential().replace(/e([-+])(\d)$/, 'e$10$2')
}

const SURROGATE = /[\ud800-\udfff]/

/** Orders strings by code point. Sorted by code unit, as ECMAScript does, U+1F600 (D83D DE00) comes before U+E000. */
function byCodePoint(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  let at = 0
  while (at < length && a.charCodeAt(at) === b.charCodeAt(at)) at++
  if (at === length) return a.length - b.length
  // A second half belongs to the first half before it, if there is one; the other string may have that one alone.
  const isFirst = at > 0 && (a.charCodeAt(at - 1) & 0xfc00) === 0xd800
  if (isFirst && ((a.charCodeAt(at) & 0xfc00) === 0xdc00 || (b.charCodeAt(at) & 0xfc00) === 0xdc00)) at--
  return a.codePointAt(at)! - b.codePointAt(at)!
}

function sortedKeys(dict: PythonDict): string[] {
  const keys = [...dict.keys()].sort()
  return keys.some((key) => SURROGATE.test(key)) ? keys.sort(byCodePoint) : keys
}

/** A list or object of which a part is written: `keys` is null for a list. */
interface Frame {
  readonly keys: readonly string[] | null
  readonly values: readonly PythonValue[] | PythonDict
  next: number
}

function scalar(value: null | boolean | bigint | number | string): string {
  switch (typeof value) {
    case 'string':
      return quotePython(value)
    case 'number':
      return reprFloat(value)
    case 'bigint':
      return value.toString()
    default:
      return String(value)
  }
}

/**
 * The text that Python's `json.dumps(value, sort_keys=…)` gives for what `json.loads` read.
 * @throws PythonError (`RecursionError`) for a value deeper than `depth_max`.
 */
export function dumps(value: PythonValue, options: DumpsOptions = {}): string {
  const depthMax = options.depth_max ?? Infinity
  // A loop and no recursion: see `loads`.
  const frames: Frame[] = []
  let text = ''
  let current = value
  for (;;) {
    if (typeof current === 'object' && current !== null) {
      if (frames.length >= depthMax) {
        throw new PythonError('RecursionError', `maximum recursion depth exceeded while encoding, at a depth of ${frames.length + 1}`)
      }
      const isList = Array.isArray(current)
      const keys = isList ? null : options.sort_keys === true ? sortedKeys(current as PythonDict) : [...(current as PythonDict).keys()]
      frames.push({ keys, values: current as Frame['values'], next: 0 })
      text += isList ? '[' : '{'
    } else {
      text += scalar(current)
    }
    let frame = frames.at(-1)
    while (frame !== undefined && frame.next === (frame.keys ?? (frame.values as readonly PythonValue[])).length) {
      text += frame.keys === null ? ']' : '}'
      frames.pop()
      frame = frames.at(-1)
    }
    if (frame === undefined) return text
    if (frame.next > 0) text += ', '
    if (frame.keys === null) {
      current = (frame.values as readonly PythonValue[])[frame.next++]!
    } else {
      const key = frame.keys[frame.next++]!
      text += `${quotePython(key)}: `
      current = (frame.values as PythonDict).get(key)!
    }
  }
}
