/** What can be asked of a ledger, and how it is spelled for the store. */
import { OUTCOMES } from '../verify/header.ts'
import type { Outcome } from '../verify/header.ts'
import { normalizeTime } from '../verify/time.ts'
import { LIMITS } from './limits.ts'
import type { RecordFilter, Selection } from './store.ts'

type OneOrMore<T extends string> = T | readonly T[]

/** All parts that are given must fit; of several values of one part, any. */
export interface Criteria {
  readonly run_id?: OneOrMore<string> | undefined
  readonly correlation_id?: OneOrMore<string> | undefined
  readonly causation_id?: OneOrMore<string> | undefined
  readonly actor?: OneOrMore<string> | undefined
  readonly action?: OneOrMore<string> | undefined
  readonly outcome?: OneOrMore<Outcome> | undefined
  readonly type?: OneOrMore<string> | undefined
  readonly stream?: OneOrMore<string> | undefined
  /** Of several tags the record has every one. */
  readonly tag?: OneOrMore<string> | undefined
  readonly provider?: OneOrMore<string> | undefined
  readonly model?: OneOrMore<string> | undefined
  /** When it happened (`timestamp`), from here on, inclusive. */
  readonly since?: string | Date | undefined
  /** When it happened (`timestamp`), up to here, exclusive. */
  readonly until?: string | Date | undefined
  /** When it was recorded (`recorded_at`), inclusive and exclusive likewise. */
  readonly recorded_since?: string | Date | undefined
  readonly recorded_until?: string | Date | undefined
}

export interface Query extends Criteria {
  /** By position in the ledger; `oldest` first unless said. */
  readonly order?: 'oldest' | 'newest' | undefined
  /** Records of one page, 1 to 10,000; 100 unless said. */
  readonly limit?: number | undefined
  /** The `cursor` of the page before. Pages stay true while records are appended. */
  readonly cursor?: string | null | undefined
}

export interface ReadRange {
  /** First position, inclusive. In reverse, reading goes down from here. */
  readonly from?: number | undefined
  /** The position before the first: what was read last. */
  readonly after?: number | undefined
  readonly stream?: string | undefined
  readonly reverse?: boolean | undefined
  readonly limit?: number | undefined
}

const LISTS = ['run_id', 'correlation_id', 'causation_id', 'actor', 'action', 'outcome', 'type', 'stream', 'provider', 'model'] as const
const TIMES = ['since', 'until', 'recorded_since', 'recorded_until'] as const
const CRITERIA_KEYS = new Set<string>([...LISTS, ...TIMES, 'tag'])
const PAGE_KEYS = new Set(['order', 'limit', 'cursor'])
const RANGE_KEYS = new Set(['from', 'after', 'stream', 'reverse', 'limit'])

function asList(key: string, value: unknown): readonly string[] {
  const list = Array.isArray(value) ? value : [value]
  for (const item of list) {
    if (typeof item !== 'string') throw new TypeError(`${key} must be a string or an array of strings`)
  }
  return list as readonly string[]
}

function asTime(key: string, value: string | Date): string {
  const time = normalizeTime(value instanceof Date && !Number.isNaN(value.getTime()) ? value.toISOString() : String(value))
  if (time === null)
    throw new RangeError(`${key} must be an RFC 3339 time with a zone, such as 2026-11-22T20:15:33Z, not ${JSON.stringify(value)}`)
  return time
}

function refuseUnknown(keys: readonly string[], ...known: readonly ReadonlySet<string>[]): void {
  for (const key of keys) {
    if (!known.some((set) => set.has(key)))
      throw new TypeError(`unknown key ${JSON.stringify(key)}; known are ${known.flatMap((set) => [...set]).join(', ')}`)
  }
}

/** @throws TypeError for an unknown key or a wrong type, RangeError for a value out of range */
export function asFilter(criteria: Criteria, ...alsoKnown: readonly ReadonlySet<string>[]): RecordFilter {
  refuseUnknown(Object.keys(criteria), CRITERIA_KEYS, ...alsoKnown)
  const filter: { -readonly [Key in keyof RecordFilter]: RecordFilter[Key] } = {}
  for (const key of LISTS) {
    const value = criteria[key]
    if (value === undefined) continue
    const list = asList(key, value)
    if (key === 'outcome') {
      for (const item of list) {
        if (!OUTCOMES.includes(item as Outcome))
          throw new RangeError(`outcome must be one of ${OUTCOMES.join(', ')}, not ${JSON.stringify(item)}`)
      }
    }
    filter[key] = list as never
  }
  if (criteria.tag !== undefined) filter.tags = asList('tag', criteria.tag)
  for (const key of TIMES) {
    const value = criteria[key]
    if (value !== undefined) filter[key] = asTime(key, value)
  }
  return filter
}

function asCount(key: string, value: number, max: number): number {
  if (!Number.isSafeInteger(value) || value < 1 || value > max) throw new RangeError(`${key} must be an integer from 1 to ${max}`)
  return value
}

function asPosition(key: string, value: number): number {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${key} must be a position: an integer from 0`)
  return value
}

/** A cursor names the order and the position that was read last: `o41`, `n7`. */
function parseCursor(cursor: string, order: 'oldest' | 'newest'): number {
  const match = /^([on])(0|[1-9][0-9]{0,15})$/.exec(cursor)
  if (match === null) throw new RangeError(`cursor ${JSON.stringify(cursor)} is not one that a query gave`)
  if (match[1] !== order[0]) throw new RangeError(`cursor ${cursor} is of a query in the other order`)
  return Number(match[2])
}

export function formatCursor(order: 'oldest' | 'newest', seq: number): string {
  return `${order[0]}${seq}`
}

/** A query as the store takes it; one record more than the page, to tell whether there is a next one. */
export function asSelection(query: Query): { readonly selection: Selection; readonly order: 'oldest' | 'newest'; readonly limit: number } {
  const filter = asFilter(query, PAGE_KEYS)
  const order = query.order ?? 'oldest'
  if (order !== 'oldest' && order !== 'newest') throw new RangeError(`order must be oldest or newest, not ${JSON.stringify(order)}`)
  const limit = asCount('limit', query.limit ?? LIMITS.query_limit_default, LIMITS.query_limit_max)
  const last = query.cursor === undefined || query.cursor === null ? null : parseCursor(query.cursor, order)
  const reverse = order === 'newest'
  const selection = {
    filter,
    from: last === null || reverse ? 0 : last + 1,
    before: last === null || !reverse ? Infinity : last,
    reverse,
    limit: limit + 1,
  }
  return { selection, order, limit }
}

/** A range as the store takes it. @throws TypeError | RangeError */
export function asRange(range: ReadRange): Selection {
  refuseUnknown(Object.keys(range), RANGE_KEYS)
  const { from, after, stream, reverse = false } = range
  if (from !== undefined && after !== undefined) throw new TypeError('give from (inclusive) or after (exclusive), not both')
  const limit = range.limit === undefined ? Infinity : asCount('limit', range.limit, Number.MAX_SAFE_INTEGER)
  const first = from === undefined ? (after === undefined ? null : asPosition('after', after)) : asPosition('from', from)
  const filter: RecordFilter = stream === undefined ? {} : { stream: asList('stream', stream) }
  if (first === null) return { filter, from: 0, before: Infinity, reverse, limit }
  if (reverse) return { filter, from: 0, before: after === undefined ? first + 1 : first, reverse, limit }
  return { filter, from: after === undefined ? first : first + 1, before: Infinity, reverse, limit }
}
