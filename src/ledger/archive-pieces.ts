/**
 * Archive files in the tables of a database: each in pieces of one length, so that a range is read without the rest. A file
 * is written without a name, piece by piece, and gets its name when it is whole: until then nobody sees it, and whatever a
 * crash leaves is told apart by that.
 */
import { createHash } from 'node:crypto'
import { requireArchiveName, requireArchivePrefix, requireRange } from './archive.ts'
import type { ArchiveContent, ArchiveFile, ArchiveStore } from './archive.ts'
import { chunksOf, requireSize } from './archive-content.ts'
import { LedgerError } from './errors.ts'

/** Of every piece but a file's last one, bytes. */
export const PIECE_BYTES = 65_536
/** Bytes that are written at once. */
const WRITTEN_BYTES = 1_048_576
/** And so many that are read at once. */
const READ_PIECES = 16
/** Files that were found and are not asked for again: a range of one is then one question to the database. */
const FOUND_MAX = 64

/** A file that has its name. */
export interface WholeFile extends ArchiveFile {
  /** By what the tables know it. */
  readonly id: number
  readonly sha256: string
}

export interface PieceTables {
  /** For messages: the ledger. */
  readonly display: string
  /** @throws LedgerError `read_only` */
  assertWritable(): void
  /** A new file without a name; gives its id. */
  begin(): Promise<number>
  /** Pieces that follow each other, `first` being the number of the first one. Durable when it resolves. */
  put(id: number, first: number, pieces: readonly Uint8Array[]): Promise<void>
  /** Durable when it resolves. Nothing happens and false comes where another file has the name, or the id is gone. */
  name(id: number, file: Omit<WholeFile, 'id'>): Promise<boolean>
  find(name: string): Promise<WholeFile | null>
  /** Those that are there of the pieces from `first` to `last`, by number; none where the file is not there any more. */
  pieces(file: WholeFile, first: number, last: number): Promise<ReadonlyMap<number, Uint8Array>>
  list(prefix: string): Promise<readonly ArchiveFile[]>
  remove(id: number): Promise<void>
}

/** Cuts what comes into pieces, `WRITTEN_BYTES` of them at a time. */
async function* inPieces(content: ArchiveContent): AsyncGenerator<Uint8Array[]> {
  let pieces: Uint8Array[] = []
  let piece = Buffer.alloc(PIECE_BYTES)
  let filled = 0
  for await (const chunk of chunksOf(content)) {
    for (let at = 0; at < chunk.length;) {
      const taken = Math.min(PIECE_BYTES - filled, chunk.length - at)
      piece.set(chunk.subarray(at, at + taken), filled)
      filled += taken
      at += taken
      if (filled < PIECE_BYTES) continue
      pieces.push(piece)
      piece = Buffer.alloc(PIECE_BYTES)
      filled = 0
      if (pieces.length * PIECE_BYTES < WRITTEN_BYTES) continue
      yield pieces
      pieces = []
    }
  }
  if (filled > 0) pieces.push(piece.subarray(0, filled))
  if (pieces.length > 0) yield pieces
}

export function archiveInPieces(location: string, tables: PieceTables): ArchiveStore {
  const found = new Map<string, WholeFile>()

  async function find(name: string): Promise<WholeFile> {
    found.delete(name)
    const file = await tables.find(name)
    if (file === null) throw notFound(name)
    if (found.size >= FOUND_MAX) found.clear()
    found.set(name, file)
    return file
  }

  function notFound(name: string): LedgerError {
    return new LedgerError('not_found', `${tables.display} has no archive file ${name}: it was removed, or is of another ledger`, {
      file: name,
    })
  }

  /** The bytes of a file that was found before, from `start` to `end`, as far as they are there. */
  async function* partsOf(file: WholeFile, start: number, end: number): AsyncGenerator<Uint8Array, number> {
    let at = start
    while (at < end) {
      const first = Math.floor(at / PIECE_BYTES)
      const last = Math.min(first + READ_PIECES - 1, Math.floor((end - 1) / PIECE_BYTES))
      const pieces = await tables.pieces(file, first, last)
      for (let number = first; number <= last; number++) {
        const from = at - number * PIECE_BYTES
        const piece = pieces.get(number)
        if (piece?.length !== Math.min(PIECE_BYTES, file.bytes - number * PIECE_BYTES)) return at
        const part = piece.subarray(from, from + end - at)
        yield part
        at += part.length
      }
    }
    return at
  }

  return {
    location,

    async write(name, content, size) {
      requireArchiveName(name)
      tables.assertWritable()
      const id = await tables.begin()
      try {
        const hash = createHash('sha256')
        let bytes = 0
        let count = 0
        for await (const pieces of inPieces(content)) {
          await tables.put(id, count, pieces)
          count += pieces.length
          for (const piece of pieces) {
            hash.update(piece)
            bytes += piece.length
          }
        }
        requireSize(name, bytes, size)
        const sha256 = hash.digest('hex')
        if (await tables.name(id, { name, bytes, sha256 })) return { bytes, sha256 }
        const there = await tables.find(name)
        if (there === null)
          throw new LedgerError(
            'io_error',
            `the archive file ${name} of ${tables.display} was taken for a left-over and removed: write it again`,
          )
        if (there.sha256 !== sha256 || there.bytes !== bytes)
          throw new LedgerError('already_exists', `${tables.display} has an archive file ${name} with other bytes: give another name`, {
            file: name,
          })
        await tables.remove(id)
        return { bytes, sha256 }
      } catch (error) {
        // What stays is found by `reclaim`.
        await tables.remove(id).catch(() => {})
        throw error
      }
    },

    async *read(name, range) {
      requireArchiveName(name)
      if (range !== undefined) requireRange(range)
      const start = range?.start ?? 0
      const first = found.get(name) ?? (await find(name))
      const firstEnd = range?.end ?? first.bytes
      let at = firstEnd > first.bytes ? start : yield* partsOf(first, start, firstEnd)
      if (at === firstEnd) return
      // It may have been removed since it was found, and perhaps another one written.
      const file = await find(name)
      const end = range?.end ?? file.bytes
      if (at > start && file.sha256 !== first.sha256) throw notFound(name)
      if (end > file.bytes)
        throw new LedgerError('damaged', `the archive file ${name} of ${tables.display} has ${file.bytes} bytes, not ${end}`, {
          file: name,
        })
      at = yield* partsOf(file, at, end)
      if (at === end) return
      throw new LedgerError('damaged', `the archive file ${name} of ${tables.display} has lost its bytes from ${at} on`, {
        file: name,
        from: at,
      })
    },

    async stat(name) {
      requireArchiveName(name)
      const file = await tables.find(name)
      return file === null ? null : { name: file.name, bytes: file.bytes }
    },

    async *list(prefix) {
      requireArchivePrefix(prefix)
      yield* await tables.list(prefix)
    },

    async remove(name) {
      requireArchiveName(name)
      tables.assertWritable()
      found.delete(name)
      const file = await tables.find(name)
      if (file !== null) await tables.remove(file.id)
    },
  }
}
