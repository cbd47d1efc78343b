/** Who may do what in a database in which nobody is a superuser: each as a user of its own, over SQL and through a ledger. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AuditLedger, masterKeyFrom, publishLedger, signerFromSeed, verifyLedger, verifyPublishedLog } from '../../../src/index.ts'
import { makeRoles } from '../../../src/open-store.ts'
import { openPostgresStore } from '../../../src/stores/postgres/index.ts'
import { clusterMissing, useCluster } from '../../helpers/postgres.ts'
import { hurryingClock } from '../../helpers/postgres-ledger.ts'

const ORIGIN = 'example.com/roles'
const SIGNER = signerFromSeed(ORIGIN, new Uint8Array(32).fill(7))
/** One that each table has, where it is not `ledger_id`. */
const COLUMNS: Readonly<Record<string, string>> = {
  ledgers: 'name',
  schema_version: 'version',
  entry_pieces: 'piece',
  upkeep_due: 'table_name',
}
const NAMES = ['writer', 'reader', 'auditor', 'retention'] as const

describe.skipIf(clusterMissing !== null)('roles', () => {
  const cluster = useCluster()
  const folder = mkdtempSync(join(tmpdir(), 'cortex-roles-'))
  const options = { signer: SIGNER, checkpoints: false, fullText: 'off', stateFolder: join(folder, 'state') } as const
  const url = (user: string): string => cluster().url('audit', user)
  const clients = new Map<string, pg.Client>()
  /** SQL as a user, over one connection each. */
  async function as(user: string, sql: string): Promise<pg.QueryResult> {
    let client = clients.get(user)
    if (client === undefined) {
      client = new pg.Client({ connectionString: url(user) })
      clients.set(user, client)
      await client.connect()
      await client.query('SET search_path = cortex_ledger')
    }
    return client.query(sql)
  }
  /** The SQLSTATE with which it is refused, or null. What it did is undone. */
  async function refusal(user: string, sql: string): Promise<string | null> {
    await as(user, 'BEGIN')
    try {
      await as(user, sql)
      return null
    } catch (error) {
      return (error as pg.DatabaseError).code ?? String(error)
    } finally {
      await as(user, 'ROLLBACK')
    }
  }
  async function lines(): Promise<string[]> {
    const ledger = await AuditLedger.open(url('owner'), { readOnly: true })
    const all: string[] = []
    for await (const { line } of ledger.read()) all.push(line)
    await ledger.close()
    return all
  }

  beforeAll(async () => {
    await cluster().sql('CREATE ROLE owner LOGIN CREATEROLE')
    await cluster().sql('CREATE DATABASE audit OWNER owner')
    // From here on nobody is a superuser.
    expect(await makeRoles(url('owner'))).toEqual(NAMES.map((name) => `cortex_ledger_${name}`))
    const ledger = await AuditLedger.open(url('owner'), { ...options, origin: ORIGIN, clock: hurryingClock() })
    for (let n = 0; n < 8; n++) await ledger.record({ agent_name: 'a', method_name: 'm', prompt: `secret ${n}`, model_name: 'secret' })
    await ledger.checkpoint()
    await ledger.close()
    for (const name of NAMES) await as('owner', `CREATE ROLE ${name} LOGIN; GRANT cortex_ledger_${name} TO ${name}`)
    await as('owner', 'CREATE ROLE stranger LOGIN')
  })
  afterAll(async () => {
    for (const client of clients.values()) await client.end()
    rmSync(folder, { recursive: true, force: true })
  })

  test('they can be made again: what else they were given is taken back', async () => {
    await as(
      'owner',
      'GRANT INSERT, UPDATE ON audit_log TO cortex_ledger_writer; GRANT SELECT (entry) ON audit_log TO cortex_ledger_auditor',
    )
    await as('owner', 'GRANT CREATE ON SCHEMA cortex_ledger TO cortex_ledger_reader')
    await Promise.all([makeRoles(url('owner')), makeRoles(url('owner'))])
    expect(await refusal('writer', "UPDATE audit_log SET actor = 'x'")).toBe('42501')
    expect(await refusal('auditor', 'SELECT entry FROM audit_log')).toBe('42501')
    expect(await refusal('reader', 'CREATE TABLE cortex_ledger.mine ()')).toBe('42501')
  })

  test('by somebody who may not, they are not made, and it is said who may', async () => {
    for (const user of ['writer', 'stranger'])
      await expect(makeRoles(url(user))).rejects.toMatchObject({ code: 'read_only', message: expect.stringMatching(/CREATEROLE/) })
    await cluster().sql('CREATE ROLE plain LOGIN')
    await cluster().sql('CREATE DATABASE theirs OWNER plain')
    const theirs = `${cluster().url('theirs', 'plain')}?schema=plain`
    await expect(makeRoles(theirs)).rejects.toMatchObject({ code: 'read_only', message: expect.stringMatching(/CREATEROLE/) })
  })

  test('who was given nothing can neither open nor make a ledger', async () => {
    for (const place of ['', '?schema=mine']) {
      for (const readOnly of [true, false]) {
        const opening = AuditLedger.open(`${url('stranger')}${place}`, { ...options, readOnly })
        await expect(opening).rejects.toMatchObject({ code: readOnly && place !== '' ? 'not_found' : 'read_only' })
      }
    }
  })

  test('a writer records, reads, signs checkpoints, makes partitions, and verifies', async () => {
    const ledger = await AuditLedger.open(url('writer'), { ...options, create: false })
    const receipt = await ledger.record({ agent_name: 'a', method_name: 'm', raw_output: 'by the writer' })
    expect((await ledger.get(receipt.run_id))?.entry).toMatchObject({ raw_output: 'by the writer' })
    expect((await ledger.checkpoint()).size).toBe((await ledger.head()).size)
    expect((await ledger.stats()).store).toMatchObject({ default_partition_records: 0 })
    await ledger.close()
    const { rows } = await as('writer', "SELECT ensure_partitions('2031-01-01Z', 2) AS made")
    expect(rows).toEqual([{ made: 2 }])
    expect(await verifyLedger(url('writer'), { keys: [SIGNER.verifierKey], remembered: false })).toMatchObject({
      ok: true,
      verdicts: { authenticity: 'pass' },
    })
    await expect(AuditLedger.open(`${url('writer')}?ledger=new`, options)).rejects.toMatchObject({ code: 'read_only' })
  })

  test('a reader reads and verifies, and can not write', async () => {
    const ledger = await AuditLedger.open(url('reader'), { readOnly: true })
    expect(await ledger.count({})).toBeGreaterThan(8)
    await ledger.close()
    expect(await verifyLedger(url('reader'), { remembered: false })).toMatchObject({ ok: true })
    await expect(AuditLedger.open(url('reader'), options)).rejects.toMatchObject({
      code: 'read_only',
      message: expect.stringContaining('GRANT cortex_ledger_writer TO reader'),
    })
    for (const sql of [
      'SELECT lock_state(1, NULL, NULL)',
      'SELECT confirm_state(1)',
      'SELECT ensure_partitions(now(), 1)',
      'DELETE FROM tree_hashes',
    ])
      expect(await refusal('reader', sql), sql).toBe('42501')
  })

  test('retention reads, and makes partitions', async () => {
    const ledger = await AuditLedger.open(url('retention'), { readOnly: true })
    expect(await ledger.count({})).toBeGreaterThan(8)
    await ledger.close()
    expect(await refusal('retention', "SELECT ensure_partitions('2032-01-01Z', 1)")).toBe(null)
    expect(await refusal('retention', 'DELETE FROM audit_log')).toBe('42501')
  })

  test('retention takes entries away, puts them back, and gives room back, by functions alone', { timeout: 60_000 }, async () => {
    const before = await lines()
    await as('owner', 'CREATE ROLE janitor LOGIN; GRANT cortex_ledger_writer, cortex_ledger_retention TO janitor')
    const store = await openPostgresStore(url('janitor'), { databaseClock: false, patienceMs: 300 })
    const upkeep = store.upkeep!
    const count = async (steps: AsyncIterable<{ readonly records: number }>): Promise<number> => {
      let records = 0
      for await (const step of steps) records += step.records
      return records
    }
    // Somebody else's older transaction, which this user may not look into.
    const client = new pg.Client({ connectionString: url('reader') })
    await client.connect()
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1')
    expect(await count(upkeep.withhold([{ first: 1, last: 3 }], { erase: true }))).toBe(3)
    expect((await lines()).filter((line) => line.endsWith(',"entry":null}')).length).toBe(3)
    expect((await upkeep.reclaim()).left[0]).toMatch(/^audit_log_2026_03: process \d+ began before/)
    await client.query('COMMIT')
    await client.end()
    expect((await upkeep.reclaim()).left).toEqual([
      expect.stringMatching(/^pg_statistic: .*owner of the database/),
      expect.stringMatching(/write-ahead log/),
    ])
    const kept = before.slice(1, 4).map((line, i) => {
      const [, salt, entry_text] = /,"salt":"([\w-]{22})","entry":(.*)\}$/s.exec(line)!
      return { seq: i + 1, salt: salt!, entry_text: entry_text! }
    })
    async function* entries(): AsyncGenerator<typeof kept> {
      yield kept
    }
    expect(await count(upkeep.restore(entries()))).toBe(3)
    expect(await lines()).toEqual(before)
    await upkeep.archive.write('entries-1', Buffer.from('x'))
    await upkeep.archive.remove('entries-1')
    await store.close()
    // The owner of the database finishes what is left.
    const owners = await openPostgresStore(url('owner'), { databaseClock: false })
    await owners.upkeep!.archive.write('entries-2', Buffer.from('what was said'))
    expect((await owners.upkeep!.reclaim()).left).toEqual([expect.stringMatching(/write-ahead log/)])
    await owners.close()
    for (const sql of [
      'UPDATE audit_log SET salt = NULL, entry = NULL',
      "SET cortex_ledger.upkeep = 'on'; UPDATE audit_log SET salt = NULL, entry = NULL",
      "INSERT INTO upkeep_due VALUES ('audit_log', pg_current_xact_id(), false)",
      'CLUSTER audit_log_2026_03 USING audit_log_2026_03_pkey',
    ])
      expect(await refusal('janitor', sql), sql).toBe('42501')
    // Tables that are not the ledger's months are not rewritten.
    for (const table of ['ledgers', 'heads', 'pg_class', 'audit_log'])
      expect((await as('janitor', `SELECT rewrite_table('${table}', 0) AS why`)).rows).toEqual([
        { why: expect.stringMatching(/no partition/) },
      ])
    // One who writes alone may not.
    const writers = await openPostgresStore(url('writer'), { databaseClock: false })
    await expect(count(writers.upkeep!.withhold([{ first: 1, last: 1 }]))).rejects.toMatchObject({ code: 'read_only' })
    await expect(writers.upkeep!.archive.write('mine', Buffer.from('x'))).rejects.toMatchObject({ code: 'read_only' })
    expect(await writers.upkeep!.archive.stat('entries-2')).toEqual({ name: 'entries-2', bytes: 13 })
    await writers.close()
    expect(await lines()).toEqual(before)
  })

  describe('an auditor sees headers', () => {
    test('and no salt, entry, provider or model: not by table, view, partition, function or statistics', async () => {
      const partition = (await as('owner', 'SELECT tableoid::regclass AS p FROM audit_log LIMIT 1')).rows[0].p as string
      for (const sql of [
        'SELECT entry FROM audit_log',
        'SELECT salt FROM audit_log',
        'SELECT provider FROM audit_log',
        'SELECT count(*) FROM audit_log WHERE model IS NOT NULL',
        'SELECT * FROM audit_log',
        'SELECT audit_log FROM audit_log',
        'SELECT to_jsonb(a) FROM audit_log AS a',
        'TABLE audit_records',
        'SELECT payload FROM audit_records',
        `SELECT header FROM ${partition}`,
        'TABLE audit_log_default',
        'COPY audit_log TO STDOUT',
        'COPY (SELECT entry FROM audit_log) TO STDOUT',
        "SELECT * FROM read_state(1, '{}', ARRAY(SELECT run_id FROM run_keys))",
        "SELECT * FROM lock_state(1, '{}', ARRAY(SELECT run_id FROM run_keys))",
        'SELECT seq FROM audit_log ORDER BY entry',
        'TABLE entry_files',
        'SELECT content FROM entry_pieces',
        "SELECT restore_entries(1, '{}', '{}', '{}', '{}', '{}')",
        'SELECT 1 FROM audit_log GROUP BY entry',
        'CREATE TEMP TABLE mine AS SELECT entry FROM audit_log',
        'CREATE TEMP VIEW mine AS SELECT entry FROM audit_log; TABLE mine',
      ])
        expect(await refusal('auditor', sql), sql).toBe('42501')
      await as('owner', 'ANALYZE audit_log')
      const seen = await as('auditor', "SELECT attname, most_common_vals::text FROM pg_stats WHERE schemaname = 'cortex_ledger'")
      expect(JSON.stringify(seen.rows)).not.toContain('secret')
      expect(seen.rows.map(({ attname }) => attname as string)).not.toContain('model')
      const headers = await as('auditor', 'SELECT seq, header FROM audit_headers ORDER BY seq')
      expect(headers.rows.length).toBeGreaterThan(8)
    })

    test('reads lines whose entries are withheld', async () => {
      const ledger = await AuditLedger.open(url('auditor'), { readOnly: true })
      const seen: string[] = []
      for await (const record of ledger.read()) {
        expect([record.entry, record.salt]).toEqual([null, null])
        seen.push(record.line)
      }
      const all = await lines()
      expect(seen).toEqual(all.map((line) => `${line.slice(0, line.indexOf(',"salt":'))},"entry":null}`))
      for (const filter of [
        { actor: ['a'] },
        { run_id: [all.map((line) => (JSON.parse(line) as { header: { run_id: string } }).header.run_id)[3]!] },
      ]) {
        const found: string[] = []
        for await (const { line } of ledger.scan(filter)) found.push(line)
        expect(found.length).toBeGreaterThan(0)
        expect(seen).toEqual(expect.arrayContaining(found))
      }
      const backwards: string[] = []
      for await (const { line } of ledger.read({ reverse: true })) backwards.push(line)
      expect(backwards).toEqual(seen.toReversed())
      expect((await ledger.stats()).size).toBe(all.length)
      await ledger.close()
    })

    test('reads headers in both ways over one connection', async () => {
      const store = await openPostgresStore(url('auditor'), { readOnly: true })
      const both: string[][] = []
      for (const chunks of [store.read({ filter: {}, from: 0, before: 3, reverse: false, limit: 3 }), store.readHeaders!(0, 3)]) {
        const seen: string[] = []
        for await (const chunk of chunks) seen.push(...chunk.map(String))
        both.push(seen)
      }
      expect(both[0]).toHaveLength(3)
      expect(both[1]).toEqual(both[0])
      await store.close()
    })

    test('and can not verify whole records, but publish the headers and verify what was published', async () => {
      await expect(verifyLedger(url('auditor'), { remembered: false })).rejects.toMatchObject({
        code: 'unsupported',
        message: expect.stringMatching(/publish the ledger .* and verify what was published/),
      })
      const dir = join(folder, 'public')
      const report = await publishLedger(url('auditor'), dir)
      expect(report).toMatchObject({ origin: ORIGIN, not_signed: expect.stringContaining('may not append') })
      expect(report.size).toBeGreaterThan(8)
      expect(await verifyPublishedLog(dir, { keys: [SIGNER.verifierKey] })).toMatchObject({ ok: true, size: report.size })
    })
  })

  test('a writer can not change or remove a record by SQL', { timeout: 60_000 }, async () => {
    const before = await lines()
    const { rows } = await as('owner', 'SELECT tableoid::regclass AS part, * FROM audit_log ORDER BY seq DESC LIMIT 1')
    const { part, seq, hash, header, salt, entry } = rows[0] as { [name: string]: string }
    const [next] = [String(Number(seq) + 1)]
    /** A call of append_records with one record of this header. */
    const append = (
      head: string,
      said: string,
      stated = `encode(sha256('\\x00'::bytea || convert_to(${pg.escapeLiteral(said)}, 'UTF8')), 'hex')`,
    ): string =>
      `SELECT appended FROM append_records(1, ${next}, ${head}, '2026-01-01', 1, ARRAY[now()], ARRAY[now()], ARRAY[0::bigint], ARRAY['forged'],
       ARRAY['s'], ARRAY['t'], ARRAY['a'], ARRAY['m'], ARRAY['success'], ARRAY[NULL], ARRAY[NULL], ARRAY[NULL], ARRAY[NULL], ARRAY[NULL],
       ARRAY[${stated}], ARRAY[${pg.escapeLiteral(said)}], ARRAY[NULL], ARRAY['${salt}'], ARRAY[${pg.escapeLiteral(entry!)}])`
    const last = pg.escapeLiteral(hash!)
    const tables = [
      'audit_log',
      part!,
      'audit_log_default',
      'run_keys',
      'heads',
      'ledgers',
      'schema_version',
      'entry_files',
      'entry_pieces',
      'upkeep_due',
    ]
    const attempts: readonly (readonly [sql: string, ...states: string[]])[] = [
      ...tables.flatMap((table): [string, string][] => [
        [`UPDATE ${table} SET ${COLUMNS[table] ?? 'ledger_id'} = DEFAULT`, '42501'],
        [`DELETE FROM ${table}`, '42501'],
        [`TRUNCATE ${table}`, '42501'],
        [`INSERT INTO ${table} DEFAULT VALUES`, '42501'],
        [`COPY ${table} FROM STDIN`, '42501'],
        [`ALTER TABLE ${table} DISABLE TRIGGER ALL`, '42501'],
        [`DROP TABLE ${table} CASCADE`, '42501'],
        [`SELECT 1 FROM ${table} FOR UPDATE`, '42501'],
        [`LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`, '42501'],
      ]),
      [`TRUNCATE audit_log, run_keys, heads CASCADE`, '42501'],
      [`MERGE INTO audit_log AS a USING audit_log AS b ON a.seq = b.seq WHEN MATCHED THEN DELETE`, '42501'],
      [`INSERT INTO run_keys SELECT * FROM run_keys ON CONFLICT (ledger_id, run_id) DO UPDATE SET seq = 0`, '42501'],
      [`INSERT INTO heads VALUES (1, 0, 'GENESIS') ON CONFLICT (ledger_id) DO UPDATE SET size = 0`, '42501'],
      ['WITH gone AS (DELETE FROM audit_log RETURNING *) SELECT count(*) FROM gone', '42501'],
      ['ALTER TABLE audit_log ALTER COLUMN entry TYPE varchar(1)', '42501'],
      ['ALTER TABLE audit_log DROP COLUMN entry', '42501'],
      [`ALTER TABLE audit_log DETACH PARTITION ${part}`, '42501'],
      ['ALTER TABLE audit_log OWNER TO writer', '42501'],
      ['DROP TRIGGER no_change ON audit_log', '42501'],
      ['CREATE TRIGGER mine BEFORE INSERT ON audit_log EXECUTE FUNCTION refuse_change()', '42501'],
      ['CREATE RULE mine AS ON INSERT TO audit_log DO INSTEAD NOTHING', '42501'],
      ['DROP FUNCTION refuse_change() CASCADE', '42501'],
      ["CREATE OR REPLACE FUNCTION cortex_ledger.refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'", '42501'],
      ["CREATE FUNCTION cortex_ledger.month_of(timestamp) RETURNS date LANGUAGE sql AS 'SELECT NULL::date'", '42501'],
      ['CREATE TABLE cortex_ledger.audit_log_2030_01 ()', '42501'],
      ['DROP SCHEMA cortex_ledger CASCADE', '42501'],
      ['ALTER SCHEMA cortex_ledger RENAME TO gone', '42501'],
      ["SET session_replication_role = 'replica'", '42501'],
      ['SET ROLE owner', '42501'],
      ['SET SESSION AUTHORIZATION owner', '42501'],
      // A warning, and nothing is granted.
      ['GRANT ALL ON audit_log TO writer; DELETE FROM audit_log', '42501'],
      ['ALTER ROLE writer CREATEROLE', '42501'],
      ["SET cortex_ledger.upkeep = 'on'; DELETE FROM audit_log", '42501'],
      ["SET cortex_ledger.appending = 'on'; UPDATE heads SET size = 1", '42501'],
      ["SELECT guard_table('audit_log', true)", '42501'],
      ["SELECT add_ledger('mine')", '42501'],
      ["SELECT withhold_entries(1, '{1}', '{3}', true, 1000)", '42501'],
      ["SET cortex_ledger.upkeep = 'on'; UPDATE audit_log SET salt = NULL, entry = NULL", '42501'],
      [`SELECT restore_entries(1, '{${seq}}', '{${salt}}', '{x}', '{NULL}', '{NULL}')`, '42501'],
      [`SELECT rewrite_table('audit_log_default', 0)`, '42501'],
      ['SELECT renew_statistics()', '42501'],
      ['SELECT note_due()', '42501'],
      ["SELECT upkeep_holder('1')", '42501'],
      ['CREATE INDEX ON audit_log (actor)', '42501'],
      ['ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY', '42501'],
      ['CREATE POLICY mine ON audit_log USING (false)', '42501'],
      ['REINDEX TABLE audit_log', '42501', '25001'],
      ['DROP DATABASE audit', '42501', '25001'],
      // What continues another record than the last, or is not what its hash says.
      [append(last, header!), '23000'],
      [append(last, header!.replace(`"seq":${seq}`, `"seq":${next}`)), '23000'],
      [append(last, header!.replace(/"previous_hash":"[0-9a-f]*"/, `"previous_hash":"${hash}"`)), '23000'],
      [
        append(
          last,
          header!.replace(/"previous_hash":"[0-9a-f]*"/, `"previous_hash":"${hash}"`).replace(`"seq":${seq}`, `"seq":${next}`),
          last,
        ),
        '23000',
      ],
      [append(last, header!, 'NULL'), '23000', '23502'],
    ]
    expect(attempts.length).toBeGreaterThan(120)
    const passed: string[] = []
    for (const [sql, ...states] of attempts) {
      const state = await refusal('writer', sql)
      if (state === null || !states.includes(state)) passed.push(`${sql}: ${state}`)
    }
    expect(passed).toEqual([])
    // For another head than the one that stands: a lost race, which writes nothing.
    for (const head of ['NULL', "'GENESIS'", pg.escapeLiteral(before[0]!.slice(9, 73))])
      expect((await as('writer', append(head, header!))).rows, head).toEqual([{ appended: false }])
    expect(await lines()).toEqual(before)
  })

  test('what shadows our functions, tables and operators changes nothing for a writer who appends', async () => {
    const before = await lines()
    await as('owner', 'CREATE SCHEMA traps AUTHORIZATION owner; GRANT ALL ON SCHEMA traps TO writer')
    for (const sql of [
      'CREATE TEMP TABLE heads (ledger_id integer, size bigint, hash text, recorded_at text, bytes bigint)',
      "INSERT INTO pg_temp.heads VALUES (1, 0, 'GENESIS', NULL, 0)",
      'CREATE TEMP TABLE audit_log (seq bigint)',
      "CREATE FUNCTION pg_temp.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT NULL::bytea'",
      "CREATE FUNCTION traps.read_state(integer, text[], text[]) RETURNS TABLE (kind text, key text, number bigint, line text) LANGUAGE sql AS 'SELECT NULL, NULL, 0, NULL'",
      "CREATE FUNCTION traps.yes(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
      'CREATE OPERATOR traps.= (LEFTARG = text, RIGHTARG = text, FUNCTION = traps.yes)',
      'SET search_path = traps, pg_temp, cortex_ledger, pg_catalog',
    ])
      await as('writer', sql)
    const wrong = "SELECT appended, size FROM cortex_ledger.append_records(1, 0, 'GENESIS', '', 0"
    const texts = Array.from({ length: 16 }, () => "ARRAY['x']").join(', ')
    const told = await as('writer', `${wrong}, ARRAY[now()], ARRAY[now()], ARRAY[0::bigint], ${texts})`)
    expect(told.rows).toEqual([{ appended: false, size: String(before.length) }])
    const { rows } = await as(
      'writer',
      "SELECT key, number FROM cortex_ledger.lock_state(1, '{}', '{}') WHERE kind OPERATOR(pg_catalog.=) 'head'",
    )
    expect(rows).toEqual([{ key: before.at(-1)!.slice(9, 73), number: String(before.length) }])
    await as('writer', 'SET search_path = cortex_ledger')
    expect(await lines()).toEqual(before)
  })

  test('data keys: a writer makes them, an auditor sees none, and only the retention role takes one away', async () => {
    const encryption = { master: masterKeyFrom(new Uint8Array(32).fill(3)) }
    const ledger = await AuditLedger.open(url('writer'), { ...options, create: false, encryption })
    const { run_id } = await ledger.record({ agent_name: 'a', method_name: 'm', raw_output: 'secret' }, { subject: 'ann' })
    expect((await ledger.get(run_id))?.entry).toMatchObject({ raw_output: 'secret' })
    await expect(ledger.dataKeys.shred({ name: 'ann' })).rejects.toMatchObject({ code: 'read_only' })
    await ledger.close()
    const reader = await AuditLedger.open(url('reader'), { ...options, readOnly: true, encryption })
    expect((await reader.get(run_id))?.entry).toMatchObject({ raw_output: 'secret' })
    await reader.close()
    for (const sql of ['SELECT id FROM data_keys', 'DELETE FROM data_keys', "UPDATE data_keys SET wrapped = 'x'"])
      expect(await refusal('auditor', sql), sql).toBe('42501')
    for (const sql of ['DELETE FROM data_keys', "UPDATE data_keys SET wrapped = 'x'", 'TRUNCATE data_keys'])
      expect(await refusal('writer', sql), sql).toBe('42501')
    for (const sql of ['INSERT INTO data_keys SELECT * FROM data_keys', 'DELETE FROM data_keys'])
      expect(await refusal('reader', sql), sql).toBe('42501')
    // Whoever erases also records why.
    await as('owner', 'CREATE ROLE keeper LOGIN; GRANT cortex_ledger_writer, cortex_ledger_retention TO keeper')
    const keeper = await AuditLedger.open(url('keeper'), { ...options, signer: null, create: false, encryption })
    expect(await keeper.dataKeys.rewrap()).toEqual({ rewrapped: 0, unchanged: 2 })
    expect((await keeper.dataKeys.shred({ name: 'ann' })).length).toBe(1)
    expect((await keeper.get(run_id))?.locked).toMatchObject({ details: { reason: 'key_gone' } })
    await keeper.close()
    // The other tests record in clear.
    await as('owner', 'DELETE FROM data_keys')
  })

  test("an owner's slip is refused, too", async () => {
    const partition = (await as('owner', 'SELECT tableoid::regclass AS p FROM audit_log LIMIT 1')).rows[0].p as string
    for (const table of ['audit_log', partition, 'run_keys']) {
      for (const sql of [
        `UPDATE ${table} SET run_id = 'x'`,
        `DELETE FROM ${table}`,
        `TRUNCATE ${table}`,
        `INSERT INTO ${table} SELECT * FROM ${table}`,
      ])
        expect(await refusal('owner', sql), sql).toBe('23000')
    }
    for (const sql of [
      'UPDATE heads SET size = 0',
      'DELETE FROM heads',
      'TRUNCATE heads',
      "UPDATE ledgers SET name = 'x'",
      'DELETE FROM ledgers',
      'TRUNCATE audit_log_default',
    ])
      expect(await refusal('owner', sql), sql).toBe('23000')
  })
})
