/**
 * Tests of decisions and projections without a store: given what has happened, when something is decided, then these events
 * follow, or this error.
 *
 *     await given(TaskOpened({ id: 7 })).when((history) => close(history, 7)).then(TaskClosed({ id: 7 }))
 *
 * The events are real records all the same: checked by their definitions as at an append, sealed, with positions and hashes.
 */
import assert from 'node:assert/strict'
import { draftEvent } from '../ledger/draft.ts'
import type { Draft, DraftContext, EventInput } from '../ledger/draft.ts'
import { checkedEvents } from '../ledger/events.ts'
import { planBatch } from '../ledger/plan.ts'
import { LedgerRecord } from '../ledger/record.ts'
import { GENESIS } from '../verify/header.ts'
import { formatLine } from '../verify/record.ts'
import { fixedClock } from './fixed-clock.ts'
import { seededRandom } from './seeded-random.ts'

/** What makes a state of records, such as `defineProjection` gives. */
export interface Folding<State> {
  /** The state before any event. */
  start(): State
  apply(state: State, record: LedgerRecord): State
}

type Events = EventInput | readonly EventInput[]
/** What a decision comes to: events, one, or nothing. */
export type Decided = Events | undefined | void

/** An error by its class, its `code`, or a pattern of its message. */
export type ExpectedError = RegExp | { readonly code: string } | (abstract new (...args: never[]) => Error)

/** What came of a decision. */
export interface Outcome {
  /**
   * Resolves where these events were decided, in this order, or the decision threw this error; `[]`: nothing was decided.
   * Of an event its type, data and version count, and whatever else is expected of it.
   * @throws AssertionError
   */
  then(expected: Events | ExpectedError): Promise<void>
}

export interface GivenState<State> {
  when(decide: (state: State) => Decided | Promise<Decided>): Outcome
  /** Resolves where this is the state. @throws AssertionError */
  then(expected: State): Promise<void>
}

export interface Given {
  /** `decide` gets the records in order, as `ledger.events` gives them. */
  when(decide: (history: readonly LedgerRecord[]) => Decided | Promise<Decided>): Outcome
  /** The state that follows from the events: to decide on, or to be compared. */
  project<State>(projection: Folding<State>): GivenState<State>
}

const STREAM = 'given'
const START = '2026-01-01T00:00:00.000000Z'
/** What of an event is compared only where it is expected. */
const MEMBERS = ['run_id', 'actor', 'action', 'outcome', 'timestamp', 'correlation_id', 'causation_id', 'tags'] as const

function contextOf(): DraftContext {
  const clock = fixedClock(START)
  const random = seededRandom(1)
  return {
    // A second goes by with each event.
    now: () => {
      clock.advance(1_000_000)
      return clock.now()
    },
    newId: () => `given-${random.below(2 ** 48)}`,
    newSalt: () => Buffer.from(random.bytes(16)).toString('base64url'),
    random,
    mask: null,
    actor: 'given',
  }
}

function listOf(events: Decided): readonly EventInput[] {
  if (events === undefined) return []
  return Array.isArray(events) ? (events as readonly EventInput[]) : [events as EventInput]
}

/** As an append would take them. @throws LedgerError */
async function draftsOf(events: readonly EventInput[], context: DraftContext): Promise<Draft[]> {
  return (await checkedEvents(events)).map((event) => draftEvent(STREAM, event, context))
}

async function recordsOf(events: readonly EventInput[]): Promise<LedgerRecord[]> {
  const context = contextOf()
  const state = { head: { size: 0, hash: GENESIS, recorded_at: null }, streams: new Map(), runs: new Map(), now: null }
  const requests = (await draftsOf(events, context)).map((draft) => ({ drafts: [draft], expectations: [] }))
  const { records, outcomes } = planBatch(requests, state, context.now(), {
    noteClock: () => {
      throw new TypeError('the clock of a test goes on')
    },
    inclusion: () => Promise.reject(new TypeError('there is no tree without a store')),
  })
  for (const outcome of outcomes) if ('error' in outcome) throw outcome.error
  const encoder = new TextEncoder()
  return records.map((record) => new LedgerRecord(encoder.encode(formatLine(record))))
}

function isErrorClass(value: unknown): value is abstract new (...args: never[]) => Error {
  return typeof value === 'function' && (value === Error || value.prototype instanceof Error)
}

/** Null for events. @throws TypeError */
function asExpectedError(expected: unknown): ExpectedError | null {
  if (expected instanceof RegExp || isErrorClass(expected)) return expected
  if (typeof expected !== 'object' || expected === null) throw new TypeError('expected are events, [] for nothing, or an error')
  return !Array.isArray(expected) && !('type' in expected) && 'code' in expected ? (expected as { code: string }) : null
}

function assertError(error: unknown, expected: ExpectedError): void {
  if (expected instanceof RegExp) assert.match(error instanceof Error ? error.message : String(error), expected)
  else if (isErrorClass(expected)) assert.ok(error instanceof expected, `threw ${String(error)}, expected was a ${expected.name}`)
  else assert.equal((error as { code?: unknown } | null)?.code, expected.code, `threw ${String(error)}`)
}

/** What counts of an event: where it is `asked`, what that one says as well. */
function compared(draft: Draft, asked: EventInput | undefined): object {
  const { type, schema, entry_text } = draft
  const members = MEMBERS.filter((member) => asked?.[member] !== undefined)
  return {
    type,
    schema,
    data: JSON.parse(entry_text) as unknown,
    ...Object.fromEntries(members.map((member) => [member, draft[member]])),
  }
}

async function assertEvents(decided: Decided, expected: readonly EventInput[]): Promise<void> {
  const context = contextOf()
  const [came, wanted] = [await draftsOf(listOf(decided), context), await draftsOf(expected, context)]
  assert.deepStrictEqual(
    came.map((draft, i) => compared(draft, expected[i])),
    wanted.map((draft, i) => compared(draft, expected[i])),
  )
}

async function assertOutcome(decide: () => Promise<Decided>, expected: Events | ExpectedError): Promise<void> {
  const expectedError = asExpectedError(expected)
  let decided: Decided
  try {
    decided = await decide()
  } catch (error) {
    if (expectedError === null) throw error
    return assertError(error, expectedError)
  }
  const names = listOf(decided).map(({ type }) => type)
  if (expectedError !== null) assert.fail(`it was decided (${names.join(', ') || 'nothing'}), and an error was expected`)
  await assertEvents(decided, listOf(expected as Events))
}

/** An `await` without `then` calls it with two functions, and hears of an error only where it is thrown at once. @throws TypeError */
function requireExpected(expected: unknown): void {
  if (typeof expected === 'function' && !isErrorClass(expected))
    throw new TypeError('say what is expected: .then(events), .then([]) for nothing, .then(error) or .then(state)')
}

function outcomeOf(decide: () => Promise<Decided>): Outcome {
  return {
    // oxlint-disable-next-line unicorn/no-thenable -- given, when, then is how such tests are written
    then(expected) {
      requireExpected(expected)
      return assertOutcome(decide, expected)
    },
  }
}

/** What has happened, in order. */
export function given(...events: readonly Events[]): Given {
  const history = (): Promise<LedgerRecord[]> => recordsOf(events.flatMap(listOf))
  return {
    when: (decide) => outcomeOf(async () => decide(await history())),
    project<State>(projection: Folding<State>): GivenState<State> {
      const stateOf = async (): Promise<State> =>
        (await history()).reduce((state, record) => projection.apply(state, record), projection.start())
      return {
        when: (decide) => outcomeOf(async () => decide(await stateOf())),
        // oxlint-disable-next-line unicorn/no-thenable -- as above
        then(expected) {
          requireExpected(expected)
          return stateOf().then((state) => assert.deepStrictEqual(state, expected))
        },
      }
    },
  }
}
