/**
 * One run of an agent in the message form of OpenAI's chat API, as the records that it becomes. A pure function of the
 * run, its source's name and its index: the same file gives the same records, wherever and whenever it is imported.
 */
import { normalizeTime } from '../../verify/time.ts'
import type { EventInput, RecordOptions } from '../draft.ts'
import { isObject } from '../entry.ts'
import type { JsonObject, JsonValue, LedgerEntryInput } from '../entry.ts'
import { fitsHeader, importId, NO_TIME } from './source.ts'

export type ChatMessage = JsonObject & { readonly role: string }

export interface ChatRun {
  readonly messages: readonly ChatMessage[]
  /** What the run's object holds besides: a task, a reward, who was asked. */
  readonly about: JsonObject
}

export interface ChatSettings {
  readonly source: string
  readonly agentName: string
}

export type ChatRecord =
  | { readonly kind: 'call'; readonly message: number; readonly entry: LedgerEntryInput; readonly options: RecordOptions }
  | { readonly kind: 'tool result'; readonly message: number; readonly stream: string; readonly event: EventInput }

export class BadRun extends Error {
  override readonly name = 'BadRun'
  readonly code: 'no_messages' | 'bad_message' | 'no_calls'

  constructor(code: BadRun['code'], message: string) {
    super(message)
    this.code = code
  }
}

export function isMessage(value: unknown): value is ChatMessage {
  return isObject(value) && typeof value['role'] === 'string' && value['role'] !== ''
}

function isToolResult({ role }: ChatMessage): boolean {
  // `function` is what the API called it before there were several calls in a message.
  return role === 'tool' || role === 'function'
}

/** Where the messages are, before any other array whose items have a role. */
const USUAL_NAMES = ['messages', 'traj', 'trajectory', 'conversation']

/** @throws BadRun */
export function readRun(value: unknown): ChatRun {
  if (Array.isArray(value)) return { messages: checked(value), about: {} }
  if (!isObject(value)) throw new BadRun('no_messages', 'a run is an array of messages, or an object that holds one')
  const arrays = Object.keys(value).filter((key) => Array.isArray(value[key]))
  const hasRoles = (key: string): boolean => isMessage((value[key] as readonly JsonValue[])[0])
  const name = USUAL_NAMES.find((usual) => arrays.includes(usual) && hasRoles(usual)) ?? arrays.find(hasRoles)
  if (name === undefined) throw new BadRun('no_messages', 'no member is an array of messages with a role')
  const { [name]: messages, ...about } = value
  return { messages: checked(messages as readonly JsonValue[]), about }
}

function checked(items: readonly JsonValue[]): readonly ChatMessage[] {
  if (items.length === 0) throw new BadRun('no_messages', 'the run has no message')
  items.forEach((item, i) => {
    if (!isMessage(item)) throw new BadRun('bad_message', `message ${i} is no object with a role`)
  })
  if (!items.some((item) => (item as ChatMessage).role === 'assistant')) {
    throw new BadRun('no_calls', 'the run has no message of the assistant, so no call was completed in it')
  }
  return items as readonly ChatMessage[]
}

function textOf(value: JsonValue | undefined): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}

/** The first of these members that is such a text, and the rest of the object without it. */
function taken(
  from: JsonObject,
  keys: readonly string[],
  fits: (text: string) => boolean = () => true,
): [text: string | null, rest: JsonObject] {
  for (const key of keys) {
    const text = textOf(from[key])
    if (text === null || !fits(text)) continue
    const { [key]: _, ...rest } = from
    return [text, rest]
  }
  return [null, from]
}

const hasZone = (text: string): boolean => normalizeTime(text) !== null

/** Texts of the parts of a content that is a list of parts; the list itself is kept beside it. */
function contentText(content: JsonValue | undefined): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  return content.map((part) => (isObject(part) ? (textOf(part['text']) ?? '') : '')).join('')
}

/** The records of a run, in the order of its messages; one at a time, since each call names all records before it. */
export function* chatRecords(run: ChatRun, index: number, settings: ChatSettings): Generator<ChatRecord, void, undefined> {
  const records = new RunRecords(run, index, settings)
  for (const [i, message] of run.messages.entries()) {
    const record = records.take(message, i)
    if (record !== null) yield record
  }
}

interface ToolCall {
  readonly run_id: string
  readonly name: string | null
}

class RunRecords {
  readonly #settings: ChatSettings
  readonly #index: number
  readonly #correlation_id: string
  readonly #messages: readonly ChatMessage[]
  readonly #lastCall: number
  readonly #about: JsonObject
  readonly #model: string | null
  readonly #provider: string | null
  /** Messages since the assistant's last one. */
  #prompt: JsonObject[] = []
  #run_ids: string[] = []
  /** run_id of the assistant's last message. */
  #lastRunId: string | null = null
  readonly #toolCalls = new Map<string, ToolCall>()

  constructor(run: ChatRun, index: number, settings: ChatSettings) {
    this.#settings = settings
    this.#index = index
    this.#messages = run.messages
    this.#correlation_id = importId(settings.source, index)
    this.#lastCall = run.messages.findLastIndex(({ role }) => role === 'assistant')
    const [model, withoutModel] = taken(run.about, ['model', 'model_name'])
    const [provider, about] = taken(withoutModel, ['provider', 'provider_name'])
    this.#model = model
    this.#provider = provider
    this.#about = about
  }

  /** The record that the message becomes; null for one that goes into the next call's prompt. */
  take(message: ChatMessage, i: number): ChatRecord | null {
    const run_id = importId(this.#settings.source, this.#index, i)
    let record: ChatRecord | null = null
    if (message.role === 'assistant') {
      record = { kind: 'call', message: i, entry: this.#call(message, i, run_id), options: {} }
      this.#noteToolCalls(message, run_id)
      this.#prompt = []
      this.#lastRunId = run_id
    } else if (isToolResult(message)) {
      const event = this.#toolResult(message, i, run_id)
      record = { kind: 'tool result', message: i, stream: this.#correlation_id, event }
      // By reference: what the tool said is in its own record.
      const { role, name, tool_call_id } = message
      this.#prompt.push({
        role,
        ...(name === undefined ? {} : { name }),
        ...(tool_call_id === undefined ? {} : { tool_call_id }),
        content_ref: run_id,
      })
    } else {
      this.#prompt.push(message)
    }
    if (record !== null) this.#run_ids.push(run_id)
    return record
  }

  #where(i: number, time: string | null): { [key: string]: JsonValue } {
    const { source } = this.#settings
    return { source, run: this.#index, message: i, ...(time === null ? { times: 'not in source' } : {}) }
  }

  #call(message: ChatMessage, i: number, run_id: string): LedgerEntryInput {
    const { role: _, content, ...members } = message
    const [time, withoutTime] = taken(members, ['timestamp', 'created_at'], hasZone)
    const [model, { usage, ...rest }] = taken(withoutTime, ['model'])
    // Of the message: {role: 'assistant', content: raw_output, ...parsed_data}. So a content that is no text stands there.
    const parsed: JsonObject = {
      ...rest,
      ...(usage === undefined || isObject(usage) ? {} : { usage }),
      ...(typeof content === 'string' ? {} : { content: content ?? null }),
    }
    const isLast = i === this.#lastCall
    const { reward } = this.#about
    return {
      run_id,
      correlation_id: this.#correlation_id,
      agent_name: this.#settings.agentName,
      method_name: 'chat',
      timestamp_start: time ?? NO_TIME,
      timestamp_end: time ?? NO_TIME,
      prompt: this.#prompt,
      context_refs: [...this.#run_ids],
      raw_output: contentText(content),
      parsed_data: Object.keys(parsed).length === 0 ? null : parsed,
      provider_name: this.#provider ?? '',
      model_name: model ?? this.#model ?? '',
      usage: isObject(usage) ? usage : {},
      input_metadata: {
        ...this.#where(i, time),
        ...(isObject(usage) ? {} : { usage: 'not in source' }),
        ...(isLast ? this.#aboutRun(i) : {}),
      },
      // On the last call alone: a reward is for the run, and summed over the records it must count once.
      training_labels: isLast && reward !== undefined ? { reward } : {},
    }
  }

  /** What is known when a run is over: its metadata, and what was said after the last call. */
  #aboutRun(lastCall: number): JsonObject {
    const { reward: _, ...about } = this.#about
    const after = this.#messages.slice(lastCall + 1).filter((message) => !isToolResult(message))
    return {
      ...(Object.keys(about).length > 0 ? { run_metadata: about } : {}),
      ...(after.length > 0 ? { messages_after: after } : {}),
    }
  }

  #noteToolCalls(message: ChatMessage, run_id: string): void {
    const calls = message['tool_calls']
    if (!Array.isArray(calls)) return
    for (const call of calls as readonly JsonValue[]) {
      if (!isObject(call)) continue
      const id = textOf(call['id'])
      const name = isObject(call['function']) ? textOf(call['function']['name']) : textOf(call['name'])
      if (id !== null) this.#toolCalls.set(id, { run_id, name })
    }
  }

  #toolResult(message: ChatMessage, i: number, run_id: string): EventInput {
    const { role: _, name: __, tool_call_id: ___, content, ...members } = message
    const [time, rest] = taken(members, ['timestamp', 'created_at'], hasZone)
    const tool_call_id = textOf(message['tool_call_id'])
    const call = tool_call_id === null ? undefined : this.#toolCalls.get(tool_call_id)
    const tool = textOf(message['name']) ?? call?.name ?? null
    const causation_id = call?.run_id ?? this.#lastRunId
    return {
      type: 'ToolCallCompleted',
      run_id,
      actor: this.#settings.agentName,
      action: tool !== null && fitsHeader(tool) ? tool : 'tool',
      // The source doesn't say whether the tool did what it was asked to.
      outcome: 'unknown',
      timestamp: time ?? NO_TIME,
      correlation_id: this.#correlation_id,
      ...(causation_id === null ? {} : { causation_id }),
      data: { ...rest, tool, tool_call_id, content: content ?? null, input_metadata: this.#where(i, time) },
    }
  }
}
