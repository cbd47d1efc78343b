/**
 * Reads a header from its bytes as strictly as docs/format.md says ("The header"): canonical, flat, no key twice, every
 * value within its rule. It builds nothing; it notes where each value lies, so that a verifier pays only for what it uses.
 */
import {
  asciiText,
  BACKSLASH,
  CLOSE_LIST,
  CLOSE_OBJECT,
  COLON,
  COMMA,
  isLowerHex,
  Memory,
  OPEN_LIST,
  OPEN_OBJECT,
  QUOTE,
  skipPlain,
  textStandsAt,
} from './bytes.ts'
import {
  HASH,
  INTEGER,
  isName,
  KEY,
  KEY_COUNT,
  KINDS,
  LIST,
  NAME_LENGTHS,
  NAMES,
  OUTCOME,
  PREVIOUS,
  REQUIRED,
  RULES,
  STRING,
  TIME,
} from './header-grammar.ts'
import { HeaderShape } from './header-shape.ts'
import type { HeaderFields, ListReader } from './header-shape.ts'
import { outcomeEnd, readInteger, readString, TIME_LENGTH, timeStandsAt } from './header-values.ts'
import { FORMAT_VERSION, GENESIS, HEADER_LIMITS } from './header.ts'
import type { RecordHeader } from './header.ts'
import { decodeText } from './text.ts'

const BAD_STRING = 'has a control character, an escape that is not canonical, or no end'

const DEL = 0x7f
const UNKNOWN_KEY = /^[a-z][a-z0-9_]*$/
const HASH_LENGTH = 64
const NO_KEYS: readonly string[] = []
/** Optional keys make a few kinds of headers, which alternate. */
const SHAPES = 4

/** One scan, used again and again. After `scan` its fields tell about that header only. */
export class HeaderScan implements HeaderFields {
  /** Where each value lies, without the quotes of a string; offsets from the header's `{`; -1 where the key is absent. */
  readonly starts = new Int32Array(KEY_COUNT)
  readonly ends = new Int32Array(KEY_COUNT)
  /** The integers; old where the key is absent. */
  readonly numbers = new Float64Array(KEY_COUNT)
  /** Keys that this version does not know. */
  unknown = NO_KEYS
  /** A byte of 0x80 or above is in it, so the bytes are still to be checked for UTF-8. */
  notAscii = false
  /** Why the scan failed, naming the key; empty where it did not. */
  fault = ''
  readonly #memory: Memory
  readonly #readList: ListReader = (at, key) => this.#list(at, NAMES[key]!)
  /** Backslashes in the string at hand, which count for nothing in its length. */
  #escapes = 0
  /** Which keys the last headers had, those of the last one first. */
  readonly #shapes = Array.from({ length: SHAPES }, () => new HeaderShape())

  /** `memory`: shared with whoever reads the same bytes. */
  constructor(memory = new Memory()) {
    this.#memory = memory
  }

  /**
   * The offset behind the `}` of the header that starts at `start`, or -1 (then `fault` says why) where there is none
   * that is legal and ends by `end`. Two things are left to the caller, who may know them already: that bytes from 0x80
   * on are UTF-8, and that the 64 bytes of each hash are hex digits. Where they are not, anything may have been taken for
   * a header: it is to be scanned again `strictly`, and again they are to be looked at.
   */
  scan(bytes: Uint8Array, start: number, end: number, strictly = false): number {
    const memory = this.#memory
    const shift = memory.view(bytes)
    const limit = Math.min(end, start + HEADER_LIMITS.header_bytes_max) + shift
    this.#forget()
    let at = strictly ? -1 : this.#readAsBefore(start + shift)
    if (at === -1) {
      this.#forget()
      this.starts.fill(-1)
      at = this.#members(start + shift, limit)
      if (at === -1) return -1
      // GENESIS is no hash, so a first record's shape fits none behind it.
      if (at <= limit && this.#isComplete() && this.unknown.length === 0 && this.numbers[KEY.seq] !== 0) {
        this.#prefer(SHAPES - 1)
        this.#shapes[0]!.learn(memory, start + shift, this)
      }
    }
    if (at > limit) return this.#fail(`the header does not end within ${limit - shift - start} bytes`)
    return this.#checkNumbers() ? at - shift : -1
  }

  #forget(): void {
    this.unknown = NO_KEYS
    this.notAscii = false
    this.#escapes = 0
    this.fault = ''
  }

  /** Lets go of the bytes; the fields stay. */
  release(): void {
    this.#memory.release()
  }

  #fail(fault: string): -1 {
    if (this.fault === '') this.fault = fault
    return -1
  }

  /** Puts the shape of this number before the others. */
  #prefer(number: number): void {
    this.#shapes.unshift(...this.#shapes.splice(number, 1))
  }

  #readAsBefore(start: number): number {
    const shapes = this.#shapes
    for (let i = 0; i < SHAPES; i++) {
      const at = shapes[i]!.read(this.#memory, start, this, this.#readList)
      if (at === -1) continue
      if (i > 0) this.#prefer(i)
      return at
    }
    return -1
  }

  /** From the `{` to behind the `}`. Bytes behind the limit may be read, up to the end of a value; `scan` looks where it ended. */
  #members(start: number, limit: number): number {
    const memory = this.#memory.bytes
    if (memory[start] !== OPEN_OBJECT) return this.#fail('the header does not start with {')
    let at = start + 1
    let next = 0
    let unknown = ''
    for (;;) {
      let key = next
      while (key < KEY_COUNT && !isName(memory, at, key)) key++
      let name = NAMES[key] ?? ''
      if (key === KEY_COUNT || unknown !== '') {
        // A key that is not known stands here, or stood before.
        const before = next > 0 && NAMES[next - 1]! > unknown ? NAMES[next - 1]! : unknown
        if (key === KEY_COUNT) name = this.#unknownName(at, limit)
        if (name === '') return -1
        if (name <= before) return this.#fail(`${name} is not in the order of the keys, or twice`)
      }
      if (key === KEY_COUNT) {
        unknown = name
        at = this.#unknownValue(name, at + name.length + 3)
      } else {
        next = key + 1
        at = this.#value(key, at + NAME_LENGTHS[key]!, start)
      }
      if (at === -1 || at > limit) return at
      const byte = memory[at++]
      if (byte === CLOSE_OBJECT) return at
      if (byte !== COMMA) return this.#fail(`the value of ${name} is followed by neither , nor }`)
    }
  }

  /** The value of a known key, to behind it. */
  #value(key: number, at: number, start: number): number {
    const memory = this.#memory.bytes
    const kind = KINDS[key]!
    const name = NAMES[key]!
    let from = at
    let end: number
    let behind: number
    if (kind === INTEGER) {
      behind = end = readInteger(memory, at, key, this.numbers)
      if (end === -1) return this.#fail(`${name} is not an integer from 0 to 2^53-1`)
    } else if (kind === LIST) {
      behind = end = this.#list(at, name)
    } else {
      from++
      if (memory[at] !== QUOTE) return this.#fail(`${name} is not a string`)
      end = this.#restOfString(skipPlain(this.#memory, from))
      if (end === -1) return this.#fail(`${name} ${BAD_STRING}`)
      if (!this.#isLegal(kind, from, end)) return this.#fail(`${name} ${RULES[kind]}`)
      behind = end + 1
    }
    this.starts[key] = from - start
    this.ends[key] = end - start
    return behind
  }

  /** From the first byte of a string that is not plain to the closing quote; -1 where it breaks a rule. */
  #restOfString(start: number): number {
    const memory = this.#memory.bytes
    let at = start
    for (;;) {
      const byte = memory[at]!
      if (byte === QUOTE) return at
      if (byte === BACKSLASH) {
        // Controls are not allowed, so what is left to escape are these two; any other escape is not canonical.
        const escaped = memory[at + 1]
        if (escaped !== QUOTE && escaped !== BACKSLASH) return -1
        this.#escapes++
        at += 2
      } else if (byte > DEL) {
        this.notAscii = true
        // U+0080 to U+009F, the controls of C1.
        if (byte === 0xc2 && memory[at + 1]! < 0xa0) return -1
        at++
      } else {
        return -1
      }
      at = skipPlain(this.#memory, at)
    }
  }

  /** The rule of a kind for the string between these offsets. */
  #isLegal(kind: number, from: number, end: number): boolean {
    const length = end - from
    switch (kind) {
      case STRING: {
        const escapes = this.#escapes
        this.#escapes = 0
        return length > 0 && length - escapes <= HEADER_LIMITS.string_bytes_max
      }
      case TIME:
        return length === TIME_LENGTH && timeStandsAt(this.#memory, from)
      case OUTCOME:
        return outcomeEnd(this.#memory.bytes, from) === end
      case PREVIOUS:
        return length === HASH_LENGTH || (length === GENESIS.length && textStandsAt(this.#memory.bytes, from, GENESIS))
      default:
        return length === HASH_LENGTH
    }
  }

  /** A string with its quotes, to behind it. */
  #string(from: number, name: string): number {
    const memory = this.#memory.bytes
    if (memory[from] !== QUOTE) return this.#fail(`${name} is not a string`)
    const end = this.#restOfString(skipPlain(this.#memory, from + 1))
    if (end === -1) return this.#fail(`${name} ${BAD_STRING}`)
    return this.#isLegal(STRING, from + 1, end) ? end + 1 : this.#fail(`${name} ${RULES[STRING]}`)
  }

  /** An array of strings, ascending by UTF-16 code unit. */
  #list(from: number, name: string): number {
    const memory = this.#memory.bytes
    if (memory[from] !== OPEN_LIST) return this.#fail(`${name} is not an array`)
    let at = from
    let count = 0
    let before = ''
    do {
      const start = at + 1
      at = this.#string(start, `an item of ${name}`)
      if (at === -1) return -1
      const item = readString(memory, start, at)
      if (item === null) return this.#fail(`an item of ${name} is not UTF-8`)
      if (count > 0 && item <= before) return this.#fail(`${name} is not ascending without repetition`)
      if (++count > HEADER_LIMITS.array_items_max) return this.#fail(`${name} has more than ${HEADER_LIMITS.array_items_max} items`)
      before = item
    } while (memory[at] === COMMA)
    return memory[at] === CLOSE_LIST ? at + 1 : this.#fail(`${name} is not an array of strings`)
  }

  /** The name of the member at `at`, in quotes and with a colon; empty where there is none that is legal. */
  #unknownName(at: number, limit: number): string {
    const memory = this.#memory.bytes
    let end = at + 1
    while (end < limit && memory[end] !== QUOTE) end++
    const name = asciiText(memory, at + 1, end)
    if (memory[at] === QUOTE && memory[end + 1] === COLON && UNKNOWN_KEY.test(name)) {
      this.unknown = [...this.unknown, name]
      return name
    }
    this.#fail('a key is not of the form [a-z][a-z0-9_]*, or there is white space')
    return ''
  }

  #unknownValue(name: string, from: number): number {
    const memory = this.#memory.bytes
    if (memory[from] === QUOTE) return this.#string(from, name)
    if (memory[from] === OPEN_LIST) return this.#list(from, name)
    const at = readInteger(memory, from, 0, new Float64Array(1))
    return at === -1 ? this.#fail(`${name} is not a string, an integer from 0 to 2^53-1, or an array of strings`) : at
  }

  #isComplete(): boolean {
    for (const key of REQUIRED) if (this.starts[key] === -1) return this.#fail(`${NAMES[key]} is missing`) !== -1
    return true
  }

  /** What can't be seen in one value alone. */
  #checkNumbers(): boolean {
    if (this.fault !== '') return false
    const { starts, numbers } = this
    const seq = numbers[KEY.seq]!
    const isGenesis = this.ends[KEY.previous_hash]! - starts[KEY.previous_hash]! !== HASH_LENGTH
    if (isGenesis !== (seq === 0)) this.#fail(`previous_hash is ${GENESIS} at seq 0 and nowhere else`)
    if (starts[KEY.append_last_seq] !== -1 && numbers[KEY.append_last_seq]! < seq) this.#fail('append_last_seq is before seq')
    if (numbers[KEY.schema] === 0) this.#fail('schema is 0')
    if (numbers[KEY.v] !== FORMAT_VERSION) this.#fail(`v is ${numbers[KEY.v]}, not ${FORMAT_VERSION}`)
    return this.fault === ''
  }
}

/** Why bytes are not a legal header. It has no `v`, which every header has; a header may well have a key `fault`. */
export interface HeaderProblem {
  readonly fault: string
}

const HASHES = [KEY.entry_hash, KEY.previous_hash] as const
const ONE_SCAN = new HeaderScan()

function headerFault(bytes: Uint8Array, start: number, end: number, strictly: boolean): string | null {
  const scan = ONE_SCAN
  const at = scan.scan(bytes, start, end, strictly)
  scan.release()
  if (at === -1) return scan.fault
  if (at !== end) return 'something follows the header'
  for (const key of HASHES) {
    const [from, to] = [start + scan.starts[key]!, start + scan.ends[key]!]
    if (to - from === HASH_LENGTH && !isLowerHex(bytes, from, to)) return `${NAMES[key]} ${RULES[HASH]}`
  }
  return null
}

/** The header that is exactly `bytes[start, end)`, or why they are none. The mirror of `formatHeader`. */
export function parseHeader(bytes: Uint8Array, start = 0, end = bytes.length): RecordHeader | HeaderProblem {
  const fault = headerFault(bytes, start, end, false) === null ? null : headerFault(bytes, start, end, true)
  if (fault !== null) return { fault }
  try {
    return JSON.parse(decodeText(bytes.subarray(start, end)))
  } catch {
    return { fault: 'the header is not UTF-8' }
  }
}
