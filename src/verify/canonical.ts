/**
 * Canonical JSON: RFC 8785. One value has one spelling, so equal content has equal bytes. What it can't carry is
 * refused with the path to it, never changed. Source: docs/format.md, "The salt and the entry".
 */
import { byteLength, decodeText } from './text.ts'
import { formatTimeOfMs } from './time.ts'

export interface CanonicalLimits {
  /** Objects and arrays within each other. */
  readonly depth_max?: number
  /** UTF-8 bytes of the text. */
  readonly bytes_max?: number
}

const DEPTH_MAX = 64
const BYTES_MAX = 16 * 1024 * 1024

/** A value that canonical JSON can't carry. */
export class CanonicalError extends TypeError {
  override readonly name = 'CanonicalError'
  /** JSON pointer (RFC 6901) to the value, such as `/parsed_data/items/3`; empty for the whole. */
  readonly path: string
  /** Why, in words. */
  readonly reason: string
  /** True where the value is fine but over the size limit. */
  readonly too_large: boolean

  constructor(path: string, reason: string, tooLarge = false) {
    super(`${path === '' ? 'the value' : path}: ${reason}`)
    this.path = path
    this.reason = reason
    this.too_large = tooLarge
  }
}

const tagOf = Object.prototype.toString
const dateValue = Date.prototype.getTime
const symbolsOf = Object.getOwnPropertySymbols
const keysOf = Object.keys

/** So many members are sorted by copying; more are spelled one by one, since every new key of an object costs. */
const COPIED_KEYS_MAX = 24
const DIGIT_0 = 0x30
const DIGIT_9 = 0x39

/**
 * One call's walk over a value: refuses what can't be carried, and gives back what `JSON.stringify` spells as it must
 * be: the value itself, or where its keys are in another order (or there are dates in it) a copy of those parts.
 */
class Walk {
  readonly depthMax: number
  readonly bytesMax: number
  /** At least as many bytes as this will be written: bounds the work on a value that repeats its parts. */
  bytes = 0
  /** `JSON.stringify` can't spell this value: a `toJSON` is in reach of all objects, or no copy would keep its keys in order. */
  isByParts = 'toJSON' in Object.prototype || 'toJSON' in Array.prototype
  /** Somebody gave all objects an enumerable member, which is none of theirs. */
  readonly #isHaunted = isEnumerable(Object.prototype)
  readonly keys: (string | number)[] = []
  readonly values: object[] = []

  /** Its members may be replaced; null for none. */
  readonly owned: object | null

  constructor(limits: CanonicalLimits, owned: object | null) {
    this.owned = owned
    this.depthMax = limits.depth_max ?? DEPTH_MAX
    this.bytesMax = limits.bytes_max ?? BYTES_MAX
  }

  refuse(depth: number, reason: string, tooLarge = false): never {
    const path = this.keys.slice(0, depth).map((key) => `/${String(key).replaceAll('~', '~0').replaceAll('/', '~1')}`)
    throw new CanonicalError(path.join(''), reason, tooLarge)
  }

  count(bytes: number, depth: number): void {
    this.bytes += bytes
    if (this.bytes > this.bytesMax) this.refuse(depth, `over the limit of ${this.bytesMax} bytes`, true)
  }

  /** The value, or a copy of it to be written. */
  check(value: unknown, depth: number): unknown {
    switch (typeof value) {
      case 'string':
        if (!value.isWellFormed()) this.refuse(depth, 'a string with an unpaired surrogate')
        this.count(value.length + 2, depth)
        return value
      case 'number':
        this.checkNumber(value, depth)
        return value
      case 'boolean':
        this.count(4, depth)
        return value
      case 'object':
        if (value !== null) return this.checkObject(value, depth)
        this.count(4, depth)
        return value
      default:
        return this.refuse(depth, typeof value === 'undefined' ? 'undefined' : `a ${typeof value}`)
    }
  }

  checkNumber(value: number, depth: number): void {
    this.count(1, depth)
    if (!Number.isFinite(value)) this.refuse(depth, String(value))
    // From 1e21 on the spelling has an exponent, so no reader takes it for an exact integer.
    if (Math.abs(value) > Number.MAX_SAFE_INTEGER && Math.abs(value) < 1e21) {
      this.refuse(depth, `the integer ${value} is beyond 2^53-1: write it as a string`)
    }
  }

  checkObject(value: object, depth: number): unknown {
    if (depth >= this.depthMax) this.refuseDepth(value, depth)
    const isArray = Array.isArray(value)
    const prototype: unknown = Object.getPrototypeOf(value)
    // Also one that no enumeration shows: JSON.stringify would call it. (`in` takes twice as long.)
    const mustCopy = (value as { readonly toJSON?: unknown }).toJSON !== undefined
    const isForeign = prototype !== (isArray ? Array.prototype : Object.prototype) && prototype !== null
    if (isForeign) {
      const tag = tagOf.call(value).slice(8, -1)
      if (tag === 'Date') {
        this.count(29, depth)
        return spellDate(value, this, depth)
      }
      if (tag !== 'Object' && tag !== 'Array') this.refuse(depth, `a ${tag}`)
    }
    if (symbolsOf(value).length > 0) this.refuse(depth, 'a member with a symbol as its key')
    this.values[depth] = value
    this.count(2, depth)
    if (isArray) return this.checkItems(value, depth, mustCopy)
    return this.checkMembers(value as Record<string, unknown>, depth, mustCopy, isForeign || this.#isHaunted)
  }

  checkItems(items: readonly unknown[], depth: number, mustCopy: boolean): readonly unknown[] {
    let copy: unknown[] | null = mustCopy ? Array.from(items) : null
    for (let i = 0; i < items.length; i++) {
      this.keys[depth] = i
      const item = items[i]
      if (item === undefined) this.refuse(depth + 1, i in items ? 'undefined in an array' : 'a hole in an array')
      const written = this.check(item, depth + 1)
      if (written === item) continue
      copy ??= Array.from(items)
      copy[i] = written
    }
    return copy ?? items
  }

  checkMembers(value: Record<string, unknown>, depth: number, mustCopy: boolean, inherits: boolean): object {
    let before = ''
    let copies: Map<string, unknown> | null = null
    // `for … in` finds the member with the key; by Object.keys and looking each up the walk takes a third more.
    for (const key in value) {
      if (inherits && !Object.hasOwn(value, key)) continue
      const member = value[key]
      if (member === undefined) continue
      this.keys[depth] = key
      if (!key.isWellFormed()) this.refuse(depth + 1, 'a key with an unpaired surrogate')
      // Own keys come with integer-like ones first, 9 before 10; then this is not ascending, or it is right as it is.
      if (key < before) mustCopy = true
      before = key
      this.count(key.length + 3, depth + 1)
      const written = this.check(member, depth + 1)
      if (written === member) continue
      // Once the whole goes by parts, copies are not whole themselves.
      if (value === this.owned && !this.isByParts) value[key] = written
      else (copies ??= new Map()).set(key, written)
    }
    return mustCopy || copies !== null ? this.copy(value, keysOf(value), copies) : value
  }

  /** With sorted keys, unless an object can't have them in that order: then the whole is spelled by parts. */
  copy(value: Record<string, unknown>, keys: string[], copies: ReadonlyMap<string, unknown> | null): object {
    if (this.isByParts || keys.length > COPIED_KEYS_MAX) {
      this.isByParts = true
      return value
    }
    const copy: Record<string, unknown> = {}
    for (const key of sortKeys(keys)) {
      const first = key.charCodeAt(0)
      if ((first >= DIGIT_0 && first <= DIGIT_9) || key === '__proto__') this.isByParts = true
      else copy[key] = copies?.get(key) ?? value[key]
    }
    return copy
  }

  refuseDepth(value: object, depth: number): never {
    // A cycle always ends here, so the ways back are looked for only now.
    this.values[depth] = value
    for (let at = 1; at <= depth; at++) {
      if (this.values.indexOf(this.values[at]!) < at) this.refuse(at, 'a cycle: the value contains itself')
    }
    return this.refuse(depth, `over the depth of ${this.depthMax}`)
  }
}

function isEnumerable(value: object): boolean {
  for (const _ in value) return true
  return false
}

/** Sorts in place by UTF-16 code unit. By insertion: an object has few keys, and `sort` takes 0.1 µs for three. */
function sortKeys(keys: string[]): string[] {
  for (let i = 1; i < keys.length; i++) {
    const key = keys[i]!
    let at = i
    for (; at > 0 && keys[at - 1]! > key; at--) keys[at] = keys[at - 1]!
    keys[at] = key
  }
  return keys
}

function spellDate(value: object, walk: Walk, depth: number): string {
  let ms: number
  try {
    ms = dateValue.call(value as Date)
  } catch {
    return walk.refuse(depth, 'an object that poses as a Date')
  }
  if (Number.isNaN(ms)) return walk.refuse(depth, 'an invalid Date')
  try {
    return formatTimeOfMs(ms)
  } catch {
    return walk.refuse(depth, 'a Date outside the years 0000 to 9999')
  }
}

/** The text of a value that `walk` went over, put together piece by piece. */
function spellByParts(value: unknown, walk: Walk, depth: number): string {
  // Numbers as ECMAScript writes them (RFC 8785, 3.2.2.3), -0 as 0.
  if (typeof value !== 'object' || value === null) return typeof value === 'string' ? JSON.stringify(value) : String(value)
  if (Array.isArray(value)) return `[${value.map((item) => spellByParts(item, walk, depth + 1)).join(',')}]`
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null && tagOf.call(value) === '[object Date]') {
    return `"${spellDate(value, walk, depth)}"`
  }
  // A list of keys is sorted, never an object rebuilt: that loses `__proto__` and puts 9 before 10.
  let text = '{'
  for (const key of keysOf(value).sort()) {
    const member = (value as Record<string, unknown>)[key]
    if (member === undefined) continue
    text += `${text === '{' ? '' : ','}${JSON.stringify(key)}:${spellByParts(member, walk, depth + 1)}`
  }
  return text + '}'
}

/**
 * RFC 8785 canonical JSON of plain data: `null`, booleans, finite numbers, well-formed strings, arrays, objects and
 * instances of classes by their own enumerable members. Members that are `undefined` are left out, a valid `Date`
 * becomes the ledger's time, `toJSON` is never called, and the value is not changed. A part that appears twice is
 * written twice; a getter is read more than once and has to answer the same.
 * @throws CanonicalError naming the path of what can't be carried.
 */
export function canonicalize(value: unknown, limits: CanonicalLimits = {}): string {
  return spell(value, new Walk(limits, null))
}

/**
 * The same of an object that the caller made and does not need any more: its members may be replaced. (A copy of 18
 * members took a tenth of the time of drafting an agent call.)
 * @throws CanonicalError
 */
export function canonicalizeOwn(value: object, limits: CanonicalLimits = {}): string {
  return spell(value, new Walk(limits, value))
}

function spell(value: unknown, walk: Walk): string {
  const written = walk.check(value, 0)
  const text = walk.isByParts ? spellByParts(value, walk, 0) : JSON.stringify(written)
  if (text.length * 3 > walk.bytesMax && byteLength(text) > walk.bytesMax) {
    walk.refuse(0, `over the limit of ${walk.bytesMax} bytes`, true)
  }
  return text
}

/** True where `bytes[start, end)` is the canonical JSON of a value: the one spelling that `canonicalize` gives it. */
export function isCanonicalJson(bytes: Uint8Array, start: number, end: number): boolean {
  try {
    const text = decodeText(bytes.subarray(start, end))
    // JSON.parse keeps one of two equal keys, so the text written anew differs: duplicates are found too.
    return canonicalize(JSON.parse(text)) === text
  } catch {
    return false
  }
}
