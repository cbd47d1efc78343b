/** From the rounds' figures to medians, and how far the rounds lay apart. */

/** One figure a round. */
export type Series = readonly number[]

export function median(values: Series): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? (sorted[middle] as number) : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}

/** The value below which `share` of them lie. */
export function percentile(values: Series, share: number): number {
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

/** Of what was measured right after each other, so that the machine's moods cancel out. */
export function ratios(ours: Series, floor: Series): Series {
  return ours.map((value, round) => value / (floor[round] as number))
}

export function differences(ours: Series, floor: Series): Series {
  return ours.map((value, round) => value - (floor[round] as number))
}

/** Three digits that count: `48.2 k`, `1843` (as `1.84 k`), `12.7`, `0.45`. */
export function shown(value: number): string {
  if (!Number.isFinite(value)) return String(value)
  if (Math.abs(value) >= 1_000_000) return `${(value / 1_000_000).toPrecision(3)} M`
  if (Math.abs(value) >= 10_000) return `${(value / 1000).toFixed(Math.abs(value) >= 100_000 ? 0 : 1)} k`
  if (Math.abs(value) >= 100) return value.toFixed(0)
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2)
}

/** Median, with the lowest and the highest round. */
export function spread(values: Series): string {
  if (values.length === 1) return shown(values[0] as number)
  return `${shown(median(values))} (${shown(Math.min(...values))} to ${shown(Math.max(...values))})`
}

/**
 * Runs `round` to warm up (unless there is to be one alone, or each warms up by itself) and then `count` times; what it
 * measured, by name, one figure a round.
 */
export async function inRounds<Name extends string>(
  count: number,
  round: () => Promise<Readonly<Record<Name, number>>>,
  warmsUp = count > 1,
): Promise<Readonly<Record<Name, number[]>>> {
  if (warmsUp) await round()
  const series = {} as Record<Name, number[]>
  for (let i = 0; i < count; i++) {
    for (const [name, value] of Object.entries(await round()) as [Name, number][]) (series[name] ??= []).push(value)
  }
  return series
}
