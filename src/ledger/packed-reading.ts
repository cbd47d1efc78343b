/**
 * Reads files of packed lines (src/ledger/packed-lines.ts). They may be anybody's: sizes that are stated are held against
 * a limit before a byte is decompressed, and what comes out against what was stated.
 */
import { zstdDecompress } from 'node:zlib'
import { promisify } from 'node:util'
import { LedgerError } from './errors.ts'
import { seqOfLine } from './line-seq.ts'
import {
  FIRST_POSITIONS_MAGIC,
  FIRST_POSITIONS_TAG,
  PACKED_LIMITS,
  POSITIONS_HEAD,
  SEEK_FOOTER,
  SEEK_TABLE_MAGIC,
  SEEKABLE_MAGIC,
  SKIPPABLE_HEADER,
} from './packed-lines.ts'
import type { PackedFrame, PackedTable } from './packed-lines.ts'
import { ZSTD_MAGIC, ZstdFrames } from './zstd-frames.ts'

const decompress = promisify(zstdDecompress)

const LINE_FEED = 0x0a

/** A file's bytes, wherever it lies. */
export interface ByteSource {
  /** For messages. */
  readonly name: string
  readonly bytes: number
  /** The bytes `[start, end)`, all of them. @throws LedgerError */
  read(start: number, end: number): Promise<Uint8Array>
}

/** Enough for the tables of some 4,000 frames: mostly one read. */
const TAIL_BYTES = 64 * 1024

const damaged = (source: ByteSource, why: string, details: { readonly [key: string]: unknown } = {}): LedgerError =>
  new LedgerError('damaged', `${source.name} is damaged: ${why}. Take another copy of it`, { file: source.name, ...details })

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** True where the file ends as one with a seek table does. Another one may still be zstd. @throws LedgerError of the source */
export async function hasSeekTable(source: ByteSource): Promise<boolean> {
  if (source.bytes < SKIPPABLE_HEADER + SEEK_FOOTER) return false
  return viewOf(await source.read(source.bytes - 4, source.bytes)).getUint32(0, true) === SEEKABLE_MAGIC
}

interface TableBytes {
  /** How many frames of lines. */
  readonly count: number
  /** Where the frame of the first positions begins, and what is in it. */
  readonly positionsAt: number
  readonly positions: DataView
  /** The entries of the seek table. */
  readonly entries: DataView
}

/** The two skippable frames, whose sizes agree with each other and with the file's. */
async function tableBytes(source: ByteSource): Promise<TableBytes> {
  const { bytes: size } = source
  const tail = await source.read(Math.max(0, size - TAIL_BYTES), size)
  const footer = viewOf(tail)
  const end = tail.length
  if (end < SKIPPABLE_HEADER + SEEK_FOOTER || footer.getUint32(end - 4, true) !== SEEKABLE_MAGIC)
    throw damaged(source, 'it does not end with a seek table, so it was cut or is another kind of file')
  const descriptor = footer.getUint8(end - 5)
  if ((descriptor & 0xfc) !== 0) throw damaged(source, `its seek table is of a kind that is not known here (descriptor ${descriptor})`)
  const count = footer.getUint32(end - SEEK_FOOTER, true) - 1
  if (count < 0 || count > PACKED_LIMITS.frames_max) throw damaged(source, `its seek table has ${count + 1} entries`)
  const seekBytes = SKIPPABLE_HEADER + 8 * (count + 1) + SEEK_FOOTER
  const positionsBytes = SKIPPABLE_HEADER + POSITIONS_HEAD + 8 * count
  const positionsAt = size - seekBytes - positionsBytes
  if (positionsAt < 0) throw damaged(source, 'it is shorter than its seek table says')
  const tables =
    size - positionsAt <= tail.length ? tail.subarray(tail.length - (size - positionsAt)) : await source.read(positionsAt, size)
  const view = viewOf(tables)
  if (
    view.getUint32(positionsBytes, true) !== SEEK_TABLE_MAGIC ||
    view.getUint32(positionsBytes + 4, true) !== seekBytes - SKIPPABLE_HEADER
  )
    throw damaged(source, 'its seek table has not the form of one')
  if (
    view.getUint32(0, true) !== FIRST_POSITIONS_MAGIC ||
    view.getUint32(4, true) !== positionsBytes - SKIPPABLE_HEADER ||
    view.getBigUint64(SKIPPABLE_HEADER, true) !== FIRST_POSITIONS_TAG
  )
    throw damaged(source, 'the table of the first positions is not before its seek table')
  const entriesAt = positionsBytes + SKIPPABLE_HEADER
  return {
    count,
    positionsAt,
    positions: viewOf(tables.subarray(SKIPPABLE_HEADER, positionsBytes)),
    entries: viewOf(tables.subarray(entriesAt, entriesAt + 8 * (count + 1))),
  }
}

/**
 * The table of a packed file, from its end.
 * @throws LedgerError `damaged` where it has none, or one that can't be; those of the source
 */
export async function readTable(source: ByteSource): Promise<PackedTable> {
  const { count, positionsAt, positions, entries } = await tableBytes(source)
  const frames: PackedFrame[] = []
  let [offset, position, before] = [0, 0, -1]
  for (let i = 0; i < count; i++) {
    const compressed = entries.getUint32(8 * i, true)
    const bytes = entries.getUint32(8 * i + 4, true)
    const seq = Number(positions.getBigUint64(POSITIONS_HEAD + 8 * i, true))
    if (compressed === 0 || compressed > PACKED_LIMITS.compressed_bytes_max || bytes === 0 || bytes > PACKED_LIMITS.frame_bytes_max)
      throw damaged(source, `its table states ${compressed} bytes for frame ${i}, ${bytes} decompressed: over the limits`, { frame: i })
    if (!Number.isSafeInteger(seq) || seq <= before) throw damaged(source, `its table says that frame ${i} begins at position ${seq}`)
    frames.push({ first_seq: seq, offset, compressed_bytes: compressed, bytes, position })
    offset += compressed
    position += bytes
    before = seq
  }
  const [lines, last] = [Number(positions.getBigUint64(8, true)), Number(positions.getBigInt64(16, true))]
  const isEmpty = count === 0 && lines === 0 && last === -1
  // Each line has its position, so there are not more of them than positions.
  const isFull =
    count > 0 && lines >= count && Number.isSafeInteger(last) && last >= before && lines <= last - (frames[0]?.first_seq ?? 0) + 1
  if (!isEmpty && !isFull) throw damaged(source, `its table says ${lines} records up to position ${last}`)
  if (offset !== positionsAt || entries.getUint32(8 * count + 4, true) !== 0)
    throw damaged(source, 'its frames do not fill what is before their table')
  return { frames, lines, last_seq: last, bytes: position, file_bytes: source.bytes }
}

/** Bytes of content that the head of a zstd frame states; null where it states none, or no frame stands here. RFC 8878, 3.1.1.1. */
function statedContent(frame: Uint8Array): number | null {
  const view = viewOf(frame)
  if (frame.length < 18 || view.getUint32(0, true) !== ZSTD_MAGIC) return null
  const descriptor = view.getUint8(4)
  const isSingle = (descriptor & 0x20) !== 0
  const at = 5 + (isSingle ? 0 : 1) + ([0, 1, 2, 4][descriptor & 3] as number)
  switch (descriptor >> 6) {
    case 0:
      return isSingle ? view.getUint8(at) : null
    case 1:
      return view.getUint16(at, true) + 256
    case 2:
      return view.getUint32(at, true)
    default:
      return Number(view.getBigUint64(at, true))
  }
}

/** It is one frame, from the first byte to the last. */
function isOneFrame(frame: Uint8Array): boolean {
  const frames = new ZstdFrames()
  const [first] = frames.pieces(frame)
  return first?.length === frame.length && frames.isBetween
}

/**
 * The lines of a frame, each with its line feed.
 * @throws LedgerError `damaged` where they are not what the table and the frame state; those of the source
 */
export async function readFrame(source: ByteSource, frame: PackedFrame): Promise<Uint8Array> {
  const { offset, compressed_bytes, bytes, first_seq } = frame
  const compressed = await source.read(offset, offset + compressed_bytes)
  const stated = statedContent(compressed)
  const broken = (why: string): LedgerError => damaged(source, `the records from position ${first_seq} on can't be had, ${why}`, { offset })
  if (stated !== bytes) throw broken(`their frame states ${stated ?? 'no'} bytes, the table ${bytes}`)
  // The decompressor looks at nothing behind it, so anything could lie there.
  if (!isOneFrame(compressed)) throw broken('their frame does not fill its place')
  let lines: Uint8Array
  try {
    // One byte more than there is: into a buffer that is just full it would look for more, and take as much again for that.
    lines = await decompress(compressed, { maxOutputLength: bytes + 1, chunkSize: Math.max(bytes + 1, 64) })
  } catch (error) {
    throw broken(error instanceof Error ? error.message : String(error))
  }
  if (lines.length !== bytes) throw broken(`there are ${lines.length} bytes and not the ${bytes} that are stated`)
  if (lines.at(-1) !== LINE_FEED) throw broken('their frame does not end with a line')
  return lines
}

/** Lines of a frame, without their line feeds, as they lie in it. */
export function* linesOf(bytes: Uint8Array): Generator<Uint8Array, void, undefined> {
  for (let start = 0; start < bytes.length;) {
    const feed = bytes.indexOf(LINE_FEED, start)
    const end = feed === -1 ? bytes.length : feed
    yield bytes.subarray(start, end)
    start = end + 1
  }
}

/** The frame that holds the record at this position, if any does. */
export function frameAt({ frames, last_seq }: PackedTable, seq: number): PackedFrame | null {
  if (seq > last_seq) return null
  let [low, high] = [0, frames.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((frames[middle] as PackedFrame).first_seq <= seq) low = middle + 1
    else high = middle
  }
  return frames[low - 1] ?? null
}

/**
 * The line of the record at this position, without its line feed; null where the file has none.
 * @throws LedgerError as `readFrame`
 */
export async function findLine(source: ByteSource, table: PackedTable, seq: number): Promise<Uint8Array | null> {
  const frame = frameAt(table, seq)
  if (frame === null) return null
  for (const line of linesOf(await readFrame(source, frame))) {
    const found = seqOfLine(Buffer.from(line.buffer, line.byteOffset, line.byteLength), 0, line.length)
    if (found === seq) return line
    if (found > seq) return null
  }
  return null
}
