/** What becomes of the index when segments are rewritten, with blocking calls: on the index's thread, or on the caller's. */
import fs from 'node:fs'
import type { Range } from '../../verify/ranges.ts'
import type { Database } from '../sql/driver.ts'
import { inTransaction } from '../sql/transaction.ts'
import { seqOfLine } from '../../ledger/line-seq.ts'
import { readPosition, writeMeta } from './index-db.ts'
import { segmentAt } from './layout.ts'
import { BLOCK_BYTES, LineCutter } from './lines.ts'

export type IndexUpkeep =
  /** The segment has another file than it had: places in it are other ones now. */
  | { readonly kind: 'moved'; readonly segment: number }
  /** What these entries said must not be found any more, nor lie in the file's free places. */
  | { readonly kind: 'forget'; readonly ranges: readonly Range[] }
  /** Everything that the index has is on the disk when this is done. */
  | { readonly kind: 'settle' }
  /** No byte of what was forgotten is in the file any more, nor in its log. */
  | { readonly kind: 'clean' }

/** False where it could not be done to the end because somebody else reads the index. @throws LedgerError */
export function keepIndexUp(database: Database, dir: string, work: IndexUpkeep): boolean {
  switch (work.kind) {
    case 'moved':
      inTransaction(database, () => followSegment(database, dir, work.segment))
      return true
    case 'forget':
      // Else the old row lies in the page until something else takes its place.
      database.exec('PRAGMA secure_delete = ON')
      inTransaction(database, () => forget(database, work.ranges))
      return true
    case 'settle':
      return checkpoint(database, 'PASSIVE')
    case 'clean':
      database.exec('PRAGMA secure_delete = ON')
      database.exec('VACUUM')
      return checkpoint(database, 'TRUNCATE')
  }
}

function checkpoint(database: Database, mode: 'PASSIVE' | 'TRUNCATE'): boolean {
  // 1: somebody else reads from the log, or writes to it.
  return database.pragma(`PRAGMA wal_checkpoint(${mode})`) === 0
}

/** Notes where the lines of a segment lie now. Nothing else of their rows changes: what they say of provider and model may be all that is left. */
export function followSegment(database: Database, dir: string, segment: number): void {
  const update = database.cached('UPDATE records SET byte = ?, length = ? WHERE seq = ? AND segment = ? AND (byte <> ? OR length <> ?)')
  const ends = (['position', 'durable'] as const).map((key) => ({ key, at: readPosition(database, key) }))
  const path = segmentAt(dir, segment).path
  const fd = fs.openSync(path, 'r')
  try {
    const cutter = new LineCutter(0)
    for (let at = 0; ;) {
      const block = Buffer.allocUnsafeSlow(BLOCK_BYTES)
      const read = fs.readSync(fd, block, 0, block.length, at)
      if (read === 0) return
      at += read
      for (const { bytes, base, ends: feeds, oversized } of cutter.push(block.subarray(0, read))) {
        if (oversized !== undefined) continue
        let start = 0
        for (const end of feeds) {
          const seq = seqOfLine(bytes, start, end)
          const [byte, length] = [base + start, end - start]
          if (seq !== -1) update.run(byte, length, seq, segment, byte, length)
          for (const { key, at: known } of ends) {
            if (known?.segment === segment && known.seq === seq) writeMeta(database, key, JSON.stringify({ ...known, byte, length }))
          }
          start = end + 1
        }
      }
    }
  } finally {
    fs.closeSync(fd)
  }
}

function forget(database: Database, ranges: readonly Range[]): void {
  const update = database.cached(
    'UPDATE records SET provider = NULL, model = NULL WHERE seq BETWEEN ? AND ? AND (provider IS NOT NULL OR model IS NOT NULL)',
  )
  for (const { first, last } of ranges) update.run(first, last)
}
