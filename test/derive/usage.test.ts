import { DatabaseSync } from 'node:sqlite'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { AuditLedger, timeline, usage } from '../../src/index.ts'
import type { LedgerEntryInput, UsageFigures } from '../../src/index.ts'
import { fixedClock, seededRandom } from '../../src/testing/index.ts'
import type { SeededRandom } from '../../src/testing/index.ts'
import { scale } from '../helpers/scale.ts'
import { tempDir } from '../helpers/temp.ts'
import { withhold } from '../helpers/withholding.ts'

const OUTCOMES = ['success', 'success', 'success', 'failure', 'denied', 'timeout', 'cancelled'] as const

function usageBy(provider: string, random: SeededRandom): { readonly [name: string]: unknown } {
  const [input, output] = [random.below(5000), random.below(900)]
  const cached = random.below(input + 1)
  switch (provider) {
    case 'openai':
      return {
        prompt_tokens: input,
        completion_tokens: output,
        total_tokens: input + output,
        ...(random.chance(0.5) && { prompt_tokens_details: { cached_tokens: cached } }),
        cost_usd: `0.${String(random.below(1_000_000)).padStart(6, '0')}`,
      }
    case 'anthropic':
      return {
        input_tokens: input,
        output_tokens: output,
        cache_read_input_tokens: random.below(9000),
        cache_creation_input_tokens: random.below(500),
        cost_usd: `0.${String(random.below(1_000_000)).padStart(6, '0')}`,
      }
    case 'gemini':
      return {
        promptTokenCount: input,
        candidatesTokenCount: output,
        thoughtsTokenCount: random.below(100),
        cachedContentTokenCount: cached,
        cost_usd_cents: random.below(90),
      }
    default:
      return {}
  }
}

async function seeded(location: string, calls: number): Promise<void> {
  const random = seededRandom(42)
  const clock = fixedClock()
  await using ledger = await AuditLedger.open(location, { origin: 'example.com/usage', clock, random, signer: null })
  for (let n = 0; n < calls; n++) {
    const provider = random.pick(['openai', 'anthropic', 'gemini', 'local'])
    clock.advance(random.below(200_000_000))
    const entry = {
      agent_name: `agent-${random.below(4)}`,
      method_name: `method-${random.below(3)}`,
      provider_name: provider,
      model_name: provider === 'local' ? '' : `${provider}-${random.below(2)}`,
      latency_ms: random.below(3_000_000) / 1000,
      usage: usageBy(provider, random),
    }
    await ledger.ready()
    void ledger.record(entry as LedgerEntryInput, { outcome: random.pick(OUTCOMES) })
    // Events are no calls.
    if (n % 10 === 0)
      void ledger.append('s', { type: 'ToolCallCompleted', actor: 'agent-0', data: { usage: { prompt_tokens: 1_000_000 } } })
  }
  await ledger.flush()
}

/** By provider, not by spelling; money in millionths of a dollar. */
const COUNT = `
  WITH calls AS (
    SELECT *, json_extract(entry, '$.usage') AS u, json_extract(entry, '$.latency_ms') AS ms, strftime('%Y-%m-%d', timestamp_us / 1000000, 'unixepoch') AS day
    FROM records WHERE type = 'AgentCallCompleted'
  ), read AS (
    SELECT *,
      CASE provider
        WHEN 'openai' THEN u ->> 'prompt_tokens'
        WHEN 'anthropic' THEN (u ->> 'input_tokens') + (u ->> 'cache_read_input_tokens') + (u ->> 'cache_creation_input_tokens')
        WHEN 'gemini' THEN u ->> 'promptTokenCount' ELSE 0 END AS input,
      CASE provider
        WHEN 'openai' THEN coalesce(u ->> '$.prompt_tokens_details.cached_tokens', 0)
        WHEN 'anthropic' THEN u ->> 'cache_read_input_tokens'
        WHEN 'gemini' THEN u ->> 'cachedContentTokenCount' ELSE 0 END AS cached,
      CASE provider
        WHEN 'openai' THEN u ->> 'completion_tokens'
        WHEN 'anthropic' THEN u ->> 'output_tokens'
        WHEN 'gemini' THEN (u ->> 'candidatesTokenCount') + (u ->> 'thoughtsTokenCount') ELSE 0 END AS output,
      CASE WHEN provider IN ('openai', 'anthropic') THEN CAST(substr(u ->> 'cost_usd', 3) AS INTEGER) ELSE 0 END AS micros,
      CASE WHEN provider = 'gemini' THEN u ->> 'cost_usd_cents' ELSE 0 END AS cents
    FROM calls
  )
  SELECT actor, model, day, count(*) AS calls, sum(outcome IN ('failure', 'timeout')) AS errors, sum(outcome = 'denied') AS denials,
    sum(input) AS input, sum(cached) AS cached, sum(output) AS output, sum(micros) AS micros, sum(cents) AS cents, max(ms) AS slowest
  FROM read`

interface Counted {
  readonly [name: string]: string | number | null
}

function counted(file: string, grouping: string): Counted[] {
  const database = new DatabaseSync(file, { readOnly: true })
  try {
    return database.prepare(`${COUNT} ${grouping}`).all() as Counted[]
  } finally {
    database.close()
  }
}

function asCounted({ calls, errors, denials, tokens, cost, latency_ms }: UsageFigures): object {
  const { input, cached, output } = tokens
  const micros = Math.round(Number(cost['usd'] ?? 0) * 1e6)
  return { calls, errors, denials, input, cached, output, micros, cents: Number(cost['usd_cents'] ?? 0), slowest: latency_ms.max }
}

test('agrees to the last token, call and millionth with a count by SQL', async () => {
  const file = join(tempDir(), 'usage.db')
  const calls = scale(3000, 100_000)
  await seeded(file, calls)
  await using ledger = await AuditLedger.open(file, { readOnly: true })
  const found = await usage(ledger, { by: ['agent', 'model', 'day'] })
  const wanted = counted(file, 'GROUP BY actor, model, day ORDER BY actor, model NULLS FIRST, day')
  expect(found.groups.length).toBeGreaterThan(20)
  expect(
    found.groups.map(({ group, ...figures }) => ({ actor: group.agent, model: group.model, day: group.day, ...asCounted(figures) })),
  ).toEqual(wanted.map((row) => ({ ...row })))
  const [all] = counted(file, '')
  expect(asCounted(found.total)).toEqual(
    Object.fromEntries(Object.entries(all!).filter(([name]) => !['actor', 'model', 'day'].includes(name))),
  )
  expect(found.total.calls).toBe(calls)
  expect(found.total.latency_ms.error).toBe(0.01)

  // Percentiles against the database's own order.
  const database = new DatabaseSync(file, { readOnly: true })
  const latencies = database
    .prepare(`SELECT json_extract(entry, '$.latency_ms') AS ms FROM records WHERE type = 'AgentCallCompleted' ORDER BY ms`)
    .all()
    .map(({ ms }) => ms as number)
  database.close()
  for (const [name, percent] of [
    ['p50', 50],
    ['p90', 90],
    ['p99', 99],
  ] as const) {
    const exact = latencies[Math.ceil((percent * latencies.length) / 100) - 1]!
    expect(Math.abs(found.total.latency_ms[name]! - exact)).toBeLessThanOrEqual(exact * 0.01)
  }

  // Whatever it is grouped by, it is the same calls.
  for (const column of ['action', 'stream', 'provider'] as const) {
    const { groups } = await usage(ledger, { by: [column] })
    expect(groups.reduce((sum, { tokens }) => sum + tokens.total, 0)).toBe(found.total.tokens.total)
  }
  const denied = await usage(ledger, { outcome: 'denied', type: ['AgentCallCompleted'] })
  expect([denied.total.calls, denied.total.denials, denied.groups]).toEqual([found.total.denials, found.total.denials, []])
})

test('misuse is told', async () => {
  await using ledger = await AuditLedger.open('memory:', { origin: 'example.com/u', signer: null })
  await expect(usage(ledger, { by: ['week' as 'day'] })).rejects.toThrow(RangeError)
  await expect(usage(ledger, { by: ['day', 'day'] })).rejects.toThrow(RangeError)
  await expect(usage(ledger, { nonsense: 1 } as object)).rejects.toThrow(TypeError)
  expect((await usage(ledger, { by: ['model'] })).total).toMatchObject({ calls: 0, latency_ms: { p50: null, count: 0 }, cost: {} })
})

test('a currency a call does not fill the memory', async () => {
  await using ledger = await AuditLedger.open('memory:', { origin: 'example.com/u', signer: null })
  for (let n = 0; n < 103; n++) {
    await ledger.record({ agent_name: 'a', method_name: 'm', usage: { cost: '1', currency: `C${n}` } })
  }
  const { total } = await usage(ledger)
  expect([Object.keys(total.cost).length, total.unreadable]).toEqual([100, 3])
})

test('of what was known at some time', async () => {
  const clock = fixedClock('2026-03-01T12:00:00.000000Z')
  await using ledger = await AuditLedger.open('memory:', { origin: 'example.com/u', signer: null, clock })
  for (const run_id of ['a', 'b', 'c']) {
    clock.advance(1_000_000)
    await ledger.record({ agent_name: 'a', method_name: 'm', run_id, correlation_id: 'task', usage: { prompt_tokens: 1 } })
  }
  const then = ledger.asOf({ recordedAt: '2026-03-01T12:00:02Z' })
  expect(await usage(then)).toMatchObject({ size: null, total: { calls: 2, tokens: { input: 2 } } })
  expect((await usage(ledger)).size).toBe(4)
  expect((await timeline(then, 'task')).nodes.map(({ run_id }) => run_id)).toEqual(['a', 'b'])
})

test('what is withheld or can not be read is counted apart, and what an import did not time has no latency', async () => {
  const folder = join(tempDir(), 'audit')
  const ledger = await AuditLedger.open(folder, { origin: 'example.com/u', signer: null })
  const call = { agent_name: 'a', method_name: 'm', latency_ms: 5 }
  await ledger.record({ ...call, run_id: 'erased', model_name: 'x', usage: { prompt_tokens: 7 } })
  await ledger.record({ ...call, usage: { prompt_tokens: -7, cost_usd: '1.5' } })
  await ledger.record({ ...call, usage: { prompt_tokens: 2, cost_usd: 'a lot', cost_eur: '0.10' } })
  await ledger.record({ ...call, latency_ms: 0, input_metadata: { times: 'not in source' }, usage: { prompt_tokens: 1 } })
  await ledger.close()
  withhold(folder, ({ run_id }) => run_id === 'erased')
  await using read = await AuditLedger.open(folder, { readOnly: true })
  const { total, groups } = await usage(read, { by: ['model'] })
  expect(total).toMatchObject({ calls: 4, withheld: 1, unreadable: 2, cost: { eur: '0.1', usd: '1.5' }, calls_without_tokens: 0 })
  expect(total.tokens.input).toBe(3)
  expect(total.latency_ms).toMatchObject({ count: 2, p50: 5, error: 0 })
  expect(groups.map(({ group }) => group)).toEqual([{ model: null }])
})
