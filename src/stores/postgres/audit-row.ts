/** One row against its own record: does every column that queries look at say what header and entry say? */
import { indexedName } from '../../ledger/filter.ts'
import { timeMicros } from '../../ledger/micros.ts'
import type { AuditSink } from '../../ledger/store.ts'
import type { RecordHeader } from '../../verify/header.ts'
import { ENTRY_OPEN, HASH_OPEN, HEADER_START, SALT_OPEN, WITHHELD, splitLine } from '../../verify/record.ts'
import type { LineSlices } from '../../verify/record.ts'
import { lineSql } from './schema-functions.ts'
import type { CopiedRow } from './copy-out.ts'
import { findNames, mayHaveNames } from './entry-names.ts'
import type { EntryNames, Slice } from './entry-names.ts'
import { HeaderMatch } from './header-match.ts'
import { POSTGRES_EPOCH_US } from './arrays.ts'
import { storedName } from './writing.ts'

const TEXT_COLUMNS = [
  'run_id',
  'stream',
  'type',
  'actor',
  'action',
  'outcome',
  'correlation_id',
  'causation_id',
  'provider',
  'model',
] as const
type TextColumn = (typeof TEXT_COLUMNS)[number]
/** Whose lengths must be those of the line's parts. */
const PARTS = ['hash', 'header', 'signatures', 'salt'] as const

/** What is read of a row: numbers, texts, tags, lengths of parts, the line. Whatever a column was made into, these types come. */
export const ROW_SQL = [
  'a.seq::bigint',
  'a.recorded_at::timestamptz',
  'a.occurred_at::timestamptz',
  'a.stream_version::bigint',
  ...TEXT_COLUMNS.map((column) => `a.${column}::text`),
  'to_json(a.tags)::text',
  ...PARTS.map((part) => `octet_length(a.${part})`),
  lineSql('a'),
].join(', ')

const FIRST_TEXT = 4
const TAGS = FIRST_TEXT + TEXT_COLUMNS.length
const FIRST_PART = TAGS + 1
const LINE = FIRST_PART + PARTS.length
export const ROW_COLUMNS = LINE + 1

const at = (column: TextColumn): number => FIRST_TEXT + TEXT_COLUMNS.indexOf(column)
const HEADER_COLUMNS = {
  seq: 0,
  recorded_at: 1,
  occurred_at: 2,
  stream_version: 3,
  run_id: at('run_id'),
  stream: at('stream'),
  type: at('type'),
  actor: at('actor'),
  action: at('action'),
  outcome: at('outcome'),
  correlation_id: at('correlation_id'),
  causation_id: at('causation_id'),
  tags: TAGS,
}
const PROVIDER = at('provider')
const MODEL = at('model')

const HASH_LENGTH = 64
const SALT_LENGTH = 22
/** From the header's end to the entry's brace, where nobody signed. */
const TO_ENTRY = SALT_OPEN.length + SALT_LENGTH + ENTRY_OPEN.length - 1

interface Difference {
  readonly expected: string
  readonly found: string
}

export class RowAudit {
  readonly #sink: AuditSink
  readonly #header = new HeaderMatch(HEADER_COLUMNS)
  /** Rows so far. */
  count = 0
  /** A row without its entry came since this was last made false. */
  hasWithheld = false
  /** Of the last row: its position, and a copy of what its hash column holds, since the row's memory is used again. */
  #lastSeq: bigint | null = null
  #lastHash = Buffer.alloc(HASH_LENGTH)
  #lastHashLength = 0

  constructor(sink: AuditSink) {
    this.#sink = sink
  }

  /** The row with the highest position so far, and what its hash column holds. */
  get last(): { readonly seq: bigint; readonly hash: string } | null {
    if (this.#lastSeq === null) return null
    return { seq: this.#lastSeq, hash: this.#lastHash.toString('utf8', 0, this.#lastHashLength) }
  }

  /** The position behind the last row; `from` where none at `from` or behind it was read. */
  next(from: bigint): bigint {
    return this.#lastSeq === null || this.#lastSeq < from ? from : this.#lastSeq + 1n
  }

  /** Hands the row's line on; gives the row's seq. */
  check(row: CopiedRow): bigint {
    // The query's condition lets no row through that has none.
    const seq = long(row, 0) as bigint
    const start = row.starts[LINE] as number
    // Without hash or header there is no line.
    const end = start + Math.max(0, row.lengths[LINE] as number)
    const number = Number(seq)
    this.#sink.line(row.bytes, start, end, number)
    const difference = this.#isAsWritten(row, start, end) ? null : compare(row, start, end)
    if (difference !== null) this.#sink.problem({ code: 'column_mismatch', seq: number, ...difference, where: { row: number } })
    this.count++
    if (row.lengths[FIRST_PART + PARTS.indexOf('salt')] === -1) this.hasWithheld = true
    const hashStart = start + HASH_OPEN.length
    this.#keepLast(seq, row.bytes, hashStart, Math.min(end, hashStart + (length(row, 0) ?? 0)))
    return seq
  }

  #keepLast(seq: bigint, bytes: Buffer, start: number, end: number): void {
    // Where there is no line, its bytes may end before a hash would begin.
    const hashLength = Math.max(0, end - start)
    // Another hand may have put anything there.
    if (hashLength > this.#lastHash.length) this.#lastHash = Buffer.alloc(hashLength)
    if (hashLength > 0) bytes.copy(this.#lastHash, 0, start, end)
    this.#lastHashLength = hashLength
    this.#lastSeq = seq
  }

  /** The quick look at a record that nobody signed, whole or withheld: most are as we wrote them. */
  #isAsWritten(row: CopiedRow, start: number, end: number): boolean {
    const { bytes, starts, lengths } = row
    const part = (i: number): number => (lengths[FIRST_PART + i] === -1 ? -1 : bytes.readInt32BE(starts[FIRST_PART + i]))
    const saltLength = part(3)
    if (part(0) !== HASH_LENGTH || part(2) !== -1 || (saltLength !== SALT_LENGTH && saltLength !== -1)) return false
    const headerEnd = start + HEADER_START + part(1)
    if (!this.#header.holds(row, start + HEADER_START, headerEnd)) return false
    // Of a withheld entry nobody can say which names it had.
    if (saltLength === -1) return bytes.compare(WITHHELD, 0, WITHHELD.length, headerEnd, end) === 0
    const entryStart = headerEnd + TO_ENTRY
    const names = mayHaveNames(bytes, entryStart, end) ? findNames(bytes, entryStart, end - 1) : NO_NAMES
    return names !== undefined && isText(row, PROVIDER, names.provider) && isText(row, MODEL, names.model)
  }
}

const NO_NAMES: EntryNames = { provider: null, model: null }

/** The column holds the bytes of this slice; NULL where there is none. */
function isText({ bytes, starts, lengths }: CopiedRow, column: number, slice: Slice | null): boolean {
  const length = lengths[column] as number
  if (slice === null || length === -1) return slice === null && length === -1
  const start = starts[column] as number
  return bytes.compare(bytes, start, start + length, slice.start, slice.end) === 0
}

/** Of one of `PARTS`, bytes; null where it is NULL. */
function length(row: CopiedRow, part: number): number | null {
  const at = FIRST_PART + part
  return row.lengths[at] === -1 ? null : row.bytes.readInt32BE(row.starts[at])
}

function compare(row: CopiedRow, start: number, end: number): Difference | null {
  const slices = splitLine(row.bytes, start, end)
  // Where the line or its header is malformed, the sink has seen it.
  if (slices === null) return null
  const parts = compareParts(row, slices)
  if (parts !== null) return parts
  const header = parse(row.bytes, slices.header_start, slices.header_end) as RecordHeader | null
  return header === null ? null : compareColumns(row, header, slices)
}

function parse(bytes: Buffer, start: number, end: number): Readonly<Record<string, unknown>> | null {
  try {
    return JSON.parse(bytes.toString('utf8', start, end))
  } catch {
    return null
  }
}

/**
 * The line's parts must be what the columns hold. Bytes that were moved from one column to its neighbour would give the
 * same line, but the head is read from the hash column alone.
 */
function compareParts(row: CopiedRow, slices: LineSlices): Difference | null {
  const lengths = [
    slices.hash_end - slices.hash_start,
    slices.header_end - slices.header_start,
    slices.signatures_start === -1 ? null : slices.signatures_end - slices.signatures_start,
    slices.salt_start === -1 ? null : slices.salt_end - slices.salt_start,
  ]
  for (const [i, part] of PARTS.entries()) {
    const [expected, found] = [lengths[i] ?? null, length(row, i)]
    if (found !== expected) return differ(part, bytesText(expected), bytesText(found))
  }
  return null
}

function bytesText(length: number | null): string | null {
  return length === null ? null : `${length} bytes`
}

function differ(column: string, expected: unknown, found: unknown): Difference {
  return { expected: `${column}=${spell(expected ?? 'NULL')}`, found: `${column}=${spell(found ?? 'NULL')}` }
}

/** A header that was tampered with may hold anything, also objects that `String` throws at. */
function spell(value: unknown): string {
  return typeof value === 'string' ? value : typeof value === 'bigint' ? String(value) : (JSON.stringify(value) ?? 'NULL')
}

/** Null where it is NULL, which only a table that was altered lets through. */
function long(row: CopiedRow, column: number): bigint | null {
  return row.lengths[column] === -1 ? null : row.bytes.readBigInt64BE(row.starts[column])
}

function micros(row: CopiedRow, column: number): bigint | null {
  const us = long(row, column)
  return us === null ? null : us + POSTGRES_EPOCH_US
}

function text(row: CopiedRow, column: number): string | null {
  const length = row.lengths[column] as number
  const start = row.starts[column] as number
  return length === -1 ? null : row.bytes.toString('utf8', start, start + length)
}

function compareColumns(row: CopiedRow, header: RecordHeader, slices: LineSlices): Difference | null {
  try {
    const numbers = [
      ['seq', BigInt(header.seq), long(row, 0)],
      ['recorded_at', BigInt(timeMicros(header.recorded_at)), micros(row, 1)],
      ['occurred_at', BigInt(timeMicros(header.timestamp)), micros(row, 2)],
      ['stream_version', BigInt(header.stream_version), long(row, 3)],
    ] as const
    for (const [column, expected, found] of numbers) if (expected !== found) return differ(column, expected, found)
  } catch {
    // The header can't say: it is malformed, and the sink has seen it.
    return null
  }
  const names = entryNames(row, slices)
  for (const [i, column] of TEXT_COLUMNS.entries()) {
    const found = text(row, FIRST_TEXT + i)
    const expected = isName(column) ? (names === null ? found : names[column]) : (header[column] ?? null)
    if (expected !== found) return differ(column, expected, found)
  }
  const tags = header.tags === undefined ? null : JSON.stringify(header.tags)
  const foundTags = text(row, TAGS)
  return tags === foundTags ? null : differ('tags', tags, foundTags)
}

const ENCRYPTED = Buffer.from('{"$enc":{')

type Name = 'provider' | 'model'

function isName(column: TextColumn): column is Name {
  return column === 'provider' || column === 'model'
}

/** Provider and model as the entry has them; null where it is withheld, encrypted or unreadable, so that nobody can say. */
function entryNames({ bytes }: CopiedRow, slices: LineSlices): Readonly<Record<Name, string | null>> | null {
  if (slices.salt_start === -1) return null
  if (bytes.subarray(slices.entry_start, slices.entry_start + ENCRYPTED.length).equals(ENCRYPTED)) return null
  if (!mayHaveNames(bytes, slices.entry_start, slices.entry_end)) return { provider: null, model: null }
  const entry = parse(bytes, slices.entry_start, slices.entry_end)
  if (entry === null) return null
  return { provider: storedName(indexedName(entry['provider_name'])), model: storedName(indexedName(entry['model_name'])) }
}
