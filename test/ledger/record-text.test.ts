/** Which words of a record are looked in. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { AuditLedger } from '../../src/index.ts'
import type { LedgerEntryInput, LedgerRecord } from '../../src/index.ts'
import { LedgerRecord as Record } from '../../src/ledger/record.ts'
import { recordText } from '../../src/ledger/record-text.ts'

async function recorded(record: (ledger: AuditLedger) => Promise<unknown>): Promise<LedgerRecord> {
  await using ledger = await AuditLedger.open('memory:', { actor: 'tester' })
  await record(ledger)
  return (await ledger.at(1))!
}

const call = (entry: Omit<LedgerEntryInput, 'agent_name' | 'method_name'>): Promise<LedgerRecord> =>
  recorded((ledger) => ledger.record({ agent_name: 'agent', method_name: 'method', ...entry }))
const event = (type: string, data: object): Promise<LedgerRecord> => recorded((ledger) => ledger.append('s', { type, data }))

describe('recordText', () => {
  test.each<[string, Parameters<typeof call>[0], object | null]>([
    ['texts', { prompt: 'p', raw_output: 'o' }, { prompt: 'p', output: 'o', tools: '', data: '' }],
    ['nothing', { input_metadata: { a: 'b' }, training_labels: { c: 'd' }, model_name: 'm' }, null],
    [
      'messages',
      {
        prompt: [
          'plain',
          { role: 'system', content: 's', name: 'n' },
          { role: 'user', content: [{ type: 'text', text: 'u' }, { type: 'image_url', image_url: { url: 'data:' } }, 'v'] },
          { role: 'tool', name: 'search', content: 't' },
          { role: 'function', content: ['f'] },
          { role: 'tool', content_ref: 'ref' },
          { role: 'user', content: [{ type: 'tool_result', content: [{ type: 'text', text: 'r' }] }] },
          { type: 'function_call_output', output: 'q' },
          { role: 'assistant', content: null },
          7,
        ],
      },
      { prompt: 'plain\ns\nu\nv', output: '', tools: 't\nf\nr\nq', data: '' },
    ],
    ['data as output', { parsed_data: { a: ['x', { b: 'y' }], n: 1 } }, { prompt: '', output: 'x\ny', tools: '', data: '' }],
    ['output and data', { raw_output: 'o', parsed_data: { a: 'x' } }, { prompt: '', output: 'o', tools: '', data: '' }],
  ])('a call with %s', async (_, entry, text) => {
    expect(recordText(await call(entry))).toEqual(text)
  })

  test('events: the texts in their data; of tools, what they said; of imported lines, what the call said', async () => {
    const nothing = { prompt: '', output: '', tools: '', data: '' }
    expect(recordText(await event('NoteTaken', { a: 'x', b: [{ c: 'y' }, 3, null, true] }))).toEqual({ ...nothing, data: 'x\ny' })
    expect(recordText(await event('NoteTaken', { amount: 3 }))).toBe(null)
    expect(recordText(await event('ToolCallCompleted', { tool: 'find', content: 'said' }))).toEqual({ ...nothing, tools: 'said' })
    expect(recordText(await event('ToolCallCompleted', { result: { rows: ['r'] } }))).toEqual({ ...nothing, tools: 'r' })
    const legacy = (line: string): Promise<LedgerRecord> => event('LegacyEntryImported', { line, file: 'f', number: 1, findings: [] })
    expect(recordText(await legacy('{"prompt":"a\\nb","raw_output":"c"}'))).toEqual({ ...nothing, prompt: 'a\nb', output: 'c' })
    expect(recordText(await legacy('{"message":"m"}'))).toEqual({ ...nothing, data: 'm' })
    expect(recordText(await legacy('{"prompt": NaN'))).toEqual({ ...nothing, data: '{"prompt": NaN' })
  })

  test("the ledger's own records, encrypted and withheld entries have none", async () => {
    await using ledger = await AuditLedger.open('memory:')
    expect(recordText((await ledger.at(0))!)).toBe(null)
    const record = await call({ prompt: 'secret' })
    const encrypted = record.line.replace(/"entry":\{.*\}\}$/, '"entry":{"$enc":{"ciphertext":"secret"}}}')
    const withheld = record.line.replace(/,"salt":.*$/, ',"entry":null}')
    for (const line of [encrypted, withheld]) expect(recordText(new Record(Buffer.from(line)))).toBe(null)
  })

  test('any data at all is taken', async () => {
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fc.constantFrom('prompt', 'content', 'line', 'x'), fc.jsonValue({ maxDepth: 4 })), async (data) => {
        const { line } = await event('NoteTaken', {})
        for (const type of ['AgentCallCompleted', 'ToolCallCompleted', 'LegacyEntryImported', 'NoteTaken']) {
          const other = line
            .replace('"entry":{}', () => `"entry":${JSON.stringify(data)}`)
            .replace('"type":"NoteTaken"', `"type":"${type}"`)
          const text = recordText(new Record(Buffer.from(other)))
          if (text !== null) expect(Object.values(text).some((each) => each !== '')).toBe(true)
        }
      }),
      { numRuns: 50 },
    )
  })
})
