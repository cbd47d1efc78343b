/**
 * A ledger in one SQLite file: the table of records is the truth. Writing processes are serialised by the database's own
 * lock and by the comparison of the head; any number of processes read meanwhile.
 */
import { setImmediate as turnOfTheLoop } from 'node:timers/promises'
import { LedgerError } from '../../ledger/errors.ts'
import { isEmptyFilter } from '../../ledger/filter.ts'
import { replicaFile } from '../../ledger/replica-mark.ts'
import { snapshotFilesIn } from '../../ledger/snapshot-files.ts'
import type {
  AuditCut,
  AuditRange,
  AuditSink,
  ExitAppender,
  Head,
  RecordFilter,
  ReplicaMark,
  SealedRecord,
  Selection,
  SnapshotFiles,
  StateRequest,
  Store,
  StoreDescription,
  StoreState,
  TallyColumn,
  TreeFiles,
} from '../../ledger/store.ts'
import type { Database } from '../sql/driver.ts'
import { dataKeysIn } from '../keys/key-file.ts'
import type { DataKeyFile } from '../keys/key-file.ts'
import { countRecords, tallyRecords } from '../sql/select.ts'
import { treeFilesIn } from '../tree/tree-files.ts'
import { auditDatabase } from './audit.ts'
import { BUSY_TIMEOUT_MS, patiently } from '../sql/patience.ts'
import { BLOCKING_MS, openLedgerDatabase, sizeOf } from './connection.ts'
import type { SqliteStoreOptions } from './connection.ts'
import { LinePages } from './line-pages.ts'
import { SqliteUpkeep } from './upkeep.ts'
import { watchDatabase } from './watching.ts'
import { appendRecords, readHead, readState } from './writing.ts'

export type { SqliteStoreOptions } from './connection.ts'

/**
 * Opens the ledger in the file `path`, and makes a new one where none is (unless `readOnly` or `create: false`).
 * @throws LedgerError `not_found` | `not_a_ledger` | `newer_format` | `damaged` | `locked` | `read_only` | `unsupported` | `io_error`
 */
export async function openSqliteStore(path: string, options: SqliteStoreOptions = {}): Promise<Store> {
  return new SqliteStore(await openLedgerDatabase(path, options), options)
}

class SqliteStore implements Store {
  readonly kind = 'sqlite'
  readonly location: string
  readonly readOnly: boolean
  readonly segmentFull = false
  readonly segment = null
  readonly recovered = null
  readonly tree: TreeFiles
  readonly replica: ReplicaMark
  readonly snapshots: SnapshotFiles
  readonly dataKeys: DataKeyFile
  readonly atExit: ExitAppender
  readonly upkeep: SqliteUpkeep
  private database: Database | null
  private readonly busyTimeoutMs: number

  constructor(database: Database, options: SqliteStoreOptions) {
    this.database = database
    this.location = database.path
    // Not in the database: filling it would take the lock that appends need.
    this.tree = treeFilesIn(`${database.path}-tree`)
    this.readOnly = options.readOnly ?? false
    this.replica = replicaFile(`${database.path}-replica`, this.readOnly)
    this.snapshots = snapshotFilesIn(`${database.path}-snapshots`, this.readOnly)
    this.dataKeys = dataKeysIn(`${database.path}-keys`, this.readOnly, database.driver)
    this.busyTimeoutMs = options.busyTimeoutMs ?? BUSY_TIMEOUT_MS
    const access = {
      display: database.path,
      run: <T>(work: (open: Database) => T) => this.waiting(work),
      assertWritable: () => this.assertWritable(),
    }
    this.upkeep = new SqliteUpkeep(access, () => this.open(), this.busyTimeoutMs)
    // Nothing here is ever under way when other code runs: an append is one synchronous call.
    this.atExit = {
      settle: () => {},
      state: (request) => this.blocking((open) => readState(open, request)),
      append: (records, expected) => this.blocking((open) => appendRecords(open, records, expected)),
    }
  }

  state(request: StateRequest): Promise<StoreState> {
    return this.waiting((open) => readState(open, request))
  }

  async append(records: readonly SealedRecord[], expected: Head): Promise<void> {
    // Whoever appends all the time would never let it get the lock.
    await this.upkeep.busy
    return this.waiting((open) => appendRecords(open, records, expected))
  }

  watch(signal: AbortSignal): AsyncIterable<void> {
    return watchDatabase(() => this.database, signal)
  }

  async *read(selection: Selection): AsyncGenerator<readonly Uint8Array[]> {
    const pages = await this.waiting((open) => {
      const before = selection.before === Infinity ? readHead(open).size : selection.before
      return new LinePages(open, { ...selection, before })
    })
    for (;;) {
      const chunk = await this.waiting(() => pages.next())
      if (chunk.length === 0) return
      yield chunk
      // Between chunks the rest of the program has its turn; promises alone would keep it out.
      await turnOfTheLoop()
    }
  }

  /** A ledger has no gaps, so its size says how many records there are; `verify` says so where it is not true. */
  count(filter: RecordFilter): Promise<number> {
    return this.waiting((open) => (isEmptyFilter(filter) ? readHead(open).size : countRecords(open, filter)))
  }

  tally(column: TallyColumn, filter: RecordFilter): Promise<ReadonlyMap<string, number>> {
    return this.waiting((open) => tallyRecords(open, column, filter))
  }

  describe(): Promise<StoreDescription> {
    return this.waiting((open) => {
      const walBytes = sizeOf(`${this.location}-wal`)
      return {
        kind: this.kind,
        bytes: Number(open.pragma('PRAGMA page_count')) * Number(open.pragma('PRAGMA page_size')) + walBytes,
        records: readHead(open).size,
        wal_bytes: walBytes,
        driver: open.driver,
        sqlite_version: open.sqliteVersion,
      }
    })
  }

  async audit(sink: AuditSink, signal?: AbortSignal, range?: AuditRange): Promise<void> {
    await auditDatabase((work) => this.waiting(work), sink, signal, range)
  }

  auditCut(share: number): Promise<AuditCut | null> {
    return this.waiting((open) => {
      const seq = Math.floor(readHead(open).size * share)
      return seq > 0 ? { seq, bytes: Number(open.pragma('PRAGMA page_count')) * Number(open.pragma('PRAGMA page_size')) } : null
    })
  }

  /** Nothing is derived: indexes are part of each transaction. The log needs no emptying to be durable. */
  async flush(): Promise<void> {
    this.open()
  }

  async close(): Promise<void> {
    const { database } = this
    if (database === null) return
    this.database = null
    this.dataKeys.close()
    await this.upkeep.close()
    if (!this.readOnly) {
      try {
        // So that the ledger is one file when nobody uses it. A reader may be in the way; then the next one to close does it.
        database.exec('PRAGMA busy_timeout = 0')
        database.pragma('PRAGMA wal_checkpoint(TRUNCATE)')
      } catch {
        // A full disk, say. What is acknowledged is in the log, and stays there.
      }
    }
    database.close()
  }

  private open(): Database {
    if (this.database === null) throw new LedgerError('closed', `the ledger ${this.location} is closed: open it again`)
    return this.database
  }

  private assertWritable(): void {
    this.open()
    if (this.readOnly) throw new LedgerError('read_only', `${this.location} is open for reading: open it without readOnly`)
  }

  /** Runs `work` when no other process is in the way, without keeping the event loop from running meanwhile. */
  private async waiting<T>(work: (open: Database) => T): Promise<T> {
    for (;;) {
      try {
        return await patiently(this.busyTimeoutMs, () => work(this.open()))
      } catch (error) {
        // Its own thread was in the way, and for longer than anybody else may be.
        const { busy } = this.upkeep
        if (busy === null || !(error instanceof LedgerError) || error.code !== 'locked') throw error
        await busy
      }
    }
  }

  private blocking<T>(work: (open: Database) => T): T {
    const open = this.open()
    open.exec(`PRAGMA busy_timeout = ${this.busyTimeoutMs}`)
    try {
      return work(open)
    } finally {
      open.exec(`PRAGMA busy_timeout = ${BLOCKING_MS}`)
    }
  }
}
