/** What is written into an archive, as a stream, and what every place that keeps archive files says of them. */
import { createHash } from 'node:crypto'
import type { ArchiveContent, WrittenFile } from './archive.ts'
import { LedgerError } from './errors.ts'

export function chunksOf(content: ArchiveContent): Iterable<Uint8Array> | AsyncIterable<Uint8Array> {
  return content instanceof Uint8Array ? [content] : content
}

/** @param take gets each chunk, which is its own only until it resolves */
export async function digestOf(content: ArchiveContent, take?: (chunk: Uint8Array) => Promise<unknown>): Promise<WrittenFile> {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of chunksOf(content)) {
    hash.update(chunk)
    await take?.(chunk)
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

export function noSuchFile(location: string, name: string): LedgerError {
  return new LedgerError('not_found', `${location} has no file ${name}: restore it from a backup of the archive`, {
    archive: location,
    file: name,
  })
}

/** It ends before the range does that was asked for. */
export function tooShort(location: string, name: string, bytes: number, end: number): LedgerError {
  return new LedgerError('damaged', `${name} in ${location} has ${bytes} bytes, not ${end}: restore it from a backup of the archive`, {
    archive: location,
    file: name,
  })
}

export function readOnlyArchive(location: string): LedgerError {
  return new LedgerError('read_only', `${location} was opened for reading: open it without readOnly to archive`, { archive: location })
}
