/** Archive files in memory, for a ledger that is gone with its process. */
import { requireArchiveName, requireArchivePrefix, requireRange } from './archive.ts'
import { alreadyExists, digestOf, noSuchFile, readOnlyArchive, requireSize, tooShort } from './archive-content.ts'
import type { FolderArchive } from './archive-folder.ts'

/** One read. Bytes. */
const READ_BYTES = 262_144

/** Of a ledger that is gone with its process, or has no place for files. */
export function archiveInMemory(location = 'memory:', readOnly = false): FolderArchive {
  const files = new Map<string, Uint8Array>()
  return {
    location,

    async write(name, content, size) {
      requireArchiveName(name)
      if (readOnly) throw readOnlyArchive(location)
      const chunks: Uint8Array[] = []
      const written = await digestOf(content, async (chunk) => chunks.push(Uint8Array.from(chunk)))
      requireSize(name, written.bytes, size)
      const bytes = Buffer.concat(chunks)
      const there = files.get(name)
      if (there !== undefined && !bytes.equals(there)) throw alreadyExists(location, name)
      files.set(name, bytes)
      return written
    },

    async *read(name, range) {
      requireArchiveName(name)
      if (range !== undefined) requireRange(range)
      const bytes = files.get(name)
      if (bytes === undefined) throw noSuchFile(location, name)
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
      if (readOnly) throw readOnlyArchive(location)
      files.delete(name)
    },

    async removeLeftovers() {},
  }
}
