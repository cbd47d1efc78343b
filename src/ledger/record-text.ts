/** The words of a record: what a full-text query looks in. What is in none of these is found by other means. */
import { isObject } from './entry.ts'
import type { JsonObject, JsonValue } from './entry.ts'
import type { LedgerRecord } from './record.ts'

/** Each empty where the record has none. */
export interface RecordText {
  /** What went into a call: its text, or that of its messages. */
  readonly prompt: string
  /** What came out. */
  readonly output: string
  /** What tools said. */
  readonly tools: string
  /** The texts in an event's data. */
  readonly data: string
}

const NO_TEXT: RecordText = { prompt: '', output: '', tools: '', data: '' }
/** Entries are at most 64 deep; what was put into the files by another hand may be deeper. */
const DEPTH_MAX = 128

/** All strings in the value, at any depth, one a line; keys are none. */
function textsIn(value: JsonValue | undefined, depth = 0): string {
  if (typeof value === 'string') return value
  if (typeof value !== 'object' || value === null || depth > DEPTH_MAX) return ''
  return joined(Object.values(value).map((each: JsonValue) => textsIn(each, depth + 1)))
}

function joined(texts: readonly string[]): string {
  return texts.filter((text) => text !== '').join('\n')
}

/** Parts of a message, by who said it. */
interface Said {
  readonly prompt: string[]
  readonly tools: string[]
}

/** The text of a message's content: a string, or a list of parts with a `text`, or with a `content` as results of tools have. */
function addContent(content: JsonValue | undefined, isTool: boolean, said: Said, depth = 0): void {
  if (typeof content === 'string') {
    said[isTool ? 'tools' : 'prompt'].push(content)
    return
  }
  if (!Array.isArray(content) || depth > DEPTH_MAX) return
  for (const part of content as readonly JsonValue[]) {
    if (typeof part === 'string') addContent(part, isTool, said, depth + 1)
    if (!isObject(part)) continue
    const isResult = isTool || part['type'] === 'tool_result' || part['type'] === 'function_call_output'
    for (const member of ['text', 'content', 'output']) addContent(part[member], isResult, said, depth + 1)
  }
}

function addPrompt(prompt: JsonValue | undefined, said: Said): void {
  if (!Array.isArray(prompt)) return addContent(prompt, false, said)
  for (const message of prompt as readonly JsonValue[]) {
    const isTool = isObject(message) && (message['role'] === 'tool' || message['role'] === 'function')
    addContent([message], isTool, said)
  }
}

function callText(entry: JsonObject): RecordText {
  const said: Said = { prompt: [], tools: [] }
  addPrompt(entry['prompt'], said)
  const { raw_output } = entry
  // Of a call whose result was data there is no raw output; elsewhere the data is what was read from it, and says the same again.
  const output = typeof raw_output === 'string' && raw_output !== '' ? raw_output : textsIn(entry['parsed_data'])
  return { prompt: joined(said.prompt), output, tools: joined(said.tools), data: '' }
}

function toolText(entry: JsonObject): RecordText {
  const said: Said = { prompt: [], tools: [] }
  addContent(entry['content'], true, said)
  return { ...NO_TEXT, tools: said.tools.length > 0 ? joined(said.tools) : textsIn(entry) }
}

/** An imported line is the text of a call in JSON, whose escapes would run into its words. */
function legacyText(entry: JsonObject): RecordText {
  const { line } = entry
  if (typeof line !== 'string') return { ...NO_TEXT, data: textsIn(entry) }
  try {
    const legacy: unknown = JSON.parse(line)
    if (isObject(legacy)) {
      const text = callText(legacy)
      if (text.prompt !== '' || text.output !== '' || text.tools !== '') return text
      return { ...NO_TEXT, data: textsIn(legacy) }
    }
  } catch {
    // Python writes NaN, and a torn line is no JSON at all.
  }
  return { ...NO_TEXT, data: line }
}

/** Null where the record has no text: its entry is withheld, encrypted without leave to be indexed, or no JSON, or the record is the ledger's own. */
export function recordText(record: LedgerRecord): RecordText | null {
  const { header } = record
  if (header.stream === 'ledger' || !record.isIndexed) return null
  let entry: JsonObject | null
  try {
    ;({ entry } = record)
  } catch {
    // `verify` reports it.
    return null
  }
  if (!isObject(entry)) return null
  const text = textOf(header.type, entry)
  return text.prompt === '' && text.output === '' && text.tools === '' && text.data === '' ? null : text
}

function textOf(type: string, entry: JsonObject): RecordText {
  switch (type) {
    case 'AgentCallCompleted':
    case 'AgentCallStarted':
      return callText(entry)
    case 'ToolCallCompleted':
      return toolText(entry)
    case 'LegacyEntryImported':
      return legacyText(entry)
    default:
      return { ...NO_TEXT, data: textsIn(entry) }
  }
}
