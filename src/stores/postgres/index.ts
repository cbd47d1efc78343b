/**
 * A ledger in a PostgreSQL database: the table `audit_log` is the truth, and one row holds the head. Any number of
 * processes append; the head decides who comes first, and the order of seq is the order of commit, so no reader skips.
 */
import { setImmediate as turnOfTheLoop } from 'node:timers/promises'
import { LedgerError } from '../../ledger/errors.ts'
import { isEmptyFilter } from '../../ledger/filter.ts'
import type {
  AuditCut,
  AuditRange,
  AuditSink,
  DataKeyStore,
  ExitAppender,
  Head,
  RecordFilter,
  ReplicaMark,
  SealedFor,
  SealedRecord,
  Selection,
  SnapshotFiles,
  StateRequest,
  Store,
  StoreDescription,
  StoreState,
  TallyColumn,
  TreeFiles,
  Turn,
  UnsealedRecord,
} from '../../ledger/store.ts'
import { emitWarning } from '../../ledger/warning.ts'
import { auditRows } from './audit.ts'
import { dataKeysInTable } from './data-keys.ts'
import { ExitThread } from './exit.ts'
import { describeTables } from './describe.ts'
import { openSessions } from './opening.ts'
import type { Opened, PostgresStoreOptions } from './opening.ts'
import { HEADERS_PAGE, PAGE_BYTES, countQuery, pageQuery, tallyQuery } from './select.ts'
import type { Query as SelectQuery } from './select.ts'
import { Notices } from './notices.ts'
import type { Row } from './bound-query.ts'
import type { Sessions } from './sessions.ts'
import { snapshotsInTable } from './snapshots.ts'
import { replicaInTable, treeInTables } from './tree.ts'
import type { TreeAccess } from './tree.ts'
import { PostgresUpkeep } from './upkeep.ts'
import { Appending } from './appending.ts'
import { readState } from './writing.ts'
import type { LedgerPlace } from './writing.ts'

export type { PostgresStoreOptions } from './opening.ts'

/** Rows of the first page of a reading, and of those that follow: whoever wants one record should not wait for a thousand. */
const PAGE_ROWS_FIRST = 64
const PAGE_ROWS = 512

/**
 * Opens the ledger that the URL names (`docs/guides/postgres.md`), and makes tables and ledger where there are none
 * (unless `readOnly` or `create: false`).
 * @throws LedgerError `not_found` | `not_a_ledger` | `newer_format` | `read_only` | `unsupported` | `io_error`
 * @throws TypeError for a URL that is none
 */
export async function openPostgresStore(url: string, options: PostgresStoreOptions = {}): Promise<Store> {
  return new PostgresStore(url, await openSessions(url, options), options)
}

class PostgresStore implements Store {
  readonly kind = 'postgres'
  readonly location: string
  readonly readOnly: boolean
  readonly mayLag: boolean
  readonly segmentFull = false
  readonly segment = null
  readonly recovered = null
  readonly pipelined = true
  readonly tree: TreeFiles
  readonly atExit: ExitAppender
  readonly replica: ReplicaMark
  readonly snapshots: SnapshotFiles
  readonly dataKeys: DataKeyStore
  readonly upkeep: PostgresUpkeep
  readonly #sessions: Sessions
  readonly #place: LedgerPlace
  readonly #appending: Appending
  readonly #now: () => number | null
  readonly #notices: Notices

  constructor(url: string, { sessions, place, hosts, serverClock }: Opened, options: PostgresStoreOptions) {
    this.#sessions = sessions
    this.#place = place
    this.location = place.display
    this.readOnly = options.readOnly ?? false
    // Who writes reads from the primary alone.
    this.mayLag = this.readOnly && hosts > 1
    this.#now = options.databaseClock === false ? () => null : serverClock
    this.#notices = new Notices(sessions, place.id)
    this.#appending = new Appending({
      sessions,
      place,
      now: this.#now,
      warn: options.onWarning ?? emitWarning,
      appended: () => this.#notices.tell(),
    })
    this.atExit = new ExitThread(url, options, sessions, this.#appending)
    const access = { place, reading: (work) => sessions.reading(work), assertWritable: () => this.#assertWritable() } satisfies TreeAccess
    this.tree = treeInTables(access)
    this.replica = replicaInTable(access)
    this.snapshots = snapshotsInTable(access)
    this.dataKeys = dataKeysInTable(access)
    this.upkeep = new PostgresUpkeep(access, sessions)
  }

  #assertWritable(): void {
    this.#sessions.assertOpen()
    if (this.readOnly) throw new LedgerError('read_only', `${this.location} is open for reading: open it without readOnly to record`)
  }

  now(): number | null {
    return this.#now()
  }

  state(request: StateRequest): Promise<StoreState> {
    if (!this.readOnly && this.#appending.isUncertain) return this.#appending.confirmed(request)
    return this.#sessions.reading((session) => readState(session, this.#place, request)).then((state) => this.#appending.withClock(state))
  }

  confirmedState(request: StateRequest): Promise<StoreState> {
    this.#assertWritable()
    return this.#appending.confirmed(request)
  }

  async append(records: readonly SealedRecord[], expected: Head): Promise<void> {
    this.#assertWritable()
    await this.#appending.append(records, expected)
  }

  async takeTurn(request: StateRequest): Promise<Turn> {
    this.#assertWritable()
    return this.#appending.takeTurn(request)
  }

  async sealAndAppend(records: readonly UnsealedRecord[]): Promise<SealedFor | null> {
    this.#assertWritable()
    return this.#appending.sealAndAppend(records)
  }

  watch(signal: AbortSignal): AsyncIterable<void> {
    return this.#notices.heard(signal)
  }

  async *read(selection: Selection): AsyncGenerator<readonly Uint8Array[]> {
    this.#sessions.assertOpen()
    let { from, limit } = selection
    // The end is taken when reading starts: a selection of all does not chase a writer for ever.
    let before = selection.before === Infinity ? (await this.#head()).size : selection.before
    for (let rows = PAGE_ROWS_FIRST; from < before && limit > 0; rows = PAGE_ROWS) {
      const wanted = Math.min(rows, limit)
      // Each page is a statement of its own: a slow consumer holds no snapshot, which would keep the head's old versions alive.
      const page = await this.#answer(pageQuery(this.#place, { ...selection, from, before }, wanted))
      const last = page.at(-1)
      if (last === undefined) return
      let bytes = 0
      const lines = page.map(([, line]) => {
        const buffer = Buffer.from(line as string)
        bytes += buffer.length
        return buffer
      })
      yield lines
      if (selection.reverse) before = Number(last[0])
      else from = Number(last[0]) + 1
      limit -= page.length
      if (page.length < wanted && bytes < PAGE_BYTES) return
      await turnOfTheLoop()
    }
  }

  async *readHeaders(from: number, before: number): AsyncGenerator<readonly Uint8Array[]> {
    for (let next = from; next < before;) {
      const values = [this.#place.id, next, before, PAGE_ROWS]
      const page = await this.#sessions.reading((session) => session.query(HEADERS_PAGE, values))
      const last = page.at(-1)
      if (last === undefined) return
      yield page.map(([, line]) => Buffer.from(line as string))
      next = Number(last[0]) + 1
    }
  }

  /** No rows where no record can fit. */
  async #answer(query: SelectQuery | null): Promise<readonly Row[]> {
    this.#sessions.assertOpen()
    return query === null ? [] : this.#sessions.reading((session) => session.query(query.statement, query.values))
  }

  async #head(): Promise<Head> {
    return (await this.#sessions.reading((session) => readState(session, this.#place, { streams: [], run_ids: [] }))).head
  }

  /** A ledger has no gaps, so its size says how many records there are; `verify` says so where it is not true. */
  async count(filter: RecordFilter): Promise<number> {
    if (isEmptyFilter(filter)) return (await this.#head()).size
    const [row] = await this.#answer(countQuery(this.#place.id, filter))
    return Number(row?.[0] ?? 0)
  }

  async tally(column: TallyColumn, filter: RecordFilter): Promise<ReadonlyMap<string, number>> {
    const rows = await this.#answer(tallyQuery(this.#place.id, column, filter))
    return new Map(rows.map(([value, count]) => [value as string, Number(count)]))
  }

  describe(): Promise<StoreDescription> {
    return this.#sessions.reading((session) => describeTables(session, this.#place))
  }

  audit(sink: AuditSink, signal?: AbortSignal, range?: AuditRange): Promise<void> {
    return auditRows(this.#sessions, this.#place, sink, signal, range)
  }

  async auditCut(share: number): Promise<AuditCut | null> {
    const { size } = await this.#head()
    const seq = Math.floor(size * share)
    if (seq < 1) return null
    const { bytes } = await this.describe()
    return { seq, bytes }
  }

  /** Nothing is derived: indexes are part of each transaction. */
  async flush(): Promise<void> {
    this.#sessions.assertOpen()
  }

  close(): Promise<void> {
    return this.#sessions.close()
  }
}
