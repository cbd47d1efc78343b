/** An archive in a directory. A file is there whole, under its name, or not at all, also after a power cut. */
import { createHash, randomBytes } from 'node:crypto'
import { link, open, readdir, rename, rm, stat } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { requireArchiveName, requireArchivePrefix, requireRange } from '../ledger/archive.ts'
import type { ArchiveContent, ArchiveFile, ArchiveStore, ByteRange, WrittenFile } from '../ledger/archive.ts'
import { makeFolder, syncFolder } from '../ledger/durable-file.ts'
import { asStorageError, isMissing, LedgerError } from '../ledger/errors.ts'
import { alreadyExists, chunksOf, digestOf, requireSize } from './content.ts'

const READ_BYTES = 256 * 1024
/** What was left by a process that ended in the middle is taken away by the next write of its name, once nobody can be at it. */
const LEFT_BEHIND_MS = 24 * 60 * 60 * 1000

const codeOf = (error: unknown): unknown => (error as { code?: unknown }).code

class DirectoryArchive implements ArchiveStore {
  readonly location: string

  constructor(path: string) {
    this.location = path
  }

  async write(name: string, content: ArchiveContent, size?: number): Promise<WrittenFile> {
    requireArchiveName(name)
    const path = this.#path(name)
    const folder = dirname(path)
    try {
      await this.#requireRoot()
      await makeFolder(folder)
      await removeLeftBehind(folder, basename(path))
      // No name of an archive file begins with a dot, so nobody lists it.
      const aside = join(folder, `.${basename(path)}.${randomBytes(8).toString('hex')}.part`)
      try {
        const written = await this.#fill(aside, name, content, size)
        if (await takesName(aside, path)) await syncFolder(folder)
        else await this.#requireSame(name, written)
        return written
      } finally {
        await rm(aside, { force: true })
      }
    } catch (error) {
      throw asArchiveError(error, `writing ${path}`)
    }
  }

  async *read(name: string, range?: ByteRange): AsyncGenerator<Uint8Array, void, undefined> {
    requireArchiveName(name)
    if (range !== undefined) requireRange(range)
    const path = this.#path(name)
    let file: FileHandle
    try {
      file = await open(path, 'r')
    } catch (error) {
      throw asArchiveError(error, `opening ${path}`)
    }
    try {
      const end = range?.end ?? (await file.stat()).size
      for (let at = range?.start ?? 0; at < end;) {
        const { buffer, bytesRead } = await file.read(new Uint8Array(Math.min(READ_BYTES, end - at)), 0, null, at)
        if (bytesRead === 0)
          throw new LedgerError('damaged', `${path} ends at byte ${at}, before ${end}: it was cut. Take another copy of it`, {
            archive: this.location,
            file: name,
          })
        yield buffer.subarray(0, bytesRead)
        at += bytesRead
      }
    } catch (error) {
      throw asArchiveError(error, `reading ${path}`)
    } finally {
      await file.close()
    }
  }

  async stat(name: string): Promise<ArchiveFile | null> {
    requireArchiveName(name)
    try {
      const facts = await stat(this.#path(name))
      return facts.isFile() ? { name, bytes: facts.size } : null
    } catch (error) {
      if (!isMissing(error)) throw asArchiveError(error, `looking at ${this.#path(name)}`)
    }
    await this.#requireRoot()
    return null
  }

  async *list(prefix: string): AsyncGenerator<ArchiveFile, void, undefined> {
    requireArchivePrefix(prefix)
    await this.#requireRoot()
    const slash = prefix.lastIndexOf('/')
    yield* this.#listFolder(prefix.slice(0, slash + 1), prefix.slice(slash + 1))
  }

  async remove(name: string): Promise<void> {
    requireArchiveName(name)
    const path = this.#path(name)
    try {
      await rm(path, { force: true })
      await syncFolder(dirname(path))
    } catch (error) {
      if (!isMissing(error)) throw asArchiveError(error, `removing ${path}`)
      await this.#requireRoot()
    }
  }

  #path(name: string): string {
    return join(this.location, ...name.split('/'))
  }

  /** A directory that is not there is one that is not mounted, more often than an empty one: nothing is made in its place. */
  async #requireRoot(): Promise<void> {
    try {
      if ((await stat(this.location)).isDirectory()) return
    } catch (error) {
      if (!isMissing(error)) throw asArchiveError(error, `looking at ${this.location}`)
    }
    throw new LedgerError('not_found', `there is no directory ${this.location}: make it, or mount what it is on`, {
      archive: this.location,
    })
  }

  async #fill(aside: string, name: string, content: ArchiveContent, size: number | undefined): Promise<WrittenFile> {
    const file = await open(aside, 'wx', 0o600)
    try {
      const hash = createHash('sha256')
      let bytes = 0
      for await (const chunk of chunksOf(content)) {
        hash.update(chunk)
        await file.writeFile(chunk)
        bytes += chunk.length
      }
      requireSize(name, bytes, size)
      // Before it gets its name: else the name could come to stand for a file whose bytes never reached the disk.
      await file.sync()
      return { bytes, sha256: hash.digest('hex') }
    } finally {
      await file.close()
    }
  }

  async #requireSame(name: string, written: WrittenFile): Promise<void> {
    const there = await digestOf(this.read(name))
    if (there.sha256 !== written.sha256) throw alreadyExists(this.location, name)
    // Whoever wrote it may have ended before it was durable.
    const file = await open(this.#path(name), 'r')
    await file.sync().finally(() => file.close())
    await syncFolder(dirname(this.#path(name)))
  }

  async *#listFolder(folder: string, beginning: string): AsyncGenerator<ArchiveFile, void, undefined> {
    let entries
    try {
      entries = await readdir(join(this.location, folder), { withFileTypes: true })
    } catch (error) {
      if (isMissing(error)) return
      throw asArchiveError(error, `listing ${join(this.location, folder)}`)
    }
    for (const entry of entries) {
      if (entry.name.startsWith('.') || !entry.name.startsWith(beginning)) continue
      const name = folder + entry.name
      if (entry.isDirectory()) yield* this.#listFolder(`${name}/`, '')
      if (!entry.isFile()) continue
      const facts = await this.stat(name).catch((error: unknown) => {
        // A file of somebody else's, whose name is none of ours.
        if (error instanceof RangeError) return null
        throw error
      })
      if (facts !== null) yield facts
    }
  }
}

/** Gives the file its name, never in place of one that is there: false then. */
async function takesName(aside: string, path: string): Promise<boolean> {
  try {
    await link(aside, path)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(String(codeOf(error)))) throw error
  }
  // A file system without hard links, as of memory cards and some network shares.
  try {
    await stat(path)
    return false
  } catch (error) {
    if (!isMissing(error)) throw error
  }
  await rename(aside, path)
  return true
}

async function removeLeftBehind(folder: string, name: string): Promise<void> {
  const before = Date.now() - LEFT_BEHIND_MS
  for (const entry of await readdir(folder)) {
    if (!entry.startsWith(`.${name}.`) || !/^[0-9a-f]{16}\.part$/.test(entry.slice(name.length + 2))) continue
    const path = join(folder, entry)
    const facts = await stat(path).catch(() => null)
    if (facts !== null && facts.mtimeMs < before) await rm(path, { force: true })
  }
}

/** As `asStorageError`, where nothing is being recorded. */
function asArchiveError(error: unknown, doing: string): unknown {
  if (error instanceof LedgerError || error instanceof RangeError) return error
  const code = codeOf(error)
  if (typeof code !== 'string') return error
  const text = error instanceof Error ? error.message : code
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new LedgerError('disk_full', `no space left while ${doing}: free some space and do it again (${text})`, {
      cause: error,
      errno: code,
    })
  if (isMissing(error)) return new LedgerError('not_found', `no such file while ${doing} (${text})`, { cause: error, errno: code })
  return asStorageError(error, doing)
}

/** @throws nothing: whether the directory is there shows when it is used */
export function openDirectoryArchive(path: string): ArchiveStore {
  return new DirectoryArchive(path)
}
