/** The full-text index of a ledger: where it is kept, and who works on it. */
import { createHash } from 'node:crypto'
import { mkdirSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import type { EncryptionOptions } from './ledger/encryption/options.ts'
import { tieredStore } from './ledger/retention/tiered-store.ts'
import type { Store } from './ledger/store.ts'
import { locate, openStore, shownLocation } from './open-store.ts'
import type { Place, StoreOptions } from './open-store.ts'
import { removeDatabase } from './stores/sql/derived.ts'
import { Thread } from './stores/sql/thread.ts'
import { LARGE_STEP, SMALL_STEP } from './stores/text/catch-up.ts'
import type { StepSize } from './stores/text/catch-up.ts'
import { FullTextIndex } from './stores/text/text-index.ts'
import type { FullTextMode } from './stores/text/text-index.ts'
import { TextService } from './stores/text/text-service.ts'
import type { TextRequest } from './stores/text/text-service.ts'

/** What the thread is told at its start. */
export interface TextWorkerData {
  readonly location: string
  readonly path: string | null
  readonly driver: 'node:sqlite' | 'better-sqlite3'
}

export interface OpenedService {
  readonly service: TextService
  readonly close: () => Promise<void>
}

const WORKER_FILE = new URL(import.meta.url.endsWith('.ts') ? './text-worker.ts' : './text-worker.js', import.meta.url)

/**
 * The index that holds words of encrypted entries, too: a file of its own, since whoever has no key brings the other one
 * up without them; and so that it can go, whoever shreds a key.
 */
function withWordsOfEncrypted(path: string | null): string | null {
  return path === null ? null : `${path}-decrypted`
}

/** Beside the ledger, and never inside its database, where filling it would take the lock that appends need. */
function textIndexPath(place: Exclude<Place, { readonly kind: 'memory' }>): string | null {
  if (place.kind === 'postgres') {
    // There is no place beside it: each machine that searches has an index of its own.
    const name = createHash('sha256').update(shownLocation(place.url)).digest('hex').slice(0, 32)
    return join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'cortex-ledger', `${name}.db-text`)
  }
  if (place.kind === 'sqlite') return `${place.path}-text`
  // One exported file has no place of its own.
  return statSync(place.path, { throwIfNoEntry: false })?.isDirectory() === true ? join(place.path, 'text.db') : null
}

/** The service over a store of its own, which it only reads. */
export async function openTextService({ location, path, driver }: TextWorkerData, step: StepSize): Promise<OpenedService> {
  const store = tieredStore(await openStore(location, { readOnly: true, driver }), { cold: null, readThrough: false })
  if (store.kind === 'postgres' && path !== null) mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const service = new TextService({ store, path, driver, step })
  return {
    service,
    close: async () => {
      service.close()
      await store.close()
    },
  }
}

export interface TextOptions extends StoreOptions {
  readonly fullText?: FullTextMode | undefined
  readonly encryption?: EncryptionOptions | null | undefined
}

/** Takes away what has words of the ledger's entries, which is derived and made anew. */
export function forgetText(location: string | URL): void {
  const place = locate(location)
  const path = place.kind === 'memory' ? null : textIndexPath(place)
  for (const each of [path, withWordsOfEncrypted(path)]) if (each !== null) removeDatabase(each)
}

/** Takes away the index that has words of encrypted entries: what was shredded must not be read there. It is made anew by who has the keys. */
export function forgetDecryptedText(location: string | URL): void {
  const place = locate(location)
  const path = place.kind === 'memory' ? null : withWordsOfEncrypted(textIndexPath(place))
  if (path !== null) removeDatabase(path)
}

/** @param workerFile the thread's program */
export function textIndexFor(location: string | URL, store: Store, options: TextOptions, workerFile: URL = WORKER_FILE): FullTextIndex {
  const driver = options.driver ?? 'node:sqlite'
  const place = options.store === undefined ? locate(location) : null
  // Of a database that many machines write each would read all, to keep up an index of its own.
  const mode = options.fullText ?? (place?.kind === 'postgres' ? 'off' : 'on-demand')
  const isDecrypting = store.entries?.indexed === true
  if (place === null || place.kind === 'memory' || isDecrypting) {
    // No other thread can read it, or has the keys: the index is in this one, over the same store.
    const path = place === null || place.kind === 'memory' ? null : withWordsOfEncrypted(textIndexPath(place))
    const openService = async (): Promise<OpenedService> => {
      if (path !== null) mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
      const service = new TextService({ store, path, driver, step: SMALL_STEP })
      return { service, close: async () => service.close() }
    }
    return new FullTextIndex({ mode, path, driver, thread: null, openService })
  }
  const where = place.kind === 'postgres' ? place.url : `${place.kind}:${place.path}`
  const data: TextWorkerData = { location: where, path: textIndexPath(place), driver }
  const thread = new Thread<TextRequest>(workerFile, data, 'cortex-ledger text')
  return new FullTextIndex({ mode, path: data.path, driver, thread, openService: () => openTextService(data, SMALL_STEP) })
}

/** On a thread of its own there is time. */
export function openTextServiceOnThread(data: TextWorkerData): Promise<OpenedService> {
  return openTextService(data, LARGE_STEP)
}
