/** Where a ledger ends, for those who only read: behind the last record that is whole, with its whole append. */
import type { LedgerError } from '../../ledger/errors.ts'
import type { Head } from '../../ledger/store.ts'
import { GENESIS } from '../../verify/header.ts'
import { damagedLine, wholeRecord } from './checked-line.ts'
import type { WholeRecord } from './checked-line.ts'
import type { FilePort, OpenFile } from './files.ts'
import type { Segment } from './layout.ts'
import { backwardLines } from './lines.ts'

export interface LedgerEnd {
  /** In the order of position; the last one is the one that `byte` is in. */
  readonly segments: readonly Segment[]
  /** Offset in the last segment behind its last record. */
  readonly byte: number
  readonly head: Head
  /** Why the head can't be told: the last line is no record. `byte` is then behind that line, and `head` is of the record before it. */
  readonly damage: LedgerError | null
}

export const EMPTY_HEAD: Head = { size: 0, hash: GENESIS, recorded_at: null }

export function headAfter(record: WholeRecord): Head {
  return { size: record.header.seq + 1, hash: record.hash, recorded_at: record.header.recorded_at }
}

/** Reading backwards begins with little: mostly the last few lines are all that is wanted. Bytes. */
const TAIL_BLOCK_BYTES = 65_536

interface Place {
  readonly byte: number
  readonly end: number
}

/** The last record of `[0, size)` with its whole append, and the last line behind it that is damaged. */
async function lastRecord(file: OpenFile, size: number): Promise<{ byte: number; record: WholeRecord | null; damaged: Place | null }> {
  let damaged: Place | null = null
  /** The append whose last record is not there yet. */
  let unfinished: number | null = null
  for await (const { bytes, base, ends } of backwardLines(file, 0, size, TAIL_BLOCK_BYTES)) {
    for (let i = ends.length - 1; i >= 0; i--) {
      const start = i === 0 ? 0 : (ends[i - 1] as number) + 1
      const end = ends[i] as number
      const record = wholeRecord(bytes, start, end)
      if (record === null) {
        // Lost sectors of a write that nobody was told of read as zeros; anything else is damage to what was recorded.
        if (!bytes.subarray(start, end).includes(0)) damaged ??= { byte: base + start, end: base + end + 1 }
        continue
      }
      const { seq, append_last_seq = seq } = record.header
      if (unfinished === null && append_last_seq > seq) unfinished = append_last_seq
      if (unfinished === null || append_last_seq !== unfinished) return { byte: base + end + 1, record, damaged }
    }
  }
  return { byte: 0, record: null, damaged }
}

/** @throws what the file port throws */
export async function findEnd(files: FilePort, segments: readonly Segment[]): Promise<LedgerEnd> {
  let tail: Omit<LedgerEnd, 'head'> = { segments, byte: 0, damage: null }
  for (let count = segments.length; count > 0; count--) {
    const segment = segments[count - 1] as Segment
    const file = await files.open(segment.path, 'read')
    try {
      const { byte, record, damaged } = await lastRecord(file, await file.size())
      const here = segments.slice(0, count)
      if (tail.damage === null) {
        tail =
          damaged === null
            ? { segments: here, byte, damage: null }
            : { segments: here, byte: damaged.end, damage: damagedLine(segment, damaged.byte) }
      }
      if (record !== null) return { ...tail, head: headAfter(record) }
    } finally {
      await file.close()
    }
  }
  return { ...tail, head: EMPTY_HEAD }
}
