/** One row against its own record: does every column that queries look at say what header and entry say? */
import { indexedName } from '../../ledger/filter.ts'
import type { AuditSink } from '../../ledger/store.ts'
import type { RecordHeader } from '../../verify/header.ts'
import { splitLine } from '../../verify/record.ts'
import type { LineSlices } from '../../verify/record.ts'
import { INDEX_COLUMNS, indexColumns } from '../sql/columns.ts'
import type { IndexColumn } from '../sql/columns.ts'
import type { Database, SqlRow, SqlValue } from '../sql/driver.ts'

/** Rows with stray tags that are told one by one. */
const STRAY_TAGS_MAX = 100

/** Rows with tags that their record does not have. Where the header is no JSON, the line is malformed and its tags are moot. */
const STRAY_TAGS = `SELECT min(tags.tag) AS tag, CAST(tags.seq AS TEXT) AS seq FROM tags LEFT JOIN records ON records.seq = tags.seq
  WHERE (records.seq IS NULL OR json_valid(records.header)) AND NOT EXISTS (
    SELECT 1 FROM json_each(coalesce(records.header, '{}'), '$.tags') AS named WHERE named.value = tags.tag)
  GROUP BY tags.seq ORDER BY tags.seq LIMIT ${STRAY_TAGS_MAX}`
const LAST_ROW = 2n ** 63n - 1n

/** Rows by number, both included. */
export interface RowRange {
  readonly first: bigint
  /** Null where there are none. */
  readonly last: bigint | null
  /** What stands behind all rows belongs to it as well. */
  readonly isOpen: boolean
}

interface Difference {
  readonly expected: string
  readonly found: string
}

export class RowAudit {
  /** How many rows have a value, by column: what each index must hold. */
  readonly counts = new Map<IndexColumn, number>(INDEX_COLUMNS.map((column) => [column, 0]))
  /** A row without its entry came since this was last made false. */
  hasWithheld = false
  private readonly sink: AuditSink
  private tags = 0
  /** Rows whose tags were told to differ. */
  private readonly tagsDiffer = new Set<number>()

  constructor(sink: AuditSink) {
    this.sink = sink
  }

  /** Hands the row's line to the sink, and at most one problem with its columns. */
  check(database: Database, row: SqlRow): void {
    const line = row['line'] as Uint8Array
    const number = Number(row['seq'])
    // Where the line is malformed, the sink will see it.
    const slices = splitLine(line)
    const header = slices === null ? null : readHeader(line, slices)
    const tags = header !== null && Array.isArray(header.tags) ? (header.tags as unknown[]).map(spell) : []
    const columns = JSON.parse(String(row['columns'])) as (string | null)[]
    const difference =
      slices === null || header === null
        ? null
        : (compareParts(row, slices) ?? compareColumns(database, row, columns, expectedColumns(header, columns, line, slices)))
    const missingTag = tags.find((tag) => database.cached('SELECT 1 FROM tags WHERE tag = ? AND seq = ?').get(tag, number) === undefined)

    // From here on nothing can fail and be begun again.
    this.sink.line(line, 0, line.length, number)
    this.tags += tags.length
    if (row['salt_bytes'] === null) this.hasWithheld = true
    for (let i = 0; i < INDEX_COLUMNS.length; i++) {
      const column = INDEX_COLUMNS[i] as IndexColumn
      if (columns[i] !== null) this.counts.set(column, (this.counts.get(column) ?? 0) + 1)
    }
    if (missingTag !== undefined && this.tagsDiffer.size < STRAY_TAGS_MAX) this.tagsDiffer.add(number)
    const told = difference ?? (missingTag === undefined ? null : differ('tags', missingTag, ''))
    if (told !== null) this.sink.problem({ code: 'column_mismatch', seq: number, ...told, where: { row: number } })
  }

  /** After all rows: tags that no record has, which would bring records into answers where they do not belong. */
  checkTags(database: Database, { first, last, isOpen }: RowRange): void {
    const counted = database
      .cached('SELECT count(*) AS n FROM tags WHERE seq >= ? AND (seq <= ? OR (? AND seq > (SELECT max(seq) FROM records)))')
      .get(first, last ?? LAST_ROW, isOpen ? 1 : 0)
    if (this.tagsDiffer.size === 0 && Number(counted?.['n']) === this.tags) return
    for (const { tag, seq } of database.prepare(STRAY_TAGS).all()) {
      const number = Number(seq)
      if (this.tagsDiffer.has(number)) continue
      this.sink.problem({ code: 'column_mismatch', seq: number, ...differ('tags', '', tag), where: { row: number } })
    }
  }
}

function differ(column: string, expected: unknown, found: unknown): Difference {
  return { expected: `${column}=${spell(expected ?? 'NULL')}`, found: `${column}=${spell(found ?? 'NULL')}` }
}

/** A header that was tampered with may hold anything, also objects that `String` throws at. */
function spell(value: unknown): string {
  return typeof value === 'string' ? value : typeof value === 'bigint' ? String(value) : (JSON.stringify(value) ?? 'NULL')
}

function readHeader(line: Uint8Array, slices: LineSlices): RecordHeader | null {
  return parse(line, slices.header_start, slices.header_end) as RecordHeader | null
}

function parse(line: Uint8Array, start: number, end: number): Readonly<Record<string, unknown>> | null {
  try {
    return JSON.parse(Buffer.from(line.buffer, line.byteOffset + start, end - start).toString())
  } catch {
    return null
  }
}

/**
 * The line's parts must be what the columns hold. Bytes that were moved from one column to its neighbour would give the
 * same line, but the head is read from the hash column alone.
 */
function compareParts(row: SqlRow, slices: LineSlices): Difference | null {
  const parts = [
    ['hash', slices.hash_end - slices.hash_start],
    ['header', slices.header_end - slices.header_start],
    ['signatures', slices.signatures_start === -1 ? null : slices.signatures_end - slices.signatures_start],
    ['salt', slices.salt_start === -1 ? null : slices.salt_end - slices.salt_start],
  ] as const
  for (const [part, bytes] of parts) {
    const stored = row[`${part}_bytes`]
    if (stored !== bytes) return differ(part, bytes === null ? null : `${bytes} bytes`, stored === null ? null : `${stored} bytes`)
  }
  return null
}

/** What the columns must hold, or null where the header can't say: then it is malformed, and the sink has seen it. */
function expectedColumns(
  header: RecordHeader,
  columns: readonly (string | null)[],
  line: Uint8Array,
  slices: LineSlices,
): SqlValue[] | null {
  const { provider, model } = entryNames(columns, line, slices)
  try {
    return [header.seq, ...indexColumns(header, provider, model)]
  } catch {
    return null
  }
}

function compareColumns(
  database: Database,
  row: SqlRow,
  columns: readonly (string | null)[],
  expected: readonly SqlValue[] | null,
): Difference | null {
  if (expected === null) return null
  const [seq, ...values] = expected
  if (row['seq'] !== spell(seq)) return differ('seq', seq, row['seq'])
  for (let i = 0; i < INDEX_COLUMNS.length; i++) {
    const column = INDEX_COLUMNS[i] as IndexColumn
    const value = values[i] ?? null
    const found = columns[i] ?? null
    if ((value === null ? null : spell(value)) !== found) return differ(column, value, found)
    // Bytes that are no UTF-8 are decoded as U+FFFD, which a text may hold as well; SQLite tells them apart.
    if (typeof value === 'string' && value.includes('\ufffd') && !isStored(database, row, column, value)) {
      return differ(column, value, 'bytes that are no UTF-8')
    }
  }
  return null
}

function isStored(database: Database, row: SqlRow, column: IndexColumn, text: string): boolean {
  const sql = `SELECT 1 FROM records NOT INDEXED WHERE seq = CAST(? AS INTEGER) AND ${column} = ?`
  return database.cached(sql).get(row['seq'] ?? null, text) !== undefined
}

const PROVIDER = INDEX_COLUMNS.indexOf('provider')
const MODEL = INDEX_COLUMNS.indexOf('model')
const PROVIDER_KEY = Buffer.from('"provider_name":')
const MODEL_KEY = Buffer.from('"model_name":')
const ENCRYPTED = Buffer.from('{"$enc":{')

/** Provider and model as the entry has them; as the columns have them where the entry is withheld, encrypted or unreadable. */
function entryNames(
  columns: readonly (string | null)[],
  line: Uint8Array,
  slices: LineSlices,
): { provider: string | null; model: string | null } {
  const stored = { provider: columns[PROVIDER] ?? null, model: columns[MODEL] ?? null }
  if (slices.salt_start === -1) return stored
  const bytes = Buffer.from(line.buffer, line.byteOffset + slices.entry_start, slices.entry_end - slices.entry_start)
  if (bytes.subarray(0, ENCRYPTED.length).equals(ENCRYPTED)) return stored
  // Finding bytes is many times faster than parsing, and many events have neither.
  if (!bytes.includes(PROVIDER_KEY) && !bytes.includes(MODEL_KEY)) return { provider: null, model: null }
  const entry = parse(line, slices.entry_start, slices.entry_end)
  if (entry === null) return stored
  return { provider: indexedName(entry['provider_name']), model: indexedName(entry['model_name']) }
}
