/**
 * Cuts bytes into lines as Python's text files do ("universal newlines"): at LF, at CR LF and at a bare CR, at nothing
 * else. In UTF-8 these bytes are never a part of another character, so it can be done before decoding.
 */
import { LINE_FEED } from '../bytes.ts'

export type LineEnding = '\n' | '\r\n' | '\r' | ''

export interface UniversalLine {
  /** Without its ending; null where it is longer than the limit. */
  readonly bytes: Uint8Array | null
  /** Offset of its first byte. */
  readonly byte: number
  /** In bytes, without its ending. */
  readonly length: number
  /** Empty for a last line that nothing ends. */
  readonly ending: LineEnding
}

const CARRIAGE_RETURN = 0x0d
const NOTHING = new Uint8Array(0)

/** Lines within a chunk are views of it, good until the chunk is used again; a line over the end of a chunk is copied. */
export class UniversalLines {
  readonly #bytesMax: number
  /** The beginning of a line whose end has not come, unless it is too long already. */
  #kept = NOTHING
  /** Length of that line so far, with what was too long to keep. */
  #length = 0
  /** The last chunk ended with CR: whether LF follows is not known yet. */
  #afterReturn = false
  /** Offset of the line that comes next. */
  #offset = 0

  /** `bytesMax`: of a longer line only its length is told. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  push(chunk: Uint8Array): UniversalLine[] {
    const lines: UniversalLine[] = []
    if (chunk.length === 0) return lines
    let start = 0
    if (this.#afterReturn) {
      this.#afterReturn = false
      const ending = chunk[0] === LINE_FEED ? '\r\n' : '\r'
      lines.push(this.#line(chunk, 0, 0, ending))
      start = ending.length - 1
    }
    let feed = chunk.indexOf(LINE_FEED, start)
    let back = chunk.indexOf(CARRIAGE_RETURN, start)
    for (;;) {
      // Each is looked for again only when the line has gone past it: else a file without CR is searched a line at a time.
      if (feed !== -1 && feed < start) feed = chunk.indexOf(LINE_FEED, start)
      if (back !== -1 && back < start) back = chunk.indexOf(CARRIAGE_RETURN, start)
      const end = feed === -1 || (back !== -1 && back < feed) ? back : feed
      if (end === -1) break
      if (end === back && end + 1 === chunk.length) {
        this.#afterReturn = true
        this.#keep(chunk, start, end)
        return lines
      }
      const ending = end === feed ? '\n' : feed === end + 1 ? '\r\n' : '\r'
      lines.push(this.#line(chunk, start, end, ending))
      start = end + ending.length
    }
    this.#keep(chunk, start, chunk.length)
    return lines
  }

  /** The last line where it has no ending, or ends with CR; null where nothing is left. */
  end(): UniversalLine | null {
    if (this.#afterReturn) return this.#line(NOTHING, 0, 0, '\r')
    return this.#length === 0 ? null : this.#line(NOTHING, 0, 0, '')
  }

  #line(chunk: Uint8Array, start: number, end: number, ending: LineEnding): UniversalLine {
    let bytes: Uint8Array = chunk.subarray(start, end)
    let length = end - start
    if (this.#length > 0) {
      this.#keep(chunk, start, end)
      bytes = this.#kept.subarray(0, this.#length)
      length = this.#length
      // Not used again: the line may be held for as long as its taker likes.
      this.#kept = NOTHING
      this.#length = 0
    }
    const line = { bytes: length > this.#bytesMax ? null : bytes, byte: this.#offset, length, ending }
    this.#offset += length + ending.length
    return line
  }

  #keep(chunk: Uint8Array, start: number, end: number): void {
    const length = this.#length + end - start
    if (length > this.#bytesMax) {
      this.#kept = NOTHING
    } else {
      if (length > this.#kept.length) {
        const wider = new Uint8Array(Math.min(Math.max(length, this.#kept.length * 2), this.#bytesMax))
        wider.set(this.#kept.subarray(0, this.#length))
        this.#kept = wider
      }
      this.#kept.set(chunk.subarray(start, end), this.#length)
    }
    this.#length = length
  }
}
