/** Looking at the ledger's end and appending to it, each in one transaction of the database; all synchronous. */
import { LedgerError } from '../../ledger/errors.ts'
import type { Head, SealedRecord, StateRequest, StoreState } from '../../ledger/store.ts'
import { GENESIS } from '../../verify/header.ts'
import type { RecordHeader } from '../../verify/header.ts'
import { INDEX_COLUMNS, INDEX_PLACEHOLDERS, indexColumns } from '../sql/columns.ts'
import type { Database, Statement } from '../sql/driver.ts'
import { LINE_SQL } from './line-sql.ts'

const INSERT_RECORD = `INSERT OR FAIL INTO records (seq, ${INDEX_COLUMNS.join(', ')}, hash, header, signatures, salt, entry)
  VALUES (?, ${INDEX_PLACEHOLDERS}, ?, ?, ?, ?, ?)`
const INSERT_TAG = 'INSERT OR FAIL INTO tags (tag, seq) VALUES (?, ?)'
const LAST_RECORD = 'SELECT seq, hash, CAST(header AS BLOB) AS header FROM records ORDER BY seq DESC LIMIT 1'

// The lists come as one parameter, so that each is one statement for any number; a cross join is not turned round.
const LAST_VERSIONS = `SELECT wanted.value AS stream,
    (SELECT stream_version FROM records WHERE stream = wanted.value ORDER BY seq DESC LIMIT 1) AS version
  FROM json_each(?) AS wanted`
const LINES_OF_RUNS = `SELECT records.run_id AS run_id, ${LINE_SQL} AS line
  FROM json_each(?) AS wanted CROSS JOIN records ON records.run_id = wanted.value ORDER BY records.seq DESC`

/** @throws LedgerError `damaged` where the last record can't be read; nothing can be chained to it then */
export function readHead(database: Database): Head {
  const last = database.cached(LAST_RECORD).get()
  if (last === undefined) return { size: 0, hash: GENESIS, recorded_at: null }
  const { seq, hash, header } = last
  try {
    const { recorded_at } = JSON.parse(Buffer.from(header as Uint8Array).toString()) as RecordHeader
    if (typeof seq !== 'number' || typeof hash !== 'string' || typeof recorded_at !== 'string') throw new TypeError('not a record')
    return { size: seq + 1, hash, recorded_at }
  } catch (error) {
    throw new LedgerError(
      'damaged',
      `the last record of ${database.path} (row ${seq}) can't be read, so nothing can be chained to it: run verify`,
      {
        row: seq,
        cause: error,
      },
    )
  }
}

/** One consistent view. */
export function readState(database: Database, request: StateRequest): StoreState {
  database.exec('BEGIN')
  try {
    const head = readHead(database)
    const streams = new Map<string, number>()
    if (request.streams.length > 0) {
      for (const { stream, version } of database.cached(LAST_VERSIONS).all(JSON.stringify(request.streams))) {
        if (version !== null) streams.set(String(stream), Number(version))
      }
    }
    const runs = new Map<string, Uint8Array>()
    if (request.run_ids.length > 0) {
      // Should an id be there twice, by another hand, the first record counts: it comes last and stays.
      for (const { run_id, line } of database.cached(LINES_OF_RUNS).all(JSON.stringify(request.run_ids))) {
        runs.set(String(run_id), line as Uint8Array)
      }
    }
    return { head, streams, runs, now: null }
  } finally {
    rollBack(database)
  }
}

/**
 * Appends under the database's write lock, so that writing processes come one after the other, and only to the end that
 * the records were sealed for.
 * @throws LedgerError `head_moved` | `locked` | `disk_full` | `io_error` | `read_only` | `damaged`
 */
export function appendRecords(database: Database, records: readonly SealedRecord[], expected: Head): void {
  const last = records.at(-1)
  if (last === undefined) return
  database.exec('BEGIN IMMEDIATE')
  try {
    const { size, hash } = readHead(database)
    if (size !== expected.size || hash !== expected.hash) {
      throw new LedgerError('head_moved', `another process appended to ${database.path} first: read the state and seal the records anew`, {
        expected: { size: expected.size, hash: expected.hash },
        found: { size, hash },
      })
    }
    insertAll(database, records)
  } catch (error) {
    // Crash point: nothing is committed, so whoever opens the file next sees none of it.
    rollBack(database)
    throw refused(error)
  }
  try {
    database.exec('COMMIT')
  } catch (error) {
    rollBack(database)
    throw uncertain(error)
  }
}

function insertAll(database: Database, records: readonly SealedRecord[]): void {
  const insert = database.cached(INSERT_RECORD)
  let insertTag: Statement | null = null
  for (const { hash, header, header_text, signatures_text, salt, entry_text, provider, model } of records) {
    insert.run(header.seq, ...indexColumns(header, provider, model), hash, header_text, signatures_text, salt, entry_text)
    if (header.tags === undefined) continue
    insertTag ??= database.cached(INSERT_TAG)
    for (const tag of header.tags) insertTag.run(tag, header.seq)
  }
}

/** Some errors have ended the transaction by themselves; and the cause is to be told, not what failed in clearing up. */
function rollBack(database: Database): void {
  try {
    database.exec('ROLLBACK')
  } catch {
    // Should it still be open, the next BEGIN says so.
  }
}

/**
 * The guards refuse a record whose seq is not the next one or whose run_id is there already. Under the lock and at the
 * expected head that can't be another writer, so either the batch is wrong in itself or the index of run ids did not
 * show a record that is there.
 */
function refused(error: unknown): unknown {
  if (!(error instanceof LedgerError) || !/a ledger only grows/.test(error.message)) return error
  return new LedgerError('damaged', `the records do not fit the ledger's end, or a run_id is there twice: run verify (${error.message})`, {
    ...error.details,
    cause: error,
  })
}

/**
 * A COMMIT that fails for want of space wrote no end mark of the transaction, and one that found the database locked wrote
 * nothing. Where writing or syncing the log failed otherwise, SQLite does not show the transaction now, but its frames
 * may be whole in the log, and after a crash of the machine recovery could bring them back.
 */
function uncertain(error: unknown): unknown {
  if (!(error instanceof LedgerError) || error.code === 'disk_full' || error.code === 'locked') return error
  return new LedgerError(error.code, error.message, { ...error.details, outcome_unknown: true })
}
