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
  /** Set while the file of its segment may not be there yet. */
  preparing: Segment | null
  /** Set from the moment the batch is taken back. */
  rollingBack: boolean
}

export class SegmentWriter {
  readonly #files: FilePort
  readonly #dir: string
  /** In the order of position; the last one is live. */
  readonly #segments: Segment[]
  #file: OpenFile | null = null
  #length = 0
  #isNamed = true
  /** The last failed batch could not be taken back: its bytes may be in the file behind `#length`. */
  #isUnsettled = false
  /** Finished segments that are still open and writable. */
  #finished: { readonly segment: Segment; readonly file: OpenFile }[] = []
  #underway: Underway | null = null

  /** @param segments all that there are; the last one is the live one */
  constructor(files: FilePort, dir: string, segments: readonly Segment[], live: LiveSegment | null) {
    this.#files = files
    this.#dir = dir
    this.#segments = [...segments]
    if (live === null) return
    this.#file = live.file
    this.#length = live.length
  }

  /** The segment that takes the next batch; null before the first. */
  get segment(): Segment | null {
    return this.#segments.at(-1) ?? null
  }

  /** All segments, in the order of position. */
  get segments(): readonly Segment[] {
    return this.#segments
  }

  /** Bytes of acknowledged records in it. */
  get length(): number {
    return this.#length
  }

  get underway(): Underway | null {
    return this.#underway
  }

  /** The live file's name is on the disk. */
  get isNamed(): boolean {
    return this.#isNamed
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
    const underway: Underway = { bytes, preparing: null, rollingBack: false }
    this.#underway = underway
    try {
      if (this.#length === 0 || newSegment) await this.#prepare(underway, segmentAt(this.#dir, first_seq))
      await this.#writeBatch(underway)
    } finally {
      this.#underway = null
    }
    if (this.#finished.length > 0) await this.#seal()
  }

  async #writeBatch(underway: Underway): Promise<void> {
    const { bytes } = underway
    const file = this.#file as OpenFile
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
      throw asStorageError(error, `appending to ${this.segment?.name}`, details)
    }
    this.#isNamed = true
    // Crash point: durable and not acknowledged. It stays: whoever asks again with the same run_id gets its receipt.
    this.#length += bytes.length
  }

  /** Takes back what a failed batch left. @throws LedgerError while that doesn't work */
  async settle(): Promise<void> {
    if (!this.#isUnsettled) return
    try {
      await this.#cutBack()
    } catch (error) {
      throw asStorageError(error, `taking back a failed write to ${this.segment?.name}`)
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

  /** The batch does not simply go behind the last one: a first or a new segment, or an empty file to go on with. */
  async #prepare(underway: Underway, next: Segment): Promise<void> {
    const { segment } = this
    if (segment !== null && this.#length === 0 && segment.first_seq === next.first_seq) return
    underway.preparing = next
    try {
      if (segment === null || this.#length > 0) await this.#begin(next)
      else await this.#rename(segment, next)
    } catch (error) {
      throw asStorageError(error, `beginning segment ${next.name}`)
    }
    underway.preparing = null
  }

  async #begin(next: Segment): Promise<void> {
    // Crash point: from here on there is an empty file, which the next opening goes on with.
    const file = await this.#createOrReuse(next.path)
    this.adopt(next, file)
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
  async #rename(segment: Segment, next: Segment): Promise<void> {
    const there = await this.#files.facts(next.path)
    if (there !== null && there.size > 0) {
      throw new LedgerError('damaged', `${next.path} is there already and holds something: run verify to see what it is`, {
        file: next.path,
      })
    }
    await this.#files.rename(segment.path, next.path)
    this.#segments[this.#segments.length - 1] = next
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

  /** This empty file is the live segment now; an empty one before it has become it, under its new name. */
  adopt(segment: Segment, file: OpenFile): void {
    const { segment: before } = this
    if (before !== null && this.#length === 0) this.#segments.pop()
    else if (before !== null && this.#file !== null) this.#finished.push({ segment: before, file: this.#file })
    this.#segments.push(segment)
    this.#file = file
    this.#length = 0
    this.#isNamed = false
  }

  /** The live segment is durable up to there: by the blocking calls of a process that exits. */
  advance(length: number): void {
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
