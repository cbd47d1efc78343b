/**
 * `json.loads` of Python: accepts and refuses what CPython's scanner (Modules/_json.c) does, in the same order, so that
 * of several faults the same one is told. It differs from RFC 8259 in `NaN`, `Infinity` and `-Infinity`, which it takes.
 */
import { BACKSLASH, CLOSE_LIST, CLOSE_OBJECT, COLON, COMMA, OPEN_LIST, OPEN_OBJECT, QUOTE } from '../bytes.ts'
import { PYTHON_3_11, PythonError, type PythonLimits, type PythonValue } from './value.ts'

/** What is in the text and no longer in the value. Pointers are RFC 6901. */
export interface LoadsNotes {
  /** Objects and arrays within each other. */
  depth: number
  /** Pointer to the first key that its object has twice; the last value wins. */
  duplicate_key: string | null
  /** The first float whose digits say another number than the double that was read. */
  lost_precision: { readonly pointer: string; readonly token: string; readonly value: number } | null
}

const BLANK = 0x20
const MINUS = 0x2d
const LETTER_U = 0x75
const ZERO = 0x30
const NINE = 0x39

const ESCAPED = new Map(Object.entries({ '"': '"', '\\': '\\', '/': '/', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }))
const LITERALS: readonly (readonly [string, PythonValue])[] = [
  ['null', null],
  ['true', true],
  ['false', false],
  ['NaN', NaN],
  ['Infinity', Infinity],
  ['-Infinity', -Infinity],
]
const HEX_4 = /[0-9A-Fa-f]{4}/y
/** Group 1 is there for a float. `1.` and `1e` are the integer 1 and something behind it. */
const NUMBER = /-?(?:0|[1-9][0-9]*)((?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)/y

/** A double gives back any decimal of so many digits (C's DBL_DIG) unless it is very small or very large. */
const DIGITS_SAFE = 15

class Scanner {
  readonly #text: string
  readonly #limits: PythonLimits
  readonly notes: LoadsNotes = { depth: 0, duplicate_key: null, lost_precision: null }
  #at = 0
  /** The open lists and objects, outermost first, and for each the key whose value is being read. */
  readonly #open: (PythonValue[] | Map<string, PythonValue>)[] = []
  readonly #keys: string[] = []

  constructor(text: string, limits: PythonLimits) {
    this.#text = text
    this.#limits = limits
  }

  read(): PythonValue {
    if (this.#text.charCodeAt(0) === 0xfeff) throw new PythonError('JSONDecodeError', 'Unexpected UTF-8 BOM')
    this.#skipBlank()
    // A loop and no recursion: how deep Python goes must not depend on how deep this may go.
    for (;;) {
      let value = this.#valueOrOpening()
      if (value === undefined) continue
      for (;;) {
        const container = this.#open.at(-1)
        if (container === undefined) return this.#end(value)
        this.#add(container, value)
        this.#skipBlank()
        const letter = this.#text.charCodeAt(this.#at)
        const isList = Array.isArray(container)
        if (letter === COMMA) {
          this.#at++
          this.#skipBlank()
          if (!isList) this.#key()
          break
        }
        if (letter !== (isList ? CLOSE_LIST : CLOSE_OBJECT)) this.#expected("',' delimiter")
        this.#at++
        this.#close()
        value = container
      }
    }
  }

  #end(value: PythonValue): PythonValue {
    this.#skipBlank()
    if (this.#at !== this.#text.length) throw new PythonError('JSONDecodeError', `Extra data: char ${this.#at}`)
    return value
  }

  #expected(what: string): never {
    throw new PythonError('JSONDecodeError', `Expecting ${what}: char ${this.#at}`)
  }

  #skipBlank(): void {
    for (;;) {
      const letter = this.#text.charCodeAt(this.#at)
      if (letter !== BLANK && letter !== 0x0a && letter !== 0x0d && letter !== 0x09) return
      this.#at++
    }
  }

  /** A value, or undefined behind the opening of a list or object that is not empty. */
  #valueOrOpening(): PythonValue | undefined {
    const letter = this.#text.charCodeAt(this.#at)
    if (letter === QUOTE) return this.#string()
    if (letter === OPEN_OBJECT || letter === OPEN_LIST) return this.#opening(letter === OPEN_LIST)
    if ((letter >= ZERO && letter <= NINE) || letter === MINUS) {
      NUMBER.lastIndex = this.#at
      const found = NUMBER.exec(this.#text)
      if (found !== null) return this.#number(found[0], found[1] !== '')
    }
    for (const [literal, value] of LITERALS) {
      if (!this.#text.startsWith(literal, this.#at)) continue
      this.#at += literal.length
      return value
    }
    return this.#expected('value')
  }

  #opening(isList: boolean): PythonValue | undefined {
    const depth = this.#open.length + 1
    if (depth > this.#limits.loads_depth_max) {
      throw new PythonError('RecursionError', `maximum recursion depth exceeded while decoding, at a depth of ${depth}`)
    }
    if (depth > this.notes.depth) this.notes.depth = depth
    this.#at++
    this.#skipBlank()
    const container = isList ? [] : new Map<string, PythonValue>()
    if (this.#text.charCodeAt(this.#at) === (isList ? CLOSE_LIST : CLOSE_OBJECT)) {
      this.#at++
      return container
    }
    this.#open.push(container)
    this.#keys.push('')
    if (!isList) this.#key()
    return undefined
  }

  #close(): void {
    this.#open.pop()
    this.#keys.pop()
  }

  #add(container: PythonValue[] | Map<string, PythonValue>, value: PythonValue): void {
    if (Array.isArray(container)) {
      container.push(value)
      return
    }
    const key = this.#keys.at(-1)!
    if (this.notes.duplicate_key === null && container.has(key)) this.notes.duplicate_key = this.#pointer()
    container.set(key, value)
  }

  #key(): void {
    if (this.#text.charCodeAt(this.#at) !== QUOTE) this.#expected('property name enclosed in double quotes')
    this.#keys[this.#keys.length - 1] = this.#string()
    this.#skipBlank()
    if (this.#text.charCodeAt(this.#at) !== COLON) this.#expected("':' delimiter")
    this.#at++
    this.#skipBlank()
  }

  #string(): string {
    const text = this.#text
    let result = ''
    let start = this.#at + 1
    for (let at = start; ; at++) {
      const letter = text.charCodeAt(at)
      if (letter === QUOTE) {
        this.#at = at + 1
        return result + text.slice(start, at)
      }
      if (letter === BACKSLASH) {
        result += text.slice(start, at) + this.#escaped(at + 1)
        at += text.charCodeAt(at + 1) === LETTER_U ? 5 : 1
        start = at + 1
      } else if (!(letter >= BLANK)) {
        // NaN at the end of the text.
        throw new PythonError('JSONDecodeError', `${at < text.length ? 'Invalid control character at' : 'Unterminated string'}: char ${at}`)
      }
    }
  }

  /** What is meant by the letter behind a backslash. Surrogates, paired or not, stay what they are. */
  #escaped(at: number): string {
    const text = this.#text
    if (text.charCodeAt(at) === LETTER_U) {
      HEX_4.lastIndex = at + 1
      const hex = HEX_4.exec(text)
      if (hex === null) throw new PythonError('JSONDecodeError', `Invalid \\uXXXX escape: char ${at}`)
      return String.fromCharCode(parseInt(hex[0], 16))
    }
    const letter = ESCAPED.get(text.charAt(at))
    if (letter === undefined) throw new PythonError('JSONDecodeError', `Invalid \\escape: char ${at}`)
    return letter
  }

  #number(token: string, isFloat: boolean): bigint | number {
    this.#at += token.length
    if (isFloat) {
      const value = Number(token)
      if (this.notes.lost_precision === null && losesPrecision(token, value)) {
        this.notes.lost_precision = { pointer: this.#pointer(), token, value }
      }
      return value
    }
    const digits = token.length - (token.charCodeAt(0) === MINUS ? 1 : 0)
    if (digits > this.#limits.int_digits_max) {
      throw new PythonError('ValueError', `an integer of ${digits} digits; Python reads up to ${this.#limits.int_digits_max}`)
    }
    return BigInt(token)
  }

  #pointer(): string {
    const steps = this.#open.map((container, i) => (Array.isArray(container) ? String(container.length) : this.#keys[i]!))
    return steps.map((step) => `/${step.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')
  }
}

/** The decimal's digits without zeros around them, and its exponent: equal for equal numbers other than 0. */
function normalized(token: string): string {
  const [, whole, fraction = '', exponent = '0'] = /^-?([0-9]+)(?:\.([0-9]+))?(?:[eE]([-+]?[0-9]+))?$/.exec(token)!
  const digits = (whole! + fraction).replace(/^0+/, '')
  let length = digits.length
  while (digits.charCodeAt(length - 1) === ZERO) length--
  return `${digits.slice(0, length)}e${Number(exponent) - fraction.length + digits.length - length}`
}

function losesPrecision(token: string, value: number): boolean {
  // Without an exponent, so few digits can neither overflow nor come near the smallest numbers.
  if (token.length <= DIGITS_SAFE && !/[eE]/.test(token)) return false
  if (!Number.isFinite(value)) return true
  if (value === 0) return /^[-0.]*[1-9]/.test(token)
  return normalized(token) !== normalized(String(value))
}

/**
 * The value that Python reads from the text, which is its `str`: a pair of surrogates is one character of it.
 * @throws PythonError where `json.loads` raises.
 */
export function loads(text: string, limits: PythonLimits = PYTHON_3_11): PythonValue {
  return new Scanner(text, limits).read()
}

/** Like `loads`, and what the text says beyond the value. */
export function loadsWithNotes(
  text: string,
  limits: PythonLimits = PYTHON_3_11,
): { readonly value: PythonValue; readonly notes: LoadsNotes } {
  const scanner = new Scanner(text, limits)
  const value = scanner.read()
  return { value, notes: scanner.notes }
}
