/**
 * The `LedgerEntry`: what one agent call was. Names as in the mission (§2.1), snake_case in code, file and query.
 * This file checks what callers give, fills in what they leave out, and derives the header's fields from it.
 */
import { CanonicalError, canonicalize, canonicalizeOwn } from '../verify/canonical.ts'
import type { Outcome } from '../verify/header.ts'
import { formatTime, normalizeTime, parseTime } from '../verify/time.ts'
import { LedgerError } from './errors.ts'
import { LIMITS } from './limits.ts'

export type JsonValue = string | number | boolean | null | readonly JsonValue[] | JsonObject
export type JsonObject = { readonly [key: string]: JsonValue }

/** Neither null nor an array. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Whether and how the raw output could be parsed; `ok: false` makes the outcome `failure`. */
export type ParseResult = JsonObject & { readonly ok?: boolean }

/** An agent call as it is stored: every member is there. */
export interface LedgerEntry {
  readonly run_id: string
  readonly correlation_id: string | null
  /** RFC 3339 UTC with six fraction digits. */
  readonly timestamp_start: string
  readonly timestamp_end: string
  /** Milliseconds, by a monotonic clock where the ledger timed the call. */
  readonly latency_ms: number
  readonly agent_name: string
  readonly method_name: string
  /** The text, or the chat messages, that went in. */
  readonly prompt: string | readonly JsonValue[]
  /** What else was used, by reference: digests, record ids, URLs. */
  readonly context_refs: readonly string[]
  readonly input_metadata: JsonObject
  readonly raw_output: string
  readonly parsed_data: JsonObject | readonly JsonValue[] | null
  readonly parse_result: ParseResult | null
  readonly provider_name: string
  readonly model_name: string
  /** Token counts and costs; money as integer minor units or decimal text. */
  readonly usage: JsonObject
  readonly policy_decisions: readonly JsonObject[]
  /** What was known at the time; later labels are records of their own. */
  readonly training_labels: JsonObject
}

/** An entry as callers give it: two names are required, all else has a default. Dates may be `Date`s. */
export type LedgerEntryInput = {
  readonly agent_name: string
  readonly method_name: string
} & {
  readonly [Key in Exclude<keyof LedgerEntry, 'agent_name' | 'method_name' | 'timestamp_start' | 'timestamp_end'>]?:
    | LedgerEntry[Key]
    | undefined
} & {
  readonly timestamp_start?: string | Date | undefined
  readonly timestamp_end?: string | Date | undefined
}

const CANONICAL_LIMITS = { depth_max: LIMITS.entry_depth_max, bytes_max: LIMITS.entry_bytes_max }

type Kind =
  | 'text'
  | 'name'
  | 'text or messages'
  | 'time'
  | 'milliseconds'
  | 'object'
  | 'object or null'
  | 'data'
  | 'texts'
  | 'objects'
  | 'text or null'

/** Every member, in canonical order, with what it must be. */
const MEMBERS: readonly (readonly [keyof LedgerEntry, Kind])[] = [
  ['agent_name', 'name'],
  ['context_refs', 'texts'],
  ['correlation_id', 'text or null'],
  ['input_metadata', 'object'],
  ['latency_ms', 'milliseconds'],
  ['method_name', 'name'],
  ['model_name', 'text'],
  ['parse_result', 'object or null'],
  ['parsed_data', 'data'],
  ['policy_decisions', 'objects'],
  ['prompt', 'text or messages'],
  ['provider_name', 'text'],
  ['raw_output', 'text'],
  ['run_id', 'name'],
  ['timestamp_end', 'time'],
  ['timestamp_start', 'time'],
  ['training_labels', 'object'],
  ['usage', 'object'],
]
const KINDS = new Map<string, Kind>(MEMBERS)
export const LEDGER_ENTRY_KEYS: readonly string[] = MEMBERS.map(([key]) => key)

/** @throws LedgerError `invalid_entry`, naming the place. */
export function refuseEntry(path: string, why: string): never {
  throw new LedgerError('invalid_entry', `entry${path === '' ? '' : ` at ${path}`}: ${why}. Nothing was recorded`, { path })
}

const CHECKS: Record<Kind, readonly [test: (value: unknown) => boolean, wanted: string]> = {
  text: [(value) => typeof value === 'string', 'a string'],
  name: [(value) => typeof value === 'string' && value !== '', 'a string that is not empty'],
  'text or messages': [(value) => typeof value === 'string' || Array.isArray(value), 'a string or an array of messages'],
  'text or null': [(value) => value === null || typeof value === 'string', 'a string or null'],
  time: [(value) => typeof value === 'string' || value instanceof Date, 'an RFC 3339 time with zone, or a Date'],
  milliseconds: [(value) => typeof value === 'number' && value >= 0 && value < Infinity, 'milliseconds from 0'],
  object: [isObject, 'an object'],
  'object or null': [(value) => value === null || isObject(value), 'an object or null'],
  data: [(value) => value === null || typeof value === 'object', 'an object, an array or null'],
  texts: [(value) => Array.isArray(value) && value.every((item) => typeof item === 'string'), 'an array of strings'],
  objects: [(value) => Array.isArray(value) && value.every(isObject), 'an array of objects'],
}

/** Milliseconds are JSON numbers of µs grain: a longer fraction is noise of the timer. */
function roundMilliseconds(ms: number): number {
  return Math.round(ms * 1000) / 1000
}

/** A caller's time in the ledger's spelling. */
export function ledgerTime(value: string | Date, path: string): string {
  if (value instanceof Date) {
    const iso = Number.isNaN(value.getTime()) ? null : normalizeTime(value.toISOString())
    return iso ?? refuseEntry(path, 'a Date that is invalid, or outside the years 0000 to 9999')
  }
  return (
    normalizeTime(value) ??
    refuseEntry(path, `${JSON.stringify(value)} is no RFC 3339 time with a zone, such as 2026-11-22T20:15:33.123456Z`)
  )
}

/** Members that are filled in with what a retry of the same call may fill in differently. */
export type TimeMember = 'latency_ms' | 'timestamp_end' | 'timestamp_start'

/** A completed entry, before it is spelled. */
export interface CompletedEntry {
  readonly entry: LedgerEntry
  /** Time members that the caller did not give. */
  readonly defaulted: readonly TimeMember[]
}

/** What was defaulted, for each of the eight cases: bit 0 is the end, bit 1 the start, bit 2 the latency. */
const DEFAULTED: readonly (readonly TimeMember[])[] = Array.from({ length: 8 }, (_, bits) =>
  (['timestamp_end', 'timestamp_start', 'latency_ms'] as const).filter((_member, i) => (bits & (1 << i)) !== 0),
)

function checkMembers(input: object): void {
  const given = input as { readonly [key: string]: unknown }
  for (const key of Object.keys(input)) {
    const kind = KINDS.get(key)
    if (kind === undefined) refuseEntry(`/${key}`, `unknown key ${JSON.stringify(key)}; known are ${LEDGER_ENTRY_KEYS.join(', ')}`)
    const value = given[key]
    if (value === undefined) continue
    const [test, wanted] = CHECKS[kind]
    if (!test(value)) refuseEntry(`/${key}`, `must be ${wanted}`)
  }
  for (const key of ['agent_name', 'method_name'] as const) if (given[key] === undefined) refuseEntry(`/${key}`, 'is required')
}

/**
 * The entry with every member, in canonical order, from what the caller gave; its argument stays as it is.
 * @param now_us the time for what has none, µs since the epoch
 * @throws LedgerError `invalid_entry` for a missing name, an unknown key, a member of a wrong type
 */
export function completeEntry(input: LedgerEntryInput, run_id: string, now_us: number): CompletedEntry {
  if (!isObject(input)) refuseEntry('', 'an entry is an object')
  checkMembers(input)
  const { timestamp_end: end, timestamp_start: start, latency_ms } = input
  const timestamp_end = end === undefined ? formatTime(now_us) : ledgerTime(end, '/timestamp_end')
  const timestamp_start = start === undefined ? timestamp_end : ledgerTime(start, '/timestamp_start')
  const defaulted = (end === undefined ? 1 : 0) | (start === undefined ? 2 : 0) | (latency_ms === undefined ? 4 : 0)
  const entry: LedgerEntry = {
    agent_name: input.agent_name,
    context_refs: input.context_refs ?? [],
    correlation_id: input.correlation_id ?? null,
    input_metadata: input.input_metadata ?? {},
    latency_ms: roundMilliseconds(latency_ms ?? elapsedMs(timestamp_start, timestamp_end)),
    method_name: input.method_name,
    model_name: input.model_name ?? '',
    parse_result: input.parse_result ?? null,
    parsed_data: input.parsed_data ?? null,
    policy_decisions: input.policy_decisions ?? [],
    prompt: input.prompt ?? '',
    provider_name: input.provider_name ?? '',
    raw_output: input.raw_output ?? '',
    run_id,
    timestamp_end,
    timestamp_start,
    training_labels: input.training_labels ?? {},
    usage: input.usage ?? {},
  }
  return { entry, defaulted: DEFAULTED[defaulted]! }
}

/** 0 where the end is before the start. */
function elapsedMs(start: string, end: string): number {
  return start === end ? 0 : Math.max(0, ((parseTime(end) ?? 0) - (parseTime(start) ?? 0)) / 1000)
}

/** Outcome where none was given: a policy that denies, then a parse that failed, else success. */
export function outcomeOf(entry: LedgerEntry): Outcome {
  if (entry.policy_decisions.some((decision) => decision['decision'] === 'deny')) return 'denied'
  if (entry.parse_result?.ok === false) return 'failure'
  return 'success'
}

/**
 * The canonical text of what a caller gave as an entry's data.
 * @throws LedgerError `invalid_entry` with the path, or `too_large`
 */
export function canonicalEntry(data: unknown): string {
  if (!isObject(data)) refuseEntry('', 'the data of an event is an object')
  for (const key of Object.keys(data)) {
    if (key.startsWith('$')) refuseEntry(`/${key}`, 'top-level keys that start with $ are reserved')
  }
  return spelled(() => canonicalize(data, CANONICAL_LIMITS))
}

/** The canonical text of a completed entry, which is used up by it. @throws LedgerError as `canonicalEntry` */
export function canonicalCall(entry: LedgerEntry): string {
  return spelled(() => canonicalizeOwn(entry, CANONICAL_LIMITS))
}

function spelled(spell: () => string): string {
  try {
    return spell()
  } catch (error) {
    if (!(error instanceof CanonicalError)) throw error
    if (!error.too_large) return refuseEntry(error.path, error.reason)
    throw new LedgerError('too_large', `entry: ${error.reason}; keep large content elsewhere and record its digest. Nothing was recorded`, {
      path: error.path,
      cause: error,
    })
  }
}
