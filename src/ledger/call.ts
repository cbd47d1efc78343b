/** Recording a call while it is made: what is known before, what came of it, and how it ended. */
import type { Outcome } from '../verify/header.ts'
import { formatTime } from '../verify/time.ts'
import type { Clock } from './clock.ts'
import type { RecordOptions } from './draft.ts'
import type { JsonObject, JsonValue, LedgerEntryInput } from './entry.ts'
import { repair, repairText } from './repair.ts'

type MeasuredMember = 'timestamp_start' | 'timestamp_end' | 'latency_ms'

/** What is known before the call: the entry less what the ledger measures. */
export type CallInfo = Omit<LedgerEntryInput, MeasuredMember> & {
  readonly agent_name: string
  readonly method_name: string
  /** Aborting it makes the outcome `cancelled`, or `timeout` where its reason is a TimeoutError. Handed to the function. */
  readonly signal?: AbortSignal | undefined
}

/** What the function that makes the call is given. */
export interface CallHandle {
  /** The run_id under which the call is recorded: the causation_id of what it leads to. */
  readonly run_id: string
  readonly signal: AbortSignal | undefined
  /** Adds what is known only now: model, usage, raw output, policy decisions. Later values win. */
  set(members: Partial<Omit<LedgerEntryInput, MeasuredMember | 'run_id'>>): void
}

export interface CallOptions<T> extends RecordOptions {
  /** `start-and-end` records `AgentCallStarted`, durably, before the function runs: a crash in mid-call leaves a trace. */
  readonly capture?: 'end' | 'start-and-end' | undefined
  /** Members of the entry from the result; by default text is `raw_output`, other data `parsed_data`. */
  readonly output?: ((result: T) => Partial<Omit<LedgerEntryInput, MeasuredMember | 'run_id'>>) | undefined
  /** Wait until the record is durable before the result is passed on. By default it is written behind. */
  readonly durable?: boolean | undefined
}

/** How a call that threw ended. */
export function outcomeOfError(error: unknown, signal: AbortSignal | undefined): Outcome {
  const nameOf = (value: unknown): unknown => (typeof value === 'object' && value !== null ? (value as { name?: unknown }).name : undefined)
  if (nameOf(error) === 'TimeoutError') return 'timeout'
  if (signal?.aborted === true && (error === signal.reason || nameOf(error) === 'AbortError')) {
    return nameOf(signal.reason) === 'TimeoutError' ? 'timeout' : 'cancelled'
  }
  return nameOf(error) === 'AbortError' ? 'cancelled' : 'failure'
}

function errorMembers(error: unknown): JsonObject {
  const { value } = repair(
    error instanceof Error
      ? { name: error.name, message: error.message, code: (error as { code?: unknown }).code ?? null }
      : { thrown: error },
  )
  return { error: value }
}

/** Text of a result that is text; data of one that is data. */
function resultMembers(result: unknown): { raw_output?: string; parsed_data?: JsonValue } {
  if (typeof result === 'string') return { raw_output: result }
  if (result === undefined || result === null) return {}
  return { parsed_data: typeof result === 'object' ? (result as JsonValue) : { value: result as JsonValue } }
}

const TEXT_MEMBERS = new Set(['agent_name', 'method_name', 'model_name', 'provider_name', 'raw_output', 'correlation_id', 'run_id'])

/** Entry members that canonical JSON can carry, whatever was given; what had to be changed is said in `input_metadata`. */
function fitMembers(members: { readonly [key: string]: unknown }): { readonly [key: string]: JsonValue } {
  const fit: { [key: string]: JsonValue } = {}
  const repairs: string[] = []
  for (const [key, member] of Object.entries(members)) {
    if (member === undefined) continue
    if (typeof member === 'string' && TEXT_MEMBERS.has(key)) {
      fit[key] = repairText(member, (what) => repairs.push(`/${key}: ${what}`))
      continue
    }
    const repaired = repair(member)
    fit[key] = repaired.value
    repairs.push(...repaired.repairs.map((place) => `/${key}${place.startsWith('/:') ? place.slice(1) : place}`))
  }
  if (repairs.length > 0) fit['input_metadata'] = { ...(fit['input_metadata'] as JsonObject | undefined), capture_repairs: repairs }
  return fit
}

/** A call under way: times it and puts its entry together. */
export class CallInProgress<T> {
  readonly handle: CallHandle
  readonly #clock: Clock
  readonly #info: CallInfo
  readonly #added: { [key: string]: unknown } = {}
  readonly #start_us: number
  readonly #start_ms: number

  constructor(info: CallInfo, run_id: string, clock: Clock) {
    this.#info = info
    this.#clock = clock
    this.#start_us = clock.now()
    this.#start_ms = clock.monotonic()
    this.handle = { run_id, signal: info.signal, set: (members) => void Object.assign(this.#added, members) }
  }

  #members(): { readonly [key: string]: unknown } {
    const { signal: _, ...members } = this.#info
    return { ...members, ...this.#added }
  }

  /** What is known when the call begins; it has a run_id of its own. */
  started(run_id: string): LedgerEntryInput {
    const timestamp_start = formatTime(this.#start_us)
    return {
      ...fitMembers({ ...this.#members(), run_id }),
      timestamp_start,
      timestamp_end: timestamp_start,
      latency_ms: 0,
    } as unknown as LedgerEntryInput
  }

  #ended(members: { readonly [key: string]: unknown }): LedgerEntryInput {
    const latency_ms = Math.max(0, this.#clock.monotonic() - this.#start_ms)
    const timestamp_start = formatTime(this.#start_us)
    const timestamp_end = formatTime(Math.max(this.#start_us, this.#clock.now()))
    const fit = fitMembers({ ...members, ...this.#members(), run_id: this.handle.run_id })
    return { ...fit, timestamp_start, timestamp_end, latency_ms } as unknown as LedgerEntryInput
  }

  returned(result: T, output: CallOptions<T>['output']): LedgerEntryInput {
    let members: object
    try {
      members = output === undefined ? resultMembers(result) : output(result)
    } catch (error) {
      members = { ...resultMembers(result), input_metadata: { capture_repairs: [`output: ${String(error)}`] } }
    }
    return this.#ended(members as { [key: string]: unknown })
  }

  threw(error: unknown): { readonly entry: LedgerEntryInput; readonly outcome: Outcome } {
    return { entry: this.#ended({ parsed_data: errorMembers(error) }), outcome: outcomeOfError(error, this.#info.signal) }
  }
}
