/** The keys of one object, masked: two that become the same are told apart, so that no member is lost. */
export class NewKeys {
  readonly #mask: (key: string) => string
  readonly #seen = new Set<string>()
  /** Those that are not what they were. */
  readonly #made = new Set<string>()
  /** The number that the next key of this spelling gets: to count up from 2 for each would take its time with many. */
  readonly #next = new Map<string, number>()

  constructor(mask: (key: string) => string) {
    this.#mask = mask
  }

  of(key: string): string {
    const masked = this.#mask(key)
    // A key that was there before it was masked, and stands twice in its own text, is left to its owner.
    if (masked === key && !this.#made.has(key)) {
      this.#seen.add(key)
      return key
    }
    let free = masked
    for (let n = this.#next.get(masked) ?? 2; this.#seen.has(free); n++) {
      free = `${masked} ${n}`
      this.#next.set(masked, n + 1)
    }
    this.#seen.add(free)
    this.#made.add(free)
    return free
  }
}
