/**
 * Feeds every row to a verifier, and checks what only this store can see: that index columns, run keys, partitions and
 * the head say what the records say, so that no query is answered from something that was changed behind them.
 *
 * Rows are read in the order of an index, and an index is the server's to keep: one that was made to leave rows out
 * would hide them from this reading and show them to other queries. So the rows are also counted without any index.
 */
import { LedgerError } from '../../ledger/errors.ts'
import type { AuditRange, AuditSink } from '../../ledger/store.ts'
import type { Problem } from '../../verify/report.ts'
import { RowAudit, ROW_SQL, ROW_COLUMNS } from './audit-row.ts'
import { END_BY_INDEX, END_BY_TABLE, HEAD_ONLY, KEYS_DIFFER, MISPLACED, TABLE_ONLY, endOf } from './audit-queries.ts'
import type { End } from './audit-queries.ts'
import { copyOut } from './copy-out.ts'
import { isConnectionLoss, isStandbyConflict, sqlStateOf } from './errors.ts'
import type { Row } from './bound-query.ts'
import type { Session } from './session.ts'
import type { Sessions } from './sessions.ts'
import type { LedgerPlace } from './writing.ts'

/** Rows that are read by one statement: each has a snapshot of its own, so that none is held for long. */
const PIECE_ROWS = 50_000
/** How often a query is asked that a standby stops, before the audit goes on without its answer. */
const CONFLICTS_MAX = 5

/** Any that a row may hold, since another hand may have put it there. */
const FIRST = -(2n ** 63n)
const LAST = 2n ** 63n - 1n

/** Damaged pages, values and files of the server, in all the ways in which it may say so. */
function isDamage(error: unknown): error is LedgerError {
  return error instanceof LedgerError && (error.code === 'damaged' || /^(XX|22|54|58)/.test(sqlStateOf(error) ?? ''))
}

/** How rows are looked for: as the server likes, without any index, or by an index so that one bad page does not spoil all. */
type Manner = 'any' | 'table' | 'index'
const MANNERS: Readonly<Record<Manner, string>> = {
  any: 'RESET enable_indexscan; RESET enable_bitmapscan; RESET enable_seqscan',
  table: 'SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_seqscan = on',
  index: 'SET enable_indexscan = on; SET enable_bitmapscan = off; SET enable_seqscan = off',
}

class Audit {
  readonly #sessions: Sessions
  readonly #place: LedgerPlace
  readonly #sink: AuditSink
  readonly #rows: RowAudit
  readonly #signal: AbortSignal | undefined
  #session: Session | null = null
  #manner: Manner = 'any'
  #isDamaged = false
  /** Why something could not be compared. */
  #missing: string | undefined

  constructor(sessions: Sessions, place: LedgerPlace, sink: AuditSink, signal: AbortSignal | undefined) {
    this.#sessions = sessions
    this.#place = place
    this.#sink = sink
    this.#signal = signal
    this.#rows = new RowAudit(sink)
  }

  async run(range: AuditRange | undefined): Promise<void> {
    this.#sink.file(null, null)
    const isFirst = range === undefined || range.from === 0
    const isLast = range === undefined || range.before === Infinity
    const from = isFirst ? FIRST : BigInt(range.from)
    try {
      const end = await this.#end(isFirst)
      const last = isLast ? end.last : BigInt(range.before) - 1n < end.last ? BigInt(range.before) - 1n : end.last
      // A key beyond the head would keep its id from ever being recorded. What is appended meanwhile has row and key. The
      // server has it ready by the time that all rows are read: it took a tenth of an audit while this thread did nothing.
      const keys = this.#answer(KEYS_DIFFER, [this.#place.id, String(from), String(isLast ? LAST : last)])
      keys.catch(() => {})
      await this.#readAll(from, last, end)
      this.#keys(this.#told(await keys))
      if (isFirst) await this.#placed(end, isLast)
      if (isLast) {
        this.#head(end)
        await this.#readSince(last, end)
      }
    } finally {
      await this.#session?.end()
    }
    this.#sink.columnsChecked(this.#missing)
  }

  /** The head row, and where the records end, in one view: as the table has them where all are audited, else by the index. */
  async #end(isFirst: boolean): Promise<End> {
    const { id } = this.#place
    const rows = isFirst ? await this.#ask(END_BY_TABLE, [id], TABLE_ONLY) : null
    const found = rows ?? (await this.#ask(END_BY_INDEX, [id]))
    if (found !== null) return endOf(found[0] as Row, isFirst && rows !== null)
    const [head] = (await this.#ask(HEAD_ONLY, [id])) ?? []
    return { last: LAST, hash: null, size: head?.[0] ?? null, head: head?.[1] ?? null, rows: null, misplaced: 0 }
  }

  /** The answer to one query; null where the server can't give it, which is then told. */
  async #ask(text: string, values: readonly (number | string)[], manner?: string): Promise<readonly Row[] | null> {
    return this.#told(await this.#answer(text, values, manner))
  }

  /**
   * The answer to one query, or why the server can't give it.
   * @param manner statements before it, of one transaction
   */
  async #answer(text: string, values: readonly (number | string)[], manner?: string): Promise<readonly Row[] | LedgerError> {
    for (let conflicts = 0; ;) {
      this.#signal?.throwIfAborted()
      try {
        return await this.#sessions.reading(async (session) => {
          if (manner === undefined) return session.query({ text, isUnhurried: true }, values)
          return session.transaction(async () => {
            await session.query({ text: manner })
            return session.query({ text, isUnhurried: true }, values)
          })
        })
      } catch (error) {
        if (isStandbyConflict(error) && ++conflicts < CONFLICTS_MAX) continue
        if (!(error instanceof LedgerError) || !(isStandbyConflict(error) || isDamage(error))) throw error
        return error
      }
    }
  }

  #told(answer: readonly Row[] | LedgerError): readonly Row[] | null {
    if (!(answer instanceof LedgerError)) return answer
    if (isStandbyConflict(answer)) {
      this.#missing ??= 'the standby stopped the query: verify on the primary, or raise max_standby_streaming_delay'
    } else this.#unreadable(null, 'tables and indexes that can be read', answer)
    return null
  }

  #unreadable(seq: bigint | null, expected: string, { message }: LedgerError): void {
    this.#isDamaged = true
    const where = seq === null ? null : { row: Number(seq) }
    this.#sink.problem({ code: 'unreadable', seq: where?.row ?? null, expected, found: message, where })
  }

  #differ(seq: number | null, expected: string, found: string): void {
    const problem: Problem = { code: 'column_mismatch', seq, expected, found, where: seq === null ? null : { row: seq } }
    this.#sink.problem(problem)
  }

  #head({ last, hash, size, head }: End): void {
    if (last === LAST) return
    const read = this.#rows.last
    const known = last === -1n ? 'GENESIS' : read?.seq === last ? read.hash : hash
    // A last record that can't be read was told already.
    const text = (size: unknown, hash: string | null): string => `size=${size}${known === null ? '' : ` hash=${hash}`}`
    const expected = text(last < 0n ? 0n : last + 1n, known)
    const found = size === null ? 'no row' : text(size, head)
    if (found !== expected) this.#differ(null, `heads: ${expected}`, `heads: ${found}`)
  }

  /** An entry that was found withheld is named by a record that was durable before: if need be by one that has come since. */
  async #readSince(before: bigint, end: End): Promise<void> {
    for (let last = before; this.#rows.hasWithheld && last !== LAST;) {
      this.#rows.hasWithheld = false
      const now = await this.#end(false)
      if (now.last <= last || now.last === LAST) return
      await this.#readAll(last + 1n, now.last, end)
      last = now.last
    }
  }

  /** Rows that an index hides, and rows in another month's partition, which queries by time pass over. */
  async #placed({ rows, last, misplaced }: End, isLast: boolean): Promise<void> {
    // Of the first part of two only what a whole ledger must have: where it has not, one reading of all finds out more.
    const read = isLast ? this.#rows.count : Number(last) + 1
    if (rows !== null && rows !== read && !this.#isDamaged) {
      this.#sink.problem({
        code: 'unreadable',
        seq: null,
        expected: `the ${rows} rows that the table has`,
        found: `${read} rows by its index, which leaves some out or gives some twice: REINDEX TABLE audit_log, then verify again`,
        where: null,
      })
    }
    if (misplaced === 0) return
    for (const [seq, found, expected] of (await this.#ask(MISPLACED, [this.#place.id], TABLE_ONLY)) ?? [])
      this.#differ(Number(seq), `partition=${expected}`, `partition=${found}`)
  }

  async #readAll(first: bigint, last: bigint, end: End): Promise<void> {
    let from = first
    while (from <= last) {
      this.#signal?.throwIfAborted()
      const read = await this.#read(from, last, PIECE_ROWS)
      if (read === 'unreadable') return this.#readAround(this.#rows.next(from), last, end)
      if (read < PIECE_ROWS) return
      from = this.#rows.next(from)
    }
  }

  /** Around what can't be read. Without any index first: where it was only that, nothing is lost. */
  async #readAround(from: bigint, last: bigint, { size }: End): Promise<void> {
    this.#use('table')
    if ((await this.#read(from, last)) !== 'unreadable') {
      const error = new LedgerError('damaged', 'the rows could be read without their indexes only: REINDEX TABLE audit_log')
      return this.#unreadable(null, 'an index that can be read', error)
    }
    this.#use('index')
    // Where the end is not known: up to the head by halves, then what lies behind it.
    const head = BigInt(size ?? 0)
    const cut = last === LAST && head > from ? head - 1n : last
    await this.#halve(from, cut)
    if (cut < last) await this.#halve(cut + 1n, last)
  }

  /** The range is halved until only the rows on bad pages are left out. What was read is not read again. */
  async #halve(first: bigint, last: bigint): Promise<void> {
    this.#signal?.throwIfAborted()
    if (first > last || (await this.#read(first, last)) !== 'unreadable') return
    const from = this.#rows.next(first)
    if (from > last) return
    if (from === last) {
      // A single position; where others were read before it by the same statement, it is asked for alone.
      const read = from === first ? 'unreadable' : await this.#read(from, last)
      if (read === 'unreadable') this.#unreadable(from, 'a record', this.#damage as LedgerError)
      return
    }
    const middle = (from + last) >> 1n
    await this.#halve(from, middle)
    await this.#halve(middle + 1n, last)
  }

  #damage: LedgerError | null = null

  /** Gives how many rows it read; they may be some more than `limit`, so that rows of one position stay together. */
  async #read(first: bigint, last: bigint, limit?: number): Promise<number | 'unreadable'> {
    const before = this.#rows.count
    let from = first
    let deadline = performance.now() + this.#sessions.patience_ms
    for (let lost = 0; ; lost++) {
      await this.#sessions.pause(lost)
      const read = this.#rows.count
      try {
        const session = await this.#open()
        await copyOut(session, rowsQuery(this.#place.id, from, last, limit), ROW_COLUMNS, this.#place.display, (row) => {
          from = this.#rows.check(row) + 1n
        })
        return this.#rows.count - before
      } catch (error) {
        if (isDamage(error)) {
          this.#damage = error
          return 'unreadable'
        }
        if (!isConnectionLoss(error) && !isStandbyConflict(error)) throw error
        this.#session?.destroy()
        this.#signal?.throwIfAborted()
        // As long as it goes on, it goes on.
        if (this.#rows.count > read) {
          deadline = performance.now() + this.#sessions.patience_ms
          lost = 0
        } else if (performance.now() >= deadline) throw error
      }
    }
  }

  #use(manner: Manner): void {
    this.#manner = manner
    this.#session?.destroy()
  }

  async #open(): Promise<Session> {
    if (this.#session !== null && !this.#session.isLost) return this.#session
    this.#session = await this.#sessions.streaming()
    await this.#session.query({ text: MANNERS[this.#manner] })
    return this.#session
  }

  /** Keys that lead nowhere or elsewhere, and records that no key leads to. */
  #keys(rows: readonly Row[] | null): void {
    for (const [run_id, seq, keySeq, time, keyTime] of rows ?? []) {
      const place = (seq: unknown, time: unknown): string => (seq === null ? 'nowhere' : `at ${seq}, recorded ${time}`)
      this.#differ(Number(seq ?? keySeq), `run_keys: ${run_id} ${place(seq, time)}`, `run_keys: ${run_id} ${place(keySeq, keyTime)}`)
    }
  }
}

/** In quotes, since the lowest bigint is none without. */
function rowsQuery(ledger: number, first: bigint, last: bigint, limit: number | undefined): string {
  const pages = limit === undefined ? '' : ` FETCH FIRST ${limit} ROWS WITH TIES`
  return `SELECT ${ROW_SQL} FROM audit_log AS a WHERE a.ledger_id = ${ledger} AND a.seq >= '${first}'::bigint AND a.seq <= '${last}'::bigint ORDER BY a.seq${pages}`
}

/** Of a range: only rows that were there at the start. @throws LedgerError `unsupported` for a role that may not see all */
export async function auditRows(
  sessions: Sessions,
  place: LedgerPlace,
  sink: AuditSink,
  signal?: AbortSignal,
  range?: AuditRange,
): Promise<void> {
  if (place.headersOnly === true) {
    throw new LedgerError(
      'unsupported',
      `this role may see the headers of ${place.display} only, and whole records are verified: publish the ledger (cortex-ledger publish) and verify what was published, or verify as a reader`,
    )
  }
  await new Audit(sessions, place, sink, signal).run(range)
}
