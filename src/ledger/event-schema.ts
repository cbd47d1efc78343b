/** Checks of the built-in events' data: which members there are, and what each must be. A Standard Schema like any other. */
import type { StandardSchema } from './events.ts'

export interface Check {
  readonly fits: (value: unknown) => boolean
  /** What is wanted, for messages: `a string`. */
  readonly wanted: string
  readonly isOptional: boolean
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null && !Array.isArray(value)
const isText = (value: unknown): boolean => typeof value === 'string' && value !== ''

export const text: Check = { fits: isText, wanted: 'a string that is not empty', isOptional: false }
export const object: Check = { fits: isObject, wanted: 'an object', isOptional: false }
export const anything: Check = { fits: () => true, wanted: 'JSON', isOptional: false }
export const milliseconds: Check = {
  fits: (value) => typeof value === 'number' && value >= 0 && value < Infinity,
  wanted: 'milliseconds from 0',
  isOptional: false,
}
export const about: Check = {
  fits: (value) => {
    const { run_id, hash } = (value ?? {}) as { run_id?: unknown; hash?: unknown }
    return isText(run_id) && typeof hash === 'string' && /^[0-9a-f]{64}$/.test(hash)
  },
  wanted: 'a record, a receipt, or { run_id, hash } of one',
  isOptional: false,
}

export function oneOf(...values: readonly string[]): Check {
  return { fits: (value) => values.includes(value as string), wanted: `one of ${values.join(', ')}`, isOptional: false }
}

export function optional(check: Check): Check {
  return { ...check, isOptional: true }
}

interface Issue {
  readonly message: string
  readonly path: readonly string[]
}

/** A record or receipt says far more than which one it is. */
function named(data: object): object {
  const { about: it } = data as { about?: { run_id: string; hash: string } }
  return it === undefined ? data : { ...data, about: { run_id: it.run_id, hash: it.hash } }
}

/** Members beyond these are refused: a fact that is misspelled is misspelled for ever. */
export function dataOf<Data extends object>(
  checks: { readonly [member: string]: Check },
  atLeastOne: readonly string[] = [],
): StandardSchema<Data, Data> {
  const validate = (data: unknown): { value: Data } | { issues: readonly Issue[] } => {
    if (!isObject(data)) return { issues: [{ message: 'must be an object', path: [] }] }
    const given = Object.fromEntries(Object.entries(data).filter(([, value]) => value !== undefined))
    const issues: Issue[] = []
    for (const member of Object.keys(given)) {
      if (!Object.hasOwn(checks, member)) issues.push({ message: `unknown; known are ${Object.keys(checks).join(', ')}`, path: [member] })
    }
    for (const [member, { fits, wanted, isOptional }] of Object.entries(checks)) {
      const isThere = Object.hasOwn(given, member)
      if (isThere ? !fits(given[member]) : !isOptional)
        issues.push({ message: isThere ? `must be ${wanted}` : `is required: ${wanted}`, path: [member] })
    }
    if (atLeastOne.length > 0 && !atLeastOne.some((member) => Object.hasOwn(given, member)))
      issues.push({ message: `needs ${atLeastOne.join(' or ')}`, path: [] })
    return issues.length > 0 ? { issues } : { value: named(given) as Data }
  }
  return { '~standard': { version: 1, vendor: 'cortex-ledger', validate } }
}
