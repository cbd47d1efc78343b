/** From times to figures: medians, and how far the runs lay apart. */

export interface Measure {
  readonly name: string
  /** Records a second, one figure a round. */
  readonly rates: readonly number[]
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? (sorted[middle] as number) : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}

const thousands = (rate: number): string => (rate >= 10_000 ? `${(rate / 1000).toFixed(1)} k` : rate.toFixed(0))

/** Median, with the lowest and the highest round. */
export function spread({ rates }: Measure): string {
  return `${thousands(median(rates))} (${thousands(Math.min(...rates))} to ${thousands(Math.max(...rates))})`
}

/** Median of the ratios round by round: both were measured right after each other, so the machine's moods cancel out. */
export function ratio(ours: Measure, floor: Measure): number {
  return median(ours.rates.map((rate, round) => rate / (floor.rates[round] as number)))
}
