/** What a call cost, as its `usage` says it: decimal text or numbers, each kept in the unit that its name gives. */
import type { JsonObject } from '../ledger/entry.ts'
import { textOf } from './source.ts'

/** `cost`, `total_cost`, `cost_usd`, `total_cost_usd_cents`. */
const NAME = /^(total_)?cost(?:_([a-z0-9_]{1,40}))?$/

/** The unit of `cost` where neither its name nor a `currency` beside it says one. */
export const UNNAMED_UNIT = 'unnamed'

/**
 * The costs of one call, one a unit: the rest of the member's name (`cost_usd` → `usd`, `cost_usd_cents` → `usd_cents`),
 * or the `currency` beside a plain `cost`. Of `cost` and `total_cost` in one unit the total counts, so none counts twice.
 */
export function costsOf(usage: JsonObject): Map<string, string | number> {
  const costs = new Map<string, string | number>()
  const totals = new Set<string>()
  for (const [name, value] of Object.entries(usage)) {
    const match = NAME.exec(name)
    if (match === null || (typeof value !== 'string' && typeof value !== 'number')) continue
    const unit = match[2] ?? textOf(usage['currency'])?.toLowerCase() ?? UNNAMED_UNIT
    if (totals.has(unit)) continue
    if (match[1] !== undefined) totals.add(unit)
    costs.set(unit, value)
  }
  return costs
}
