/** Files of packed lines in an archive: the table of each, and the frame that was read last. */
import type { ArchiveStore } from '../archive.ts'
import { seqOfLine } from '../line-seq.ts'
import { packLines } from '../packed-lines.ts'
import type { PackedFrame, PackedTable } from '../packed-lines.ts'
import { frameAt, readFrame, readTable } from '../packed-reading.ts'
import type { ByteSource } from '../packed-reading.ts'
import { archivedBytes, readLines } from '../packed-source.ts'

/** A whole file of these lines. */
export async function packed(lines: readonly Uint8Array[]): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of packLines([lines])) chunks.push(chunk)
  return Buffer.concat(chunks)
}

const LINE_FEED = 0x0a

function startsOf(frame: Uint8Array): Map<number, number> {
  const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.length)
  const starts = new Map<number, number>()
  for (let start = 0; start < bytes.length;) {
    const end = bytes.indexOf(LINE_FEED, start)
    starts.set(seqOfLine(bytes, start, end), start)
    start = end + 1
  }
  return starts
}

export class Packed {
  readonly #source: ByteSource
  readonly #file: string
  readonly #table: PackedTable
  /** Where each line of it begins, and its bytes. */
  #frame: { readonly of: PackedFrame; readonly bytes: Uint8Array; readonly starts: ReadonlyMap<number, number> } | null = null

  private constructor(source: ByteSource, file: string, table: PackedTable) {
    this.#source = source
    this.#file = file
    this.#table = table
  }

  /** @throws LedgerError `not_found` | `damaged`, and those of the archive */
  static async open(archive: ArchiveStore, file: string): Promise<Packed> {
    const source = await archivedBytes(archive, file)
    return new Packed(source, file, await readTable(source))
  }

  /** Null where the file has none of this position. */
  async line(seq: number): Promise<Uint8Array | null> {
    const frame = frameAt(this.#table, seq)
    if (frame === null) return null
    if (this.#frame?.of !== frame) {
      const bytes = await readFrame(this.#source, frame)
      this.#frame = { of: frame, bytes, starts: startsOf(bytes) }
    }
    const { bytes, starts } = this.#frame
    const start = starts.get(seq)
    // A copy: whoever gets it may write to it, and shall not keep the whole frame alive.
    return start === undefined ? null : bytes.slice(start, bytes.indexOf(LINE_FEED, start))
  }

  async *lines(): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of readLines(this.#source, { name: this.#file })) yield* chunk
  }
}
