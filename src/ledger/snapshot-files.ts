/** Where a store keeps states of projections: each in a file of a folder, or in memory. */
import { randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { asStorageError, isMissing, LedgerError } from './errors.ts'
import type { SnapshotFiles } from './store.ts'

const ENDING = '.json'

/** A name becomes a path, so nothing else may be in it. @throws RangeError */
function requireName(name: string): void {
  if (!/^[a-z0-9-]{1,100}$/.test(name)) throw new RangeError(`${JSON.stringify(name)} is no name of a snapshot`)
}

function refuse(what: string): LedgerError {
  return new LedgerError('read_only', `${what} was opened for reading: open it without readOnly to keep snapshots`)
}

/** They can be made again, so nothing is synced; a file that is half there does not match its record. */
export function snapshotFilesIn(folder: string, readOnly: boolean): SnapshotFiles {
  async function writing(name: string, work: (path: string) => Promise<void>): Promise<void> {
    requireName(name)
    if (readOnly) throw refuse(folder)
    try {
      await work(join(folder, name + ENDING))
    } catch (error) {
      throw asStorageError(error, `writing snapshots in ${folder}`)
    }
  }

  return {
    async list(prefix) {
      try {
        const names = (await readdir(folder)).filter((name) => name.startsWith(prefix) && name.endsWith(ENDING))
        return names.map((name) => name.slice(0, -ENDING.length)).filter((name) => /^[a-z0-9-]{1,100}$/.test(name))
      } catch (error) {
        if (isMissing(error)) return []
        throw asStorageError(error, `reading snapshots in ${folder}`)
      }
    },

    async read(name) {
      requireName(name)
      try {
        return await readFile(join(folder, name + ENDING), 'utf8')
      } catch (error) {
        if (isMissing(error)) return null
        throw asStorageError(error, `reading snapshots in ${folder}`)
      }
    },

    write: (name, text) =>
      writing(name, async (path) => {
        await mkdir(folder, { recursive: true })
        const part = `${path}.${randomBytes(6).toString('hex')}.tmp`
        try {
          await writeFile(part, text, { mode: 0o600 })
          await rename(part, path)
        } catch (error) {
          await rm(part, { force: true }).catch(() => {})
          throw error
        }
      }),

    remove: (name) => writing(name, (path) => rm(path, { force: true })),
  }
}

/** Of a ledger that is gone with its process, or has no place for files. */
export function snapshotsInMemory(readOnly = false): SnapshotFiles {
  const texts = new Map<string, string>()
  async function writing(name: string, work: () => void): Promise<void> {
    requireName(name)
    if (readOnly) throw refuse('the ledger')
    work()
  }
  return {
    list: async (prefix) => [...texts.keys()].filter((name) => name.startsWith(prefix)),
    read: async (name) => (requireName(name), texts.get(name) ?? null),
    write: (name, text) => writing(name, () => void texts.set(name, text)),
    remove: (name) => writing(name, () => void texts.delete(name)),
  }
}
