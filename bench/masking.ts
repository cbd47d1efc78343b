/** What masking costs: recording under no rules, the default ones and all of them, beside recording without a mask. */
import { AuditLedger, MASK_PATTERNS, maskRules } from '../src/index.ts'
import type { Mask, OpenOptions } from '../src/index.ts'
import type { JsonObject } from '../src/ledger/entry.ts'
import { byCallers } from './appending.ts'
import { inRounds } from './figures.ts'
import type { Result, Row } from './rows.ts'
import { LEDGER_OPTIONS, locationIn, timed } from './session.ts'
import type { Session } from './session.ts'
import { sampleCalls } from './workloads.ts'

const CALLERS = 64
const ABOUT = { type: 'AgentCallCompleted', stream: 'bench' } as const

type Rules = 'no rules' | 'the default rules' | 'all rules'

const MASKS: { readonly [rules in Rules]: Mask } = {
  'no rules': maskRules({ patterns: [] }),
  'the default rules': maskRules(),
  // As docs/guides/masking.md shows them.
  'all rules': maskRules({
    patterns: MASK_PATTERNS,
    pointers: ['/parsed_data/customer', '/prompt/*/tool_calls/*/function/arguments/address'],
    members: ['password', 'api_key'],
    own: { employee: /\bE-\d{6}\b/ },
    keys: true,
  }),
}
const RULES = Object.keys(MASKS) as Rules[]

async function recordingRows(session: Session): Promise<Row[]> {
  const count = session.count(6400, 64)
  const calls = sampleCalls(count)
  const rate = (options: OpenOptions): Promise<number> =>
    session.inFolder(async (folder) => {
      const ledger = await AuditLedger.open(locationIn(folder, 'JSONL'), { ...LEDGER_OPTIONS, ...options })
      try {
        return count / (await timed(() => byCallers(CALLERS, count, (i) => ledger.record(calls[i]!))))
      } finally {
        await ledger.close()
      }
    })
  const series = await inRounds(session.rounds, async () => {
    const figures: { [of in Rules | 'without']?: number } = { without: await rate({}) }
    for (const rules of RULES) figures[rules] = await rate({ mask: MASKS[rules] })
    return figures as Record<Rules | 'without', number>
  })
  return RULES.map((rules) => ({
    topic: 'masking',
    what: `recording, JSONL, ${CALLERS} callers, ${rules}`,
    unit: 'records/s',
    ours: series[rules],
    floor: series.without,
    target: null,
    note: 'beside it: without a mask',
  }))
}

/** The rules by themselves. */
async function aloneRows(session: Session): Promise<Row[]> {
  const calls = sampleCalls(session.count(10_000, 50)) as readonly JsonObject[]
  const rate = async (work: (call: JsonObject) => unknown): Promise<number> => {
    // A mask may change what it is given.
    const own = structuredClone(calls)
    return calls.length / (await timed(() => own.forEach(work)))
  }
  const series = await inRounds(session.rounds, async () => {
    const figures: { [of in Rules | 'written']?: number } = { written: await rate((call) => JSON.stringify(call)) }
    for (const rules of RULES) figures[rules] = await rate((call) => MASKS[rules](call, ABOUT))
    return figures as Record<Rules | 'written', number>
  })
  return RULES.map((rules) => ({
    topic: 'masking',
    what: `the rules alone, ${rules}`,
    unit: 'records/s',
    ours: series[rules],
    floor: series.written,
    target: null,
    note: 'beside it: JSON.stringify',
  }))
}

export async function maskingRows(session: Session): Promise<Result[]> {
  const rows = [...(await recordingRows(session)), ...(await aloneRows(session))]
  session.say('masking')
  return rows
}
