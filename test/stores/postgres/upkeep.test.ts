/** Taking entries away in a database: what is let through, that no byte is left in the tables' files, and what is said of the rest. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import type { Store } from '../../../src/ledger/store.ts'
import { openPostgresStore } from '../../../src/stores/postgres/index.ts'
import { LEDGER_CREATED, SampleChain } from '../../../src/testing/sample-chain.ts'
import type { Sample } from '../../../src/testing/sample-chain.ts'
import { seededRandom } from '../../../src/testing/seeded-random.ts'
import { LedgerVerifier } from '../../../src/verify/chain.ts'
import { formatLine } from '../../../src/verify/record.ts'
import { foundIn, newMarkers } from '../../helpers/markers.ts'
import { sql } from '../../helpers/postgres-cluster.ts'
import { connectAs, UNGUARDED } from '../../helpers/postgres-ledger.ts'
import { clusterMissing, useCluster } from '../../helpers/postgres.ts'
import { refusal } from './helpers.ts'

const text = (i: number, bytes: number): string => Buffer.from(seededRandom(i).bytes(bytes >> 1)).toString('hex')
const IN_LOG = /write-ahead log.*base backups/

async function withhold(store: Store, first: number, last: number, erase = false): Promise<number> {
  let count = 0
  for await (const { records } of store.upkeep!.withhold([{ first, last }], { erase })) count += records
  return count
}

async function linesOf(store: Store): Promise<string[]> {
  const lines: string[] = []
  for await (const chunk of store.read({ filter: {}, from: 0, before: Infinity, reverse: false, limit: Infinity }))
    lines.push(...chunk.map((line) => Buffer.from(line).toString()))
  return lines
}

describe.skipIf(clusterMissing !== null)('PostgreSQL', () => {
  const cluster = useCluster({ settings: { autovacuum: 'off' } })

  async function started(samples: readonly Sample[], url?: string): Promise<{ url: string; store: Store; chain: SampleChain }> {
    const place = url ?? (await cluster().createDatabase())
    const store = await openPostgresStore(place, { databaseClock: false, patienceMs: 1000 })
    const chain = new SampleChain()
    await chain.append(store, [LEDGER_CREATED])
    for (let i = 0; i < samples.length; i += 500) await chain.append(store, samples.slice(i, i + 500))
    return { url: place, store, chain }
  }

  async function partitionOf(url: string): Promise<{ name: string; path: string }> {
    const [row] = await sql<{ name: string }>(url, 'SELECT DISTINCT tableoid::regclass::text AS name FROM cortex_ledger.audit_log')
    const [file] = await sql<{ path: string }>(url, 'SELECT pg_relation_filepath($1::regclass) AS path', [row!.name])
    return { name: row!.name.replace('cortex_ledger.', ''), path: join(cluster().data, file!.path) }
  }

  test('what the ledger says of itself is not taken away, whoever asks', async () => {
    const { store } = await started([{}, {}])
    const before = await linesOf(store)
    expect(await withhold(store, 0, 0, true)).toBe(0)
    expect(await linesOf(store)).toEqual(before)
    expect(await withhold(store, 0, 2, true)).toBe(2)
    expect((await linesOf(store))[0]).toBe(before[0])
    await store.close()
  })

  test('with upkeep said, nothing but an entry with its salt goes or comes, for the owner and a superuser too', async () => {
    const { url, store, chain } = await started(Array.from({ length: 5 }, () => ({})))
    await withhold(store, 3, 3)
    const before = await linesOf(store)
    const client = await connectAs(url)
    for (const change of [
      "UPDATE audit_log SET actor = 'x', salt = NULL, entry = NULL WHERE seq = 2",
      "UPDATE audit_log SET header = '{}', salt = NULL, entry = NULL WHERE seq = 2",
      "UPDATE audit_log SET tags = '{a}', salt = NULL, entry = NULL WHERE seq = 2",
      "UPDATE audit_log SET recorded_at = recorded_at + interval '1 day', salt = NULL, entry = NULL WHERE seq = 2",
      "UPDATE audit_log SET recorded_at = recorded_at + interval '1 month', salt = NULL, entry = NULL WHERE seq = 2",
      'UPDATE audit_log SET salt = NULL WHERE seq = 2',
      'UPDATE audit_log SET entry = NULL WHERE seq = 2',
      "UPDATE audit_log SET entry = '{}' WHERE seq = 2",
      'UPDATE audit_log SET provider = NULL WHERE seq = 2',
      "UPDATE audit_log SET provider = 'x' WHERE seq = 3",
      "UPDATE audit_log SET entry = '{}' WHERE seq = 3",
      "UPDATE audit_log SET salt = 's', entry = '{}', model = 'x' WHERE seq = 3",
      'DELETE FROM audit_log WHERE seq = 4',
      'DELETE FROM run_keys',
      "UPDATE run_keys SET run_id = 'x' WHERE seq = 2",
      "UPDATE ledgers SET name = 'x'",
      'TRUNCATE audit_log',
    ]) {
      await client.query("BEGIN; SELECT set_config('cortex_ledger.upkeep', 'on', true)")
      await expect(client.query(change), change).rejects.toMatchObject({ code: '23000' })
      await client.query('ROLLBACK')
    }
    await expect(client.query('UPDATE audit_log SET salt = NULL, entry = NULL WHERE seq = 2')).rejects.toMatchObject({ code: '23000' })
    await client.end()
    expect(await linesOf(store)).toEqual(before)
    // An entry that is another record's, or was changed by a letter, is not put back, and neither is what came with it.
    const [good, other] = [chain.records[3]!, chain.records[4]!]
    for (const entry of [
      { salt: other.salt!, entry_text: other.entry_text! },
      { salt: good.salt!, entry_text: good.entry_text!.replace('entry', 'Entry') },
      { salt: other.salt!, entry_text: good.entry_text! },
    ]) {
      async function* given(): AsyncGenerator<{ seq: number; salt: string; entry_text: string }[]> {
        yield [{ seq: 3, ...entry }]
      }
      const restoring = (async () => {
        for await (const _ of store.upkeep!.restore(given()));
      })()
      expect((await refusal(restoring)).message).toContain('record 3 has another entry than this')
    }
    expect(await linesOf(store)).toEqual(before)
    await store.close()
  })

  test(
    'no marker of an erased entry, its names, statistics or a removed archive file is left on the disk',
    { timeout: 60_000 },
    async () => {
      const markers = newMarkers(10)
      const { url, store, chain } = await started(
        Array.from({ length: 1500 }, (_, i) => {
          const marker = i % 150 === 75 ? markers[Math.floor(i / 150)]! : null
          if (marker === null) return { entry: { provider_name: `p${i % 40}`, text: text(i, 700) } }
          const names = { provider_name: i % 300 === 75 ? marker : 'p', model_name: i % 300 === 75 ? 'm' : marker }
          // Of one that is short the server's statistics quote all.
          return { entry: { ...names, text: text(i, [4, 3000, 30_000][i % 3]!), said: marker } }
        }),
      )
      const [inArchive] = newMarkers(1)
      await store.upkeep!.archive.write('entries-1', Buffer.from(`${text(1, 100_000)}${inArchive}${text(2, 200_000)}`))
      await store.snapshots.write('state', `{"said":"${markers[0]}"}`)
      const all = [...markers, inArchive!]
      await sql(url, 'SET default_statistics_target = 2000; ANALYZE cortex_ledger.audit_log; CHECKPOINT')
      const [database] = await sql<{ path: string }>(
        url,
        "SELECT 'base/' || oid AS path FROM pg_database WHERE datname = current_database()",
      )
      const folder = join(cluster().data, database!.path)
      // The toast of a long entry is compressed; the marker stands behind what is not.
      expect(new Set(foundIn(all, [folder]).map((found) => found.slice(0, 23))).size).toBeGreaterThan(6)
      const quoted = "SELECT count(*)::int AS n FROM pg_stats WHERE most_common_vals::text || histogram_bounds::text LIKE '%mark-%'"
      expect((await sql<{ n: number }>(url, quoted))[0]!.n, 'the statistics quote them').toBeGreaterThan(0)

      for (let i = 0; i < 10; i++) expect(await withhold(store, 1 + i * 150 + 75, 1 + i * 150 + 75, true)).toBe(1)
      await store.upkeep!.archive.remove('entries-1')
      await store.snapshots.remove('state')
      const { bytes_before, bytes_after, left } = await store.upkeep!.reclaim()
      expect(left).toEqual([expect.stringMatching(IN_LOG)])
      await sql(url, 'CHECKPOINT')
      expect(foundIn(all, [folder])).toEqual([])
      expect(bytes_after).toBeLessThan(bytes_before)
      expect(await sql(url, 'SELECT count(*)::int AS n FROM cortex_ledger.upkeep_due')).toEqual([{ n: 0 }])
      const gone = new Set(Array.from({ length: 10 }, (_, i) => 1 + i * 150 + 75))
      expect(await linesOf(store)).toEqual(
        chain.records.map((record) => formatLine(gone.has(record.header.seq) ? { ...record, salt: null, entry_text: null } : record)),
      )
      await store.close()
    },
  )

  test("the partition's file shrinks, and rows stand in their order again", async () => {
    const { url, store, chain } = await started(
      Array.from({ length: 2000 }, (_, i) => ({ entry: { text: text(i, i % 2 === 0 ? 800 : 3000) } })),
    )
    const before = await store.describe()
    const old = await partitionOf(url)
    await sql(url, 'CHECKPOINT')
    const bytes = readFileSync(old.path).length
    expect(await withhold(store, 1, 1999)).toBe(1999)
    const { bytes_before, bytes_after } = await store.upkeep!.reclaim()
    await sql(url, 'CHECKPOINT')
    const { path } = await partitionOf(url)
    expect(path).not.toBe(old.path)
    expect(readFileSync(path).length).toBeLessThan(0.8 * bytes)
    expect(bytes_after).toBeLessThan(bytes_before)
    expect((await store.describe()).bytes).toBeLessThan(0.4 * before.bytes)
    const ordered =
      'SELECT bool_and(seq > before) AS yes FROM (SELECT seq, lag(seq, 1, -1::bigint) OVER (ORDER BY ctid) AS before FROM cortex_ledger.audit_log) AS r'
    expect(await sql(url, ordered)).toEqual([{ yes: true }])
    async function* back(): AsyncGenerator<{ seq: number; salt: string; entry_text: string }[]> {
      yield chain.records.slice(1).map(({ header, salt, entry_text }) => ({ seq: header.seq, salt: salt!, entry_text: entry_text! }))
    }
    for await (const _ of store.upkeep!.restore(back()));
    expect(await linesOf(store)).toEqual(chain.lines)
    expect((await store.describe()).bytes / before.bytes).toBeCloseTo(1, 1)
    await store.close()
  })

  test('who may still see what was taken away is named, and the same call finishes when that has ended', { timeout: 60_000 }, async () => {
    const [marker] = newMarkers(1)
    const { url, store } = await started(Array.from({ length: 20 }, () => ({ entry: { said: marker } })))
    const reader = new pg.Client({ connectionString: url })
    await reader.connect()
    await reader.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1')
    const { rows } = await reader.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
    const { name } = await partitionOf(url)
    await withhold(store, 1, 20, true)
    expect((await store.upkeep!.reclaim()).left).toEqual([
      expect.stringMatching(new RegExp(`^${name}: process ${rows[0]!.pid} began before`)),
      expect.stringMatching(IN_LOG),
    ])
    const { rows: seen } = await reader.query('SELECT count(entry)::int AS n FROM cortex_ledger.audit_log')
    expect(seen).toEqual([{ n: 21 }])
    await reader.query('COMMIT')
    await reader.end()
    expect((await store.upkeep!.reclaim()).left).toEqual([expect.stringMatching(IN_LOG)])
    await sql(url, 'CHECKPOINT')
    expect(foundIn([marker!], [(await partitionOf(url)).path])).toEqual([])
    await store.close()
  })

  test(
    'a large month that is written to is left, and says so; somebody who uses a table is not waited for without end',
    { timeout: 60_000 },
    async () => {
      const url = await cluster().createDatabase()
      const now = new Date().toISOString().replace('Z', '000Z')
      const store = await openPostgresStore(url, { databaseClock: false, patienceMs: 300 })
      const chain = new SampleChain()
      await chain.append(store, [{ ...LEDGER_CREATED, recorded_at: now }, {}, {}])
      const { name } = await partitionOf(url)
      await withhold(store, 1, 2)
      const [row] = await sql<{ why: string }>(url, 'SELECT cortex_ledger.rewrite_table($1, 0) AS why', [name])
      expect(row!.why).toMatch(/written to, and too large/)
      const reader = new pg.Client({ connectionString: url })
      await reader.connect()
      await reader.query(`BEGIN; LOCK TABLE cortex_ledger.${name} IN ACCESS SHARE MODE`)
      expect((await store.upkeep!.reclaim()).left[0]).toMatch(new RegExp(`^${name}: somebody is using it`))
      await reader.end()
      expect((await store.upkeep!.reclaim()).left).toEqual([expect.stringMatching(IN_LOG)])
      await store.close()
    },
  )

  test('the view shows no payload, and what the header says is still compared', async () => {
    const { url, store } = await started(Array.from({ length: 10 }, () => ({ tags: ['a'] })))
    await withhold(store, 2, 8)
    expect(await sql(url, 'SELECT seq::int AS seq, payload FROM cortex_ledger.audit_records WHERE seq IN (1, 2) ORDER BY seq')).toEqual([
      { seq: 1, payload: expect.objectContaining({ note: 'entry 1' }) },
      { seq: 2, payload: null },
    ])
    const client = await connectAs(url, UNGUARDED)
    for (const [column, change] of [
      ['actor', "actor = 'x'"],
      ['tags', "tags = '{b}'"],
      ['occurred_at', "occurred_at = occurred_at + interval '1 s'"],
      ['stream_version', 'stream_version = 77'],
    ] as const) {
      await client.query(`UPDATE audit_log SET ${change} WHERE seq = 5`)
      const verifier = new LedgerVerifier({})
      await store.audit(verifier)
      const told = verifier.finish().problems.filter(({ code }) => code === 'column_mismatch')
      expect(told, column).toEqual([expect.objectContaining({ seq: 5, found: expect.stringContaining(column) })])
      await client.query(
        `UPDATE audit_log SET actor = 'actor-2', tags = '{a}', occurred_at = recorded_at, stream_version = 0 WHERE seq = 5`,
      )
      const healed = new LedgerVerifier({})
      await store.audit(healed)
      expect(healed.finish().problems.map(({ code }) => code)).toEqual(['withheld_unnamed'])
    }
    await client.end()
    await store.close()
  })

  test('tables of version 1 are read as they are, and brought up to date when they are opened for writing', async () => {
    const { url, store, chain } = await started(Array.from({ length: 9 }, () => ({})))
    await store.close()
    const client = await connectAs(url)
    await client.query(`DROP TABLE entry_pieces, entry_files, upkeep_due, data_keys CASCADE; DELETE FROM schema_version WHERE version > 1;
      DROP FUNCTION seal_records, withhold_entries, restore_entries, note_due, upkeep_holder, rewrite_table, renew_statistics CASCADE`)
    await client.end()
    const reader = await openPostgresStore(url, { readOnly: true })
    expect(await linesOf(reader)).toEqual(chain.lines)
    expect(await reader.upkeep!.archive.stat('entries-1')).toBe(null)
    expect(await reader.dataKeys!.isEmpty()).toBe(true)
    const listed: unknown[] = []
    for await (const file of reader.upkeep!.archive.list('')) listed.push(file)
    expect(listed).toEqual([])
    expect((await reader.describe()).kind).toBe('postgres')
    const writer = await openPostgresStore(url, { databaseClock: false })
    expect(await withhold(writer, 1, 5)).toBe(5)
    await writer.upkeep!.archive.write('entries-1', Buffer.from('x'))
    expect(await reader.upkeep!.archive.stat('entries-1')).toEqual({ name: 'entries-1', bytes: 1 })
    expect((await linesOf(reader)).slice(6)).toEqual(chain.lines.slice(6))
    expect((await writer.upkeep!.reclaim()).left).toEqual([expect.stringMatching(IN_LOG)])
    await reader.close()
    await writer.close()
  })
})
