/**
 * What no ledger on the same server can go below: the same columns and values into tables with the same partitions,
 * indexes and key table, the head row updated too, one transaction for each of the same batches. Nothing is checked,
 * hashed or compared, and the ledger's triggers are off. Columns are made beforehand; the bytes that go over are part of it.
 */
import { once } from 'node:events'
import pg from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import { openPostgresStore } from '../../src/stores/postgres/index.ts'
import { POSTGRES_EPOCH_US, textArray, textArrayLiteral } from '../../src/stores/postgres/arrays.ts'
import { timeMicros } from '../../src/ledger/micros.ts'
import type { Batch, Written } from '../batches.ts'
import { timed } from '../session.ts'
import type { Place } from './server.ts'

export type Way = 'COPY' | 'unnest'

/** Columns of `audit_log` from `run_id` on, as texts. */
const TEXT_COLUMNS: readonly (readonly [name: string, value: (record: Written) => string | null])[] = [
  ['run_id', ({ header }) => header.run_id],
  ['stream', ({ header }) => header.stream],
  ['type', ({ header }) => header.type],
  ['actor', ({ header }) => header.actor],
  ['action', ({ header }) => header.action],
  ['outcome', ({ header }) => header.outcome],
  ['correlation_id', ({ header }) => header.correlation_id ?? null],
  ['causation_id', ({ header }) => header.causation_id ?? null],
  ['provider', ({ provider }) => provider],
  ['model', ({ model }) => model],
  ['hash', ({ hash }) => hash],
  ['header', ({ header_text }) => header_text],
  ['signatures', ({ signatures_text }) => signatures_text],
  ['salt', ({ salt }) => salt],
  ['entry', ({ entry_text }) => entry_text],
]
const TEXTS = TEXT_COLUMNS.map(([name]) => name)
const LOG_COLUMNS = `ledger_id, seq, recorded_at, occurred_at, stream_version, tags, ${TEXTS.join(', ')}`

/** A batch, column by column. */
interface Columns {
  readonly first: number
  readonly recorded: readonly bigint[]
  readonly occurred: readonly bigint[]
  readonly versions: readonly number[]
  readonly tags: readonly (readonly string[] | undefined)[]
  readonly texts: readonly (readonly (string | null)[])[]
  readonly last: Written
  readonly bytes: number
}

function columnsOf(batch: Batch): Columns {
  const first = batch[0] as Written
  return {
    first: first.header.seq,
    recorded: batch.map(({ header }) => BigInt(timeMicros(header.recorded_at))),
    occurred: batch.map(({ header }) => BigInt(timeMicros(header.timestamp))),
    versions: batch.map(({ header }) => header.stream_version),
    tags: batch.map(({ header }) => header.tags),
    texts: TEXT_COLUMNS.map(([, value]) => batch.map(value)),
    last: batch.at(-1) as Written,
    bytes: batch.reduce((sum, { line_bytes }) => sum + line_bytes, 0),
  }
}

const INT8_OID = 20
const TIMESTAMPTZ_OID = 1184

/** An array of 64-bit numbers in PostgreSQL's binary form. */
function longArray(oid: number, values: readonly bigint[]): Buffer {
  const buffer = Buffer.allocUnsafe(20 + 12 * values.length)
  let at = 0
  for (const part of [1, 0, oid, values.length, 1]) at = buffer.writeInt32BE(part, at)
  for (const value of values) at = buffer.writeBigInt64BE(value, buffer.writeInt32BE(8, at))
  return buffer
}

function timeArray(values: readonly bigint[]): Buffer {
  return longArray(
    TIMESTAMPTZ_OID,
    values.map((us) => us - POSTGRES_EPOCH_US),
  )
}

const TYPES = ['timestamptz', 'timestamptz', 'bigint', 'text', ...TEXTS.map(() => 'text')]
const NAMES = ['recorded_at', 'occurred_at', 'stream_version', 'tags', ...TEXTS]
const PARAMETERS = TYPES.map((type, i) => `$${i + 7}::${type}[]`).join(', ')

/** One statement, so one round trip and no BEGIN. $1 to $6: ledger, first seq, head's size, hash, time, bytes. */
const UNNEST = {
  name: 'floor_unnest',
  text: `WITH moved AS (
      UPDATE heads SET size = $3, hash = $4, recorded_at = $5, bytes = bytes + $6 WHERE ledger_id = $1
    ), logged AS (
      INSERT INTO audit_log (${LOG_COLUMNS})
      SELECT $1, $2::bigint + ordinality - 1, recorded_at, occurred_at, stream_version, tags::text[], ${TEXTS.join(', ')}
      FROM unnest(${PARAMETERS}) WITH ORDINALITY AS r(${NAMES.join(', ')}, ordinality)
    )
    INSERT INTO run_keys (ledger_id, seq, recorded_at, run_id)
    SELECT $1, $2::bigint + ordinality - 1, recorded_at, run_id
    FROM unnest($7::timestamptz[], $11::text[]) WITH ORDINALITY AS k(recorded_at, run_id, ordinality)`,
}
const KEYS = {
  name: 'floor_keys',
  text: `INSERT INTO run_keys (ledger_id, seq, recorded_at, run_id)
    SELECT $1, $2::bigint + ordinality - 1, recorded_at, run_id
    FROM unnest($3::timestamptz[], $4::text[]) WITH ORDINALITY AS k(recorded_at, run_id, ordinality)`,
}

async function byUnnest(client: pg.Client, id: number, columns: Columns): Promise<void> {
  const { first, recorded, occurred, versions, tags, texts, last, bytes } = columns
  const head = [id, first, first + recorded.length, last.hash, last.header.recorded_at, bytes]
  const values = [
    timeArray(recorded),
    timeArray(occurred),
    longArray(INT8_OID, versions.map(BigInt)),
    textArray(tags.map(textArrayLiteral)),
    ...texts.map((values) => textArray(values)),
  ]
  await client.query({ ...UNNEST, values: [...head, ...values] })
}

const COPY_SIGNATURE = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1')
/** Counts and lengths, 4 bytes each, and the five numbers of a row. */
const ROW_BYTES = 2 + 4 * (6 + TEXTS.length) + 4 + 4 * 8

/** The rows of a batch as `COPY … (FORMAT binary)` reads them, in one buffer. */
function copyRows(id: number, { first, recorded, occurred, versions, tags, texts }: Columns): Buffer {
  const tagBytes = tags.map((tag) => (tag === undefined || tag.length === 0 ? null : textArray(tag)))
  let size = COPY_SIGNATURE.length + 2 + recorded.length * ROW_BYTES
  for (const values of texts) for (const value of values) size += value === null ? 0 : Buffer.byteLength(value)
  for (const bytes of tagBytes) size += bytes?.length ?? 0
  const buffer = Buffer.allocUnsafe(size)
  let at = COPY_SIGNATURE.copy(buffer)
  const long = (value: bigint): void => void (at = buffer.writeBigInt64BE(value, buffer.writeInt32BE(8, at)))
  for (let row = 0; row < recorded.length; row++) {
    at = buffer.writeInt16BE(6 + texts.length, at)
    at = buffer.writeInt32BE(id, buffer.writeInt32BE(4, at))
    long(BigInt(first + row))
    long((recorded[row] as bigint) - POSTGRES_EPOCH_US)
    long((occurred[row] as bigint) - POSTGRES_EPOCH_US)
    long(BigInt(versions[row] as number))
    const tag = tagBytes[row] ?? null
    at = buffer.writeInt32BE(tag?.length ?? -1, at)
    if (tag !== null) at += tag.copy(buffer, at)
    for (const values of texts) {
      const value = values[row] as string | null
      if (value === null) {
        at = buffer.writeInt32BE(-1, at)
        continue
      }
      const written = buffer.write(value, at + 4)
      at = buffer.writeInt32BE(written, at) + written
    }
  }
  at = buffer.writeInt16BE(-1, at)
  return buffer.subarray(0, at)
}

async function byCopy(client: pg.Client, id: number, columns: Columns): Promise<void> {
  const { first, recorded, texts, last, bytes } = columns
  // The head and the rows in one round trip: a simple query may be several statements.
  const text = `BEGIN; UPDATE heads SET size = ${first + recorded.length}, hash = '${last.hash}',
    recorded_at = '${last.header.recorded_at}', bytes = bytes + ${bytes} WHERE ledger_id = ${id};
    COPY audit_log (${LOG_COLUMNS}) FROM STDIN (FORMAT binary)`
  const stream = client.query(copyFrom(text))
  stream.end(copyRows(id, columns))
  await once(stream, 'finish')
  await client.query({ ...KEYS, values: [id, first, timeArray(recorded), textArray(texts[0] as (string | null)[])] })
  await client.query('COMMIT')
}

/** Tables as the ledger makes them, with its triggers off. */
async function newTables({ url, databaseUrl, schema }: Place): Promise<pg.Client> {
  await (await openPostgresStore(url)).close()
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  await client.query(`SET search_path = ${schema}; SET jit = off; SET plan_cache_mode = force_generic_plan; SET TimeZone = 'UTC'`)
  await client.query('SELECT ensure_partitions(now(), 4)')
  for (const table of ['heads', 'audit_log', 'run_keys']) await client.query(`ALTER TABLE ${table} DISABLE TRIGGER USER`)
  return client
}

/** `before` is written first, and warms up. */
async function secondsOf(client: pg.Client, way: Way, before: Batch, batches: readonly Batch[]): Promise<number> {
  const { rows } = await client.query<{ id: number }>('SELECT add_ledger($1) AS id', [`floor-${way.toLowerCase()}`])
  const id = rows[0]?.id as number
  const write = (columns: Columns): Promise<void> => (way === 'COPY' ? byCopy(client, id, columns) : byUnnest(client, id, columns))
  await write(columnsOf(before))
  const work = batches.map(columnsOf)
  const seconds = await timed(async () => {
    for (const columns of work) await write(columns)
  })
  const expected = before.length + work.reduce((sum, { recorded }) => sum + recorded.length, 0)
  const counted = await client.query<{ count: string }>(
    'SELECT count(*) FROM run_keys JOIN audit_log USING (ledger_id, seq) WHERE ledger_id = $1',
    [id],
  )
  if (Number(counted.rows[0]?.count) !== expected) throw new Error(`the floor wrote ${counted.rows[0]?.count} of ${expected} rows`)
  return seconds
}

/** Seconds that the batches take each way, in this order, in the same tables: making them takes longer than filling them. */
export async function postgresFloors<Ways extends Way>(
  place: Place,
  ways: readonly Ways[],
  before: Batch,
  batches: readonly Batch[],
): Promise<Record<Ways, number>> {
  const client = await newTables(place)
  try {
    const seconds = {} as Record<Ways, number>
    for (const way of ways) seconds[way] = await secondsOf(client, way, before, batches)
    return seconds
  } finally {
    await client.end()
  }
}
