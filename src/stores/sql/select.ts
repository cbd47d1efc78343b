/**
 * A `Selection` as SQL over the tables `records` and `tags` of columns.ts.
 *
 * SQLite without statistics takes all indexes of one column for equally good, and would as soon walk the index of
 * `outcome = 'success'` (nearly all records) as that of a correlation id (a few). So this decides: one condition drives,
 * by its index; the others are written with a unary plus, which keeps SQLite from using an index for them. Where it is
 * not plain which one should drive, a few index entries of each are counted first.
 */
import type { RecordFilter, Selection, TallyColumn } from '../../ledger/store.ts'
import { timeMicros } from './columns.ts'
import type { Database, SqlRow, SqlValue } from './driver.ts'

/** Columns of equality, those that few records share first. */
const EQUALITIES = [
  'run_id',
  'correlation_id',
  'causation_id',
  'stream',
  'model',
  'provider',
  'actor',
  'action',
  'type',
  'outcome',
] as const
type EqualityColumn = (typeof EQUALITIES)[number]

/** A condition with few enough entries drives without looking at the others. */
const FEW = 64
/** How many index entries are counted to compare conditions, and the most whose positions are sorted. */
const PROBED_MAX = 2048
/** The most values of one column whose rows are merged in order of seq; more are sorted. */
const MERGED_VALUES_MAX = 32
/** Positions that are fetched at once where the rows can't be streamed. */
const POSITIONS_PAGE = 256

interface Condition {
  readonly sql: string
  readonly params: readonly SqlValue[]
}
interface Equality {
  readonly column: EqualityColumn
  readonly values: readonly string[]
}
interface Range {
  readonly column: 'timestamp_us' | 'recorded_us'
  readonly since: number | bigint | null
  readonly until: number | bigint | null
}
/** The filter in parts; null where no record can fit. */
interface Parts {
  readonly equalities: readonly Equality[]
  readonly tags: readonly string[]
  readonly ranges: readonly Range[]
}
type Driver =
  | { readonly kind: 'seq' }
  | { readonly kind: 'nothing' }
  | { readonly kind: 'equality'; readonly equality: Equality }
  | { readonly kind: 'tag'; readonly tag: string }
  | { readonly kind: 'range'; readonly range: Range }

/** What drives, and the positions (inclusive, exclusive) outside of which nothing fits. */
interface Plan {
  readonly parts: Parts
  readonly driver: Driver
  readonly from: number
  readonly before: number
}

/** Number of records that fit. */
export function countRecords(database: Database, filter: RecordFilter): number {
  const plan = planFilter(database, filter)
  if (plan.driver.kind === 'nothing') return 0
  const { sql, params } = conditions(plan, driving(plan.driver), {})
  return Number(database.cached(`SELECT count(*) AS n FROM ${source(plan.driver)} ${sql}`).get(...params)?.['n'] ?? 0)
}

/** Number of records that fit, by a column's values; records without the value are left out. */
export function tallyRecords(database: Database, column: TallyColumn, filter: RecordFilter): Map<string, number> {
  const plan = planFilter(database, filter)
  if (plan.driver.kind === 'nothing') return new Map()
  const { sql, params } = conditions(plan, driving(plan.driver), {})
  const where = `${sql === '' ? 'WHERE' : `${sql} AND`} records.${column} IS NOT NULL`
  const rows = database
    .cached(`SELECT records.${column} AS value, count(*) AS n FROM ${source(plan.driver)} ${where} GROUP BY records.${column}`)
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

  /** `columns`: what to select from `records`, as SQL; `seq` comes with it. */
  constructor(database: Database, selection: Selection, columns: string) {
    this.database = database
    this.columns = columns
    this.reverse = selection.reverse
    this.left = selection.limit
    this.plan = planFilter(database, selection.filter)
    this.from = Math.max(selection.from, this.plan.from)
    this.before = Math.min(selection.before, this.plan.before)
  }

  /** The next rows in order, `rowsMax` at most; fewer where `isFull` says so of one. Empty when there are no more. */
  next(rowsMax: number, isFull: (row: SqlRow) => boolean = () => false): SqlRow[] {
    const wanted = Math.min(rowsMax, this.left)
    if (wanted <= 0 || this.plan.driver.kind === 'nothing' || this.from >= this.before) return []
    const rows = streams(this.plan.driver) ? this.stream(wanted, isFull) : this.fetch(wanted, isFull)
    const last = rows.at(-1)
    if (last === undefined) {
      this.left = 0
      return rows
    }
    if (this.reverse) this.before = Number(last['seq'])
    else this.from = Number(last['seq']) + 1
    this.left -= rows.length
    return rows
  }

  private stream(wanted: number, isFull: (row: SqlRow) => boolean): SqlRow[] {
    const { sql, params } = pageQuery(this.plan, `records.seq AS seq, ${this.columns}`, this.bounds(), this.reverse, wanted)
    const rows: SqlRow[] = []
    for (const row of this.database.cached(sql).iterate(...params)) {
      rows.push(row)
      if (isFull(row)) break
    }
    return rows
  }

  /** Where SQLite sorts or merges, it does so with positions alone; rows, which may be large, follow one by one. */
  private fetch(wanted: number, isFull: (row: SqlRow) => boolean): SqlRow[] {
    const positions = pageQuery(this.plan, 'records.seq AS seq', this.bounds(), this.reverse, Math.min(wanted, POSITIONS_PAGE))
    const row = this.database.cached(`SELECT seq, ${this.columns} FROM records WHERE seq = ?`)
    const rows: SqlRow[] = []
    for (const { seq } of this.database.cached(positions.sql).all(...positions.params)) {
      const found = row.get(seq ?? null)
      if (found === undefined) continue
      rows.push(found)
      if (isFull(found)) break
    }
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

/** The statement of one page. Exported for the test that reads its plan. */
export function pageQuery(plan: Plan, columns: string, bounds: Bounds, reverse: boolean, limit: number): Condition {
  const { driver } = plan
  const order = `${reverse ? 'DESC' : 'ASC'} LIMIT ?`
  if (driver.kind === 'equality' && driver.equality.values.length > 1 && driver.equality.values.length <= MERGED_VALUES_MAX) {
    // One SELECT a value, each in order by its index: SQLite merges them and stops at the limit.
    const selects = driver.equality.values.map((value) => {
      const { sql, params } = conditions(plan, { sql: `records.${driver.equality.column} = ?`, params: [value] }, bounds)
      return { sql: `SELECT ${columns} FROM records ${sql}`, params }
    })
    return {
      sql: `${selects.map((select) => select.sql).join(' UNION ALL ')} ORDER BY seq ${order}`,
      params: [...selects.flatMap((select) => select.params), limit],
    }
  }
  const { sql, params } = conditions(plan, driving(driver), bounds)
  return { sql: `SELECT ${columns} FROM ${source(driver)} ${sql} ORDER BY ${position(driver)} ${order}`, params: [...params, limit] }
}

/** True where the rows come out of the tables in order, with nothing held back. */
function streams(driver: Driver): boolean {
  return driver.kind === 'seq' || driver.kind === 'tag' || (driver.kind === 'equality' && driver.equality.values.length === 1)
}

/** A cross join is never turned round: the tag's rows lead. */
function source(driver: Driver): string {
  return driver.kind === 'tag' ? 'tags CROSS JOIN records ON records.seq = tags.seq' : 'records'
}

/** The plus: else SQLite would rather walk the whole table in its order than sort what the index of a range gives. */
function position(driver: Driver): string {
  return driver.kind === 'tag' ? 'tags.seq' : driver.kind === 'range' ? '+records.seq' : 'records.seq'
}

function driving(driver: Driver): Condition | null {
  switch (driver.kind) {
    case 'equality':
      return anyOf(`records.${driver.equality.column}`, driver.equality.values)
    case 'tag':
      return { sql: 'tags.tag = ?', params: [driver.tag] }
    case 'range':
      return within(`records.${driver.range.column}`, driver.range)
    default:
      return null
  }
}

/** The WHERE clause: what drives, the bounds, and all else without an index. */
function conditions(plan: Plan, driver: Condition | null, bounds: Bounds): Condition {
  const { parts } = plan
  const seq = position(plan.driver)
  const from = Math.max(bounds.from ?? 0, plan.from)
  const before = Math.min(bounds.before ?? Infinity, plan.before)
  const all: Condition[] = driver === null ? [] : [driver]
  if (from > 0) all.push({ sql: `${seq} >= ?`, params: [from] })
  if (before < Infinity) all.push({ sql: `${seq} < ?`, params: [before] })
  for (const equality of parts.equalities) {
    if (plan.driver.kind === 'equality' && plan.driver.equality === equality) continue
    all.push(anyOf(`+records.${equality.column}`, equality.values))
  }
  for (const range of parts.ranges) {
    if (plan.driver.kind === 'range' && plan.driver.range === range) continue
    all.push(within(`+records.${range.column}`, range))
  }
  for (const tag of parts.tags) {
    if (plan.driver.kind === 'tag' && plan.driver.tag === tag) continue
    all.push({ sql: 'EXISTS (SELECT 1 FROM tags AS other WHERE other.tag = ? AND other.seq = records.seq)', params: [tag] })
  }
  if (all.length === 0) return { sql: '', params: [] }
  return { sql: `WHERE ${all.map((each) => each.sql).join(' AND ')}`, params: all.flatMap((each) => each.params) }
}

function anyOf(expression: string, values: readonly string[]): Condition {
  if (values.length === 1) return { sql: `${expression} = ?`, params: values }
  // One parameter whatever the number of values: statements have a limit of 32,766, and one text is prepared once.
  if (values.length > MERGED_VALUES_MAX) {
    return { sql: `${expression} IN (SELECT value FROM json_each(?))`, params: [JSON.stringify(values)] }
  }
  return { sql: `${expression} IN (${values.map(() => '?').join(', ')})`, params: values }
}

function within(expression: string, range: Range): Condition {
  const params: SqlValue[] = []
  const parts: string[] = []
  if (range.since !== null) {
    parts.push(`${expression} >= ?`)
    params.push(range.since)
  }
  if (range.until !== null) {
    parts.push(`${expression} < ?`)
    params.push(range.until)
  }
  return { sql: parts.join(' AND '), params }
}

function splitFilter(filter: RecordFilter): Parts | null {
  const equalities: Equality[] = []
  for (const column of EQUALITIES) {
    const wanted = filter[column]
    if (wanted === undefined) continue
    // A text with an unpaired surrogate is in no record, but bound as UTF-8 it would look for U+FFFD.
    const values = [...new Set<string>(wanted)].filter((value) => value.isWellFormed())
    if (values.length === 0) return null
    equalities.push({ column, values })
  }
  const tags = [...new Set(filter.tags ?? [])]
  if (!tags.every((tag) => tag.isWellFormed())) return null
  const ranges: Range[] = []
  for (const [column, since, until] of [
    ['timestamp_us', filter.since, filter.until],
    ['recorded_us', filter.recorded_since, filter.recorded_until],
  ] as const) {
    if (since === undefined && until === undefined) continue
    ranges.push({ column, since: since === undefined ? null : timeMicros(since), until: until === undefined ? null : timeMicros(until) })
  }
  return { equalities, tags, ranges }
}

const NOTHING: Plan = { parts: { equalities: [], tags: [], ranges: [] }, driver: { kind: 'nothing' }, from: 0, before: 0 }

/** Decides what drives. Exported for the test that reads the plans. */
export function planFilter(database: Database, filter: RecordFilter): Plan {
  const parts = splitFilter(filter)
  if (parts === null) return NOTHING
  const { equalities, tags, ranges } = parts
  const everything = { parts, from: 0, before: Infinity }
  const candidates: Driver[] = [
    ...equalities.map((equality) => ({ kind: 'equality', equality }) as const),
    ...tags.map((tag) => ({ kind: 'tag', tag }) as const),
  ]
  const [first] = candidates
  if (first !== undefined && ((candidates.length === 1 && ranges.length === 0) || equalities[0]?.column === 'run_id')) {
    return { ...everything, driver: first }
  }

  let best: Driver = { kind: 'seq' }
  let fewest = Infinity
  for (const candidate of candidates) {
    const entries = probe(database, candidate)
    if (entries >= fewest) continue
    best = candidate
    fewest = entries
    if (fewest === 0) return NOTHING
    if (fewest < FEW) return { ...everything, driver: best }
  }

  let from = 0
  let before = Infinity
  for (const range of ranges) {
    const span = spanOf(database, range)
    if (span === null) continue
    if (span.entries === 0) return NOTHING
    from = Math.max(from, span.first)
    before = Math.min(before, span.last + 1)
    if (span.entries <= PROBED_MAX && span.entries < fewest) {
      best = { kind: 'range', range }
      fewest = span.entries
    }
  }
  return { parts, driver: best, from, before }
}

/** How many records a condition alone fits, counted up to PROBED_MAX. */
function probe(database: Database, driver: Driver): number {
  const { sql, params } = driving(driver) ?? { sql: 'TRUE', params: [] }
  const table = driver.kind === 'tag' ? 'tags' : 'records'
  const row = database.cached(`SELECT count(*) AS n FROM (SELECT 1 FROM ${table} WHERE ${sql} LIMIT ${PROBED_MAX})`).get(...params)
  return Number(row?.['n'] ?? 0)
}

/**
 * The positions between which all records of a range of times lie, from the range's index alone (about 50 ns an entry).
 * With it a wide range is read in the order of seq without a sort and without walking the rest of the ledger, though
 * times may be backdated at will. Null where nearly everything is in the range, so that looking would be waste.
 */
function spanOf(database: Database, range: Range): { entries: number; first: number; last: number } | null {
  const column = `records.${range.column}`
  const outside: string[] = []
  const bounds: SqlValue[] = []
  if (range.since !== null) {
    outside.push(`SELECT 1 FROM (SELECT 1 FROM records WHERE ${column} < ? LIMIT ${PROBED_MAX})`)
    bounds.push(range.since)
  }
  if (range.until !== null) {
    outside.push(`SELECT 1 FROM (SELECT 1 FROM records WHERE ${column} >= ? LIMIT ${PROBED_MAX})`)
    bounds.push(range.until)
  }
  const n = Number(database.cached(`SELECT count(*) AS n FROM (${outside.join(' UNION ALL ')})`).get(...bounds)?.['n'])
  const { sql, params } = within(column, range)
  if (n < PROBED_MAX) {
    // Either nearly everything is in the range, or there is not much at all: then its entries are few.
    const some = database.cached(`SELECT count(*) AS n FROM (SELECT 1 FROM records WHERE ${sql} LIMIT ${PROBED_MAX + 1})`).get(...params)
    if (Number(some?.['n']) > PROBED_MAX) return null
  }
  const row = database.cached(`SELECT count(*) AS n, min(seq) AS first, max(seq) AS last FROM records WHERE ${sql}`).get(...params)
  return { entries: Number(row?.['n'] ?? 0), first: Number(row?.['first'] ?? 0), last: Number(row?.['last'] ?? -1) }
}
