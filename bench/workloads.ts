/** What is recorded: calls of real agents, and small events. Seeded and numbered, so that every run has the same bytes. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import type { EventInput, LedgerEntryInput, Outcome } from '../src/index.ts'
import { chatRecords, readRun } from '../src/ledger/import/chat-run.ts'
import { seededRandom } from '../src/testing/seeded-random.ts'
import { REPOSITORY } from './session.ts'

const REAL_RUNS = join(REPOSITORY, '../shared/data/tau-airline-gpt-4o.json.gz')

export type Workload = 'calls' | 'events'
export const WORKLOADS: readonly Workload[] = ['calls', 'events']

/** Which calls this run records. */
export const callsAre = existsSync(REAL_RUNS) ? 'calls of 200 real agent runs' : 'synthetic calls: the recorded runs are not here'

/**
 * As the import reads them, but as a program would record them while they happen: without the ids and times and notes on
 * its source that an import adds, and with a reference to the record before instead of to all of them.
 */
function realCalls(): LedgerEntryInput[] {
  const runs = JSON.parse(gunzipSync(readFileSync(REAL_RUNS)).toString()) as unknown[]
  return runs.flatMap((run, index) =>
    [...chatRecords(readRun(run), index, { source: 'bench', agentName: 'assistant' })].flatMap((record) => {
      if (record.kind !== 'call') return []
      const { run_id: _, timestamp_start: __, timestamp_end: ___, input_metadata: ____, context_refs = [], ...call } = record.entry
      return [{ ...call, context_refs: context_refs.slice(-1) }]
    }),
  )
}

const WORDS = 'the agent reads a report and answers with what it found in the second quarter about revenue cost margin risk'.split(' ')
const TOOLS = ['summarise', 'classify', 'search', 'translate', 'plan']

function syntheticCalls(count: number): LedgerEntryInput[] {
  const random = seededRandom(1)
  const text = (words: number): string => Array.from({ length: words }, () => random.pick(WORDS)).join(' ')
  return Array.from({ length: count }, (_, i) => ({
    agent_name: `agent-${i % 7}`,
    method_name: random.pick(TOOLS),
    correlation_id: `task-${Math.floor(i / 12)}`,
    prompt: text(70),
    raw_output: text(50),
    context_refs: [`doc:${i % 100}`],
    provider_name: 'example',
    model_name: 'example-1',
    usage: { input_tokens: 100 + random.below(50), output_tokens: 80, cost_usd: '0.00031' },
    policy_decisions: [{ policy: 'rbac', decision: 'allow' }],
  }))
}

let known: readonly LedgerEntryInput[] | null = null

/** So many calls; where there are not enough of them they come again, as calls of other tasks. */
export function sampleCalls(count: number): LedgerEntryInput[] {
  known ??= existsSync(REAL_RUNS) ? realCalls() : syntheticCalls(2454)
  const calls = known
  return Array.from({ length: count }, (_, i) => {
    const call = calls[i % calls.length] as LedgerEntryInput
    const pass = Math.floor(i / calls.length)
    return pass === 0 ? call : { ...call, correlation_id: `${call.correlation_id}~${pass}` }
  })
}

/** Tasks that go on at the same time, and the records that each of them has: what one query by correlation finds. */
const TASKS_AT_ONCE = 50
export const RECORDS_OF_A_TASK = 12

export const ACTORS = 7
/** What only the last of the actors is refused. */
export const RARE_OUTCOME: Outcome = 'denied'

function outcomeOf(i: number): Outcome {
  if (i % ACTORS === ACTORS - 1 && i % 3 === 0) return RARE_OUTCOME
  return i % 20 === 0 ? 'failure' : 'success'
}

export function correlationOf(i: number): string {
  return `task-${Math.floor(i / (TASKS_AT_ONCE * RECORDS_OF_A_TASK)) * TASKS_AT_ONCE + (i % TASKS_AT_ONCE)}`
}

/** The event of this number; its entry has about 200 bytes. */
export function eventAt(i: number): EventInput & { readonly correlation_id: string } {
  return {
    type: 'StepCompleted',
    actor: `agent-${i % ACTORS}`,
    action: TOOLS[i % TOOLS.length] as string,
    outcome: outcomeOf(i),
    correlation_id: correlationOf(i),
    data: {
      step: i % RECORDS_OF_A_TASK,
      tool: TOOLS[i % TOOLS.length],
      took_ms: (i * 7919) % 5000,
      tokens: { input: 100 + (i % 400), output: 80 + (i % 90) },
      document: `doc:${(i * 31) % 10_000}`,
      said: `${WORDS[i % 20]} ${WORDS[(i * 3) % 20]} ${WORDS[(i * 7) % 20]} in the second quarter, and nothing about the margin`,
    },
  }
}

export function sampleEvents(count: number, first = 0): ReturnType<typeof eventAt>[] {
  return Array.from({ length: count }, (_, i) => eventAt(first + i))
}
