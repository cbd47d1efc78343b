/**
 * Percentiles in bounded memory: exact for the first values, then by a sketch whose error is known. The sketch counts
 * values in buckets that grow by a constant factor: DDSketch, https://arxiv.org/abs/1908.10693 (section 2).
 */

/** So many values are kept as they are. */
export const EXACT_VALUES_MAX = 1024
/** By how much a percentile of the sketch may differ from the value that it stands for, relatively. */
export const SKETCH_ERROR = 0.01

const GAMMA = (1 + SKETCH_ERROR) / (1 - SKETCH_ERROR)
const LOG_GAMMA = Math.log(GAMMA)
/** Milliseconds are recorded with three digits behind the point: what is below this is 0. */
const VALUE_MIN = 0.0005
const VALUE_MAX = 1e15

/** Values from 0, and their percentiles by nearest rank: the smallest value that at least p % of them do not exceed. */
export class Quantiles {
  #count = 0
  #max = 0
  #values: number[] | null = []
  /** By the power of `GAMMA` that bounds the bucket; -Infinity for zeros. At most some 2,100 of them. */
  readonly #buckets = new Map<number, number>()

  get count(): number {
    return this.#count
  }

  get max(): number | null {
    return this.#count === 0 ? null : this.#max
  }

  get isExact(): boolean {
    return this.#values !== null
  }

  /** @param value from 0; what is above 1e15 counts as that */
  add(value: number): void {
    const bounded = Math.min(value, VALUE_MAX)
    this.#count++
    if (bounded > this.#max) this.#max = bounded
    if (this.#values === null) return this.#sketch(bounded)
    this.#values.push(bounded)
    if (this.#values.length > EXACT_VALUES_MAX) this.#giveUpValues()
  }

  #giveUpValues(): void {
    for (const value of this.#values ?? []) this.#sketch(value)
    this.#values = null
  }

  #sketch(value: number): void {
    const bucket = value < VALUE_MIN ? -Infinity : Math.ceil(Math.log(value) / LOG_GAMMA)
    this.#buckets.set(bucket, (this.#buckets.get(bucket) ?? 0) + 1)
  }

  /** @param percent above 0, up to 100 @returns null where there is no value */
  percentile(percent: number): number | null {
    if (this.#count === 0) return null
    const rank = Math.max(1, Math.ceil((percent * this.#count) / 100))
    if (this.#values !== null) return this.#values.toSorted((a, b) => a - b)[rank - 1] as number
    let seen = 0
    for (const [bucket, count] of [...this.#buckets].toSorted(([a], [b]) => a - b)) {
      seen += count
      if (seen < rank) continue
      if (bucket === -Infinity) return 0
      // The middle of the bucket, by relative error.
      return Math.min((2 * GAMMA ** bucket) / (GAMMA + 1), this.#max)
    }
    return this.#max
  }
}
