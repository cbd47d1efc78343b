/** Positions in portions, for work on them that is done step by step. */
import type { KeptEntry } from './upkeep.ts'
import type { Range } from '../verify/ranges.ts'
import { union } from '../verify/ranges.ts'

/** Positions and ranges of one portion. */
export interface PortionLimit {
  readonly positions: number
  readonly ranges: number
}

/**
 * The positions below `size`, ascending and each once, in portions within the limit.
 * @throws RangeError for what is no range of positions
 */
export function portionsOf(positions: readonly Range[], size: number, limit: PortionLimit): Range[][] {
  for (const { first, last } of positions) {
    if (Number.isSafeInteger(first) && first >= 0 && last >= first && (Number.isSafeInteger(last) || last === Infinity)) continue
    throw new RangeError(`${first} to ${last} is no range of positions: give whole numbers from 0 on, the last one included`)
  }
  const portions: Range[][] = []
  let portion: Range[] = []
  let left = limit.positions
  for (const { first, last } of union(positions)) {
    for (let from = first; from <= last && from < size;) {
      if (left === 0 || portion.length === limit.ranges) {
        portions.push(portion)
        portion = []
        left = limit.positions
      }
      const to = Math.min(last, size - 1, from + left - 1)
      portion.push({ first: from, last: to })
      left -= to - from + 1
      from = to + 1
    }
  }
  if (portion.length > 0) portions.push(portion)
  return portions
}

/** The positions of a portion from `from` on. */
export function portionFrom(portion: readonly Range[], from: number): Range[] {
  return portion.filter(({ last }) => last >= from).map(({ first, last }) => ({ first: Math.max(first, from), last }))
}

/** Entries as they come, gathered into portions of at most so many, each ending with the entry that reaches the bytes. */
export async function* gathered(
  entries: AsyncIterable<readonly KeptEntry[]>,
  limit: { readonly entries: number; readonly bytes: number },
): AsyncGenerator<KeptEntry[]> {
  let portion: KeptEntry[] = []
  let bytes = 0
  for await (const chunk of entries) {
    for (const entry of chunk) {
      portion.push(entry)
      bytes += entry.entry_text.length
      if (portion.length < limit.entries && bytes < limit.bytes) continue
      yield portion
      portion = []
      bytes = 0
    }
  }
  if (portion.length > 0) yield portion
}
