import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { AuditLedger, EntryAnnotated, EntryCorrected, fileSource, importChat, trainingExamples, trainingFile } from '../../src/index.ts'
import type { LedgerEntryInput, TrainingExample, TrainingOptions, TrainingSet } from '../../src/index.ts'
import { readChatFile } from '../helpers/chat-format.ts'
import { tempDir } from '../helpers/temp.ts'
import { withhold } from '../helpers/withholding.ts'

const DATA = join(import.meta.dirname, '../../../shared/data/tau-airline-gpt-4o.json.gz')
const CALL = { agent_name: 'a', method_name: 'chat' }
const toolCall = (id: string): object => ({ id, type: 'function', function: { name: 'find', arguments: '{"q":1}' } })

const open = (location = 'memory:'): Promise<AuditLedger> =>
  AuditLedger.open(location, { origin: 'example.com/tr', signer: null, actor: 'reviewer' })

async function all(set: TrainingSet): Promise<TrainingExample[]> {
  const found: TrainingExample[] = []
  for await (const example of set.examples()) found.push(example)
  return found
}

async function examplesOf(ledger: AuditLedger, options: TrainingOptions = {}): Promise<[TrainingExample[], TrainingSet]> {
  const set = await trainingExamples(ledger, options)
  return [await all(set), set]
}

async function ofCall(entry: object): Promise<[unknown, object]> {
  await using ledger = await open()
  await ledger.record({ ...CALL, ...entry } as LedgerEntryInput)
  const [found, { leftOut }] = await examplesOf(ledger)
  if (found.length > 0) readChatFile(`${JSON.stringify(found[0]!.example)}\n`)
  return [found[0]?.example.messages ?? null, Object.fromEntries(Object.entries(leftOut).filter(([, count]) => count > 0))]
}

describe('a call', () => {
  test.each([
    [
      'text in, text out',
      { prompt: 'Hi', raw_output: 'Hello' },
      [
        { role: 'user', content: 'Hi' },
        { role: 'assistant', content: 'Hello' },
      ],
    ],
    [
      'messages in, a tool call out; data that were parsed from the text are no part of it',
      {
        prompt: [
          { role: 'system', content: 'S', extra: 1 },
          { role: 'user', content: 'U' },
        ],
        parsed_data: { tool_calls: [toolCall('1')], content: 'x', score: 2 },
      },
      [
        { role: 'system', content: 'S' },
        { role: 'user', content: 'U' },
        { role: 'assistant', content: null, tool_calls: [toolCall('1')] },
      ],
    ],
    [
      'a whole conversation in',
      {
        prompt: [
          { role: 'user', content: [{ type: 'text', text: 'U' }] },
          { role: 'assistant', content: '', tool_calls: [{ id: '1', name: 'find', arguments: { b: 1, a: 2 } }], audio: null },
          { role: 'tool', tool_call_id: '1', content: 'found', name: 'find' },
        ],
        raw_output: 'There.',
      },
      [
        { role: 'user', content: [{ type: 'text', text: 'U' }] },
        {
          role: 'assistant',
          content: null,
          tool_calls: [{ id: '1', type: 'function', function: { name: 'find', arguments: '{"a":2,"b":1}' } }],
        },
        { role: 'tool', tool_call_id: '1', content: 'found' },
        { role: 'assistant', content: 'There.' },
      ],
    ],
  ])('%s', async (_, entry, wanted) => {
    expect(await ofCall(entry)).toEqual([wanted, {}])
  })

  test.each([
    ['nothing came out', { prompt: 'Hi' }, 'no_output'],
    ['nothing went in', { raw_output: 'Hello' }, 'not_chat'],
    ['a role that is none', { prompt: [{ role: 'function', content: 'x' }], raw_output: 'y' }, 'not_chat'],
    ['content that is none', { prompt: [{ role: 'user', content: 7 }], raw_output: 'y' }, 'not_chat'],
    ['an answer to no call', { prompt: [{ role: 'tool', tool_call_id: '1', content: 'x' }], raw_output: 'y' }, 'not_chat'],
    [
      'a call without its answer',
      {
        prompt: [
          { role: 'assistant', tool_calls: [toolCall('1')] },
          { role: 'user', content: 'x' },
        ],
        raw_output: 'y',
      },
      'not_chat',
    ],
    ['a tool call without a name', { prompt: 'x', parsed_data: { tool_calls: [{ id: '1' }] } }, 'not_chat'],
    ['one id twice', { prompt: 'x', parsed_data: { tool_calls: [toolCall('1'), toolCall('1')] }, raw_output: '' }, 'not_chat'],
    [
      'a part of another kind',
      { prompt: [{ role: 'user', content: [{ type: 'tool_result', content: 'x' }] }], raw_output: 'y' },
      'not_chat',
    ],
  ])('makes no example: %s', async (_, entry, why) => {
    expect(await ofCall(entry)).toEqual([null, { [why]: 1 }])
  })
})

const run = (content: string): object => ({
  reward: 1,
  traj: [
    { role: 'user', content },
    { role: 'assistant', content: null, tool_calls: [toolCall('c1'), toolCall('c2')] },
    { role: 'tool', tool_call_id: 'c1', name: 'find', content: 'one' },
    { role: 'tool', tool_call_id: 'c2', name: 'find', content: 'two' },
    { role: 'assistant', content: 'Both.' },
    { role: 'user', content: 'Thanks!' },
  ],
})

async function importRuns(ledger: AuditLedger): Promise<void> {
  await importChat(ledger, {
    name: 'runs',
    async *read() {
      yield Buffer.from(JSON.stringify([run('first'), run('second')]))
    },
  })
}

test('an imported run is one example, put together from all of its records; what its user said last is not learnt from', async () => {
  await using ledger = await open()
  await importRuns(ledger)
  await ledger.record({ ...CALL, prompt: 'Hi', raw_output: 'Hello', context_refs: ['x'] })
  const [found, { leftOut, ledger: facts }] = await examplesOf(ledger)
  expect(found.map(({ example }) => example.messages.length)).toEqual([5, 5, 2])
  expect(found[0]!.example).toEqual({
    messages: (run('first') as { traj: object[] }).traj.slice(0, 5).map((message) => {
      const { name: _, ...rest } = message as { name?: string }
      return rest
    }),
    labels: { reward: 1 },
  })
  expect(found[0]!.sources.map(({ seq, as }) => [seq, as])).toEqual([
    [1, 'call'],
    [2, 'tool result'],
    [3, 'tool result'],
    [4, 'call'],
  ])
  for (const { seq, hash } of found.flatMap(({ sources }) => sources)) expect((await ledger.at(seq))!.hash).toBe(hash)
  expect(leftOut).toEqual({ withheld: 0, no_output: 0, not_chat: 0 })
  expect(facts).toMatchObject({ size: 10, head: (await ledger.at(9))!.hash })
  // Only the first call of each run asks for tools: with others left out, the run goes as far as it.
  const [firsts] = await examplesOf(ledger, { run_id: [found[0]!.sources[0]!.run_id] })
  expect(firsts.map(({ example }) => example.messages.length)).toEqual([2])
})

test('withheld entries are left out and counted, of a run whichever it is', async () => {
  const folder = join(tempDir(), 'audit')
  const made = await open(folder)
  await importRuns(made)
  await made.record({ ...CALL, prompt: 'secret', raw_output: 'of theirs', run_id: 'erased' })
  await made.close()
  withhold(folder, ({ seq, run_id }) => seq === 2 || run_id === 'erased')
  await using ledger = await AuditLedger.open(folder, { readOnly: true })
  const [found, { leftOut }] = await examplesOf(ledger)
  expect(found.map(({ example }) => example.messages[0]!['content'])).toEqual(['second'])
  expect(leftOut).toEqual({ withheld: 2, no_output: 0, not_chat: 0 })
})

test('later labels count; corrections do when they are asked for; neither where it is about another record', async () => {
  await using ledger = await open()
  const { hash } = await ledger.record({
    ...CALL,
    run_id: 'r',
    prompt: 'Hi',
    raw_output: 'Helo',
    training_labels: { good: false, by: 'x' },
  })
  const about = { run_id: 'r', hash }
  const other = { run_id: 'r', hash: '0'.repeat(64) }
  await ledger.append('review', [
    EntryAnnotated({ about, labels: { good: true } }),
    EntryAnnotated({ about: other, labels: { wrong: true } }),
    EntryCorrected({ about: other, changes: { raw_output: 'wrong' }, reason: 'r' }),
    EntryCorrected({ about, changes: { raw_output: 'Hello', training_labels: { by: null } }, reason: 'spelling' }),
  ])
  const [[plain]] = await examplesOf(ledger)
  expect(plain!.example).toEqual({
    messages: [
      { role: 'user', content: 'Hi' },
      { role: 'assistant', content: 'Helo' },
    ],
    labels: { good: true, by: 'x' },
  })
  expect(plain!.sources.map(({ seq, as }) => [seq, as])).toEqual([
    [1, 'call'],
    [2, 'annotation'],
  ])
  const [[corrected]] = await examplesOf(ledger, { corrected: true })
  expect(corrected!.example).toEqual({
    messages: [
      { role: 'user', content: 'Hi' },
      { role: 'assistant', content: 'Hello' },
    ],
    labels: { good: true },
  })
  expect(corrected!.sources.map(({ as }) => as)).toEqual(['call', 'annotation', 'correction'])
  const { entry, labels } = await ledger.corrected('r')
  expect([entry!['raw_output'], labels]).toEqual(['Hello', corrected!.example.labels])
  expect((await ledger.get('r'))!.entry!['raw_output']).toBe('Helo')
})

async function written(ledger: AuditLedger): Promise<[file: string, manifest: { [member: string]: unknown }]> {
  const texts = ['', '']
  await trainingFile(
    await trainingExamples(ledger),
    async (text) => (texts[0] += text),
    async (text) => (texts[1] += text),
  )
  return [texts[0]!, JSON.parse(texts[1]!) as { [member: string]: unknown }]
}

describe.skipIf(!existsSync(DATA))('the real runs', () => {
  test('load in a strict reader, and say what the runs said; the manifest names every line and its records', async () => {
    await using ledger = await open(join(tempDir(), 'runs.db'))
    await importChat(ledger, fileSource(DATA))
    const [file, manifest] = await written(ledger)
    const runs = JSON.parse(gunzipSync(readFileSync(DATA)).toString()) as {
      traj: { role: string; content: string | null }[]
      reward: number
    }[]
    expect(readChatFile(file)).toBe(runs.length)
    const lines = file
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as { messages: { content: string | null }[]; labels: object })
    lines.forEach(({ messages, labels }, i) => {
      const { traj, reward } = runs[i]!
      const last = traj.findLastIndex(({ role }) => role === 'assistant')
      expect(messages.map(({ content }) => content ?? '')).toEqual(traj.slice(0, last + 1).map(({ content }) => content ?? ''))
      expect(labels).toEqual({ reward })
    })
    expect(manifest['file']).toEqual({
      examples: 200,
      bytes: Buffer.byteLength(file),
      sha256: createHash('sha256').update(file).digest('hex'),
    })
    const sources = manifest['sources'] as { line: number; records: { seq: number; hash: string }[] }[]
    expect(sources.map(({ line }) => line)).toEqual(lines.map((_, i) => i + 1))
    const hashes: string[] = []
    for await (const record of ledger.read()) hashes.push(record.hash)
    for (const { seq, hash } of sources.flatMap(({ records }) => records)) expect(hashes[seq]).toBe(hash)
    const { size, root, head } = manifest['ledger'] as { size: number; root: string; head: string }
    expect([size, head]).toEqual([hashes.length, hashes.at(-1)])
    expect(root).toBe(Buffer.from(await ledger.tree.root(size)).toString('hex'))
  })
})

if (!existsSync(DATA)) console.log('skipped: training examples of real runs, whose data are not here')
