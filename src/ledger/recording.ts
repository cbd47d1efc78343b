/** What callers record: agent calls, events, and calls while they are made. Drafts them in the caller's own turn and hands them on. */
import { CallInProgress } from './call.ts'
import type { CallHandle, CallInfo, CallOptions } from './call.ts'
import type { Captures } from './captures.ts'
import type { Clock } from './clock.ts'
import { asCondition } from './conditions.ts'
import type { AppendCondition, EventQuery } from './conditions.ts'
import { currentContext, runInContext } from './context.ts'
import { draftCall, draftEvent } from './draft.ts'
import type { Draft, DraftContext, EventInput, RecordOptions } from './draft.ts'
import type { LedgerEntryInput } from './entry.ts'
import { LedgerError } from './errors.ts'
import { checkedEvents } from './events.ts'
import { LIMITS } from './limits.ts'
import type { ExpectedVersion, Receipt, StreamExpectation } from './plan.ts'

/** What must be true for an append to go through. */
export interface AppendConditions {
  /** No event that fits this, or any of these, has come since `after`. */
  readonly failIfEventsMatch?: EventQuery | readonly EventQuery[] | undefined
  /** The `head` of what the decision was made on; -1, unless said, for all of the ledger. */
  readonly after?: number | undefined
}

export interface AppendEventsOptions extends AppendConditions {
  /** `stream_version` of the stream's last event, or `no-stream`, `stream-exists`, `any` (unless said). */
  readonly expectedVersion?: ExpectedVersion | undefined
}

/** Part of an append to several streams. */
export interface StreamEvents {
  readonly stream: string
  /** May be none: then the stream is only expected at its version. */
  readonly events: EventInput | readonly EventInput[]
  readonly expectedVersion?: ExpectedVersion | undefined
}

export interface RecordingParts {
  readonly clock: Clock
  readonly drafting: DraftContext
  readonly captures: Captures
  readonly submit: (drafts: readonly Draft[], expectations: readonly StreamExpectation[], condition?: AppendCondition) => Promise<Receipt[]>
}

function expectationOf(stream: string, expected: ExpectedVersion | undefined): StreamExpectation[] {
  if (typeof stream !== 'string') throw new TypeError('stream must be a string')
  if (expected === undefined || expected === 'any') return []
  const isWord = expected === 'no-stream' || expected === 'stream-exists'
  if (!isWord && !(Number.isSafeInteger(expected) && expected >= 0))
    throw new RangeError("expectedVersion must be a version from 0, 'no-stream', 'stream-exists' or 'any'")
  return [{ stream, expected }]
}

function listOf(events: EventInput | readonly EventInput[]): readonly EventInput[] {
  return Array.isArray(events) ? (events as readonly EventInput[]) : [events as EventInput]
}

/** What the caller left open, from what surrounds it. */
function inContext(event: EventInput): EventInput {
  const { correlation_id, causation_id, actor } = currentContext()
  if (correlation_id === undefined && causation_id === undefined && actor === undefined) return event
  return {
    ...event,
    correlation_id: event.correlation_id ?? correlation_id,
    causation_id: event.causation_id ?? causation_id,
    actor: event.actor ?? actor,
  }
}

export class Recording {
  readonly #parts: RecordingParts

  constructor(parts: RecordingParts) {
    this.#parts = parts
  }

  async record(entry: LedgerEntryInput, options: RecordOptions): Promise<Receipt> {
    const { correlation_id, causation_id } = currentContext()
    const known = correlation_id === undefined || (entry?.correlation_id ?? undefined) !== undefined ? entry : { ...entry, correlation_id }
    const led = causation_id === undefined || options.causation_id !== undefined ? options : { ...options, causation_id }
    const draft = draftCall(known, led, this.#parts.drafting)
    const [receipt] = await this.#parts.captures.heard(1, this.#parts.submit([draft], []))
    return receipt as Receipt
  }

  async append(stream: string, events: EventInput | readonly EventInput[], options: AppendEventsOptions): Promise<Receipt[]> {
    const { expectedVersion, ...conditions } = options
    const receipts = await this.#append([{ stream, events, expectedVersion }], conditions)
    return receipts[0] as Receipt[]
  }

  appendAll(parts: readonly StreamEvents[], conditions: AppendConditions): Promise<Receipt[][]> {
    if (!Array.isArray(parts) || parts.length === 0) throw new TypeError('appendAll takes a list of { stream, events }')
    return this.#append(parts, conditions)
  }

  async #append(parts: readonly StreamEvents[], { failIfEventsMatch, after }: AppendConditions): Promise<Receipt[][]> {
    const expectations = parts.flatMap(({ stream, expectedVersion }) => expectationOf(stream, expectedVersion))
    const condition = asCondition(failIfEventsMatch, after)
    const lists = parts.map(({ events }) => listOf(events))
    const count = lists.reduce((sum, { length }) => sum + length, 0)
    if (count === 0) throw new RangeError('append needs at least one event')
    if (count > LIMITS.append_records_max)
      throw new LedgerError('too_large', `one append has at most ${LIMITS.append_records_max} events; split it. Nothing was recorded`)
    const checked = checkedEvents(lists.flat().map(inContext))
    // Awaited only where a schema takes its time: appends that are not awaited keep their order.
    const events = checked instanceof Promise ? await checked : checked
    let next = 0
    const drafts = parts.flatMap(({ stream }, i) =>
      (lists[i] as readonly EventInput[]).map(() => draftEvent(stream, events[next++] as EventInput, this.#parts.drafting)),
    )
    const receipts = await this.#parts.captures.heard(count, this.#parts.submit(drafts, expectations, condition))
    let taken = 0
    return lists.map(({ length }) => receipts.slice(taken, (taken += length)))
  }

  async call<T>(given: CallInfo, fn: (call: CallHandle) => T | PromiseLike<T>, options: CallOptions<T>): Promise<T> {
    for (const name of ['agent_name', 'method_name'] as const) {
      if (typeof given[name] !== 'string' || given[name] === '') throw new TypeError(`call needs ${name}: a string that is not empty`)
    }
    const { clock, drafting, captures } = this.#parts
    const around = currentContext()
    const info =
      given.correlation_id === undefined && around.correlation_id !== undefined
        ? { ...given, correlation_id: around.correlation_id }
        : given
    const { capture, output, durable, ...said } = options
    const recordOptions = said.causation_id === undefined ? { ...said, causation_id: around.causation_id } : said
    const call = new CallInProgress<T>(info, info.run_id ?? drafting.newId(), clock)
    const stream = options.stream ?? info.correlation_id ?? call.handle.run_id
    let started: string | undefined
    if (capture === 'start-and-end') {
      started = drafting.newId()
      await captures.record(call.started(started), { ...recordOptions, stream, outcome: 'unknown' }, 'AgentCallStarted')
    }
    const ended: RecordOptions = { ...recordOptions, stream, ...(started === undefined ? {} : { causation_id: started }) }
    const recorded = async (entry: LedgerEntryInput, outcome: RecordOptions['outcome']): Promise<void> => {
      const capturing = captures.record(entry, { ...ended, outcome: options.outcome ?? outcome }, 'AgentCallCompleted')
      if (durable === true) await capturing
    }
    let result: T
    try {
      // What is recorded in there is led to by this call.
      const inside = {
        correlation_id: info.correlation_id ?? undefined,
        causation_id: started ?? call.handle.run_id,
        actor: info.agent_name,
      }
      result = await runInContext(inside, () => fn(call.handle))
    } catch (error) {
      const { entry, outcome } = call.threw(error)
      await recorded(entry, outcome)
      throw error
    }
    await recorded(call.returned(result, output), undefined)
    return result
  }
}
