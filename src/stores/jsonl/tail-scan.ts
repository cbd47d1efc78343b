/**
 * What the end of the live segment says after a crash: up to where it is good, and what follows. Pure: lines in,
 * verdict out. A torn write is told from damage, since the first was never acknowledged and moves aside, and the
 * second was, and stays for `verify` to report.
 */
import { wholeRecord } from './checked-line.ts'
import type { WholeRecord } from './checked-line.ts'
import type { Lines } from './lines.ts'

/** The smallest piece that a disk writes whole. Bytes. */
const SECTOR_BYTES = 512

export interface TailVerdict {
  /** Everything from here on moves aside; the file's size where nothing does. */
  readonly cut: number
  /** Why, where something does. */
  readonly reason: string | null
  /** The last record before `cut`; null where there is none behind the start. */
  readonly last: WholeRecord | null
  /** Where the last complete line before `cut` is no record and was not torn: nothing can follow it. */
  readonly damagedAt: number | null
}

interface Position {
  readonly byte: number
  readonly last: WholeRecord | null
}

export interface Surroundings {
  /** Position in the file of `bytes[0]`. */
  readonly base: number
  readonly fileSize: number
  /** The line goes on behind `end`: it is too long to be held. */
  readonly isCut: boolean
}

/**
 * True where zeros lie as lost sectors leave them: from the start of a sector (or of the line, where the write began)
 * to the start of another (or the file's end). No byte of a record is zero, so a single changed byte doesn't look so.
 */
export function hasLostSector(bytes: Uint8Array, start: number, end: number, { base, fileSize, isCut }: Surroundings): boolean {
  for (let at = bytes.indexOf(0, start); at !== -1 && at < end;) {
    let behind = at + 1
    while (behind < end && bytes[behind] === 0) behind++
    const begins = at === start || (base + at) % SECTOR_BYTES === 0
    const stops = base + behind === fileSize || (base + behind) % SECTOR_BYTES === 0 || (isCut && behind === end)
    if (begins && stops) return true
    at = bytes.indexOf(0, behind)
  }
  return false
}

/** Takes the lines from a place that is known to be durable to the end, in order. */
export class TailScan {
  readonly #fileSize: number
  #last: WholeRecord | null
  /** The first of the unusable lines at the end. */
  #bad: number | null = null
  #torn: number | null = null
  /** The append that the last record belongs to, and what was before its first record. */
  #append: { readonly last_seq: number; readonly before: Position } | null = null

  /** @param last the record before the first line, where it is known */
  constructor(last: WholeRecord | null, fileSize: number) {
    this.#last = last
    this.#fileSize = fileSize
  }

  /** True when lost sectors were met: what follows decides nothing any more. */
  get isTorn(): boolean {
    return this.#torn !== null
  }

  add(lines: Lines): void {
    let start = 0
    for (const end of lines.ends) {
      if (this.#torn !== null) return
      this.#line(lines, start, end)
      start = end + 1
    }
  }

  #line({ bytes, base, oversized }: Lines, start: number, end: number): void {
    const record = wholeRecord(bytes, start, end)
    // A position that went back is a copy of an older line; one that jumped ahead stands behind damage, and goes on from there.
    if (record === null || (this.#last !== null && record.header.seq <= this.#last.header.seq)) {
      const surroundings = { base, fileSize: this.#fileSize, isCut: oversized !== undefined }
      if (hasLostSector(bytes, start, end, surroundings)) this.#torn = base + start
      else this.#bad ??= base + start
      return
    }
    const { append_last_seq } = record.header
    if (append_last_seq === undefined) this.#append = null
    else if (append_last_seq !== this.#append?.last_seq) {
      this.#append = { last_seq: append_last_seq, before: { byte: base + start, last: this.#last } }
    }
    this.#last = record
    this.#bad = null
  }

  /**
   * @param unended position of the bytes that no line feed ends, or the file's size
   * @param known true where the scan began behind what is surely durable, and not just at the segment's start
   */
  finish(unended: number, known: boolean): TailVerdict {
    let cut = this.#fileSize
    let reason: string | null = null
    if (this.#torn !== null) {
      cut = this.#torn
      reason = 'sectors of the last write were lost'
    } else if (unended < cut) {
      cut = unended
      reason = 'the last line has no end'
    }
    if (this.#bad !== null) {
      // Unusable lines in front of it are of the same write only where all that was acknowledged is known to be before.
      if (reason === null || !known) return { cut, reason, last: this.#last, damagedAt: this.#bad }
      cut = this.#bad
    }
    const append = this.#append
    if (append !== null && this.#last !== null && append.last_seq > this.#last.header.seq) {
      return { cut: append.before.byte, reason: reason ?? 'the last append is not whole', last: append.before.last, damagedAt: null }
    }
    return { cut, reason, last: this.#last, damagedAt: null }
  }
}
