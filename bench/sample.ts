/** Agent calls to record: seeded, so that every run has the same bytes; about 1.6 KB a record. */
import type { LedgerEntryInput } from '../src/index.ts'
import { seededRandom } from '../src/testing/seeded-random.ts'

const WORDS = 'the agent reads a report and answers with what it found in the second quarter about revenue cost margin risk'.split(' ')
const MODELS = ['example-1', 'example-1-mini', 'example-2']
const TOOLS = ['summarise', 'classify', 'search', 'translate', 'plan']

export function sampleCalls(count: number, seed = 1): LedgerEntryInput[] {
  const random = seededRandom(seed)
  const text = (words: number): string => Array.from({ length: words }, () => random.pick(WORDS)).join(' ')
  return Array.from({ length: count }, (_, i) => ({
    agent_name: `agent-${i % 7}`,
    method_name: random.pick(TOOLS),
    correlation_id: `task-${Math.floor(i / 12)}`,
    prompt: text(70),
    raw_output: text(50),
    context_refs: [`doc:${i % 100}`],
    input_metadata: { temperature: 0.2, attempt: i % 3 },
    provider_name: 'example',
    model_name: random.pick(MODELS),
    usage: { input_tokens: 100 + random.below(50), output_tokens: 80, cost_usd: '0.00031' },
    policy_decisions: [{ policy: 'rbac', decision: 'allow' }],
  }))
}
