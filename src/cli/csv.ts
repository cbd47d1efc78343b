/** Records as CSV: RFC 4180. The header's members, and of the content only figures and names. */
import type { LedgerRecord } from '../index.ts'

type Cell = string | number | null | undefined

function tokens(record: LedgerRecord, ...names: readonly string[]): Cell {
  const usage = record.entry?.['usage']
  if (typeof usage !== 'object' || usage === null || Array.isArray(usage)) return null
  for (const name of names) {
    const value = (usage as { readonly [name: string]: unknown })[name]
    if (typeof value === 'number') return value
  }
  return null
}

function member(record: LedgerRecord, name: string): Cell {
  const value = record.entry?.[name]
  return typeof value === 'string' || typeof value === 'number' ? value : null
}

const COLUMNS: readonly (readonly [title: string, cell: (record: LedgerRecord) => Cell])[] = [
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
  ['provider_name', (record) => member(record, 'provider_name')],
  ['model_name', (record) => member(record, 'model_name')],
  // The two spellings that providers use.
  ['input_tokens', (record) => tokens(record, 'input_tokens', 'prompt_tokens')],
  ['output_tokens', (record) => tokens(record, 'output_tokens', 'completion_tokens')],
  ['total_tokens', (record) => tokens(record, 'total_tokens')],
  ['latency_ms', (record) => member(record, 'latency_ms')],
  ['hash', ({ hash }) => hash],
  ['previous_hash', ({ header }) => header.previous_hash],
  ['entry_hash', ({ header }) => header.entry_hash],
]

function quoted(cell: Cell): string {
  const text = String(cell ?? '')
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

export const CSV_TITLES = COLUMNS.map(([title]) => title).join(',')

/** Without the line's end. */
export function csvRow(record: LedgerRecord): string {
  return COLUMNS.map(([, cell]) => quoted(cell(record))).join(',')
}
