/** The options by which records are chosen; the same for query, tail and export. */
import type { Command } from 'commander'
import type { Criteria } from '../ledger/query.ts'
import type { AuditLedger, OpenOptions } from '../index.ts'
import { OUTCOMES } from '../verify/header.ts'
import type { Outcome } from '../verify/header.ts'
import { normalizeTime } from '../verify/time.ts'
import { asked, Misuse } from './errors.ts'

/** What commander hands over; every option can be repeated, so each is a list. */
export interface FilterOptions {
  readonly runId?: string[]
  readonly correlationId?: string[]
  readonly causationId?: string[]
  readonly actor?: string[]
  readonly action?: string[]
  readonly outcome?: string[]
  readonly type?: string[]
  readonly stream?: string[]
  readonly tag?: string[]
  readonly provider?: string[]
  readonly model?: string[]
  readonly since?: string
  readonly until?: string
  readonly recordedSince?: string
  readonly recordedUntil?: string
  /** Where the command has it: those that look at each record as it comes have not. */
  readonly text?: string
}

/** For options that may be repeated. */
export function gather(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value]
}

export const FILTER_HELP = `
Options of one kind may be repeated: any of them fits (of --tag: all of them).
A time is RFC 3339 with its zone (2026-02-08T04:00:00Z, 2026-02-08T05:00:00+01:00), or a date, which
begins at midnight UTC.`

export function addFilterOptions(command: Command): Command {
  return command
    .option('--run-id <id>', 'the record of this run', gather)
    .option('--correlation-id <id>', 'records of this task, conversation or trace', gather)
    .option('--causation-id <id>', 'records that this run led to', gather)
    .option('--actor <name>', 'who caused it: an agent, a person, a service', gather)
    .option('--action <name>', 'what was done: a method, a tool', gather)
    .option('--outcome <outcome>', OUTCOMES.join(', '), gather)
    .option('--type <type>', 'the event type, such as AgentCallCompleted', gather)
    .option('--stream <stream>', 'the event stream', gather)
    .option('--tag <tag>', 'records with this tag', gather)
    .option('--provider <name>', 'provider_name of the entry', gather)
    .option('--model <name>', 'model_name of the entry', gather)
    .option('--since <time>', 'happened then or later (timestamp)')
    .option('--until <time>', 'happened before then')
    .option('--recorded-since <time>', 'recorded then or later (recorded_at)')
    .option('--recorded-until <time>', 'recorded before then')
}

const DATE = /^\d{4}-\d{2}-\d{2}$/
const ZONELESS = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?$/

export function addTextOption(command: Command): Command {
  return command.option(
    '--text <words>',
    'with all of these words in the prompt, the output, what tools said or the data: literally, in any order, whatever their case and accents',
  )
}

/** Whether a text has words is for the ledger to say. @throws Misuse where it has none */
export async function checkWords(ledger: AuditLedger, { text }: Criteria): Promise<void> {
  if (text !== undefined) await asked(() => ledger.query({ text, limit: 1 }))
}

/** Whoever asks for words wants them found, also where nobody keeps an index up. */
export function openingFor({ text }: Criteria): OpenOptions {
  return text === undefined ? { readOnly: true } : { readOnly: true, fullText: 'on-demand' }
}

/** The ledger's spelling of a time that somebody typed. @throws Misuse */
export function timeOf(option: string, text: string): string {
  const time = normalizeTime(DATE.test(text) ? `${text}T00:00:00Z` : text)
  if (time !== null) return time
  if (ZONELESS.test(text)) {
    const day = text.slice(0, 10)
    throw new Misuse(`${option} ${text} names no zone: add Z for UTC (${day}T${text.slice(11)}Z) or an offset such as +01:00`)
  }
  throw new Misuse(`${option} ${JSON.stringify(text)} is no time: write 2026-02-08T04:00:00Z, 2026-02-08T05:00:00+01:00 or 2026-02-08`)
}

function outcomeOf(text: string): Outcome {
  const outcome = OUTCOMES.find((one) => one === text)
  if (outcome === undefined) throw new Misuse(`--outcome ${JSON.stringify(text)} is none: it is one of ${OUTCOMES.join(', ')}`)
  return outcome
}

/** @throws Misuse for a time or an outcome that is none */
export function criteriaOf(options: FilterOptions): Criteria {
  return {
    ...(options.runId && { run_id: options.runId }),
    ...(options.correlationId && { correlation_id: options.correlationId }),
    ...(options.causationId && { causation_id: options.causationId }),
    ...(options.actor && { actor: options.actor }),
    ...(options.action && { action: options.action }),
    ...(options.outcome && { outcome: options.outcome.map(outcomeOf) }),
    ...(options.type && { type: options.type }),
    ...(options.stream && { stream: options.stream }),
    ...(options.tag && { tag: options.tag }),
    ...(options.provider && { provider: options.provider }),
    ...(options.model && { model: options.model }),
    ...(options.since !== undefined && { since: timeOf('--since', options.since) }),
    ...(options.until !== undefined && { until: timeOf('--until', options.until) }),
    ...(options.recordedSince !== undefined && { recorded_since: timeOf('--recorded-since', options.recordedSince) }),
    ...(options.recordedUntil !== undefined && { recorded_until: timeOf('--recorded-until', options.recordedUntil) }),
    ...(options.text !== undefined && { text: options.text }),
  }
}

/** An option that is a whole number from `min`. @throws Misuse */
export function integerOf(option: string, text: string, min: number): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < min) {
    throw new Misuse(`${option} ${JSON.stringify(text)} must be a whole number from ${min}`)
  }
  return value
}
