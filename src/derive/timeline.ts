/** What led to what in one task, conversation or trace: its records as a tree of causes, in the order of the ledger. */
import { isObject } from '../ledger/entry.ts'
import type { Outcome } from '../verify/header.ts'
import { LedgerError } from '../ledger/errors.ts'
import { indexedName } from '../ledger/filter.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { LedgerRecord } from '../ledger/record.ts'
import { textOf } from './source.ts'
import { tokensOf } from './tokens.ts'

/** Records of one correlation that are held at once; each takes some hundred bytes. */
const RECORDS_MAX = 200_000

/** `unended call`: it started, and no record says that it ended. */
export type TimelineKind = 'call' | 'unended call' | 'tool' | 'event'

export interface TimelineNode {
  readonly seq: number
  readonly run_id: string
  readonly hash: string
  readonly kind: TimelineKind
  readonly type: string
  readonly actor: string
  readonly action: string
  readonly outcome: Outcome
  /** When it began: of a call `timestamp_start`, else `timestamp`; null where its source had no times. */
  readonly began: string | null
  /** In ms; null where nobody measured it. */
  readonly duration_ms: number | null
  readonly model: string | null
  /** Of a call: input and output, as `usage` counts them. */
  readonly tokens: number | null
  /** Of a call: the names of the tools that it asked for. */
  readonly tools: readonly string[]
  /** The entry is withheld: what only it says is null. */
  readonly withheld: boolean
  /** 0 where nothing in this timeline led to it. */
  readonly depth: number
  /** Position of what led to it, null at depth 0. */
  readonly parent: number | null
  /** `run_id` of what led to it, where that is not in this timeline. */
  readonly missing_cause: string | null
  /** Its causes lead back to itself: it stands at depth 0, so that the others can be told. */
  readonly in_cycle: boolean
}

export interface Timeline {
  readonly correlation_id: string
  /** Each behind what led to it; those with one cause in the order in which they, or what they led to, were recorded. */
  readonly nodes: readonly TimelineNode[]
  readonly calls: number
  readonly tools: number
  readonly events: number
  /** Outcomes `failure` and `timeout`. */
  readonly errors: number
  readonly denials: number
}

type Facts = Omit<TimelineNode, 'depth' | 'parent' | 'missing_cause' | 'in_cycle'>

interface Placed {
  facts: Facts
  readonly cause: string | undefined
  parent: Placed | null
  readonly children: Placed[]
  missing: string | null
  inCycle: boolean
  /** The first position of it and all that it led to. */
  first: number
}

function kindOf(type: string): TimelineKind {
  if (type === 'AgentCallCompleted') return 'call'
  if (type === 'AgentCallStarted') return 'unended call'
  return type === 'ToolCallCompleted' ? 'tool' : 'event'
}

/** Names of the tools that a call asked for, in the forms of OpenAI and Anthropic. */
function toolsOf(parsed: unknown): string[] {
  if (!isObject(parsed)) return []
  const names = (items: unknown, read: (item: unknown) => string | null): string[] =>
    Array.isArray(items) ? items.flatMap((item) => read(item) ?? []) : []
  const asked = names(parsed['tool_calls'], (call) =>
    isObject(call) ? textOf(isObject(call['function']) ? call['function']['name'] : call['name']) : null,
  )
  const used = names(parsed['content'], (block) => (isObject(block) && block['type'] === 'tool_use' ? textOf(block['name']) : null))
  return [...asked, ...used]
}

function durationOf(entry: LedgerRecord['entry']): number | null {
  for (const name of ['latency_ms', 'duration_ms']) {
    const value = entry?.[name]
    if (typeof value === 'number' && value >= 0) return value
  }
  return null
}

function factsOf({ header, entry, hash, seq }: LedgerRecord): Facts {
  const { run_id, type, actor, action, outcome, timestamp } = header
  const kind = kindOf(type)
  const isCall = kind === 'call' || kind === 'unended call'
  const about = entry?.['input_metadata']
  const hasNoTimes = isObject(about) && about['times'] === 'not in source'
  const usage = entry?.['usage']
  return {
    seq,
    run_id,
    hash,
    kind,
    type,
    actor,
    action,
    outcome,
    began: hasNoTimes ? null : isCall ? (textOf(entry?.['timestamp_start']) ?? timestamp) : timestamp,
    duration_ms: hasNoTimes || kind === 'unended call' ? null : durationOf(entry),
    model: indexedName(entry?.['model_name']),
    tokens: isCall && isObject(usage) ? (tokensOf(usage)?.total ?? null) : null,
    tools: isCall ? toolsOf(entry?.['parsed_data']) : [],
    withheld: entry === null,
  }
}

/** Puts the end of a call in the place of its start, which its causes and what it led to name. */
function joinStarts(nodes: readonly Placed[], byId: Map<string, Placed>): Placed[] {
  const joined = new Set<Placed>()
  for (const node of nodes) {
    const start = node.cause === undefined ? undefined : byId.get(node.cause)
    if (node.facts.kind !== 'call' || start?.facts.kind !== 'unended call') continue
    const { began, actor, action } = start.facts
    // An inner call is led to by the same start. Only the call itself began at the same µs under the same names.
    if (node.facts.began !== began || node.facts.actor !== actor || node.facts.action !== action) continue
    start.facts = node.facts
    byId.set(node.facts.run_id, start)
    joined.add(node)
  }
  return nodes.filter((node) => !joined.has(node))
}

/** Marks nodes whose causes lead back to themselves, and cuts each cycle at the one that was recorded first. */
function cutCycles(nodes: readonly Placed[]): void {
  const state = new Map<Placed, 'open' | 'done'>()
  for (const node of nodes) {
    const trail: Placed[] = []
    let at: Placed | null = node
    while (at !== null && !state.has(at)) {
      state.set(at, 'open')
      trail.push(at)
      at = at.parent
    }
    if (at !== null && state.get(at) === 'open') {
      const cycle = trail.slice(trail.indexOf(at))
      const first = cycle.reduce((least, one) => (one.facts.seq < least.facts.seq ? one : least))
      first.parent = null
      first.inCycle = true
    }
    for (const one of trail) state.set(one, 'done')
  }
}

/** Roots first, children behind: without recursion, since a chain of causes can be as long as the ledger. */
function inOrder(nodes: readonly Placed[]): { readonly node: Placed; readonly depth: number }[] {
  const roots: Placed[] = []
  for (const node of nodes) (node.parent?.children ?? roots).push(node)
  const descend = (order: (node: Placed, depth: number) => void): void => {
    const stack = roots.toReversed().map((node) => ({ node, depth: 0 }))
    for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
      order(top.node, top.depth)
      for (const child of top.node.children.toReversed()) stack.push({ node: child, depth: top.depth + 1 })
    }
  }
  // What an outer call led to is recorded before it: it began before them.
  const behindChildren: Placed[] = []
  descend((node) => behindChildren.push(node))
  for (const { parent, first } of behindChildren.toReversed()) if (parent !== null) parent.first = Math.min(parent.first, first)
  const byFirst = (a: Placed, b: Placed): number => a.first - b.first || a.facts.seq - b.facts.seq
  roots.sort(byFirst)
  for (const node of nodes) node.children.sort(byFirst)
  const ordered: { node: Placed; depth: number }[] = []
  descend((node, depth) => ordered.push({ node, depth }))
  return ordered
}

function arrange(all: readonly Placed[]): TimelineNode[] {
  const byId = new Map(all.map((node) => [node.facts.run_id, node]))
  const nodes = joinStarts(all, byId)
  for (const node of nodes) {
    if (node.cause === undefined) continue
    node.parent = byId.get(node.cause) ?? null
    if (node.parent === null) node.missing = node.cause
  }
  cutCycles(nodes)
  return inOrder(nodes).map(({ node, depth }) => ({
    ...node.facts,
    depth,
    parent: node.parent?.facts.seq ?? null,
    missing_cause: node.missing,
    in_cycle: node.inCycle,
  }))
}

/**
 * The causes and effects of one correlation id: calls, tool calls and events, each behind what led to it (`causation_id`).
 * Of a ledger, or of a view of it (`asOf`). A list whose `depth` and `parent` make the tree. A call that recorded its start stands there once.
 * @throws LedgerError `too_large` beyond 200,000 records, and as reading
 */
export async function timeline(ledger: Pick<Ledger, 'scan'>, correlation_id: string): Promise<Timeline> {
  const all: Placed[] = []
  for await (const record of ledger.scan({ correlation_id })) {
    if (all.length >= RECORDS_MAX)
      throw new LedgerError('too_large', `${JSON.stringify(correlation_id)} has more than ${RECORDS_MAX} records: look at them by query`)
    const { causation_id, seq } = record.header
    all.push({ facts: factsOf(record), cause: causation_id, parent: null, children: [], missing: null, inCycle: false, first: seq })
  }
  const nodes = arrange(all)
  const count = (fits: (node: TimelineNode) => boolean): number => nodes.filter(fits).length
  return {
    correlation_id,
    nodes,
    calls: count(({ kind }) => kind === 'call' || kind === 'unended call'),
    tools: count(({ kind }) => kind === 'tool'),
    events: count(({ kind }) => kind === 'event'),
    errors: count(({ outcome }) => outcome === 'failure' || outcome === 'timeout'),
    denials: count(({ outcome }) => outcome === 'denied'),
  }
}
