/** Files of packed lines in an archive: the table of each, and the frame that was read last. */
import type { ArchiveStore } from '../archive.ts'
import { seqOfLine } from '../line-seq.ts'
import { packLines } from '../packed-lines.ts'
import type { PackedFrame, PackedTable } from '../packed-lines.ts'
import { frameAt, linesOf, readFrame, readTable } from '../packed-reading.ts'
import type { ByteSource } from '../packed-reading.ts'
import { archivedBytes, readLines } from '../packed-source.ts'

/** A whole file of these lines. */
export async function packed(lines: readonly Uint8Array[]): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of packLines([lines])) chunks.push(chunk)
  return Buffer.concat(chunks)
}

export class Packed {
  readonly #source: ByteSource
  readonly #file: string
  readonly #table: PackedTable
  #frame: { readonly of: PackedFrame; readonly lines: ReadonlyMap<number, Uint8Array> } | null = null

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
      const lines = new Map<number, Uint8Array>()
      for (const line of linesOf(await readFrame(this.#source, frame)))
        lines.set(seqOfLine(Buffer.from(line.buffer, line.byteOffset, line.length), 0, line.length), line)
      this.#frame = { of: frame, lines }
    }
    // A copy: whoever gets it may write to it, and shall not keep the whole frame alive.
    return this.#frame.lines.get(seq)?.slice() ?? null
  }

  async *lines(): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of readLines(this.#source, { name: this.#file })) yield* chunk
  }
}
