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
  /** Null where it is not there. */
  piece(id: number, piece: number): Promise<Uint8Array | null>
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
  async function find(name: string): Promise<WholeFile> {
    const file = await tables.find(name)
    if (file === null) throw notFound(name)
    return file
  }

  function notFound(name: string): LedgerError {
    return new LedgerError('not_found', `${tables.display} has no archive file ${name}: it was removed, or is of another ledger`, {
      file: name,
    })
  }

  /** A piece of a file that was found before: it may have been removed since. */
  async function pieceOf(file: WholeFile, number: number): Promise<Uint8Array> {
    const piece = await tables.piece(file.id, number)
    const expected = Math.min(PIECE_BYTES, file.bytes - number * PIECE_BYTES)
    if (piece !== null && piece.length === expected) return piece
    if ((await find(file.name)).id !== file.id) throw notFound(file.name)
    throw new LedgerError(
      'damaged',
      `the archive file ${file.name} of ${tables.display} has lost its bytes from ${number * PIECE_BYTES} on`,
      {
        file: file.name,
        expected,
        found: piece === null ? null : piece.length,
      },
    )
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
      const file = await find(name)
      const { start, end } = range ?? { start: 0, end: file.bytes }
      if (end > file.bytes)
        throw new LedgerError('damaged', `the archive file ${name} of ${tables.display} has ${file.bytes} bytes, not ${end}`, {
          file: name,
        })
      for (let at = start; at < end;) {
        const number = Math.floor(at / PIECE_BYTES)
        const from = at - number * PIECE_BYTES
        const part = (await pieceOf(file, number)).subarray(from, from + end - at)
        yield part
        at += part.length
      }
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
      const file = await tables.find(name)
      if (file !== null) await tables.remove(file.id)
    },
  }
}
