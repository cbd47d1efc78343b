/** How much was used, by whom, of what, when: calls, outcomes, latency, tokens and cost. A fold over the records. */
import { OUTCOMES } from '../verify/header.ts'
import type { Outcome } from '../verify/header.ts'
import { isObject } from '../ledger/entry.ts'
import type { JsonObject } from '../ledger/entry.ts'
import { LedgerError } from '../ledger/errors.ts'
import { indexedName } from '../ledger/filter.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { Criteria } from '../ledger/query.ts'
import type { LedgerRecord } from '../ledger/record.ts'
import { costsOf } from './cost.ts'
import { DecimalSum } from './decimal.ts'
import { Quantiles, SKETCH_ERROR } from './quantiles.ts'
import { recordsBefore } from './source.ts'
import { tokensOf } from './tokens.ts'
import type { Tokens } from './tokens.ts'

/** What calls can be grouped by; `agent` is another word for `actor`, `day` the UTC day of `timestamp`. */
export const USAGE_COLUMNS = ['agent', 'day', 'actor', 'action', 'outcome', 'type', 'stream', 'provider', 'model'] as const
export type UsageColumn = (typeof USAGE_COLUMNS)[number]

/** More groups than these are nobody's to read, and take memory. */
const GROUPS_MAX = 100_000
/** Units of cost, which are what the records say: beyond these a cost is not read. */
const UNITS_MAX = 100

export interface UsageOptions extends Criteria {
  /** Unless said, everything is one group. */
  readonly by?: readonly UsageColumn[] | undefined
}

/** By nearest rank, in ms; null where no call has a latency. */
export interface Latency {
  /** Calls that have one. */
  readonly count: number
  readonly p50: number | null
  readonly p90: number | null
  readonly p99: number | null
  readonly max: number | null
  /** By how much a percentile may be wrong, relatively: 0 up to 1,024 calls, 0.01 beyond. `max` is exact. */
  readonly error: number
}

export interface UsageFigures {
  readonly calls: number
  /** Outcomes `failure` and `timeout`. */
  readonly errors: number
  /** Outcome `denied`. */
  readonly denials: number
  readonly outcomes: { readonly [outcome in Outcome]: number }
  readonly latency_ms: Latency
  /** Sums over the calls that name them. `cached` and `cache_writes` are part of `input`, `reasoning` is part of `output`. */
  readonly tokens: { readonly [name in keyof Tokens]: number }
  /** Calls that name no tokens. */
  readonly calls_without_tokens: number
  /** By unit, as exact decimal text. */
  readonly cost: { readonly [unit: string]: string }
  /** Calls whose tokens, or one of whose costs, are no counts or no decimals: those are left out of the sums. */
  readonly unreadable: number
  /** Calls whose entry is withheld: counted, but of their entry nothing is known. */
  readonly withheld: number
}

export interface UsageGroup extends UsageFigures {
  /** The value of each column of `by`; null where the record has none, or its entry is withheld. */
  readonly group: { readonly [column in UsageColumn]?: string | null }
}

export interface Usage {
  readonly by: readonly UsageColumn[]
  /** Ascending by their values. */
  readonly groups: readonly UsageGroup[]
  readonly total: UsageFigures
  /** So many records the ledger had: the figures are of those. Null where they are of a view of it (`asOf`). */
  readonly size: number | null
}

const TOKEN_NAMES = ['input', 'cached', 'cache_writes', 'output', 'reasoning', 'total'] as const satisfies readonly (keyof Tokens)[]

class Sums {
  readonly #outcomes = new Map<Outcome, number>()
  readonly #latency = new Quantiles()
  readonly #tokens = new Map<keyof Tokens, number>()
  readonly #cost = new Map<string, DecimalSum>()
  #calls = 0
  #withoutTokens = 0
  #unreadable = 0
  #withheld = 0

  add({ header, entry }: LedgerRecord): void {
    this.#calls++
    this.#outcomes.set(header.outcome, (this.#outcomes.get(header.outcome) ?? 0) + 1)
    if (entry === null) {
      this.#withheld++
      return
    }
    this.#addLatency(entry)
    const usage = isObject(entry['usage']) ? entry['usage'] : {}
    const isReadable = this.#addTokens(usage)
    if (!this.#addCosts(usage) || !isReadable) this.#unreadable++
  }

  #addLatency(entry: JsonObject): void {
    const { latency_ms, input_metadata } = entry
    // An import without times has a latency of 0 that nobody measured.
    if (isObject(input_metadata) && input_metadata['times'] === 'not in source') return
    if (typeof latency_ms === 'number' && latency_ms >= 0) this.#latency.add(latency_ms)
  }

  #addTokens(usage: JsonObject): boolean {
    const tokens = tokensOf(usage)
    if (tokens === null) return false
    if (tokens.total === null) this.#withoutTokens++
    for (const name of TOKEN_NAMES) this.#tokens.set(name, (this.#tokens.get(name) ?? 0) + (tokens[name] ?? 0))
    return true
  }

  #addCosts(usage: JsonObject): boolean {
    let isReadable = true
    for (const [unit, value] of costsOf(usage)) {
      const sum = this.#cost.get(unit) ?? new DecimalSum()
      const hasRoom = this.#cost.has(unit) || this.#cost.size < UNITS_MAX
      if (hasRoom && sum.add(value)) this.#cost.set(unit, sum)
      else isReadable = false
    }
    return isReadable
  }

  figures(): UsageFigures {
    const outcome = (name: Outcome): number => this.#outcomes.get(name) ?? 0
    const latency = this.#latency
    return {
      calls: this.#calls,
      errors: outcome('failure') + outcome('timeout'),
      denials: outcome('denied'),
      outcomes: Object.fromEntries(OUTCOMES.map((name) => [name, outcome(name)])) as UsageFigures['outcomes'],
      latency_ms: {
        count: latency.count,
        p50: latency.percentile(50),
        p90: latency.percentile(90),
        p99: latency.percentile(99),
        max: latency.max,
        error: latency.isExact ? 0 : SKETCH_ERROR,
      },
      tokens: Object.fromEntries(TOKEN_NAMES.map((name) => [name, this.#tokens.get(name) ?? 0])) as UsageFigures['tokens'],
      calls_without_tokens: this.#withoutTokens,
      cost: Object.fromEntries([...this.#cost].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([unit, sum]) => [unit, String(sum)])),
      unreadable: this.#unreadable,
      withheld: this.#withheld,
    }
  }
}

function columnOf(column: UsageColumn, { header, entry }: LedgerRecord): string | null {
  if (column === 'agent') return header.actor
  if (column === 'day') return header.timestamp.slice(0, 10)
  if (column === 'provider') return indexedName(entry?.['provider_name'])
  if (column === 'model') return indexedName(entry?.['model_name'])
  return header[column]
}

/** Null before all texts, which stand by UTF-16 code unit. */
function byValues(a: readonly (string | null)[], b: readonly (string | null)[]): number {
  for (let i = 0; i < a.length; i++) {
    const [one, other] = [a[i] as string | null, b[i] as string | null]
    if (one !== other) return one === null || (other !== null && one < other) ? -1 : 1
  }
  return 0
}

/** @throws RangeError */
function requireColumns(by: readonly UsageColumn[]): void {
  for (const column of by) {
    if (!USAGE_COLUMNS.includes(column))
      throw new RangeError(`by ${JSON.stringify(column)} is none: it is one of ${USAGE_COLUMNS.join(', ')}`)
  }
  if (new Set(by).size < by.length) throw new RangeError('by names a column twice')
}

/** Takes calls one by one; memory grows with the groups, not with the calls. */
export class UsageFold {
  readonly #by: readonly UsageColumn[]
  readonly #groups = new Map<string, { readonly values: readonly (string | null)[]; readonly sums: Sums }>()
  readonly #total = new Sums()

  /** @throws RangeError for a column that is none */
  constructor(by: readonly UsageColumn[] = []) {
    requireColumns(by)
    this.#by = by
  }

  /** @throws LedgerError `too_large` where there are more than 100,000 groups */
  add(record: LedgerRecord): void {
    this.#total.add(record)
    if (this.#by.length === 0) return
    const values = this.#by.map((column) => columnOf(column, record))
    const key = JSON.stringify(values)
    let group = this.#groups.get(key)
    if (group === undefined) {
      if (this.#groups.size >= GROUPS_MAX)
        throw new LedgerError('too_large', `there are more than ${GROUPS_MAX} groups: group by fewer columns, or choose fewer records`)
      group = { values, sums: new Sums() }
      this.#groups.set(key, group)
    }
    group.sums.add(record)
  }

  result(size: number | null): Usage {
    const groups = [...this.#groups.values()].toSorted((a, b) => byValues(a.values, b.values))
    return {
      by: this.#by,
      groups: groups.map(({ values, sums }) => ({
        group: Object.fromEntries(this.#by.map((column, i) => [column, values[i] ?? null])),
        ...sums.figures(),
      })),
      total: this.#total.figures(),
      size,
    }
  }
}

/**
 * Calls, errors, denials, latency percentiles, tokens and cost of the records that fit: of those of type
 * `AgentCallCompleted`, unless `type` says otherwise. Of a ledger, or of a view of it (`asOf`). docs/guides/deriving.md tells how tokens and costs are read.
 * @throws TypeError | RangeError | LedgerError `too_large`, and as reading
 */
export async function usage(
  ledger: Pick<Ledger, 'scan'> & Partial<Pick<Ledger, 'head'>>,
  { by, type = 'AgentCallCompleted', ...criteria }: UsageOptions = {},
): Promise<Usage> {
  const fold = new UsageFold(by)
  const size = (await ledger.head?.())?.size ?? null
  for await (const record of recordsBefore(ledger, { ...criteria, type }, size ?? Infinity)) fold.add(record)
  return fold.result(size)
}
