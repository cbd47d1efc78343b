/** A `Selection` as SQL over `audit_log`: pages of lines, counts and tallies. Which index leads is PostgreSQL's to decide. */
import type { RecordFilter, Selection, TallyColumn } from '../../ledger/store.ts'
import { textArray } from './arrays.ts'
import type { Parameter, Statement } from './session.ts'
import { INDEXED_NAME_BYTES } from './schema.ts'
import { lineSql } from './schema-functions.ts'
import { isStorable } from './writing.ts'
import type { LedgerPlace } from './writing.ts'

export interface Query {
  readonly statement: Statement
  readonly values: readonly Parameter[]
}

const COLUMNS = ['stream', 'correlation_id', 'causation_id', 'actor', 'action', 'outcome', 'type', 'provider', 'model'] as const
const TIMES = [
  ['occurred_at', '>=', 'since'],
  ['occurred_at', '<', 'until'],
  ['recorded_at', '>=', 'recorded_since'],
  ['recorded_at', '<', 'recorded_until'],
] as const

/** Year 0 of the ledger is 1 BC to PostgreSQL, which has no year 0. */
function timeText(text: string): string {
  return text.startsWith('0000') ? `0001${text.slice(4)} BC` : text
}

/** FROM and WHERE of a filter. */
class Clauses {
  readonly values: Parameter[] = []
  readonly #where: string[] = []
  readonly #from: string
  /** No record can fit. */
  isEmpty = false

  constructor(ledger: number, filter: RecordFilter) {
    this.#where.push(`a.ledger_id = ${this.#value(ledger)}`)
    // The key table knows the month, too: only one partition is looked at.
    this.#from =
      filter.run_id === undefined
        ? 'audit_log AS a'
        : 'run_keys AS k JOIN audit_log AS a ON a.ledger_id = k.ledger_id AND a.seq = k.seq AND a.recorded_at = k.recorded_at AND a.run_id = k.run_id'
    if (filter.run_id !== undefined) {
      this.#where.push(`k.ledger_id = $1`)
      this.#anyOf('k.run_id', filter.run_id)
    }
    for (const column of COLUMNS) this.#anyOf(`a.${column}`, filter[column])
    if (filter.seq !== undefined) this.#where.push(`a.seq = ANY (${this.#value(`{${[...filter.seq].join(',')}}`)}::bigint[])`)
    if (filter.tags !== undefined && filter.tags.length > 0) {
      if (!filter.tags.every(isStorable)) this.isEmpty = true
      // So that the index fits: it holds only rows that have tags.
      else this.#where.push('a.tags IS NOT NULL', `a.tags @> ${this.#value(textArray(filter.tags))}::text[]`)
    }
    for (const [column, comparison, key] of TIMES) {
      const time = filter[key]
      if (time !== undefined) this.#where.push(`a.${column} ${comparison} ${this.#value(timeText(time))}::timestamptz`)
    }
  }

  #value(value: Parameter): string {
    this.values.push(value)
    return `$${this.values.length}`
  }

  #anyOf(column: string, wanted: readonly string[] | undefined): void {
    if (wanted === undefined) return
    const values = [...new Set(wanted)].filter(isStorable)
    if (values.length === 0) this.isEmpty = true
    else if (values.length === 1) this.#where.push(`${column} = ${this.#value(values[0] as string)}`)
    else this.#where.push(`${column} = ANY (${this.#value(textArray(values))}::text[])`)
    // A partial index is taken only where its condition is said.
    if (column === 'a.outcome' && !values.includes('success')) this.#where.push(`a.outcome <> 'success'`)
    const isName = column === 'a.provider' || column === 'a.model'
    if (isName && values.every((value) => Buffer.byteLength(value) <= INDEXED_NAME_BYTES))
      this.#where.push(`octet_length(${column}) <= ${INDEXED_NAME_BYTES}`)
  }

  positions(from: number, before: number): void {
    if (from > 0) this.#where.push(`a.seq >= ${this.#value(from)}`)
    if (before < Infinity) this.#where.push(`a.seq < ${this.#value(before)}`)
  }

  where(more: readonly string[] = []): string {
    return `FROM ${this.#from} WHERE ${[...this.#where, ...more].join(' AND ')}`
  }
}

/** Bytes of entries after which a page ends, so that rows with long ones do not fill the memory. */
export const PAGE_BYTES = 4 * 1024 * 1024

/** How long an entry is stands beside it: it is not read for that. */
function boundedPage(rows: string, order: string, headersOnly = false): string {
  const columns = 'a.seq, a.hash, a.header, a.signatures'
  if (headersOnly) return `SELECT a.seq, ${lineSql('a', true)} FROM (SELECT ${columns} ${rows}) AS a ORDER BY a.seq ${order}`
  return `SELECT a.seq, ${lineSql('a')} FROM (
      SELECT a.*, sum(coalesce(octet_length(a.entry), 0)) OVER (ORDER BY a.seq ${order} ROWS UNBOUNDED PRECEDING) - coalesce(octet_length(a.entry), 0) AS bytes
      FROM (SELECT ${columns}, a.salt, a.entry ${rows}) AS a) AS a
    WHERE a.bytes < ${PAGE_BYTES} ORDER BY a.seq ${order}`
}

/** Lines by position with nothing else asked: the statement that tails, exports and trees repeat. */
const PLAIN_ROWS = 'FROM audit_log AS a WHERE a.ledger_id = $1 AND a.seq >= $2 AND a.seq < $3 ORDER BY a.seq LIMIT $4'
const PLAIN_PAGE = { name: 'cortex_page', text: boundedPage(PLAIN_ROWS, 'ASC') }
/** The same without salt and entry: all that a tree needs, and all that some may see. */
export const HEADERS_PAGE = { name: 'cortex_headers', text: boundedPage(PLAIN_ROWS, 'ASC', true) }

/** The next lines (seq, line) of a selection; null where none can fit. Fewer than `limit` where they are long. */
export function pageQuery({ id, headersOnly = false }: LedgerPlace, selection: Selection, limit: number): Query | null {
  const { filter, from, before, reverse } = selection
  if (!reverse && before < Infinity && Object.values(filter).every((wanted) => wanted === undefined)) {
    return { statement: headersOnly ? HEADERS_PAGE : PLAIN_PAGE, values: [id, from, before, limit] }
  }
  const clauses = new Clauses(id, filter)
  if (clauses.isEmpty) return null
  clauses.positions(from, before)
  const order = reverse ? 'DESC' : 'ASC'
  const text = boundedPage(`${clauses.where()} ORDER BY a.seq ${order} LIMIT ${limit}`, order, headersOnly)
  // Planning took longer than finding one record: 1.4 ms of the 2 that `get` took.
  const isOne = filter.run_id?.length === 1 && from === 0 && Object.values(filter).filter((wanted) => wanted !== undefined).length === 1
  const statement = isOne ? { name: `cortex_run_${order}_${limit}_${clauses.values.length}_${headersOnly}`, text } : { text }
  return { statement, values: clauses.values }
}

export function countQuery(ledger: number, filter: RecordFilter): Query | null {
  const clauses = new Clauses(ledger, filter)
  return clauses.isEmpty ? null : { statement: { text: `SELECT count(*) ${clauses.where()}`, isUnhurried: true }, values: clauses.values }
}

/** Rows (value, number). */
export function tallyQuery(ledger: number, column: TallyColumn, filter: RecordFilter): Query | null {
  const clauses = new Clauses(ledger, filter)
  if (clauses.isEmpty) return null
  const text = `SELECT a.${column}, count(*) ${clauses.where([`a.${column} IS NOT NULL`])} GROUP BY a.${column}`
  return { statement: { text, isUnhurried: true }, values: clauses.values }
}
