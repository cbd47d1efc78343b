/** Records as CSV: RFC 4180. The header's members, and of the content only figures and names. */
import type { JsonObject, LedgerRecord } from '../index.ts'

type Cell = string | number | null | undefined

const CONTENT_KEYS = ['"provider_name":', '"model_name":', '"usage":', '"latency_ms":'].map((key) => Buffer.from(key))

/** The content; null where it has nothing for any column: finding bytes is faster than parsing, and leaves no garbage. */
function contentOf(record: LedgerRecord): JsonObject | null {
  const { buffer, byteOffset, length } = record.bytes
  const bytes = Buffer.from(buffer, byteOffset, length)
  return record.isEncrypted || CONTENT_KEYS.some((key) => bytes.includes(key)) ? record.entry : null
}

function tokens(content: JsonObject | null, ...names: readonly string[]): Cell {
  const usage = content?.['usage']
  if (typeof usage !== 'object' || usage === null || Array.isArray(usage)) return null
  for (const name of names) {
    const value = (usage as { readonly [name: string]: unknown })[name]
    if (typeof value === 'number') return value
  }
  return null
}

function member(content: JsonObject | null, name: string): Cell {
  const value = content?.[name]
  return typeof value === 'string' || typeof value === 'number' ? value : null
}

const COLUMNS: readonly (readonly [title: string, cell: (record: LedgerRecord, content: JsonObject | null) => Cell])[] = [
  ['seq', ({ header }) => header.seq],
  ['run_id', ({ header }) => header.run_id],
  ['timestamp', ({ header }) => header.timestamp],
  ['recorded_at', ({ header }) => header.recorded_at],
  ['actor', ({ header }) => header.actor],
  ['action', ({ header }) => header.action],
  ['outcome', ({ header }) => header.outcome],
  ['type', ({ header }) => header.type],
  ['stream', ({ header }) => header.stream],
  ['stream_version', ({ header }) => header.stream_version],
  ['correlation_id', ({ header }) => header.correlation_id],
  ['causation_id', ({ header }) => header.causation_id],
  ['tags', ({ header }) => header.tags?.join(' ')],
  ['schema', ({ header }) => header.schema],
  ['provider_name', (_, content) => member(content, 'provider_name')],
  ['model_name', (_, content) => member(content, 'model_name')],
  // The two spellings that providers use.
  ['input_tokens', (_, content) => tokens(content, 'input_tokens', 'prompt_tokens')],
  ['output_tokens', (_, content) => tokens(content, 'output_tokens', 'completion_tokens')],
  ['total_tokens', (_, content) => tokens(content, 'total_tokens')],
  ['latency_ms', (_, content) => member(content, 'latency_ms')],
  ['hash', ({ hash }) => hash],
  ['previous_hash', ({ header }) => header.previous_hash],
  ['entry_hash', ({ header }) => header.entry_hash],
]

export function quoted(cell: Cell): string {
  const text = String(cell ?? '')
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

export const CSV_TITLES = COLUMNS.map(([title]) => title).join(',')

/** Without the line's end. */
export function csvRow(record: LedgerRecord): string {
  const content = contentOf(record)
  return COLUMNS.map(([, cell]) => quoted(cell(record, content))).join(',')
}
