/** Files that are there whole or not at all, also after a power cut. */
import { link, mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { asStorageError, isMissing } from './errors.ts'

/** Makes the names in a folder last. Windows has no such call; there the journal of the file system has to do. */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } catch (error) {
    // Some network and FUSE file systems have no fsync of folders: nothing better can be done there.
    const { code } = error as { code?: unknown }
    if (code !== 'EINVAL' && code !== 'ENOTSUP') throw error
  } finally {
    await handle.close()
  }
}

/** Makes a folder, for the owner alone unless said, where it is not there, and those above it. @throws LedgerError */
export async function makeFolder(path: string, mode = 0o700): Promise<void> {
  try {
    const first = await mkdir(path, { recursive: true, mode })
    if (first === undefined) return
    for (let made = resolve(path), top = dirname(resolve(first)); made !== top; made = dirname(made)) await syncFolder(dirname(made))
  } catch (error) {
    throw asStorageError(error, `making the folder ${path}`)
  }
}

/** The text of a file, or null where there is none. @throws LedgerError */
export async function readText(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ENOENT') return null
    throw asStorageError(error, `reading ${path}`)
  }
}

/** Bytes on the disk under a name that nobody looks for, for the owner alone. */
async function writeAside(aside: string, text: string): Promise<string> {
  const handle = await open(aside, 'w', 0o600)
  try {
    await handle.chmod(0o600)
    await handle.writeFile(text)
    // Before it gets its name: else the name could come to stand for a file whose bytes never reached the disk.
    await handle.sync()
  } finally {
    await handle.close()
  }
  return aside
}

/**
 * Puts a text in the place of what is there. When it resolves, the text is on the disk; when the process or the machine
 * ends in between, the old one is there or the new one, whole. One writer at a time for each path, unless each names
 * another `aside`, under which the new one is written.
 * @throws LedgerError; whether the new text is there is then not known
 */
export async function replaceText(path: string, text: string, aside = `${path}.next`): Promise<void> {
  try {
    await rename(await writeAside(aside, text), path)
    await syncFolder(dirname(path))
  } catch (error) {
    throw asStorageError(error, `writing ${path}`)
  }
}

/** Takes a file away for good; harmless where there is none. @throws LedgerError */
export async function removeText(path: string): Promise<void> {
  try {
    await rm(path, { force: true })
    await syncFolder(dirname(path))
  } catch (error) {
    if (!isMissing(error)) throw asStorageError(error, `removing ${path}`)
  }
}

/** Makes a file as `replaceText` does, never over one that is there. @throws LedgerError */
export async function createText(path: string, text: string): Promise<void> {
  try {
    const aside = await writeAside(`${path}.next`, text)
    try {
      await link(aside, path)
    } finally {
      await rm(aside, { force: true })
    }
    await syncFolder(dirname(path))
  } catch (error) {
    throw asStorageError(error, `making ${path}`)
  }
}
