/**
 * The indexes against the table. An index is a copy of its column, kept on pages of its own: were it damaged or edited
 * in the file, queries would miss records that are there, and no look at the rows would show it.
 */
import type { AuditSink } from '../../ledger/store.ts'
import type { Problem } from '../../verify/report.ts'
import { INDEX_COLUMNS } from '../sql/columns.ts'
import type { IndexColumn } from '../sql/columns.ts'
import type { Database } from '../sql/driver.ts'
import { isDamage, unreadable } from './damage.ts'
import type { Runner } from './damage.ts'
import { wholeIndexes } from './schema.ts'

/** True in SQL where the row `r` has a value of the column that its index does not lead to. */
function hidden(column: IndexColumn): string {
  return `(r.${column} IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM records AS i INDEXED BY records_by_${column} WHERE i.${column} = r.${column} AND i.seq = r.seq))`
}

function hiddenRows(columns: readonly IndexColumn[], select: string): string {
  return `SELECT ${select} FROM records AS r NOT INDEXED WHERE r.seq >= ? AND r.seq <= ? AND (${columns.map(hidden).join(' OR ')})`
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

  /** Every row from `first` to `last` is found by each index; at most one problem a row. */
  checkWindow(database: Database, first: bigint, last: bigint): void {
    if (this.columns.length === 0) return
    try {
      if (database.cached(hiddenRows(this.columns, '1')).get(first, last) === undefined) return
    } catch (error) {
      if (!isDamage(error)) throw error
    }
    const problems = new Map<string, Problem>()
    const unusable: IndexColumn[] = []
    for (const column of this.columns) {
      const index = `records_by_${column}`
      try {
        for (const { seq, value } of database.prepare(hiddenRows([column], `CAST(r.seq AS TEXT) AS seq, r.${column} AS value`)).all(first, last)) {
          if (problems.has(String(seq))) continue
          const row = Number(seq)
          const [expected, found] = [`${column}=${String(value)}`, `${column}=not in the index ${index}`]
          problems.set(String(seq), { code: 'column_mismatch', seq: row, expected, found, where: { row } })
        }
      } catch (error) {
        if (!isDamage(error)) throw error
        unusable.push(column)
        problems.set(index, unreadable(null, error, `the index ${index}`))
      }
    }
    this.columns = this.columns.filter((column) => !unusable.includes(column))
    for (const problem of problems.values()) this.sink.problem(problem)
  }

  /** Every row being found, an index that also holds as many entries as there are rows holds nothing else. */
  async checkCounts(run: Runner, last: bigint, counts: ReadonlyMap<IndexColumn, number>, signal?: AbortSignal): Promise<void> {
    for (const column of this.columns) {
      signal?.throwIfAborted()
      try {
        const entries = await run((database) => countEntries(database, column, last))
        if (entries === counts.get(column)) continue
        this.sink.problem({
          code: 'column_mismatch',
          seq: null,
          expected: `${column}=${counts.get(column)} entries in the index records_by_${column}`,
          found: `${column}=${entries} entries`,
          where: null,
        })
      } catch (error) {
        if (!isDamage(error)) throw error
        this.sink.problem(unreadable(null, error, `the index records_by_${column}`))
      }
    }
  }
}

function countEntries(database: Database, column: IndexColumn, last: bigint): number {
  const row = database
    .cached(`SELECT count(*) AS n FROM records INDEXED BY records_by_${column} WHERE ${column} IS NOT NULL AND seq <= ?`)
    .get(last)
  return Number(row?.['n'])
}
