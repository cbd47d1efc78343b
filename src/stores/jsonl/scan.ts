/** Records straight from the segment files, without the index: forwards and backwards, in bounded memory. */
import { LedgerError } from '../../ledger/errors.ts'
import { seqOfLine } from '../../ledger/line-seq.ts'
import { splitLine } from '../../verify/record.ts'
import { damagedLine } from './checked-line.ts'
import type { LedgerEnd } from './end.ts'
import type { FilePort, OpenFile } from './files.ts'
import { readFully } from './files.ts'
import type { Segment } from './layout.ts'
import { backwardLines, forwardLines } from './lines.ts'
import type { Lines } from './lines.ts'

/** One record's line in a block of a segment. */
export interface ScannedLine {
  readonly seq: number
  readonly start: number
  readonly end: number
}

/** Records that lie in one block, in the order of reading. */
export interface Scanned {
  readonly segment: Segment
  readonly bytes: Buffer
  readonly base: number
  readonly lines: readonly ScannedLine[]
}

/** Where a record is thought to begin. It is looked at before it is believed. */
export interface StartPlace {
  readonly seq: number
  readonly segment: number
  readonly byte: number
}

export interface ScanRange {
  /** Inclusive. */
  readonly from: number
  /** Exclusive. */
  readonly before: number
  readonly reverse: boolean
}

/** A line this long shows its position, whatever else its header says. Bytes. */
const LINE_START_BYTES = 8192

/**
 * The records of `range` up to `end`. `place` of the first one, forwards, or of the first one that is not wanted,
 * backwards, saves reading the segment up to there.
 * @throws LedgerError `damaged` at a line that is no record
 */
export async function* scan(
  files: FilePort,
  end: LedgerEnd,
  range: ScanRange,
  place: StartPlace | null,
): AsyncGenerator<Scanned, void, undefined> {
  const { from, before, reverse } = range
  if (from >= before) return
  // An empty last one promises a position that the one before may have gone past.
  const filled = end.byte === 0 ? end.segments.slice(0, -1) : end.segments
  const segments = filled.filter((segment, i) => segment.first_seq < before && (filled[i + 1]?.first_seq ?? Infinity) > from)
  let expected = reverse ? end.head.size - 1 : 0
  const ordered = reverse ? segments.toReversed() : segments
  for (const segment of ordered) {
    const file = await files.open(segment.path, 'read')
    try {
      // Only the segment that the reading begins in can be entered elsewhere than at its border.
      const mayEnter = segment === ordered[0] && place?.segment === segment.first_seq
      // Looked at in the file that is read: another one may get its name at any time.
      const entered = mayEnter && (await isThere(file, segment, end, place)) ? place : null
      const size = segment === end.segments.at(-1) ? await endIn(file, end) : await file.size()
      const first = entered !== null && !reverse ? entered.byte : 0
      const last = entered !== null && reverse ? entered.byte : size
      if (entered !== null) expected = reverse ? entered.seq - 1 : entered.seq
      else if (!reverse) expected = segment.first_seq
      const lines = reverse ? backwardLines(file, first, last) : forwardLines(file, first, last)
      for (;;) {
        const next = await lines.next()
        if (next.done === true) {
          if (next.value === false) throw new LedgerError('damaged', `${segment.name} can't be read backwards to its beginning: run verify`)
          break
        }
        const { bytes, base } = next.value
        const within = linesWithin(next.value, range, expected)
        if (within.found.length > 0) yield { segment, bytes, base, lines: within.found }
        if (within.damagedAt !== null) throw damagedLine(segment, within.damagedAt)
        if (within.isPast) return
        expected = within.expected
      }
    } finally {
      await file.close()
    }
  }
}

interface Within {
  /** In the order of reading. */
  readonly found: readonly ScannedLine[]
  /** The range ends in or before this block. */
  readonly isPast: boolean
  /** A line that is no record stands here, and seems to belong to the range. */
  readonly damagedAt: number | null
  /** The position that should come next. */
  readonly expected: number
}

/** The lines of a block that are in the range. */
function linesWithin({ bytes, base, ends }: Lines, { from, before, reverse }: ScanRange, next: number): Within {
  const found: ScannedLine[] = []
  const step = reverse ? -1 : 1
  let expected = next
  for (let k = 0; k < ends.length; k++) {
    const i = reverse ? ends.length - 1 - k : k
    const start = i === 0 ? 0 : (ends[i - 1] as number) + 1
    const end = ends[i] as number
    const seq = splitLine(bytes, start, end) === null ? -1 : seqOfLine(bytes, start, end)
    if (seq === -1) {
      // Whoever asks for what lies elsewhere gets it.
      if (expected >= from && expected < before) return { found, isPast: false, damagedAt: base + start, expected }
      expected += step
      continue
    }
    expected = seq + step
    if (reverse ? seq < from : seq >= before) return { found, isPast: true, damagedAt: null, expected }
    if (seq >= from && seq < before) found.push({ seq, start, end })
  }
  return { found, isPast: false, damagedAt: null, expected }
}

/** Mostly enough for the last line. Bytes. */
const LAST_BYTES = 16_384

/**
 * Where to stop in the file that held the ledger's end. Since that was looked up the segment may have been sealed and
 * rewritten: then all of it counts, and what was not there yet is known by its position.
 */
async function endIn(file: OpenFile, { byte, head, damage }: LedgerEnd): Promise<number> {
  if (damage !== null) return byte
  const { value } = await backwardLines(file, 0, byte, LAST_BYTES).next()
  if (typeof value !== 'object') return file.size()
  const { bytes, base, ends } = value
  const start = (ends.at(-2) ?? -1) + 1
  const isLast = base + (ends.at(-1) ?? 0) + 1 === byte && bytes.toString('latin1', start + 9, start + 73) === head.hash
  return isLast ? byte : file.size()
}

async function isThere(file: OpenFile, segment: Segment, end: LedgerEnd, { seq, byte }: StartPlace): Promise<boolean> {
  const first = Math.max(0, byte - 1)
  const bytes = Buffer.alloc(LINE_START_BYTES)
  const read = await readFully(file, bytes, first)
  const start = byte - first
  if (byte > 0 && bytes[0] !== 0x0a) return false
  // Behind the last record is a place as well: nothing begins there yet.
  if (read === start) return segment === end.segments.at(-1) && byte === end.byte && seq === end.head.size
  return seqOfLine(bytes, start, read) === seq
}
