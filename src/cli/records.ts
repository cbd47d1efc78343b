/** How a record looks to people: as a table's row, as a line of a log, and in full. */
import type { LedgerRecord } from '../index.ts'
import type { Outcome } from '../verify/header.ts'
import type { Colours } from './terminal.ts'
import { cut, pad, printable, table, widthOf } from './text.ts'
import type { Column } from './text.ts'

/** A name that the entry gives, such as `model_name`; empty where there is none. */
export function named(record: LedgerRecord, member: 'provider_name' | 'model_name'): string {
  const value = record.entry?.[member]
  return typeof value === 'string' ? value : ''
}

export function outcomeColour(colours: Colours, outcome: Outcome): (text: string) => string {
  if (outcome === 'success') return colours.green
  return outcome === 'failure' || outcome === 'denied' ? colours.red : colours.yellow
}

/** `2026-11-22 20:15:33.123`: the ledger's spelling without its letters, in ms. UTC. */
function timeText(time: string): string {
  return time.slice(0, 23).replace('T', ' ')
}

/** As far as the seconds: narrower, a time is worth nothing. */
const SECONDS_WIDTH = 19

function columns(colours: Colours): Column<LedgerRecord>[] {
  return [
    { title: 'seq', text: (record) => String(record.seq), align: 'right' },
    {
      title: 'time (UTC)',
      text: (record) => timeText(record.header.timestamp),
      style: colours.dim,
      width_min: SECONDS_WIDTH,
      cut: (text) => text.slice(0, SECONDS_WIDTH),
      drop: 3,
    },
    {
      title: 'outcome',
      text: (record) => record.header.outcome,
      style: (text, record) => outcomeColour(colours, record.header.outcome)(text),
    },
    { title: 'actor', text: (record) => record.header.actor, width_min: 10 },
    { title: 'action', text: (record) => record.header.action, width_min: 12 },
    {
      title: 'type',
      text: (record) => (record.header.type === 'AgentCallCompleted' ? '' : record.header.type),
      style: colours.magenta,
      width_min: 12,
      drop: 4,
    },
    { title: 'model', text: (record) => named(record, 'model_name'), style: colours.cyan, width_min: 12, drop: 5 },
    { title: 'correlation_id', text: (record) => record.header.correlation_id ?? '', width_min: 10, drop: 6 },
    { title: 'run_id', text: (record) => record.header.run_id, style: colours.dim, drop: 7 },
  ]
}

/** Records as a table, fitted to the width. */
export function recordTable(records: readonly LedgerRecord[], colours: Colours, width: number): string[] {
  return table(records, columns(colours), { width, title: colours.bold })
}

/** One record as one line of a log; widths don't depend on what follows, which nobody knows yet. */
export function recordLine(record: LedgerRecord, colours: Colours, width: number): string {
  const { header } = record
  const parts: readonly (readonly [text: string, style: (text: string) => string])[] = [
    [pad(String(record.seq), 6, 'right'), (text) => text],
    [timeText(header.timestamp), colours.dim],
    [pad(header.outcome, 9), outcomeColour(colours, header.outcome)],
    [pad(printable(header.actor), 14), (text) => text],
    [pad(printable(header.action), 18), colours.bold],
    header.type === 'AgentCallCompleted'
      ? [pad(printable(named(record, 'model_name')), 17), colours.cyan]
      : [pad(printable(header.type), 17), colours.magenta],
    [printable(header.correlation_id ?? ''), (text) => text],
    [printable(header.run_id), colours.dim],
  ]
  let line = ''
  let room = width
  for (const [text, style] of parts) {
    if (text === '') continue
    if (room < 4) break
    const short = cut(text, room)
    line += `${style(short)}  `
    room -= widthOf(short) + 2
  }
  return line.trimEnd()
}

const HEADER_KEYS_FIRST = [
  'seq',
  'run_id',
  'type',
  'outcome',
  'actor',
  'action',
  'timestamp',
  'recorded_at',
  'correlation_id',
  'causation_id',
]
const HEADER_KEYS_LAST = ['previous_hash', 'entry_hash', 'v']

/** The members of a header, the ones that people ask for first; none is left out. */
function headerMembers(record: LedgerRecord): [key: string, value: unknown][] {
  const header = record.header as unknown as { readonly [key: string]: unknown }
  const others = Object.keys(header).filter((key) => !HEADER_KEYS_FIRST.includes(key) && !HEADER_KEYS_LAST.includes(key))
  return [...HEADER_KEYS_FIRST, ...others, ...HEADER_KEYS_LAST].filter((key) => header[key] !== undefined).map((key) => [key, header[key]])
}

function valueText(value: unknown): string {
  return typeof value === 'string'
    ? printable(value)
    : Array.isArray(value)
      ? value.map((item) => printable(String(item))).join(', ')
      : String(value)
}

function isEmpty(value: unknown): boolean {
  return value === '' || value === null || (typeof value === 'object' && Object.keys(value).length === 0)
}

/** A member of an entry: text as it reads, data as indented JSON. */
function entryMember(key: string, value: unknown, colours: Colours): string[] {
  if (typeof value === 'number' || typeof value === 'boolean') return [`${colours.dim(pad(printable(key), 18))}${value}`]
  const text = typeof value === 'string' ? printable(value, { lines: true }) : printable(JSON.stringify(value, null, 2), { lines: true })
  if (typeof value === 'string' && !text.includes('\n') && widthOf(text) <= 80) return [`${colours.dim(pad(printable(key), 18))}${text}`]
  return [colours.dim(printable(key)), ...text.split('\n').map((line) => `  ${line}`)]
}

/**
 * The record's line; of an encrypted entry that opens what it says, in an object that is no record line: its bytes are not
 * those that the hash commits to.
 */
export function openedLine(record: LedgerRecord): string {
  const { hash, header, entry, dataKey, line } = record
  return dataKey === null || entry === null ? line : JSON.stringify({ hash, header, decrypted: entry, data_key: dataKey })
}

/** Why there is no entry to show. */
function withheldText({ withheld }: LedgerRecord): string {
  if (withheld === null) return 'entry withheld: erased, or archived elsewhere'
  if (withheld.state === 'erased') return `entry erased, as the record at position ${withheld.erased_by} says`
  const { file, location } = withheld
  return `entry archived in ${printable(location === null ? file : `${file} in ${location}`)}`
}

/** Everything of a record. */
export function recordInFull(record: LedgerRecord, colours: Colours): string[] {
  const outcome = outcomeColour(colours, record.header.outcome)
  const lines = [colours.bold('record')]
  for (const [key, value] of headerMembers(record)) {
    const text = valueText(value)
    lines.push(`${colours.dim(pad(printable(key), 18))}${key === 'outcome' ? outcome(text) : text}`)
  }
  lines.push(`${colours.dim(pad('hash', 18))}${record.hash}`, '')
  const { entry, locked } = record
  if (locked !== null) return [...lines, colours.yellow(`entry encrypted: ${printable(locked.message)}`)]
  if (entry === null) return [...lines, colours.yellow(withheldText(record))]
  const { dataKey } = record
  lines.push(`${colours.bold('entry')}${dataKey === null ? '' : colours.dim(` (encrypted under the data key ${printable(dataKey)})`)}`)
  const empty: string[] = []
  for (const [key, value] of Object.entries(entry)) {
    if (isEmpty(value)) empty.push(printable(key))
    else lines.push(...entryMember(key, value, colours))
  }
  if (empty.length > 0) lines.push(colours.dim(`empty: ${empty.join(', ')}`))
  return lines
}
