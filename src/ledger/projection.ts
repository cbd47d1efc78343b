/**
 * Projections: a state that follows from events, by one pure function an event type. The ledger stays the truth; a state
 * can be computed anew at any time.
 */
import { asFilters } from './conditions.ts'
import type { EventQuery } from './conditions.ts'
import type { JsonObject, LedgerEntry } from './entry.ts'
import type { EventDefinition } from './events.ts'
import type { LedgerRecord } from './record.ts'
import { requirePolicy } from './snapshot-policy.ts'
import type { SnapshotPolicy } from './snapshot-policy.ts'
import type { RecordFilter } from './store.ts'
import { withheldError } from './withheld-entry.ts'

// oxlint-disable-next-line typescript/no-explicit-any -- what a definition takes and gives does not matter here
type AnyDefinition = EventDefinition<string, any, any>

/** What a handler of this type gets: what its definition reads, a call's entry, or plain JSON. */
export type DataOf<Definitions extends readonly AnyDefinition[], Type extends string> = [
  Extract<Definitions[number], { readonly type: Type }>,
] extends [never]
  ? Type extends 'AgentCallCompleted' | 'AgentCallStarted'
    ? LedgerEntry
    : JsonObject
  : ReturnType<Extract<Definitions[number], { readonly type: Type }>['read']>

/** What events have in common that something follows from. */
export interface EventsOptions<Definitions extends readonly AnyDefinition[]> {
  /** 1 to 64 characters of a-z, 0-9, _ and -, the first a letter. */
  readonly name: string
  /** From 1. Another one whenever a handler changes, so that no state of the old one is taken for a new one's. */
  readonly version: number
  /** Definitions of the types in `on`: their handlers get typed data, brought up to the definition's version. */
  readonly events?: Definitions | undefined
  /** Only events that fit this, too. */
  readonly filter?: EventQuery | undefined
  /**
   * `fail` (unless said): an event whose data are withheld ends the reading with `archived` or `erased` (`not_found` where
   * nobody knows why). `skip`: it is passed by.
   */
  readonly withheld?: 'fail' | 'skip' | undefined
}

export interface ProjectionOptions<
  State,
  Definitions extends readonly AnyDefinition[],
  Types extends string,
> extends EventsOptions<Definitions> {
  /** The state before any event. Each loading gets a copy of its own. */
  readonly initial: State
  /** By event type: the next state. Pure, since events are replayed. */
  readonly on: { readonly [Type in Types]: (state: State, data: DataOf<Definitions, Type>, record: LedgerRecord) => State }
  /** Snapshots that `load` takes by itself; none unless said. */
  readonly snapshots?: SnapshotPolicy | undefined
  /** States of older versions: `{ 1: (v1) => v2 }`. Without it their snapshots are not used. */
  readonly upcast?: { readonly [version: number]: (state: never) => unknown } | undefined
}

/** Which events something follows from, and how their data are read. */
export interface EventSelection {
  readonly name: string
  readonly version: number
  /** The types that have a handler, in order. */
  readonly types: readonly string[]
  /** What else an event has to fit; the types are not in it unless `filter` named some. */
  readonly filter: RecordFilter
  /**
   * The data for the type's handler; undefined where the event is to be passed by.
   * @throws LedgerError `archived` | `erased` | `not_found` | `newer_format` | `key_error` | `damaged`
   */
  dataOf(record: LedgerRecord): unknown
}

export interface Projection<State = unknown> extends EventSelection {
  readonly snapshots: SnapshotPolicy | null
  /** A copy of the state before any event. */
  start(): State
  /** The state behind this event; the same where no handler is of its type. @throws what a handler throws, TypeError where it returned none */
  apply(state: State, record: LedgerRecord): State
  /** A state of an older version as one of this; undefined where nothing makes one of it. */
  upcast(state: unknown, version: number): State | undefined
}

const NAME = /^[a-z][a-z0-9_-]{0,63}$/

function requireHandlers(name: string, on: object): string[] {
  const types = Object.keys(on).toSorted()
  if (types.length === 0) throw new TypeError(`${name}: on is empty; it has a function for each type of event`)
  for (const type of types) {
    if (typeof (on as { readonly [type: string]: unknown })[type] !== 'function')
      throw new TypeError(`${name}: on.${type} must be a function`)
  }
  return types
}

/** @throws TypeError | RangeError */
export function selectEvents(options: EventsOptions<readonly AnyDefinition[]>, on: object): EventSelection {
  const { name, version, events = [], filter, withheld = 'fail' } = options
  if (typeof name !== 'string' || !NAME.test(name))
    throw new RangeError(`name must be 1 to 64 characters of a-z, 0-9, _ and -, the first a letter, not ${JSON.stringify(name)}`)
  if (!Number.isSafeInteger(version) || version < 1) throw new RangeError(`${name}: version must be an integer from 1, not ${version}`)
  if (withheld !== 'fail' && withheld !== 'skip') throw new RangeError(`${name}: withheld must be fail or skip`)
  const types = requireHandlers(name, on)
  const definitions = new Map<string, AnyDefinition>()
  for (const definition of events) {
    if (!types.includes(definition.type)) throw new TypeError(`${name}: events has ${definition.type}, for which on has no function`)
    definitions.set(definition.type, definition)
  }
  const dataOf = (record: LedgerRecord): unknown => {
    if (record.entry === null) {
      if (record.locked !== null) throw record.locked
      if (withheld === 'skip') return undefined
      throw withheldError(record.seq, record.withheld, `{ withheld: 'skip' } in ${name} passes such by`)
    }
    return definitions.get(record.type)?.read(record) ?? record.entry
  }
  return { name, version, types, filter: filter === undefined ? {} : ordered(asFilters(filter)[0] as RecordFilter), dataOf }
}

/**
 * Defines a state that follows from events.
 * @throws TypeError | RangeError
 */
export function defineProjection<State, Types extends string, const Definitions extends readonly AnyDefinition[] = readonly []>(
  options: ProjectionOptions<State, Definitions, Types>,
): Projection<State> {
  const selection = selectEvents(options, options.on)
  const { name, version } = selection
  const { initial, snapshots, upcast: upcasters = {} } = options
  if (snapshots !== undefined) requirePolicy(snapshots)
  if (initial === undefined) throw new TypeError(`${name}: initial is the state before any event`)
  const on = new Map(Object.entries(options.on)) as Map<string, (state: State, data: unknown, record: LedgerRecord) => State>
  return {
    ...selection,
    snapshots: snapshots ?? null,
    start: () => structuredClone(initial),
    apply(state, record) {
      const handler = on.get(record.type)
      if (handler === undefined) return state
      const data = selection.dataOf(record)
      if (data === undefined) return state
      const next = handler(state, data, record)
      if (next === undefined)
        throw new TypeError(`${name}: on.${record.type} returned nothing for the record at position ${record.seq}: return the state`)
      return next
    },
    upcast(state, from) {
      let current: unknown = state
      for (let at = from; at < version; at++) {
        const next = upcasters[at] as ((state: unknown) => unknown) | undefined
        if (next === undefined) return undefined
        current = next(current)
      }
      return from > version ? undefined : (current as State)
    },
  }
}

/** Lists in one order and without doubles, so that one filter has one spelling. */
function ordered(filter: RecordFilter): RecordFilter {
  return Object.fromEntries(
    Object.entries(filter).map(([key, value]) => [key, Array.isArray(value) ? [...new Set(value)].toSorted() : value]),
  )
}

/** What fits both. */
export function bothFilters(one: RecordFilter, other: RecordFilter): RecordFilter {
  const both: { [key: string]: unknown } = { ...one }
  for (const [key, value] of Object.entries(other)) {
    const there = both[key] as readonly string[] | undefined
    if (there === undefined) both[key] = value
    // A record has every tag, and any of the values of all else.
    else if (key === 'tags') both[key] = [...there, ...(value as readonly string[])]
    else both[key] = there.filter((item) => (value as readonly string[]).includes(item))
  }
  return ordered(both as RecordFilter)
}

/** What is asked of a projection beside what it says itself. */
export interface ProjectionScope {
  /** Only events of this stream. */
  readonly stream?: string | undefined
  /** Only events that fit this. */
  readonly filter?: EventQuery | undefined
}

/** Without the types that have handlers. @throws TypeError */
export function scopeFilter(selection: EventSelection, { stream, filter }: ProjectionScope): RecordFilter {
  if (stream !== undefined && typeof stream !== 'string') throw new TypeError('stream must be a string')
  const asked = filter === undefined ? {} : (asFilters(filter)[0] as RecordFilter)
  return bothFilters(bothFilters(selection.filter, asked), stream === undefined ? {} : { stream: [stream] })
}

/** True where nothing can fit: a list of values is empty. */
export function fitsNothing(filter: RecordFilter): boolean {
  return Object.entries(filter).some(([key, value]) => key !== 'tags' && Array.isArray(value) && value.length === 0)
}
