/** Queries for words, on every store, held against a plain reading of the records. */
import fc from 'fast-check'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { AuditLedger, LedgerEntryInput, OpenOptions } from '../../../src/index.ts'
import { scale } from '../../helpers/scale.ts'
import { everything, expectedSeqs, hasAll, KINDS, open, placeOf, seqsOf } from './helpers.ts'

const CALLS: readonly Omit<LedgerEntryInput, 'agent_name' | 'method_name'>[] = [
  { prompt: 'Please refund my flight', raw_output: 'The airline gave a refund.' },
  { prompt: [{ role: 'user', content: 'Cancel the FLIGHT to Zürich' }], raw_output: '' },
  { prompt: [{ role: 'tool', content: 'reservation 4WQ150 of bob@example.com' }], raw_output: 'Done' },
  { prompt: [{ role: 'user', content: [{ type: 'text', text: "I don't want a refund" }] }], raw_output: 'a-b c' },
  { prompt: [{ role: 'user', content: [{ type: 'tool_result', content: [{ type: 'text', text: 'gate change' }] }] }] },
  { prompt: 'no raw output', parsed_data: { answer: { city: 'Málaga', flights: ['refund denied'] } } },
  { prompt: 'raw wins', raw_output: 'said', parsed_data: { said: 'unsaid words' } },
  { prompt: '東京 вылет 🦊', raw_output: 'İstanbul straße' },
]

async function filled(location: string, options: OpenOptions = {}): Promise<AuditLedger> {
  const ledger = await open(location, options)
  for (const [i, call] of CALLS.entries()) await ledger.record({ agent_name: `agent-${i % 2}`, method_name: 'answer', ...call })
  await ledger.append('s', [
    { type: 'ToolCallCompleted', data: { tool: 'search', content: 'two flights found' } },
    { type: 'RefundApproved', data: { note: { why: 'storm' }, list: ['voucher 17'], amount_cents: 1299 } },
  ])
  return ledger
}

describe.each(KINDS)('%s', (kind) => {
  // One ledger for all that only ask: each has a thread of its own, which takes a while to start from source.
  let dir: string
  let ledger: AuditLedger
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'cortex-ledger-'))
    ledger = await filled(placeOf(kind, dir))
  })
  afterAll(async () => {
    await ledger.close()
    rmSync(dir, { recursive: true, force: true })
  })

  test.each([
    ['refund', [1, 4, 6]],
    ['REFUND Flight', [1]],
    ['refund denied', [6]],
    ['denied flights', []],
    ['zurich', [2]],
    ['Zu\u0308rich', [2]],
    ['bob@example.com', [3]],
    ['example bob', [3]],
    ['com@example', []],
    ["don't", [4]],
    ['don t', [4]],
    ['tdon', []],
    ['a-b', [4]],
    ['b-a', []],
    ['gate', [5]],
    ['malaga', [6]],
    ['unsaid', []],
    ['4wq150', [3]],
    ['東京', [8]],
    ['ВЫЛЕТ', [8]],
    ['storm voucher', [10]],
    ['why', []],
    ['1299', []],
    ['agent', []],
    ['answer', []],
    ['search', []],
    ['flights found', [9]],
    ['LedgerCreated', []],
    ['text', []],
  ])('%j is found at %j', async (text, seqs) => {
    expect(await seqsOf(ledger, { text })).toEqual(seqs)
    expect(await seqsOf(ledger, { text, order: 'newest', limit: 1 })).toEqual(seqs.toReversed())
    expect((await seqsOf(ledger, { text, order: 'rank', limit: 1 })).toSorted((a, b) => a - b)).toEqual(seqs)
    expect(await ledger.count({ text })).toBe(seqs.length)
    expect(await expectedSeqs(ledger, text)).toEqual(seqs)
  })

  test.each([
    'refund AND flight',
    'refund OR storm',
    'NOT refund',
    'ref*',
    '"refund my"',
    'NEAR(refund flight)',
    'prompt:refund',
    'prompt : refund',
    '{prompt output} : refund',
    '-prompt:refund',
    '^refund',
    'refund + flight',
    '(refund',
    'refund)',
    '"',
    '"refund',
    'refund"',
    "'refund'",
    'refund;--',
    '%refund%',
    '\\refund\\',
    're\0fund',
    '\0refund\0',
    '\ud800refund',
    'refund\udfff flight',
    '\u0301refund',
    'text MATCH',
    'rowid',
    'refund\n\tflight\u00a0\u2028airline',
    `refund ${'"'.repeat(300)}`,
    `refund ${'* '.repeat(300)}`,
    'x'.repeat(4000),
  ])('%j means its words and nothing else', async (text) => {
    const expected = await expectedSeqs(ledger, text)
    if (!/[\p{L}\p{N}]/u.test(text)) {
      await expect(ledger.query({ text })).rejects.toThrow(/no word/)
      return
    }
    expect(await seqsOf(ledger, { text, limit: 2 })).toEqual(expected)
    expect((await seqsOf(ledger, { text, order: 'rank' })).toSorted((a, b) => a - b)).toEqual(expected)
  })

  test('what is no word is refused, and says so', async () => {
    for (const text of ['', ' ', '\0', '...', '"', '\ud800', '—', '()'])
      await expect(ledger.query({ text }), JSON.stringify(text)).rejects.toThrow(RangeError)
    await expect(ledger.query({ text: 7 as never })).rejects.toThrow(TypeError)
    await expect(ledger.query({ text: 'x'.repeat(4097) })).rejects.toThrow(/4097 characters and may have 4096/)
    await expect(ledger.count({ text: 'a '.repeat(65) })).rejects.toThrow(/65 words and may have 64/)
    await expect(ledger.tally('actor', { text: '' })).rejects.toThrow(RangeError)
    await expect(ledger.query({ order: 'rank' })).rejects.toThrow(/needs text/)
    await expect(ledger.query({ text: 'refund', order: 'rank', cursor: 'o3' })).rejects.toThrow(/another order/)
    await expect(ledger.query({ text: 'refund', cursor: 'r3.1' })).rejects.toThrow(/another order/)
    expect(await ledger.count({ text: 'a '.repeat(64) })).toBe(2)
  })

  test('with every other criterion, in scan, count and tally too', async () => {
    expect(await seqsOf(ledger, { text: 'refund', actor: 'agent-1' })).toEqual([4, 6])
    expect(await seqsOf(ledger, { text: 'refund', actor: 'agent-1', order: 'rank', limit: 1 })).toHaveLength(2)
    expect(await seqsOf(ledger, { text: 'refund', type: 'RefundApproved' })).toEqual([])
    expect(await seqsOf(ledger, { text: 'storm', stream: 's', order: 'newest' })).toEqual([10])
    expect(await ledger.count({ text: 'refund', actor: ['agent-0', 'agent-1'] })).toBe(3)
    expect(await ledger.tally('actor', { text: 'refund' })).toEqual(
      new Map([
        ['agent-0', 1],
        ['agent-1', 2],
      ]),
    )
    const scanned: number[] = []
    for await (const { seq } of ledger.scan({ text: 'refund', since: '2000-01-01T00:00:00Z' })) scanned.push(seq)
    expect(scanned).toEqual([1, 4, 6])
    expect((await ledger.query({ text: 'refund', limit: 1 })).records[0]?.line).toBe((await everything(ledger))[1]?.line)
  })

  test('what was acknowledged is found at once', async () => {
    await using ledger = await open(placeOf(kind))
    for (let i = 0; i < scale(20, 200); i++) {
      const { seq } = await ledger.record({ agent_name: 'a', method_name: 'm', prompt: `needle${i} common` })
      expect(await seqsOf(ledger, { text: `needle${i}` })).toEqual([seq])
      expect(await ledger.count({ text: 'COMMON' })).toBe(i + 1)
    }
  })

  test('the best match comes first, the older one of equals, and pages of a ranking do not move', async () => {
    await using ledger = await open(placeOf(kind))
    const prompts = ['storm', 'a storm and much else that nobody asked for', 'storm storm storm', 'calm', 'storm', 'storm calm']
    for (let i = 0; i < 40; i++) await ledger.record({ agent_name: 'a', method_name: 'm', prompt: prompts[i % 6]! })
    const whole = (await ledger.query({ text: 'storm', order: 'rank', limit: 1000 })).records.map(({ seq }) => seq)
    const bests = whole.slice(0, 7)
    expect(bests.every((seq) => (seq - 1) % 6 === 2)).toBe(true)
    expect(bests).toEqual(bests.toSorted((a, b) => a - b))
    expect(whole).toHaveLength(33)
    let added = 0
    const grow = (): Promise<unknown> =>
      ledger.record({ agent_name: 'a', method_name: 'm', prompt: `${'storm '.repeat(++added * 3)}${'calm '.repeat(added % 2)}` })
    expect(await seqsOf(ledger, { text: 'storm', order: 'rank', limit: 4 }, grow)).toEqual(whole)
    // The new ones rank first for whoever begins now.
    expect((await ledger.query({ text: 'storm', order: 'rank', limit: 1 })).records[0]!.seq).toBeGreaterThan(40)
  })

  test('a filter that few fit, beside words that nearly all have', async () => {
    await using ledger = await open(placeOf(kind), { fullText: 'background' })
    const count = 4500
    await Promise.all(
      Array.from({ length: count }, (_, i) =>
        ledger.record({ agent_name: i % 450 === 7 ? 'rare' : 'often', method_name: 'm', prompt: i % 900 === 7 ? 'other' : `common ${i}` }),
      ),
    )
    const rare = [458, 1358, 2258, 3158, 4058]
    expect(await seqsOf(ledger, { text: 'common', actor: 'rare', limit: 2 })).toEqual(rare)
    expect(await seqsOf(ledger, { text: 'common', actor: 'rare', order: 'newest', limit: 3 })).toEqual(rare.toReversed())
    expect((await seqsOf(ledger, { text: 'common', actor: 'rare', order: 'rank', limit: 2 })).toSorted((a, b) => a - b)).toEqual(rare)
    expect(await seqsOf(ledger, { text: 'common', actor: 'often', limit: 1000 })).toHaveLength(4490)
    expect(await ledger.count({ text: 'common', actor: 'rare' })).toBe(5)
    expect(await ledger.count({ text: 'common' })).toBe(4495)
    expect(new Set(await seqsOf(ledger, { text: 'common', order: 'rank', limit: 999 })).size).toBe(4495)
  })

  test('any texts and any query: what is found is what has all its words', async () => {
    const word = fc.constantFrom(
      'refund',
      'Refund',
      'é',
      'e',
      'a-b',
      "don't",
      'x@y.z',
      '7',
      '*',
      '"',
      'AND',
      '\0',
      '漢字',
      '  ',
      'NOT',
      'ß',
    )
    const text = fc.array(word, { maxLength: 6 }).map((words) => words.join(' '))
    const record = fc.record({ prompt: text, raw_output: text.map((said) => said.replaceAll('\0', '-')), agent: fc.constantFrom('a', 'b') })
    await fc.assert(
      fc.asyncProperty(
        fc.array(record, { maxLength: 12 }),
        fc.array(fc.tuple(fc.array(word, { minLength: 1, maxLength: 3 }), fc.boolean()), { maxLength: 5 }),
        async (records, queries) => {
          await using ledger = await open(placeOf(kind))
          await Promise.all(records.map(({ agent, ...entry }) => ledger.record({ agent_name: agent, method_name: 'm', ...entry })))
          for (const [words, glued] of queries) {
            const asked = words.join(glued ? '' : ' ')
            const query = { text: asked, limit: 3 }
            if (!/[\p{L}\p{N}]/u.test(asked)) {
              await expect(ledger.query(query)).rejects.toThrow(RangeError)
              continue
            }
            const expected = await expectedSeqs(ledger, asked)
            expect(await seqsOf(ledger, query), JSON.stringify(asked)).toEqual(expected)
            expect((await seqsOf(ledger, { ...query, order: 'rank' })).toSorted((a, b) => a - b)).toEqual(expected)
            const ofA = await expectedSeqs(ledger, asked, ({ header }) => header.actor === 'a')
            expect(await seqsOf(ledger, { ...query, actor: 'a', order: 'newest' })).toEqual(ofA.toReversed())
            expect(await ledger.count({ text: asked, actor: 'a' })).toBe(ofA.length)
          }
        },
      ),
      { numRuns: kind === 'memory' ? scale(60, 2000) : scale(4, 100) },
    )
  })

  test('off: a query is refused with what to do, and all else works', async () => {
    await using ledger = await filled(placeOf(kind), { fullText: 'off' })
    await expect(ledger.query({ text: 'refund' })).rejects.toMatchObject({ code: 'unsupported', message: /full text is off: open/ })
    await expect(ledger.count({ text: 'refund' })).rejects.toMatchObject({ code: 'unsupported' })
    expect((await ledger.query({ actor: 'agent-1' })).records).toHaveLength(4)
    await ledger.flush()
    expect((await ledger.stats()).text).toBe(null)
  })
})

test('the plain reading tells phrases from words', () => {
  const text = { prompt: 'one two', output: 'three', tools: '', data: '' }
  expect(hasAll(text, 'three ONE')).toBe(true)
  expect(hasAll(text, 'two-one')).toBe(false)
  expect(hasAll(text, 'two-three')).toBe(false)
  expect(hasAll(null, 'one')).toBe(false)
})
