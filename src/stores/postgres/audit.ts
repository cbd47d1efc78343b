/**
 * Feeds every row to a verifier, and checks what only this store can see: that index columns, run keys and the head say
 * what the records say, so that no query is answered from something that was changed behind them.
 */
import { LedgerError } from '../../ledger/errors.ts'
import type { AuditRange, AuditSink } from '../../ledger/store.ts'
import { RowAudit, ROW_SQL, ROW_COLUMNS } from './audit-row.ts'
import { copyOut } from './copy-out.ts'
import { isConnectionLoss, isStandbyConflict } from './errors.ts'
import type { Session } from './session.ts'
import type { Sessions } from './sessions.ts'
import type { LedgerPlace } from './writing.ts'

/** Positions that are read by one statement: each has a snapshot of its own, so that none is held for long. */
const RANGE_ROWS = 50_000
/** Differences of one kind that are told one by one. */
const TOLD_MAX = 100

/** Positions, both included. Any that a row may hold, since another hand may have put it there. */
interface Positions {
  readonly first: bigint
  readonly last: bigint
}

const FIRST = -(2n ** 63n)

function isDamage(error: unknown): error is LedgerError {
  return error instanceof LedgerError && error.code === 'damaged'
}

class Audit {
  readonly #sessions: Sessions
  readonly #place: LedgerPlace
  readonly #sink: AuditSink
  readonly #rows: RowAudit
  readonly #signal: AbortSignal | undefined
  #session: Session | null = null

  constructor(sessions: Sessions, place: LedgerPlace, sink: AuditSink, signal: AbortSignal | undefined) {
    this.#sessions = sessions
    this.#place = place
    this.#sink = sink
    this.#signal = signal
    this.#rows = new RowAudit(sink)
  }

  async run(range: AuditRange | undefined): Promise<void> {
    this.#sink.file(null, null)
    try {
      const end = await this.#end()
      const from = range === undefined || range.from === 0 ? FIRST : BigInt(range.from)
      const before = range === undefined || range.before === Infinity ? end.last + 1n : BigInt(range.before)
      for (const positions of pieces(from, before)) {
        this.#signal?.throwIfAborted()
        await this.#read(positions)
      }
      const last = before < end.last + 1n ? before - 1n : end.last
      await this.#keys(from, last)
      if (range === undefined || range.before === Infinity) this.#head(end)
    } finally {
      await this.#session?.end()
    }
    this.#sink.columnsChecked()
  }

  /** The head row, and what the records say, in one view. */
  async #end(): Promise<{ last: bigint; hash: string | null; size: string | null; head: string | null }> {
    const text = `SELECT a.seq, a.hash, h.size, h.hash FROM (SELECT $1::integer AS id) AS l LEFT JOIN heads AS h ON h.ledger_id = l.id
      LEFT JOIN LATERAL (SELECT seq, hash FROM audit_log WHERE ledger_id = l.id ORDER BY seq DESC LIMIT 1) AS a ON true`
    const [row] = await this.#sessions.reading((session) => session.query({ text }, [this.#place.id]))
    const [seq, hash, size, head] = row as [string | null, string | null, string | null, string | null]
    return { last: seq === null ? -1n : BigInt(seq), hash, size, head }
  }

  #head({ last, hash, size, head }: { last: bigint; hash: string | null; size: string | null; head: string | null }): void {
    const expected = `size=${last + 1n} hash=${hash ?? 'GENESIS'}`
    const found = size === null ? 'no row' : `size=${size} hash=${head}`
    if (found !== expected)
      this.#sink.problem({ code: 'column_mismatch', seq: null, expected: `heads: ${expected}`, found: `heads: ${found}`, where: null })
  }

  /** Where the server can't read a page, the range is halved until only the rows on it are left out. */
  async #read({ first, last }: Positions): Promise<void> {
    let from = first
    let [begun, deadline] = [from, performance.now() + this.#sessions.patience_ms]
    for (;;) {
      try {
        const session = await this.#open()
        await copyOut(session, rowsQuery(this.#place.id, from, last), ROW_COLUMNS, this.#place.display, (row) => {
          from = this.#rows.check(row) + 1n
        })
        return
      } catch (error) {
        if (isConnectionLoss(error) || isStandbyConflict(error)) {
          this.#session?.destroy()
          if (from > begun) [begun, deadline] = [from, performance.now() + this.#sessions.patience_ms]
          // Connecting has its patience, too: a server that stays away is not waited for without end.
          else if (performance.now() >= deadline) throw error
          continue
        }
        if (!isDamage(error)) throw error
        if (from >= last) {
          this.#sink.problem({
            code: 'unreadable',
            seq: Number(from),
            expected: 'a record',
            found: error.message,
            where: { row: Number(from) },
          })
          return
        }
        // What was read is not read again.
        const middle = (from + last) >> 1n
        await this.#read({ first: from, last: middle })
        await this.#read({ first: middle + 1n, last })
        return
      }
    }
  }

  async #open(): Promise<Session> {
    if (this.#session === null || this.#session.isLost) this.#session = await this.#sessions.streaming()
    return this.#session
  }

  /** Keys that lead nowhere or elsewhere, and records that no key leads to. */
  async #keys(first: bigint, last: bigint): Promise<void> {
    const rows = await this.#sessions.reading((session) =>
      session.query({ text: KEYS_DIFFER }, [this.#place.id, String(first), String(last)]),
    )
    for (const [run_id, seq, keySeq] of rows) {
      const row = Number(seq ?? keySeq)
      const place = (value: string | null | undefined): string => (value === null ? 'none' : String(value))
      this.#sink.problem({
        code: 'column_mismatch',
        seq: row,
        expected: `run_keys: ${run_id} at ${place(seq)}`,
        found: `run_keys: ${run_id} at ${place(keySeq)}`,
        where: { row },
      })
    }
  }
}

const KEYS_DIFFER = `SELECT coalesce(a.run_id, k.run_id), a.seq, k.seq
  FROM (SELECT run_id, seq, recorded_at FROM audit_log WHERE ledger_id = $1 AND seq BETWEEN $2 AND $3) AS a
  FULL JOIN (SELECT run_id, seq, recorded_at FROM run_keys WHERE ledger_id = $1 AND seq BETWEEN $2 AND $3) AS k ON a.run_id = k.run_id
  WHERE a.seq IS DISTINCT FROM k.seq OR a.recorded_at IS DISTINCT FROM k.recorded_at
  ORDER BY coalesce(a.seq, k.seq) LIMIT ${TOLD_MAX}`

function rowsQuery(ledger: number, first: bigint, last: bigint): string {
  return `SELECT ${ROW_SQL} FROM audit_log AS a WHERE a.ledger_id = ${ledger} AND a.seq >= ${first} AND a.seq <= ${last} ORDER BY a.seq, a.recorded_at`
}

/** Ranges that cover the positions; all that is before 0 in one. */
function* pieces(from: bigint, before: bigint): Generator<Positions> {
  if (from < 0n) yield { first: from, last: -1n }
  for (let first = from < 0n ? 0n : from; first < before; first += BigInt(RANGE_ROWS)) {
    const last = first + BigInt(RANGE_ROWS) - 1n
    yield { first, last: last < before ? last : before - 1n }
  }
}

/** Of a range: only rows that were there at the start. */
export function auditRows(
  sessions: Sessions,
  place: LedgerPlace,
  sink: AuditSink,
  signal?: AbortSignal,
  range?: AuditRange,
): Promise<void> {
  return new Audit(sessions, place, sink, signal).run(range)
}
