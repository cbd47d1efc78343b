/** Several ledgers in one database and in several schemas, made by many at once; and schemas that are not ours. */
import { describe, expect, test } from 'vitest'
import { AuditLedger, verifyLedger } from '../../../src/index.ts'
import { seededRandom } from '../../../src/testing/index.ts'
import { HONEST_ORIGIN, makeHonestLedger } from '../../helpers/honest-ledger.ts'
import { postgresMissing, useDatabases } from '../../helpers/postgres.ts'
import { sql } from '../../helpers/postgres-cluster.ts'

const options = { signer: null, checkpoints: false, actor: 'tester' } as const

describe.skipIf(postgresMissing !== null)('schemas and ledgers', () => {
  const { newDatabase } = useDatabases()
  let foreign: Promise<string> | null = null
  let schemas = 0

  test('of several in one database, in one schema and in others, each sees its own records alone', { timeout: 60_000 }, async () => {
    const url = await newDatabase()
    const places = ['', '?ledger=b.c-d_9', '?schema=_x9&ledger=b.c-d_9']
    for (const [i, place] of places.entries()) await makeHonestLedger(`${url}${place}`, 5 + i, i, { origin: `example.com/${i}` })
    for (const [i, place] of places.entries()) {
      const at = `${url}${place}`
      const ledger = await AuditLedger.open(at, { readOnly: true })
      const origins = new Set<string>()
      let size = 0
      for await (const record of ledger.read()) {
        if (record.seq === 0) origins.add(record.header.actor)
        size++
      }
      expect([[...origins], size, await ledger.count({}), (await ledger.head()).size]).toEqual([[`example.com/${i}`], 5 + i, 5 + i, 5 + i])
      expect([...(await ledger.tally('type')).values()].reduce((sum, n) => sum + n, 0)).toBe(5 + i)
      // The others' ids and streams are not to be found here.
      const others = await AuditLedger.open(`${url}${places[(i + 1) % places.length]!}`, { readOnly: true })
      const theirs = (await others.at(3))!
      expect(await ledger.get(theirs.run_id)).toBe(undefined)
      await others.close()
      await ledger.close()
      expect(await verifyLedger(at, { origin: `example.com/${i}`, remembered: false })).toMatchObject({ ok: true, size: 5 + i })
    }
    // One id in two ledgers is two records.
    for (const place of places.slice(0, 2)) {
      const ledger = await AuditLedger.open(`${url}${place}`, options)
      await ledger.record({ run_id: 'same', agent_name: 'a', method_name: 'm', raw_output: place })
      expect((await ledger.get('same'))?.entry).toMatchObject({ raw_output: place })
      await ledger.close()
    }
    const stats = await AuditLedger.open(url, { readOnly: true })
    expect((await stats.stats()).store).toMatchObject({ ledgers_in_schema: 2, records: 6 })
    await stats.close()
    await expect(AuditLedger.open(`${url}?ledger=none`, { readOnly: true })).rejects.toMatchObject({ code: 'not_found' })
    await expect(AuditLedger.open(`${url}?schema=none`, { readOnly: true })).rejects.toMatchObject({ code: 'not_found' })
    await expect(AuditLedger.open(`${url}?schema=none`, { ...options, create: false })).rejects.toMatchObject({ code: 'not_found' })
    expect(await sql(url, "SELECT to_regnamespace('none') AS made")).toEqual([{ made: null }])
  })

  test('made by eight at once: one schema, one ledger of each name, one record 0', async () => {
    const url = await newDatabase()
    const names = ['', '?ledger=b', '?ledger=b', '']
    const ledgers = await Promise.all(
      Array.from({ length: 8 }, (_, i) =>
        AuditLedger.open(`${url}${names[i % 4]!}`, { ...options, origin: HONEST_ORIGIN, random: seededRandom(i) }),
      ),
    )
    await Promise.all(ledgers.map((ledger, i) => ledger.append(`stream-${i}`, { type: 'Said', data: { i } })))
    await Promise.all(ledgers.map((ledger) => ledger.close()))
    for (const place of ['', '?ledger=b'])
      expect(await verifyLedger(`${url}${place}`, { remembered: false })).toMatchObject({ ok: true, size: 5 })
    const versions = await sql(url, 'SELECT version FROM cortex_ledger.schema_version')
    expect(versions).toEqual([{ version: 1 }, { version: 2 }, { version: 3 }])
  })

  test('tables of a newer version are refused, to read and to write', async () => {
    const url = await newDatabase()
    await (await AuditLedger.open(url, options)).close()
    await sql(url, 'INSERT INTO cortex_ledger.schema_version VALUES (99)')
    for (const readOnly of [true, false])
      await expect(AuditLedger.open(url, { ...options, readOnly })).rejects.toMatchObject({
        code: 'newer_format',
        message: expect.stringContaining('99'),
      })
    await expect(verifyLedger(url)).rejects.toMatchObject({ code: 'newer_format' })
  })

  test.each([
    ['a table audit_log', 'CREATE TABLE audit_log (id int)'],
    ['a schema_version of another tool', "CREATE TABLE schema_version (version varchar); INSERT INTO schema_version VALUES ('1.2')"],
    ['an empty schema_version', 'CREATE TABLE schema_version (version integer)'],
    ['a schema_version without versions', 'CREATE TABLE schema_version (id integer)'],
    [
      'a schema_version and an audit_log',
      'CREATE TABLE schema_version (version integer); INSERT INTO schema_version VALUES (1); CREATE TABLE audit_log (id int)',
    ],
    [
      'a schema_version and an audit_log of another version',
      "CREATE TABLE schema_version (version text); INSERT INTO schema_version VALUES ('x'); CREATE TABLE audit_log (id int)",
    ],
    ['a table ledgers', 'CREATE TABLE ledgers (id int)'],
    ['a view audit_records', 'CREATE VIEW audit_records AS SELECT 1 AS one'],
    ['a function month_of', "CREATE FUNCTION month_of(timestamptz) RETURNS date LANGUAGE sql AS 'SELECT NULL::date'"],
  ])("somebody else's schema with %s is refused and left as it was", async (_, statements) => {
    const url = await (foreign ??= newDatabase())
    const schema = `theirs_${++schemas}`
    await sql(url, `CREATE SCHEMA ${schema}; SET search_path = ${schema}; ${statements}`)
    const relations = `SELECT count(*)::int AS n FROM pg_class WHERE relnamespace = '${schema}'::regnamespace`
    const before = await sql(url, relations)
    await expect(AuditLedger.open(`${url}?schema=${schema}`, options)).rejects.toMatchObject({ code: 'not_a_ledger' })
    expect(await sql(url, relations)).toEqual(before)
  })

  test('a schema that is there and empty is used, also the one of all', async () => {
    const url = await newDatabase()
    await sql(url, 'CREATE SCHEMA cortex_ledger')
    await makeHonestLedger(url, 5)
    expect(await verifyLedger(url, { remembered: false })).toMatchObject({ ok: true, size: 5 })
    const publicSchema = `${url}?schema=public`
    await makeHonestLedger(publicSchema, 5)
    expect(await verifyLedger(publicSchema, { remembered: false })).toMatchObject({ ok: true, size: 5 })
  })
})
