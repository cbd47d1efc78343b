/** Ledgers in PostgreSQL to be tampered with: a database that is put back after each change, or copied for it. */
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import type { Clock } from '../../src/index.ts'
import { makeHonestLedger } from './honest-ledger.ts'
import type { Cluster } from './postgres-cluster.ts'

const HOUR_US = 3_600_000_000
const START_US = Date.UTC(2026, 2, 25) * 1000

/** So many hours go by whenever somebody looks at it: a ledger of some records spans months. */
export function hurryingClock(hours = 8, start_us = START_US): Clock {
  let now = start_us
  return { now: () => (now += hours * HOUR_US), monotonic: () => now / 1000 }
}

/** A connection with the ledger's schema in its path, whose guards are off: what a superuser can do. */
export async function connectAs(url: string, settings: Readonly<Record<string, string>> = {}): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  const all = { search_path: 'cortex_ledger', client_min_messages: 'error', timezone: 'UTC', ...settings }
  for (const [name, value] of Object.entries(all)) await client.query('SELECT set_config($1, $2, false)', [name, value])
  return client
}

export const UNGUARDED = { session_replication_role: 'replica' }

/** The records are put back as they were after each change. */
const TRUTH = ['audit_log', 'run_keys', 'heads', 'ledgers'] as const

/** An honest ledger, `url` (1), and beside it in the same tables one of the same origin (2) and one of another (3). */
export class TamperBench {
  readonly url: string
  readonly #cluster: Cluster
  readonly #client: pg.Client

  private constructor(cluster: Cluster, url: string, client: pg.Client) {
    this.#cluster = cluster
    this.url = url
    this.#client = client
  }

  static async make(cluster: Cluster, records: number): Promise<TamperBench> {
    const url = await cluster.createDatabase()
    await makeHonestLedger(url, records, 1, { clock: hurryingClock() })
    await makeHonestLedger(`${url}?ledger=stranger`, records, 2, { clock: hurryingClock() })
    await makeHonestLedger(`${url}?ledger=elsewhere`, 3, 3, { clock: hurryingClock(), origin: 'example.com/elsewhere' })
    // Nobody ever connects to this one, so it can be copied at any time.
    const name = new URL(url).pathname.slice(1)
    await cluster.sql(`CREATE DATABASE ${name}_frozen TEMPLATE ${name}`)
    const client = await connectAs(url, UNGUARDED)
    await client.query(`CREATE SCHEMA kept; ${TRUTH.map((table) => `CREATE TABLE kept.${table} AS TABLE ${table}`).join('; ')}`)
    return new TamperBench(cluster, url, client)
  }

  /** Runs the change, then `look`, and puts the records back. */
  async after<T>(change: string, look: (url: string) => Promise<T>): Promise<T> {
    await this.#client.query(change)
    try {
      return await look(this.url)
    } finally {
      await this.#restore()
    }
  }

  async #restore(): Promise<void> {
    const back = TRUTH.map((table) => {
      const overriding = table === 'ledgers' ? ' OVERRIDING SYSTEM VALUE' : ''
      return `INSERT INTO ${table}${overriding} SELECT * FROM kept.${table}`
    })
    const settings = "SET session_replication_role = 'replica'; SET search_path = cortex_ledger"
    await this.#client.query([settings, ...TRUTH.map((table) => `DELETE FROM ${table}`), ...back].join('; '))
  }

  /** For what can't be put back: runs the change in a copy of the database. */
  async afterInCopy<T>(change: string | ((client: pg.Client) => Promise<void>), look: (url: string) => Promise<T>): Promise<T> {
    const url = await this.copy()
    const client = await connectAs(url, UNGUARDED)
    try {
      if (typeof change === 'string') await client.query(change)
      else await change(client)
    } finally {
      await client.end()
    }
    return look(url)
  }

  async query<Row extends pg.QueryResultRow>(text: string): Promise<Row[]> {
    return (await this.#client.query<Row>(text)).rows
  }

  /** The URL of a copy. */
  async copy(): Promise<string> {
    const name = `copy_${randomBytes(6).toString('hex')}`
    await this.#cluster.sql(`CREATE DATABASE ${name} TEMPLATE ${new URL(this.url).pathname.slice(1)}_frozen`)
    return this.#cluster.url(name)
  }

  async close(): Promise<void> {
    await this.#client.end()
  }
}
