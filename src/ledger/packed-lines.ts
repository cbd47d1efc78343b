/**
 * Records' lines, compressed in blocks, so that a whole file of them is small, any tool for zstd reads it, and one line is
 * had by a seek. Source: docs/format.md, "Compressed files"; RFC 8878; the "Zstandard seekable format", version 0.1.0.
 *
 *     zstd frame … zstd frame | skippable frame: first positions | skippable frame: seek table
 *
 * Each zstd frame holds whole lines, each with its line feed. Reading is in src/ledger/packed-reading.ts.
 */
import { constants, zstdCompress } from 'node:zlib'
import { promisify } from 'node:util'
import { LINE_BYTES_MAX } from '../verify/lines.ts'
import { LedgerError } from './errors.ts'
import { seqOfLine } from './line-seq.ts'

const compress = promisify(zstdCompress)

export const PACKED_LIMITS = {
  /** Lines of one frame, with their line feeds. A longer line has a frame of its own. */
  frame_bytes: 256 * 1024,
  /** What a frame may hold at most: one line. */
  frame_bytes_max: LINE_BYTES_MAX + 1,
  /** zstd makes what it can't compress longer by less than this. */
  compressed_bytes_max: LINE_BYTES_MAX + 128 * 1024,
  /** Some 250 GB of lines. The tables of so many take 28 MB. */
  frames_max: 1_000_000,
} as const

/**
 * The lines of 3,618 real calls in such blocks, headers and all, come to 0.19 of their entries' bytes, at 200 MB/s. Level 6
 * saves a tenth of that at half the speed.
 */
const LEVEL = 3
const LINE_FEED = 0x0a

export const SEEK_TABLE_MAGIC = 0x184d2a5e
export const SEEKABLE_MAGIC = 0x8f92eab1
export const FIRST_POSITIONS_MAGIC = 0x184d2a5d
/** "CLDGSEQ1" */
export const FIRST_POSITIONS_TAG = 0x31514553_47444c43n
export const SKIPPABLE_HEADER = 8
export const SEEK_FOOTER = 9
/** Tag, number of lines, position of the last one. */
export const POSITIONS_HEAD = 24

/** A frame of lines: what it holds, and where in the file it lies. */
export interface PackedFrame {
  /** Position (`seq`) of its first record. */
  readonly first_seq: number
  /** Offset of its first byte in the file. */
  readonly offset: number
  /** Its bytes in the file. */
  readonly compressed_bytes: number
  /** Bytes of its lines, with their line feeds. */
  readonly bytes: number
  /** Offset of its first line in the lines of all frames. */
  readonly position: number
}

/** What a packed file says about itself. It is believed only where the lines agree. */
export interface PackedTable {
  /** Ascending; maybe none. */
  readonly frames: readonly PackedFrame[]
  readonly lines: number
  /** Position of the last record; -1 where there is none. */
  readonly last_seq: number
  /** Of all lines, with their line feeds. */
  readonly bytes: number
  /** Of the whole file. */
  readonly file_bytes: number
}

interface Block {
  readonly first_seq: number
  readonly bytes: Uint8Array
}

function frameOf(bytes: Uint8Array): Promise<Buffer> {
  const params = { [constants.ZSTD_c_compressionLevel]: LEVEL, [constants.ZSTD_c_checksumFlag]: 1 }
  // Its head states the size: without it a reader can not hold it against its limit beforehand.
  return compress(bytes, { params, pledgedSrcSize: bytes.length })
}

/** A skippable frame of zstd, all of whose bytes are zero behind its head. */
function skippable(magic: number, length: number): DataView<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(SKIPPABLE_HEADER + length))
  view.setUint32(0, magic, true)
  view.setUint32(4, length, true)
  return view
}

function positionsFrame(frames: readonly PackedFrame[], lines: number, lastSeq: number): Uint8Array {
  const view = skippable(FIRST_POSITIONS_MAGIC, POSITIONS_HEAD + 8 * frames.length)
  view.setBigUint64(SKIPPABLE_HEADER, FIRST_POSITIONS_TAG, true)
  view.setBigUint64(SKIPPABLE_HEADER + 8, BigInt(lines), true)
  view.setBigInt64(SKIPPABLE_HEADER + 16, BigInt(lastSeq), true)
  for (const [i, { first_seq }] of frames.entries()) view.setBigUint64(SKIPPABLE_HEADER + POSITIONS_HEAD + 8 * i, BigInt(first_seq), true)
  return new Uint8Array(view.buffer)
}

/** `positions`: bytes of the skippable frame between the frames and this one, which has an entry like each of them. */
function seekTable(frames: readonly PackedFrame[], positions: number): Uint8Array {
  const view = skippable(SEEK_TABLE_MAGIC, 8 * (frames.length + 1) + SEEK_FOOTER)
  let at = SKIPPABLE_HEADER
  for (const { compressed_bytes, bytes } of [...frames, { compressed_bytes: positions, bytes: 0 }]) {
    view.setUint32(at, compressed_bytes, true)
    view.setUint32(at + 4, bytes, true)
    at += 8
  }
  view.setUint32(at, frames.length + 1, true)
  view.setUint32(at + 5, SEEKABLE_MAGIC, true)
  return new Uint8Array(view.buffer)
}

/** Gathers lines into blocks. */
class Blocks {
  lines = 0
  lastSeq = -1
  #bytes = new Uint8Array(0)
  #length = 0
  #firstSeq = -1

  /** Takes a line; returns the block that was full before it, if any. @throws RangeError */
  add(line: Uint8Array): Block | null {
    const seq = seqOfLine(Buffer.from(line.buffer, line.byteOffset, line.byteLength), 0, line.length)
    if (seq === -1 || line.length > LINE_BYTES_MAX || line.includes(LINE_FEED))
      throw new RangeError('what is packed must be records, each one line without its line feed')
    if (seq <= this.lastSeq) throw new RangeError(`records must ascend by seq: ${seq} came behind ${this.lastSeq}`)
    const length = line.length + 1
    const full = this.#length + length > PACKED_LIMITS.frame_bytes ? this.take() : null
    if (this.#length === 0) {
      this.#firstSeq = seq
      this.#bytes = new Uint8Array(Math.max(length, PACKED_LIMITS.frame_bytes))
    }
    this.#bytes.set(line, this.#length)
    this.#length += length
    this.#bytes[this.#length - 1] = LINE_FEED
    this.lines++
    this.lastSeq = seq
    return full
  }

  take(): Block | null {
    if (this.#length === 0) return null
    const block = { first_seq: this.#firstSeq, bytes: this.#bytes.subarray(0, this.#length) }
    this.#length = 0
    return block
  }
}

/** Packs the blocks, and keeps account of them. */
class Packing {
  readonly frames: PackedFrame[] = []
  #offset = 0
  #position = 0

  async pack({ first_seq, bytes }: Block): Promise<Uint8Array> {
    if (this.frames.length === PACKED_LIMITS.frames_max)
      throw new LedgerError('too_large', `one packed file holds at most ${PACKED_LIMITS.frames_max} frames: begin another one`)
    const frame = await frameOf(bytes)
    const { length } = bytes
    this.frames.push({ first_seq, offset: this.#offset, compressed_bytes: frame.length, bytes: length, position: this.#position })
    this.#offset += frame.length
    this.#position += length
    return frame
  }

  table(lines: number, lastSeq: number): { readonly table: PackedTable; readonly chunks: readonly Uint8Array[] } {
    const { frames } = this
    const positions = positionsFrame(frames, lines, lastSeq)
    const seek = seekTable(frames, positions.length)
    const fileBytes = this.#offset + positions.length + seek.length
    return { table: { frames, lines, last_seq: lastSeq, bytes: this.#position, file_bytes: fileBytes }, chunks: [positions, seek] }
  }
}

/**
 * Packs records: yields the bytes of a file, and returns its table. Takes what `Store.read` gives.
 * @param source lines without their line feed, in chunks; they ascend by seq, and may leave positions out
 * @throws RangeError for what is no record, and for records that do not ascend
 * @throws LedgerError `too_large` for more than one file holds
 */
export async function* packLines(
  source: AsyncIterable<readonly Uint8Array[]> | Iterable<readonly Uint8Array[]>,
): AsyncGenerator<Uint8Array, PackedTable, undefined> {
  const blocks = new Blocks()
  const packing = new Packing()
  // One block is compressed, on another thread, while the next one gathers.
  let coming: Promise<Uint8Array> | null = null
  try {
    for await (const chunk of source) {
      for (const line of chunk) {
        const full = blocks.add(line)
        if (full === null) continue
        if (coming !== null) yield await coming
        coming = packing.pack(full)
      }
    }
    const last = blocks.take()
    if (coming !== null) yield await coming
    coming = null
    if (last !== null) yield await packing.pack(last)
  } finally {
    // Whoever stopped listening shall not hear of it from an unhandled rejection.
    coming?.catch(() => {})
  }
  const { table, chunks } = packing.table(blocks.lines, blocks.lastSeq)
  yield* chunks
  return table
}
