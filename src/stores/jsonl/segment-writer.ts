/**
 * The live segment: where batches are written. The whole write path is here, with a comment at every crash point.
 *
 * What a failed `fdatasync` leaves behind can't be told: Linux marks the pages clean although they are not on the
 * disk, so asking again says "fine" and means nothing. So after any failure the file is cut back to where it was, and
 * the next batch writes its bytes anew, which makes the pages dirty again.
 * (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020.)
 *
 * Whoever reads the file in between may see lines that are gone afterwards. They were never acknowledged.
 */
import { join } from 'node:path'
import { asStorageError, LedgerError } from '../../ledger/errors.ts'
import { writeFully } from './files.ts'
import type { FilePort, OpenFile } from './files.ts'
import { SEGMENTS, segmentAt } from './layout.ts'
import type { Segment } from './layout.ts'
import type { LiveSegment } from './recovery.ts'

/** A batch on its way to the disk: what a process that exits must finish or take back with blocking calls. */
export interface Underway {
  readonly bytes: Uint8Array
  readonly segment: Segment
  readonly position: number
  readonly isNewFile: boolean
  /** Set from the moment the batch is taken back. */
  rollingBack: boolean
}

export class SegmentWriter {
  readonly #files: FilePort
  readonly #dir: string
  #segment: Segment | null = null
  #file: OpenFile | null = null
  #length = 0
  /** The live file's name is on the disk. */
  #isNamed = true
  /** The last failed batch could not be taken back: its bytes may be in the file behind `#length`. */
  #isUnsettled = false
  /** Finished segments that are still open and writable. */
  #finished: { readonly segment: Segment; readonly file: OpenFile }[] = []
  #underway: Underway | null = null

  constructor(files: FilePort, dir: string, live: LiveSegment | null) {
    this.#files = files
    this.#dir = dir
    if (live === null) return
    this.#segment = live.segment
    this.#file = live.file
    this.#length = live.length
  }

  /** The segment that takes the next batch; null before the first. */
  get segment(): Segment | null {
    return this.#segment
  }

  /** Bytes of acknowledged records in it. */
  get length(): number {
    return this.#length
  }

  get underway(): Underway | null {
    return this.#underway
  }

  get isUnsettled(): boolean {
    return this.#isUnsettled
  }

  /** The open live file; null before the first segment. */
  get file(): OpenFile | null {
    return this.#file
  }

  /**
   * Writes one batch and resolves when it is durable. `first_seq`: position of its first record.
   * @throws LedgerError; with `outcome_unknown` where the batch could not be taken back
   */
  async write(bytes: Uint8Array, first_seq: number, newSegment: boolean): Promise<void> {
    if (this.#isUnsettled) await this.settle()
    let file = this.#file
    if (file === null || this.#segment === null || this.#length === 0 || newSegment) {
      file = await this.#prepare(first_seq, newSegment)
    }
    const segment = this.#segment as Segment
    const underway = { bytes, segment, position: this.#length, isNewFile: !this.#isNamed, rollingBack: false }
    this.#underway = underway
    try {
      await writeFully(file, bytes, this.#length)
      // Crash point: any part of the batch may be on the disk. Recovery keeps whole appends and moves the rest aside.
      await file.datasync('append')
      // Crash point: durable in a file that may have no name yet; then nothing of it is there after a power loss.
      if (!this.#isNamed) await this.#files.syncFolder(join(this.#dir, SEGMENTS), 'new-segment')
    } catch (error) {
      underway.rollingBack = true
      await this.#rollBack()
      const details = this.#isUnsettled ? { outcome_unknown: true } : {}
      throw asStorageError(error, `appending to ${segment.name}`, details)
    } finally {
      this.#underway = null
    }
    this.#isNamed = true
    // Crash point: durable and not acknowledged. It stays: whoever asks again with the same run_id gets its receipt.
    this.#length += bytes.length
    if (this.#finished.length > 0) await this.#seal()
  }

  /** Takes back what a failed batch left. @throws LedgerError while that doesn't work */
  async settle(): Promise<void> {
    if (!this.#isUnsettled) return
    try {
      await this.#cutBack()
    } catch (error) {
      throw asStorageError(error, `taking back a failed write to ${this.#segment?.name}`)
    }
    this.#isUnsettled = false
  }

  async #rollBack(): Promise<void> {
    try {
      await this.#cutBack()
    } catch {
      // The caller hears of the first error; the next append or state tries this again before anything else.
      this.#isUnsettled = true
    }
  }

  async #cutBack(): Promise<void> {
    const file = this.#file as OpenFile
    await file.truncate(this.#length)
    // Else the refused batch could come back with the next power loss.
    await file.sync('rollback')
  }

  /** Where the next batch goes is not simply behind the last one: a first or a new segment, or an empty file. */
  async #prepare(first_seq: number, newSegment: boolean): Promise<OpenFile> {
    const file = this.#file
    const segment = this.#segment
    if (file !== null && segment !== null && this.#length > 0 && !newSegment) return file
    const next = segmentAt(this.#dir, first_seq)
    try {
      if (file === null || segment === null || this.#length > 0) return await this.#begin(next)
      if (segment.first_seq !== first_seq) await this.#rename(next)
      return file
    } catch (error) {
      throw asStorageError(error, `beginning segment ${next.name}`)
    }
  }

  async #begin(next: Segment): Promise<OpenFile> {
    // Crash point: from here on there is an empty file, which the next opening goes on with.
    const file = await this.#createOrReuse(next.path)
    if (this.#file !== null && this.#segment !== null) this.#finished.push({ segment: this.#segment, file: this.#file })
    this.#segment = next
    this.#file = file
    this.#length = 0
    this.#isNamed = false
    return file
  }

  async #createOrReuse(path: string): Promise<OpenFile> {
    try {
      return await this.#files.open(path, 'create')
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'EEXIST') throw error
    }
    // Left by an attempt that failed. Nothing in the folder of segments is ever overwritten unless it is empty.
    const file = await this.#files.open(path, 'write')
    if ((await file.size()) === 0) return file
    await file.close()
    throw new LedgerError('damaged', `${path} is there already and holds something: run verify to see what it is`, { file: path })
  }

  /** An empty file whose name is not the position that comes: it gets the right name. */
  async #rename(next: Segment): Promise<void> {
    const there = await this.#files.facts(next.path)
    if (there !== null && there.size > 0) {
      throw new LedgerError('damaged', `${next.path} is there already and holds something: run verify to see what it is`, { file: next.path })
    }
    await this.#files.rename((this.#segment as Segment).path, next.path)
    this.#segment = next
    this.#isNamed = false
  }

  /** What is finished becomes read-only: a protection against accidents, so its failure is no error of the batch. */
  async #seal(): Promise<void> {
    const finished = this.#finished
    this.#finished = []
    for (const { segment, file } of finished) {
      await file.close().catch(() => {})
      await this.#files.chmod(segment.path, 0o444).catch(() => {})
    }
  }

  /** Taken over by the blocking calls of a process that exits. */
  advance(segment: Segment, length: number, file: OpenFile): void {
    this.#segment = segment
    this.#file = file
    this.#length = length
    this.#isNamed = true
    this.#isUnsettled = false
    this.#underway = null
  }

  async close(): Promise<void> {
    const files = [...this.#finished.map(({ file }) => file), ...(this.#file === null ? [] : [this.#file])]
    this.#finished = []
    this.#file = null
    for (const file of files) await file.close().catch(() => {})
  }
}

/** Finished segments are read-only. Goes back from the newest to the first that is, so that it costs the same at any size. */
export async function sealFinished(files: FilePort, segments: readonly Segment[]): Promise<void> {
  for (const segment of segments.slice(0, -1).toReversed()) {
    const facts = await files.facts(segment.path)
    if (facts === null || (facts.mode & 0o222) === 0) return
    await files.chmod(segment.path, 0o444).catch(() => {})
  }
}
