/**
 * The tree of a ledger in files of a folder of its own: `0`, `1`, … are the levels of its tiles, `state` and
 * `checkpoint` the texts. All of it can be deleted at any time, so nothing is synced; whoever reads it checks it.
 */
import { randomBytes } from 'node:crypto'
import { mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { asStorageError, isMissing } from '../../ledger/errors.ts'
import type { TreeFiles, TreeText } from '../../ledger/store.ts'

const HASH_BYTES = 32
/** A level holds a 256th of the one below, so a ledger never has more. */
const LEVELS_MAX = 8
const NOTHING = new Uint8Array(0)

export function treeFilesIn(folder: string): TreeFiles {
  async function inFolder<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (!isMissing(error)) throw error
      await mkdir(folder, { recursive: true })
      return work()
    }
  }

  async function writing<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await inFolder(work)
    } catch (error) {
      throw asStorageError(error, `writing the tree in ${folder}`)
    }
  }

  return {
    async read(level, first, count) {
      let file: FileHandle
      try {
        file = await open(join(folder, String(level)), 'r')
      } catch (error) {
        if (isMissing(error)) return NOTHING
        throw asStorageError(error, `reading the tree in ${folder}`)
      }
      try {
        const bytes = new Uint8Array(count * HASH_BYTES)
        const { bytesRead } = await file.read(bytes, 0, bytes.length, first * HASH_BYTES)
        return bytes.subarray(0, bytesRead - (bytesRead % HASH_BYTES))
      } finally {
        await file.close()
      }
    },

    write: (level, first, hashes) =>
      writing(async () => {
        const path = join(folder, String(level))
        // Never emptied and never appended to: each hash has its place, whoever writes it.
        const file = await open(path, 'r+').catch((error: unknown) => {
          if (isMissing(error)) return open(path, 'wx+').catch(() => open(path, 'r+'))
          throw error
        })
        try {
          let done = 0
          while (done < hashes.length) {
            done += (await file.write(hashes, done, hashes.length - done, first * HASH_BYTES + done)).bytesWritten
          }
        } finally {
          await file.close()
        }
      }),

    async readText(name) {
      try {
        return await readFile(join(folder, name), 'utf8')
      } catch (error) {
        if (isMissing(error)) return null
        throw asStorageError(error, `reading ${name} in ${folder}`)
      }
    },

    writeText: (name: TreeText, text) =>
      writing(async () => {
        const path = join(folder, name)
        // Of its own for each call: another ledger of this process may write the same.
        const part = `${path}.${randomBytes(6).toString('hex')}.tmp`
        await writeFile(part, text)
        await rename(part, path)
      }),

    clear: () =>
      writing(async () => {
        const levels = Array.from({ length: LEVELS_MAX }, (_, level) => String(level))
        for (const name of ['state', ...levels]) await rm(join(folder, name), { force: true })
      }),
  }
}
