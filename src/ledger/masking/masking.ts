/** One record's masking: a walk over its data that leaves what it was given as it is, and counts what it masked. */
import type { JsonObject, JsonValue } from '../entry.ts'
import { isObject } from '../entry.ts'
import type { Finder } from './finder.ts'
import { isJsonText, maskJsonText } from './json-text.ts'
import type { Masker, WholeValue } from './json-text.ts'
import { markOf, MASKED_MEMBER } from './mark.ts'
import { NewKeys } from './new-keys.ts'
import type { Ahead, PlaceRule, Places } from './places.ts'

export interface Rule {
  readonly name: string
  readonly find: Finder
  /** Also looks at numbers. */
  readonly numbers: boolean
}

/** What all records of a ledger are masked by. */
export interface Rules {
  readonly rules: readonly Rule[]
  readonly places: Places
  readonly keys: boolean
  /** Splits a text at the marks that are known. */
  readonly marks: RegExp
}

/** So often a text is gone over again, since what one rule masked may uncover something to another. Mostly once is enough. */
const ROUNDS_MAX = 16
/** In place of a text that did not come to rest. */
export const WHOLE_TEXT = 'text'
const DIGITS_MIN = 13

export class Masking implements Masker {
  readonly counts = new Map<string, number>()
  readonly places: Places
  readonly keys: boolean
  readonly #rules: readonly Rule[]
  readonly #marks: RegExp

  constructor({ rules, places, keys, marks }: Rules) {
    this.places = places
    this.keys = keys
    this.#rules = rules
    this.#marks = marks
  }

  #count(name: string, times: number): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + times)
  }

  text(text: string, ahead: Ahead): string {
    if (text === '') return text
    let masked = text
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const before = masked
      masked = isJsonText(before) ? maskJsonText(before, ahead, this) : this.#plain(before)
      if (masked === before) return masked
    }
    this.#count(WHOLE_TEXT, 1)
    return markOf(WHOLE_TEXT)
  }

  /** Marks are never looked into: a rule of somebody's own might match them, and each time leave one more. */
  #plain(text: string): string {
    let pieces: readonly string[] = text.includes('[masked:') ? text.split(this.#marks) : [text]
    const before = pieces
    for (const rule of this.#rules) pieces = this.#split(pieces, rule)
    return pieces === before ? text : pieces.join('')
  }

  #split(pieces: readonly string[], { name, find }: Rule): readonly string[] {
    let split: string[] | null = null
    for (let i = 0; i < pieces.length; i += 2) {
      const piece = pieces[i] as string
      const spans = piece === '' ? [] : find(piece)
      if (spans.length > 0) {
        split ??= pieces.slice(0, i)
        let from = 0
        for (const [start, end] of spans) {
          split.push(piece.slice(from, start), markOf(name))
          from = end
        }
        split.push(piece.slice(from))
        this.#count(name, spans.length)
      } else split?.push(piece)
      if (split !== null && i + 1 < pieces.length) split.push(pieces[i + 1] as string)
    }
    return split ?? pieces
  }

  number(digits: string): string | null {
    if (digits.length < DIGITS_MIN) return null
    for (const { name, find, numbers } of this.#rules) {
      if (!numbers || find(digits)[0]?.[1] !== digits.length) continue
      this.#count(name, 1)
      return markOf(name)
    }
    return null
  }

  whole(rule: PlaceRule, { kind, value }: WholeValue): string | null {
    if (kind === 'null') return null
    const mark = markOf(rule)
    const stand = kind === 'object' ? { [MASKED_MEMBER]: mark } : kind === 'array' ? [mark] : mark
    const spelled = JSON.stringify(stand)
    const there = value()
    const isMark = kind === 'text' && typeof there === 'string' && this.#isMark(there)
    if (isMark || (there !== undefined && JSON.stringify(there) === spelled)) return null
    this.#count(rule, 1)
    return spelled
  }

  #isMark(text: string): boolean {
    const pieces = text.split(this.#marks)
    return pieces.length === 3 && pieces[0] === '' && pieces[2] === ''
  }

  value(value: JsonValue, ahead: Ahead): JsonValue {
    if (typeof value === 'string') return this.text(value, ahead)
    if (typeof value === 'number') return this.number(String(value)) ?? value
    if (typeof value !== 'object' || value === null) return value
    return isObject(value) ? this.object(value, ahead) : this.#array(value as readonly JsonValue[], ahead)
  }

  #array(items: readonly JsonValue[], ahead: Ahead): readonly JsonValue[] {
    let copy: JsonValue[] | null = null
    for (let i = 0; i < items.length; i++) {
      const item = items[i] as JsonValue
      const masked = this.#at(this.places.into(ahead, String(i), true), item)
      if (masked !== item) (copy ??= [...items])[i] = masked
    }
    return copy ?? items
  }

  object(data: JsonObject, ahead: Ahead, isLeft: (key: string, value: JsonValue) => boolean = () => false): JsonObject {
    const keys = this.keys ? new NewKeys((key) => this.text(key, [])) : null
    const members: [string, JsonValue][] = []
    let isChanged = false
    for (const [key, value] of Object.entries(data)) {
      const left = isLeft(key, value)
      const masked = left ? value : this.#at(this.places.into(ahead, key, false), value)
      const name = left ? key : (keys?.of(key) ?? key)
      isChanged ||= masked !== value || name !== key
      members.push([name, masked])
    }
    // By fromEntries, as an assignment to `__proto__` makes no member.
    return isChanged ? Object.fromEntries(members) : data
  }

  #at(place: PlaceRule | Ahead, value: JsonValue): JsonValue {
    if (typeof place !== 'string') return this.value(value, place)
    const kind =
      value === null
        ? 'null'
        : Array.isArray(value)
          ? 'array'
          : typeof value === 'object'
            ? 'object'
            : typeof value === 'string'
              ? 'text'
              : 'other'
    const spelled = this.whole(place, { kind, value: () => value })
    return spelled === null ? value : (JSON.parse(spelled) as JsonValue)
  }
}
