/**
 * Lines out of files, forwards and backwards, in bounded memory. Lines end at 0x0A and nowhere else; a line that is
 * longer than any record is cut short instead of being held.
 */
import { readFully } from './files.ts'
import type { OpenFile } from './files.ts'
import { LINE_BYTES_MAX } from './layout.ts'

/** Complete lines that lie one behind the other. */
export interface Lines {
  readonly bytes: Buffer
  /** Position in the file of `bytes[0]`. */
  readonly base: number
  /** Offset of each line's line feed. Line i begins behind the line feed of line i − 1, the first at 0. */
  readonly ends: readonly number[]
  /** Set where the one line is only the beginning of one that is too long to be a record: how long it is. */
  readonly oversized?: number
}

const LINE_FEED = 0x0a
/** One read of a file. */
export const BLOCK_BYTES = 1024 * 1024
/**
 * Reading forwards, which may go on for millions of lines: what lives on from one garbage collection to the next makes V8
 * widen its young generation. An export of 1 million records as CSV took 223 MB with blocks of 1 MiB, 187 with these.
 */
const FORWARD_BYTES = 64 * 1024

function lineEnds(bytes: Buffer, from: number): number[] {
  const ends: number[] = []
  for (let at = bytes.indexOf(LINE_FEED, from); at !== -1; at = bytes.indexOf(LINE_FEED, at + 1)) ends.push(at)
  return ends
}

/** Cuts the blocks of one file, given in order, into complete lines. */
export class LineCutter {
  /** The beginning of a line whose end is still to come. */
  #open: Buffer[] = []
  #openBytes = 0
  #base: number
  /** Bytes of the open line that were dropped because it is too long. */
  #dropped = 0

  /** @param base position in the file of the first byte that will be given */
  constructor(base: number) {
    this.#base = base
  }

  /** Where the bytes that no line feed has ended begin. */
  get position(): number {
    return this.#base
  }

  /** How many there are. */
  get unended(): number {
    return this.#openBytes + this.#dropped
  }

  /** The lines that `block` completes. It must not change afterwards. */
  push(block: Buffer): Lines[] {
    const first = block.indexOf(LINE_FEED)
    if (first === -1) {
      this.#keep(block)
      return []
    }
    const done: Lines[] = []
    let rest = block
    if (this.#dropped > 0 || this.#openBytes + first > LINE_BYTES_MAX) {
      done.push(this.#oversized(block.subarray(0, first)))
      rest = block.subarray(first + 1)
    } else if (this.#openBytes > 0) {
      rest = Buffer.concat([...this.#open, block])
      this.#open = []
      this.#openBytes = 0
    }
    const ends = lineEnds(rest, 0)
    const last = ends.at(-1)
    if (last !== undefined) {
      done.push({ bytes: rest, base: this.#base, ends })
      this.#base += last + 1
      rest = rest.subarray(last + 1)
    }
    this.#keep(rest)
    return done
  }

  #keep(part: Buffer): void {
    const room = LINE_BYTES_MAX + 1 - this.#openBytes
    const kept = part.length > room ? part.subarray(0, room) : part
    if (kept.length > 0) this.#open.push(kept)
    this.#openBytes += kept.length
    this.#dropped += part.length - kept.length
  }

  #oversized(last: Buffer): Lines {
    this.#keep(last)
    const bytes = Buffer.concat(this.#open)
    // Whoever made the line could have made its beginning look like a whole record: this byte is in none.
    bytes[bytes.length - 1] = 0
    const length = this.#openBytes + this.#dropped
    const lines = { bytes, base: this.#base, ends: [bytes.length], oversized: length }
    this.#base += length + 1
    this.#open = []
    this.#openBytes = 0
    this.#dropped = 0
    return lines
  }
}

/** The lines that end in `[from, to)` of a file, in order. `from` is where a line begins. */
export async function* forwardLines(file: OpenFile, from: number, to: number): AsyncGenerator<Lines, LineCutter, undefined> {
  const cutter = new LineCutter(from)
  for (let at = from; at < to;) {
    // Fresh memory for each block, since lines are handed out as views of it.
    const block = Buffer.allocUnsafeSlow(Math.min(FORWARD_BYTES, to - at))
    const read = await readFully(file, block, at)
    if (read === 0) break
    at += read
    yield* cutter.push(read < block.length ? block.subarray(0, read) : block)
  }
  return cutter
}

/**
 * The lines that end in `[from, to)` of a file, last first: the batches come backwards, the lines inside one in order.
 * What no line feed ends is left out. It ends before the beginning, and returns false, at a line that is too long to be
 * a record, or where the file became shorter.
 */
export async function* backwardLines(
  file: OpenFile,
  from: number,
  to: number,
  blockBytes = BLOCK_BYTES,
): AsyncGenerator<Lines, boolean, undefined> {
  // The end of a line whose beginning is still to come, its line feed included.
  let tail: Buffer = Buffer.alloc(0)
  let ended = false
  for (let end = to; end > from;) {
    const start = Math.max(from, end - blockBytes)
    const block = Buffer.allocUnsafeSlow(end - start)
    if ((await readFully(file, block, start)) < block.length) return false
    end = start
    let bytes = block
    if (!ended) {
      const last = block.lastIndexOf(LINE_FEED)
      if (last === -1) continue
      ended = true
      bytes = block.subarray(0, last + 1)
    } else if (tail.length > 0) bytes = Buffer.concat([block, tail])
    // The first line of what was read is whole only at the very beginning.
    const first = start === from ? 0 : bytes.indexOf(LINE_FEED) + 1
    tail = bytes.subarray(0, first)
    if (tail.length > LINE_BYTES_MAX) return false
    if (first === bytes.length) continue
    const whole = bytes.subarray(first)
    yield { bytes: whole, base: start + first, ends: lineEnds(whole, 0) }
  }
  return true
}
