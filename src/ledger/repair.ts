/**
 * Makes any value fit for canonical JSON, and says where it had to change it. Only capture uses this: a call that
 * was made must be recorded, whatever it returned. Everywhere else such values are refused.
 */
import { normalizeTime } from '../verify/time.ts'
import type { JsonValue } from './entry.ts'
import { LIMITS } from './limits.ts'

export interface Repaired {
  readonly value: JsonValue
  /** JSON-pointer-like places that were changed, with what stood there. At most 100. */
  readonly repairs: readonly string[]
}

const REPAIRS_MAX = 100
/** Room for the entry's other members and the wrapping around the value. */
const DEPTH_MAX = LIMITS.entry_depth_max - 8
/** Text beyond this is cut, so that the entry stays under its limit. UTF-16 code units. */
const TEXT_MAX = 4 * 1024 * 1024

export function repairText(text: string, note: (what: string) => void): string {
  let fit = text
  if (!fit.isWellFormed()) {
    note('unpaired surrogate')
    fit = fit.toWellFormed()
  }
  if (fit.length > TEXT_MAX) {
    note(`text of ${text.length} characters, cut`)
    fit = fit.slice(0, TEXT_MAX).toWellFormed()
  }
  return fit
}

class Repairer {
  readonly repairs: string[] = []
  readonly #open = new Set<object>()
  #budget = 200_000

  note(path: string, what: string): void {
    if (this.repairs.length < REPAIRS_MAX) this.repairs.push(`${path === '' ? '/' : path}: ${what}`)
  }

  fit(value: unknown, path: string, depth: number): JsonValue {
    if (value === null || typeof value === 'boolean') return value
    if (typeof value === 'string') return repairText(value, (what) => this.note(path, what))
    if (typeof value === 'number') return this.#number(value, path)
    if (typeof value !== 'object') {
      this.note(path, typeof value)
      return typeof value === 'undefined' ? null : repairText(String(value), () => {})
    }
    if (depth > DEPTH_MAX || --this.#budget < 0) {
      this.note(path, depth > DEPTH_MAX ? 'nested too deep' : 'too many values')
      return null
    }
    if (this.#open.has(value)) {
      this.note(path, 'cycle')
      return null
    }
    this.#open.add(value)
    try {
      return this.#object(value, path, depth)
    } catch (error) {
      // A getter or a proxy that throws: what it would have said is lost, that it was there is not.
      this.note(path, `unreadable (${error instanceof Error ? error.message : 'threw'})`)
      return null
    } finally {
      this.#open.delete(value)
    }
  }

  #number(value: number, path: string): JsonValue {
    if (Number.isFinite(value) && !(Number.isInteger(value) && !Number.isSafeInteger(value) && Math.abs(value) < 1e21)) return value
    this.note(path, `number ${value}`)
    return String(value)
  }

  #object(value: object, path: string, depth: number): JsonValue {
    if (Array.isArray(value)) return Array.from(value, (item, i) => this.fit(item, `${path}/${i}`, depth + 1))
    if (value instanceof Date) {
      const time = Number.isNaN(value.getTime()) ? null : normalizeTime(value.toISOString())
      if (time === null) this.note(path, 'a Date that is no time of the years 0000 to 9999')
      return time
    }
    if (value instanceof Error) {
      this.note(path, 'Error')
      return { name: repairText(value.name, () => {}), message: repairText(value.message, () => {}) }
    }
    if (value instanceof Map) {
      this.note(path, 'Map')
      return this.fit([...value], path, depth + 1)
    }
    if (value instanceof Set) {
      this.note(path, 'Set')
      return this.fit([...value], path, depth + 1)
    }
    if (ArrayBuffer.isView(value)) {
      this.note(path, `${value.constructor.name} of ${value.byteLength} bytes, left out`)
      return null
    }
    if (Object.prototype.toString.call(value) !== '[object Object]') {
      this.note(path, Object.prototype.toString.call(value).slice(8, -1))
      return repairText(String(value), () => {})
    }
    const members: [string, JsonValue][] = []
    for (const [key, member] of Object.entries(value)) {
      if (member === undefined) continue
      const name = repairText(key, (what) => this.note(path, `key with ${what}`))
      members.push([name, this.fit(member, `${path}/${name}`, depth + 1)])
    }
    // fromEntries defines members, so that a key `__proto__` is a member like any other.
    return Object.fromEntries(members)
  }
}

/** The value, changed as little as it takes. */
export function repair(value: unknown): Repaired {
  const repairer = new Repairer()
  return { value: repairer.fit(value, '', 0), repairs: repairer.repairs }
}
