/** Who did what, when, with what outcome, under which policy, and who approved: a report that names what it was made of. */
import { isObject } from '../ledger/entry.ts'
import type { Outcome } from '../verify/header.ts'
import type { VerificationReport } from '../verify/report.ts'
import { formatTime } from '../verify/time.ts'
import { systemClock } from '../ledger/clock.ts'
import { LedgerError } from '../ledger/errors.ts'
import type { Ledger } from '../ledger/ledger.ts'
import { asFilter } from '../ledger/query.ts'
import type { Criteria } from '../ledger/query.ts'
import type { LedgerRecord } from '../ledger/record.ts'
import { ledgerFacts, recordsBefore, textOf } from './source.ts'
import type { LedgerFacts } from './source.ts'

export interface AuditReportOptions extends Criteria {
  /** True: every record is verified, and the report says what was found. Or a report of a verification that was made before. */
  readonly verify?: boolean | VerificationReport | undefined
  /** When the report is made; now, unless said. */
  readonly now?: Date | undefined
}

export interface PolicyDecision {
  readonly policy: string | null
  /** What it decided, in its own word, such as `allow` or `deny`. */
  readonly decision: string | null
  readonly reason: string | null
  /** Position of the record that says so. */
  readonly seq: number
}

export interface Approval {
  readonly by: string
  readonly granted: boolean
  /** When: the `timestamp` of the approval's record. */
  readonly at: string
  readonly reason: string | null
  readonly seq: number
}

export interface AuditRow {
  readonly seq: number
  readonly run_id: string
  readonly hash: string
  /** When it happened, and when it was recorded. */
  readonly timestamp: string
  readonly recorded_at: string
  readonly actor: string
  readonly action: string
  readonly type: string
  readonly outcome: Outcome
  readonly stream: string
  readonly correlation_id: string | null
  readonly policies: readonly PolicyDecision[]
  readonly approvals: readonly Approval[]
  /** The entry is withheld: policies that only it names are not here. */
  readonly withheld: boolean
}

export interface ActorSummary {
  readonly actor: string
  readonly records: number
  readonly errors: number
  readonly denials: number
}

export interface AuditSummary {
  readonly records: number
  readonly outcomes: { readonly [outcome: string]: number }
  readonly types: { readonly [type: string]: number }
  /** Most records first. */
  readonly actors: readonly ActorSummary[]
  /** Records whose entry is withheld: erased, or archived. */
  readonly withheld: number
  /** `timestamp` of the earliest and the latest of them. */
  readonly first: string | null
  readonly last: string | null
}

export interface AuditReport {
  readonly made_at: string
  /** What was asked for; times in the ledger's spelling. */
  readonly criteria: Criteria
  /** The ledger that it was made of: records behind `size` are not in it. */
  readonly ledger: LedgerFacts
  readonly verification: VerificationReport | null
  readonly summary: AuditSummary
  /** In the order of the ledger. Each call reads them anew, and gives the same. */
  rows(): AsyncGenerator<AuditRow, void, undefined>
}

const DECISIVE = ['PolicyDecided', 'ApprovalGranted', 'ApprovalDenied'] as const
/** Decisions and approvals are held in memory, since they may stand before what they are about, or behind it. */
const DECISIONS_MAX = 500_000
const ACTORS_MAX = 100_000

/** What says of which record it is: where it names a hash, of the record with that hash alone. */
interface About<Item> {
  readonly hash: string | null
  readonly item: Item
}

interface Decisions {
  /** By the `run_id` of the record that was decided about. */
  readonly policies: Map<string, About<PolicyDecision>[]>
  readonly approvals: Map<string, About<Approval>[]>
  /** By the approval's own `run_id`: what it led to names it as its cause. */
  readonly approvalsById: Map<string, Approval>
}

function policyOf(decision: unknown, seq: number): PolicyDecision[] {
  if (!isObject(decision)) return []
  const first = (...names: readonly string[]): string | null =>
    names.reduce<string | null>((found, name) => found ?? textOf(decision[name]), null)
  return [
    {
      policy: first('policy', 'policy_id', 'policy_name', 'name', 'rule', 'id'),
      decision: first('decision', 'effect', 'outcome'),
      reason: first('reason', 'message'),
      seq,
    },
  ]
}

/** The record that a decision is about: as its data say, else what led to it; null where neither does. */
function aboutOf({ header, entry }: LedgerRecord): { readonly run_id: string; readonly hash: string | null } | null {
  const about = entry?.['about']
  if (isObject(about) && textOf(about['run_id']) !== null) return { run_id: about['run_id'] as string, hash: textOf(about['hash']) }
  return header.causation_id === undefined ? null : { run_id: header.causation_id, hash: null }
}

function approvalOf({ header, entry, seq }: LedgerRecord): Approval {
  return {
    // Who the data say it was is the word of whoever wrote them.
    by: header.actor,
    granted: header.type === 'ApprovalGranted',
    at: header.timestamp,
    reason: textOf(entry?.['reason']),
    seq,
  }
}

function push<Item>(map: Map<string, About<Item>[]>, about: ReturnType<typeof aboutOf>, item: Item): void {
  if (about === null) return
  const items = map.get(about.run_id)
  if (items === undefined) map.set(about.run_id, [{ hash: about.hash, item }])
  else items.push({ hash: about.hash, item })
}

function about<Item>(map: ReadonlyMap<string, readonly About<Item>[]>, { run_id, hash }: LedgerRecord): Item[] {
  return (map.get(run_id) ?? []).filter((each) => each.hash === null || each.hash === hash).map(({ item }) => item)
}

/** Of all records before `size`: who approved may stand outside the period that is asked for. @throws LedgerError `too_large` */
async function readDecisions(ledger: Ledger, size: number): Promise<Decisions> {
  const decisions: Decisions = { policies: new Map(), approvals: new Map(), approvalsById: new Map() }
  let count = 0
  for await (const record of recordsBefore(ledger, { type: DECISIVE }, size)) {
    if (++count > DECISIONS_MAX)
      throw new LedgerError(
        'too_large',
        `the ledger has more than ${DECISIONS_MAX} decisions and approvals: a report holds them all at once`,
      )
    if (record.header.type === 'PolicyDecided') {
      for (const policy of policyOf(record.entry, record.seq)) push(decisions.policies, aboutOf(record), policy)
      continue
    }
    const approval = approvalOf(record)
    decisions.approvalsById.set(record.run_id, approval)
    push(decisions.approvals, aboutOf(record), approval)
  }
  return decisions
}

/** Those that are about this record, and the one that led to it, each once. */
function approvalsOf(record: LedgerRecord, { approvals, approvalsById }: Decisions): Approval[] {
  const { header } = record
  if (header.type === 'ApprovalGranted' || header.type === 'ApprovalDenied') return []
  const led = header.causation_id === undefined ? undefined : approvalsById.get(header.causation_id)
  const later = about(approvals, record)
  return led === undefined || later.includes(led) ? later : [led, ...later]
}

function policiesOf(record: LedgerRecord, { policies }: Decisions): PolicyDecision[] {
  const { header, entry, seq } = record
  const own = entry?.['policy_decisions']
  return [
    ...(Array.isArray(own) ? own.flatMap((decision) => policyOf(decision, seq)) : []),
    ...(header.type === 'PolicyDecided' ? policyOf(entry, seq) : []),
    ...about(policies, record),
  ]
}

function rowOf(record: LedgerRecord, decisions: Decisions): AuditRow {
  const { header, entry, hash, seq, run_id } = record
  const { timestamp, recorded_at, actor, action, type, outcome, stream } = header
  return {
    seq,
    run_id,
    hash,
    timestamp,
    recorded_at,
    actor,
    action,
    type,
    outcome,
    stream,
    correlation_id: header.correlation_id ?? null,
    policies: policiesOf(record, decisions),
    approvals: approvalsOf(record, decisions),
    withheld: entry === null,
  }
}

function counted(counts: ReadonlyMap<string, number>): { [name: string]: number } {
  return Object.fromEntries([...counts].toSorted(([a, x], [b, y]) => y - x || (a < b ? -1 : 1)))
}

class SummaryFold {
  readonly #outcomes = new Map<string, number>()
  readonly #types = new Map<string, number>()
  readonly #actors = new Map<string, { records: number; errors: number; denials: number }>()
  #records = 0
  #withheld = 0
  #first: string | null = null
  #last: string | null = null

  add({ header, entry }: LedgerRecord): void {
    const { actor, outcome, timestamp, type } = header
    this.#records++
    if (entry === null) this.#withheld++
    this.#outcomes.set(outcome, (this.#outcomes.get(outcome) ?? 0) + 1)
    this.#types.set(type, (this.#types.get(type) ?? 0) + 1)
    if (this.#first === null || timestamp < this.#first) this.#first = timestamp
    if (this.#last === null || timestamp > this.#last) this.#last = timestamp
    let figures = this.#actors.get(actor)
    if (figures === undefined) {
      if (this.#actors.size >= ACTORS_MAX || this.#types.size > ACTORS_MAX)
        throw new LedgerError('too_large', `there are more than ${ACTORS_MAX} actors or types: choose fewer records`)
      this.#actors.set(actor, (figures = { records: 0, errors: 0, denials: 0 }))
    }
    figures.records++
    if (outcome === 'failure' || outcome === 'timeout') figures.errors++
    if (outcome === 'denied') figures.denials++
  }

  result(): AuditSummary {
    const actors = [...this.#actors].map(([actor, figures]) => ({ actor, ...figures }))
    return {
      records: this.#records,
      outcomes: counted(this.#outcomes),
      types: counted(this.#types),
      actors: actors.toSorted((a, b) => b.records - a.records || (a.actor < b.actor ? -1 : 1)),
      withheld: this.#withheld,
      first: this.#first,
      last: this.#last,
    }
  }
}

/** The criteria with their times in the ledger's spelling, for the report to say. */
function spelled(criteria: Criteria): Criteria {
  const { since, until, recorded_since, recorded_until } = asFilter(criteria)
  const times = Object.entries({ since, until, recorded_since, recorded_until }).filter(([, time]) => time !== undefined)
  const said = Object.entries(criteria).filter(([, value]) => value !== undefined)
  return { ...Object.fromEntries(said), ...Object.fromEntries(times) } as Criteria
}

/**
 * The records that fit, with the policies and approvals that other records tell of them, and with the ledger's size, head,
 * root and last checkpoint. Memory grows with the actors and with the decisions, not with the records.
 * `auditReportHtml` makes a page of it, `auditReportJson` JSON.
 * @throws TypeError | RangeError | LedgerError `too_large`, and as reading
 */
export async function auditReport(ledger: Ledger, { verify = false, now, ...criteria }: AuditReportOptions = {}): Promise<AuditReport> {
  const said = spelled(criteria)
  const made_at = formatTime(now === undefined ? systemClock.now() : now.getTime() * 1000)
  const facts = await ledgerFacts(ledger)
  const verification = typeof verify === 'object' ? verify : verify ? await ledger.verifyIntegrity() : null
  const decisions = await readDecisions(ledger, facts.size)
  const fold = new SummaryFold()
  for await (const record of recordsBefore(ledger, criteria, facts.size)) fold.add(record)
  return {
    made_at,
    criteria: said,
    ledger: facts,
    verification,
    summary: fold.result(),
    async *rows() {
      for await (const record of recordsBefore(ledger, criteria, facts.size)) yield rowOf(record, decisions)
    },
  }
}
