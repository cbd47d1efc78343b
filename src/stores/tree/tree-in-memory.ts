/** The tree of a ledger that has no place for it on a disk. */
import type { TreeFiles, TreeText } from '../../ledger/store.ts'

const HASH_BYTES = 32
/** A level is kept in pieces of so many bytes, so that it grows without being copied. */
const PIECE_BYTES = 64 * 1024

class Level {
  readonly #pieces: Uint8Array[] = []
  #length = 0

  /** Calls `take` with each piece's part of the bytes [start, end), and where it begins in them. */
  #each(start: number, end: number, take: (piece: Uint8Array, offset: number) => void): void {
    for (let at = start; at < end;) {
      const number = Math.floor(at / PIECE_BYTES)
      const within = at % PIECE_BYTES
      const stop = Math.min(PIECE_BYTES, within + end - at)
      const piece = (this.#pieces[number] ??= new Uint8Array(PIECE_BYTES))
      take(piece.subarray(within, stop), at - start)
      at += stop - within
    }
  }

  read(start: number, end: number): Uint8Array {
    const bytes = new Uint8Array(Math.max(0, Math.min(end, this.#length) - start))
    this.#each(start, start + bytes.length, (piece, offset) => bytes.set(piece, offset))
    return bytes
  }

  write(start: number, bytes: Uint8Array): void {
    this.#each(start, start + bytes.length, (piece, offset) => piece.set(bytes.subarray(offset, offset + piece.length)))
    this.#length = Math.max(this.#length, start + bytes.length)
  }
}

export function treeInMemory(): TreeFiles {
  const levels: Level[] = []
  const texts = new Map<TreeText, string>()
  return {
    read: async (level, first, count) => levels[level]?.read(first * HASH_BYTES, (first + count) * HASH_BYTES) ?? new Uint8Array(0),
    write: async (level, first, hashes) => (levels[level] ??= new Level()).write(first * HASH_BYTES, hashes),
    readText: async (name) => texts.get(name) ?? null,
    writeText: async (name, text) => void texts.set(name, text),
    async clear() {
      levels.length = 0
      texts.delete('state')
    },
  }
}
