import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { costsOf } from '../../src/derive/cost.ts'
import { DecimalSum } from '../../src/derive/decimal.ts'
import { EXACT_VALUES_MAX, Quantiles, SKETCH_ERROR } from '../../src/derive/quantiles.ts'
import { tokensOf } from '../../src/derive/tokens.ts'
import type { JsonObject } from '../../src/index.ts'

const summed = (...values: (string | number)[]): string => {
  const sum = new DecimalSum()
  for (const value of values) expect(sum.add(value), String(value)).toBe(true)
  return String(sum)
}

describe('decimal sums', () => {
  test.each([
    [['0.1', '0.2'], '0.3'],
    [[0.1, 0.2], '0.3'],
    [['-0.05', '0.05'], '0'],
    [['-1.05', '0.05'], '-1'],
    [['0.0000001', 1e-7], '0.0000002'],
    [[1.5e-9], '0.0000000015'],
    [['007.50', '0'], '7.5'],
    [['-0.5'], '-0.5'],
    [['9007199254740993', '0.1'], '9007199254740993.1'],
  ])('%j make %s', (values, wanted) => {
    expect(summed(...values)).toBe(wanted)
  })

  test.each([
    '',
    '1e3',
    '1,5',
    '$1',
    ' 1',
    '1.',
    '.5',
    '+1',
    'NaN',
    '1'.repeat(31),
    `0.${'1'.repeat(31)}`,
    Infinity,
    Number.NaN,
    1e21,
    1e-300,
  ])('%j is none, and adds nothing', (value) => {
    const sum = new DecimalSum()
    sum.add('1.5')
    expect([sum.add(value), String(sum)]).toEqual([false, '1.5'])
  })

  test('the order of the summands does not matter, and micros add as integers do', () => {
    const micros = fc.array(fc.integer({ min: -1_000_000_000, max: 1_000_000_000 }))
    fc.assert(
      fc.property(micros, (amounts) => {
        const texts = amounts.map((amount) => {
          const digits = String(Math.abs(amount)).padStart(7, '0')
          return `${amount < 0 ? '-' : ''}${digits.slice(0, -6)}.${digits.slice(-6)}`
        })
        const sum = amounts.reduce((all, amount) => all + amount, 0)
        expect(summed(...texts, '0.000000')).toBe(summed(...texts.toReversed(), '0'))
        expect(Math.round(Number(summed(...texts, '0')) * 1e6)).toBe(sum === 0 ? 0 : sum)
      }),
    )
  })
})

describe('percentiles', () => {
  const nearestRank = (values: readonly number[], percent: number): number =>
    values.toSorted((a, b) => a - b)[Math.max(1, Math.ceil((percent * values.length) / 100)) - 1]!

  test('of nothing there are none', () => {
    const none = new Quantiles()
    expect([none.percentile(50), none.max, none.count]).toEqual([null, null, 0])
  })

  test('exact up to the bound, within the stated error beyond, whatever the values', () => {
    const value = fc.oneof(fc.double({ min: 0, max: 1e6, noNaN: true }), fc.constantFrom(0, 1, 0.001, 1e12), fc.integer({ min: 0, max: 9 }))
    fc.assert(
      fc.property(fc.array(value, { minLength: 1, maxLength: 60 }), fc.integer({ min: 1, max: 100 }), (few, percent) => {
        const exact = new Quantiles()
        for (const each of few) exact.add(each)
        expect(exact.percentile(percent)).toBe(nearestRank(few, percent))
        const many = Array.from({ length: Math.ceil((EXACT_VALUES_MAX + 1) / few.length) }, () => few).flat()
        const sketch = new Quantiles()
        for (const each of many) sketch.add(each)
        const wanted = nearestRank(many, percent)
        expect(sketch.isExact).toBe(false)
        const found = sketch.percentile(percent)!
        // Times are recorded to the µs: half of one is the least that the sketch tells from 0.
        expect(Math.abs(found - wanted)).toBeLessThanOrEqual(wanted * SKETCH_ERROR * (1 + 1e-9) + (wanted < 0.0005 ? wanted : 0))
        expect(sketch.max).toBe(Math.max(...few))
      }),
    )
  })
})

/** As the providers' documentation shows them; what is counted where is in docs/guides/deriving.md. */
const USAGES: readonly (readonly [name: string, usage: JsonObject, wanted: object])[] = [
  [
    'OpenAI chat: cached inside',
    {
      prompt_tokens: 2006,
      completion_tokens: 300,
      total_tokens: 2306,
      prompt_tokens_details: { cached_tokens: 1920 },
      completion_tokens_details: { reasoning_tokens: 100 },
    },
    { input: 2006, cached: 1920, cache_writes: null, output: 300, reasoning: 100, total: 2306 },
  ],
  [
    'OpenAI Responses: cached inside',
    {
      input_tokens: 36,
      input_tokens_details: { cached_tokens: 30 },
      output_tokens: 87,
      output_tokens_details: { reasoning_tokens: 7 },
      total_tokens: 123,
    },
    { input: 36, cached: 30, cache_writes: null, output: 87, reasoning: 7, total: 123 },
  ],
  [
    'Anthropic: cached beside',
    {
      input_tokens: 50,
      cache_read_input_tokens: 100_000,
      cache_creation_input_tokens: 248,
      cache_creation: { ephemeral_5m_input_tokens: 148, ephemeral_1h_input_tokens: 100 },
      output_tokens: 503,
    },
    { input: 100_298, cached: 100_000, cache_writes: 248, output: 503, reasoning: null, total: 100_801 },
  ],
  ['Anthropic, without a cache', { input_tokens: 5, output_tokens: 7 }, { input: 5, cached: null, output: 7, total: 12 }],
  [
    'Gemini: cached inside, thoughts beside',
    {
      promptTokenCount: 100,
      cachedContentTokenCount: 80,
      candidatesTokenCount: 20,
      thoughtsTokenCount: 30,
      toolUsePromptTokenCount: 4,
      totalTokenCount: 154,
    },
    { input: 104, cached: 80, output: 50, reasoning: 30, total: 154 },
  ],
  [
    'Gemini of Python',
    { prompt_token_count: 10, cached_content_token_count: 4, candidates_token_count: 2 },
    { input: 10, cached: 4, output: 2, total: 12 },
  ],
  [
    'Bedrock: cached beside',
    { inputTokens: 10, outputTokens: 5, cacheReadInputTokens: 100, cacheWriteInputTokens: 20, totalTokens: 135 },
    { input: 130, cached: 100, cache_writes: 20, output: 5, total: 135 },
  ],
  [
    'AI SDK: cached inside',
    { inputTokens: 100, outputTokens: 5, cachedInputTokens: 60, reasoningTokens: 2 },
    { input: 100, cached: 60, output: 5, total: 105 },
  ],
  [
    'LangChain: cached inside',
    { input_tokens: 350, output_tokens: 240, total_tokens: 590, input_token_details: { cache_read: 100, cache_creation: 200 } },
    { input: 350, cached: 100, cache_writes: 200, output: 240, total: 590 },
  ],
  [
    'LiteLLM over Anthropic: inside, since it says prompt_tokens',
    { prompt_tokens: 120, completion_tokens: 5, total_tokens: 125, cache_read_input_tokens: 100, cache_creation_input_tokens: 10 },
    { input: 120, cached: 100, cache_writes: 10, output: 5, total: 125 },
  ],
  [
    'DeepSeek',
    { prompt_tokens: 10, completion_tokens: 1, prompt_cache_hit_tokens: 8, prompt_cache_miss_tokens: 2 },
    { input: 10, cached: 8, total: 11 },
  ],
  ['Ollama', { prompt_eval_count: 26, eval_count: 290 }, { input: 26, output: 290, total: 316 }],
  ['a total alone', { total_tokens: 9 }, { input: null, output: null, total: 9 }],
  ['nothing', {}, { input: null, cached: null, output: null, total: null }],
  ['null, as some write it', { prompt_tokens: 3, completion_tokens: 1, prompt_tokens_details: null }, { input: 3, cached: null, total: 4 }],
]

test.each(USAGES)('tokens: %s', (_, usage, wanted) => {
  expect(tokensOf(usage)).toMatchObject(wanted)
})

test.each([{ prompt_tokens: -1 }, { prompt_tokens: 1.5 }, { prompt_tokens: 1e10 }, { prompt_tokens: 3, completion_tokens: '7' }])(
  'tokens: %j is no count',
  (usage) => {
    expect(tokensOf(usage)).toBe(null)
  },
)

test('costs: the unit is in the name, or in currency; of a cost and a total one counts', () => {
  expect(Object.fromEntries(costsOf({ cost_usd: '0.5', total_cost_usd: '0.7', cost_usd_cents: 3, prompt_tokens: 1 }))).toEqual({
    usd: '0.7',
    usd_cents: 3,
  })
  expect(Object.fromEntries(costsOf({ total_cost: 2, cost: 1 }))).toEqual({ unnamed: 2 })
  expect(Object.fromEntries(costsOf({ cost: '1', currency: 'EUR' }))).toEqual({ eur: '1' })
  expect(Object.fromEntries(costsOf({ cost_details: { a: 1 }, costs: 1, Cost: 1 }))).toEqual({})
})
