/** The people of the demonstration: agents that handle one complaint. The models are played; the records are real. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { AuditLedger, CallHandle, CallInfo, LedgerEntryInput } from '../index.ts'

export const CASE = 'case-4711'

interface Model {
  readonly provider_name: string
  readonly model_name: string
}

const HAIKU: Model = { provider_name: 'anthropic', model_name: 'claude-haiku-4.5' }
const OPUS: Model = { provider_name: 'anthropic', model_name: 'claude-opus-4.5' }
const GPT: Model = { provider_name: 'openai', model_name: 'gpt-5-mini' }
const GEMINI: Model = { provider_name: 'google', model_name: 'gemini-2.5-pro' }
const LLAMA: Model = { provider_name: 'local', model_name: 'llama-3.3-70b' }

/** What a played model says, and how long it takes to say it. */
interface Played {
  readonly says: string
  readonly takes_ms: number
  readonly members?: Parameters<CallHandle['set']>[0]
}

export interface Story {
  /** Runs after every step, when its records are durable. */
  readonly onStep: (what: string) => Promise<void>
}

async function ask(ledger: AuditLedger, info: CallInfo, played: Played, causation_id?: string): Promise<string> {
  let run_id = ''
  await ledger.call(
    { correlation_id: CASE, ...info },
    async (call) => {
      run_id = call.run_id
      await sleep(played.takes_ms, undefined, info.signal === undefined ? {} : { signal: info.signal })
      call.set({
        usage: { input_tokens: 40 + Math.ceil(String(info.prompt).length / 4), output_tokens: Math.ceil(played.says.length / 4) },
        ...played.members,
      })
      return played.says
    },
    { durable: true, ...(causation_id !== undefined && { causation_id }) },
  )
  return run_id
}

/** The sentence that one changed byte turns into its opposite: "not" and "now". */
export const DECISION = 'Do not pay before a human has approved.'

/** One complaint, handled by five agents, a tool and a person: with a denial, a failure and a timeout on the way. */
export async function playCase(ledger: AuditLedger, { onStep }: Story): Promise<void> {
  const triage = await ask(
    ledger,
    { ...HAIKU, agent_name: 'triage', method_name: 'classify', prompt: 'My order 1729 never came. I want my 480 euros back.' },
    { says: '{"intent":"refund","order":"1729"}', takes_ms: 12, members: { parsed_data: { intent: 'refund', order: '1729' } } },
  )
  await onStep('A complaint comes in; a small model sorts it.')

  const [lookup] = await ledger.append(CASE, {
    type: 'ToolCallCompleted',
    actor: 'triage',
    action: 'lookup_order',
    correlation_id: CASE,
    causation_id: triage,
    data: { tool: 'lookup_order', arguments: { order: '1729' }, result: { total_cents: 48_000, currency: 'EUR', delivered: false } },
  })
  await onStep('It calls a tool; the record names the call that led to it.')

  const research = await ask(
    ledger,
    {
      ...GPT,
      agent_name: 'researcher',
      method_name: 'summarise',
      prompt: 'What do our rules say on lost parcels?',
      context_refs: ['policy/refunds@7'],
    },
    { says: 'Lost parcels are refunded in full. Above 200 euros a human approves.', takes_ms: 18 },
    lookup?.run_id,
  )
  const extraction: CallInfo = { ...GPT, agent_name: 'extractor', method_name: 'extract_fields', prompt: 'Give order and amount as JSON.' }
  const failed = await ask(
    ledger,
    extraction,
    {
      says: 'Sure! Here is the JSON: {order: 1729,',
      takes_ms: 9,
      members: { parse_result: { ok: false, error: 'unexpected token at 24' } },
    },
    research,
  )
  const extracted = await ask(
    ledger,
    extraction,
    {
      says: '{"order":"1729","amount_cents":48000}',
      takes_ms: 9,
      members: { parsed_data: { order: '1729', amount_cents: 48_000 }, parse_result: { ok: true } },
    },
    failed,
  )
  await onStep("Rules are read; a model's answer is no JSON: a failure, then a second try.")

  const denied = await ask(
    ledger,
    { ...GEMINI, agent_name: 'refunder', method_name: 'propose_refund', prompt: 'Refund 480 euros for order 1729.' },
    {
      says: 'issue_refund(order=1729, amount_cents=48000)',
      takes_ms: 15,
      members: {
        policy_decisions: [{ policy: 'refund-limit', decision: 'deny', reason: '48000 is over the limit of 20000 without approval' }],
      },
    },
    extracted,
  )
  await onStep('An agent proposes the refund; a policy denies it. Denials are records too.')

  await ask(
    ledger,
    { ...LLAMA, agent_name: 'fraud-check', method_name: 'score', prompt: 'How likely is fraud?', signal: AbortSignal.timeout(30) },
    { says: 'never heard', takes_ms: 5_000 },
    denied,
  ).catch(() => '')
  await onStep('A check does not answer in time. The caller gets its error; the ledger gets the fact.')

  const decided = await ask(
    ledger,
    { ...OPUS, agent_name: 'supervisor', method_name: 'decide', prompt: 'The limit stopped a refund of 480 euros. What now?' },
    { says: DECISION, takes_ms: 20 },
    denied,
  )
  await ledger.append(CASE, [
    {
      type: 'RefundApproved',
      actor: 'person-7f3a',
      action: 'approve_refund',
      correlation_id: CASE,
      causation_id: decided,
      data: { order: '1729', amount_cents: 48_000 },
    },
    {
      type: 'RefundPaid',
      actor: 'payments',
      action: 'pay_refund',
      correlation_id: CASE,
      causation_id: decided,
      tags: ['order:1729'],
      data: { order: '1729', amount_cents: 48_000 },
    },
  ])
  await onStep('A large model decides, a person approves, the money goes: two events in one append, all or none.')
}

/** Calls of a busy day around the case: what the case is to be found among. */
export function backgroundCall(n: number): LedgerEntryInput {
  const model = [HAIKU, GPT, GEMINI, LLAMA][n % 4] as Model
  return {
    ...model,
    correlation_id: `job-${Math.floor(n / 20)}`,
    agent_name: 'indexer',
    method_name: 'embed_page',
    prompt: `page ${n}: ${'the quick brown fox jumps over the lazy dog '.repeat(20)}`,
    raw_output: `digest of page ${n}`,
    latency_ms: 3 + (n % 7),
    usage: { input_tokens: 220, output_tokens: 8 },
    ...(n % 97 === 96 && { parse_result: { ok: false, error: 'empty page' } }),
  }
}
