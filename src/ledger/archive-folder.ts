/** Archive files in a folder, each under its name; or in memory, for a ledger that is gone with its process. */
import { createHash, randomBytes } from 'node:crypto'
import { link, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { requireArchiveName, requireArchivePrefix, requireRange } from './archive.ts'
import type { ArchiveContent, ArchiveFile, ArchiveStore, ByteRange, WrittenFile } from './archive.ts'
import { syncFolder } from './durable-file.ts'
import { asStorageError, isMissing, LedgerError } from './errors.ts'

/** One read. Bytes. */
const READ_BYTES = 262_144
/** What is being written has a name that no archive file has. */
const PART = /^\.part-[0-9a-f]{12}$/

function taken(location: string, name: string): LedgerError {
  return new LedgerError('already_exists', `${location} has another file ${name} already: archive files are written once`, {
    location,
    file: name,
  })
}

function notThere(location: string, name: string): LedgerError {
  return new LedgerError('not_found', `${location} has no file ${name}: restore it from a backup of the archive`, { location, file: name })
}

function tooShort(location: string, name: string, bytes: number, end: number): LedgerError {
  return new LedgerError('damaged', `${name} in ${location} has ${bytes} bytes, not ${end}: restore it from a backup of the archive`, {
    location,
    file: name,
  })
}

function refuse(location: string): Promise<never> {
  return Promise.reject(new LedgerError('read_only', `${location} was opened for reading: open it without readOnly to archive`))
}

/** An archive in a folder. */
export interface FolderArchive extends ArchiveStore {
  /** Removes what a write left that was cut short: it may hold what is to be erased. Not while another process writes here. */
  removeLeftovers(): Promise<void>
}

/**
 * The folder is made when first something is written; the one above it must be there.
 * @param readOnly writing and removing is refused
 */
export function archiveInFolder(folder: string, readOnly: boolean): FolderArchive {
  return new Folder(folder, readOnly)
}

class Folder implements FolderArchive {
  readonly location: string
  readonly #readOnly: boolean
  /** Names of what this process is writing. */
  readonly #parts = new Set<string>()

  constructor(folder: string, readOnly: boolean) {
    this.location = folder
    this.#readOnly = readOnly
  }

  #path(name: string): string {
    requireArchiveName(name)
    return join(this.location, ...name.split('/'))
  }

  async write(name: string, content: ArchiveContent, size?: number): Promise<WrittenFile> {
    const path = this.#path(name)
    if (this.#readOnly) return refuse(this.location)
    const part = `.part-${randomBytes(6).toString('hex')}`
    const folder = dirname(path)
    const aside = join(folder, part)
    this.#parts.add(part)
    try {
      await this.#make(folder)
      const written = await writeAll(aside, content)
      requireSize(name, written.bytes, size)
      // Crash point: a part without a name, which the next opening removes.
      await this.#name(aside, path, name, written)
      await syncFolder(folder)
      return written
    } catch (error) {
      throw asArchiveError(error, `writing ${name} in ${this.location}`)
    } finally {
      await rm(aside, { force: true }).catch(() => {})
      this.#parts.delete(part)
    }
  }

  async #make(folder: string): Promise<void> {
    if ((await mkdir(folder, { recursive: true })) === undefined) return
    for (let made = folder; ; made = dirname(made)) {
      await syncFolder(dirname(made))
      if (made === this.location) return
    }
  }

  /** Never over a file that is there. */
  async #name(aside: string, path: string, name: string, written: WrittenFile): Promise<void> {
    try {
      await link(aside, path)
    } catch (error) {
      const { code } = error as { code?: unknown }
      if (code === 'EEXIST' || (await isThere(path))) {
        if ((await digestOf(path)) !== written.sha256) throw taken(this.location, name)
        return
      }
      // A file system without hard links.
      if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes(String(code))) throw error
      await rename(aside, path)
    }
  }

  async *read(name: string, range?: ByteRange): AsyncGenerator<Uint8Array, void, undefined> {
    const path = this.#path(name)
    if (range !== undefined) requireRange(range)
    let handle: FileHandle | null = null
    try {
      handle = await open(path, 'r')
      const { size } = await handle.stat()
      const { start, end } = range ?? { start: 0, end: size }
      if (end > size) throw tooShort(this.location, name, size, end)
      yield* blocksOf(handle, start, end)
    } catch (error) {
      throw isMissing(error) ? notThere(this.location, name) : asArchiveError(error, `reading ${name} in ${this.location}`)
    } finally {
      await handle?.close()
    }
  }

  async stat(name: string): Promise<ArchiveFile | null> {
    const path = this.#path(name)
    try {
      const facts = await stat(path)
      return facts.isFile() ? { name, bytes: facts.size } : null
    } catch (error) {
      if (isMissing(error)) return null
      throw asStorageError(error, `looking for ${name} in ${this.location}`)
    }
  }

  async *list(prefix: string): AsyncGenerator<ArchiveFile, void, undefined> {
    requireArchivePrefix(prefix)
    for (const name of await this.#names()) {
      if (!name.startsWith(prefix) || basename(name).startsWith('.')) continue
      const file = await this.stat(name)
      if (file !== null) yield file
    }
  }

  /** Relative, with `/`; folders too. */
  async #names(): Promise<string[]> {
    try {
      return (await readdir(this.location, { recursive: true })).map((name) => name.replaceAll('\\', '/'))
    } catch (error) {
      if (isMissing(error)) return []
      throw asStorageError(error, `listing ${this.location}`)
    }
  }

  async remove(name: string): Promise<void> {
    const path = this.#path(name)
    if (this.#readOnly) return refuse(this.location)
    try {
      await rm(path, { force: true })
      await syncFolder(dirname(path))
    } catch (error) {
      if (!isMissing(error)) throw asStorageError(error, `removing ${name} in ${this.location}`)
    }
  }

  async removeLeftovers(): Promise<void> {
    const left = (await this.#names()).filter((name) => PART.test(basename(name)) && !this.#parts.has(basename(name)))
    if (left.length === 0) return
    try {
      for (const name of left) {
        const path = join(this.location, name)
        await rm(path, { force: true })
        await syncFolder(dirname(path))
      }
    } catch (error) {
      throw asStorageError(error, `clearing up ${this.location}`)
    }
  }
}

/** What the content's own source throws stays as it is; what the disk says gets its code. */
function asArchiveError(error: unknown, doing: string): unknown {
  return typeof (error as { code?: unknown }).code === 'string' ? asStorageError(error, doing) : error
}

async function isThere(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null)) !== null
}

/** @throws RangeError where there is more or less of it than was said */
function requireSize(name: string, bytes: number, size: number | undefined): void {
  if (size !== undefined && bytes !== size) throw new RangeError(`the content of ${name} has ${bytes} bytes, and ${size} were announced`)
}

async function writeAll(path: string, content: ArchiveContent): Promise<WrittenFile> {
  const digest = createHash('sha256')
  let bytes = 0
  const handle = await open(path, 'wx')
  try {
    for await (const chunk of content instanceof Uint8Array ? [content] : content) {
      for (let done = 0; done < chunk.length;) done += (await handle.write(chunk, done, chunk.length - done, bytes + done)).bytesWritten
      digest.update(chunk)
      bytes += chunk.length
    }
    await handle.sync()
  } finally {
    await handle.close()
  }
  return { bytes, sha256: digest.digest('hex') }
}

async function* blocksOf(handle: FileHandle, start: number, end: number): AsyncGenerator<Uint8Array, void, undefined> {
  for (let at = start; at < end;) {
    // Fresh memory for each: it is handed out.
    const block = Buffer.allocUnsafeSlow(Math.min(READ_BYTES, end - at))
    const { bytesRead } = await handle.read(block, 0, block.length, at)
    if (bytesRead === 0) throw Object.assign(new Error(`the file ends at ${at}`), { code: 'EIO' })
    at += bytesRead
    yield block.subarray(0, bytesRead)
  }
}

async function digestOf(path: string): Promise<string> {
  const digest = createHash('sha256')
  const handle = await open(path, 'r')
  try {
    for await (const block of blocksOf(handle, 0, (await handle.stat()).size)) digest.update(block)
  } finally {
    await handle.close()
  }
  return digest.digest('hex')
}

/** Of a ledger that is gone with its process, or has no place for files. */
export function archiveInMemory(location = 'memory:', readOnly = false): FolderArchive {
  const files = new Map<string, Uint8Array>()
  return {
    location,

    async write(name, content, size) {
      requireArchiveName(name)
      if (readOnly) return refuse(location)
      const chunks: Uint8Array[] = []
      for await (const chunk of content instanceof Uint8Array ? [content] : content) chunks.push(Uint8Array.from(chunk))
      const bytes = Buffer.concat(chunks)
      requireSize(name, bytes.length, size)
      const there = files.get(name)
      if (there !== undefined && !bytes.equals(there)) throw taken(location, name)
      files.set(name, bytes)
      return { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }
    },

    async *read(name, range) {
      requireArchiveName(name)
      if (range !== undefined) requireRange(range)
      const bytes = files.get(name)
      if (bytes === undefined) throw notThere(location, name)
      const { start, end } = range ?? { start: 0, end: bytes.length }
      if (end > bytes.length) throw tooShort(location, name, bytes.length, end)
      for (let at = start; at < end; at += READ_BYTES) yield bytes.slice(at, Math.min(end, at + READ_BYTES))
    },

    async stat(name) {
      requireArchiveName(name)
      const bytes = files.get(name)
      return bytes === undefined ? null : { name, bytes: bytes.length }
    },

    async *list(prefix) {
      requireArchivePrefix(prefix)
      for (const [name, { length }] of files) if (name.startsWith(prefix)) yield { name, bytes: length }
    },

    async remove(name) {
      requireArchiveName(name)
      if (readOnly) return refuse(location)
      files.delete(name)
    },

    async removeLeftovers() {},
  }
}
