/** Cuts a stream of bytes into lines at 0x0A, and at nothing else: U+2028 is legal inside a record. */
import { LINE_FEED } from './bytes.ts'

/** The longest line that can be a record: an entry of 16 MiB, and room for all that stands before it. */
export const LINE_BYTES_MAX = 17 * 1024 * 1024

/** Takes one line without its line feed: `bytes[start, end)`, good until it returns. `position` is its first byte in the stream. */
export type LineTaker = (bytes: Uint8Array, start: number, end: number, position: number) => void

/** What stands behind the last line feed. */
export interface UnendedLine {
  /** Offset of its first byte in the stream. */
  readonly position: number
  /** How many bytes there are; more than `bytes` has where the line is too long. */
  readonly length: number
  readonly bytes: Uint8Array
}

/**
 * Lines within a chunk are handed over as they lie there; only a line that goes over the end of a chunk is copied. Of
 * a line longer than the limit only so much is kept, and handed over, that one sees that it is longer.
 */
export class LineSplitter {
  readonly #bytesMax: number
  /** The start of a line whose end has not come. */
  #kept: Uint8Array = new Uint8Array(0)
  #keptLength = 0
  /** Length of that line so far, with what was too long to keep. */
  #length = 0
  /** Offset of the next chunk in the stream. */
  #offset: number

  /** `offset`: where in the stream the first chunk starts; `lineBytesMax`: of which one byte more is handed over. */
  constructor(offset = 0, lineBytesMax = LINE_BYTES_MAX) {
    this.#offset = offset
    this.#bytesMax = lineBytesMax
  }

  /** Hands each line that this chunk ends to `take`, in order. The chunk may be used again afterwards. */
  push(chunk: Uint8Array, take: LineTaker): void {
    let start = 0
    let end = chunk.indexOf(LINE_FEED)
    if (end !== -1 && this.#length > 0) {
      this.#keep(chunk, 0, end)
      take(this.#kept, 0, this.#keptLength, this.#offset + end - this.#length)
      this.#forget()
      start = end + 1
      end = chunk.indexOf(LINE_FEED, start)
    }
    while (end !== -1) {
      take(chunk, start, Math.min(end, start + this.#bytesMax + 1), this.#offset + start)
      start = end + 1
      end = chunk.indexOf(LINE_FEED, start)
    }
    if (start < chunk.length) this.#keep(chunk, start, chunk.length)
    this.#offset += chunk.length
  }

  /** Where what stands behind the last line feed begins in the stream, and how many bytes that are. */
  get position(): number {
    return this.#offset - this.#length
  }

  get unended(): number {
    return this.#length
  }

  /** What stands behind the last line feed, or null where nothing does. */
  rest(): UnendedLine | null {
    if (this.#length === 0) return null
    return { position: this.#offset - this.#length, length: this.#length, bytes: this.#kept.slice(0, this.#keptLength) }
  }

  #keep(chunk: Uint8Array, start: number, end: number): void {
    const room = this.#bytesMax + 1 - this.#keptLength
    const part = chunk.subarray(start, Math.min(end, start + room))
    const length = this.#keptLength + part.length
    if (length > this.#kept.length) {
      const wider = new Uint8Array(Math.min(Math.max(length, this.#kept.length * 2, 4096), this.#bytesMax + 1))
      wider.set(this.#kept.subarray(0, this.#keptLength))
      this.#kept = wider
    }
    this.#kept.set(part, this.#keptLength)
    this.#keptLength = length
    this.#length += end - start
  }

  #forget(): void {
    this.#keptLength = 0
    this.#length = 0
    // One long line shall not hold its memory for the rest of the file.
    if (this.#kept.length > 1024 * 1024) this.#kept = new Uint8Array(0)
  }
}
