/** Every text that a record may hold comes back from PostgreSQL byte for byte, and can be looked at as jsonb. */
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AuditLedger, verifyLedger } from '../../../src/index.ts'
import { textArray, textArrayLiteral } from '../../../src/stores/postgres/arrays.ts'
import { BindMessage } from '../../../src/stores/postgres/bind-message.ts'
import { askBound } from '../../../src/stores/postgres/bound-query.ts'
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

  const text = fc
    .oneof(fc.string({ unit: 'binary' }), fc.constantFrom(...AWKWARD))
    .filter((one) => !one.includes('\0') && one.isWellFormed())

  test('arrays: the server reads what was written, whatever the texts', async () => {
    const arrays = fc.record({ texts: fc.array(fc.option(text)), list: fc.array(text) })
    await fc.assert(
      fc.asyncProperty(arrays, async ({ texts, list }) => {
        const { rows } = await client.query('SELECT to_json($1::text[]) AS texts, to_json($2::text::text[]) AS list', [
          textArray(texts),
          textArrayLiteral(list),
        ])
        expect(rows).toEqual([{ texts, list: list.length === 0 ? null : list }])
      }),
      { numRuns: scale(30, 5000) },
    )
  })

  test('one message of all kinds of parameters, whose buffer is used again and again', async () => {
    const whole = fc.integer({ min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER })
    // From 0000-01-01 to 9999-12-31, µs; where a number holds it, as one.
    const time = fc
      .bigInt({ min: -62_167_219_200_000_000n, max: 253_402_300_799_999_999n })
      .map((us) => (Number.isSafeInteger(Number(us)) ? Number(us) : us))
    const parameters = fc.record({
      small: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
      late: whole,
      one: text,
      texts: fc.array(fc.option(text)),
      numbers: fc.array(whole),
      times: fc.array(time),
      // Some need more room than the message has to begin with.
      long: fc.integer({ min: 0, max: 200_000 }).map((length) => '🦊'.repeat(length)),
    })
    const statement = {
      name: 'all_kinds',
      text: `SELECT $1::integer, $2::bigint, $3::text, to_json($4::text[]), to_json($5::bigint[]::text[]),
        to_json(ARRAY(SELECT (extract(epoch FROM t) * 1000000)::bigint::text FROM unnest($6::timestamptz[]) WITH ORDINALITY AS u(t, n) ORDER BY n)),
        length(($7::text[])[1])`,
    }
    const message = new BindMessage()
    await fc.assert(
      fc.asyncProperty(parameters, async ({ small, late, one, texts, numbers, times, long }) => {
        message.begin(statement.name)
        message.int4(small)
        const lateAt = message.int8(0)
        message.text(one)
        const bytes = message.textArray(texts, (each) => each)
        message.int8Array(numbers, (each) => each)
        message.timeArray(times, (each) => each)
        message.textArray([long], (each) => each)
        message.setInt8(lateAt, late)
        const [row] = await askBound(client, statement, message.end())
        const [int4, int8, said, ...lists] = row ?? []
        expect([int4, int8, said]).toEqual([String(small), String(late), one])
        const length = lists.pop()
        expect(lists.map((list) => JSON.parse(list ?? '') as unknown)).toEqual([texts, numbers.map(String), times.map(String)])
        expect(length).toBe(String(long.length / 2))
        expect(bytes).toBe(textArray(texts).length)
      }),
      { numRuns: scale(30, 5000) },
    )
  })

  test('a message that the server refuses is an error, and the next one goes through', async () => {
    const message = new BindMessage()
    const cast = { name: 'cast', text: 'SELECT $1::text::integer + $2::integer' }
    const bind = (value: string): Buffer => {
      message.begin(cast.name)
      message.text(value)
      message.int4(1)
      return message.end()
    }
    await expect(askBound(client, cast, bind('x'))).rejects.toMatchObject({ code: '22P02' })
    expect(await askBound(client, cast, bind('41'))).toEqual([['42']])
    await expect(askBound(client, { name: 'no', text: 'SELECT nothing' }, bind('1'))).rejects.toMatchObject({ code: '42703' })
    expect(await askBound(client, cast, bind('1'))).toEqual([['2']])
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
