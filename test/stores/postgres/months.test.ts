/** Partitions by month are made by whoever writes, and where one can't be had, no append fails for it. */
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { AuditLedger, verifyLedger, type LedgerWarning } from '../../../src/index.ts'
import { openPostgresStore } from '../../../src/stores/postgres/index.ts'
import { openSessions } from '../../../src/stores/postgres/opening.ts'
import { Partitions } from '../../../src/stores/postgres/partitions.ts'
import { fixedClock } from '../../../src/testing/index.ts'
import { LEDGER_CREATED, SampleChain } from '../../../src/testing/sample-chain.ts'
import { postgresMissing, useDatabases } from '../../helpers/postgres.ts'
import { sql } from '../../helpers/postgres-cluster.ts'

const call = { agent_name: 'a', method_name: 'm' }

describe.skipIf(postgresMissing !== null)('months', () => {
  const { newDatabase } = useDatabases()
  const warnings: LedgerWarning[] = []
  const open = (url: string, now: string): Promise<AuditLedger> => {
    warnings.length = 0
    return AuditLedger.open(url, {
      signer: null,
      checkpoints: false,
      clock: fixedClock(now),
      onWarning: (warning) => warnings.push(warning),
    })
  }
  /** Partitions with how many rows each has, empty ones left out. */
  async function rows(url: string): Promise<{ [partition: string]: number }> {
    const found = await sql<{ name: string; n: number }>(
      url,
      'SELECT split_part(tableoid::regclass::text, $1, 2) AS name, count(*)::int AS n FROM cortex_ledger.audit_log GROUP BY 1 ORDER BY 1',
      ['audit_log_'],
    )
    return Object.fromEntries(found.map(({ name, n }) => [name, n]))
  }
  const strays = async (ledger: AuditLedger): Promise<unknown> => (await ledger.stats()).store['default_partition_records']
  const assertHonest = async (url: string): Promise<void> => {
    expect(await verifyLedger(url, { remembered: false })).toMatchObject({
      ok: true,
      problems: [],
      checks: { columns: { verdict: 'pass' } },
    })
  }

  test('the first second of a month, with no job run for longer than there are partitions ahead', async () => {
    const url = await newDatabase()
    const clock = fixedClock('2026-03-31T23:59:59.900000Z')
    const ledger = await AuditLedger.open(url, { signer: null, checkpoints: false, clock, onWarning: (warning) => warnings.push(warning) })
    await ledger.record(call)
    clock.set(Date.UTC(2026, 4, 1) * 1000)
    await ledger.record(call)
    // In the process that was there all the time, and in one that comes then.
    clock.set(Date.UTC(2027, 0, 1) * 1000)
    await Promise.all(Array.from({ length: 20 }, () => ledger.record(call)))
    await ledger.close()
    const later = await open(url, '2029-11-30T23:59:59.999999Z')
    await later.record(call)
    expect(await strays(later)).toBe(0)
    await later.close()
    expect(warnings).toEqual([])
    expect(await rows(url)).toEqual({ '2026_03': 2, '2026_05': 1, '2027_01': 20, '2029_11': 1 })
    await assertHonest(url)
  })

  test(
    'a month whose partition could not be made: the default one takes it, and gives it back by itself',
    { timeout: 60_000 },
    async () => {
      const url = await newDatabase()
      await (await open(url, '2026-03-31T00:00:00.000000Z')).close()
      const reader = new pg.Client({ connectionString: url })
      await reader.connect()
      // Somebody who reads for as long as they like.
      await reader.query('BEGIN; SELECT count(*) FROM cortex_ledger.audit_log')
      const ledger = await open(url, '2027-02-01T00:00:00.000000Z')
      // Another one, whose month has its partition, does not wait for the reader either.
      const other = await AuditLedger.open(`${url}?ledger=other`, {
        signer: null,
        checkpoints: false,
        clock: fixedClock('2026-04-01T00:00:00.000000Z'),
      })
      await Promise.all([ledger.record(call), ledger.record(call), other.record(call), other.head()])
      expect(warnings).toMatchObject([{ code: 'partition_not_made', message: expect.stringMatching(/2027-02.*audit_log_default/) }])
      // Before it was tried again nobody waits again, nor is told again.
      await ledger.record(call)
      expect(warnings.length).toBe(1)
      expect(await strays(ledger)).toBe(3)
      await ledger.close()
      await other.close()
      expect(await rows(url)).toMatchObject({ '2026_03': 1, default: 3 })
      await assertHonest(url)
      await reader.query('COMMIT')
      await reader.end()
      // Also when nobody writes until that month is gone.
      const later = await open(url, '2027-07-15T00:00:00.000000Z')
      await later.record(call)
      expect(await strays(later)).toBe(0)
      await later.close()
      expect(warnings).toEqual([])
      expect(await rows(url)).toEqual({ '2026_03': 1, '2026_04': 2, '2027_02': 3, '2027_07': 1 })
      await assertHonest(url)
      await assertHonest(`${url}?ledger=other`)
      // What was moved is guarded as the rest.
      await expect(sql(url, 'DELETE FROM cortex_ledger.audit_log_2027_02')).rejects.toThrow(/append-only/)
      await expect(sql(url, 'TRUNCATE cortex_ledger.audit_log_2027_02')).rejects.toThrow(/append-only/)
      await expect(sql(url, 'INSERT INTO cortex_ledger.audit_log_2027_02 TABLE cortex_ledger.audit_log_2027_02')).rejects.toThrow(
        /append_records/,
      )
    },
  )

  test('clocks of 1969, 0000 and 9999', async () => {
    const place = await newDatabase()
    for (const [i, now] of ['1969-12-31T23:59:59.999999Z', '0000-01-01T00:00:00.000000Z', '9999-12-31T23:59:59.999999Z'].entries()) {
      const url = `${place}?ledger=${i}`
      const chain = new SampleChain()
      warnings.length = 0
      const store = await openPostgresStore(url, { databaseClock: false, onWarning: (warning) => warnings.push(warning) })
      await chain.append(store, [{ ...LEDGER_CREATED, recorded_at: now }])
      expect(warnings).toMatchObject([{ code: 'partition_not_made' }])
      await chain.append(store, [{ recorded_at: now }])
      // When the clock is right again, what is of no month stays where it is, and the rest has its partition.
      const movedBack = now > '2026' ? { stream: 'ledger', type: 'ClockMovedBack' } : {}
      await chain.append(store, [{ recorded_at: '2026-03-31T00:00:00.000000Z', ...movedBack }])
      expect(await store.describe()).toMatchObject({ default_partition_records: 2 * (i + 1) })
      await store.close()
      expect(await rows(place)).toEqual({ '2026_03': i + 1, default: 2 * (i + 1) })
      await assertHonest(url)
    }
  })

  test('a ledger whose clock is before 1970 records', async () => {
    const url = await newDatabase()
    const ledger = await open(url, '1969-12-31T23:59:59.000000Z')
    await ledger.record(call)
    await ledger.close()
    await assertHonest(url)
  })

  test('eight that make partitions at once make each once', async () => {
    const url = await newDatabase()
    await (await open(url, '2026-03-31T00:00:00.000000Z')).close()
    const made = await Promise.all(
      Array.from({ length: 8 }, (_, i) =>
        sql<{ made: number }>(url, `SELECT cortex_ledger.ensure_partitions('2040-0${1 + (i % 2)}-01Z', 6) AS made`),
      ),
    )
    expect(made.flat().reduce((sum, { made: some }) => sum + some, 0)).toBe(7)
    const [count] = await sql<{ n: number }>(
      url,
      "SELECT count(*)::int AS n FROM pg_inherits WHERE inhparent = 'cortex_ledger.audit_log'::regclass AND inhrelid::regclass::text ~ 'audit_log_204'",
    )
    expect(count?.n).toBe(7)
    const again = await sql<{ made: number }>(url, "SELECT cortex_ledger.ensure_partitions('2040-01-01Z', 7) AS made")
    expect(again).toEqual([{ made: 0 }])
  })

  test('several months that are wanted at once are all made before anybody goes on', async () => {
    const url = await newDatabase()
    const { sessions, place } = await openSessions(url, {})
    const partitions = new Partitions(sessions, place, (warning) => warnings.push(warning))
    const years = [2001, 2002, 2003, 2003]
    await Promise.all(
      years.map(async (year) => {
        await partitions.ready(`${year}-07-01T00:00:00.000000Z`)
        const made = await sql<{ yes: boolean }>(url, `SELECT cortex_ledger.has_partition('${year}-07-01') AS yes`)
        expect(made, String(year)).toEqual([{ yes: true }])
      }),
    )
    await sessions.close()
  })

  test('what is no month or too many is refused', async () => {
    const url = await newDatabase()
    await (await open(url, '2026-03-31T00:00:00.000000Z')).close()
    for (const [from, months] of [
      ["'1969-12-31Z'", 1],
      ["'9999-01-01Z'", 1],
      ['now()', 0],
      ['now()', 121],
      ["'infinity'", 1],
      ['NULL', 1],
      ['now()', 'NULL'],
    ] as const)
      await expect(sql(url, `SELECT cortex_ledger.ensure_partitions(${from}, ${months})`), `${from} ${months}`).rejects.toThrow(
        /months of the years/,
      )
  })
})
