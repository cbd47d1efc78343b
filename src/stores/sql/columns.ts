/**
 * The columns by which records are found, the same in every SQLite table of records: the table `records`, whose integer
 * primary key `seq` is the position, and the table `tags`. All are derived from the header and from two names in the
 * entry; the record's own bytes alone are the truth.
 */
import type { RecordHeader } from '../../verify/header.ts'
import { timeMicros } from '../../ledger/micros.ts'
import type { SqlValue } from './driver.ts'

/** In the order of `indexColumns` and of `INDEX_COLUMNS_SQL`. */
export const INDEX_COLUMNS = [
  'run_id',
  'stream',
  'stream_version',
  'type',
  'actor',
  'action',
  'outcome',
  'correlation_id',
  'causation_id',
  'timestamp_us',
  'recorded_us',
  'provider',
  'model',
] as const
export type IndexColumn = (typeof INDEX_COLUMNS)[number]

/** Column definitions of a STRICT table, to stand behind `seq INTEGER PRIMARY KEY`. Times are µs since the epoch. */
export const INDEX_COLUMNS_SQL = `run_id TEXT NOT NULL, stream TEXT NOT NULL, stream_version INTEGER NOT NULL, type TEXT NOT NULL,
  actor TEXT NOT NULL, action TEXT NOT NULL, outcome TEXT NOT NULL, correlation_id TEXT, causation_id TEXT,
  timestamp_us INTEGER NOT NULL, recorded_us INTEGER NOT NULL, provider TEXT, model TEXT`

/** `?, ?, …` for the values of `indexColumns`. */
export const INDEX_PLACEHOLDERS = INDEX_COLUMNS.map(() => '?').join(', ')

/** One row a tag; its key is its only index. */
export const TAGS_TABLE_SQL = `CREATE TABLE tags (tag TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (tag, seq)) STRICT, WITHOUT ROWID`

/**
 * The statements that make the indexes of `records`: one a condition of the filter, each of one column. SQLite puts the
 * row's seq behind it, so an index also gives the order, and answers "this value at this position" by itself.
 *
 * Their price (node:sqlite, synchronous FULL, batches of 1,000; µs a record, give or take 1):
 *
 *     entries of           200 bytes   1.3 KB
 *     without any index      6.7        10.9
 *     with all              18          26
 *     stream, correlation_id  3 to 4 each: their values come in no order, so each touches a page of its own
 *     run_id, causation_id    1 to 2 each: a UUIDv7 comes in order
 *     any other               below 1: few values, or (the times) in order; recorded_us costs nothing that can be measured
 *
 * Optional columns have partial indexes, so a record without the value pays nothing. Nothing is unique here: a writer
 * compares the head under the lock, so a run_id or a stream_version can't come twice by a race, and in a table with a
 * unique index INSERT OR REPLACE could remove a record. No index begins with stream and goes on with stream_version: the
 * last version of a stream is that of its last record.
 */
export const INDEX_STATEMENTS: readonly string[] = [
  'CREATE INDEX records_by_run_id ON records (run_id)',
  'CREATE INDEX records_by_stream ON records (stream)',
  'CREATE INDEX records_by_type ON records (type)',
  'CREATE INDEX records_by_actor ON records (actor)',
  'CREATE INDEX records_by_action ON records (action)',
  'CREATE INDEX records_by_outcome ON records (outcome)',
  'CREATE INDEX records_by_correlation_id ON records (correlation_id) WHERE correlation_id IS NOT NULL',
  'CREATE INDEX records_by_causation_id ON records (causation_id) WHERE causation_id IS NOT NULL',
  'CREATE INDEX records_by_timestamp_us ON records (timestamp_us)',
  'CREATE INDEX records_by_recorded_us ON records (recorded_us)',
  'CREATE INDEX records_by_provider ON records (provider) WHERE provider IS NOT NULL',
  'CREATE INDEX records_by_model ON records (model) WHERE model IS NOT NULL',
]

/** The values of a record's index columns, in the order of `INDEX_COLUMNS`. */
export function indexColumns(header: RecordHeader, provider: string | null, model: string | null): SqlValue[] {
  return [
    header.run_id,
    header.stream,
    header.stream_version,
    header.type,
    header.actor,
    header.action,
    header.outcome,
    header.correlation_id ?? null,
    header.causation_id ?? null,
    timeMicros(header.timestamp),
    timeMicros(header.recorded_at),
    provider,
    model,
  ]
}
