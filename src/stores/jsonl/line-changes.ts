/** What becomes of the lines of a segment: entries that go, and entries that come back. */
import { nodeHashing } from '../../ledger/hashing.ts'
import { contentBytes, lineWithEntry, lineWithoutEntry } from '../../ledger/entry-lines.ts'
import { LedgerError } from '../../ledger/errors.ts'
import type { KeptEntry } from '../../ledger/upkeep.ts'
import type { Range } from '../../verify/ranges.ts'
import type { LineSlices } from '../../verify/record.ts'
import { placeOf } from './audit-range.ts'
import { seqOfLine } from '../../ledger/line-seq.ts'
import { isWithheld } from './checked-line.ts'
import type { FilePort } from './files.ts'
import type { Segment } from './layout.ts'
import { forwardLines } from './lines.ts'
import type { LineChanges } from './rewriting.ts'

interface ChangedLine {
  readonly line: Buffer
  readonly content: number
}

/** Salt and entry go. */
export class Withholding implements LineChanges {
  readonly #ranges: readonly Range[]
  #index = 0
  next: number

  /** @param ranges ascending, without overlap */
  constructor(ranges: readonly Range[]) {
    this.#ranges = ranges
    this.next = ranges[0]?.first ?? Infinity
  }

  async advance(seq: number): Promise<void> {
    while (this.#index < this.#ranges.length && this.#ranges[this.#index]!.last < seq) this.#index++
    this.next = Math.max(seq, this.#ranges[this.#index]?.first ?? Infinity)
  }

  changed(bytes: Buffer, start: number, slices: LineSlices): ChangedLine | null {
    const content = contentBytes(slices)
    return content === 0 ? null : { line: lineWithoutEntry(bytes, start, slices), content }
  }
}

/** Salt and entry come back, out of a source that is read as far as the segment goes. */
export class Restoring implements LineChanges {
  readonly #source: AsyncIterator<readonly KeptEntry[]>
  #chunk: readonly KeptEntry[] = []
  #at = -1
  /** Of the entry that comes next; Infinity: there is none. */
  position = -1
  /** The last position of the segment that is gone through. */
  last = Infinity
  /** What the source failed with. */
  failure: { readonly error: unknown } | null = null

  constructor(entries: AsyncIterable<readonly KeptEntry[]>) {
    this.#source = entries[Symbol.asyncIterator]()
  }

  get next(): number {
    return this.position > this.last ? Infinity : this.position
  }

  async advance(seq: number): Promise<void> {
    while (this.position < seq) await this.#pull()
  }

  async #pull(): Promise<void> {
    const before = this.position
    this.#at++
    while (this.#at >= this.#chunk.length) {
      const { done, value } = await this.#ask()
      if (done === true) {
        this.position = Infinity
        return
      }
      this.#chunk = value
      this.#at = 0
    }
    const { seq } = this.#chunk[this.#at] as KeptEntry
    if (seq <= before) throw new RangeError(`entries to restore must come in the order of their positions: ${seq} came behind ${before}`)
    this.position = seq
  }

  async #ask(): Promise<IteratorResult<readonly KeptEntry[]>> {
    try {
      return await this.#source.next()
    } catch (error) {
      this.failure = { error }
      throw error
    }
  }

  changed(bytes: Buffer, start: number, slices: LineSlices): ChangedLine | null {
    if (contentBytes(slices) > 0) return null
    const entry = this.#chunk[this.#at] as KeptEntry
    const { entry_hash } = JSON.parse(bytes.toString('utf8', slices.header_start, slices.header_end)) as { entry_hash?: unknown }
    const commitment = Buffer.from(`"salt":"${entry.salt}","entry":${entry.entry_text}`)
    // Whoever gave it has looked. What is written here stays, so it is looked at again.
    if (nodeHashing.sha256(commitment) !== entry_hash) {
      throw new LedgerError('damaged', `the entry given for position ${entry.seq} is not the one that its record commits to`, {
        seq: entry.seq,
      })
    }
    return { line: lineWithEntry(bytes, start, slices, entry), content: entry.salt.length + Buffer.byteLength(entry.entry_text) }
  }

  /** The source need not go on. */
  async close(): Promise<void> {
    if (this.failure === null && this.position !== Infinity) await this.#source.return?.()
  }
}

/** True where a record at one of these positions has its entry in this segment. */
export async function hasEntryWithin(files: FilePort, segment: Segment, ranges: readonly Range[]): Promise<boolean> {
  const wanted = new Withholding(ranges)
  const file = await files.open(segment.path, 'read')
  try {
    const size = await file.size()
    const from = (await placeOf(file, size, wanted.next)) ?? 0
    for await (const { bytes, ends, oversized } of forwardLines(file, from, size)) {
      if (oversized !== undefined) continue
      let start = 0
      for (const end of ends) {
        const seq = seqOfLine(bytes, start, end)
        if (seq > wanted.next) await wanted.advance(seq)
        if (seq === wanted.next && seq !== -1 && !isWithheld(bytes, start, end)) return true
        start = end + 1
      }
      if (wanted.next === Infinity) return false
    }
    return false
  } finally {
    await file.close()
  }
}
