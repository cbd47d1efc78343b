/**
 * The handful of file operations that durability depends on, as a port, so that tests can put in a disk that loses
 * power or fails at any step. Everything is asynchronous and every write names its position: nothing is ever opened
 * for appending, so repeating a write is harmless.
 */
import fs from 'node:fs'
import { promisify } from 'node:util'
import { asStorageError } from '../../ledger/errors.ts'

/**
 * Each place where something must be on the disk before the next step. Named, so that a test can leave out any one of
 * them and see the power-loss suite fail.
 */
export const SYNC_SITES = [
  /** A batch's bytes, before its callers hear of it. */
  'append',
  /** The name of a new segment's file, before the first batch in it counts. */
  'new-segment',
  /** A segment cut back after a failed write: what was refused must not come back. */
  'rollback',
  /** The live segment at opening: what a killed writer left in the page cache is believed from now on. */
  'opening',
  /** The name of the live segment at opening, for the same reason. */
  'opening-entry',
  /** Moved-aside bytes, before they are cut off the segment. */
  'torn-file',
  /** The name of the file that holds them. */
  'torn-entry',
  /** The folder of such files. */
  'torn-folder',
  /** The segment after the cut: else bytes of the torn tail could come back behind newer records. */
  'torn-cut',
  /** The ledger's own folder, with the folder of segments in it. */
  'create-ledger',
  /** The folders above a new ledger. */
  'create-folder',
] as const
/** The same of what is done to entries of sealed segments. */
export const REWRITE_SITES = [
  /** A segment's new file, before it takes the name: else a power loss could leave half of it under that name. */
  'rewritten',
  /** The name: what was said to be gone must not come back. */
  'rewritten-name',
  /** Names of files that were removed. */
  'removed',
] as const
export type SyncSite = (typeof SYNC_SITES)[number] | (typeof REWRITE_SITES)[number]

export interface OpenFile {
  /** The descriptor, for the blocking calls of a process that exits; null where there is none. */
  readonly fd: number | null
  /** Resolves to the number of bytes written, which may be fewer than given. */
  write(bytes: Uint8Array, position: number): Promise<number>
  /** Resolves to the number of bytes read, which may be fewer than there is room for; 0 at the end. */
  read(into: Uint8Array, position: number): Promise<number>
  size(): Promise<number>
  truncate(length: number): Promise<void>
  /** fdatasync: the bytes, and the size where it grew. */
  datasync(site: SyncSite): Promise<void>
  /** fsync. */
  sync(site: SyncSite): Promise<void>
  close(): Promise<void>
}

export interface FileFacts {
  readonly kind: 'file' | 'folder' | 'other'
  readonly size: number
  /** Permission bits. */
  readonly mode: number
  /** Of the last change of its bytes, where the file system tells it; ms. */
  readonly changed_ms: number
}

/** How to open: `create` is exclusive (fails where the file is), `replace` empties what is there. All but `read` write too. */
export type OpenMode = 'read' | 'write' | 'create' | 'replace'

export interface FilePort {
  open(path: string, mode: OpenMode): Promise<OpenFile>
  /** fsync of a folder: the names in it. */
  syncFolder(path: string, site: SyncSite): Promise<void>
  rename(from: string, to: string): Promise<void>
  chmod(path: string, mode: number): Promise<void>
  remove(path: string): Promise<void>
  /** Null where there is nothing. */
  facts(path: string): Promise<FileFacts | null>
  /** Names in a folder, in any order. */
  list(path: string): Promise<string[]>
  /** False where the folder was there already. The one above it must exist. */
  makeFolder(path: string): Promise<boolean>
}

const open = promisify(fs.open)
const close = promisify(fs.close)
const fstat = promisify(fs.fstat)
const ftruncate = promisify(fs.ftruncate)
const fdatasync = promisify(fs.fdatasync)
const fsync = promisify(fs.fsync)

/** A descriptor and callbacks: a FileHandle costs about 10 µs more for each write and sync. */
class NodeFile implements OpenFile {
  readonly fd: number

  constructor(fd: number) {
    this.fd = fd
  }

  write(bytes: Uint8Array, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.write(this.fd, bytes, 0, bytes.length, position, (error, written) => (error === null ? resolve(written) : reject(error)))
    })
  }

  read(into: Uint8Array, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.read(this.fd, into, 0, into.length, position, (error, read) => (error === null ? resolve(read) : reject(error)))
    })
  }

  async size(): Promise<number> {
    return (await fstat(this.fd)).size
  }

  truncate(length: number): Promise<void> {
    return ftruncate(this.fd, length)
  }

  datasync(): Promise<void> {
    return fdatasync(this.fd)
  }

  sync(): Promise<void> {
    return fsync(this.fd)
  }

  close(): Promise<void> {
    return close(this.fd)
  }
}

/** An open descriptor as a file of the port. */
export function fileOf(fd: number): OpenFile {
  return new NodeFile(fd)
}

const FLAGS: Readonly<Record<OpenMode, string>> = { read: 'r', write: 'r+', create: 'wx+', replace: 'w+' }

const hasCode = (error: unknown, ...codes: readonly string[]): boolean => codes.includes(String((error as { code?: unknown }).code))

/** The file system. */
export const nodeFiles: FilePort = {
  async open(path, mode) {
    return fileOf(await open(path, FLAGS[mode]))
  },
  async syncFolder(path) {
    // Windows opens no folders; its file systems write names through by themselves.
    if (process.platform === 'win32') return
    const fd = await open(path, 'r')
    try {
      await fsync(fd)
    } catch (error) {
      // Some network and FUSE file systems have no fsync of folders: nothing better can be done there.
      if (!hasCode(error, 'EINVAL', 'ENOTSUP')) throw error
    } finally {
      await close(fd)
    }
  },
  rename: fs.promises.rename,
  chmod: fs.promises.chmod,
  remove: fs.promises.unlink,
  async facts(path) {
    try {
      const facts = await fs.promises.stat(path)
      const kind = facts.isFile() ? 'file' : facts.isDirectory() ? 'folder' : 'other'
      return { kind, size: facts.size, mode: facts.mode & 0o7777, changed_ms: facts.mtimeMs }
    } catch (error) {
      if (hasCode(error, 'ENOENT', 'ENOTDIR')) return null
      throw error
    }
  },
  list: (path) => fs.promises.readdir(path),
  async makeFolder(path) {
    try {
      await fs.promises.mkdir(path)
      return true
    } catch (error) {
      if (hasCode(error, 'EEXIST')) return false
      throw error
    }
  },
}

/** A failed file operation as a LedgerError; a mistake of the caller, or one of ours, is no trouble of the disk and stays as it is. */
export function asFileError(error: unknown, doing: string): unknown {
  return error instanceof TypeError || error instanceof RangeError ? error : asStorageError(error, doing)
}

/** Writes all of `bytes`, over short writes. */
export async function writeFully(file: OpenFile, bytes: Uint8Array, position: number): Promise<void> {
  let done = await file.write(bytes, position)
  while (done < bytes.length) {
    const written = await file.write(bytes.subarray(done), position + done)
    // A write of nothing that is no error would loop for ever.
    if (written === 0) throw Object.assign(new Error('the file takes no more bytes'), { code: 'EIO' })
    done += written
  }
}

/** Reads until `into` is full or the file ends; resolves to the number of bytes. */
export async function readFully(file: OpenFile, into: Uint8Array, position: number): Promise<number> {
  let done = 0
  while (done < into.length) {
    const read = await file.read(done === 0 ? into : into.subarray(done), position + done)
    if (read === 0) break
    done += read
  }
  return done
}
