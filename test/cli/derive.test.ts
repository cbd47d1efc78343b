import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { AuditLedger } from '../../src/index.ts'
import { fixedClock } from '../../src/testing/index.ts'
import { readChatFile } from '../helpers/chat-format.ts'
import { tempDir } from '../helpers/temp.ts'
import { jsonLines, ok, run } from './cli.ts'

/** Three calls, one under another, a tool, and an order. */
async function makeLedger(name = 'audit.db'): Promise<string> {
  const location = join(tempDir(), name)
  const clock = fixedClock('2026-03-01T12:00:00.000000Z')
  await using ledger = await AuditLedger.open(location, { origin: 'example.com/cli', signer: null, clock, actor: 'shop' })
  const call = { correlation_id: 'task-1', provider_name: 'openai', prompt: 'Hi', raw_output: 'Hello' }
  await ledger.record({
    ...call,
    agent_name: 'planner',
    method_name: 'plan',
    run_id: 'p',
    model_name: 'big',
    latency_ms: 1500,
    usage: { prompt_tokens: 1000, completion_tokens: 10, prompt_tokens_details: { cached_tokens: 900 }, cost_usd: '0.10' },
    parsed_data: { tool_calls: [{ id: '1', type: 'function', function: { name: 'find', arguments: '{}' } }] },
  })
  clock.advance(1_000_000)
  const tool = { correlation_id: 'task-1', causation_id: 'p', run_id: 't', data: { content: 'x', latency_ms: 2 } }
  await ledger.append('task-1', { type: 'ToolCallCompleted', action: 'find', actor: 'planner', outcome: 'failure', ...tool })
  await ledger.record(
    { ...call, agent_name: 'says, "no"\u202e', method_name: 'work', run_id: 'w', usage: { input_tokens: 1, output_tokens: 2 } },
    { causation_id: 't', outcome: 'denied' },
  )
  await ledger.append('order-1', { type: 'OrderPlaced', data: { total: 10, by: 'x' } })
  clock.advance(1_000_000)
  await ledger.append('order-1', { type: 'OrderPaid', data: { paid: true, total: 12 } })
  return location
}

describe('usage', () => {
  test('a table, JSON and CSV say the same', async () => {
    const ledger = await makeLedger()
    const table = await ok(['usage', ledger])
    expect(table).toMatch(/^planner +big +1 +0 +0 +1500|^planner +big +1 +0 +0 +1,500/m)
    expect(table).toMatch(/^total +2 +0 +1 .* 0\.1 usd$/m)
    expect(table).not.toContain('\u202e')
    const json = JSON.parse(await ok(['usage', ledger, '--by', 'day, model', '--json']))
    expect(json).toMatchObject({
      by: ['day', 'model'],
      total: { calls: 2, denials: 1, tokens: { input: 1001, cached: 900, output: 12, total: 1013 }, cost: { usd: '0.1' } },
    })
    expect(json.groups.map(({ group }: { group: object }) => group)).toEqual([
      { day: '2026-03-01', model: null },
      { day: '2026-03-01', model: 'big' },
    ])
    const [titles, ...rows] = (await ok(['usage', ledger, '--csv', '--by', 'agent'])).split('\r\n')
    expect(titles).toMatch(/^agent,calls,errors,denials,outcome_success,.*,tokens_input,.*,cost_usd,/)
    expect(rows[1]).toMatch(/^"says, ""no""\u202e",1,0,1,/)
  })
})

test('timeline: a tree, and the same as JSON; what is not there is told', async () => {
  const ledger = await makeLedger()
  const lines = (await ok(['timeline', ledger, '--correlation-id', 'task-1'])).split('\n')
  expect(lines[0]).toBe('task-1  2 calls, 1 tool call, 0 events, 1 error, 1 denial')
  expect(lines[1]).toBe('planner · plan  1  big  1,500 ms  1,010 tokens  asks for find')
  expect(lines[2]).toBe('└─ planner · find  failure  2  tool  2 ms')
  expect(lines[3]).toBe('   └─ says, "no"\\u202e · work  denied  3  0 ms  3 tokens')
  const { nodes } = JSON.parse(await ok(['timeline', ledger, '--correlation-id', 'task-1', '--json']))
  expect(nodes.map(({ run_id, depth }: { run_id: string; depth: number }) => [run_id, depth])).toEqual([
    ['p', 0],
    ['t', 1],
    ['w', 2],
  ])
  const gone = await run(['timeline', ledger, '--correlation-id', 'nobody'])
  expect([gone.code, gone.stderr]).toEqual([3, expect.stringContaining('not_found: no record has the correlation id "nobody"')])
})

test('state: now, and as it was known', async () => {
  const ledger = await makeLedger()
  expect(JSON.parse(await ok(['state', ledger, '--stream', 'order-1', '--json']))).toMatchObject({
    version: 1,
    state: { total: 12, by: 'x', paid: true },
  })
  const args = ['state', ledger, '--stream', 'order-1', '--as-of', '2026-03-01T12:00:01Z']
  expect(JSON.parse(await ok([...args, '--json']))).toMatchObject({ version: 0, state: { total: 10, by: 'x' } })
  expect((await run(['state', ledger, '--stream', 'order-2'])).code).toBe(3)
})

test('report: a page or JSON, into a file or not; a tampered ledger ends with 1 and is told', async () => {
  const ledger = await makeLedger('audit')
  const dir = tempDir()
  await ok(['report', ledger, '--verify', '-o', join(dir, 'report.html')])
  expect(readdirSync(dir)).toEqual(['report.html'])
  const page = readFileSync(join(dir, 'report.html'), 'utf8')
  expect(page).toMatch(/^<!doctype html>[\s\S]*<\/html>\n$/)
  const json = JSON.parse(await ok(['report', ledger, '--json', '--actor', 'planner', '--since', '2026-03-01']))
  expect(json).toMatchObject({ verification: null, criteria: { since: '2026-03-01T00:00:00.000000Z' }, summary: { records: 2 } })

  const [segment] = readdirSync(join(ledger, 'segments'))
  const file = join(ledger, 'segments', segment!)
  writeFileSync(file, readFileSync(file, 'utf8').replace('"Hello"', '"Hullo"'))
  const ended = await run(['report', ledger, '--verify', '--json'])
  expect(ended.code).toBe(1)
  expect(JSON.parse(ended.stdout)).toMatchObject({ verification: { ok: false, problems: [{ code: 'entry_mismatch', seq: 1 }] } })
})

test('export --format training-chat: the examples, and beside them which records they are made of', async () => {
  const ledger = await makeLedger()
  const dir = tempDir()
  const file = join(dir, 'examples.jsonl')
  const { code, stderr } = await run(['export', ledger, '--format', 'training-chat', '--outcome', 'success', '-o', file])
  expect([code, stderr.trim()]).toEqual([0, `1 example written to ${file}, and their sources to ${join(dir, 'examples.manifest.json')}`])
  expect(readdirSync(dir).toSorted()).toEqual(['examples.jsonl', 'examples.manifest.json'])
  expect(readChatFile(readFileSync(file, 'utf8'))).toBe(1)
  const [record] = jsonLines(await ok(['query', ledger, '--run-id', 'p', '--json'])) as { hash: string }[]
  expect(JSON.parse(readFileSync(join(dir, 'examples.manifest.json'), 'utf8'))).toMatchObject({
    format: 'cortex-ledger/training-manifest/v1',
    criteria: { outcome: ['success'] },
    corrected: false,
    sources: [{ line: 1, records: [{ seq: 1, hash: record!.hash, run_id: 'p', as: 'call' }] }],
    left_out: { withheld: 0, no_output: 0, not_chat: 0 },
  })
})

test('misuse is told before anything is opened', async () => {
  const wrong = [
    ['usage', 'nowhere', '--by', 'week'],
    ['timeline', 'nowhere'],
    ['report', 'nowhere', '--key', 'x'],
    ['export', 'nowhere', '--format', 'training-chat'],
  ]
  expect(await Promise.all(wrong.map(async (args) => (await run(args)).code))).toEqual([2, 2, 2, 2])
})
