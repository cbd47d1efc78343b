/** What a stream's events come to: its state now, or as it was known, or as it was, at some time. */
import { normalizeTime } from '../verify/time.ts'
import type { JsonObject } from '../ledger/entry.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { LedgerRecord } from '../ledger/record.ts'
import type { Replayable } from '../ledger/view.ts'

/** How state is made of events. Handlers are pure: they give the next state and change nothing. */
export interface StateProjection<State> {
  readonly initial: State | (() => State)
  /** By event type; types without a handler pass by. */
  readonly on: { readonly [type: string]: (state: State, data: JsonObject, record: LedgerRecord) => State }
}

export interface StateOptions {
  /** Only events that were recorded up to then, inclusive: what was known. RFC 3339 with a zone, or a Date. */
  readonly recordedAt?: string | Date | undefined
  /** Only events that happened up to then, inclusive. */
  readonly happenedAt?: string | Date | undefined
}

export interface CurrentState<State> {
  readonly stream: string
  readonly state: State
  /** `stream_version` of the last event that is in it: the `expectedVersion` of an append that relies on it. Null where there is none. */
  readonly version: number | null
  /** Position and hash of that event. */
  readonly seq: number | null
  readonly hash: string | null
  /** Events that were looked at. */
  readonly events: number
  /** Events whose data are withheld: they are not in the state. */
  readonly withheld: number
}

type Step<State> = (state: State, record: LedgerRecord) => State

/** The state before any event, and what makes the next of it. Withheld data reach no handler of a plain projection. */
function stepsOf<State>(projection: StateProjection<State> | Pick<Replayable<State>, 'start' | 'apply'>): {
  readonly start: State
  readonly step: Step<State>
} {
  if ('apply' in projection) return { start: projection.start(), step: (state, record) => projection.apply(state, record) }
  const { initial, on } = projection
  return {
    start: typeof initial === 'function' ? (initial as () => State)() : initial,
    step: (state, record) => {
      const { entry, header } = record
      return entry !== null && Object.hasOwn(on, header.type) ? on[header.type]!(state, entry, record) : state
    },
  }
}

/** The default: the members of each event's data over those of the events before; a member is replaced as a whole. */
const MERGED: { readonly start: JsonObject; readonly step: Step<JsonObject> } = {
  start: {},
  step: (state, { entry }) => ({ ...state, ...entry }),
}

/** @throws RangeError */
function timeOf(key: string, value: string | Date | undefined): string | null {
  if (value === undefined) return null
  const text = value instanceof Date && !Number.isNaN(value.getTime()) ? value.toISOString() : String(value)
  const time = normalizeTime(text)
  if (time === null)
    throw new RangeError(`${key} must be an RFC 3339 time with a zone, such as 2026-11-22T20:15:33Z, not ${JSON.stringify(text)}`)
  return time
}

/**
 * The state of a stream: its events' data merged in their order, or what a projection of the caller's own makes of them.
 * @throws RangeError for a time that is none; LedgerError as reading
 */
export function currentState(ledger: Ledger, stream: string, options?: StateOptions): Promise<CurrentState<JsonObject>>
export function currentState<State>(
  ledger: Ledger,
  stream: string,
  options: StateOptions & { readonly projection: StateProjection<State> | Pick<Replayable<State>, 'start' | 'apply'> },
): Promise<CurrentState<State>>
export async function currentState<State>(
  ledger: Ledger,
  stream: string,
  options: StateOptions & { readonly projection?: StateProjection<State> | Pick<Replayable<State>, 'start' | 'apply'> } = {},
): Promise<CurrentState<State | JsonObject>> {
  const recordedAt = timeOf('recordedAt', options.recordedAt)
  const happenedAt = timeOf('happenedAt', options.happenedAt)
  const { projection } = options
  const { start, step } = (projection === undefined ? MERGED : stepsOf(projection)) as {
    readonly start: State | JsonObject
    readonly step: Step<State | JsonObject>
  }
  let state = start
  let last: LedgerRecord | null = null
  let events = 0
  let withheld = 0
  for await (const record of ledger.read({ stream })) {
    const { header, entry } = record
    // Times of the ledger are of one width: the order of the texts is theirs.
    if (recordedAt !== null && header.recorded_at > recordedAt) continue
    if (happenedAt !== null && header.timestamp > happenedAt) continue
    events++
    last = record
    if (entry === null) withheld++
    state = step(state, record)
  }
  return {
    stream,
    state,
    version: last?.header.stream_version ?? null,
    seq: last?.seq ?? null,
    hash: last?.hash ?? null,
    events,
    withheld,
  }
}
