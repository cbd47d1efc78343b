/** What is written into an archive, as a stream. */
import { createHash } from 'node:crypto'
import type { ArchiveContent, WrittenFile } from '../ledger/archive.ts'
import { LedgerError } from '../ledger/errors.ts'

export function chunksOf(content: ArchiveContent): Iterable<Uint8Array> | AsyncIterable<Uint8Array> {
  return content instanceof Uint8Array ? [content] : content
}

export async function digestOf(content: ArchiveContent): Promise<WrittenFile> {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of chunksOf(content)) {
    hash.update(chunk)
    bytes += chunk.length
  }
  return { bytes, sha256: hash.digest('hex') }
}

/** @throws RangeError where there is more or less of it than was said */
export function requireSize(name: string, bytes: number, size: number | undefined): void {
  if (size !== undefined && bytes !== size) throw new RangeError(`the content of ${name} has ${bytes} bytes, and ${size} were announced`)
}

export function alreadyExists(location: string, name: string): LedgerError {
  return new LedgerError(
    'already_exists',
    `${location} has other content under the name ${name}, and a file of an archive is never written over: give it another name, or remove the one that is there if nothing needs it`,
    { archive: location, file: name },
  )
}
