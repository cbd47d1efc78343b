/**
 * Whatever is changed in a PostgreSQL ledger by somebody whom nothing there can stop is reported: at the right record,
 * in at most three problems for each row that was changed.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AuditLedger, verifyLedger, type VerificationReport } from '../../src/index.ts'
import { checkpointText, signedBy, signerOf } from '../helpers/checkpoints.ts'
import { HONEST_ORIGIN } from '../helpers/honest-ledger.ts'
import { clusterMissing, useCluster } from '../helpers/postgres.ts'
import { connectAs, TamperBench, UNGUARDED } from '../helpers/postgres-ledger.ts'
import { scale, soaking } from '../helpers/scale.ts'

const RECORDS = 50
const verify = (url: string): Promise<VerificationReport> => verifyLedger(url, { remembered: false })
const toldIn = (report: VerificationReport): string => report.problems.map(({ code, seq }) => `${code} at ${seq}`).join(', ')

/** What is done; the first problem's place and code (any, if absent); how many rows it changes. */
type Change = readonly [sql: string, seq: number | null, code?: string | undefined, changed?: number]

/** What is wrong with the report, or null. */
function whyNotFound([sql, seq, code, changed = 1]: Change, report: VerificationReport): string | null {
  const [first] = report.problems
  if (report.ok || first === undefined) return `${sql}: not found`
  if (first.seq !== seq || (code !== undefined && first.code !== code)) return `${sql}: not as ${code} at ${seq}: ${toldIn(report)}`
  if (report.problems_total > 3 * changed) return `${sql}: ${report.problems_total} problems: ${toldIn(report)}`
  return null
}

/** In a copy of the database: the change stays. */
async function afterSql(url: string, change: string): Promise<VerificationReport> {
  const client = await connectAs(url, UNGUARDED)
  await client.query(change).finally(() => client.end())
  return verify(url)
}

/** A row of the ledger that is looked at. */
const row = (seq: number): string => `ledger_id = 1 AND seq = ${seq}`
const set = (assignment: string, seq: number): string => `UPDATE audit_log SET ${assignment} WHERE ${row(seq)}`
const gone = (seq: number): string => `DELETE FROM audit_log WHERE ${row(seq)}; DELETE FROM run_keys WHERE ${row(seq)}`
const month = (date: string): string => `audit_log_${date}`
/** The honest ledger's clock runs from the end of March; this is in the middle of it. */
const MONTHS = ['2026_03', '2026_04', '2026_05']
/** Cut, and the head moved back: a shorter ledger that is honest by itself. */
const cutAt = (size: number): string =>
  `DELETE FROM audit_log WHERE ledger_id = 1 AND seq >= ${size}; DELETE FROM run_keys WHERE ledger_id = 1 AND seq >= ${size};
   UPDATE heads SET size = ${size}, hash = (SELECT hash FROM audit_log WHERE ${row(size - 1)}) WHERE ledger_id = 1`

interface Column {
  readonly name: string
  readonly type: string
  readonly notnull: boolean
}

/** Assignments that change the column of any row. */
function changesOf({ name, type, notnull }: Column): string[] {
  if (name === 'ledger_id') return ['ledger_id = 3']
  const others = notnull ? [] : [`${name} = CASE WHEN ${name} IS NULL THEN ${type === 'ARRAY' ? "'{x}'::text[]" : "'x'"} END`]
  if (type === 'bigint') return [`${name} = ${name} + 1000`, `${name} = -1 - ${name}`]
  if (type === 'timestamp with time zone') return [`${name} = ${name} + interval '1 us'`, `${name} = ${name} - interval '1 day'`]
  if (type === 'ARRAY') return [...others, `${name} = coalesce(${name}, '{}') || '{y}'::text[]`, `${name} = '{{a},{b}}'::text[]`]
  const text = `coalesce(${name}, '')`
  return [
    ...others,
    `${name} = ${text} || 'x'`,
    `${name} = CASE ${text} WHEN '' THEN 'y' ELSE '' END`,
    `${name} = ${text} || U&'\\00DF'`,
    `${name} = upper(${text}) || lower(${text})`,
  ]
}

describe.skipIf(clusterMissing !== null)('a PostgreSQL ledger of 50 records', () => {
  const cluster = useCluster()
  let bench: TamperBench
  beforeAll(async () => {
    bench = await TamperBench.make(cluster(), RECORDS)
  })
  afterAll(() => bench?.close())

  async function assertAllFound(changes: Iterable<Change>): Promise<void> {
    const missed: string[] = []
    let count = 0
    for (const change of changes) {
      const why = whyNotFound(change, await bench.after(change[0], verify))
      if (why !== null) missed.push(why)
      count++
    }
    expect(count).toBeGreaterThan(0)
    expect(missed.slice(0, 40), `${missed.length} of ${count} changes`).toEqual([])
  }

  /** One change each to rows of their own, looked at together; in the soak, each alone. */
  async function assertEachFound(assignments: readonly string[]): Promise<void> {
    const changes = assignments.map((assignment, i): Change => [set(assignment, 2 * i + 1), 2 * i + 1])
    if (soaking) return assertAllFound(changes)
    const report = await bench.after(changes.map(([sql]) => sql).join('; '), verify)
    const found = new Set(report.problems.map(({ seq }) => seq))
    expect(changes.filter(([, seq]) => !found.has(seq))).toEqual([])
    expect(report.problems_total, toldIn(report)).toBeLessThanOrEqual(3 * changes.length)
  }

  test('is honest before it is touched, over several months, and after it was put back', async () => {
    const honest = { ok: true, size: RECORDS, problems: [], origin: HONEST_ORIGIN }
    expect(await verifyLedger(bench.url, { origin: HONEST_ORIGIN, remembered: false })).toMatchObject(honest)
    expect((await bench.after(gone(7), verify)).ok).toBe(false)
    expect((await bench.after('SELECT 1', verify)).problems).toEqual([])
    const [months] = await bench.query<{ n: number }>('SELECT count(DISTINCT tableoid)::int AS n FROM audit_log WHERE ledger_id = 1')
    expect(months?.n).toBe(MONTHS.length)
    expect((await verify(bench.url)).checks.columns.verdict).toBe('pass')
  })

  test('each column of a record changed is found', { timeout: 120_000 }, async () => {
    const columns = await bench.query<Column>(
      `SELECT column_name AS name, data_type AS type, is_nullable = 'NO' AS notnull FROM information_schema.columns
       WHERE table_schema = 'cortex_ledger' AND table_name = 'audit_log' ORDER BY ordinal_position`,
    )
    expect(columns.length).toBe(21)
    const moving = new Set(['seq', 'ledger_id'])
    const all = columns.filter(({ name }) => !moving.has(name)).map(changesOf)
    for (let variant = 0; variant < scale(2, 9) && all.some((changes) => changes.length > variant); variant++)
      await assertEachFound(all.flatMap((changes) => changes.slice(variant, variant + 1)))
    // Which of several problems comes first depends on where the row went; that it is found does not.
    for (const assignment of columns
      .filter(({ name }) => moving.has(name))
      .flatMap(changesOf)
      .slice(0, scale(2, 9))) {
      const report = await bench.after(set(assignment, 24), verify)
      expect(report.ok, assignment).toBe(false)
      expect(report.problems_total, assignment).toBeLessThan(8)
    }
  })

  test('rows removed, swapped, moved and doubled are found', async () => {
    const swap = (a: number, b: number): string =>
      `UPDATE audit_log SET seq = CASE seq WHEN ${a} THEN ${b + 1000} ELSE ${a + 1000} END WHERE ledger_id = 1 AND seq IN (${a}, ${b});
       UPDATE audit_log SET seq = seq - 1000 WHERE ledger_id = 1 AND seq >= 1000`
    const copied = (from: string, as: string): string =>
      `CREATE TEMP TABLE one AS SELECT * FROM audit_log WHERE ${from}; UPDATE one SET ${as}; INSERT INTO audit_log SELECT * FROM one; DROP TABLE one`
    const changes: Change[] = [
      [gone(25), 25, 'missing_records'],
      // The head alone says that there was one more.
      [gone(49), null, 'column_mismatch'],
      [swap(25, 26), 25, 'column_mismatch', 3],
      [`${gone(25)}; UPDATE audit_log SET seq = seq - 1 WHERE ledger_id = 1 AND seq > 25`, 25, 'column_mismatch', 25],
      [copied(row(25), "recorded_at = recorded_at + interval '1 month'"), 25, undefined, 2],
      [copied('ledger_id = 2 AND seq = 49', 'ledger_id = 1, seq = 50'), 50, undefined, 2],
      [copied('ledger_id = 2 AND seq = 49', 'ledger_id = 1, seq = 9223372036854775807'), Number(2n ** 63n - 1n), undefined, 2],
      [`${gone(30)}; ${copied('ledger_id = 2 AND seq = 30', 'ledger_id = 1')}`, 30, 'unexpected_record', 2],
      [copied(row(30), 'seq = -7'), -7, 'column_mismatch', 2],
    ]
    const more: Change[] = [
      [gone(0), 0],
      [gone(1), 1, 'missing_records'],
      ['DELETE FROM audit_log WHERE ledger_id = 1 AND seq BETWEEN 10 AND 20', 10, 'missing_records', 11],
      [set('seq = 1000', 25), 25, 'missing_records', 2],
      [set("recorded_at = recorded_at + interval '1 month'", 25), 25, 'column_mismatch'],
      [copied(row(25), "recorded_at = recorded_at - interval '1 year'"), 25, undefined, 2],
      [copied(row(30), 'seq = 50'), 50, 'column_mismatch', 2],
    ]
    await assertAllFound(soaking ? [...changes, ...more] : changes)
  })

  test('what was recorded emptied, put elsewhere, or said otherwise is found', async () => {
    await assertAllFound([
      [set('entry = NULL, salt = NULL', 24), 24, 'withheld_unnamed'],
      [set("entry = replace(entry, ':', ': ')", 24), 24, 'entry_mismatch'],
      [set('(salt, entry) = (SELECT salt, entry FROM audit_log WHERE ledger_id = 1 AND seq = 25)', 24), 24, 'entry_mismatch'],
      [set(`header = header || ',"salt":"' || salt || '"', salt = NULL`, 24), 24, 'column_mismatch'],
      // Rows that have tags, and one that has none.
      [
        `${set('tags = NULL', 24)}; ${set('tags = tags[1:1]', 27)}; ${set("tags = '{y,x}'", 30)}; ${set("tags = '{}'", 25)}`,
        24,
        'column_mismatch',
        2,
      ],
    ])
    await assertEachFound([
      'entry = NULL',
      'salt = NULL',
      "entry = '{}'",
      "entry = entry || ' '",
      'entry = entry || \',"header":{}\'',
      `header = replace(header, '"outcome":"', '"outcome":"failure","outcome":"')`,
      "signatures = '[]'",
      "tags = '{forged}'",
      // The same line, cut into columns elsewhere.
      `hash = hash || '","header":' || header, header = ''`,
      `hash = hash || '","header":' || left(header, 20), header = substr(header, 21)`,
      `header = header || ',"salt":"' || salt || '","entry":' || entry, salt = NULL, entry = NULL`,
      `header = left(header, -3), salt = right(header, 3) || salt`,
    ])
  })

  test('keys and heads that do not fit are found', async () => {
    const keys: Change[] = [
      [`DELETE FROM run_keys WHERE ${row(9)}`, 9],
      [`UPDATE run_keys SET seq = 1000 WHERE ${row(11)}`, 11],
      [`UPDATE run_keys SET run_id = 'other' WHERE ${row(13)}`, 13],
      [`UPDATE run_keys SET recorded_at = recorded_at + interval '1 us' WHERE ${row(15)}`, 15],
      [`UPDATE run_keys SET ledger_id = 2 WHERE ${row(17)}`, 17],
      // Whoever brings such an id would be told for ever that it was there.
      ["INSERT INTO run_keys VALUES (1, 2000, now(), 'forged')", 2000],
      ["INSERT INTO run_keys VALUES (1, -1, now(), 'forged, too')", -1],
    ]
    const report = await bench.after(keys.map(([sql]) => sql).join('; '), verify)
    const found = new Set(report.problems.filter(({ code }) => code === 'column_mismatch').map(({ seq }) => seq))
    expect(keys.filter(([, seq]) => !found.has(seq))).toEqual([])
    await assertAllFound([
      ...(soaking ? keys : []),
      ['DELETE FROM run_keys WHERE ledger_id = 1', 0, 'column_mismatch', RECORDS],
      ['DELETE FROM heads WHERE ledger_id = 1', null, 'column_mismatch'],
      ['UPDATE heads SET size = 9223372036854775807 WHERE ledger_id = 1', null, 'column_mismatch'],
      ["UPDATE heads SET hash = 'GENESIS' WHERE ledger_id = 1", null, 'column_mismatch'],
      [`UPDATE heads SET size = 49, hash = (SELECT hash FROM audit_log WHERE ${row(48)}) WHERE ledger_id = 1`, null, 'column_mismatch'],
    ])
  })

  test('a ledger that is called otherwise is found by its origin; its row removed, it is not there', async () => {
    await bench.after("UPDATE ledgers SET name = 'gone' WHERE ledger_id = 1", async (url) => {
      await expect(verify(url)).rejects.toMatchObject({ code: 'not_found' })
    })
    const swapped = "DELETE FROM ledgers; INSERT INTO ledgers OVERRIDING SYSTEM VALUE VALUES (1, 'elsewhere'), (3, 'main')"
    await bench.after(swapped, async (url) => {
      const report = await verifyLedger(url, { origin: HONEST_ORIGIN, remembered: false })
      expect(report.problems).toMatchObject([{ code: 'wrong_origin', seq: 0, found: 'example.com/elsewhere' }])
    })
  })

  test('a cut tail and a ledger written anew are found by a checkpoint from before, and only so', async () => {
    const cut = await bench.after(cutAt(30), verify)
    expect(cut).toMatchObject({ ok: true, size: 30 })
    expect(cut.missing.completeness).toMatch(/checkpoint/)
    const anew = (seed: number): string =>
      [`DELETE FROM audit_log WHERE ledger_id = 1`, `DELETE FROM run_keys WHERE ledger_id = 1`, `DELETE FROM heads WHERE ledger_id = 1`]
        .concat(['audit_log', 'run_keys', 'heads'].map((table) => `UPDATE ${table} SET ledger_id = 1 WHERE ledger_id = ${seed}`))
        .join('; ')
    expect(await bench.after(anew(2), verify)).toMatchObject({ ok: true, size: RECORDS })
    const ledger = await AuditLedger.open(bench.url, { readOnly: true })
    const lines: string[] = []
    for await (const { line } of ledger.read()) lines.push(line)
    await ledger.close()
    const since = [await signedBy(checkpointText(HONEST_ORIGIN, lines, 40), signerOf(HONEST_ORIGIN, 1))]
    const judged = (url: string): Promise<VerificationReport> => verifyLedger(url, { since, remembered: false })
    expect(await judged(bench.url)).toMatchObject({ ok: true, verdicts: { completeness: 'pass' } })
    expect(toldIn(await bench.after(cutAt(30), judged))).toContain('behind_checkpoint')
    expect(toldIn(await bench.after(anew(2), judged))).toContain('forked')
  })

  describe('its tables changed', () => {
    const part = month(MONTHS[1]!)
    const inOther = (seq: number): string => `INSERT INTO ${part} SELECT * FROM ${month(MONTHS[2]!)} WHERE ${row(seq)}`
    /** A partition taken for what it says it is, whatever is in it. */
    const lying = (change: string): string =>
      `ALTER TABLE audit_log DETACH PARTITION ${part}; ${change};
       ALTER TABLE ${part} ADD CONSTRAINT lie CHECK (recorded_at IS NOT NULL AND recorded_at >= '2026-04-01Z' AND recorded_at < '2026-05-01Z') NOT VALID;
       UPDATE pg_constraint SET convalidated = true WHERE conname = 'lie';
       ALTER TABLE audit_log ATTACH PARTITION ${part} FOR VALUES FROM ('2026-04-01Z') TO ('2026-05-01Z')`
    const moved = lying(`${inOther(45)}; DELETE FROM ${month(MONTHS[2]!)} WHERE ${row(45)}`)
    /** While an index is said not to be ready, rows do not come into it. */
    const behindTheIndex = (change: string): string =>
      `UPDATE pg_index SET indisready = false, indislive = true WHERE indrelid = '${part}'::regclass AND indisprimary; ${change}`
    const ready = `UPDATE pg_index SET indisready = true WHERE indrelid = '${part}'::regclass`

    test('a partition detached is found', async () => {
      const url = await bench.copy()
      // The last one alone leaves no gap: the head says that there were more.
      const last = await afterSql(url, `ALTER TABLE audit_log DETACH PARTITION ${month(MONTHS[2]!)}`)
      expect(last.problems.find(({ expected }) => expected?.startsWith('heads:'))).toMatchObject({ code: 'column_mismatch', seq: null })
      const middle = await afterSql(
        url,
        `DROP TABLE ${part}; ALTER TABLE audit_log ATTACH PARTITION ${month(MONTHS[2]!)} FOR VALUES FROM ('2026-05-01Z') TO ('2026-06-01Z')`,
      )
      expect(middle.problems[0]).toMatchObject({ code: 'missing_records' })
      expect(middle.problems[0]?.seq).toBeGreaterThan(0)
    })

    test('a row in the partition of another month is found: queries by time pass over it', async () => {
      const [rows] = await bench.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${month(MONTHS[2]!)} WHERE ledger_id = 1`)
      const inMay = rows!.n
      const report = await bench.afterInCopy(moved, async (url) => {
        const ledger = await AuditLedger.open(url, { readOnly: true })
        expect(await ledger.count({ recorded_since: '2026-05-01T00:00:00.000000Z' })).toBe(inMay - 1)
        await ledger.close()
        return verify(url)
      })
      expect(report.problems).toMatchObject([
        { code: 'column_mismatch', seq: 45, expected: `partition=${month(MONTHS[2]!)}`, found: `partition=${part}` },
      ])
    })

    test('a row that an index hides from the reading is found', async () => {
      const forge = `INSERT INTO ${part} SELECT (r).* FROM (SELECT jsonb_populate_record(a, '{"actor":"forged"}') AS r FROM ${part} AS a WHERE ${row(24)}) AS x`
      const report = await bench.afterInCopy(
        async (client) => {
          await client.query(behindTheIndex('SELECT 1'))
          await client.query(forge)
          await client.query(ready)
          // Small tables are read without an index.
          await client.query("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET enable_seqscan = off', current_database()); END $$")
        },
        async (url) => {
          const ledger = await AuditLedger.open(url, { readOnly: true })
          expect(await ledger.count({ actor: ['forged'] })).toBe(1)
          await ledger.close()
          return verify(url)
        },
      )
      expect(report.problems).toMatchObject([{ code: 'unreadable', expected: 'the 51 rows that the table has' }])
    })

    test('what the server has beside the rows may go: indexes, guards, functions, types; NULLs are told', async () => {
      const url = await bench.copy()
      for (const change of [
        "UPDATE pg_index SET indisvalid = false FROM pg_class WHERE oid = indrelid AND relname LIKE 'audit_log%'",
        'ALTER TABLE audit_log DROP CONSTRAINT audit_log_pkey',
        'DROP TRIGGER no_change ON audit_log; DROP FUNCTION confirm_state(integer)',
        'DROP VIEW audit_records, audit_headers; ALTER TABLE audit_log ALTER stream_version TYPE integer, ALTER actor TYPE varchar(600), ALTER tags TYPE varchar(600)[]',
      ])
        expect((await afterSql(url, change)).problems, change).toEqual([])
      const columns = ['stream_version', 'actor', 'occurred_at', 'hash']
      const nulls = await afterSql(
        url,
        columns.map((name, i) => `ALTER TABLE audit_log ALTER ${name} DROP NOT NULL; ${set(`${name} = NULL`, 10 + i)}`).join('; '),
      )
      expect(new Set(nulls.problems.map(({ seq }) => seq))).toEqual(new Set([10, 11, 12, 13]))
    })

    test('rows that a policy hides from a reader are asked for, not passed over', async () => {
      const url = await bench.copy()
      await afterSql(
        url,
        `CREATE ROLE looking LOGIN; GRANT USAGE ON SCHEMA cortex_ledger TO looking; GRANT SELECT ON ALL TABLES IN SCHEMA cortex_ledger TO looking;
         GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA cortex_ledger TO looking;
         ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON audit_log USING (seq < 30)`,
      )
      const reading = verify(url.replace('postgres@', 'looking@'))
      await expect(reading).rejects.toMatchObject({ code: 'read_only', message: expect.stringContaining('row-level security') })
    })
  })
})
