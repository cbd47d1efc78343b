/**
 * A strict reader of chat fine-tuning files, from the published rules (OpenAI, "Fine-tuning", and the API reference of
 * chat messages): JSON Lines, each an object with `messages`; their members and types; tool calls and their answers.
 * Written apart from what writes such files. `labels` is the one further member that is taken.
 */

const MEMBERS: { readonly [role: string]: readonly string[] } = {
  system: ['role', 'content', 'name'],
  developer: ['role', 'content', 'name'],
  user: ['role', 'content', 'name'],
  assistant: ['role', 'content', 'name', 'tool_calls', 'weight'],
  tool: ['role', 'content', 'tool_call_id'],
}

type Json = { readonly [key: string]: unknown }

function fail(line: number, why: string): never {
  throw new Error(`line ${line}: ${why}`)
}

function checkToolCalls(line: number, calls: unknown): string[] {
  if (!Array.isArray(calls) || calls.length === 0) fail(line, 'tool_calls is no list of calls')
  return (calls as Json[]).map((call) => {
    if (Object.keys(call).toSorted().join() !== 'function,id,type') fail(line, `a tool call has ${Object.keys(call).join()}`)
    const made = call['function'] as Json
    if (call['type'] !== 'function' || typeof call['id'] !== 'string' || call['id'] === '') fail(line, 'a tool call without type or id')
    if (Object.keys(made).toSorted().join() !== 'arguments,name') fail(line, `a function has ${Object.keys(made).join()}`)
    if (typeof made['name'] !== 'string' || !/^\S{1,64}$/.test(made['name'])) fail(line, 'a function without a name')
    if (typeof made['arguments'] !== 'string') fail(line, 'arguments are no text')
    JSON.parse(made['arguments'])
    return call['id']
  })
}

function checkContent(line: number, message: Json): void {
  const { role, content } = message
  if (typeof content === 'string') return
  if (content === null && role === 'assistant' && message['tool_calls'] !== undefined) return
  if (!Array.isArray(content) || content.length === 0) fail(line, `content of ${String(role)} is ${JSON.stringify(content)}`)
  for (const part of content as Json[])
    if (typeof part['type'] !== 'string' || part[part['type']] === undefined) fail(line, 'a part without its content')
}

/** @returns how many examples @throws Error that names the line */
export function readChatFile(text: string): number {
  if (text !== '' && !text.endsWith('\n')) throw new Error('the last line has no end')
  const lines = text.split('\n').slice(0, -1)
  lines.forEach((source, at) => {
    const line = at + 1
    const example = JSON.parse(source) as Json
    for (const key of Object.keys(example)) if (key !== 'messages' && key !== 'labels') fail(line, `unknown member ${key}`)
    const { messages } = example
    if (!Array.isArray(messages) || messages.length === 0) fail(line, 'no messages')
    let waiting: string[] = []
    for (const message of messages as Json[]) {
      const allowed = MEMBERS[String(message['role'])] ?? fail(line, `role ${String(message['role'])}`)
      for (const key of Object.keys(message)) if (!allowed.includes(key)) fail(line, `${String(message['role'])} has ${key}`)
      checkContent(line, message)
      if (message['role'] === 'tool') {
        if (!waiting.includes(message['tool_call_id'] as string)) fail(line, 'an answer to no call')
        waiting = waiting.filter((id) => id !== message['tool_call_id'])
        continue
      }
      if (waiting.length > 0) fail(line, `calls without answer: ${waiting.join()}`)
      if (message['role'] === 'assistant' && message['tool_calls'] !== undefined) waiting = checkToolCalls(line, message['tool_calls'])
    }
    if ((messages.at(-1) as Json)['role'] !== 'assistant') fail(line, 'the last message is not the assistant’s')
  })
  return lines.length
}
