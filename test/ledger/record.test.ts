import { describe, expect, test } from 'vitest'
import { AuditLedger, LedgerError } from '../../src/index.ts'
import type { LedgerEntryInput } from '../../src/index.ts'
import { fixedClock, seededRandom } from '../../src/testing/index.ts'

const START = Date.UTC(2026, 10, 22, 20, 15, 33) * 1000
const MINIMAL = { agent_name: 'analyst', method_name: 'summarise' }

async function open(options: Parameters<typeof AuditLedger.open>[1] = {}) {
  const clock = fixedClock(START)
  return { clock, ledger: await AuditLedger.open('memory:', { clock, random: seededRandom(1), origin: 'example.com/test', ...options }) }
}

describe('record', () => {
  test('fills in what is not given', async () => {
    const { ledger } = await open()
    const receipt = await ledger.record(MINIMAL)
    expect(receipt.run_id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(receipt).toMatchObject({ seq: 1, stream: receipt.run_id, stream_version: 0, recorded_at: '2026-11-22T20:15:33.000000Z' })
    const record = await ledger.get(receipt.run_id)
    expect(record?.hash).toBe(receipt.hash)
    expect(record?.header).toEqual({
      action: 'summarise',
      actor: 'analyst',
      entry_hash: record?.header.entry_hash,
      outcome: 'success',
      previous_hash: (await ledger.at(0))?.hash,
      recorded_at: '2026-11-22T20:15:33.000000Z',
      run_id: receipt.run_id,
      schema: 1,
      seq: 1,
      stream: receipt.run_id,
      stream_version: 0,
      timestamp: '2026-11-22T20:15:33.000000Z',
      type: 'AgentCallCompleted',
      v: 1,
    })
    expect(record?.entry).toEqual({
      agent_name: 'analyst',
      context_refs: [],
      correlation_id: null,
      input_metadata: {},
      latency_ms: 0,
      method_name: 'summarise',
      model_name: '',
      parse_result: null,
      parsed_data: null,
      policy_decisions: [],
      prompt: '',
      provider_name: '',
      raw_output: '',
      run_id: receipt.run_id,
      timestamp_end: '2026-11-22T20:15:33.000000Z',
      timestamp_start: '2026-11-22T20:15:33.000000Z',
      training_labels: {},
      usage: {},
    })
  })

  test('takes times with any zone, and Dates, and the latency from them', async () => {
    const { ledger } = await open()
    const { run_id } = await ledger.record({
      ...MINIMAL,
      timestamp_start: '2026-11-22T21:00:00+01:00',
      timestamp_end: new Date('2026-11-22T20:00:01.5Z'),
    })
    const record = await ledger.get(run_id)
    expect(record?.entry).toMatchObject({
      timestamp_start: '2026-11-22T20:00:00.000000Z',
      timestamp_end: '2026-11-22T20:00:01.500000Z',
      latency_ms: 1500,
    })
    expect(record?.header.timestamp).toBe('2026-11-22T20:00:01.500000Z')
  })

  test.each<[string, LedgerEntryInput, object]>([
    ['success', MINIMAL, {}],
    ['failure', { ...MINIMAL, parse_result: { ok: false, error: 'no JSON' } }, {}],
    ['success', { ...MINIMAL, parse_result: { ok: true } }, {}],
    ['denied', { ...MINIMAL, parse_result: { ok: false }, policy_decisions: [{ decision: 'allow' }, { decision: 'deny' }] }, {}],
    ['timeout', { ...MINIMAL, policy_decisions: [{ decision: 'deny' }] }, { outcome: 'timeout' }],
  ])('outcome %s', async (outcome, entry, options) => {
    const { ledger } = await open()
    const { run_id } = await ledger.record(entry, options)
    expect((await ledger.get(run_id))?.header.outcome).toBe(outcome)
  })

  test('never changes what it was given, and keeps what was given when it was called', async () => {
    const { ledger } = await open()
    const entry = { ...MINIMAL, usage: { b: 1, a: [1, { z: 1, y: 2 }] }, policy_decisions: [{ policy: 'p', decision: 'allow' }] }
    const options = { tags: ['b', 'a', 'b'] }
    const before = structuredClone({ entry, options })
    const promise = ledger.record(entry, options)
    expect({ entry, options }).toEqual(before)
    entry.usage.b = 99
    const record = await ledger.get((await promise).run_id)
    expect(record?.entry?.['usage']).toEqual({ a: [1, { y: 2, z: 1 }], b: 1 })
    expect(record?.header.tags).toEqual(['a', 'b'])
  })

  test.each<[string, unknown, object | undefined, string]>([
    ['no agent_name', { method_name: 'm' }, {}, '/agent_name'],
    ['an empty method_name', { agent_name: 'a', method_name: '' }, {}, '/method_name'],
    ['an unknown key', { ...MINIMAL, agentName: 'x' }, {}, '/agentName'],
    ['a wrong type', { ...MINIMAL, context_refs: 'x' }, {}, '/context_refs'],
    ['a zone-less time', { ...MINIMAL, timestamp_end: '2026-11-22T20:00:00' }, {}, '/timestamp_end'],
    ['30 February', { ...MINIMAL, timestamp_end: '2026-02-30T20:00:00Z' }, {}, '/timestamp_end'],
    ['an invalid Date', { ...MINIMAL, timestamp_start: new Date(NaN) }, {}, '/timestamp_start'],
    ['NaN deep inside', { ...MINIMAL, usage: { a: [0, { b: NaN }] } }, {}, '/usage/a/1/b'],
    ['a BigInt', { ...MINIMAL, usage: { a: 1n } }, {}, '/usage/a'],
    ['a Map', { ...MINIMAL, parsed_data: new Map() }, {}, '/parsed_data'],
    ['a lone surrogate', { ...MINIMAL, prompt: 'a\udc00' }, {}, '/prompt'],
    ['a negative latency', { ...MINIMAL, latency_ms: -1 }, {}, '/latency_ms'],
  ])('refuses %s and names the place', async (_, entry, options, path) => {
    const { ledger } = await open()
    await expect(ledger.record(entry as never, options)).rejects.toMatchObject({
      name: 'LedgerError',
      code: 'invalid_entry',
      details: { path },
    })
    expect((await ledger.head()).size).toBe(1)
  })

  test.each<[string, object, object]>([
    ['a control character in a name', { ...MINIMAL, agent_name: 'a\nb' }, {}],
    ['a name of 513 bytes', { ...MINIMAL, agent_name: 'é'.repeat(256) + 'a' }, {}],
    ['an unknown outcome', MINIMAL, { outcome: 'ok' }],
    ['an empty tag', MINIMAL, { tags: [''] }],
    ['65 tags', MINIMAL, { tags: Array.from({ length: 65 }, (__, i) => `t${i}`) }],
  ])('refuses %s in the header', async (_, entry, options) => {
    const { ledger } = await open()
    await expect(ledger.record(entry as never, options)).rejects.toMatchObject({ code: 'invalid_entry' })
    expect((await ledger.head()).size).toBe(1)
  })

  test('refuses more than the limits', async () => {
    const { ledger } = await open()
    await expect(ledger.record({ ...MINIMAL, prompt: 'x'.repeat(16 * 1024 * 1024) })).rejects.toMatchObject({ code: 'too_large' })
    const tags = Array.from({ length: 64 }, (_, i) => `${i}`.padStart(3, '0') + 'x'.repeat(400))
    await expect(ledger.record(MINIMAL, { tags })).rejects.toMatchObject({ code: 'too_large' })
    expect((await ledger.head()).size).toBe(1)
  })

  test('an unknown option is misuse', async () => {
    const { ledger } = await open()
    await expect(ledger.record(MINIMAL, { outcom: 'x' } as never)).rejects.toThrow(TypeError)
  })

  test('the ledger’s own stream and types are refused', async () => {
    const { ledger } = await open({ actor: 'me' })
    await expect(ledger.record(MINIMAL, { stream: 'ledger' })).rejects.toMatchObject({ code: 'reserved' })
    await expect(ledger.record({ ...MINIMAL, correlation_id: 'ledger' })).rejects.toMatchObject({ code: 'reserved' })
    await expect(ledger.append('s', { type: 'EntryErased', data: {} })).rejects.toMatchObject({ code: 'reserved' })
    await expect(ledger.append('s', { type: 'Noted', data: { $enc: {} } })).rejects.toMatchObject({
      code: 'invalid_entry',
      details: { path: '/$enc' },
    })
  })
})

describe('idempotency', () => {
  test('the same again gets the first receipt, also where times were filled in later', async () => {
    const { ledger, clock } = await open()
    const first = await ledger.record({ ...MINIMAL, run_id: 'r1', prompt: 'p' })
    clock.advance(60_000_000)
    expect(await ledger.record({ ...MINIMAL, run_id: 'r1', prompt: 'p' })).toEqual(first)
    expect((await ledger.head()).size).toBe(2)
  })

  test.each([
    ['content', { ...MINIMAL, run_id: 'r1', prompt: 'other' }, {}],
    ['actor', { ...MINIMAL, run_id: 'r1', prompt: 'p', agent_name: 'x' }, {}],
    ['tags', { ...MINIMAL, run_id: 'r1', prompt: 'p' }, { tags: ['t'] }],
    ['outcome', { ...MINIMAL, run_id: 'r1', prompt: 'p' }, { outcome: 'failure' as const }],
    ['timestamp', { ...MINIMAL, run_id: 'r1', prompt: 'p', timestamp_end: '2026-01-01T00:00:00Z' }, {}],
  ])('another %s is a conflict', async (differs, entry, options) => {
    const { ledger } = await open()
    await ledger.record({ ...MINIMAL, run_id: 'r1', prompt: 'p' })
    await expect(ledger.record(entry, options)).rejects.toMatchObject({ code: 'run_id_conflict', details: { differs } })
  })

  test('in one batch: same and different', async () => {
    const { ledger } = await open()
    const entry = { ...MINIMAL, run_id: 'r1' }
    const [a, b, c] = await Promise.allSettled([ledger.record(entry), ledger.record(entry), ledger.record({ ...entry, prompt: 'x' })])
    expect(a).toMatchObject({ status: 'fulfilled', value: { seq: 1 } })
    expect(b).toEqual(a)
    expect(c).toMatchObject({ status: 'rejected', reason: { code: 'run_id_conflict' } })
  })

  test('an append is repeated whole or not at all', async () => {
    const { ledger } = await open({ actor: 'me' })
    const events = [1, 2].map((n) => ({ type: 'Counted', data: { n }, run_id: `e${n}` }))
    const first = await ledger.append('s', events, { expectedVersion: 'no-stream' })
    expect(await ledger.append('s', events, { expectedVersion: 'no-stream' })).toEqual(first)
    await expect(ledger.append('s', [...events, { type: 'Counted', data: { n: 3 }, run_id: 'e3' }])).rejects.toMatchObject({
      code: 'run_id_conflict',
    })
    await expect(ledger.append('s', [events[0] as never, events[0] as never])).rejects.toMatchObject({ code: 'run_id_conflict' })
  })

  test('a mask is applied to the retry as well', async () => {
    const { ledger } = await open({ mask: (data) => ({ ...data, prompt: 'masked' }) })
    const first = await ledger.record({ ...MINIMAL, run_id: 'r1', prompt: 'secret' })
    expect(await ledger.record({ ...MINIMAL, run_id: 'r1', prompt: 'secret' })).toEqual(first)
    const record = await ledger.get('r1')
    expect(record?.line).not.toContain('secret')
    expect(record?.entry?.['prompt']).toBe('masked')
  })
})

describe('clock', () => {
  test('three seconds back: recorded_at is held', async () => {
    const { ledger, clock } = await open()
    const before = await ledger.record(MINIMAL)
    clock.set(START - 3_000_000)
    expect((await ledger.record(MINIMAL)).recorded_at).toBe(before.recorded_at)
    clock.advance(4_000_000)
    expect((await ledger.record(MINIMAL)).recorded_at > before.recorded_at).toBe(true)
    expect((await ledger.verifyIntegrity()).ok).toBe(true)
  })

  test('an hour back: a ClockMovedBack carries the new time, and what follows has it too', async () => {
    const { ledger, clock } = await open()
    await ledger.record(MINIMAL)
    clock.set(START - 3_600_000_000)
    const after = await ledger.record(MINIMAL)
    const moved = await ledger.at(after.seq - 1)
    expect(moved?.header).toMatchObject({ type: 'ClockMovedBack', stream: 'ledger', recorded_at: '2026-11-22T19:15:33.000000Z' })
    expect(moved?.entry).toEqual({ from: '2026-11-22T20:15:33.000000Z', to: '2026-11-22T19:15:33.000000Z' })
    expect(after.recorded_at).toBe('2026-11-22T19:15:33.000000Z')
    const report = await ledger.verifyIntegrity()
    expect(report.problems).toEqual([])
    expect(report.ok).toBe(true)
  })
})

test('a closed ledger says so, a read-only one too', async () => {
  const { ledger } = await open()
  await ledger.close()
  await ledger.close()
  await expect(ledger.record(MINIMAL)).rejects.toBeInstanceOf(LedgerError)
  await expect(ledger.record(MINIMAL)).rejects.toMatchObject({ code: 'closed' })
})
