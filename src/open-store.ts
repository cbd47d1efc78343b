/** From a location to the store that keeps a ledger there. Above the stores, below src/open.ts (docs/decisions/0006). */
import { existsSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Clock } from './ledger/clock.ts'
import { LedgerError } from './ledger/errors.ts'
import type { Store } from './ledger/store.ts'
import { guardedStore, requireDiskOptions } from './stores/disk/guarded-store.ts'
import type { DiskOptions, GuardedPlace } from './stores/disk/guarded-store.ts'
import { RESERVE_FILE } from './stores/jsonl/layout.ts'
import { parseTarget, withoutPassword } from './stores/postgres/target.ts'
import { emitWarning } from './ledger/warning.ts'
import type { LedgerWarning } from './ledger/warning.ts'

export interface StoreOptions {
  /** Open for reading: any number of processes may, also while one writes. */
  readonly readOnly?: boolean | undefined
  /** Make a new ledger where nothing is: true unless `readOnly`. */
  readonly create?: boolean | undefined
  /** JSONL: bytes after which a segment is sealed; 100,000,000 unless said. */
  readonly segmentBytes?: number | undefined
  /** JSONL: `off` for a ledger that is only written and scanned. */
  readonly index?: 'background' | 'off' | undefined
  /** SQLite: `node:sqlite` unless said. */
  readonly driver?: 'node:sqlite' | 'better-sqlite3' | undefined
  /** PostgreSQL: how long a server that can't be had is tried again before a caller hears of it, ms. 30,000 unless said. */
  readonly patienceMs?: number | undefined
  /** PostgreSQL: how long one statement may take before its connection is taken for lost, ms. 60,000 unless said. */
  readonly timeoutMs?: number | undefined
  /** PostgreSQL: records get their time from this clock, and not from the database's. */
  readonly clock?: Clock | undefined
  /** JSONL and SQLite: when to warn of a disk that is nearly full, and how much is kept for the moment when it is. */
  readonly disk?: DiskOptions | undefined
  /** Hears of what a store can go on without. */
  readonly onWarning?: ((warning: LedgerWarning) => void) | undefined
  /** A store of your own, in place of the one that the location names. */
  readonly store?: Store | undefined
}

export type Place =
  | { readonly kind: 'memory' }
  | { readonly kind: 'jsonl' | 'sqlite'; readonly path: string }
  /** With its password: not for messages. */
  | { readonly kind: 'postgres'; readonly url: string }

const SQLITE_NAME = /\.(db|sqlite|sqlite3)$/i
const JSONL_NAME = /\.(jsonl|ndjson|json|log|txt)$/i

/**
 * `./dir` → JSONL, `x.db` → SQLite, `memory:`; `jsonl:PATH`, `sqlite:PATH` and `file:` URLs likewise; `postgres:` URLs.
 * @throws TypeError for what names no place; LedgerError `unsupported`
 */
export function locate(location: string | URL): Place {
  const text = location instanceof URL ? location.href : location
  if (typeof text !== 'string' || text === '') throw new TypeError('location must be a path or a URL')
  if (text === 'memory:') return { kind: 'memory' }
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(text)?.[1]?.toLowerCase()
  const named = /^(jsonl|sqlite):(.+)$/i.exec(text)
  if (named !== null)
    return { kind: named[1]?.toLowerCase() as 'jsonl' | 'sqlite', path: resolve((named[2] as string).replace(/^\/\//, '')) }
  if (scheme === 'postgres' || scheme === 'postgresql') {
    // So that a mistake in it is told before anything is done.
    parseTarget(text)
    return { kind: 'postgres', url: text }
  }
  if (scheme !== undefined && scheme !== 'file' && text.includes('://')) {
    throw new LedgerError('unsupported', `no store for ${scheme}: give a folder (JSONL), a file ….db (SQLite), a postgres: URL or memory:`)
  }
  const path = scheme === 'file' ? fileURLToPath(text) : resolve(text)
  if (!existsSync(path)) return { kind: SQLITE_NAME.test(path) ? 'sqlite' : 'jsonl', path }
  if (statSync(path).isDirectory()) return { kind: 'jsonl', path }
  // By its name and not by a look inside: closing any descriptor of a database drops the locks that this process holds
  // on it (https://www.sqlite.org/howtocorrupt.html, section 2.2). `jsonl:PATH` and `sqlite:PATH` say it for other names.
  return { kind: JSONL_NAME.test(path) ? 'jsonl' : 'sqlite', path }
}

/** A location as it may be shown: without the password of a URL. */
export function shownLocation(location: string | URL): string {
  return withoutPassword(String(location))
}

/**
 * Makes the tables of a PostgreSQL ledger where there are none, and the roles for who may write, read, see headers only,
 * and keep it in order, or grants them again what they may do.
 * @returns the names of the roles
 * @throws RangeError for another kind of store; LedgerError `read_only` where this user may not, and as opening it
 */
export async function makeRoles(location: string | URL): Promise<string[]> {
  const place = locate(location)
  if (place.kind !== 'postgres') throw new RangeError('roles are of a database server: give a postgres: URL')
  return (await import('./stores/postgres/roles.ts')).makeRoles(place.url)
}

/** @param alsoWatched further paths whose file systems must not fill up */
export async function openStore(location: string | URL, options: StoreOptions, alsoWatched: readonly string[] = []): Promise<Store> {
  requireDiskOptions(options.disk)
  if (options.store !== undefined) return options.store
  const place = locate(location)
  const readOnly = options.readOnly ?? false
  const create = options.create ?? !readOnly
  // Each store brings its driver, so it is loaded only where it is used.
  if (place.kind === 'memory') return (await import('./stores/memory.ts')).openMemoryStore()
  if (place.kind === 'postgres') {
    const { openPostgresStore } = await import('./stores/postgres/index.ts')
    // A clock of the caller's own counts more than the one that all writers share.
    const { clock, onWarning, patienceMs, timeoutMs } = options
    return openPostgresStore(place.url, { readOnly, create, databaseClock: clock === undefined, onWarning, patienceMs, timeoutMs })
  }
  const { path } = place
  if (place.kind === 'sqlite') {
    const { openSqliteStore } = await import('./stores/sqlite/index.ts')
    const store = await openSqliteStore(path, { readOnly, create, ...(options.driver === undefined ? {} : { driver: options.driver }) })
    return guarded(store, { folder: dirname(path), reserve: `${path}-reserve`, others: alsoWatched }, options)
  }
  const { openJsonlStore } = await import('./stores/jsonl/index.ts')
  const store = await openJsonlStore(path, {
    readOnly,
    create,
    ...(options.segmentBytes === undefined ? {} : { segmentBytes: options.segmentBytes }),
    ...(options.index === undefined ? {} : { index: options.index }),
  })
  return guarded(store, { folder: path, reserve: join(path, RESERVE_FILE), others: alsoWatched }, options)
}

async function guarded(store: Store, place: GuardedPlace, { disk = {}, onWarning = emitWarning }: StoreOptions): Promise<Store> {
  try {
    return await guardedStore(store, place, disk, onWarning)
  } catch (error) {
    await store.close().catch(() => {})
    throw error
  }
}
