/** Records that the database seals for writers that share the head: byte for byte what they would have been. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { AuditLedger, LedgerError } from '../../../src/index.ts'
import type { EventInput, LedgerRecord, Receipt } from '../../../src/index.ts'
import type { SealedFor, Store } from '../../../src/ledger/store.ts'
import { openPostgresStore } from '../../../src/stores/postgres/index.ts'
import { LEDGER_CREATED, SampleChain } from '../../../src/testing/index.ts'
import { formatTime } from '../../../src/verify/time.ts'
import { connectAs } from '../../helpers/postgres-ledger.ts'
import { postgresMissing, useDatabases } from '../../helpers/postgres.ts'
import { scale } from '../../helpers/scale.ts'

const OPEN = { origin: 'example.com/sealing', actor: 'tester', signer: null } as const

interface Opened {
  readonly ledger: AuditLedger
  /** What its store answered when it was to seal, or the error. */
  readonly sealed: (SealedFor | null | 'failed')[]
}

async function opened(url: string): Promise<Opened> {
  const inner = await openPostgresStore(url)
  const sealed: Opened['sealed'] = []
  const store = new Proxy(inner, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      if (name !== 'sealAndAppend') return value.bind(target)
      return async (...args: Parameters<NonNullable<Store['sealAndAppend']>>) => {
        const at = sealed.push('failed') - 1
        const answer = await target.sealAndAppend!(...args)
        sealed[at] = answer
        return answer
      }
    },
  })
  return { ledger: await AuditLedger.open('memory:', { ...OPEN, store }), sealed }
}

/** Texts in which the pieces of a header could be mistaken for what stands between them. */
const text = fc.oneof(
  fc.constantFrom(',"seq":', '","run_id":', ',"previous_hash":"', ',"stream_version":', '\\', '"', '😀', 'é\u2028'),
  fc.string({ unit: 'binary', minLength: 1, maxLength: 20 }).filter((value) => value.isWellFormed() && !/\p{Cc}/u.test(value)),
)

const event: fc.Arbitrary<{ readonly stream: string; readonly event: EventInput }> = fc.record({
  stream: fc.constantFrom('a', 'b,"seq":1', '","run_id":"', 'ü'),
  event: fc.record(
    {
      type: fc.constantFrom('ItHappened', 'SoDidThis'),
      data: fc.dictionary(text, text),
      actor: text,
      action: text,
      tags: fc.uniqueArray(text, { minLength: 1, maxLength: 3 }),
      correlation_id: text,
    },
    { requiredKeys: ['type', 'data'] },
  ),
})

describe.skipIf(postgresMissing !== null)('records that PostgreSQL seals', () => {
  const { newDatabase } = useDatabases()

  async function two(): Promise<readonly [Opened, Opened, string]> {
    const url = await newDatabase()
    const writers = [await opened(url), await opened(url)] as const
    // Whoever lost a race lets the database seal from then on.
    const said = { type: 'ItHappened', data: {} }
    while (writers.some(({ sealed }) => sealed.length === 0))
      await Promise.all(writers.map(({ ledger }, i) => ledger.append(`begin-${i}`, said)))
    return [...writers, url]
  }

  async function recordsOf(ledger: AuditLedger): Promise<LedgerRecord[]> {
    const records: LedgerRecord[] = []
    for await (const record of ledger.read()) records.push(record)
    return records
  }

  test('are what their receipts say, whatever stands in them, and verify in canonical form', async () => {
    const [one, other] = await two()
    const receipts: Receipt[] = []
    await fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 1, maxLength: 8 }), async (events) => {
        const appended = await Promise.all(
          events.flatMap(({ stream, event: said }, i) => [
            (i % 2 === 0 ? one : other).ledger.append(stream, said),
            one.ledger.record({ agent_name: 'agent', method_name: said.type, prompt: stream }),
          ]),
        )
        receipts.push(...appended.flat())
      }),
      { numRuns: scale(40, 1000) },
    )
    const records = await recordsOf(one.ledger)
    for (const { seq, hash, stream, stream_version, recorded_at, run_id } of receipts) {
      const { header, hash: found } = records[seq]!
      expect([found, header.stream, header.stream_version, header.recorded_at, header.run_id]).toEqual([
        hash,
        stream,
        stream_version,
        recorded_at,
        run_id,
      ])
    }
    expect(new Set(receipts.map(({ seq }) => seq)).size).toBe(receipts.length)
    for (const { sealed } of [one, other])
      expect(sealed.filter((answer) => answer !== null && answer !== 'failed').length).toBeGreaterThan(10)
    const { ok, problems, size } = await other.ledger.verifyIntegrity({ canonicalEntries: true })
    expect([ok, problems, size]).toEqual([true, [], records.length])
    for (const { ledger } of [one, other]) await ledger.close()
  })

  test('an expectation, a given run_id and an append of several are asked for in a turn', async () => {
    const [one, other] = await two()
    const before = [one, other].map(({ sealed }) => sealed.length)
    const said = { type: 'ItHappened', data: {} }
    expect((await one.ledger.append('s', said, { expectedVersion: 'no-stream' }))[0]).toMatchObject({ stream_version: 0 })
    await expect(other.ledger.append('s', said, { expectedVersion: 'no-stream' })).rejects.toMatchObject({ code: 'version_conflict' })
    const [first] = await other.ledger.append('s', { ...said, run_id: 'given' })
    expect((await one.ledger.append('s', { ...said, run_id: 'given' }))[0]).toMatchObject({ seq: first!.seq })
    expect(await one.ledger.append('s', [said, said])).toMatchObject([{ stream_version: 2 }, { stream_version: 3 }])
    expect([one, other].map(({ sealed }) => sealed.length)).toEqual(before)
    expect((await other.ledger.append('s', said))[0]).toMatchObject({ stream_version: 4 })
    expect(other.sealed.length).toBe(before[1]! + 1)
    for (const { ledger } of [one, other]) await ledger.close()
  })

  test('the time is held at that of the last record while the clock is behind by a little, and no longer', async () => {
    for (const [ahead_s, isHeld] of [
      [3, true],
      [3600, false],
    ] as const) {
      const url = await newDatabase()
      const chain = new SampleChain()
      const store = await openPostgresStore(url)
      const recorded_at = formatTime((Date.now() + ahead_s * 1000) * 1000)
      await chain.append(store, [LEDGER_CREATED, { recorded_at }])
      const pieces = ['{"previous_hash":"', '","run_id":"r","seq":', ',"stream":"r","stream_version":', '}'] as const
      const optional = { correlation_id: undefined, causation_id: undefined, tags: undefined }
      const header = {
        run_id: 'r',
        stream: 'r',
        type: 't',
        actor: 'a',
        action: 'm',
        outcome: 'success',
        timestamp: recorded_at,
        ...optional,
      } as const
      const answer = await store.sealAndAppend!([
        { header, pieces, isStreamNew: true, salt: '', entry_text: '{}', provider: null, model: null },
      ])
      expect(answer?.recorded_at ?? null).toBe(isHeld ? recorded_at : null)
      expect((await store.state({ streams: [], run_ids: [] })).head.size).toBe(isHeld ? 3 : 2)
      await store.close()
    }
  })

  test('where there is no record yet nothing is appended', async () => {
    const store = await openPostgresStore(await newDatabase())
    expect(await store.sealAndAppend!([])).toBe(null)
    expect(await store.count({})).toBe(0)
    await store.close()
  })

  test('a database that seals anything else is found out at once', async () => {
    const [one, other, url] = await two()
    const client = await connectAs(url)
    const { rows } = await client.query<{ said: string }>(`SELECT pg_get_functiondef('cortex_ledger.seal_records'::regproc) AS said`)
    await client.query(rows[0]!.said.replace('header := fronts[i]', `header := replace(fronts[i], 'honest', 'forged')`))
    await client.end()
    const refused = await one.ledger.append('s', { type: 'ItHappened', data: {}, actor: 'honest' }).catch((error: unknown) => error)
    expect(refused).toBeInstanceOf(LedgerError)
    expect(refused).toMatchObject({ code: 'damaged', message: expect.stringMatching(/seal_records is not ours/) })
    for (const { ledger } of [one, other]) await ledger.close()
  })

  test('who was granted to append before there was this may do it after the tables are brought up to date', async () => {
    const url = await newDatabase()
    await (await openPostgresStore(url)).close()
    const client = await connectAs(url)
    const role = `cortex_ledger_writer_${Math.random().toString(36).slice(2)}`
    await client.query(`CREATE ROLE ${role}; GRANT EXECUTE ON FUNCTION cortex_ledger.append_records TO ${role};
      DROP FUNCTION cortex_ledger.seal_records; DELETE FROM cortex_ledger.schema_version WHERE version = 3`)
    await (await openPostgresStore(url)).close()
    const may = `SELECT has_function_privilege($1, 'cortex_ledger.seal_records'::regproc, 'EXECUTE') AS may`
    expect((await client.query(may, [role])).rows).toEqual([{ may: true }])
    expect((await client.query(may, ['pg_monitor'])).rows).toEqual([{ may: false }])
    await client.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
    await client.end()
  })
})
