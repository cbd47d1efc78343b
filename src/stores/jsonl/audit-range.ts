/**
 * Where in a segment a record begins, by its position, without an index: lines name their positions, so halving finds it
 * in some thirty reads. Nothing is believed: what is found is verified as it is, and where the lines are not in order
 * nothing is found.
 */
import type { AuditCut } from '../../ledger/store.ts'
import { seqOfLine } from '../../ledger/line-seq.ts'
import { readFully } from './files.ts'
import type { FilePort, OpenFile } from './files.ts'
import type { Segment } from './layout.ts'
import { forwardLines } from './lines.ts'

const LINE_FEED = 0x0a
/** One look: a line feed, and behind it as much of a line as names its position. Mostly enough. */
const LOOK_BYTES = 32 * 1024
/** No look goes further for a line feed. */
const LOOK_BYTES_MAX = 20 * 1024 * 1024
/** What is left is gone through line by line. */
const SCAN_BYTES = 256 * 1024

interface Landmark {
  readonly byte: number
  readonly seq: number
}

/** The first line that begins behind `byte`, before `end`; null where there is none, or it names no position. */
async function firstLineBehind(file: OpenFile, byte: number, end: number): Promise<Landmark | null> {
  for (let length = LOOK_BYTES; length <= LOOK_BYTES_MAX; length *= 4) {
    const block = Buffer.allocUnsafe(Math.min(length, end - byte))
    const read = await readFully(file, block, byte)
    const feed = block.subarray(0, read).indexOf(LINE_FEED)
    const start = feed + 1
    if (feed !== -1) {
      const seq = seqOfLine(block, start, read)
      if (seq !== -1) return { byte: byte + start, seq }
    }
    if (read < length || byte + length >= end) return null
  }
  return null
}

/** Where in `[0, size)` of a segment the record at `seq` begins; null where it is not there. */
export async function placeOf(file: OpenFile, size: number, seq: number): Promise<number | null> {
  let [low, high] = [0, size]
  while (high - low > SCAN_BYTES) {
    const middle = Math.floor((low + high) / 2)
    const found = await firstLineBehind(file, middle, high)
    if (found === null || found.byte >= high) high = middle
    else if (found.seq === seq) return found.byte
    else if (found.seq < seq) low = found.byte
    else high = middle
  }
  // A line that begins before `high` may end behind it.
  for await (const { bytes, base, ends } of forwardLines(file, low, size)) {
    for (let i = 0; i < ends.length; i++) {
      const start = i === 0 ? 0 : (ends[i - 1] as number) + 1
      const found = seqOfLine(bytes, start, ends[i] as number)
      if (found === seq) return base + start
      if (found > seq) return null
    }
  }
  return null
}

/** The record that begins behind this share of the bytes of all segments. */
export async function cutSegments(files: FilePort, segments: readonly Segment[], share: number): Promise<AuditCut | null> {
  const sizes = await Promise.all(segments.map(async ({ path }) => (await files.facts(path))?.size ?? 0))
  const bytes = sizes.reduce((sum, size) => sum + size, 0)
  let byte = Math.floor(bytes * share)
  for (const [i, segment] of segments.entries()) {
    const size = sizes[i] as number
    if (byte >= size) {
      byte -= size
      continue
    }
    const file = await files.open(segment.path, 'read')
    try {
      const found = await firstLineBehind(file, byte, size)
      const seq = found?.seq ?? segments[i + 1]?.first_seq ?? 0
      return seq > 0 ? { seq, bytes } : null
    } finally {
      await file.close()
    }
  }
  return null
}
