/**
 * A JSONL ledger's folder:
 *
 *     segments/<20-digit position of its first record>.jsonl   the records: these alone are the truth
 *     ledger.json                                              says that the folder is a ledger
 *     writer.lock, writer.json                                 who writes (lock.ts)
 *     index.db                                                 derived, can be deleted at any time
 *     text.db                                                  the full-text index, derived too (src/stores/text)
 *     tree/                                                    the Merkle tree, derived too (src/stores/tree)
 *     snapshots/                                               states of projections, derived
 *     keys.db                                                  data keys of encrypted entries, wrapped (src/stores/keys)
 *     replica.json                                             says that the ledger is the copy of another one
 *     entries/                                                 archive files that lie in the ledger itself
 *     names/                                                   what withheld entries name (kept-names.ts)
 *     reserve                                                  takes room for when the disk is full (src/stores/disk)
 *     torn/<20-digit position>-<n>.bin                         bytes that recovery moved aside
 *
 * In `segments` a file may also end in `.jsonl.next`: a segment that is being rewritten, of no meaning to a reader.
 */
import { join } from 'node:path'
import { dataKeysInMemory } from '../../ledger/data-keys-in-memory.ts'
import { LedgerError } from '../../ledger/errors.ts'
import { archiveInFolder } from '../../ledger/archive-folder.ts'
import type { FolderArchive } from '../../ledger/archive-folder.ts'
import { archiveInMemory } from '../../ledger/archive-in-memory.ts'
import { replicaFile, replicaInMemory } from '../../ledger/replica-mark.ts'
import { snapshotFilesIn, snapshotsInMemory } from '../../ledger/snapshot-files.ts'
import type { ReplicaMark, SnapshotFiles, TreeFiles } from '../../ledger/store.ts'
import { dataKeysIn } from '../keys/key-file.ts'
import type { DataKeyFile } from '../keys/key-file.ts'
import { treeFilesIn } from '../tree/tree-files.ts'
import { treeInMemory } from '../tree/tree-in-memory.ts'
import { nodeFiles, readFully } from './files.ts'
import type { FilePort } from './files.ts'

export const SEGMENTS = 'segments'
export const TORN = 'torn'
export const LOCK_FILE = 'writer.lock'
export const WRITER_FILE = 'writer.json'
export const INDEX_FILE = 'index.db'
export const MARKER_FILE = 'ledger.json'
export const TREE = 'tree'
export const SNAPSHOTS = 'snapshots'
export const KEYS_FILE = 'keys.db'
export const ENTRIES = 'entries'
export const NAMES = 'names'
export const REPLICA_FILE = 'replica.json'
export const RESERVE_FILE = 'reserve'

/** A longer line is no record: an entry of 16 MiB, a header, signatures, and room to spare. Bytes. */
export const LINE_BYTES_MAX = 17 * 1024 * 1024

const FORMAT = 'cortex-ledger/v1'
const DIGITS = 20

export interface Segment {
  /** The position that its name promises for its first record. */
  readonly first_seq: number
  /** Relative to the ledger, with `/` on every platform. */
  readonly name: string
  readonly path: string
}

export function padSeq(seq: number): string {
  return String(seq).padStart(DIGITS, '0')
}

export function segmentAt(dir: string, first_seq: number): Segment {
  const file = `${padSeq(first_seq)}.jsonl`
  return { first_seq, name: `${SEGMENTS}/${file}`, path: join(dir, SEGMENTS, file) }
}

/** The position in a segment's file name, or null for a name that is none. */
export function parseSegmentFile(file: string): number | null {
  const digits = /^(\d{20})\.jsonl$/.exec(file)?.[1]
  if (digits === undefined) return null
  const first_seq = Number(digits)
  return Number.isSafeInteger(first_seq) ? first_seq : null
}

/** True for the name of a segment's new file that has not taken its place yet. */
export function isAsideFile(file: string): boolean {
  return /^\d{20}\.jsonl\.next$/.test(file)
}

/** Segments in the order of position; none where the folder is not there. Other files in it are left alone. */
export async function listSegments(files: FilePort, dir: string): Promise<Segment[]> {
  let names: string[]
  try {
    names = await files.list(join(dir, SEGMENTS))
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ENOENT') return []
    throw error
  }
  const positions = names.map(parseSegmentFile).filter((first_seq) => first_seq !== null)
  return positions.sort((a, b) => a - b).map((first_seq) => segmentAt(dir, first_seq))
}

const isOwnName = (name: string): boolean =>
  [SEGMENTS, TORN, TREE, LOCK_FILE, WRITER_FILE, MARKER_FILE, RESERVE_FILE].includes(name) ||
  name.startsWith(`${INDEX_FILE}`) ||
  name.startsWith(REPLICA_FILE) ||
  name.startsWith(KEYS_FILE) ||
  name === `${LOCK_FILE}-journal`

/**
 * What is at `dir`. `empty`: an empty folder, or one in which creating a ledger was cut short. Nothing is written here.
 * @throws LedgerError `not_a_ledger` | `newer_format`
 */
export async function inspectFolder(files: FilePort, dir: string): Promise<'absent' | 'empty' | 'ledger'> {
  const facts = await files.facts(dir)
  if (facts === null) return 'absent'
  if (facts.kind !== 'folder')
    throw new LedgerError('not_a_ledger', `${dir} is not a folder: give the path of a ledger's folder`, { location: dir })
  // A file system's own folder at the root of a volume says nothing about the rest.
  const names = (await files.list(dir)).filter((name) => name !== 'lost+found')
  const format = names.includes(MARKER_FILE) ? await readFormat(files, join(dir, MARKER_FILE)) : null
  if (format === FORMAT) return 'ledger'
  if (format !== null && format.startsWith('cortex-ledger/')) {
    throw new LedgerError(
      'newer_format',
      `${dir} is a ledger of format ${format}, this version knows ${FORMAT}: use a newer cortex-ledger`,
      {
        location: dir,
        format,
      },
    )
  }
  // The segments alone suffice: a marker that was lost, or torn when its power failed, hides no record.
  if (names.includes(SEGMENTS) && (await listSegments(files, dir)).length > 0) return 'ledger'
  const foreign = names.filter((name) => !isOwnName(name))
  if (foreign.length > 0 || (names.includes(SEGMENTS) && (await files.list(join(dir, SEGMENTS))).length > 0)) {
    throw new LedgerError(
      'not_a_ledger',
      `${dir} holds other files and no ledger: give the path of a ledger, or of an empty or new folder`,
      {
        location: dir,
        found: foreign.slice(0, 5),
      },
    )
  }
  return 'empty'
}

/** The `format` of a marker file, or null where it can't be read. */
async function readFormat(files: FilePort, path: string): Promise<string | null> {
  const text = await readSmallFile(files, path)
  try {
    const { format } = JSON.parse(text ?? '') as { format?: unknown }
    return typeof format === 'string' ? format : null
  } catch {
    return null
  }
}

/** Text of a file of at most 64 KiB, or null. */
export async function readSmallFile(files: FilePort, path: string): Promise<string | null> {
  try {
    const file = await files.open(path, 'read')
    try {
      const bytes = Buffer.alloc(65_536)
      return bytes.toString('utf8', 0, await readFully(file, bytes, 0))
    } finally {
      await file.close()
    }
  } catch {
    return null
  }
}

export const MARKER_TEXT = `${JSON.stringify({ format: FORMAT, store: 'jsonl' })}\n`

/** Where the tree is kept. One exported file has no place for it, and a disk that a test has made up none for files that it does not know. */
export function treeOf(files: FilePort, dir: string | null): TreeFiles {
  return dir === null || files !== nodeFiles ? treeInMemory() : treeFilesIn(join(dir, TREE))
}

/** What says that the ledger is a replica. One exported file is none, and a disk that a test has made up forgets it. */
export function replicaOf(files: FilePort, dir: string | null, readOnly: boolean): ReplicaMark {
  return dir === null || files !== nodeFiles ? replicaInMemory(readOnly) : replicaFile(join(dir, REPLICA_FILE), readOnly)
}

/** Where states of projections are kept; for one exported file, and on a disk that a test has made up, as long as the process runs. */
export function snapshotsOf(files: FilePort, dir: string | null, readOnly: boolean): SnapshotFiles {
  return dir === null || files !== nodeFiles ? snapshotsInMemory(readOnly) : snapshotFilesIn(join(dir, SNAPSHOTS), readOnly)
}

/** Where data keys are kept. One exported file has none, and a disk that a test has made up keeps them as long as the process runs. */
export function dataKeysOf(files: FilePort, dir: string | null, readOnly: boolean): DataKeyFile {
  if (dir === null || files !== nodeFiles) return { ...dataKeysInMemory(readOnly), close: () => {} }
  return dataKeysIn(join(dir, KEYS_FILE), readOnly)
}

/** Where archive files lie in the ledger itself; on a disk that a test has made up, in memory. */
export function archiveOf(files: FilePort, dir: string, readOnly: boolean): FolderArchive {
  const folder = join(dir, ENTRIES)
  return files === nodeFiles ? archiveInFolder(folder, { readOnly, sharesModes: true }) : archiveInMemory(folder, readOnly)
}
