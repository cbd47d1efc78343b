/**
 * The token counts of one call, whatever its SDK calls them. Some count cached tokens inside the input, some beside it;
 * here they are always inside, so that adding `input` and `output` counts each token once.
 */
import { isObject } from '../ledger/entry.ts'
import type { JsonObject, JsonValue } from '../ledger/entry.ts'

/** Tokens; each is null where the source does not say. */
export interface Tokens {
  /** All that went in: what was read from a cache or written to one included. */
  readonly input: number | null
  /** Of `input`: read from a cache. */
  readonly cached: number | null
  /** Of `input`: written to a cache. */
  readonly cache_writes: number | null
  /** All that came out, reasoning included. */
  readonly output: number | null
  /** Of `output`: spent on reasoning. */
  readonly reasoning: number | null
  /** `input` and `output`; the source's own total where it names neither. */
  readonly total: number | null
}

/** What one call can't have: a larger count is a fault of its source. So sums stay exact. */
const CALL_TOKENS_MAX = 1_000_000_000

/** Where a count stands: the member, or the member of a member. */
type Path = string | readonly [outer: string, inner: string]

interface Spelling {
  /** The first of these that is there makes this the spelling. */
  readonly input: readonly Path[]
  readonly output: readonly Path[]
  /** Counted by the SDK besides `output`, and part of what came out. */
  readonly outputBeside: readonly Path[]
  /** Counted besides `input`, and part of what went in. */
  readonly inputBeside: readonly Path[]
  readonly cached: readonly Path[]
  readonly cacheWrites: readonly Path[]
  /** True: `cached` and `cacheWrites` are not in `input`. */
  readonly isCacheBeside: boolean
  readonly reasoning: readonly Path[]
  readonly total: readonly Path[]
}

const NOTHING: Spelling = {
  input: [],
  output: [],
  outputBeside: [],
  inputBeside: [],
  cached: [],
  cacheWrites: [],
  isCacheBeside: false,
  reasoning: [],
  total: [],
}

/** Anthropic's Messages API: cached tokens are beside `input_tokens`. */
const ANTHROPIC: Spelling = {
  ...NOTHING,
  input: ['input_tokens'],
  output: ['output_tokens'],
  cached: ['cache_read_input_tokens'],
  cacheWrites: ['cache_creation_input_tokens'],
  isCacheBeside: true,
}

/** Amazon Bedrock's Converse API: beside, likewise. */
const BEDROCK: Spelling = {
  ...NOTHING,
  input: ['inputTokens'],
  output: ['outputTokens'],
  cached: ['cacheReadInputTokens', 'cacheReadInputTokenCount'],
  cacheWrites: ['cacheWriteInputTokens', 'cacheWriteInputTokenCount'],
  isCacheBeside: true,
  total: ['totalTokens'],
}

/** The spellings that count cached tokens inside the input. */
const INSIDE: readonly Spelling[] = [
  // OpenAI's chat API and those that follow it; DeepSeek's and LiteLLM's own members are inside as well.
  {
    ...NOTHING,
    input: ['prompt_tokens'],
    output: ['completion_tokens'],
    cached: [['prompt_tokens_details', 'cached_tokens'], 'prompt_cache_hit_tokens', 'cache_read_input_tokens'],
    cacheWrites: ['cache_creation_input_tokens'],
    reasoning: [['completion_tokens_details', 'reasoning_tokens']],
    total: ['total_tokens'],
  },
  // OpenAI's Responses API; LangChain's usage_metadata.
  {
    ...NOTHING,
    input: ['input_tokens'],
    output: ['output_tokens'],
    cached: [
      ['input_tokens_details', 'cached_tokens'],
      ['input_token_details', 'cache_read'],
    ],
    cacheWrites: [['input_token_details', 'cache_creation']],
    reasoning: [
      ['output_tokens_details', 'reasoning_tokens'],
      ['output_token_details', 'reasoning'],
    ],
    total: ['total_tokens'],
  },
  // Gemini: cached content is inside the prompt; thoughts are beside the candidates, what tools brought beside the prompt.
  {
    ...NOTHING,
    input: ['promptTokenCount', 'prompt_token_count'],
    output: ['candidatesTokenCount', 'candidates_token_count'],
    outputBeside: ['thoughtsTokenCount', 'thoughts_token_count'],
    inputBeside: ['toolUsePromptTokenCount', 'tool_use_prompt_token_count'],
    cached: ['cachedContentTokenCount', 'cached_content_token_count'],
    reasoning: ['thoughtsTokenCount', 'thoughts_token_count'],
    total: ['totalTokenCount', 'total_token_count'],
  },
  // The AI SDK.
  {
    ...NOTHING,
    input: ['inputTokens', 'promptTokens'],
    output: ['outputTokens', 'completionTokens'],
    cached: ['cachedInputTokens', ['inputTokenDetails', 'cacheReadTokens']],
    cacheWrites: [['inputTokenDetails', 'cacheWriteTokens']],
    reasoning: ['reasoningTokens', ['outputTokenDetails', 'reasoningTokens']],
    total: ['totalTokens'],
  },
  // Ollama.
  { ...NOTHING, input: ['prompt_eval_count'], output: ['eval_count'] },
]

function valueAt(usage: JsonObject, path: Path): JsonValue | undefined {
  if (typeof path === 'string') return usage[path]
  const outer = usage[path[0]]
  return isObject(outer) ? outer[path[1]] : undefined
}

function isThere(usage: JsonObject, paths: readonly Path[]): boolean {
  return paths.some((path) => typeof valueAt(usage, path) === 'number')
}

/** The spelling of this usage object, by the members that it has. */
function spellingOf(usage: JsonObject): Spelling {
  for (const beside of [BEDROCK, ANTHROPIC]) {
    if (!isThere(usage, ['prompt_tokens']) && (isThere(usage, beside.cached) || isThere(usage, beside.cacheWrites))) return beside
  }
  return (
    INSIDE.find(({ input, output }) => isThere(usage, input) || isThere(usage, output)) ?? {
      ...NOTHING,
      total: ['total_tokens', 'totalTokens', 'totalTokenCount', 'total_token_count'],
    }
  )
}

function added(...counts: readonly (number | null)[]): number | null {
  const known = counts.filter((count) => count !== null)
  return known.length === 0 ? null : known.reduce((sum, count) => sum + count, 0)
}

/** Null where a count is no whole number from 0 to a thousand million: none of the call is counted then. */
export function tokensOf(usage: JsonObject): Tokens | null {
  let isOdd = false
  const count = (paths: readonly Path[]): number | null => {
    for (const path of paths) {
      const value = valueAt(usage, path)
      if (value === undefined || value === null) continue
      if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= CALL_TOKENS_MAX) return value
      isOdd = true
    }
    return null
  }
  const spelling = spellingOf(usage)
  const cached = count(spelling.cached)
  const cache_writes = count(spelling.cacheWrites)
  const beside = spelling.isCacheBeside ? [cached, cache_writes] : []
  const input = added(count(spelling.input), count(spelling.inputBeside), ...beside)
  const output = added(count(spelling.output), count(spelling.outputBeside))
  const total = added(input, output) ?? count(spelling.total)
  const reasoning = count(spelling.reasoning)
  return isOdd ? null : { input, cached, cache_writes, output, reasoning, total }
}
