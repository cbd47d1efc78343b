/** Opening and creating a JSONL ledger. */
import { accessSync, constants } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { LedgerError } from '../../ledger/errors.ts'
import type { Store } from '../../ledger/store.ts'
import { asFileError, nodeFiles, writeFully } from './files.ts'
import type { FilePort } from './files.ts'
import { archiveOf, inspectFolder, MARKER_FILE, MARKER_TEXT, SEGMENTS } from './layout.ts'
import { LedgerIndex } from './ledger-index.ts'
import { acquireLock } from './lock.ts'
import type { WriterLock } from './lock.ts'
import { loadOverlay } from './lookups.ts'
import { LASTING_GENERATION } from './overlay.ts'
import { folderOf, ReadingStore } from './reading-store.ts'
import { recover } from './recovery.ts'
import { removeLeftovers } from './rewriting.ts'
import { sealFinished } from './segment-writer.ts'
import { WritingStore } from './writing-store.ts'

export const SEGMENT_BYTES_DEFAULT = 100_000_000

export interface JsonlOptions {
  /** Any number of processes may read, also while one writes. A single `.jsonl` file can be opened only so. */
  readonly readOnly?: boolean
  /** Make a new ledger where nothing is. Default: true unless `readOnly`. */
  readonly create?: boolean
  /** Bytes after which a segment is sealed and a new one begun. Default 100,000,000. */
  readonly segmentBytes?: number
  /**
   * `background` (default): an index in `index.db` follows behind the appends. `off`: queries scan, and a writer keeps
   * every run_id in memory, for which opening reads the whole ledger.
   */
  readonly index?: 'background' | 'off'
  /** For tests: the operations on files. The lock and the index are SQLite's and use the file system. */
  readonly files?: FilePort
}

/**
 * Opens the ledger in a folder; with `readOnly` also one exported file of lines.
 *
 * A process that writes a ledger must not copy its folder by itself: opening and closing `writer.lock` would drop its
 * lock (lock.ts). Copy `segments/`, which is all that counts, or let another process do it.
 * @throws LedgerError `not_found` | `not_a_ledger` | `newer_format` | `locked` | `damaged` | `read_only` | `disk_full` | `io_error`
 */
export async function openJsonlStore(path: string, options: JsonlOptions = {}): Promise<Store> {
  const location = resolve(path)
  const segmentBytes = options.segmentBytes ?? SEGMENT_BYTES_DEFAULT
  if (!(segmentBytes >= 1)) throw new RangeError('segmentBytes must be at least 1')
  try {
    return options.readOnly === true ? await openToRead(location, options) : await openToWrite(location, segmentBytes, options)
  } catch (error) {
    throw asFileError(error, `opening ${location}`)
  }
}

function notFound(location: string): LedgerError {
  return new LedgerError('not_found', `no ledger at ${location}: check the path, or create one`, { location })
}

async function openToRead(location: string, { files = nodeFiles, index = 'background' }: JsonlOptions): Promise<Store> {
  const facts = await files.facts(location)
  if (facts === null) throw notFound(location)
  if (facts.kind === 'file') return openExport(location, files)
  if ((await inspectFolder(files, location)) === 'empty') throw notFound(location)
  const ledgerIndex = index === 'off' ? null : await LedgerIndex.open(location, mayWrite(location) ? 'helper' : 'guest')
  return new ReadingStore({ files, location, isLedger: true, list: folderOf(files, location), index: ledgerIndex })
}

/** One file of lines, such as `export` writes. Its name says nothing, so its first position is that of its first line. */
async function openExport(location: string, files: FilePort): Promise<Store> {
  const file = await files.open(location, 'read')
  await file.close()
  const segments = [{ first_seq: 0, name: basename(location), path: location }]
  return new ReadingStore({ files, location, isLedger: false, list: async () => segments, index: null })
}

function mayWrite(dir: string): boolean {
  try {
    accessSync(dir, constants.W_OK)
    return true
  } catch {
    return false
  }
}

async function openToWrite(dir: string, segmentBytes: number, options: JsonlOptions): Promise<Store> {
  const { files = nodeFiles, create = true } = options
  const found = await inspectFolder(files, dir)
  if (found !== 'ledger' && !create) throw notFound(dir)
  if (found === 'absent') await makeFolders(files, dir)
  const lock = await acquireLock(files, dir)
  let index: LedgerIndex | null = null
  try {
    if (found !== 'ledger') await createLedger(files, dir)
    else await files.makeFolder(join(dir, SEGMENTS))
    if (options.index !== 'off') index = await LedgerIndex.open(dir, 'owner')
    return await openLocked(dir, segmentBytes, files, lock, index)
  } catch (error) {
    await index?.close(null)
    await lock.release()
    throw error
  }
}

async function openLocked(dir: string, segmentBytes: number, files: FilePort, lock: WriterLock, index: LedgerIndex | null): Promise<Store> {
  const recovery = await recover(files, dir, (await index?.durable()) ?? null)
  try {
    // A creation that was cut short, by whoever, may have left names that are in no folder on the disk yet.
    if (recovery.head.size === 0) await syncFolders(files, dir)
    await sealFinished(files, recovery.segments)
    await removeLeftovers(files, dir)
    await archiveOf(files, dir, false).removeLeftovers()
    const end = { segments: recovery.segments, byte: recovery.live?.length ?? 0, head: recovery.head, damage: null }
    const overlay = index === null ? await loadOverlay(files, end, 0, LASTING_GENERATION) : null
    const position = (await index?.position()) ?? null
    // It goes further than what was whole: some reader's work, of lines that are gone now.
    if (position !== null && position.seq >= recovery.head.size) index?.discard()
    const indexed = position === null || position.seq >= recovery.head.size ? 0 : position.seq + 1
    return new WritingStore({ files, dir, lock, recovery, segmentBytes, index, indexed, overlay, canBlock: files === nodeFiles })
  } catch (error) {
    await recovery.live?.file.close()
    throw error
  }
}

async function makeFolders(files: FilePort, dir: string): Promise<void> {
  if ((await files.facts(dirname(dir))) === null) await makeFolders(files, dirname(dir))
  await files.makeFolder(dir)
}

async function createLedger(files: FilePort, dir: string): Promise<void> {
  await files.makeFolder(join(dir, SEGMENTS))
  // It needs no sync: one that is lost or torn is missed by nobody where there are segments.
  const marker = await files.open(join(dir, MARKER_FILE), 'replace')
  try {
    await writeFully(marker, Buffer.from(MARKER_TEXT), 0)
  } finally {
    await marker.close()
  }
}

/** The names that lead to the segments, down from the first folder that was surely there before. */
async function syncFolders(files: FilePort, dir: string): Promise<void> {
  await files.syncFolder(dir, 'create-ledger')
  for (let folder = dirname(dir); ; folder = dirname(folder)) {
    try {
      await files.syncFolder(folder, 'create-folder')
    } catch (error) {
      // A folder that this user may not read is none that this user has just made.
      if (['EACCES', 'EPERM'].includes(String((error as { code?: unknown }).code))) return
      throw error
    }
    if (dirname(folder) === folder) return
  }
}
