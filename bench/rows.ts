/** One line of the results: a figure of ours, what it stands beside, and what was asked of it. */
import { differences, median, ratios } from './figures.ts'
import type { Series } from './figures.ts'
import type { Topic } from './options.ts'

export type Unit = 'records/s' | 'MB/s' | 'µs' | 'ms' | 'MB'

/** `highest` is of ours alone: what is bounded must be so in every round. */
export interface Target {
  readonly of: 'ratio' | 'difference' | 'highest'
  readonly atLeast?: number
  readonly atMost?: number
}

export interface Row {
  readonly topic: Topic
  readonly what: string
  readonly unit: Unit
  readonly ours: Series
  readonly floor: Series
  readonly target: Target | null
  readonly note: string
}

/** What could not be measured, and why. */
export interface Absence {
  readonly topic: Topic
  readonly what: string
  readonly absent: string
  /** It should have been there: the run ends with an error. */
  readonly isFailure: boolean
}

export type Result = Row | Absence

export function isRow(result: Result): result is Row {
  return !('absent' in result)
}

export const atLeast = (ratio: number): Target => ({ of: 'ratio', atLeast: ratio })
export const atMost = (ratio: number): Target => ({ of: 'ratio', atMost: ratio })

/** The figure that the target is about. */
export function judged({ ours, floor }: Row, { of }: Target): number {
  if (of === 'highest') return Math.max(...ours)
  return median(of === 'ratio' ? ratios(ours, floor) : differences(ours, floor))
}

export function isMet(row: Row, target: Target): boolean {
  const figure = judged(row, target)
  return figure >= (target.atLeast ?? -Infinity) && figure <= (target.atMost ?? Infinity)
}
