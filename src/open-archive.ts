/** From a location to the archive there. */
import type { ArchiveStore } from './ledger/archive.ts'
import { parseArchiveTarget } from './archives/target.ts'
import type { S3Options } from './archives/s3.ts'

export interface ArchiveOptions extends S3Options {
  /** Make the directory where it is not there. False unless said: mostly it is not mounted then. */
  readonly create?: boolean | undefined
}

/**
 * The archive in a directory (`/path`, `file:///path`) or in a bucket of an S3-protocol server
 * (`s3://bucket/prefix?endpoint=…&region=…`). Nothing is asked of a server yet.
 * @throws TypeError for what names no place; LedgerError `unsupported` | `key_error`
 */
export async function openArchive(location: string | URL, options: ArchiveOptions = {}): Promise<ArchiveStore> {
  const target = parseArchiveTarget(location)
  // Each is loaded where it is used only.
  if (target.kind === 's3') return (await import('./archives/s3.ts')).openS3Archive(target, options)
  if (options.create === true) await (await import('./ledger/durable-file.ts')).makeFolder(target.path)
  return (await import('./archives/directory.ts')).openDirectoryArchive(target.path)
}

/** What was named by its location, or is one. @throws as `openArchive` */
export async function asArchive(archive: string | URL | ArchiveStore): Promise<ArchiveStore> {
  return typeof archive === 'string' || archive instanceof URL ? openArchive(archive) : archive
}
