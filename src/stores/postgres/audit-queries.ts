/** What an audit asks besides the rows themselves. */
import type { Row } from './bound-query.ts'

/** Differences of one kind that are told one by one. */
const TOLD_MAX = 100

/** Before a query of the same transaction: no index is asked. */
export const TABLE_ONLY =
  'SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_seqscan = on'

/** Where the records end, and what the head row says of it. */
export interface End {
  /** The highest position that there is; -1 where there is none; the highest possible where nobody can say. */
  readonly last: bigint
  /** Of the record there, where the query gives it. */
  readonly hash: string | null
  /** Of the head row; null where there is none. */
  readonly size: string | null
  readonly head: string | null
  /** Rows of the ledger, as the table has them; null where they were not counted. */
  readonly rows: number | null
  /** Of them, those in a partition that is not their month's. */
  readonly misplaced: number
}

export function endOf([size, head, seq, hash, rows, misplaced]: Row, isCounted: boolean): End {
  return {
    last: seq === null || seq === undefined ? -1n : BigInt(seq),
    hash: hash ?? null,
    size: size ?? null,
    head: head ?? null,
    rows: isCounted ? Number(rows) : null,
    misplaced: isCounted ? Number(misplaced) : 0,
  }
}

export const HEAD_ONLY = 'SELECT size, hash FROM heads WHERE ledger_id = $1'

export const END_BY_INDEX = `SELECT h.size, h.hash, a.seq, a.hash, NULL, NULL
  FROM (SELECT $1::integer AS id) AS l LEFT JOIN heads AS h ON h.ledger_id = l.id
  LEFT JOIN LATERAL (SELECT seq, hash FROM audit_log WHERE ledger_id = l.id ORDER BY seq DESC LIMIT 1) AS a ON true`

/** The months by their partitions, as the server prints their bounds; a partition without bounds in time takes none. */
const MONTHS = `WITH bounds AS MATERIALIZED (
    SELECT c.oid, c.relname, pg_get_expr(c.relpartbound, c.oid) AS bound
    FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid WHERE i.inhparent = 'audit_log'::regclass),
  months AS MATERIALIZED (
    SELECT oid, relname, bound = 'DEFAULT' AS is_default,
      (regexp_match(bound, 'FROM \\(''([^'']+)''\\)'))[1]::timestamptz AS first_moment,
      (regexp_match(bound, 'TO \\(''([^'']+)''\\)'))[1]::timestamptz AS next_moment
    FROM bounds)`

/** Adding nothing keeps the planner from taking the partition's own word for what is in it. */
const IS_MISPLACED = `CASE WHEN m.is_default THEN EXISTS (
      SELECT FROM months AS o WHERE a.recorded_at >= o.first_moment AND a.recorded_at < o.next_moment)
    ELSE a.recorded_at + interval '0' < m.first_moment OR a.recorded_at + interval '0' >= m.next_moment END`

export const END_BY_TABLE = `${MONTHS}
  SELECT h.size, h.hash, t.last, NULL, t.rows, t.misplaced
  FROM (SELECT count(*) AS rows, max(a.seq) AS last, count(*) FILTER (WHERE ${IS_MISPLACED}) AS misplaced
    FROM audit_log AS a LEFT JOIN months AS m ON m.oid = a.tableoid WHERE a.ledger_id = $1) AS t
  LEFT JOIN heads AS h ON h.ledger_id = $1`

/** Rows (seq, partition, the one of its month). */
export const MISPLACED = `${MONTHS}
  SELECT a.seq, m.relname, partition_of(month_of(a.recorded_at))
  FROM audit_log AS a JOIN months AS m ON m.oid = a.tableoid WHERE a.ledger_id = $1 AND ${IS_MISPLACED} ORDER BY a.seq LIMIT ${TOLD_MAX}`

/** Rows (run_id, of the record and of the key: seq, time) that do not fit. */
export const KEYS_DIFFER = `SELECT coalesce(a.run_id, k.run_id), a.seq, k.seq, a.recorded_at, k.recorded_at
  FROM (SELECT run_id, seq, recorded_at FROM audit_log WHERE ledger_id = $1 AND seq BETWEEN $2 AND $3) AS a
  FULL JOIN (SELECT run_id, seq, recorded_at FROM run_keys WHERE ledger_id = $1 AND seq BETWEEN $2 AND $3) AS k ON a.run_id = k.run_id
  WHERE a.seq IS DISTINCT FROM k.seq OR a.recorded_at IS DISTINCT FROM k.recorded_at
  ORDER BY coalesce(a.seq, k.seq) LIMIT ${TOLD_MAX}`
