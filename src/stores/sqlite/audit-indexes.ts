/**
 * The indexes against the table. An index is a copy of its column, kept on pages of its own: were it damaged or edited
 * in the file, queries would miss records that are there, and no look at the rows would show it.
 */
import type { AuditSink } from '../../ledger/store.ts'
import type { Problem } from '../../verify/report.ts'
import { INDEX_COLUMNS } from '../sql/columns.ts'
import type { IndexColumn } from '../sql/columns.ts'
import type { Database, SqlValue } from '../sql/driver.ts'
import type { RowRange } from './audit-row.ts'
import { isDamage, unreadable } from './damage.ts'
import type { Runner } from './damage.ts'
import { wholeIndexes } from './schema.ts'

/** True in SQL where the row `r` has a value of the column that its index does not lead to. */
function hidden(column: IndexColumn): string {
  return `(r.${column} IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM records AS i INDEXED BY records_by_${column} WHERE i.${column} = r.${column} AND i.seq = r.seq))`
}

function anyHidden(columns: readonly IndexColumn[]): string {
  return `SELECT 1 FROM records AS r NOT INDEXED WHERE r.seq >= ? AND r.seq <= ? AND (${columns.map(hidden).join(' OR ')})`
}

function hiddenRow(column: IndexColumn): string {
  return `SELECT r.${column} AS value FROM records AS r NOT INDEXED WHERE r.seq = ? AND ${hidden(column)}`
}

export class IndexAudit {
  private readonly sink: AuditSink
  private columns: IndexColumn[] = []

  constructor(sink: AuditSink) {
    this.sink = sink
  }

  /** An index that somebody dropped leads to slower answers, not to wrong ones: it is not looked at. */
  begin(database: Database): void {
    const there = wholeIndexes(database)
    this.columns = INDEX_COLUMNS.filter((column) => there.has(`records_by_${column}`))
  }

  /** Every one of these rows, which follow each other, is found by each index; at most one problem a row. */
  checkRows(database: Database, rows: readonly bigint[]): void {
    const [first, last] = [rows[0], rows.at(-1)]
    if (this.columns.length === 0 || first === undefined || last === undefined) return
    try {
      if (database.cached(anyHidden(this.columns)).get(first, last) === undefined) return
    } catch (error) {
      // It may be a page behind the last row, which a range looks at as well. One by one tells.
      if (!isDamage(error)) throw error
    }
    const problems = new Map<bigint | string, Problem>()
    this.columns = this.columns.filter((column) => {
      try {
        for (const row of rows) {
          if (problems.has(row)) continue
          const found = database.cached(hiddenRow(column)).get(row)
          if (found !== undefined) problems.set(row, notFound(column, Number(row), found['value'] ?? null))
        }
        return true
      } catch (error) {
        if (!isDamage(error)) throw error
        problems.set(column, unreadable(null, error, indexName(column)))
        return false
      }
    })
    for (const problem of problems.values()) this.sink.problem(problem)
  }

  /** Every row being found, an index that also holds as many entries as there are rows holds nothing else. */
  async checkCounts(run: Runner, rows: RowRange, counts: ReadonlyMap<IndexColumn, number>, signal?: AbortSignal): Promise<void> {
    for (const column of this.columns) {
      signal?.throwIfAborted()
      try {
        const entries = await run((database) => countEntries(database, column, rows))
        if (entries === counts.get(column)) continue
        // An erasure beside the audit took names away behind its back.
        if ((column === 'provider' || column === 'model') && (await run((database) => isWhole(database, column, rows)))) continue
        this.sink.problem({
          code: 'column_mismatch',
          seq: null,
          expected: `${column}=${counts.get(column)} entries in the index records_by_${column}`,
          found: `${column}=${entries} entries`,
          where: null,
        })
      } catch (error) {
        if (!isDamage(error)) throw error
        this.sink.problem(unreadable(null, error, indexName(column)))
      }
    }
  }
}

/** What the index holds is as many as the table has, both looked at in one view. */
function isWhole(database: Database, column: IndexColumn, { first, last, isOpen }: RowRange): boolean {
  const where = `${column} IS NOT NULL AND seq >= ? AND (seq <= ? OR (? AND seq > (SELECT max(seq) FROM records)))`
  const count = (how: string): string => `(SELECT count(*) FROM records ${how} WHERE ${where})`
  const range = [first, last, isOpen ? 1 : 0]
  const sql = `SELECT ${count('NOT INDEXED')} = ${count(`INDEXED BY records_by_${column}`)} AS same`
  return database.cached(sql).get(...range, ...range)?.['same'] === 1
}

function countEntries(database: Database, column: IndexColumn, { first, last, isOpen }: RowRange): number {
  const row = database
    .cached(
      `SELECT count(*) AS n FROM records INDEXED BY records_by_${column}
      WHERE ${column} IS NOT NULL AND seq >= ? AND (seq <= ? OR (? AND seq > (SELECT max(seq) FROM records)))`,
    )
    .get(first, last, isOpen ? 1 : 0)
  return Number(row?.['n'])
}

function notFound(column: IndexColumn, row: number, value: SqlValue): Problem {
  const [expected, found] = [`${column}=${String(value)}`, `${column}=not in the index records_by_${column}`]
  return { code: 'column_mismatch', seq: row, expected, found, where: { row } }
}

function indexName(column: IndexColumn): string {
  return `the index records_by_${column}`
}
