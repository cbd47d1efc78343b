/**
 * A sealed segment in which some entries go or come back: a new file beside it, which takes its name when it is whole
 * and on the disk. So there is the old segment or the new one, whatever happens, and whoever has the old file open reads
 * it to its end.
 */
import { dirname, join } from 'node:path'
import { splitLine } from '../../verify/record.ts'
import type { LineSlices } from '../../verify/record.ts'
import { placeOf } from './audit-range.ts'
import { seqOfLine } from '../../ledger/line-seq.ts'
import { readFully, writeFully } from './files.ts'
import type { FilePort, OpenFile } from './files.ts'
import { isAsideNames } from './kept-names.ts'
import { isAsideFile, NAMES, SEGMENTS } from './layout.ts'
import type { Segment } from './layout.ts'
import { BLOCK_BYTES, forwardLines } from './lines.ts'

/** Which lines of a segment change, and into what; asked in the order of the lines. */
export interface LineChanges {
  /** No line before this position changes. Infinity: none any more. */
  readonly next: number
  /** Goes on until `next` is at this position or behind it. */
  advance(seq: number): Promise<void>
  /** The new line of the one at `next`, without line feed; null: it stays. `slices` are those of the line in `bytes`. */
  changed(bytes: Buffer, start: number, slices: LineSlices): { readonly line: Buffer; readonly content: number } | null
}

/** Where lines lie since: what lay at `ends[i]` of the old file, or behind it up to the next of them, lies `shifts[i]` bytes further on. */
export interface Moves {
  readonly ends: readonly number[]
  readonly shifts: readonly number[]
}

export interface Rewritten {
  readonly records: number
  /** Of salts and entries. */
  readonly bytes: number
  readonly moves: Moves
  /** Of the new file, in bytes. */
  readonly size: number
}

/** Where the byte of the old file, at which a line begins, is in the new one. */
export function movedTo({ ends, shifts }: Moves, byte: number): number {
  let [low, high] = [0, ends.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (ends[middle]! <= byte) low = middle + 1
    else high = middle
  }
  return byte + (shifts[low - 1] ?? 0)
}

/**
 * Null where no line changed: then nothing was written. Nobody else may be rewriting the segment, or adding to it.
 * @throws what the file port throws; the old segment is there then, whole
 */
export async function rewriteSegment(files: FilePort, segment: Segment, changes: LineChanges): Promise<Rewritten | null> {
  const aside = `${segment.path}.next`
  const file = await files.open(segment.path, 'read')
  try {
    const rewriting = new Rewriting(file, await file.size(), () => files.open(aside, 'replace'))
    try {
      const rewritten = await rewriting.run(changes)
      if (rewritten === null) return null
      const facts = await files.facts(segment.path)
      await files.chmod(aside, (facts?.mode ?? 0o444) & 0o7555)
      // Crash point: both are there; the next opening removes the new one, and the same call makes it again.
      await files.rename(aside, segment.path)
      // Crash point: the old one may come back when the power fails. The caller hears of nothing before this.
      await files.syncFolder(dirname(segment.path), 'rewritten-name')
      return rewritten
    } catch (error) {
      await rewriting.close()
      if (rewriting.hasBegun) await files.remove(aside).catch(() => {})
      throw error
    }
  } finally {
    await file.close()
  }
}

/** What a rewriting left that was cut short: it may hold what was erased since. */
export async function removeLeftovers(files: FilePort, dir: string): Promise<void> {
  for (const [name, isLeft] of [
    [SEGMENTS, isAsideFile],
    [NAMES, isAsideNames],
  ] as const) {
    const folder = join(dir, name)
    const left = (await files.facts(folder)) === null ? [] : (await files.list(folder)).filter(isLeft)
    for (const file of left) await files.remove(join(folder, file))
    if (left.length > 0) await files.syncFolder(folder, 'removed')
  }
}

class Rewriting {
  readonly #old: OpenFile
  readonly #size: number
  readonly #create: () => Promise<OpenFile>
  #new: OpenFile | null = null
  #hasBegun = false
  /** The new file has the old one's bytes before this one, changed. */
  #done = 0
  #written = 0
  readonly #room = Buffer.allocUnsafeSlow(BLOCK_BYTES)
  #used = 0
  #records = 0
  #bytes = 0
  readonly #ends: number[] = []
  readonly #shifts: number[] = []

  constructor(old: OpenFile, size: number, create: () => Promise<OpenFile>) {
    this.#old = old
    this.#size = size
    this.#create = create
  }

  /** There may be a new file. */
  get hasBegun(): boolean {
    return this.#hasBegun
  }

  async run(changes: LineChanges): Promise<Rewritten | null> {
    await this.#lines(changes)
    if (this.#records === 0) return null
    await this.#copy(this.#size)
    const file = await this.#flush()
    await file.sync('rewritten')
    const wanted = this.#size + (this.#shifts.at(-1) ?? 0)
    if ((await file.size()) !== wanted) throw Object.assign(new Error(`the new file has not ${wanted} bytes`), { code: 'EIO' })
    await this.close()
    return { records: this.#records, bytes: this.#bytes, moves: { ends: this.#ends, shifts: this.#shifts }, size: wanted }
  }

  async #lines(changes: LineChanges): Promise<void> {
    if (changes.next === Infinity) return
    const from = (await placeOf(this.#old, this.#size, changes.next)) ?? 0
    for await (const { bytes, base, ends, oversized } of forwardLines(this.#old, from, this.#size)) {
      if (oversized !== undefined) continue
      let start = 0
      for (const end of ends) {
        const seq = seqOfLine(bytes, start, end)
        if (seq > changes.next) await changes.advance(seq)
        if (seq !== -1 && seq === changes.next) await this.#line(changes, bytes, base, start, end)
        start = end + 1
      }
      if (changes.next === Infinity) return
    }
  }

  async #line(changes: LineChanges, bytes: Buffer, base: number, start: number, end: number): Promise<void> {
    // A line that is no record stays as it is, for verification to report.
    const slices = splitLine(bytes, start, end)
    const changed = slices === null ? null : changes.changed(bytes, start, slices)
    if (changed === null) return
    await this.#copy(base + start, bytes, base)
    await this.#put(changed.line)
    await this.#put(LINE_FEED)
    this.#done = base + end + 1
    this.#ends.push(this.#done)
    this.#shifts.push((this.#shifts.at(-1) ?? 0) + changed.line.length - (end - start))
    this.#records++
    this.#bytes += changed.content
  }

  /** What lies before `to` and is not in the new file yet; `block` holds the old file's bytes from `base` on. */
  async #copy(to: number, block: Buffer | null = null, base = 0): Promise<void> {
    if (block !== null && this.#done >= base) {
      await this.#put(block.subarray(this.#done - base, to - base))
      this.#done = to
      return
    }
    while (this.#done < to) {
      if (this.#used === this.#room.length) await this.#flush()
      const piece = this.#room.subarray(this.#used, Math.min(this.#room.length, this.#used + to - this.#done))
      const read = await readFully(this.#old, piece, this.#done)
      if (read < piece.length) throw Object.assign(new Error(`the segment ends at byte ${this.#done + read}`), { code: 'EIO' })
      this.#used += read
      this.#done += read
    }
  }

  async #put(bytes: Buffer): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      if (this.#used === this.#room.length) await this.#flush()
      const taken = bytes.copy(this.#room, this.#used, done)
      this.#used += taken
      done += taken
    }
  }

  async #flush(): Promise<OpenFile> {
    this.#hasBegun = true
    const file = (this.#new ??= await this.#create())
    if (this.#used > 0) await writeFully(file, this.#room.subarray(0, this.#used), this.#written)
    this.#written += this.#used
    this.#used = 0
    return file
  }

  async close(): Promise<void> {
    const file = this.#new
    this.#new = null
    await file?.close().catch(() => {})
  }
}

const LINE_FEED = Buffer.from('\n')
