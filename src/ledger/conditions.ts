/**
 * Conditions of an append: a dynamic consistency boundary. Whoever decided on what certain events said appends only if no
 * further one of them has come since. Source: https://dcb.events/specification/
 */
import { readSense } from '../verify/record.ts'
import { fitsFilter } from './filter.ts'
import { asFilter, refuseUnknown } from './query.ts'
import type { OneOrMore } from './query.ts'
import type { RecordFilter, SealedRecord, Selection, Store } from './store.ts'

/** An event type by its name, or its definition. */
export type EventTypeName = string | { readonly type: string }

/** Which events: all parts that are given must fit; of several values of one part any, of `tags` every one. */
export interface EventQuery {
  readonly types?: EventTypeName | readonly EventTypeName[] | undefined
  readonly tags?: OneOrMore<string> | undefined
  readonly stream?: OneOrMore<string> | undefined
  readonly correlation_id?: OneOrMore<string> | undefined
  readonly causation_id?: OneOrMore<string> | undefined
  readonly actor?: OneOrMore<string> | undefined
  readonly action?: OneOrMore<string> | undefined
}

export interface AppendCondition {
  /** An event that fits any of these, at a position behind `after`, makes the append fail. */
  readonly filters: readonly RecordFilter[]
  /** Position; -1 for all of the ledger. */
  readonly after: number
}

const KEYS = new Set(['types', 'tags', 'stream', 'correlation_id', 'causation_id', 'actor', 'action'])

/** @throws TypeError */
function typeNames(types: unknown): string[] {
  return (Array.isArray(types) ? types : [types]).map((type: unknown) => {
    const name = typeof type === 'string' ? type : (type as { readonly type?: unknown } | null)?.type
    if (typeof name !== 'string') throw new TypeError('types must be names or definitions of events')
    return name
  })
}

/** @throws TypeError */
function asEventFilter(query: EventQuery): RecordFilter {
  if (typeof query !== 'object' || query === null || Array.isArray(query))
    throw new TypeError('a query of events is an object: { types, tags, … }')
  refuseUnknown(Object.keys(query), KEYS)
  const { types, tags, ...same } = query
  return asFilter({ ...same, tag: tags, type: types === undefined ? undefined : typeNames(types) })
}

/** One filter a query; an event fits where it fits any. @throws TypeError */
export function asFilters(query: EventQuery | readonly EventQuery[]): RecordFilter[] {
  const queries = Array.isArray(query) ? (query as readonly EventQuery[]) : [query as EventQuery]
  if (queries.length === 0) throw new TypeError('a query of events is an object or a list of at least one')
  return queries.map(asEventFilter)
}

/** @throws TypeError | RangeError */
export function asCondition(query: EventQuery | readonly EventQuery[] | undefined, after: number | undefined): AppendCondition | undefined {
  if (query === undefined) {
    if (after !== undefined) throw new TypeError('after belongs to failIfEventsMatch: which events must not have come since?')
    return undefined
  }
  if (after !== undefined && !(Number.isSafeInteger(after) && after >= -1))
    throw new RangeError(`after must be a position, or -1, not ${after}`)
  return { filters: asFilters(query), after: after ?? -1 }
}

/** True where this record, sealed just now, is one that the condition rules out. */
export function rulesOut({ filters, after }: AppendCondition, { header, provider, model }: SealedRecord): boolean {
  return header.seq > after && filters.some((filter) => fitsFilter(filter, header, provider, model))
}

/**
 * The first position behind `after` and before `size` of an event that the condition rules out; null where there is none.
 * What stands before the head never changes, so the answer is as good as the head that is compared at the append.
 */
export async function firstMatch(store: Store, { filters, after }: AppendCondition, size: number): Promise<number | null> {
  let first: number | null = null
  for (const filter of filters) {
    const selection: Selection = { filter, from: after + 1, before: first ?? size, reverse: false, limit: 1 }
    for await (const [line] of store.read(selection)) {
      if (line !== undefined) first = readSense(line).header.seq
      break
    }
  }
  return first
}
