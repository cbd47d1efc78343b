/**
 * Deciding what drives a query.
 *
 * SQLite without statistics takes all indexes of one column for equally good, and would as soon walk the index of
 * `outcome = 'success'` (nearly all records) as that of a correlation id (a few). So one condition drives, by its index;
 * the others only say which of its records stay (select.ts). Where it is not plain which one should drive, a few index
 * entries of each are counted first.
 */
import type { RecordFilter } from '../../ledger/store.ts'
import { timeMicros } from '../../ledger/micros.ts'
import type { Database, SqlValue } from './driver.ts'

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

/** The most values of one column that are written out as parameters; more go as one list. */
const VALUES_WRITTEN_MAX = 32
/** A condition with few enough entries drives without looking at the others. */
const FEW = 64
/** How many index entries are counted to compare conditions with each other, and the most positions of a range that are sorted. */
const PROBED_MAX = 2048

export interface Condition {
  readonly sql: string
  readonly params: readonly SqlValue[]
}

/** A condition on a column; `table` stands before its name, such as `records.`, or `+records.` to keep from its index. */
export type ColumnTest = (table: string) => Condition

export interface Equality {
  readonly column: EqualityColumn
  readonly values: readonly string[]
}

/** Times in µs; `since` inclusive, `until` exclusive. */
export interface Range {
  readonly column: 'timestamp_us' | 'recorded_us'
  readonly since: number | bigint | null
  readonly until: number | bigint | null
}

/** The filter in parts; null where no record can fit. */
export interface Parts {
  /** Ascending; null where any position fits. */
  readonly seqs: readonly number[] | null
  readonly equalities: readonly Equality[]
  readonly tags: readonly string[]
  readonly ranges: readonly Range[]
}

/** `seq`: no index of a condition, in the table's own order. */
export type Driver =
  | { readonly kind: 'seq' }
  | { readonly kind: 'nothing' }
  | { readonly kind: 'positions'; readonly seqs: readonly number[] }
  | { readonly kind: 'equality'; readonly equality: Equality }
  | { readonly kind: 'tag'; readonly tag: string }
  | { readonly kind: 'range'; readonly range: Range }

/** What drives, and the positions (inclusive, exclusive) outside of which nothing fits. */
export interface Plan {
  readonly parts: Parts
  /** Columns that have their index. */
  readonly indexed: ReadonlySet<string>
  readonly driver: Driver
  readonly from: number
  readonly before: number
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
  const seqs = filter.seq === undefined ? null : [...filter.seq].sort((a, b) => a - b)
  if (seqs?.length === 0) return null
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
  return { seqs, equalities, tags, ranges }
}

const NOTHING: Plan = {
  parts: { seqs: null, equalities: [], tags: [], ranges: [] },
  indexed: new Set(),
  driver: { kind: 'nothing' },
  from: 0,
  before: 0,
}

/** Decides what drives. @param ordered the records are wanted in the order of seq, not only counted */
export function planFilter(database: Database, filter: RecordFilter, ordered: boolean): Plan {
  const parts = splitFilter(filter)
  if (parts === null) return NOTHING
  const { seqs, equalities, tags, ranges } = parts
  const plan = { parts, indexed: indexedColumns(database), from: 0, before: Infinity }
  // They are few, and no index knows better where the records are.
  if (seqs !== null) return { ...plan, driver: { kind: 'positions', seqs } }
  const candidates: Driver[] = [
    ...equalities.map((equality) => ({ kind: 'equality', equality }) as const),
    ...tags.map((tag) => ({ kind: 'tag', tag }) as const),
    ...(ordered ? [] : ranges.map((range) => ({ kind: 'range', range }) as const)),
  ]
  const [first] = candidates
  const alone = candidates.length === 1 && (!ordered || ranges.length === 0)
  if (first !== undefined && (alone || equalities[0]?.column === 'run_id')) return { ...plan, driver: first }

  let driver: Driver = { kind: 'seq' }
  let fewest = Infinity
  for (const candidate of candidates) {
    const entries = probe(database, candidate)
    if (entries >= fewest) continue
    driver = candidate
    fewest = entries
    if (fewest === 0) return NOTHING
    if (fewest < FEW) break
  }
  if (!ordered || fewest < FEW) return { ...plan, driver }
  return withSpans(database, { ...plan, driver }, fewest)
}

/** The plan within the positions of its ranges; one with fewer entries than what drives so far takes its place. */
function withSpans(database: Database, plan: Plan, fewest: number): Plan {
  let { driver, from, before } = plan
  for (const range of plan.parts.ranges) {
    const span = spanOf(database, range)
    if (span === null) continue
    if (span.entries === 0) return NOTHING
    from = Math.max(from, span.first)
    before = Math.min(before, span.last + 1)
    if (span.entries <= PROBED_MAX && span.entries < fewest) {
      driver = { kind: 'range', range }
      fewest = span.entries
    }
  }
  return { ...plan, driver, from, before }
}

/** How many records a condition alone fits, counted up to PROBED_MAX. */
function probe(database: Database, driver: Driver): number {
  const { sql, params } = driving(driver)?.('') ?? { sql: 'TRUE', params: [] }
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
  const { column } = range
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
  const { sql, params } = within(range)('')
  if (n < PROBED_MAX) {
    // Either nearly everything is in the range, or there is not much at all: then its entries are few.
    const some = database.cached(`SELECT count(*) AS n FROM (SELECT 1 FROM records WHERE ${sql} LIMIT ${PROBED_MAX + 1})`).get(...params)
    if (Number(some?.['n']) > PROBED_MAX) return null
  }
  const row = database.cached(`SELECT count(*) AS n, min(seq) AS first, max(seq) AS last FROM records WHERE ${sql}`).get(...params)
  return { entries: Number(row?.['n'] ?? 0), first: Number(row?.['first'] ?? 0), last: Number(row?.['last'] ?? -1) }
}

/** The condition that drives, to be answered by its index; null where none does. */
export function driving(driver: Driver): ColumnTest | null {
  switch (driver.kind) {
    case 'positions':
      return among(driver.seqs)
    case 'equality':
      return anyOf(driver.equality.column, driver.equality.values)
    case 'tag':
      return anyOf('tag', [driver.tag])
    case 'range':
      return within(driver.range)
    default:
      return null
  }
}

function among(seqs: readonly number[]): ColumnTest {
  return (table) => ({ sql: `${table}seq IN (SELECT value FROM json_each(?))`, params: [JSON.stringify(seqs)] })
}

/** `values` has at least one. */
export function anyOf(column: string, values: readonly string[]): ColumnTest {
  return (table) => {
    if (values.length === 1) return { sql: `${table}${column} = ?`, params: values }
    // One parameter whatever the number of values: statements have a limit of 32,766, and one text is prepared once.
    if (values.length > VALUES_WRITTEN_MAX) {
      return { sql: `${table}${column} IN (SELECT value FROM json_each(?))`, params: [JSON.stringify(values)] }
    }
    return { sql: `${table}${column} IN (${values.map(() => '?').join(', ')})`, params: values }
  }
}

export function within({ column, since, until }: Range): ColumnTest {
  return (table) => {
    const parts = [
      { sql: `${table}${column} >= ?`, bound: since },
      { sql: `${table}${column} < ?`, bound: until },
    ].filter(({ bound }) => bound !== null)
    return { sql: parts.map(({ sql }) => sql).join(' AND '), params: parts.map(({ bound }) => bound) }
  }
}

const knownIndexes = new WeakMap<Database, ReadonlySet<string>>()

/** Columns whose index is there. Somebody may have dropped one; an index that is named and not there would be an error. */
function indexedColumns(database: Database): ReadonlySet<string> {
  let known = knownIndexes.get(database)
  if (known === undefined) {
    const rows = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'records'").all()
    known = new Set(rows.map((row) => String(row['name']).replace('records_by_', '')))
    knownIndexes.set(database, known)
  }
  return known
}
