/** An archive in a directory of its own, which several processes may share. */
import { stat } from 'node:fs/promises'
import { requireArchiveName, requireArchivePrefix } from '../ledger/archive.ts'
import type { ArchiveStore } from '../ledger/archive.ts'
import { archiveInFolder } from '../ledger/archive-folder.ts'
import { asStorageError, isMissing, LedgerError } from '../ledger/errors.ts'

/** What was left by a process that ended in the middle is taken away by the next write of its name, once nobody can be at it. */
const LEFT_BEHIND_MS = 24 * 60 * 60 * 1000

/** A directory that is not there is one that is not mounted, more often than an empty one: nothing is made in its place. */
async function requireDirectory(path: string): Promise<void> {
  try {
    if ((await stat(path)).isDirectory()) return
  } catch (error) {
    if (!isMissing(error)) throw asStorageError(error, `looking at ${path}`)
  }
  throw new LedgerError('not_found', `there is no directory ${path}: make it, or mount what it is on`, { archive: path })
}

/** @throws nothing: whether the directory is there shows when it is used */
export function openDirectoryArchive(path: string): ArchiveStore {
  const folder = archiveInFolder(path)
  return {
    location: path,

    async write(name, content, size) {
      requireArchiveName(name)
      await requireDirectory(path)
      await folder.removeLeftovers({ of: name, before: Date.now() - LEFT_BEHIND_MS })
      return folder.write(name, content, size)
    },

    async *read(name, range) {
      try {
        yield* folder.read(name, range)
      } catch (error) {
        if (error instanceof LedgerError && error.code === 'not_found') await requireDirectory(path)
        throw error
      }
    },

    async stat(name) {
      const facts = await folder.stat(name)
      if (facts === null) await requireDirectory(path)
      return facts
    },

    async *list(prefix) {
      requireArchivePrefix(prefix)
      await requireDirectory(path)
      yield* folder.list(prefix)
    },

    async remove(name) {
      requireArchiveName(name)
      await requireDirectory(path)
      await folder.remove(name)
    },
  }
}
