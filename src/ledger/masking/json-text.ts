/**
 * Masking inside a text that is JSON, such as the arguments of a tool call. Only what is masked is spelled anew: to
 * parse the whole and write it again would change numbers that a double can't hold, and lose keys that are there twice.
 */
import { NewKeys } from './new-keys.ts'
import type { Ahead, PlaceRule, Places } from './places.ts'

/** What masks the parts of a text. */
export interface Masker {
  readonly places: Places
  readonly keys: boolean
  text(text: string, ahead: Ahead): string
  /** As text, where it is masked. @param digits the number as it is spelled */
  number(digits: string): string | null
  /** In place of a value that is masked whole; null where it stays. @param kind the first character of its spelling */
  whole(rule: PlaceRule, value: WholeValue): string | null
}

/** A value that is to be masked whole, as far as masking needs to look. */
export interface WholeValue {
  readonly kind: 'object' | 'array' | 'text' | 'null' | 'other'
  /** The value; of objects and arrays only asked for where it is short. */
  readonly value: () => unknown
}

// With what may come next, so that a text that only begins alike, as a mark does, is not parsed: an error takes long to make.
const JSON_START = /^[ \t\n\r]*(?:(")|(\{)[ \t\n\r]*["}]|(\[)[ \t\n\r]*[\]"{[\-\dtfn])/
const CLOSING = new Map([
  ['"', '"'],
  ['{', '}'],
  ['[', ']'],
])

/** An object, an array or a string, spelled as JSON. */
export function isJsonText(text: string): boolean {
  const start = JSON_START.exec(text)
  if (start === null) return false
  const closing = CLOSING.get((start[1] ?? start[2] ?? start[3]) as string)
  let last = text.length - 1
  while (' \t\n\r'.includes(text[last] as string)) last--
  // Most texts that are none are told by this, and not parsed.
  if (text[last] !== closing) return false
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

const TOKEN = /["{}[\],]|-?\d[\d.eE+-]*|true|false|null/g

/** Behind the closing quote of the string that begins at `start`. */
function endOfString(text: string, start: number): number {
  for (let at = text.indexOf('"', start + 1); ; at = text.indexOf('"', at + 1)) {
    let slash = at - 1
    while (text[slash] === '\\') slash--
    if ((at - 1 - slash) % 2 === 0) return at + 1
  }
}

/** Behind the object or array that begins at `start`. */
function endOfContainer(text: string, start: number): number {
  let depth = 0
  TOKEN.lastIndex = start
  for (let match = TOKEN.exec(text); match !== null; match = TOKEN.exec(text)) {
    const [token] = match
    if (token === '"') TOKEN.lastIndex = endOfString(text, match.index)
    else if (token === '{' || token === '[') depth++
    else if ((token === '}' || token === ']') && --depth === 0) break
  }
  return TOKEN.lastIndex
}

interface Level {
  readonly isArray: boolean
  readonly ahead: Ahead
  /** Of an object; null where keys stay as they are. */
  readonly keys: NewKeys | null
  wantsKey: boolean
  key: string
  items: number
}

/** One walk over one text. It keeps its own stack, since such a text may be nested deeper than calls can be. */
class Walk {
  readonly #text: string
  readonly #masker: Masker
  readonly #levels: Level[] = []
  readonly #root: Ahead
  #pieces = ''
  #copied = 0

  constructor(text: string, ahead: Ahead, masker: Masker) {
    this.#text = text
    this.#root = ahead
    this.#masker = masker
  }

  #put(start: number, end: number, spelled: string): void {
    this.#pieces += this.#text.slice(this.#copied, start) + spelled
    this.#copied = end
  }

  /** Of the value that begins now. */
  #place(): PlaceRule | Ahead {
    const level = this.#levels.at(-1)
    if (level === undefined) return this.#root
    return this.#masker.places.into(level.ahead, level.isArray ? String(level.items) : level.key, level.isArray)
  }

  #endOf(token: string, start: number): number {
    if (token === '"') return endOfString(this.#text, start)
    return token === '{' || token === '[' ? endOfContainer(this.#text, start) : start + token.length
  }

  #whole(rule: PlaceRule, token: string, start: number): number {
    const end = this.#endOf(token, start)
    const kind = ({ '{': 'object', '[': 'array', '"': 'text', null: 'null' } as const)[token] ?? 'other'
    const value = (): unknown => (end - start > 256 ? undefined : JSON.parse(this.#text.slice(start, end)))
    const spelled = this.#masker.whole(rule, { kind, value })
    if (spelled !== null) this.#put(start, end, spelled)
    return end
  }

  #string(start: number, end: number, ahead: Ahead): void {
    const value = JSON.parse(this.#text.slice(start, end)) as string
    const masked = this.#masker.text(value, ahead)
    if (masked !== value) this.#put(start, end, JSON.stringify(masked))
  }

  #key(level: Level, start: number): number {
    const end = endOfString(this.#text, start)
    const key = JSON.parse(this.#text.slice(start, end)) as string
    level.key = key
    level.wantsKey = false
    const masked = level.keys?.of(key) ?? key
    if (masked !== key) this.#put(start, end, JSON.stringify(masked))
    return end
  }

  /** @returns where to go on */
  #value(token: string, start: number): number {
    const place = this.#place()
    if (typeof place === 'string') return this.#whole(place, token, start)
    if (token === '{' || token === '[') {
      const isArray = token === '['
      const keys = isArray || !this.#masker.keys ? null : new NewKeys((key) => this.#masker.text(key, []))
      this.#levels.push({ isArray, ahead: place, keys, wantsKey: !isArray, key: '', items: 0 })
      return start + 1
    }
    const end = this.#endOf(token, start)
    if (token === '"') this.#string(start, end, place)
    else {
      const spelled = this.#masker.number(token)
      if (spelled !== null) this.#put(start, end, JSON.stringify(spelled))
    }
    return end
  }

  run(): string {
    TOKEN.lastIndex = 0
    for (let match = TOKEN.exec(this.#text); match !== null; match = TOKEN.exec(this.#text)) {
      const [token] = match
      const level = this.#levels.at(-1)
      let next = TOKEN.lastIndex
      if (token === '}' || token === ']') this.#levels.pop()
      else if (token === ',' && level !== undefined) {
        if (level.isArray) level.items++
        else level.wantsKey = true
      } else next = level?.wantsKey === true ? this.#key(level, match.index) : this.#value(token, match.index)
      // What was masked meanwhile may have been JSON too, and gone over by the same pattern.
      TOKEN.lastIndex = next
    }
    return this.#copied === 0 ? this.#text : this.#pieces + this.#text.slice(this.#copied)
  }
}

/** @param text valid JSON @returns valid JSON; the same text where nothing is masked */
export function maskJsonText(text: string, ahead: Ahead, masker: Masker): string {
  return new Walk(text, ahead, masker).run()
}
