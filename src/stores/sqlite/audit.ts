/**
 * Feeds every row to a verifier, and checks what only this store can see: that index columns, tags and the indexes
 * themselves say what the records say, so that no query is answered from something that was changed behind them.
 *
 * Rows are read in pages, each a short read of its own: verifying a large ledger takes minutes, and one long read would
 * keep the log from being reset for as long. Only rows that were there at the start are looked at.
 */
import { setImmediate as turnOfTheLoop } from 'node:timers/promises'
import type { LedgerError } from '../../ledger/errors.ts'
import type { AuditRange, AuditSink } from '../../ledger/store.ts'
import { INDEX_COLUMNS } from '../sql/columns.ts'
import type { Database, SqlRow } from '../sql/driver.ts'
import { IndexAudit } from './audit-indexes.ts'
import { RowAudit } from './audit-row.ts'
import type { RowRange } from './audit-row.ts'
import { isDamage, unreadable } from './damage.ts'
import type { Runner } from './damage.ts'
import { LINE_SQL } from './line-sql.ts'

/** Few, so that few live on when garbage is collected: with 256, 1 million rows took 312 MiB, with these 169. */
const PAGE_ROWS = 64
const PAGE_BYTES = 4 * 1024 * 1024
/** SQLite's smallest row number: a row put in by another hand may have any. */
const FIRST_ROW = -(2n ** 63n)
const LAST_ROW = 2n ** 63n - 1n

// In JSON, since node:sqlite of Node 22 cuts a text at an embedded NUL; integers as text, since a number can't hold all that
// a row may hold.
const COLUMNS = INDEX_COLUMNS.map((column) => (/_(us|version)$/.test(column) ? `CAST(records.${column} AS TEXT)` : `records.${column}`))
const PAGE = `SELECT CAST(records.seq AS TEXT) AS seq, ${LINE_SQL} AS line, json_array(${COLUMNS.join(', ')}) AS columns,
    octet_length(hash) AS hash_bytes, octet_length(header) AS header_bytes, octet_length(signatures) AS signatures_bytes, octet_length(salt) AS salt_bytes
  FROM records NOT INDEXED WHERE records.seq >= ? AND records.seq <= ? ORDER BY records.seq LIMIT ${PAGE_ROWS}`
const FIRST_FROM = 'SELECT CAST(seq AS TEXT) AS seq FROM records NOT INDEXED WHERE seq >= ? AND seq <= ? ORDER BY seq LIMIT 1'

/**
 * `PRAGMA integrity_check` would check the indexes as well, at the same price, but in one piece that stops the event loop
 * and holds the log all the while; `quick_check` looks at pages and not at what the indexes say. So neither is run:
 * each row is read, and looked up in each index (measured: 8.5 µs a row for 12 indexes, reading and hashing take 10).
 */
export async function auditDatabase(run: Runner, sink: AuditSink, signal?: AbortSignal, range?: AuditRange): Promise<void> {
  sink.file(null, null)
  const rows = new RowAudit(sink)
  const indexes = new IndexAudit(sink)
  const feeding = { run, sink, rows, indexes, signal }
  try {
    const { first, isOpen, last: lastAtStart } = rowRange(range, await run(lastRow))
    await run((database) => indexes.begin(database))
    let last = lastAtStart
    let isWhole = true
    for (let from = first; last !== null && from <= last;) {
      const end: bigint = last
      isWhole = (await feedRows(feeding, from, end)) && isWhole
      // An entry that was found withheld is named by a record that was durable before: if need be by one that has come since.
      if (!isOpen || !rows.hasWithheld || end === LAST_ROW) break
      rows.hasWithheld = false
      from = end + 1n
      last = await run(lastRow)
      if (last === null || last < end) last = end
    }
    const all = { first, last, isOpen }
    // With rows unread, nobody knows how many entries and which tags there must be.
    if (isWhole) {
      if (last !== null) await indexes.checkCounts(run, all, rows.counts, signal)
      await run((database) => rows.checkTags(database, all))
    }
  } catch (error) {
    if (!isDamage(error)) throw error
    sink.problem(unreadable(null, error))
  }
  sink.columnsChecked()
}

interface Feeding {
  readonly run: Runner
  readonly sink: AuditSink
  readonly rows: RowAudit
  readonly indexes: IndexAudit
  readonly signal: AbortSignal | undefined
}

/** The rows from `first` to `last`; false where some could not be read. */
async function feedRows({ run, sink, rows, indexes, signal }: Feeding, first: bigint, last: bigint): Promise<boolean> {
  let isWhole = true
  for (let from = first; from <= last; await turnOfTheLoop()) {
    signal?.throwIfAborted()
    const page = await run((database) => readPage(database, from, last))
    // Each row once: the work is begun again where another process was in the way.
    let checked = 0
    await run((database) => {
      for (; checked < page.rows.length; checked++) rows.check(database, page.rows[checked] as SqlRow)
    })
    const final = page.rows.at(-1)
    if (final !== undefined) {
      const numbers = page.rows.map(rowNumber)
      await run((database) => indexes.checkRows(database, numbers))
      from = rowNumber(final) + 1n
    } else if (page.damage === null) break
    if (page.damage !== null) {
      isWhole = false
      if (from < 0n) from = 0n
      sink.problem(unreadable(Number(from), page.damage))
      const next = await run((database) => firstReadable(database, from + 1n, last))
      if (next === null) break
      from = next
    }
  }
  return isWhole
}

/** The rows of a range, of those that were there at the start. */
function rowRange(range: AuditRange | undefined, end: bigint | null): RowRange {
  const first = range === undefined || range.from === 0 ? FIRST_ROW : BigInt(range.from)
  if (range === undefined || range.before === Infinity) return { first, last: end, isOpen: true }
  const last = BigInt(range.before) - 1n
  return { first, last: end === null || end < last ? end : last, isOpen: false }
}

function rowNumber(row: SqlRow): bigint {
  return BigInt(String(row['seq']))
}

/** Null where the table is empty. Where the end can't be read, all that can be read is looked at. */
function lastRow(database: Database): bigint | null {
  try {
    const row = database.cached('SELECT CAST(max(seq) AS TEXT) AS seq FROM records').get()
    return row === undefined || row['seq'] === null ? null : rowNumber(row)
  } catch (error) {
    if (!isDamage(error)) throw error
    return LAST_ROW
  }
}

/** The next rows, up to one that can't be read. */
function readPage(database: Database, from: bigint, last: bigint): { rows: SqlRow[]; damage: LedgerError | null } {
  const rows: SqlRow[] = []
  let bytes = 0
  try {
    for (const row of database.cached(PAGE).iterate(from, last)) {
      rows.push(row)
      bytes += (row['line'] as Uint8Array).length
      if (bytes >= PAGE_BYTES) break
    }
  } catch (error) {
    if (!isDamage(error)) throw error
    return { rows, damage: error }
  }
  return { rows, damage: null }
}

/**
 * The first row number from `from` on at which reading goes on behind a damaged page: with steps that double, then by
 * halving the last one. Null where nothing more can be read.
 */
function firstReadable(database: Database, from: bigint, last: bigint): bigint | null {
  let failed = from - 1n
  for (let step = 1n; failed + step <= last; step *= 2n) {
    let found = failed + step
    if (!readableFrom(database, found, last)) {
      failed = found
      continue
    }
    while (found - failed > 1n) {
      const middle = (found + failed) / 2n
      if (readableFrom(database, middle, last)) found = middle
      else failed = middle
    }
    return found
  }
  return null
}

function readableFrom(database: Database, row: bigint, last: bigint): boolean {
  try {
    return database.cached(FIRST_FROM).get(row, last) !== undefined
  } catch (error) {
    if (!isDamage(error)) throw error
    return false
  }
}
