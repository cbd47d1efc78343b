/** From a location to the compressed file of lines there, if that is what it names. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { archivedBytes, codecOf, openBytes } from './ledger/packed-source.ts'
import type { ByteSource } from './ledger/packed-reading.ts'
import { openArchive } from './open-archive.ts'

/** True for an `s3:` URL of a compressed file of lines. */
export function isArchivedFile(location: string): boolean {
  return /^s3:\/\//i.test(location) && codecOf(location.split('?', 1)[0] as string) !== null
}

/** Null where the location names something else. @throws LedgerError `not_found` | `io_error`, and those of the archive */
export async function openPackedFile(location: string | URL): Promise<(ByteSource & { close(): Promise<void> }) | null> {
  const text = location instanceof URL ? location.href : location
  if (isArchivedFile(text)) {
    const [path = '', ...query] = text.split('?')
    const slash = path.lastIndexOf('/')
    const archive = await openArchive([path.slice(0, slash), ...query].join('?'))
    const name = decodeURIComponent(path.slice(slash + 1))
    return { ...(await archivedBytes(archive, name)), name, close: async () => {} }
  }
  const path = /^file:/i.test(text) ? fileURLToPath(text) : text
  return codecOf(path) !== null && existsSync(path) ? openBytes(path) : null
}
