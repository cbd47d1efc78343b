/** What can be asked of a ledger, and how it is spelled for the store. */
import { OUTCOMES } from '../verify/header.ts'
import type { Outcome } from '../verify/header.ts'
import { normalizeTime } from '../verify/time.ts'
import { LIMITS } from './limits.ts'
import type { LedgerRecord } from './record.ts'
import type { RecordFilter, Selection } from './store.ts'
import type { TextOrder } from './text.ts'

export type OneOrMore<T extends string> = T | readonly T[]

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
  /**
   * Words that must all be in the prompt, the output, what tools said, or an event's data. Letter case and accents don't
   * matter, and nothing is an operator: docs/guides/full-text.md.
   */
  readonly text?: string | undefined
}

export interface Query extends Criteria {
  /** By position in the ledger, `oldest` first unless said; `rank`: those with the words of `text` most of all. */
  readonly order?: TextOrder | undefined
  /** Records of one page, 1 to 10,000; 100 unless said. */
  readonly limit?: number | undefined
  /** The `cursor` of the page before. Pages stay true while records are appended. */
  readonly cursor?: string | null | undefined
}

export interface QueryPage {
  readonly records: readonly LedgerRecord[]
  /** Give it to the next query for the next page; null where this is the last. */
  readonly cursor: string | null
}

export interface ReadRange {
  /** First position, inclusive. In reverse, reading goes down from here. */
  readonly from?: number | undefined
  /** The position before the first: what was read last. */
  readonly after?: number | undefined
  /** The position behind the last, exclusive; not with `reverse`. */
  readonly before?: number | undefined
  readonly stream?: string | undefined
  /** Only records that fit, without `text`. */
  readonly where?: Criteria | undefined
  readonly reverse?: boolean | undefined
  readonly limit?: number | undefined
}

const LISTS = ['run_id', 'correlation_id', 'causation_id', 'actor', 'action', 'outcome', 'type', 'stream', 'provider', 'model'] as const
const TIMES = ['since', 'until', 'recorded_since', 'recorded_until'] as const
const CRITERIA_KEYS = new Set<string>([...LISTS, ...TIMES, 'tag', 'text'])
const PAGE_KEYS = new Set(['order', 'limit', 'cursor'])
const RANGE_KEYS = new Set(['from', 'after', 'before', 'stream', 'where', 'reverse', 'limit'])

function asList(key: string, value: unknown): readonly string[] {
  // A copy: whoever gave it may go on with it.
  const list: unknown[] = Array.isArray(value) ? [...value] : [value]
  for (const item of list) {
    if (typeof item !== 'string') throw new TypeError(`${key} must be a string or an array of strings`)
  }
  return list as readonly string[]
}

/** @throws RangeError */
export function asTime(key: string, value: string | Date): string {
  const time = normalizeTime(value instanceof Date && !Number.isNaN(value.getTime()) ? value.toISOString() : String(value))
  if (time === null)
    throw new RangeError(`${key} must be an RFC 3339 time with a zone, such as 2026-11-22T20:15:33Z, not ${JSON.stringify(value)}`)
  return time
}

/** @throws TypeError */
export function refuseUnknown(keys: readonly string[], ...known: readonly ReadonlySet<string>[]): void {
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

/** Where a page before has ended. `place`: of the ranking of the records before `before`. */
interface Reached {
  readonly seq: number | null
  readonly before: number
  readonly place: number
}

const BEGINNING: Reached = { seq: null, before: Infinity, place: 0 }

/**
 * A cursor names the order and the position that was read last, `o41`, `n7`; of a ranking, that of which records it is
 * and how many places were read, `r1017.50`.
 */
function parseCursor(cursor: string, order: TextOrder): Reached {
  const match = /^(?:([on])(0|[1-9][0-9]{0,15})|(r)(0|[1-9][0-9]{0,15})\.([1-9][0-9]{0,15}))$/.exec(cursor)
  if (match === null) throw new RangeError(`cursor ${JSON.stringify(cursor)} is not one that a query gave`)
  const [, positional, seq, rank, before, place] = match
  if ((positional ?? rank) !== order[0]) throw new RangeError(`cursor ${cursor} is of a query in another order`)
  if (rank === undefined) return { ...BEGINNING, seq: Number(seq) }
  return { seq: null, before: Number(before), place: Number(place) }
}

export function formatCursor(order: 'oldest' | 'newest', seq: number): string {
  return `${order[0]}${seq}`
}

/** @param places of the ranking that were handed out, from its first */
export function formatRankCursor(before: number, places: number): string {
  return `r${before}.${places}`
}

/** A query as the store takes it; one record more than the page, to tell whether there is a next one. */
export interface AskedPage {
  readonly selection: Selection
  readonly order: TextOrder
  readonly limit: number
  /** Words to look for, or null. */
  readonly text: string | null
  /** Places of the ranking that the pages before had. */
  readonly offset: number
}

/** @throws TypeError | RangeError */
export function asSelection(query: Query): AskedPage {
  const filter = asFilter(query, PAGE_KEYS)
  const text = textOf(query)
  const order = query.order ?? 'oldest'
  if (order !== 'oldest' && order !== 'newest' && order !== 'rank')
    throw new RangeError(`order must be oldest, newest or rank, not ${JSON.stringify(order)}`)
  if (order === 'rank' && text === null) throw new RangeError('order rank needs text: without words nothing ranks before anything else')
  const limit = asCount('limit', query.limit ?? LIMITS.query_limit_default, LIMITS.query_limit_max)
  const reached = query.cursor === undefined || query.cursor === null ? BEGINNING : parseCursor(query.cursor, order)
  const reverse = order === 'newest'
  const selection = {
    filter,
    from: reached.seq === null || reverse ? 0 : reached.seq + 1,
    before: reached.seq === null || !reverse ? reached.before : reached.seq,
    reverse,
    limit: limit + 1,
  }
  return { selection, order, limit, text, offset: reached.place }
}

/** The words that are asked for, or null. @throws TypeError | RangeError */
export function textOf({ text }: Criteria): string | null {
  if (text === undefined) return null
  if (typeof text !== 'string') throw new TypeError('text must be a string of words')
  const { text_query_characters_max: max } = LIMITS
  if (text.length > max) throw new RangeError(`text has ${text.length} characters and may have ${max}: name fewer words`)
  return text
}

/** A range as the store takes it. @throws TypeError | RangeError */
export function asRange(range: ReadRange): Selection {
  refuseUnknown(Object.keys(range), RANGE_KEYS)
  const { from, after, before: end, stream, where = {}, reverse = false } = range
  if (from !== undefined && after !== undefined) throw new TypeError('give from (inclusive) or after (exclusive), not both')
  if (end !== undefined && reverse) throw new TypeError('before is the end of reading forwards: in reverse, give after')
  if (where.text !== undefined) throw new TypeError('read finds no words: use scan or query')
  if (where.stream !== undefined && stream !== undefined) throw new TypeError('give stream once')
  const limit = range.limit === undefined ? Infinity : asCount('limit', range.limit, Number.MAX_SAFE_INTEGER)
  const first = from === undefined ? (after === undefined ? null : asPosition('after', after)) : asPosition('from', from)
  const before = end === undefined ? Infinity : asPosition('before', end)
  const filter: RecordFilter = { ...asFilter(where), ...(stream === undefined ? {} : { stream: asList('stream', stream) }) }
  if (first === null) return { filter, from: 0, before, reverse, limit }
  if (reverse) return { filter, from: 0, before: after === undefined ? first + 1 : first, reverse, limit }
  return { filter, from: after === undefined ? first : first + 1, before, reverse, limit }
}
