/**
 * The header of a record: the small public audit fact. Source: docs/format.md, "The header".
 * `formatHeader` writes the canonical bytes, `parseHeader` reads and checks them; they mirror each other.
 */
import { byteLength } from './text.ts'
import { isLedgerTime } from './time.ts'

export const FORMAT_VERSION = 1
export const GENESIS = 'GENESIS'
/** The reserved stream in which the ledger records what happens to itself. */
export const LEDGER_STREAM = 'ledger'

export const OUTCOMES = ['success', 'failure', 'denied', 'cancelled', 'timeout', 'unknown'] as const
export type Outcome = (typeof OUTCOMES)[number]

/** Event types that only the ledger itself writes, all in the stream `ledger`. */
export const RESERVED_TYPES = [
  'LedgerCreated',
  'KeyAdded',
  'KeyRetired',
  'SnapshotTaken',
  'SegmentSealed',
  'EntriesArchived',
  'EntriesRestored',
  'EntryErased',
  'LegalHoldPlaced',
  'LegalHoldReleased',
  'ClockMovedBack',
  'RecordingGapDetected',
] as const
export type ReservedType = (typeof RESERVED_TYPES)[number]

/** Limits of the header; all in bytes or counts. */
export const HEADER_LIMITS = { header_bytes_max: 16_384, string_bytes_max: 512, array_items_max: 64 } as const

/** Keys in canonical order (UTF-16 code units ascending), which is the order on the wire. */
export interface RecordHeader {
  /** What was done (`method_name` of an agent call). */
  readonly action: string
  /** Who or what caused it (`agent_name`, a user's pseudonym, a service). */
  readonly actor: string
  /** Position of the last record of the same append; absent where the append was one record. */
  readonly append_last_seq?: number
  /** `run_id` of the record that led to this one. */
  readonly causation_id?: string
  /** Links the records of one task, conversation or trace. */
  readonly correlation_id?: string
  /** SHA-256, 64 lower-case hex, of the line's bytes from `"salt":"` to the entry's last `}`. */
  readonly entry_hash: string
  readonly outcome: Outcome
  /** `hash` of the record before, or GENESIS at seq 0. */
  readonly previous_hash: string
  /** When the ledger took it: RFC 3339 UTC with six fraction digits. */
  readonly recorded_at: string
  /** Unique in the ledger; the idempotency key of the append. */
  readonly run_id: string
  /** Version of the entry's schema, from 1. */
  readonly schema: number
  /** 0-based position in the ledger. */
  readonly seq: number
  /** Ids of the keys that sign this record, ascending. */
  readonly signers?: readonly string[]
  readonly stream: string
  /** 0-based, gapless in its stream. */
  readonly stream_version: number
  /** What else to find it by; ascending, none twice. */
  readonly tags?: readonly string[]
  /** When it happened in the world (valid time). */
  readonly timestamp: string
  /** The event type, a past-tense fact. */
  readonly type: string
  readonly v: typeof FORMAT_VERSION
}

const PLAIN_STRING = /^[ -~]{1,512}$/
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/
// eslint-disable-next-line no-control-regex
const TO_ESCAPE = /["\\\u0000-\u001f]/
const HASH = /^[0-9a-f]{64}$/

/** True for 64 lower-case hex digits. */
export function isHash(text: string): boolean {
  return HASH.test(text)
}

/** Why a text can't be a header's string, or null. */
function stringFault(value: unknown): string | null {
  if (typeof value !== 'string') return `is ${value === null ? 'null' : `a ${typeof value}`}, not a string`
  if (PLAIN_STRING.test(value)) return null
  if (value === '') return 'is empty'
  if (!value.isWellFormed()) return 'has an unpaired surrogate'
  if (CONTROL.test(value)) return 'has a control character'
  const { string_bytes_max: max } = HEADER_LIMITS
  return value.length > max || byteLength(value) > max ? `is longer than ${max} bytes` : null
}

function integerFault(value: unknown, least: number): string | null {
  return Number.isSafeInteger(value) && (value as number) >= least ? null : `is not an integer from ${least} to 2^53-1`
}

function timeFault(value: unknown): string | null {
  return typeof value === 'string' && isLedgerTime(value) ? null : 'is not a time such as 2026-11-22T20:15:33.123456Z'
}

function listFault(value: unknown): string | null {
  if (!Array.isArray(value) || value.length === 0) return 'is not an array with at least one string (leave it out where it is empty)'
  if (value.length > HEADER_LIMITS.array_items_max) return `has more than ${HEADER_LIMITS.array_items_max} items`
  for (let i = 0; i < value.length; i++) {
    const fault = stringFault(value[i])
    if (fault !== null) return `has an item that ${fault}`
    // Texts compare by UTF-16 code unit, which is the order of RFC 8785.
    if (i > 0 && !(value[i - 1] < value[i])) return 'is not ascending without repetition'
  }
  return null
}

const isOutcome = (value: unknown): value is Outcome => (OUTCOMES as readonly unknown[]).includes(value)

/** What is wrong with each key's value; the keys in the order of the wire. */
const VALUE_FAULTS: { readonly [key in keyof Required<RecordHeader>]: (value: unknown) => string | null } = {
  action: stringFault,
  actor: stringFault,
  append_last_seq: (value) => integerFault(value, 0),
  causation_id: stringFault,
  correlation_id: stringFault,
  entry_hash: (value) => (typeof value === 'string' && isHash(value) ? null : 'is not 64 lower-case hex digits'),
  outcome: (value) => (isOutcome(value) ? null : `is not one of ${OUTCOMES.join(', ')}`),
  previous_hash: (value) =>
    typeof value === 'string' && (value === GENESIS || isHash(value)) ? null : 'is not 64 lower-case hex digits or GENESIS',
  recorded_at: timeFault,
  run_id: stringFault,
  schema: (value) => integerFault(value, 1),
  seq: (value) => integerFault(value, 0),
  signers: listFault,
  stream: stringFault,
  stream_version: (value) => integerFault(value, 0),
  tags: listFault,
  timestamp: timeFault,
  type: stringFault,
  v: (value) => (value === FORMAT_VERSION ? null : `is not ${FORMAT_VERSION}`),
}
const KEYS = Object.keys(VALUE_FAULTS) as (keyof RecordHeader)[]
const OPTIONAL: ReadonlySet<string> = new Set(['append_last_seq', 'causation_id', 'correlation_id', 'signers', 'tags'])

/** Why values that are legal each for themselves are not legal together, or null. */
function togetherFault(header: RecordHeader): string | null {
  if ((header.previous_hash === GENESIS) !== (header.seq === 0)) return 'previous_hash is GENESIS at seq 0 and nowhere else'
  if (header.append_last_seq !== undefined && header.append_last_seq < header.seq) return 'append_last_seq is before seq'
  return null
}

/**
 * Why a header can't be written, naming the key, or null where it is legal. The writer's check before `formatHeader`:
 * keys that it doesn't know are refused here, since they would not be written.
 */
export function checkHeader(header: RecordHeader): string | null {
  let known = 0
  for (const key of KEYS) {
    const value = header[key]
    if (value === undefined) {
      if (!OPTIONAL.has(key)) return `${key} is missing`
      if (key in header) known++
      continue
    }
    known++
    const fault = VALUE_FAULTS[key](value)
    if (fault !== null) return `${key} ${fault}`
  }
  const keys = Object.keys(header)
  if (keys.length !== known) return `${keys.find((key) => !Object.hasOwn(VALUE_FAULTS, key)) ?? 'a key'} is not a key of a header`
  const fault = togetherFault(header)
  if (fault !== null) return fault
  const { header_bytes_max: max } = HEADER_LIMITS
  const text = formatHeader(header)
  return text.length > max || byteLength(text) > max ? `the header is longer than ${max} bytes` : null
}

/** A test and a concatenation cost a quarter of JSON.stringify, which is left for what needs it. */
function quote(text: string): string {
  return TO_ESCAPE.test(text) ? JSON.stringify(text) : `"${text}"`
}

function quoteAll(texts: readonly string[]): string {
  return `[${texts.map(quote).join(',')}]`
}

/**
 * The header's canonical JSON, the bytes that are hashed. The keys are written in their order instead of being sorted:
 * this is on the path of every append. It checks nothing; `checkHeader` does.
 */
export function formatHeader(header: RecordHeader): string {
  const { append_last_seq, causation_id, correlation_id, signers, tags } = header
  return (
    `{"action":${quote(header.action)},"actor":${quote(header.actor)}` +
    (append_last_seq === undefined ? '' : `,"append_last_seq":${append_last_seq}`) +
    (causation_id === undefined ? '' : `,"causation_id":${quote(causation_id)}`) +
    (correlation_id === undefined ? '' : `,"correlation_id":${quote(correlation_id)}`) +
    `,"entry_hash":"${header.entry_hash}","outcome":"${header.outcome}","previous_hash":"${header.previous_hash}"` +
    `,"recorded_at":"${header.recorded_at}","run_id":${quote(header.run_id)},"schema":${header.schema},"seq":${header.seq}` +
    (signers === undefined ? '' : `,"signers":${quoteAll(signers)}`) +
    `,"stream":${quote(header.stream)},"stream_version":${header.stream_version}` +
    (tags === undefined ? '' : `,"tags":${quoteAll(tags)}`) +
    `,"timestamp":"${header.timestamp}","type":${quote(header.type)},"v":${header.v}}`
  )
}
