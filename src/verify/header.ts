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

function outcomeFault(value: unknown): string | null {
  return (OUTCOMES as readonly unknown[]).includes(value) ? null : `is not one of ${OUTCOMES.join(', ')}`
}

function hashFault(value: unknown): string | null {
  return typeof value === 'string' && HASH.test(value) ? null : 'is not 64 lower-case hex digits'
}

function previousFault(value: unknown, seq: number): string | null {
  if ((value === GENESIS) !== (seq === 0)) return `is not ${GENESIS} at seq 0 and there only`
  return value === GENESIS ? null : hashFault(value)
}

/** The fault with the name of its key; a value that is not there is missing. */
function named<Key extends string>(key: Key, header: { readonly [Each in Key]?: unknown }, fault: string | null): string | null {
  if (fault === null) return null
  return header[key] === undefined ? `${key} is missing` : `${key} ${fault}`
}

const KNOWN: ReadonlySet<string> = new Set<keyof RecordHeader>([
  'action',
  'actor',
  'append_last_seq',
  'causation_id',
  'correlation_id',
  'entry_hash',
  'outcome',
  'previous_hash',
  'recorded_at',
  'run_id',
  'schema',
  'seq',
  'signers',
  'stream',
  'stream_version',
  'tags',
  'timestamp',
  'type',
  'v',
])

/** The part of a header that its writer is given; the rest is where the record comes to stand. */
export type HeaderFacts = Pick<RecordHeader, 'action' | 'actor' | 'outcome' | 'run_id' | 'schema' | 'stream' | 'timestamp' | 'type'> & {
  readonly [Key in 'causation_id' | 'correlation_id' | 'signers' | 'tags']?: RecordHeader[Key] | undefined
}

/**
 * Why these can't stand in a header, naming the key, or null where they are legal. Lists may still make the whole
 * longer than a header may be: `checkHeader` of the whole finds that.
 */
export function checkFacts(header: HeaderFacts): string | null {
  const { causation_id, correlation_id, signers, tags } = header
  return (
    named('action', header, stringFault(header.action)) ??
    named('actor', header, stringFault(header.actor)) ??
    named('outcome', header, outcomeFault(header.outcome)) ??
    named('run_id', header, stringFault(header.run_id)) ??
    named('schema', header, integerFault(header.schema, 1)) ??
    named('stream', header, stringFault(header.stream)) ??
    named('timestamp', header, timeFault(header.timestamp)) ??
    named('type', header, stringFault(header.type)) ??
    (causation_id === undefined ? null : named('causation_id', header, stringFault(causation_id))) ??
    (correlation_id === undefined ? null : named('correlation_id', header, stringFault(correlation_id))) ??
    (signers === undefined ? null : named('signers', header, listFault(signers))) ??
    (tags === undefined ? null : named('tags', header, listFault(tags)))
  )
}

/** Why the values that say where the record stands are illegal, or null. */
function positionFault(header: RecordHeader): string | null {
  const { append_last_seq, seq } = header
  if (append_last_seq !== undefined && (!Number.isSafeInteger(append_last_seq) || append_last_seq < seq)) {
    return `append_last_seq is not an integer from seq, ${seq}, to 2^53-1`
  }
  return (
    named('entry_hash', header, hashFault(header.entry_hash)) ??
    named('recorded_at', header, timeFault(header.recorded_at)) ??
    named('seq', header, integerFault(seq, 0)) ??
    named('previous_hash', header, previousFault(header.previous_hash, seq)) ??
    named('stream_version', header, integerFault(header.stream_version, 0)) ??
    named('v', header, header.v === FORMAT_VERSION ? null : `is not ${FORMAT_VERSION}`)
  )
}

/**
 * Why a header can't be written, naming the key, or null where it is legal. The writer's check before `formatHeader`:
 * keys that it doesn't know are refused here, since they would not be written.
 */
export function checkHeader(header: RecordHeader): string | null {
  for (const key of Object.keys(header)) if (!KNOWN.has(key)) return `${key} is not a key of a header`
  const fault = checkFacts(header) ?? positionFault(header)
  // Without lists no header comes near to the limit: seven strings of 512 bytes, each byte escaped, make 7 KiB.
  if (fault !== null || (header.signers === undefined && header.tags === undefined)) return fault
  const { header_bytes_max: max } = HEADER_LIMITS
  return byteLength(formatHeader(header)) > max ? `the header is longer than ${max} bytes` : null
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
