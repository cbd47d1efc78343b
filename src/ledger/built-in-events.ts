/**
 * Events that agents have in common, beside the calls themselves. Each names the record that it is about by run_id and
 * hash, so that it can't be taken for one about another record of that name; that run_id is also its `causation_id`, by
 * which it is found. Nothing is changed by any of them: the first record stays.
 */
import type { JsonObject, JsonValue } from './entry.ts'
import { about, anything, dataOf, milliseconds, object, oneOf, optional, text } from './event-schema.ts'
import { defineEvent } from './events.ts'
import type { EventDefinition, EventMeta, StandardSchema } from './events.ts'

/** Which record: a `LedgerRecord` and a `Receipt` are such, too. */
export interface RecordReference {
  readonly run_id: string
  /** 64 lower-case hex digits. */
  readonly hash: string
}

/** A definition whose events are led to by the record that they are about. */
function defineAbout<const Type extends string, Data extends object>(
  type: Type,
  schema: StandardSchema<Data, Data>,
): EventDefinition<Type, Data> {
  const plain = defineEvent(type, schema)
  const make = (data: Data, meta: EventMeta = {}): ReturnType<typeof plain> => {
    const run_id = (data as { about?: { run_id?: unknown } } | null)?.about?.run_id
    return plain(data, typeof run_id === 'string' ? { ...meta, causation_id: run_id } : meta)
  }
  const { version, is, read, upcast } = plain
  return Object.assign(make, { type, version, is, read, upcast })
}

/** Somebody says something of a record: a note, labels for training or review, or both. */
export const EntryAnnotated = defineAbout(
  'EntryAnnotated',
  dataOf<{ readonly about: RecordReference; readonly note?: string | undefined; readonly labels?: JsonObject | undefined }>(
    { about, note: optional(text), labels: optional(object) },
    ['note', 'labels'],
  ),
)

/** What a record says was wrong: `changes` is a JSON Merge Patch (RFC 7396) of its entry, in which null takes a member away. */
export const EntryCorrected = defineAbout(
  'EntryCorrected',
  dataOf<{ readonly about: RecordReference; readonly changes: JsonObject; readonly reason: string }>({
    about,
    changes: object,
    reason: text,
  }),
)

/** A tool was called and has answered, or failed (`error`; give the outcome with the event). */
export const ToolCallCompleted = defineAbout(
  'ToolCallCompleted',
  dataOf<{
    readonly tool: string
    readonly arguments?: JsonValue | undefined
    readonly result?: JsonValue | undefined
    readonly error?: JsonValue | undefined
    /** The id by which the model's provider knows the call. */
    readonly tool_call_id?: string | undefined
    readonly latency_ms?: number | undefined
    /** The agent call that asked for it, where it is recorded already. */
    readonly about?: RecordReference | undefined
  }>({
    tool: text,
    arguments: optional(anything),
    result: optional(anything),
    error: optional(anything),
    tool_call_id: optional(text),
    latency_ms: optional(milliseconds),
    about: optional(about),
  }),
)

/** A policy was asked, and has decided. */
export const PolicyDecided = defineAbout(
  'PolicyDecided',
  dataOf<{
    readonly policy: string
    readonly decision: 'allow' | 'deny' | 'ask'
    readonly reason?: string | undefined
    readonly details?: JsonObject | undefined
    /** What it decided on, where that is recorded already. */
    readonly about?: RecordReference | undefined
  }>({ policy: text, decision: oneOf('allow', 'deny', 'ask'), reason: optional(text), details: optional(object), about: optional(about) }),
)

type Approval = { readonly about: RecordReference; readonly reason?: string | undefined; readonly details?: JsonObject | undefined }
const APPROVAL = dataOf<Approval>({ about, reason: optional(text), details: optional(object) })

/** Somebody, the event's `actor`, has approved what the record asks for. */
export const ApprovalGranted = defineAbout('ApprovalGranted', APPROVAL)

/** Somebody, the event's `actor`, has refused it. */
export const ApprovalDenied = defineAbout('ApprovalDenied', APPROVAL)
