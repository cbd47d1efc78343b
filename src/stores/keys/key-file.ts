/**
 * Wrapped data keys in a database file of their own beside a ledger. What is shredded has to be gone from the file: so
 * SQLite overwrites what it deletes, and keeps no log, in which an older page would stay.
 */
import { closeSync, existsSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { syncFolder } from '../../ledger/durable-file.ts'
import { asStorageError, LedgerError } from '../../ledger/errors.ts'
import type { DataKeyStore, Rewrapping, StoredKey } from '../../ledger/store.ts'
import { openDatabase } from '../sql/driver.ts'
import type { Database, DriverName, SqlRow } from '../sql/driver.ts'
import { BUSY_TIMEOUT_MS, patiently } from '../sql/patience.ts'
import { inTransaction } from '../sql/transaction.ts'

const VERSION = 1
/** Others hold the file for milliseconds: they are waited for without stopping the event loop. */
const BLOCKING_MS = 20

const TABLE = `CREATE TABLE IF NOT EXISTS data_keys (
  id TEXT PRIMARY KEY, label TEXT NOT NULL UNIQUE, master TEXT NOT NULL, wrapped TEXT NOT NULL
) STRICT, WITHOUT ROWID`
const COLUMNS = 'id, label, master, wrapped'

function asKey({ id, label, master, wrapped }: SqlRow): StoredKey {
  return { id: String(id), label: String(label), master: String(master), wrapped: String(wrapped) }
}

/** A store of keys that lets go of its file. */
export interface DataKeyFile extends DataKeyStore {
  close(): void
}

/** Opened when it is first needed: a ledger without encryption has no such file. */
export function dataKeysIn(path: string, readOnly: boolean, driver: DriverName = 'node:sqlite'): DataKeyFile {
  return new KeyFile(path, readOnly, driver)
}

class KeyFile implements DataKeyFile {
  readonly #path: string
  readonly #readOnly: boolean
  readonly #driver: DriverName
  #opening: Promise<Database> | null = null
  #database: Database | null = null
  #closed = false

  constructor(path: string, readOnly: boolean, driver: DriverName) {
    this.#path = path
    this.#readOnly = readOnly
    this.#driver = driver
  }

  isEmpty(): Promise<boolean> {
    return this.#reading(true, (open) => open.cached('SELECT 1 FROM data_keys LIMIT 1').get() === undefined)
  }

  find(by: 'id' | 'label', values: readonly string[]): Promise<readonly StoredKey[]> {
    const sql = `SELECT ${COLUMNS} FROM data_keys WHERE ${by === 'id' ? 'id' : 'label'} IN (SELECT value FROM json_each(?))`
    return this.#reading([], (open) => open.cached(sql).all(JSON.stringify(values)).map(asKey))
  }

  list(after: string, limit: number): Promise<readonly StoredKey[]> {
    const sql = `SELECT ${COLUMNS} FROM data_keys WHERE id > ? ORDER BY id LIMIT ?`
    return this.#reading([], (open) => open.cached(sql).all(after, limit).map(asKey))
  }

  add(keys: readonly StoredKey[]): Promise<void> {
    return this.#writing((open) => {
      const insert = open.cached(`INSERT INTO data_keys (${COLUMNS}) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`)
      for (const { id, label, master, wrapped } of keys) insert.run(id, label, master, wrapped)
    })
  }

  rewrap(changes: readonly Rewrapping[]): Promise<number> {
    return this.#writing((open) => {
      const change = open.cached('UPDATE data_keys SET master = ?, wrapped = ? WHERE id = ? AND wrapped = ? RETURNING 1')
      return changes.filter(({ before, after }) => change.all(after.master, after.wrapped, before.id, before.wrapped).length > 0).length
    })
  }

  remove(ids: readonly string[]): Promise<readonly string[]> {
    return this.#writing((open) => {
      const remove = open.cached('DELETE FROM data_keys WHERE id = ? RETURNING id')
      return ids.filter((id) => remove.all(id).length > 0)
    })
  }

  close(): void {
    this.#closed = true
    this.#database?.close()
    this.#database = null
  }

  async #reading<Result>(nothing: Result, work: (open: Database) => Result): Promise<Result> {
    this.#assertOpen()
    if (this.#database === null && !existsSync(this.#path)) return nothing
    return patiently(BUSY_TIMEOUT_MS, async () => work(await this.#open()))
  }

  async #writing<Result>(work: (open: Database) => Result): Promise<Result> {
    this.#assertOpen()
    if (this.#readOnly)
      throw new LedgerError('read_only', `${this.#path} was opened for reading: open the ledger without readOnly to change its data keys`)
    return patiently(BUSY_TIMEOUT_MS, async () => {
      const open = await this.#open()
      return inTransaction(open, () => work(open))
    })
  }

  #assertOpen(): void {
    if (this.#closed) throw new LedgerError('closed', 'the ledger is closed: open it again')
  }

  async #open(): Promise<Database> {
    this.#opening ??= this.#connect().catch((error: unknown) => {
      this.#opening = null
      throw error
    })
    const database = await this.#opening
    if (!this.#closed) return (this.#database = database)
    if (this.#database !== null) database.close()
    this.#database = null
    throw new LedgerError('closed', 'the ledger is closed: open it again')
  }

  async #connect(): Promise<Database> {
    if (!this.#readOnly) makePrivate(this.#path)
    const database = await openDatabase(this.#path, { driver: this.#driver, readOnly: this.#readOnly, busyTimeoutMs: BLOCKING_MS })
    try {
      // The file may come from others: nothing in its schema may call functions with side effects.
      database.exec('PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY')
      const version = Number(database.pragma('PRAGMA user_version'))
      if (version > VERSION) throw new LedgerError('newer_format', `${this.#path} is of a newer version: use a newer cortex-ledger`)
      if (this.#readOnly) return database
      database.exec('PRAGMA secure_delete = ON; PRAGMA fullfsync = ON')
      // With a journal that is deleted, FULL would leave open whether the deletion lasts: after a power cut the key that an
      // entry was encrypted under could be rolled back.
      database.exec('PRAGMA synchronous = EXTRA')
      if (version < VERSION) {
        database.exec(`BEGIN IMMEDIATE; ${TABLE}; PRAGMA user_version = ${VERSION}; COMMIT`)
        await syncFolder(dirname(this.#path))
      }
      return database
    } catch (error) {
      database.close()
      throw error
    }
  }
}

/** The new file is for its owner alone; what SQLite puts beside it takes over the mode. Never opened where it is there: that would drop SQLite's locks. */
function makePrivate(path: string): void {
  if (existsSync(path)) return
  try {
    closeSync(openSync(path, 'wx', 0o600))
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'EEXIST') throw asStorageError(error, `making ${path}`)
  }
}
