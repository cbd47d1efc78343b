/** Headers for the tests of src/stores/sql, and a table of them. */
import fc from 'fast-check'
import type { RecordFilter } from '../../../src/ledger/store.ts'
import {
  INDEX_COLUMNS,
  INDEX_COLUMNS_SQL,
  INDEX_PLACEHOLDERS,
  INDEX_STATEMENTS,
  TAGS_TABLE_SQL,
  indexColumns,
} from '../../../src/stores/sql/columns.ts'
import { openDatabase } from '../../../src/stores/sql/driver.ts'
import type { Database, DriverName } from '../../../src/stores/sql/driver.ts'
import { OUTCOMES } from '../../../src/verify/header.ts'
import type { RecordHeader } from '../../../src/verify/header.ts'

export interface Sample {
  readonly header: RecordHeader
  readonly provider: string | null
  readonly model: string | null
}

/** A few values of each column, so that random filters meet random records; strange ones among them. */
export const NAMES = ['a', 'b', 'A', 'ä', 'a ', '%', "'", '\u{1f600}', '\ufffd', 'NULL', '1'] as const
export const TIMES = [
  '0000-01-01T00:00:00.000000Z',
  '1684-06-05T04:03:02.000001Z',
  '1969-12-31T23:59:59.999999Z',
  '2026-11-22T20:15:33.123456Z',
  '2026-11-22T20:15:33.123457Z',
  '2026-11-22T20:15:34.000000Z',
  '9999-12-31T23:59:59.999998Z',
  '9999-12-31T23:59:59.999999Z',
] as const

export function sampleHeader(seq: number, fields: Partial<RecordHeader> = {}): RecordHeader {
  return {
    action: 'summarise',
    actor: 'analyst',
    entry_hash: '0'.repeat(64),
    outcome: 'success',
    previous_hash: '0'.repeat(64),
    recorded_at: '2026-11-22T20:15:33.123456Z',
    run_id: `run-${seq}`,
    schema: 1,
    seq,
    stream: 'task',
    stream_version: seq,
    timestamp: '2026-11-22T20:15:33.123456Z',
    type: 'AgentCallCompleted',
    v: 1,
    ...fields,
  }
}

const name = fc.constantFrom(...NAMES)
const time = fc.constantFrom(...TIMES)
const tagSet = fc.uniqueArray(name, { maxLength: 4 }).map((tags) => tags.sort())

export const samples: fc.Arbitrary<Sample[]> = fc
  .array(
    fc.record({
      action: name,
      actor: name,
      causation_id: fc.option(name),
      correlation_id: fc.option(name),
      outcome: fc.constantFrom(...OUTCOMES),
      recorded_at: time,
      stream: name,
      tags: tagSet,
      timestamp: time,
      type: name,
      provider: fc.option(name),
      model: fc.option(name),
    }),
    { maxLength: 40 },
  )
  .map((all) =>
    all.map(({ provider, model, tags, causation_id, correlation_id, ...fields }, seq) => ({
      header: sampleHeader(seq, {
        ...fields,
        ...(causation_id === null ? {} : { causation_id }),
        ...(correlation_id === null ? {} : { correlation_id }),
        ...(tags.length === 0 ? {} : { tags }),
      }),
      provider,
      model,
    })),
  )

const anyOf = fc.array(fc.oneof({ weight: 5, arbitrary: name }, { weight: 1, arbitrary: fc.constantFrom('nobody', '\ud800', 'a\0', '') }), {
  maxLength: 4,
})

export const filters: fc.Arbitrary<RecordFilter> = fc.record(
  {
    seq: fc.array(fc.nat(60), { maxLength: 60 }).map((seqs) => new Set(seqs)),
    run_id: fc.array(
      fc.nat(50).map((seq) => `run-${seq}`),
      { maxLength: 50 },
    ),
    correlation_id: anyOf,
    causation_id: anyOf,
    actor: anyOf,
    action: anyOf,
    outcome: fc.array(fc.constantFrom(...OUTCOMES), { maxLength: 4 }),
    type: anyOf,
    stream: anyOf,
    tags: fc.array(name, { maxLength: 2 }),
    provider: anyOf,
    model: anyOf,
    since: time,
    until: time,
    recorded_since: time,
    recorded_until: time,
  },
  { requiredKeys: [] },
)

/** Tables with every index in memory, holding the samples. */
export async function tableOf(driver: DriverName, all: Iterable<Sample>): Promise<Database> {
  const database = await openDatabase(':memory:', { driver })
  database.exec(`CREATE TABLE records (seq INTEGER PRIMARY KEY, ${INDEX_COLUMNS_SQL}) STRICT`)
  database.exec(TAGS_TABLE_SQL)
  for (const statement of INDEX_STATEMENTS) database.exec(statement)
  const insert = database.prepare(`INSERT INTO records (seq, ${INDEX_COLUMNS.join(', ')}) VALUES (?, ${INDEX_PLACEHOLDERS})`)
  const insertTag = database.prepare('INSERT INTO tags (tag, seq) VALUES (?, ?)')
  database.exec('BEGIN')
  for (const { header, provider, model } of all) {
    insert.run(header.seq, ...indexColumns(header, provider, model))
    for (const tag of header.tags ?? []) insertTag.run(tag, header.seq)
  }
  database.exec('COMMIT')
  return database
}
