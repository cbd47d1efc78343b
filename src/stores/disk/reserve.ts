/**
 * A file beside the ledger that takes room, so that it can be given up when the disk is full: for the records that were
 * just being written, and for closing in order. Given up, it stays as an empty file, so that the next opening knows of it.
 *
 * What is in it is chance, so that no file system makes it smaller than it is.
 */
import { randomFillSync } from 'node:crypto'
import fs from 'node:fs'
import { open, stat, unlink } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { isMissing } from '../../ledger/errors.ts'

/** Written and synced at once: appends that come meanwhile wait for no more than this. */
const PIECE_BYTES = 1024 * 1024

export class Reserve {
  readonly path: string
  /** As it is when it is whole. */
  readonly size_bytes: number
  #isUsed = false
  #making: Promise<boolean> | null = null
  #isStopped = false

  constructor(path: string, size_bytes: number) {
    this.path = path
    this.size_bytes = size_bytes
  }

  /** It was given up and was not made again. Of other processes' doings it knows what `look` saw. */
  get isUsed(): boolean {
    return this.#isUsed
  }

  /** Bytes that it takes; null where there is none. */
  async look(): Promise<number | null> {
    try {
      const { size } = await stat(this.path)
      this.#isUsed = size === 0
      return size
    } catch {
      this.#isUsed = false
      return null
    }
  }

  /** Makes it, or what is missing of it, and resolves to whether it is whole. Where there is no room for it, it takes none. */
  make(): Promise<boolean> {
    this.#making ??= this.#make().finally(() => {
      this.#making = null
    })
    return this.#making
  }

  async #make(): Promise<boolean> {
    const wasUsed = this.#isUsed
    let file: FileHandle | null = null
    try {
      file = await open(this.path, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600)
      const isWhole = await this.#fill(file)
      if (isWhole) this.#isUsed = false
      // Stopped before it began: an empty one would say that it was used.
      else if (!wasUsed && (await file.stat()).size === 0) await unlink(this.path)
      return isWhole
    } catch {
      // No room, or not allowed to: what was written of it is in the way of records.
      await file?.truncate(0).catch(() => {})
      if (!wasUsed) await unlink(this.path).catch(() => {})
      return false
    } finally {
      await file?.close().catch(() => {})
    }
  }

  async #fill(file: FileHandle): Promise<boolean> {
    let { size } = await file.stat()
    if (size > this.size_bytes) await file.truncate(this.size_bytes)
    const piece = Buffer.allocUnsafe(Math.max(0, Math.min(PIECE_BYTES, this.size_bytes - size)))
    randomFillSync(piece)
    while (size < this.size_bytes) {
      if (this.#isStopped) return false
      const { bytesWritten } = await file.write(piece, 0, Math.min(piece.length, this.size_bytes - size), size)
      // Many file systems find the room only now.
      await file.datasync()
      size += bytesWritten
    }
    return true
  }

  /** Gives its room to whoever writes next. False where it had none. */
  async giveUp(): Promise<boolean> {
    this.#isStopped = true
    await this.#making
    this.#isStopped = false
    const size = await this.look()
    if (size === null || size === 0) return false
    try {
      const file = await open(this.path, 'r+')
      try {
        await file.truncate(0)
        // Some file systems hand on what was freed only when that is durable.
        await file.sync().catch(() => {})
      } finally {
        await file.close()
      }
    } catch {
      return false
    }
    this.#isUsed = true
    return true
  }

  /** `giveUp` for a process that exits. */
  giveUpNow(): void {
    this.#isStopped = true
    try {
      fs.truncateSync(this.path, 0)
      this.#isUsed = true
    } catch {
      // There is none.
    }
  }

  /** What is half made stays, and is gone on with by the next one. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#making
  }
}

/** For an owner who wants none. */
export async function removeReserve(path: string): Promise<void> {
  await unlink(path).catch((error: unknown) => {
    if (!isMissing(error)) throw error
  })
}
