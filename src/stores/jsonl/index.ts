/** The JSONL store: a folder of segment files, and what is derived from them. */
export { nodeFiles, REWRITE_SITES, SYNC_SITES } from './files.ts'
export type { FileFacts, FilePort, OpenFile, OpenMode, SyncSite } from './files.ts'
export { openJsonlStore, SEGMENT_BYTES_DEFAULT } from './open.ts'
export type { JsonlOptions } from './open.ts'
