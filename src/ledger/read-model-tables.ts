/** The tables in which read models say how far they are, and what is done to them. The same SQL for every database. */
import type { JsonValue } from './entry.ts'
import { LedgerError } from './errors.ts'
import type { ModelConnection, ModelSql, ModelTransaction, ReadModel } from './read-model.ts'

/** `building`: not shown yet; `active`: what readers see; `retired`: another version was swapped in. */
export type ModelState = 'building' | 'active' | 'retired'

/** How far a read model is. */
export interface ModelStatus {
  readonly model: string
  readonly version: number
  readonly state: ModelState
  /** All events up to it are counted, or parked; -1 for none. */
  readonly position: number
  /** Hash of the record there; empty for none. */
  readonly hash: string
  /** Origin of the ledger that it follows. */
  readonly origin: string
  /** Events that failed and wait for somebody to decide. */
  readonly parked: number
}

/** An event whose handler failed until there was no trying again. */
export interface ParkedEvent {
  readonly seq: number
  readonly run_id: string
  /** What the handler threw last. */
  readonly error: string
  readonly attempts: number
  readonly parked_at: string
}

const TABLES: readonly string[] = [
  `CREATE TABLE IF NOT EXISTS read_models (model text NOT NULL, version bigint NOT NULL, state text NOT NULL, position bigint NOT NULL,
    hash text NOT NULL, origin text NOT NULL, tables text NOT NULL, PRIMARY KEY (model, version))`,
  `CREATE TABLE IF NOT EXISTS read_model_values (model text NOT NULL, version bigint NOT NULL, name text NOT NULL, value text NOT NULL,
    PRIMARY KEY (model, version, name))`,
  `CREATE TABLE IF NOT EXISTS read_model_parked (model text NOT NULL, version bigint NOT NULL, seq bigint NOT NULL, run_id text NOT NULL,
    error text NOT NULL, attempts bigint NOT NULL, parked_at text NOT NULL, PRIMARY KEY (model, version, seq))`,
]
const STATUS = `SELECT m.model, m.version, m.state, m.position, m.hash, m.origin,
  (SELECT count(*) FROM read_model_parked AS p WHERE p.model = m.model AND p.version = m.version) AS parked FROM read_models AS m`

/** Which read model and version. */
export type ModelKey = Pick<ReadModel, 'name' | 'version'>

export async function makeTables(connection: ModelConnection): Promise<void> {
  await connection.transaction(async (db) => {
    for (const text of TABLES) await db.sql(text)
  })
}

/** A name or a text that SQL can hold: of the tables of a version and its view. */
function versioned(table: string, version: number): string {
  return `"${table}_v${version}"`
}

export async function listStatus(db: ModelSql): Promise<ModelStatus[]> {
  return (await db.sql(`${STATUS} ORDER BY m.model, m.version`)) as unknown as ModelStatus[]
}

export async function statusOf(db: ModelSql, { name, version }: ModelKey): Promise<ModelStatus | null> {
  const [row] = await db.sql(`${STATUS} WHERE m.model = $1 AND m.version = $2`, [name, version])
  return (row as unknown as ModelStatus | undefined) ?? null
}

export async function activeOf(db: ModelSql, name: string): Promise<ModelStatus | null> {
  const [row] = await db.sql(`${STATUS} WHERE m.model = $1 AND m.state = 'active'`, [name])
  return (row as unknown as ModelStatus | undefined) ?? null
}

/** The version's tables and its place at the beginning, where it is not there yet. */
export async function establish(db: ModelSql, model: ReadModel, origin: string): Promise<void> {
  if ((await statusOf(db, model)) !== null) return
  const { name, version, tables, setUp } = model
  for (const [table, columns] of Object.entries(tables)) await db.sql(`CREATE TABLE ${versioned(table, version)} (${columns})`)
  await setUp?.(transactionOf(db, model))
  const names = JSON.stringify(Object.keys(tables))
  await db.sql(
    `INSERT INTO read_models (model, version, state, position, hash, origin, tables) VALUES ($1, $2, 'building', -1, '', $3, $4)`,
    [name, version, origin, names],
  )
}

/** Moves the place on. @throws LedgerError `locked` where somebody else has moved it, or taken it away */
export async function moveOn(db: ModelSql, { name, version }: ModelKey, from: number, to: number, hash: string): Promise<void> {
  const moved = await db.sql(
    'UPDATE read_models SET position = $1, hash = $2 WHERE model = $3 AND version = $4 AND position = $5 RETURNING position',
    [to, hash, name, version, from],
  )
  if (moved.length === 1) return
  throw new LedgerError('locked', `the read model ${name} of version ${version} was moved on or dropped by another process: run it once`, {
    model: name,
    version,
  })
}

/** What a handler gets. */
export function transactionOf(db: ModelSql, { name, version, tables }: Pick<ReadModel, 'name' | 'version' | 'tables'>): ModelTransaction {
  const key = [name, version] as const
  return {
    sql: (text, params) => db.sql(text, params),
    tables: Object.fromEntries(Object.keys(tables).map((table) => [table, versioned(table, version)])),
    async get(at) {
      const [row] = await db.sql('SELECT value FROM read_model_values WHERE model = $1 AND version = $2 AND name = $3', [...key, at])
      return row === undefined ? undefined : (JSON.parse(String(row['value'])) as JsonValue)
    },
    async put(at, value) {
      await db.sql(
        `INSERT INTO read_model_values (model, version, name, value) VALUES ($1, $2, $3, $4)
          ON CONFLICT (model, version, name) DO UPDATE SET value = excluded.value`,
        [...key, at, JSON.stringify(value)],
      )
    },
    async remove(at) {
      await db.sql('DELETE FROM read_model_values WHERE model = $1 AND version = $2 AND name = $3', [...key, at])
    },
  }
}

/** A value of the active version. */
export async function activeValue(db: ModelSql, name: string, key: string): Promise<JsonValue | undefined> {
  const [row] = await db.sql(
    `SELECT v.value FROM read_model_values AS v JOIN read_models AS m ON m.model = v.model AND m.version = v.version
      WHERE m.model = $1 AND m.state = 'active' AND v.name = $2`,
    [name, key],
  )
  return row === undefined ? undefined : (JSON.parse(String(row['value'])) as JsonValue)
}

async function tablesOf(db: ModelSql, { name, version }: ModelKey): Promise<readonly string[] | null> {
  const [row] = await db.sql('SELECT tables FROM read_models WHERE model = $1 AND version = $2', [name, version])
  return row === undefined ? null : (JSON.parse(String(row['tables'])) as string[])
}

/** From here on readers see this version. @throws LedgerError `not_found` */
export async function swapIn(db: ModelSql, { name, version }: ModelKey): Promise<void> {
  const tables = await tablesOf(db, { name, version })
  if (tables === null) throw new LedgerError('not_found', `there is no read model ${name} of version ${version}: run it first`)
  const active = await activeOf(db, name)
  const before = active === null ? [] : ((await tablesOf(db, { name, version: active.version })) ?? [])
  for (const table of new Set([...before, ...tables])) await db.sql(`DROP VIEW IF EXISTS "${table}"`)
  for (const table of tables) await db.sql(`CREATE VIEW "${table}" AS SELECT * FROM ${versioned(table, version)}`)
  await db.sql(`UPDATE read_models SET state = 'retired' WHERE model = $1 AND state = 'active'`, [name])
  await db.sql(`UPDATE read_models SET state = 'active' WHERE model = $1 AND version = $2`, [name, version])
}

/** Takes a version away, with its tables. @throws LedgerError `not_found`; `locked` where it is the active one */
export async function dropVersion(db: ModelSql, { name, version }: ModelKey): Promise<void> {
  const status = await statusOf(db, { name, version })
  if (status === null) throw new LedgerError('not_found', `there is no read model ${name} of version ${version}`)
  if (status.state === 'active')
    throw new LedgerError('locked', `version ${version} of ${name} is the one that readers see: swap in another one first`)
  for (const table of (await tablesOf(db, { name, version })) ?? []) await db.sql(`DROP TABLE ${versioned(table, version)}`)
  for (const table of ['read_model_values', 'read_model_parked', 'read_models'])
    await db.sql(`DELETE FROM ${table} WHERE model = $1 AND version = $2`, [name, version])
}

export async function listParked(db: ModelSql, { name, version }: ModelKey): Promise<ParkedEvent[]> {
  const rows = await db.sql(
    'SELECT seq, run_id, error, attempts, parked_at FROM read_model_parked WHERE model = $1 AND version = $2 ORDER BY seq',
    [name, version],
  )
  return rows as unknown as ParkedEvent[]
}

export async function park(db: ModelSql, { name, version }: ModelKey, event: ParkedEvent): Promise<void> {
  const { seq, run_id, error, attempts, parked_at } = event
  await db.sql(
    `INSERT INTO read_model_parked (model, version, seq, run_id, error, attempts, parked_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
    [name, version, seq, run_id, error, attempts, parked_at],
  )
}

/** @returns whether it was there */
export async function unpark(db: ModelSql, { name, version }: ModelKey, seq: number): Promise<boolean> {
  const removed = await db.sql('DELETE FROM read_model_parked WHERE model = $1 AND version = $2 AND seq = $3 RETURNING seq', [
    name,
    version,
    seq,
  ])
  return removed.length === 1
}
