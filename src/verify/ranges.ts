/** Sets of positions as ranges, both ends included: what is withheld and what is named is mostly a few long runs. */

export interface Range {
  readonly first: number
  readonly last: number
}

/** Positions that come in ascending order; neighbours share a range. */
export class AscendingRanges {
  readonly ranges: { first: number; last: number }[] = []
  readonly #max: number
  /** True when there were more ranges than are kept. */
  overflown = false

  constructor(rangesMax: number) {
    this.#max = rangesMax
  }

  add(position: number): void {
    const last = this.ranges.at(-1)
    if (last !== undefined && last.last + 1 === position) last.last = position
    else if (this.ranges.length < this.#max) this.ranges.push({ first: position, last: position })
    else this.overflown = true
  }

  /** Ranges that all lie behind these. */
  append(ranges: readonly Range[]): void {
    for (const { first, last } of ranges) {
      this.add(first)
      const open = this.ranges.at(-1)
      if (open?.last === first) open.last = last
    }
  }
}

/** The same positions, ascending, with a gap between each two ranges. */
export function union(ranges: readonly Range[]): Range[] {
  const merged: { first: number; last: number }[] = []
  for (const { first, last } of ranges.toSorted((a, b) => a.first - b.first)) {
    const before = merged.at(-1)
    if (before !== undefined && first <= before.last + 1) before.last = Math.max(before.last, last)
    else merged.push({ first, last })
  }
  return merged
}

/** Splits `a` into what is in `b` and what is not. Both ascending and without overlap; so are the results. */
export function partition(a: readonly Range[], b: readonly Range[]): { inside: Range[]; outside: Range[] } {
  const inside: Range[] = []
  const outside: Range[] = []
  let next = 0
  for (const range of a) {
    let from = range.first
    while (next < b.length && b[next]!.last < from) next++
    for (let i = next; i < b.length && b[i]!.first <= range.last; i++) {
      const { first, last } = b[i]!
      if (first > from) outside.push({ first: from, last: first - 1 })
      inside.push({ first: Math.max(first, from), last: Math.min(last, range.last) })
      from = last + 1
    }
    if (from <= range.last) outside.push({ first: from, last: range.last })
  }
  return { inside, outside }
}

/** How many positions there are. */
export function countOf(ranges: readonly Range[]): number {
  let count = 0
  for (const { first, last } of ranges) count += last - first + 1
  return count
}

/**
 * Where several claims are made about positions, who made the last one about each. Ascending; neighbours of one owner may
 * be several ranges.
 */
export function lastOwners<Owner>(
  claims: readonly { readonly range: Range; readonly owner: Owner }[],
): { readonly range: Range; readonly owner: Owner }[] {
  const edges = [...new Set(claims.flatMap(({ range }) => [range.first, range.last + 1]))].sort((a, b) => a - b)
  const indexOf = new Map(edges.map((edge, index) => [edge, index]))
  // Painted from the last claim to the first; `next[i]` leads to the first piece from i on that has no colour yet.
  const next = Int32Array.from({ length: edges.length + 1 }, (_, index) => index)
  const find = (start: number): number => {
    let root = start
    while (next[root] !== root) root = next[root]!
    for (let at = start; at !== root;) [at, next[at]] = [next[at]!, root]
    return root
  }
  const pieces: { range: Range; owner: Owner }[] = []
  for (const { range, owner } of claims.toReversed()) {
    const end = indexOf.get(range.last + 1)!
    for (let piece = find(indexOf.get(range.first)!); piece < end; piece = find(piece)) {
      pieces.push({ range: { first: edges[piece]!, last: edges[piece + 1]! - 1 }, owner })
      next[piece] = piece + 1
    }
  }
  return pieces.sort((a, b) => a.range.first - b.range.first)
}

/** Where several claims are made about positions, the last one made about each position holds. */
export function lastClaims(claims: readonly { readonly range: Range; readonly holds: boolean }[]): Range[] {
  const owned = lastOwners(claims.map(({ range, holds }) => ({ range, owner: holds })))
  return union(owned.filter(({ owner }) => owner).map(({ range }) => range))
}
