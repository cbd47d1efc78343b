/** A result that goes into a file: whole, or not at all, and never over the ledger. */
import { open, realpath, rename, rm, stat } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { basename, dirname, join, resolve, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Misuse } from './errors.ts'

/** A path of the file system, or null for what is none. */
async function pathOf(location: string): Promise<string | null> {
  if (/^postgres(ql)?:\/\//i.test(location)) return null
  const path = location.startsWith('file:') ? fileURLToPath(location) : location.replace(/^(jsonl|sqlite):(\/\/)?/i, '')
  return realpath(path).catch(() => null)
}

/** Replacing the ledger by what was made of it would be the end of it. @throws Misuse */
export async function refuseLedgerAsOutput(location: string, file: string): Promise<void> {
  const ledger = await pathOf(location)
  const folder = await realpath(dirname(resolve(file))).catch(() => null)
  if (ledger === null || folder === null) return
  const target = await realpath(file).catch(() => join(folder, basename(file)))
  if (
    [ledger, `${ledger}-wal`, `${ledger}-shm`, `${ledger}-text`].includes(target) ||
    [ledger, `${ledger}-tree`].some((folder) => target.startsWith(folder + sep))
  ) {
    throw new Misuse(`--output ${file} is in the ledger itself: write somewhere else`)
  }
}

/** Written beside, synced, then renamed: the file is the whole result or what it was before. @throws Misuse for a directory */
export async function replaceFile<Result>(file: string, write: (handle: FileHandle) => Promise<Result>): Promise<Result> {
  const there = await stat(file).catch(() => null)
  if (there?.isDirectory() === true) throw new Misuse(`--output ${file} is a directory: name a file`)
  // A device or a pipe is written to, not replaced.
  const isPlain = there === null || there.isFile()
  const target = there?.isFile() === true ? await realpath(file) : file
  const path = isPlain ? join(dirname(target), `.${basename(target)}.${process.pid}.tmp`) : target
  const handle = await open(path, isPlain ? 'wx' : 'w')
  try {
    const result = await write(handle)
    if (isPlain) await handle.sync()
    await handle.close()
    if (isPlain) await rename(path, target)
    return result
  } catch (error) {
    await handle.close().catch(() => {})
    if (isPlain) await rm(path, { force: true })
    throw error
  }
}
