/**
 * The port of a place that keeps archive files. A file is written once, whole, and never changed; it can be removed. What
 * is in it is for others to say (src/ledger/packed-lines.ts), and nobody trusts what comes back: whoever reads it checks it.
 */
import { LedgerError } from './errors.ts'

/** Bytes of a file, `start` inclusive, `end` exclusive. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

export interface ArchiveFile {
  readonly name: string
  readonly bytes: number
}

/** What a file is, as it was written. */
export interface WrittenFile {
  readonly bytes: number
  /** 64 hex, of the whole file. A convenience: the records' own hashes decide. */
  readonly sha256: string
}

/** What makes up a file. A chunk may be used again by whoever yields it once the next one is asked for. */
export type ArchiveContent = Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>

export interface ArchiveStore {
  /** For messages and for the ledger's records. It never holds credentials. */
  readonly location: string
  /**
   * Writes a whole file under a name of its own. It is durable and can be read when this resolves; where it does not,
   * nothing stands under the name. A name that is taken by the same bytes is fine: so a run that was stopped is run again.
   * @param size in bytes, where it is known; a content of another size is not written
   * @throws LedgerError `already_exists` where other bytes have the name; `disk_full` | `read_only` | `key_error` |
   * `not_found` (no such folder or bucket) | `too_large` | `io_error`
   * @throws RangeError for a name that is none, or a content that has not the size
   */
  write(name: string, content: ArchiveContent, size?: number): Promise<WrittenFile>
  /**
   * The bytes of the range, all of them, or of the whole file.
   * @throws LedgerError `not_found` | `damaged` (the file ends before the range does, or changed meanwhile) | `key_error` | `io_error`
   */
  read(name: string, range?: ByteRange): AsyncIterable<Uint8Array>
  /** Null where no file has the name. @throws LedgerError `not_found` (no such folder or bucket) | `key_error` | `io_error` */
  stat(name: string): Promise<ArchiveFile | null>
  /** Files whose names begin so, in any order. @throws LedgerError as `stat` */
  list(prefix: string): AsyncIterable<ArchiveFile>
  /** For good; harmless where there is none. @throws LedgerError as `stat`, or `read_only` */
  remove(name: string): Promise<void>
}

const NAME_LENGTH_MAX = 512
/** Of letters, digits, `.`, `_` and `-`, none beginning with `.`, so that none climbs and none is hidden. */
const NAME_PART = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/

/** True for a name that every place can keep: parts of 1 to 128 characters with `/` in between, 512 in all. */
export function isArchiveName(name: unknown): name is string {
  return typeof name === 'string' && name.length <= NAME_LENGTH_MAX && name.split('/').every((part) => NAME_PART.test(part))
}

/** @throws RangeError */
export function requireArchiveName(name: unknown): asserts name is string {
  if (isArchiveName(name)) return
  throw new RangeError(
    `${JSON.stringify(name)} is no name of an archive file: parts of 1 to 128 letters, digits, ".", "_" or "-", none beginning with ".", "/" between them, at most ${NAME_LENGTH_MAX} characters`,
  )
}

/** The beginning of a name, maybe none of it. @throws RangeError */
export function requireArchivePrefix(prefix: unknown): asserts prefix is string {
  // What is a name once something is put behind it.
  if (prefix === '' || isArchiveName(`${String(prefix)}x`)) return
  throw new RangeError(`${JSON.stringify(prefix)} begins no name of an archive file`)
}

/** @throws RangeError */
export function requireRange({ start, end }: ByteRange): void {
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || end < start)
    throw new RangeError(`a range is from 0 ≤ start ≤ end, in whole bytes, not [${start}, ${end})`)
}

/** A part of a file, in one piece. @throws LedgerError as `ArchiveStore.read` */
export async function readArchived(archive: ArchiveStore, name: string, range: ByteRange): Promise<Uint8Array> {
  let bytes: Uint8Array | null = null
  let length = 0
  for await (const chunk of archive.read(name, range)) {
    // Mostly it is in one piece already.
    if (bytes === null && chunk.length === range.end - range.start) return chunk
    bytes ??= new Uint8Array(range.end - range.start)
    if (length + chunk.length > bytes.length) break
    bytes.set(chunk, length)
    length += chunk.length
  }
  bytes ??= new Uint8Array(range.end - range.start)
  if (length !== bytes.length)
    throw new LedgerError(
      'damaged',
      `${name} in ${archive.location} gave ${length} bytes and not the ${bytes.length} that were asked for`,
      {
        archive: archive.location,
        file: name,
      },
    )
  return bytes
}
