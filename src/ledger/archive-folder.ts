/** Archive files in a folder, each under its name. A file is there whole or not at all, also after a power cut. */
import { randomBytes } from 'node:crypto'
import { link, open, readdir, rename, rm, stat } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { isArchiveName, requireArchiveName, requireArchivePrefix, requireRange } from './archive.ts'
import type { ArchiveContent, ArchiveFile, ArchiveStore, ByteRange, WrittenFile } from './archive.ts'
import { alreadyExists, digestOf, noSuchFile, readOnlyArchive, requireSize, tooShort } from './archive-content.ts'
import { makeFolder, removeText, syncFolder } from './durable-file.ts'
import { asStorageError, isMissing, LedgerError } from './errors.ts'

/** One read. Bytes. */
const READ_BYTES = 262_144
/** What is being written of `<name>`: no archive file is named so, so nobody lists it. */
const PART = /^\.(.+)\.[0-9a-f]{16}\.part$/

export interface FolderRules {
  /** Writing and removing is refused. */
  readonly readOnly?: boolean
  /** Files and folders get what the process gives (its umask), as other files of a ledger do; else they are the owner's alone. */
  readonly sharesModes?: boolean
}

export interface Leftovers {
  /** Of this file alone. */
  readonly of?: string
  /** Last written before this time, in Unix ms. */
  readonly before?: number
}

/** An archive in a folder. */
export interface FolderArchive extends ArchiveStore {
  /**
   * Removes what a write left that was cut short: it may hold what is to be erased. What this process is writing stays;
   * where another process may be writing, say `before`.
   */
  removeLeftovers(which?: Leftovers): Promise<void>
}

/** The folder is made when first something is written, and those above it. */
export function archiveInFolder(folder: string, rules: FolderRules = {}): FolderArchive {
  return new Folder(folder, rules)
}

class Folder implements FolderArchive {
  readonly location: string
  readonly #rules: FolderRules
  /** Names of what this process is writing. */
  readonly #parts = new Set<string>()

  constructor(folder: string, rules: FolderRules) {
    this.location = folder
    this.#rules = rules
  }

  #path(name: string): string {
    requireArchiveName(name)
    return join(this.location, ...name.split('/'))
  }

  async write(name: string, content: ArchiveContent, size?: number): Promise<WrittenFile> {
    const path = this.#path(name)
    if (this.#rules.readOnly === true) throw readOnlyArchive(this.location)
    const folder = dirname(path)
    const part = `.${basename(path)}.${randomBytes(8).toString('hex')}.part`
    const aside = join(folder, part)
    this.#parts.add(part)
    try {
      await makeFolder(folder, this.#rules.sharesModes === true ? 0o777 : 0o700)
      const written = await this.#fill(aside, content)
      requireSize(name, written.bytes, size)
      // Crash point: a part without a name, for `removeLeftovers`.
      if (!(await takesName(aside, path))) await this.#requireSame(name, written)
      await syncFolder(folder)
      return written
    } catch (error) {
      throw asArchiveError(error, `writing ${name} in ${this.location}`)
    } finally {
      await rm(aside, { force: true }).catch(() => {})
      this.#parts.delete(part)
    }
  }

  async #fill(aside: string, content: ArchiveContent): Promise<WrittenFile> {
    const file = await open(aside, 'wx', this.#rules.sharesModes === true ? 0o666 : 0o600)
    try {
      const written = await digestOf(content, (chunk) => file.writeFile(chunk))
      // Before it gets its name: else the name could come to stand for a file whose bytes never reached the disk.
      await file.sync()
      return written
    } finally {
      await file.close()
    }
  }

  async #requireSame(name: string, written: WrittenFile): Promise<void> {
    if ((await digestOf(this.read(name))).sha256 !== written.sha256) throw alreadyExists(this.location, name)
    // Whoever wrote it may have ended before it was durable.
    const file = await open(this.#path(name), 'r')
    await file.sync().finally(() => file.close())
  }

  async *read(name: string, range?: ByteRange): AsyncGenerator<Uint8Array, void, undefined> {
    const path = this.#path(name)
    if (range !== undefined) requireRange(range)
    let file: FileHandle | null = null
    try {
      file = await open(path, 'r')
      const { size } = await file.stat()
      const { start, end } = range ?? { start: 0, end: size }
      if (end > size) throw tooShort(this.location, name, size, end)
      for (let at = start; at < end;) {
        // Fresh memory for each: it is handed out.
        const { buffer, bytesRead } = await file.read(new Uint8Array(Math.min(READ_BYTES, end - at)), 0, null, at)
        // Cut since its size was looked at.
        if (bytesRead === 0) throw tooShort(this.location, name, at, end)
        yield buffer.subarray(0, bytesRead)
        at += bytesRead
      }
    } catch (error) {
      throw isMissing(error) ? noSuchFile(this.location, name) : asArchiveError(error, `reading ${name} in ${this.location}`)
    } finally {
      await file?.close()
    }
  }

  async stat(name: string): Promise<ArchiveFile | null> {
    const path = this.#path(name)
    try {
      const facts = await stat(path)
      return facts.isFile() ? { name, bytes: facts.size } : null
    } catch (error) {
      if (isMissing(error)) return null
      throw asArchiveError(error, `looking for ${name} in ${this.location}`)
    }
  }

  async *list(prefix: string): AsyncGenerator<ArchiveFile, void, undefined> {
    requireArchivePrefix(prefix)
    for await (const name of this.#files(prefix)) {
      const facts = isArchiveName(name) ? await this.stat(name) : null
      if (facts !== null) yield facts
    }
  }

  /** Files whose names begin so, with `/` on every platform, and parts and those of others among them. */
  async *#files(prefix: string): AsyncGenerator<string, void, undefined> {
    const end = prefix.lastIndexOf('/') + 1
    const [folder, beginning] = [prefix.slice(0, end), prefix.slice(end)]
    let entries
    try {
      entries = await readdir(join(this.location, folder), { withFileTypes: true })
    } catch (error) {
      if (isMissing(error)) return
      throw asArchiveError(error, `listing ${join(this.location, folder)}`)
    }
    for (const entry of entries) {
      if (!entry.name.startsWith(beginning)) continue
      const name = folder + entry.name
      if (entry.isFile()) yield name
      // Another one holds no archive file, and may not even be ours to look into.
      else if (entry.isDirectory() && isArchiveName(name)) yield* this.#files(`${name}/`)
    }
  }

  async remove(name: string): Promise<void> {
    const path = this.#path(name)
    if (this.#rules.readOnly === true) throw readOnlyArchive(this.location)
    await removeText(path)
  }

  async removeLeftovers({ of, before = Infinity }: Leftovers = {}): Promise<void> {
    const start = of === undefined ? 0 : of.lastIndexOf('/') + 1
    const prefix = of === undefined ? '' : `${of.slice(0, start)}.${of.slice(start)}.`
    for await (const name of this.#files(prefix)) {
      const part = basename(name)
      const whole = PART.exec(part)?.[1]
      if (whole === undefined || this.#parts.has(part) || (of !== undefined && whole !== of.slice(start))) continue
      const path = join(this.location, name)
      const facts = await stat(path).catch(() => null)
      if (facts !== null && facts.mtimeMs < before) await removeText(path)
    }
  }
}

/** Gives the file its name, never in place of one that is there: false then. */
async function takesName(aside: string, path: string): Promise<boolean> {
  try {
    await link(aside, path)
    return true
  } catch (error) {
    const code = String((error as { code?: unknown }).code)
    if (code === 'EEXIST') return false
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(code)) throw error
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

/** As `asStorageError`, where nothing is being recorded. What the content's own source throws stays as it is. */
function asArchiveError(error: unknown, doing: string): unknown {
  const { code } = error as { code?: unknown }
  if (error instanceof LedgerError || error instanceof RangeError || typeof code !== 'string') return error
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return asStorageError(error, doing)
  const text = error instanceof Error ? error.message : code
  return new LedgerError('disk_full', `no space left while ${doing}: free some space and do it again (${text})`, {
    cause: error,
    errno: code,
  })
}
