/**
 * Messages in the form of chat fine-tuning files: https://platform.openai.com/docs/guides/fine-tuning and, for the
 * members of a message, the API's reference of `messages`. What does not fit is refused, not bent.
 */
import { canonicalize } from '../verify/canonical.ts'
import { isObject } from '../ledger/entry.ts'
import type { JsonObject, JsonValue } from '../ledger/entry.ts'
import { textOf } from './source.ts'

export interface ChatToolCall extends JsonObject {
  readonly id: string
  readonly type: 'function'
  readonly function: { readonly name: string; readonly arguments: string }
}

export type ChatMessage = JsonObject & { readonly role: 'system' | 'developer' | 'user' | 'assistant' | 'tool' }

const PARTS: { readonly [role: string]: readonly string[] } = {
  system: ['text'],
  developer: ['text'],
  user: ['text', 'image_url', 'input_audio', 'file'],
  assistant: ['text', 'refusal'],
  tool: ['text'],
}

function isContent(role: string, content: unknown): content is JsonValue {
  if (typeof content === 'string') return true
  const kinds = PARTS[role] ?? []
  return (
    Array.isArray(content) &&
    content.length > 0 &&
    content.every((part) => isObject(part) && kinds.includes(part['type'] as string) && part[part['type'] as string] !== undefined)
  )
}

/** In the standard form, or null where one of them has no id or no name. */
export function toolCallsOf(value: unknown): ChatToolCall[] | null {
  if (!Array.isArray(value) || value.length === 0) return null
  const calls = value.flatMap((call: unknown): ChatToolCall[] => {
    if (!isObject(call)) return []
    const id = textOf(call['id'])
    const made = isObject(call['function']) ? call['function'] : call
    const name = textOf(made['name'])
    const given = made['arguments']
    if (id === null || name === null) return []
    // Some SDKs hand arguments over as an object; in the file they are its text.
    const text = typeof given === 'string' ? given : isObject(given) ? canonicalize(given) : null
    return text === null ? [] : [{ id, type: 'function', function: { name, arguments: text } }]
  })
  return calls.length === value.length ? calls : null
}

/** The assistant's message, or null where it says nothing and asks for nothing, or has another form. */
export function assistantMessage(content: JsonValue | undefined, tool_calls: JsonValue | undefined, name?: JsonValue): ChatMessage | null {
  const hasCalls = Array.isArray(tool_calls) && tool_calls.length > 0
  const calls = hasCalls ? toolCallsOf(tool_calls) : null
  if (hasCalls && calls === null) return null
  const isSilent = content === undefined || content === null || content === ''
  if (isSilent ? calls === null : !isContent('assistant', content)) return null
  return {
    role: 'assistant',
    content: isSilent ? null : (content as JsonValue),
    ...(typeof name === 'string' && { name }),
    ...(calls !== null && { tool_calls: calls }),
  }
}

/** A message that somebody gave, with the members of the form alone; null where it has another form. */
export function chatMessage(message: unknown): ChatMessage | null {
  if (!isObject(message)) return null
  const { role, content, name, tool_call_id } = message
  if (role === 'assistant') return message['function_call'] === undefined ? assistantMessage(content, message['tool_calls'], name) : null
  if (role === 'tool') {
    return textOf(tool_call_id) !== null && isContent(role, content)
      ? { role, tool_call_id: tool_call_id as string, content: content as JsonValue }
      : null
  }
  if (role !== 'system' && role !== 'developer' && role !== 'user') return null
  return isContent(role, content) ? { role, content: content as JsonValue, ...(typeof name === 'string' && { name }) } : null
}

/**
 * True where each tool message answers a call of the assistant's message before it, and each call is answered before
 * anybody else speaks; the last message is the assistant's.
 */
export function isConversation(messages: readonly ChatMessage[]): boolean {
  let waiting = new Set<string>()
  for (const message of messages) {
    if (message.role === 'tool') {
      if (!waiting.delete(message['tool_call_id'] as string)) return false
      continue
    }
    if (waiting.size > 0) return false
    const calls = (message['tool_calls'] ?? []) as readonly ChatToolCall[]
    waiting = new Set(calls.map(({ id }) => id))
    if (waiting.size < calls.length) return false
  }
  return messages.at(-1)?.role === 'assistant' && messages.length > 1
}
