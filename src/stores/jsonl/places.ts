/**
 * Lines at places that the index names: neighbours are read at once. A segment may have been rewritten since the place
 * was noted: then the line is looked for in the file that is there now.
 */
import fs from 'node:fs'
import { LedgerError } from '../../ledger/errors.ts'
import { splitLine } from '../../verify/record.ts'
import { placeOf } from './audit-range.ts'
import { seqOfLine } from '../../ledger/line-seq.ts'
import { readFully } from './files.ts'
import type { FilePort } from './files.ts'
import { indexMismatch } from './index-db.ts'
import type { IndexedPlace } from './index-db.ts'
import { LINE_BYTES_MAX, segmentAt } from './layout.ts'
import type { Segment } from './layout.ts'
import { forwardLines, LineCutter } from './lines.ts'

const LINE_FEED = 0x0a
/** Bytes between two lines that are read along rather than asking twice. */
const GAP_BYTES = 32_768
/** Bytes of one read, unless a single line is larger. */
const READ_BYTES = 1024 * 1024

/** A line, or the lines of one run of the overlay; whatever is longer was not written by us. Bytes. */
const LENGTH_MAX = LINE_BYTES_MAX + READ_BYTES

interface Stretch {
  readonly segment: Segment
  readonly from: number
  readonly to: number
  readonly wanted: readonly { readonly index: number; readonly byte: number; readonly length: number }[]
}

function stretches(segments: readonly Segment[], places: readonly IndexedPlace[]): Stretch[] {
  const bySegment = new Map(segments.map((segment) => [segment.first_seq, segment]))
  const sorted = places.map((place, index) => ({ ...place, index })).sort((a, b) => a.segment - b.segment || a.byte - b.byte)
  const found: Stretch[] = []
  let open: { segment: Segment; from: number; to: number; wanted: Stretch['wanted'][number][] } | null = null
  for (const { segment: first_seq, byte, length, index } of sorted) {
    const segment = bySegment.get(first_seq)
    if (segment === undefined || length < 1 || length > LENGTH_MAX) throw indexMismatch(`segment ${first_seq}, ${length} bytes`)
    // With the line feeds before and behind.
    const [from, to] = [Math.max(0, byte - 1), byte + length + 1]
    if (open === null || open.segment !== segment || from - open.to > GAP_BYTES || to - open.from > READ_BYTES) {
      open = { segment, from, to, wanted: [] }
      found.push(open)
    }
    open.to = Math.max(open.to, to)
    open.wanted.push({ index, byte, length })
  }
  return found
}

/**
 * The bytes at the places, in their order, each in memory of its own or shared with neighbours that were asked for too;
 * none where no line begins or ends there.
 * @throws LedgerError `isBrokenDatabase` where there is no such segment
 */
export async function readPlaces(files: FilePort, segments: readonly Segment[], places: readonly IndexedPlace[]): Promise<Buffer[]> {
  const lines: Buffer[] = Array.from({ length: places.length })
  for (const { segment, from, to, wanted } of stretches(segments, places)) {
    const bytes = Buffer.allocUnsafeSlow(to - from)
    let read: number
    try {
      const file = await files.open(segment.path, 'read')
      try {
        read = await readFully(file, bytes, from)
      } finally {
        await file.close()
      }
    } catch (error) {
      if (error instanceof LedgerError || (error as { code?: unknown }).code !== 'ENOENT') throw error
      throw indexMismatch(segment.name)
    }
    for (const { index, byte, length } of wanted) {
      lines[index] = betweenFeeds(bytes.subarray(0, read), byte - from, length)
    }
  }
  return lines
}

function betweenFeeds(bytes: Buffer, start: number, length: number): Buffer {
  const end = start + length
  const isBetween = (start === 0 || bytes[start - 1] === LINE_FEED) && bytes[end] === LINE_FEED
  return isBetween ? bytes.subarray(start, end) : Buffer.alloc(0)
}

/** The bytes at one place, as `readPlaces` gives them. Blocking. */
export function readPlaceNow(dir: string, { segment, byte, length }: IndexedPlace): Buffer {
  const from = Math.max(0, byte - 1)
  const bytes = Buffer.alloc(byte - from + length + 1)
  const fd = fs.openSync(segmentAt(dir, segment).path, 'r')
  try {
    return betweenFeeds(bytes.subarray(0, fs.readSync(fd, bytes, 0, bytes.length, from)), byte - from, length)
  } finally {
    fs.closeSync(fd)
  }
}

/** The line is a whole one, of the record at this position. */
export function isLineOf(line: Buffer, seq: number): boolean {
  return splitLine(line, 0, line.length) !== null && seqOfLine(line, 0, line.length) === seq
}

/**
 * The line of the record at this position, wherever in its segment it lies now.
 * @throws LedgerError `isBrokenDatabase` where it is not there
 */
export async function findLine(files: FilePort, segments: readonly Segment[], first_seq: number, seq: number): Promise<Buffer> {
  const segment = segments.find((each) => each.first_seq === first_seq)
  if (segment === undefined) throw indexMismatch(`segment ${first_seq}`)
  const file = await files.open(segment.path, 'read')
  try {
    const size = await file.size()
    const byte = await placeOf(file, size, seq)
    if (byte === null) throw indexMismatch(`position ${seq}`)
    for await (const { bytes, ends, oversized } of forwardLines(file, byte, size)) {
      const line = Buffer.from(bytes.subarray(0, ends[0]))
      if (oversized !== undefined || !isLineOf(line, seq)) break
      return line
    }
    throw indexMismatch(`position ${seq}`)
  } finally {
    await file.close()
  }
}

/**
 * The same with blocking calls, and line by line: for a process that exits while a segment is being rewritten.
 * @throws LedgerError `isBrokenDatabase` where it is not there
 */
export function findLineNow(dir: string, first_seq: number, seq: number): Buffer {
  const found = findPlaceNow(dir, first_seq, seq)
  if (found === null) throw indexMismatch(`position ${seq}`)
  return found.line
}

/** Where in its segment the record at this position lies, found by reading all that is before it. Blocking. */
export function findPlaceNow(dir: string, first_seq: number, seq: number): { readonly byte: number; readonly line: Buffer } | null {
  const fd = fs.openSync(segmentAt(dir, first_seq).path, 'r')
  try {
    const cutter = new LineCutter(0)
    for (let at = 0; ;) {
      const block = Buffer.allocUnsafeSlow(READ_BYTES)
      const read = fs.readSync(fd, block, 0, block.length, at)
      if (read === 0) return null
      at += read
      for (const { bytes, base, ends, oversized } of cutter.push(block.subarray(0, read))) {
        let start = 0
        for (const end of ends) {
          const line = bytes.subarray(start, end)
          if (oversized === undefined && isLineOf(line, seq)) return { byte: base + start, line: Buffer.from(line) }
          start = end + 1
        }
      }
    }
  } finally {
    fs.closeSync(fd)
  }
}
