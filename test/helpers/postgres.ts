/**
 * The PostgreSQL of a test file: databases of its own on the server of DATABASE_URL, else on a cluster that the file
 * starts (postgres-cluster.ts). Where there is neither, why is printed, and what needs one is skipped with
 * `describe.skipIf(postgresMissing !== null)`.
 */
import { randomBytes } from 'node:crypto'
import type pg from 'pg'
import { afterAll, beforeAll } from 'vitest'
import { MISSING, sql, startCluster } from './postgres-cluster.ts'
import type { Cluster, ClusterOptions } from './postgres-cluster.ts'

const given = process.env['DATABASE_URL'] ?? ''

/** Why a test can't start a server of its own, or null. */
export const clusterMissing: string | null = MISSING
/** Why there is no server at all, or null. */
export const postgresMissing: string | null = given === '' ? MISSING : null

if (clusterMissing !== null) {
  const rest = postgresMissing === null ? ', DATABASE_URL is used where a test needs no server of its own' : ''
  console.log(`skipped: what needs a PostgreSQL: ${clusterMissing}${rest}`)
}

export interface TestServer {
  /** An empty place for one ledger or several: the URL of a new database, or of a new schema where none may be made. */
  newDatabase(): Promise<string>
}

/** @returns the URL, and how to be rid of what it names */
async function placeOnGiven(): Promise<{ readonly url: string; readonly drop: () => Promise<void> }> {
  const name = `cortex_test_${randomBytes(6).toString('hex')}`
  const url = new URL(given)
  try {
    await sql(given, `CREATE DATABASE ${name}`)
    url.pathname = `/${name}`
    return { url: url.href, drop: async () => void (await sql(given, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)) }
  } catch (error) {
    // insufficient_privilege
    if ((error as pg.DatabaseError).code !== '42501') throw error
    url.searchParams.set('schema', name)
    return { url: url.href, drop: async () => void (await sql(given, `DROP SCHEMA IF EXISTS ${name} CASCADE`)) }
  }
}

/** For the file or the `describe` that it is called in. */
export function useDatabases(): TestServer {
  let cluster: Cluster | null = null
  const drops: (() => Promise<void>)[] = []
  beforeAll(async () => {
    if (given === '' && MISSING === null) cluster = await startCluster()
  })
  afterAll(async () => {
    for (const drop of drops) await drop()
    await cluster?.stop()
  })
  return {
    newDatabase: async () => {
      if (cluster !== null) return cluster.createDatabase()
      const { url, drop } = await placeOnGiven()
      drops.push(drop)
      return url
    },
  }
}

/**
 * For suites that go over all kinds of stores: gives the URL of a ledger that is not there yet, each in one database. As a
 * list of one, or of none where there is no server, to be spread among the other kinds.
 */
export function useLedgerUrls(): readonly (() => string)[] {
  if (postgresMissing !== null) return []
  const { newDatabase } = useDatabases()
  let url = ''
  let ledgers = 0
  beforeAll(async () => {
    url = await newDatabase()
  })
  return [
    () => {
      const next = new URL(url)
      next.searchParams.set('ledger', `ledger-${++ledgers}`)
      return next.href
    },
  ]
}

/** A cluster of its own, to be killed and restarted, for the file or the `describe` that it is called in. */
export function useCluster(options: ClusterOptions = {}): () => Cluster {
  let cluster: Cluster | null = null
  beforeAll(async () => {
    if (MISSING === null) cluster = await startCluster(options)
  })
  afterAll(() => cluster?.stop())
  return () => {
    if (cluster === null) throw new Error(MISSING ?? 'the server runs only while tests do')
    return cluster
  }
}
