/**
 * The folder of a published log. A file gets its name when it is whole and on the disk, so whoever serves the folder
 * never shows half of one; and the checkpoint is replaced after all that it speaks of.
 */
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { syncFolder } from './durable-file.ts'
import { TILE_WIDTH, tilePath } from '../verify/tiles.ts'
import type { Tile } from '../verify/tiles.ts'
import { HASH_BYTES } from '../verify/tree.ts'
import { asStorageError, LedgerError } from './errors.ts'

/** Ours alone, and no part of the log: the lock, and files that have no name yet. */
const OWN_FOLDER = '.publishing'
const WRITES_AT_ONCE = 8
const CHECKPOINT = 'checkpoint'

const isAbsent = (error: unknown): boolean => ['ENOENT', 'ENOTDIR'].includes(String((error as { code?: unknown }).code))

/** A file of a log has less: 256 headers, or a checkpoint with a hundred signatures. */
const FILE_BYTES_MAX = 8 * 1024 * 1024

async function bytesAt(path: string): Promise<Uint8Array | null> {
  try {
    const { size } = await stat(path)
    if (size > FILE_BYTES_MAX)
      throw new LedgerError('damaged', `${path} has ${size} bytes: no file of a published log has so many`, { file: path })
    return await readFile(path)
  } catch (error) {
    if (isAbsent(error)) return null
    throw error
  }
}

export class LogFolder {
  readonly path: string
  /** Files that this run put in place. */
  written = 0
  /** Folders of partial tiles that this run removed. */
  removed = 0
  /** Folders whose names are to be made durable. */
  readonly #touched = new Set<string>()
  readonly #superseded = new Set<string>()
  readonly #writing = new Set<Promise<void>>()
  #failure: { readonly error: unknown } | null = null
  #temporary = 0

  constructor(path: string) {
    this.path = resolve(path)
  }

  /** Everything here that fails does so as a LedgerError. */
  async #doing<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw asStorageError(error, `publishing to ${this.path}`, { location: this.path })
    }
  }

  /**
   * Makes the folder where there is none, and locks it; returns how to let go.
   * @throws LedgerError `publish_conflict` where something else is in it, and what `lock` throws
   */
  async enter(lock: ((path: string) => Promise<() => void>) | undefined): Promise<() => void> {
    const own = join(this.path, OWN_FOLDER)
    await this.#doing(async () => {
      await this.#refuseForeign()
      const made = await mkdir(own, { recursive: true })
      // The names of new folders, up to the first one that was there.
      for (let each = own; made !== undefined && each.length >= made.length; each = dirname(each)) this.#touched.add(dirname(each))
    })
    const release = (await lock?.(join(own, 'lock'))) ?? (() => {})
    try {
      // What a run that was killed left behind.
      await this.#doing(() => rm(join(own, 'new'), { recursive: true, force: true }))
      await this.#doing(() => mkdir(join(own, 'new')))
    } catch (error) {
      release()
      throw error
    }
    return release
  }

  /** A folder of something else is not to be filled with tiles because somebody mistyped a path. */
  async #refuseForeign(): Promise<void> {
    let names: string[]
    try {
      names = await readdir(this.path)
    } catch (error) {
      if ((error as { code?: unknown }).code === 'ENOENT') return
      throw error
    }
    const other = names.filter((name) => name !== OWN_FOLDER && name !== 'tile')
    if (names.includes(CHECKPOINT) || other.length === 0) return
    throw new LedgerError(
      'publish_conflict',
      `${this.path} holds no published log but other files (${other.slice(0, 3).join(', ')}): give a folder of its own`,
      { location: this.path },
    )
  }

  /** The checkpoint that is published, or null where none is. */
  checkpoint(): Promise<Uint8Array | null> {
    return this.#doing(() => bytesAt(join(this.path, CHECKPOINT)))
  }

  /** The bytes of a tile or bundle; of a full one where the partial one is gone. Null where neither is there. */
  async read(tile: Tile): Promise<{ readonly bytes: Uint8Array; readonly isFull: boolean } | null> {
    const at = (width: number): Promise<Uint8Array | null> => this.#doing(() => bytesAt(join(this.path, tilePath({ ...tile, width }))))
    const bytes = await at(tile.width)
    if (bytes !== null) return { bytes, isFull: tile.width === TILE_WIDTH }
    const full = tile.width === TILE_WIDTH ? null : await at(TILE_WIDTH)
    return full === null ? null : { bytes: full, isFull: true }
  }

  /** The hashes of a tile. @throws LedgerError `damaged` */
  async hashes(tile: Tile): Promise<Uint8Array> {
    const found = await this.read(tile)
    const length = (found?.isFull === true ? TILE_WIDTH : tile.width) * HASH_BYTES
    if (found?.bytes.length === length) return found.bytes.subarray(0, tile.width * HASH_BYTES)
    throw this.damaged(found === null ? `${tilePath(tile)} is missing` : `${tilePath(tile)} has ${found.bytes.length} bytes, not ${length}`)
  }

  damaged(what: string): LedgerError {
    return new LedgerError(
      'damaged',
      `the log in ${this.path} is not what was published: ${what}. Nothing was changed; publish to a new folder, or put the files back`,
      { location: this.path },
    )
  }

  /** Puts a tile or bundle in place; some at once. What fails is thrown by one of the next calls. */
  async put(tile: Tile, bytes: Uint8Array): Promise<void> {
    while (this.#writing.size >= WRITES_AT_ONCE) await Promise.race(this.#writing)
    this.#throwFailure()
    const work = this.#write(tile, bytes)
      .catch((error: unknown) => {
        this.#failure ??= { error }
      })
      .finally(() => this.#writing.delete(work))
    this.#writing.add(work)
  }

  #throwFailure(): void {
    if (this.#failure !== null) throw asStorageError(this.#failure.error, `publishing to ${this.path}`, { location: this.path })
  }

  async #write(tile: Tile, bytes: Uint8Array): Promise<void> {
    const path = tilePath(tile)
    const target = join(this.path, path)
    await this.#makeFolder(dirname(target))
    if (tile.width === TILE_WIDTH && (await stat(`${target}.p`).catch(() => null)) !== null) this.#superseded.add(`${target}.p`)
    // A run that was killed may have come so far. What no checkpoint speaks of yet may also be something else.
    const there = await stat(target).catch(() => null)
    if (there?.isFile() === true && there.size === bytes.length && Buffer.compare(await readFile(target), bytes) === 0) return
    await this.#place(target, bytes)
  }

  async #makeFolder(folder: string): Promise<void> {
    if (this.#touched.has(folder)) return
    await mkdir(folder, { recursive: true })
    for (let each = folder; each !== this.path; each = dirname(each)) this.#touched.add(each)
  }

  /** Writes beside, syncs, and gives it its name. */
  async #place(target: string, bytes: Uint8Array | string): Promise<void> {
    const temporary = join(this.path, OWN_FOLDER, 'new', String(this.#temporary++))
    const handle = await open(temporary, 'wx', 0o644)
    try {
      await handle.writeFile(bytes)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, target)
    this.written++
  }

  /** Waits for what is being written, however that ends: nothing goes on behind the lock. */
  async quiet(): Promise<void> {
    await Promise.all(this.#writing)
  }

  /** Tiles durable, then what they replace removed (if that is wanted), then the checkpoint: the order that a crash may cut anywhere. */
  async finish(note: string, keepPartials: boolean): Promise<void> {
    await this.quiet()
    this.#throwFailure()
    await this.#doing(async () => {
      for (const folder of this.#touched) await syncFolder(folder)
      await syncFolder(this.path)
      if (!keepPartials) {
        for (const folder of this.#superseded) {
          await rm(folder, { recursive: true, force: true })
          await syncFolder(dirname(folder))
          this.removed++
        }
      }
      const before = await bytesAt(join(this.path, CHECKPOINT))
      if (before === null || Buffer.compare(before, Buffer.from(note)) !== 0) await this.#place(join(this.path, CHECKPOINT), note)
      await syncFolder(this.path)
      await rm(join(this.path, OWN_FOLDER, 'new'), { recursive: true, force: true })
    })
  }
}
