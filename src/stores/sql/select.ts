/** A `Selection` as SQL over the tables `records` and `tags` of columns.ts: rows by pages, counts and tallies. */
import type { RecordFilter, Selection, TallyColumn } from '../../ledger/store.ts'
import type { Database, SqlRow, SqlValue } from './driver.ts'
import { anyOf, driving, planFilter, within } from './plan.ts'
import type { ColumnTest, Condition, Driver, Equality, Plan, Range } from './plan.ts'

/** The most values of one column whose rows are merged in order of seq; more are sorted. */
const MERGED_VALUES_MAX = 32
/** Positions that are fetched at once where the rows can't be streamed: each fetch may sort all that is left. */
const POSITIONS_MAX = 16_384

/** Number of records before this position that fit. */
export function countRecords(database: Database, filter: RecordFilter, before = Infinity): number {
  const plan = planFilter(database, filter, false)
  if (plan.driver.kind === 'nothing') return 0
  const { tables, where, params } = clauses(plan, driving(plan.driver), { before }, false)
  return Number(database.cached(`SELECT count(*) AS n FROM ${tables} ${where}`).get(...params)?.['n'] ?? 0)
}

/** Number of records before this position that fit, by a column's values; records without the value are left out. */
export function tallyRecords(database: Database, column: TallyColumn, filter: RecordFilter, before = Infinity): Map<string, number> {
  const plan = planFilter(database, filter, false)
  if (plan.driver.kind === 'nothing') return new Map()
  const { tables, where, params } = clauses(plan, driving(plan.driver), { before }, true)
  const known = `${where === '' ? 'WHERE' : `${where} AND`} records.${column} IS NOT NULL`
  const rows = database
    .cached(`SELECT records.${column} AS value, count(*) AS n FROM ${tables} ${known} GROUP BY records.${column}`)
    .all(...params)
  return new Map(rows.map((row) => [String(row['value']), Number(row['n'])]))
}

/**
 * The rows of a selection, a page at a time. Each call of `next` is a short read of its own: a slow consumer holds no
 * lock and does not keep a write-ahead log from being reset. Since records only ever come behind those that are there,
 * the pages fit together. Set `before` for a view that stands still.
 */
export class SelectedRows {
  private readonly database: Database
  private readonly columns: string
  private readonly reverse: boolean
  private readonly plan: Plan
  private from: number
  private before: number
  private left: number
  /** The next positions, where rows are not streamed. */
  private positions: SqlValue[] = []

  /** `columns`: what to select, as SQL, each qualified by `records.`; `seq` comes with it. */
  constructor(database: Database, selection: Selection, columns: string) {
    this.database = database
    this.columns = columns
    this.reverse = selection.reverse
    this.left = selection.limit
    this.plan = planFilter(database, selection.filter, true)
    this.from = Math.max(selection.from, this.plan.from)
    this.before = Math.min(selection.before, this.plan.before)
  }

  /** The next rows in order, `rowsMax` at most; fewer where `isFull` says so of one. Empty when there are no more. */
  next(rowsMax: number, isFull: (row: SqlRow) => boolean = () => false): SqlRow[] {
    const wanted = Math.min(rowsMax, this.left)
    if (wanted <= 0 || this.plan.driver.kind === 'nothing' || this.from >= this.before) return []
    const rows = streams(this.plan.driver) ? this.stream(wanted, isFull) : this.fetch(wanted, isFull)
    const last = rows.at(-1)
    if (last === undefined) this.left = 0
    else this.advance(Number(last['seq']), rows.length)
    return rows
  }

  /**
   * The one row that `around` makes of the next page, a query for `seq` and `columns` in order; `next` gives the same page
   * until `passed` says that it was taken. Null where there are fewer than `rowsMin`, or rows do not come in order by themselves.
   */
  whole(rowsMax: number, rowsMin: number, columns: string, around: (page: string) => string): SqlRow | null {
    const wanted = Math.min(rowsMax, this.left)
    if (wanted < rowsMin || this.before - this.from < rowsMin || !streams(this.plan.driver)) return null
    const { sql, params } = pageQuery(this.plan, columns, this.bounds(), this.reverse, wanted)
    return this.database.cached(around(sql)).get(...params) ?? null
  }

  /** The page that has these positions was taken: true, unless they are not in order. */
  passed(seqs: readonly number[]): boolean {
    for (let i = 1; i < seqs.length; i++) if (!(this.reverse ? seqs[i]! < seqs[i - 1]! : seqs[i]! > seqs[i - 1]!)) return false
    const last = seqs.at(-1)
    if (last === undefined || !Number.isSafeInteger(last)) return false
    this.advance(last, seqs.length)
    return true
  }

  private advance(last: number, rows: number): void {
    if (this.reverse) this.before = last
    else this.from = last + 1
    this.left -= rows
  }

  private stream(wanted: number, isFull: (row: SqlRow) => boolean): SqlRow[] {
    const { sql, params } = pageQuery(this.plan, this.columns, this.bounds(), this.reverse, wanted)
    const rows: SqlRow[] = []
    for (const row of this.database.cached(sql).iterate(...params)) {
      rows.push(row)
      if (isFull(row)) break
    }
    return rows
  }

  /** Where SQLite sorts or merges, it does so with positions alone; rows, which may be large, follow one by one. */
  private fetch(wanted: number, isFull: (row: SqlRow) => boolean): SqlRow[] {
    if (this.positions.length === 0) {
      const { sql, params } = pageQuery(this.plan, null, this.bounds(), this.reverse, Math.min(this.left, POSITIONS_MAX))
      const found = this.database.cached(sql).all(...params)
      this.positions = found.map((row) => row['seq'] ?? null)
    }
    const row = this.database.cached(`SELECT seq, ${this.columns} FROM records WHERE seq = ?`)
    const rows: SqlRow[] = []
    let taken = 0
    while (taken < this.positions.length && rows.length < wanted) {
      const found = row.get(this.positions[taken++] as SqlValue)
      if (found === undefined) continue
      rows.push(found)
      if (isFull(found)) break
    }
    this.positions.splice(0, taken)
    return rows
  }

  private bounds(): Bounds {
    return { from: this.from, before: this.before }
  }
}

interface Bounds {
  readonly from?: number
  readonly before?: number
}

/** The statement of one page: `seq` and the columns, or the positions alone. Exported for the test that reads its plan. */
export function pageQuery(plan: Plan, columns: string | null, bounds: Bounds, reverse: boolean, limit: number): Condition {
  const { driver } = plan
  const select = (test: ColumnTest | null): Clauses & { readonly sql: string } => {
    const made = clauses(plan, test, bounds, columns !== null)
    return { ...made, sql: `SELECT ${made.seq} AS seq${columns === null ? '' : `, ${columns}`} FROM ${made.tables} ${made.where}` }
  }
  const order = `${reverse ? 'DESC' : 'ASC'} LIMIT ?`
  if (driver.kind === 'equality' && driver.equality.values.length > 1 && driver.equality.values.length <= MERGED_VALUES_MAX) {
    // One SELECT a value, each in order by its index: SQLite merges them and stops at the limit.
    const selects = driver.equality.values.map((value) => select(anyOf(driver.equality.column, [value])))
    return {
      sql: `${selects.map(({ sql }) => sql).join(' UNION ALL ')} ORDER BY seq ${order}`,
      params: [...selects.flatMap(({ params }) => params), limit],
    }
  }
  const { sql, seq, params } = select(driving(driver))
  return { sql: `${sql} ORDER BY ${seq} ${order}`, params: [...params, limit] }
}

/** True where the rows come out of the tables in order, with nothing held back. */
function streams(driver: Driver): boolean {
  return driver.kind === 'seq' || driver.kind === 'tag' || (driver.kind === 'equality' && driver.equality.values.length === 1)
}

interface Clauses {
  /** Behind FROM. */
  readonly tables: string
  /** With WHERE, or empty. */
  readonly where: string
  readonly params: readonly SqlValue[]
  /** The position, as an expression that keeps SQLite to the order of the driver. */
  readonly seq: string
}

/**
 * FROM and WHERE. What drives comes first; each further condition that has an index is looked up there, by its value and
 * the position, so that rows are read only where all of them hold (measured: 0.5 to 1 µs a record against 5 to 20 µs by
 * reading it). Cross joins are never turned round. What is left, the ranges, is decided on the row.
 */
function clauses(plan: Plan, driver: ColumnTest | null, bounds: Bounds, wantsRow: boolean): Clauses {
  const equalities = plan.parts.equalities.filter((equality) => !isDriver(plan, equality))
  const lookups = [
    ...equalities
      .filter(({ column }) => plan.indexed.has(column))
      .map(({ column, values }) => ({ table: 'records', index: `INDEXED BY records_by_${column}`, test: anyOf(column, values) })),
    ...plan.parts.tags.filter((tag) => !isDriver(plan, tag)).map((tag) => ({ table: 'tags', index: '', test: anyOf('tag', [tag]) })),
  ]
  const tests = [
    ...equalities.filter(({ column }) => !plan.indexed.has(column)).map(({ column, values }) => anyOf(column, values)),
    ...plan.parts.ranges.filter((range) => !isDriver(plan, range)).map(within),
  ]
  const table = plan.driver.kind === 'tag' ? 'tags' : 'records'
  // Where nothing is looked up, the driver's row is the record.
  const name = table === 'records' && lookups.length === 0 ? 'records' : 'driver'
  const joined = lookups.map(({ table: other, index, test }, i) => {
    const { sql, params } = test(`other${i}.`)
    return { sql: `CROSS JOIN ${other} AS other${i} ${index} ON ${sql} AND other${i}.seq = driver.seq`, params }
  })
  if (name === 'driver' && (wantsRow || tests.length > 0))
    joined.push({ sql: 'CROSS JOIN records ON records.seq = driver.seq', params: [] })

  // The plus: else SQLite would rather walk the whole table in its order than sort what the index of a range, or a list, gives.
  const seq = `${plan.driver.kind === 'range' || plan.driver.kind === 'positions' ? '+' : ''}${name}.seq`
  const from = Math.max(bounds.from ?? 0, plan.from)
  const before = Math.min(bounds.before ?? Infinity, plan.before)
  const where = [
    ...(driver === null ? [] : [driver(`${name}.`)]),
    ...(from > 0 ? [{ sql: `${seq} >= ?`, params: [from] }] : []),
    ...(before < Infinity ? [{ sql: `${seq} < ?`, params: [before] }] : []),
    // The plus keeps SQLite from driving by another index after all.
    ...tests.map((test) => test('+records.')),
  ]
  return {
    tables: [`${table} AS ${name}`, ...joined.map(({ sql }) => sql)].join(' '),
    where: where.length === 0 ? '' : `WHERE ${where.map(({ sql }) => sql).join(' AND ')}`,
    params: [...joined, ...where].flatMap(({ params }) => params),
    seq,
  }
}

function isDriver(plan: Plan, part: Equality | Range | string): boolean {
  const { driver } = plan
  switch (driver.kind) {
    case 'equality':
      return driver.equality === part
    case 'range':
      return driver.range === part
    case 'tag':
      return driver.tag === part
    default:
      return false
  }
}
