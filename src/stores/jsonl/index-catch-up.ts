/**
 * Brings the index up to a place in the segments, with blocking calls: on the index's own thread, or on the caller's
 * where there is little to do. Any number of processes may do it at once: SQLite's write lock puts them in order, and
 * each begins where the one before has ended.
 */
import fs from 'node:fs'
import { join } from 'node:path'
import type { EntryNames } from '../../ledger/filter.ts'
import { seqOfLine } from '../../ledger/line-seq.ts'
import type { RecordHeader } from '../../verify/header.ts'
import { INDEX_PLACEHOLDERS, indexColumns } from '../sql/columns.ts'
import type { Database, Statement } from '../sql/driver.ts'
import { inTransaction } from '../sql/transaction.ts'
import { headerOfLine, isWithheld, namesOfLine } from './checked-line.ts'
import { indexMismatch, PLACE_COLUMNS, placeOf, readPosition, writeMeta } from './index-db.ts'
import type { IndexPosition } from './index-db.ts'
import { followSegment } from './index-upkeep.ts'
import { INDEX_FILE, parseSegmentFile, segmentAt, SEGMENTS } from './layout.ts'
import { namesAt, readNamesNow } from './kept-names.ts'
import type { SegmentNames } from './kept-names.ts'
import { BLOCK_BYTES, LineCutter } from './lines.ts'
import type { Lines } from './lines.ts'
import { findPlaceNow } from './places.ts'

/** Behind the last record that is to be indexed. */
export interface CatchUpEnd {
  /** `first_seq` of its segment. */
  readonly segment: number
  readonly byte: number
  /** A writer has acknowledged everything up to there: the index may say that it is durable. */
  readonly durable: boolean
}

export interface CatchUpResult {
  readonly position: IndexPosition | null
  readonly done: boolean
}

/** How much one transaction takes: it ends with the block that reaches one of these. */
export interface StepSize {
  readonly records: number
  readonly bytes: number
  readonly blockBytes: number
}

/** On a thread of its own. */
export const LARGE_STEP: StepSize = { records: 4000, bytes: 16 * BLOCK_BYTES, blockBytes: BLOCK_BYTES }
/** On the caller's thread, which has other things to do: about 5 ms. */
export const SMALL_STEP: StepSize = { records: 64, bytes: BLOCK_BYTES, blockBytes: 65_536 }

export function indexPath(dir: string): string {
  return join(dir, INDEX_FILE)
}

function listSegmentsSync(dir: string): number[] {
  const positions = fs.readdirSync(join(dir, SEGMENTS)).map(parseSegmentFile)
  return positions.filter((first_seq) => first_seq !== null).sort((a, b) => a - b)
}

/** True when `a` lies behind `b`. */
function isBehind(a: { segment: number; byte: number }, b: { segment: number; byte: number }): boolean {
  return a.segment > b.segment || (a.segment === b.segment && a.byte > b.byte)
}

function afterPosition({ segment, byte, length }: IndexPosition): { segment: number; byte: number } {
  return { segment, byte: byte + length + 1 }
}

/**
 * One transaction's worth.
 * @throws LedgerError; `isBrokenDatabase` says of which the cure is a new index
 */
export function catchUpStep(database: Database, dir: string, end: CatchUpEnd, size: StepSize): CatchUpResult {
  return inTransaction(database, () => {
    const before = lastPosition(database, dir)
    const from = before === null ? { segment: 0, byte: 0 } : afterPosition(before)
    // A reader has been here with lines that no writer has acknowledged yet.
    if (before !== null && isBehind(from, end)) return { position: before, done: true }
    const step = new Step(database, dir, before, size)
    const done = step.run(from, end)
    if (step.position !== null) {
      const text = JSON.stringify(step.position)
      writeMeta(database, 'position', text)
      if (end.durable) writeMeta(database, 'durable', text)
    }
    return { position: step.position, done }
  })
}

/** @throws LedgerError `isBrokenDatabase` where the record that the index ends with is not in the ledger */
function lastPosition(database: Database, dir: string): IndexPosition | null {
  const known = readPosition(database, 'position')
  if (known === null || isStillThere(dir, known)) return known
  if (!isElsewhere(dir, known)) throw indexMismatch(`position ${known.seq}`)
  followSegment(database, dir, known.segment)
  return readPosition(database, 'position')
}

/** The record that the index ends with lies elsewhere in its segment, which was rewritten. */
function isElsewhere(dir: string, { seq, segment, hash }: IndexPosition): boolean {
  try {
    const found = findPlaceNow(dir, segment, seq)
    return found !== null && found.line.toString('latin1', 9, 73) === hash
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ENOENT') return false
    throw error
  }
}

/** Enough of a line to see its hash and, in its header, its position. Bytes. */
const LINE_START_BYTES = 8192

/** The line that the index ends with is in its segment as it was. */
export function isStillThere(dir: string, { seq, segment, byte, length, hash }: IndexPosition): boolean {
  const first = Math.max(0, byte - 1)
  const bytes = Buffer.alloc(byte - first + Math.min(length, LINE_START_BYTES))
  const feed = Buffer.alloc(1)
  try {
    const fd = fs.openSync(segmentAt(dir, segment).path, 'r')
    try {
      if (fs.readSync(fd, bytes, 0, bytes.length, first) < bytes.length) return false
      if (fs.readSync(fd, feed, 0, 1, byte + length) < 1 || feed[0] !== 0x0a) return false
    } finally {
      fs.closeSync(fd)
    }
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ENOENT') return false
    throw error
  }
  const start = byte - first
  if (byte > 0 && bytes[0] !== 0x0a) return false
  return bytes.toString('latin1', start, start + 85) === `{"hash":"${hash}","header":{` && seqOfLine(bytes, start, bytes.length) === seq
}

/** The index ends with a record of this ledger, and with that row. */
export function isOfLedger(database: Database, dir: string): boolean {
  // Both as of one moment: another process may be adding to it.
  database.exec('BEGIN')
  let position, row
  try {
    position = readPosition(database, 'position')
    row = database.cached(`SELECT seq, ${PLACE_COLUMNS} FROM records ORDER BY seq DESC LIMIT 1`).get()
  } finally {
    database.exec('ROLLBACK')
  }
  if (position === null || row === undefined) return position === null && row === undefined
  const { seq, segment, byte, length } = placeOf(row)
  const isSame = seq === position.seq && segment === position.segment && byte === position.byte && length === position.length
  return isSame && (isStillThere(dir, position) || isElsewhere(dir, position))
}

class Step {
  position: IndexPosition | null
  readonly #insert: Statement
  readonly #insertTag: Statement
  readonly #size: StepSize
  readonly #dir: string
  #records = 0
  #bytes = 0
  #kept: { readonly segment: number; readonly names: SegmentNames } | null = null

  constructor(database: Database, dir: string, position: IndexPosition | null, size: StepSize) {
    this.position = position
    this.#dir = dir
    this.#size = size
    // Replacing: whatever stands behind the position did not come from here.
    this.#insert = database.cached(`INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ${INDEX_PLACEHOLDERS})`)
    this.#insertTag = database.cached('INSERT OR REPLACE INTO tags (tag, seq) VALUES (?, ?)')
  }

  /** True when the end was reached. */
  run(from: { segment: number; byte: number }, end: CatchUpEnd): boolean {
    for (const segment of listSegmentsSync(this.#dir)) {
      if (segment < from.segment || segment > end.segment) continue
      const start = segment === from.segment ? from.byte : 0
      if (!this.#segment(segment, start, segment === end.segment ? end.byte : Infinity)) return false
    }
    return true
  }

  #segment(segment: number, from: number, to: number): boolean {
    const fd = fs.openSync(segmentAt(this.#dir, segment).path, 'r')
    try {
      const cutter = new LineCutter(from)
      for (let at = from; at < to;) {
        const block = Buffer.allocUnsafeSlow(Math.min(this.#size.blockBytes, to - at))
        const read = fs.readSync(fd, block, 0, block.length, at)
        if (read === 0) break
        at += read
        for (const lines of cutter.push(block.subarray(0, read))) this.#lines(lines, segment)
        if (this.#records >= this.#size.records || this.#bytes >= this.#size.bytes) return false
      }
      return true
    } finally {
      fs.closeSync(fd)
    }
  }

  #lines({ bytes, base, ends, oversized }: Lines, segment: number): void {
    this.#bytes += bytes.length
    if (oversized !== undefined) return
    let start = 0
    for (const end of ends) {
      // A line that is no record is not found by queries; `verify` reports it.
      const header = headerOfLine(bytes, start, end)
      if (header !== null && isIndexable(header)) this.#record(header, bytes, start, end, { segment, byte: base + start })
      start = end + 1
    }
  }

  /** Of an entry that is withheld: what is kept of it beside the segment. */
  #names(seq: number, bytes: Buffer, start: number, end: number, segment: number): EntryNames {
    if (isWithheld(bytes, start, end)) {
      if (this.#kept?.segment !== segment) this.#kept = { segment, names: readNamesNow(segmentAt(this.#dir, segment)) }
      return namesAt(this.#kept.names, seq)
    }
    return namesOfLine(bytes, start, end)
  }

  #record(header: RecordHeader, bytes: Buffer, start: number, end: number, at: { segment: number; byte: number }): void {
    const { provider, model } = this.#names(header.seq, bytes, start, end, at.segment)
    let columns
    try {
      columns = indexColumns(header, provider, model)
    } catch (error) {
      if (error instanceof RangeError) return
      throw error
    }
    const length = end - start
    this.#insert.run(header.seq, at.segment, at.byte, length, ...columns)
    if (header.tags !== undefined) for (const tag of header.tags) this.#insertTag.run(tag, header.seq)
    this.position = { seq: header.seq, ...at, length, hash: bytes.toString('latin1', start + 9, start + 73) }
    this.#records++
  }
}

const TEXTS = ['run_id', 'stream', 'type', 'actor', 'action', 'outcome', 'timestamp', 'recorded_at'] as const
const isText = (value: unknown): boolean => typeof value === 'string'
const isCount = (value: unknown): boolean => Number.isSafeInteger(value)

/** The columns take it. In a ledger that was tampered with a header can be anything. */
function isIndexable(header: RecordHeader): boolean {
  const { correlation_id = '', causation_id = '', tags = [] } = header
  return (
    TEXTS.every((key) => isText(header[key])) &&
    isText(correlation_id) &&
    isText(causation_id) &&
    isCount(header.seq) &&
    isCount(header.stream_version) &&
    Array.isArray(tags) &&
    tags.every(isText)
  )
}
