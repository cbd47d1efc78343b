/** Every text that a record may hold comes back from PostgreSQL byte for byte, and can be looked at as jsonb. */
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AuditLedger, verifyLedger } from '../../../src/index.ts'
import { int8Array, textArray, textArrayLiteral, timeArray } from '../../../src/stores/postgres/arrays.ts'
import { openPostgresStore } from '../../../src/stores/postgres/index.ts'
import { countQuery } from '../../../src/stores/postgres/select.ts'
import { canonicalize } from '../../../src/verify/canonical.ts'
import { LEDGER_CREATED, SampleChain, type Sample } from '../../../src/testing/sample-chain.ts'
import { postgresMissing, useDatabases } from '../../helpers/postgres.ts'
import { scale } from '../../helpers/scale.ts'

const VECTORS = new URL('../../../../shared/data/rfc8785/', import.meta.url)
const hasVectors = existsSync(VECTORS)
if (!hasVectors) console.log('the vectors of RFC 8785 (cyberphone/json-canonicalization, testdata) are not here: they are not recorded')

/** What SQL, arrays, JSON and PostgreSQL's own spellings might be led astray by. */
const AWKWARD = [
  '{}',
  '{a,b}',
  'NULL',
  'null',
  '"',
  '""',
  "'",
  "''",
  '\\',
  '\\\\',
  '\\"',
  '{"a":"b"}',
  ',',
  ' ',
  ' a ',
  '$1',
  '$$',
  '%s',
  '--',
  '/*',
  'é',
  'e\u0301',
  '🦊',
  '\u2028',
  '\ufeff',
  '\uffff',
  '\u{10ffff}',
  "'; DROP TABLE audit_log; --",
  '\\x00',
  '\\u0000',
  '\\N',
  '\\.',
  'x'.repeat(512),
]

const ENTRIES: readonly object[] = [
  { zero: '\u0000', more: '\u0000\u0000', spelled: '\\u0000', twice: '\\\u0000', thrice: '\\\\\u0000\\', '\u0000key': 1 },
  { number: '1e400', big: 1.7976931348623157e308, small: 5e-324, negative: -1e-7, whole: 9007199254740991 },
  {
    astral: '🦊'.repeat(100),
    '\u{10ffff}': '\u{1f468}\u200d\u{1f469}',
    bom: '\ufeff',
    controls: '\u0001\u001f\u007f\u009f',
    lines: '\r\n\u2028\u2029',
  },
  { '': '', '"': '\\', '\\': '"', deep: Array.from({ length: 60 }).reduce((inner: unknown) => [inner], 1) },
  { keys: Object.fromEntries(AWKWARD.map((text, i) => [`${text}${i}`, text])) },
  ...(hasVectors
    ? readdirSync(new URL('output/', VECTORS)).map((name) => ({
        vector: JSON.parse(readFileSync(new URL(`output/${name}`, VECTORS), 'utf8')) as unknown,
      }))
    : []),
]

describe.skipIf(postgresMissing !== null)('bytes in PostgreSQL', () => {
  const { newDatabase } = useDatabases()
  let url: string
  let client: pg.Client
  beforeAll(async () => {
    url = await newDatabase()
    client = new pg.Client({ connectionString: url })
    await client.connect()
  })
  afterAll(() => client?.end())

  test('arrays: the server reads what was written, whatever the texts', async () => {
    const text = fc
      .oneof(fc.string({ unit: 'binary' }), fc.constantFrom(...AWKWARD))
      .filter((one) => !one.includes('\0') && one.isWellFormed())
    const whole = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER })
    // From 0000-01-01 to 9999-12-31, µs.
    const time = fc.bigInt({ min: -62_167_219_200_000_000n, max: 253_402_300_799_999_999n })
    const arrays = fc.record({ texts: fc.array(fc.option(text)), numbers: fc.array(whole), times: fc.array(time), list: fc.array(text) })
    await fc.assert(
      fc.asyncProperty(arrays, async ({ texts, numbers, times, list }) => {
        const { rows } = await client.query(
          `SELECT to_json($1::text[]) AS texts, $2::bigint[]::text[] AS numbers, to_json($4::text::text[]) AS list,
             ARRAY(SELECT (extract(epoch FROM t) * 1000000)::bigint::text FROM unnest($3::timestamptz[]) WITH ORDINALITY AS u(t, n) ORDER BY n) AS times`,
          [textArray(texts), int8Array(numbers), timeArray(times), textArrayLiteral(list)],
        )
        expect(rows).toEqual([{ texts, numbers: numbers.map(String), times: times.map(String), list: list.length === 0 ? null : list }])
      }),
      { numRuns: scale(30, 5000) },
    )
  })

  test('headers: tags, streams, names and the years 0000 and 9999', async () => {
    const store = await openPostgresStore(`${url}?ledger=headers`, { databaseClock: false })
    const chain = new SampleChain()
    await chain.append(store, [{ ...LEDGER_CREATED, recorded_at: '0000-01-01T00:00:00.000000Z', timestamp: '0000-01-01T00:00:00.000000Z' }])
    const times = [
      '0000-12-31T23:59:59.999999Z',
      '0001-01-01T00:00:00.000000Z',
      '1969-12-31T23:59:59.999999Z',
      '9999-12-31T23:59:59.999999Z',
    ]
    const texts = AWKWARD.filter((one) => !/\p{Cc}/u.test(one))
    const samples: Sample[] = texts.map((one, i) => ({
      stream: one,
      run_id: one,
      actor: one,
      action: one,
      type: one,
      correlation_id: one,
      causation_id: one,
      tags: [...new Set([one, ...texts.slice(0, i % 5)])].toSorted((a, b) => (a < b ? -1 : 1)),
      entry: { provider_name: one, model_name: one },
      timestamp: times[i % times.length]!,
      recorded_at: '0000-02-29T12:00:00.000001Z',
    }))
    await chain.append(store, samples)
    await chain.append(
      store,
      times.map((time) => ({ timestamp: time, recorded_at: time })),
    )
    const lines: string[] = []
    for await (const chunk of store.read({ filter: {}, from: 0, before: Infinity, reverse: false, limit: Infinity }))
      lines.push(...chunk.map(String))
    expect(lines).toEqual(chain.lines)
    for (const one of texts) {
      for (const filter of [
        { stream: [one] },
        { run_id: [one] },
        { tags: [one], actor: [one] },
        { provider: [one], model: [one] },
        { correlation_id: [one], type: [one] },
      ])
        expect(await store.count(filter), JSON.stringify(filter)).toBe(1)
    }
    const of9999 = { since: '9999-12-31T23:59:59.999999Z', recorded_since: '0000-01-01T00:00:00.000000Z' }
    expect(await store.count(of9999)).toBe(texts.filter((_, i) => i % times.length === 3).length + 1)
    expect(await store.count({ recorded_until: '0000-02-29T12:00:00.000001Z' })).toBe(1)
    await store.close()
    const report = await verifyLedger(`${url}?ledger=headers`, { remembered: false })
    expect(report.problems.filter(({ code }) => code === 'column_mismatch' || code === 'malformed_record')).toEqual([])
    expect(report.size).toBe(chain.records.length)
  })

  test('names that no index or no column can hold keep no record out, nor those of its batch', async () => {
    const place = `${url}?ledger=names`
    const ledger = await AuditLedger.open(place, { signer: null, actor: 'a' })
    const long = randomBytes(9000).toString('base64')
    const names = [long, 'é'.repeat(500), 'é'.repeat(501), 'a\0b', 'short']
    const call = (name: string) => ({ agent_name: 'a', method_name: 'm', provider_name: name, model_name: name })
    await Promise.all(names.map((name) => ledger.record(call(name))))
    const found: [string, number][] = []
    for (const name of names) found.push([name, await ledger.count({ provider: name, model: [name, 'other'] })])
    expect(found).toEqual(names.map((name) => [name, name.includes('\0') ? 0 : 1]))
    expect(await ledger.count({ provider: names })).toBe(4)
    await ledger.close()
    expect(await verifyLedger(place, { remembered: false })).toMatchObject({ ok: true, size: 6 })
    await client.query('SET search_path = cortex_ledger; SET enable_seqscan = off')
    const { statement, values } = countQuery(1, { provider: ['short'] })!
    const { rows } = await client.query(`EXPLAIN ${statement.text}`, [...values])
    expect(JSON.stringify(rows)).toContain('provider_seq_idx')
  })

  test(
    'entries: zero bytes, numbers at their ends, 10 MB, and the vectors of RFC 8785; the view shows each',
    { timeout: 60_000 },
    async () => {
      const ledger = await AuditLedger.open(`${url}?ledger=entries`, { signer: null, actor: 'a' })
      const long = { long: `${'é🦊\\"'.repeat(1_000_000)}\u0000`, end: '\u0000' }
      const all = [...ENTRIES, long]
      for (const data of all) await ledger.append('s', { type: 'Said', data: data as never })
      const found: string[] = []
      for await (const { line } of ledger.read({ stream: 's' })) found.push(line.slice(line.indexOf(',"entry":') + 9, -1))
      expect(Buffer.byteLength(found.at(-1)!)).toBeGreaterThan(10_000_000)
      const expected = all.map((data) => canonicalize(data))
      expect(found.map((text, i) => (text === expected[i] ? 'same' : text.slice(0, 200)))).toEqual(all.map(() => 'same'))
      expect(await verifyLedger(`${url}?ledger=entries`, { remembered: false, canonicalEntries: true })).toMatchObject({ ok: true })
      await ledger.close()
      const { rows } = await client.query<{ payload: string }>(
        "SELECT payload::text FROM cortex_ledger.audit_records WHERE ledger = 'entries' AND stream = 's' ORDER BY seq",
      )
      const withoutZeros = (value: unknown): unknown =>
        typeof value === 'string'
          ? value.replaceAll('\u0000', '\ufffd')
          : Array.isArray(value)
            ? value.map(withoutZeros)
            : typeof value === 'object' && value !== null
              ? Object.fromEntries(Object.entries(value).map(([key, inner]) => [withoutZeros(key), withoutZeros(inner)]))
              : value
      expect(rows.map(({ payload }) => JSON.parse(payload) as unknown)).toEqual(all.map(withoutZeros))
    },
  )

  test('as_jsonb: whatever a document holds, and however its zero bytes are escaped', async () => {
    const text = fc
      .array(fc.constantFrom('\u0000', '\\', 'u0000', '"', 'x', '\ufffd', '\n', '🦊'), { maxLength: 12 })
      .map((parts) => parts.join(''))
    await fc.assert(
      fc.asyncProperty(fc.array(text, { minLength: 1, maxLength: 5 }), async (texts) => {
        const { rows } = await client.query<{ shown: string[] }>('SELECT cortex_ledger.as_jsonb($1) AS shown', [JSON.stringify(texts)])
        expect(rows[0]?.shown).toEqual(texts.map((one) => one.replaceAll('\u0000', '\ufffd')))
      }),
      { numRuns: scale(30, 5000) },
    )
  })
})
