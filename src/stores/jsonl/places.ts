/** Lines at places that the index names: neighbours are read at once. */
import { LedgerError } from '../../ledger/errors.ts'
import { readFully } from './files.ts'
import type { FilePort } from './files.ts'
import { indexMismatch } from './index-db.ts'
import type { IndexedPlace } from './index-db.ts'
import { LINE_BYTES_MAX } from './layout.ts'
import type { Segment } from './layout.ts'

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
    const to = byte + length
    if (open === null || open.segment !== segment || byte - open.to > GAP_BYTES || to - open.from > READ_BYTES) {
      open = { segment, from: byte, to, wanted: [] }
      found.push(open)
    }
    open.to = Math.max(open.to, to)
    open.wanted.push({ index, byte, length })
  }
  return found
}

/**
 * The bytes at the places, in their order, each in memory of its own or shared with neighbours that were asked for too.
 * @throws LedgerError `isBrokenDatabase` where the segments have no such places
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
    if (read < bytes.length) throw indexMismatch(`${segment.name} ends before byte ${to}`)
    for (const { index, byte, length } of wanted) lines[index] = bytes.subarray(byte - from, byte - from + length)
  }
  return lines
}
