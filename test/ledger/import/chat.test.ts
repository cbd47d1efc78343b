/** Runs of agents from chat files: what becomes of each message, what is refused, and that twice is once. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { AuditLedger, fileSource, importChat } from '../../../src/index.ts'
import type { ChatImportOptions, ChatImportReport, ImportSource, LedgerRecord } from '../../../src/index.ts'
import { fixedClock, seededRandom } from '../../../src/testing/index.ts'
import { tempDir } from '../../helpers/temp.ts'

const DATA = join(import.meta.dirname, '../../../../shared/data/tau-airline-gpt-4o.json.gz')
const missing = existsSync(DATA) ? null : `${DATA} is not there`
if (missing !== null) console.warn(`skipped, the real runs are not imported: ${missing}`)

const NO_TIME = '1970-01-01T00:00:00.000000Z'
const UUID_V8 = /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

function sourceOf(content: string | Uint8Array, name = 'runs.json', step = 1 << 16): ImportSource {
  const bytes = Buffer.from(content)
  return {
    name,
    async *read() {
      for (let at = 0; at < bytes.length; at += step) yield Uint8Array.from(bytes.subarray(at, at + step))
    },
  }
}

const openLedger = (location = 'memory:'): Promise<AuditLedger> =>
  AuditLedger.open(location, { origin: 'example.com/import', clock: fixedClock(), signer: null })

/** Imports into a new ledger in memory. */
async function imported(
  content: string | object,
  options: ChatImportOptions & { readonly name?: string } = {},
): Promise<[ChatImportReport, LedgerRecord[]]> {
  const { name, ...rest } = options
  await using ledger = await openLedger()
  const text = typeof content === 'string' ? content : JSON.stringify(content)
  const report = await importChat(ledger, sourceOf(text, name), rest)
  return [report, await recordsOf(ledger)]
}

async function recordsOf(ledger: AuditLedger): Promise<LedgerRecord[]> {
  const records: LedgerRecord[] = []
  for await (const record of ledger.read()) if (record.header.stream !== 'ledger') records.push(record)
  return records
}

const problemsOf = ({ problems }: ChatImportReport): unknown[] => problems.map(({ code, line, run }) => [code, line, run])

const toolCall = (id: string, name: string): object => ({ id, type: 'function', function: { name, arguments: '{"id": 7}' } })
const run = {
  task_id: 3,
  reward: 1,
  info: { user_cost: 0.0035 },
  traj: [
    { role: 'system', content: 'Be helpful.' },
    { role: 'user', content: 'Hi' },
    { role: 'assistant', content: null, tool_calls: [toolCall('c1', 'find'), toolCall('c2', 'count')] },
    { role: 'tool', tool_call_id: 'c2', name: 'count', content: '12' },
    { role: 'tool', tool_call_id: 'c1', content: 'found' },
    { role: 'assistant', content: 'Done.' },
    { role: 'user', content: '###STOP###' },
  ],
}

describe('what becomes of a run', () => {
  test('calls and tool results, each thing once', async () => {
    const [report, records] = await imported([run])
    expect(report).toEqual({
      imported: 4,
      already: 0,
      skipped: 0,
      runs: 1,
      calls: 2,
      tool_results: 2,
      problems: [],
      problems_total: 0,
      interrupted: false,
    })
    const [first, count, find, last] = records as [LedgerRecord, LedgerRecord, LedgerRecord, LedgerRecord]
    const ids = records.map(({ run_id }) => run_id)
    for (const id of ids) expect(id).toMatch(UUID_V8)
    expect(new Set(records.map(({ header }) => header.correlation_id)).size).toBe(1)
    expect(first.entry).toMatchObject({
      agent_name: 'assistant',
      method_name: 'chat',
      timestamp_start: NO_TIME,
      timestamp_end: NO_TIME,
      prompt: run.traj.slice(0, 2),
      context_refs: [],
      raw_output: '',
      parsed_data: { content: null, tool_calls: run.traj[2]!.tool_calls },
      usage: {},
      training_labels: {},
    })
    expect(first.entry!['input_metadata']).toEqual({
      source: 'runs.json',
      run: 0,
      message: 2,
      times: 'not in source',
      usage: 'not in source',
    })
    expect(count.header).toMatchObject({
      type: 'ToolCallCompleted',
      actor: 'assistant',
      action: 'count',
      outcome: 'unknown',
      causation_id: ids[0],
      stream: first.header.stream,
      timestamp: NO_TIME,
    })
    expect(count.entry).toEqual({
      tool: 'count',
      tool_call_id: 'c2',
      content: '12',
      input_metadata: { source: 'runs.json', run: 0, message: 3, times: 'not in source' },
    })
    // The result has no name of its own: the call that asked for it says which tool it was.
    expect(find.header).toMatchObject({ action: 'find', causation_id: ids[0] })
    expect(last.entry).toMatchObject({
      prompt: [
        { role: 'tool', name: 'count', tool_call_id: 'c2', content_ref: ids[1] },
        { role: 'tool', tool_call_id: 'c1', content_ref: ids[2] },
      ],
      context_refs: ids.slice(0, 3),
      raw_output: 'Done.',
      parsed_data: null,
      training_labels: { reward: 1 },
      input_metadata: { run_metadata: { task_id: 3, info: run.info }, messages_after: [run.traj[6]] },
    })
  })

  test('results without an id belong to the last call; before any call, to none', async () => {
    const messages = [
      { role: 'tool', content: 'early' },
      { role: 'assistant', content: 'a', function_call: { name: 'f', arguments: '{}' } },
      { role: 'function', name: 'f\n', content: 'x' },
    ]
    const [, [early, call, result]] = await imported(messages)
    expect(early!.header.causation_id).toBeUndefined()
    expect(result!.header).toMatchObject({ causation_id: call!.run_id, action: 'tool' })
    expect(result!.entry).toMatchObject({ tool: 'f\n', content: 'x' })
  })

  test('times, usage and model are taken where they are', async () => {
    const message = {
      role: 'assistant',
      content: [
        { type: 'text', text: 'two ' },
        { type: 'text', text: 'parts' },
      ],
      created_at: '2026-02-08T05:00:00+01:00',
      usage: { output_tokens: 5 },
      refusal: null,
    }
    const [, [call]] = await imported({ model: 'gpt-4o', provider: 'openai', messages: [message] }, { agentName: 'airline' })
    expect(call!.entry).toMatchObject({
      agent_name: 'airline',
      model_name: 'gpt-4o',
      provider_name: 'openai',
      timestamp_end: '2026-02-08T04:00:00.000000Z',
      usage: { output_tokens: 5 },
      raw_output: 'two parts',
      parsed_data: { content: message.content, refusal: null },
      input_metadata: { source: 'runs.json', run: 0, message: 0 },
    })
    expect(call!.header.timestamp).toBe('2026-02-08T04:00:00.000000Z')
  })
})

const messages = [
  { role: 'user', content: 'Hi' },
  { role: 'assistant', content: 'Hello' },
]

describe('the forms of a file', () => {
  const forms: [string, string | Uint8Array, string][] = [
    ['an array of runs', JSON.stringify([{ messages }, messages]), 'x'],
    ['the same, pretty', JSON.stringify([{ messages }, messages], null, 2), 'x'],
    ['lines', `${JSON.stringify({ messages })}\n${JSON.stringify(messages)}\n`, 'x'],
    ['lines of arrays', `${JSON.stringify(messages)}\n\n${JSON.stringify(messages)}`, 'x'],
    ['lines by name', `${JSON.stringify(messages)}\n${JSON.stringify({ turns: messages })}\n`, 'x.jsonl'],
    ['gzip', gzipSync(JSON.stringify([{ messages }, { trajectory: messages }])), 'x'],
    ['gzip of two members', Buffer.concat([gzipSync(`${JSON.stringify({ messages })}\n`), gzipSync(JSON.stringify({ messages }))]), 'x'],
  ]

  test.each(forms)('%s', async (_, content, name) => {
    for (const step of [1, 7, 1 << 16]) {
      await using ledger = await openLedger()
      const report = await importChat(ledger, sourceOf(content, name, step))
      expect(report).toMatchObject({ imported: 2, runs: 2, skipped: 0, problems: [] })
    }
  })

  test('one run as the document', async () => {
    expect((await imported(messages))[0]).toMatchObject({ runs: 1, imported: 1 })
    expect((await imported(JSON.stringify({ id: 1, messages }, null, 1)))[0]).toMatchObject({ runs: 1, imported: 1 })
    expect((await imported('[]'))[0]).toMatchObject({ runs: 0, problems: [] })
  })
})

describe('what is wrong with a run is told, and the others go on', () => {
  const good = JSON.stringify({ messages })

  test.each<[string, string]>([
    ['not_json', '{"messages": [}'],
    ['duplicate_key', '{"messages": [{"role": "assistant", "content": "a", "content": "b"}]}'],
    ['no_messages', '{"messages": []}'],
    ['no_messages', '7'],
    ['bad_message', '{"messages": [{"role": "user"}, {"content": "x"}]}'],
    ['no_calls', '{"messages": [{"role": "user", "content": "x"}]}'],
    ['invalid_entry', '{"messages": [{"role": "assistant", "content": "\\ud800"}]}'],
    ['invalid_entry', '{"messages": [{"role": "assistant", "n": 9007199254740993}]}'],
    ['invalid_entry', `{"messages": [{"role": "assistant", "n": ${'['.repeat(70)}${']'.repeat(70)}}]}`],
  ])('%s', async (code, bad) => {
    const [report, records] = await imported(`${good}\n${bad}\n${good}\n`, { name: 'x.jsonl' })
    expect(problemsOf(report)).toEqual([[code, 2, 1]])
    expect(report).toMatchObject({ imported: 2, skipped: 1, runs: 2 })
    // The index counts what was left out: a mended file gives the others the same ids.
    expect(records.map(({ entry }) => (entry!['input_metadata'] as { run: number }).run)).toEqual([0, 2])
  })

  test('a file that was cut, and a gzip that was', async () => {
    const text = JSON.stringify([{ messages }, { messages }], null, 1)
    expect(problemsOf((await imported(text.slice(0, -20)))[0])).toEqual([['torn', 14, 1]])
    await using ledger = await openLedger()
    const noise = Buffer.from(seededRandom(1).bytes(30_000)).toString('hex')
    const zipped = gzipSync(JSON.stringify([{ messages }, { messages, noise }]))
    const report = await importChat(ledger, sourceOf(zipped.subarray(0, -1000), 'x', 1000))
    expect(report.imported).toBe(1)
    expect(report.problems.map(({ code }) => code)).toEqual(['torn', 'torn'])
    zipped[5000]! ^= 0xff
    const bad = await importChat(ledger, sourceOf(zipped, 'y', 1000))
    expect(bad.problems.map(({ code }) => code)).toContain('bad_gzip')
  })

  test('a file of nothing but faults does not fill the memory', async () => {
    const [report] = await imported('x\n'.repeat(3000), { name: 'x.jsonl', problemsMax: 10 })
    expect([report.problems.length, report.problems_total, report.skipped]).toEqual([10, 3000, 3000])
  })
})

describe('twice is once', () => {
  const file = JSON.stringify(Array.from({ length: 40 }, () => run))

  test('again, with another clock and other chunks, adds nothing', async () => {
    const clock = fixedClock()
    await using ledger = await AuditLedger.open('memory:', { origin: 'example.com/import', clock, signer: null })
    expect(await importChat(ledger, sourceOf(file))).toMatchObject({ imported: 160, already: 0 })
    clock.advance(86_400_000_000)
    expect(await importChat(ledger, sourceOf(file, 'runs.json', 100))).toMatchObject({ imported: 0, already: 160 })
    expect(await importChat(ledger, sourceOf(file, 'other.json'))).toMatchObject({ imported: 160, already: 0 })
  })

  test('what broke off goes on where it stopped, to the same records', async () => {
    await using whole = await openLedger()
    await importChat(whole, sourceOf(file))
    await using ledger = await openLedger()
    const broken: ImportSource = {
      name: 'runs.json',
      async *read() {
        yield* sourceOf(file.slice(0, file.length / 2)).read()
        throw new Error('the disk is gone')
      },
    }
    await expect(importChat(ledger, broken)).rejects.toThrow('the disk is gone')
    const before = (await recordsOf(ledger)).length
    expect(before).toBeGreaterThan(0)
    expect(await importChat(ledger, sourceOf(file))).toMatchObject({ imported: 160 - before, already: before })
    const plain = (records: LedgerRecord[]): unknown[] =>
      records.map(({ run_id, header, entry }) => [run_id, header.timestamp, header.stream_version, entry])
    expect(plain(await recordsOf(ledger))).toEqual(plain(await recordsOf(whole)))
  })

  test('a signal stops it between two runs', async () => {
    await using ledger = await openLedger()
    const abort = new AbortController()
    const stopping: ImportSource = {
      name: 'runs.json',
      async *read() {
        yield* sourceOf(file.slice(0, file.length / 2)).read()
        abort.abort()
        yield* sourceOf(file.slice(file.length / 2)).read()
      },
    }
    const report = await importChat(ledger, stopping, { signal: abort.signal })
    expect(report.interrupted).toBe(true)
    expect(report.imported).toBeGreaterThan(0)
    expect(report.imported).toBeLessThan(160)
  })

  test('another file under the same name is refused', async () => {
    await using ledger = await openLedger()
    await importChat(ledger, sourceOf(file))
    await expect(importChat(ledger, sourceOf(file.replaceAll('Done.', 'Gone.')))).rejects.toMatchObject({
      code: 'run_id_conflict',
      message: expect.stringMatching(/source name "runs.json".*another|another.*source name "runs.json"/),
    })
  })

  test('names that a header can’t hold are refused before anything is written', async () => {
    await using ledger = await openLedger()
    await expect(importChat(ledger, sourceOf(file, 'a\nb'))).rejects.toThrow(TypeError)
    await expect(importChat(ledger, sourceOf(file), { agentName: '' })).rejects.toThrow(TypeError)
    expect((await ledger.head()).size).toBe(1)
  })
})

describe.skipIf(missing !== null)('200 real runs', () => {
  interface Message {
    readonly role: string
    readonly content: string | null
  }

  test.each(['audit', 'audit.db'])('into %s: every message is there, once', { timeout: 300_000 }, async (name) => {
    const source = JSON.parse(gunzipSync(readFileSync(DATA)).toString()) as { traj: Message[]; reward: number; task_id: number }[]
    await using ledger = await openLedger(join(tempDir(), name))
    const report = await importChat(ledger, fileSource(DATA))
    expect(report).toMatchObject({ imported: 3618, already: 0, skipped: 0, runs: 200, calls: 2454, tool_results: 1164, problems: [] })
    expect(await importChat(ledger, fileSource(DATA))).toMatchObject({ imported: 0, already: 3618 })
    expect((await ledger.verifyIntegrity({ canonicalEntries: true })).ok).toBe(true)
    const runs = new Map<string, { messages: Message[]; said: Map<string, string> }>()
    for (const { header, entry, run_id } of await recordsOf(ledger)) {
      const at = runs.get(header.correlation_id!) ?? { messages: [] as Message[], said: new Map<string, string>() }
      runs.set(header.correlation_id!, at)
      if (header.type === 'ToolCallCompleted') {
        at.said.set(run_id, entry!['content'] as string)
        continue
      }
      for (const message of entry!['prompt'] as unknown as (Message & { content_ref?: string })[]) {
        const { content_ref, ...rest } = message
        at.messages.push(content_ref === undefined ? rest : { ...rest, content: at.said.get(content_ref)! })
      }
      at.messages.push({ role: 'assistant', content: entry!['raw_output'] as string, ...(entry!['parsed_data'] as object | null) })
      const { messages_after = [] } = entry!['input_metadata'] as unknown as { messages_after?: Message[] }
      at.messages.push(...messages_after)
    }
    const again = [...runs.values()]
    expect(again).toHaveLength(200)
    source.forEach(({ traj }, i) => {
      // A tool's result behind the last call is in no prompt; it has a record of its own all the same.
      const expected = traj.filter((message, at) => message.role !== 'tool' || traj.slice(at).some(({ role }) => role === 'assistant'))
      expect(again[i]!.messages).toEqual(expected)
      expect(again[i]!.said.size).toBe(traj.filter(({ role }) => role === 'tool').length)
    })
    expect(source.flatMap(({ traj }) => traj)).toHaveLength(5308)
  })
})
