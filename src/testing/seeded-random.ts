import type { Random } from '../ledger/random.ts'

/**
 * Randomness that a seed repeats, so that a test gives the same ledger twice. NEVER in production: whoever knows the
 * seed knows every salt, and can then guess what a withheld entry said.
 */
export interface SeededRandom extends Random {
  /** An integer from 0 to `end - 1`. */
  below(end: number): number
  /** True in `share` of the cases, from 0 to 1. */
  chance(share: number): boolean
  /** One of the items, which are not empty. */
  pick<Item>(items: readonly Item[]): Item
}

/** sfc32 (Chris Doty-Humphrey, PractRand) on a 32-bit seed: small, and good enough to find bugs with. */
export function seededRandom(seed: number): SeededRandom {
  if (!Number.isSafeInteger(seed)) throw new RangeError(`a seed is an integer, not ${seed}`)
  let a = 0x9e3779b9
  let b = 0x243f6a88 ^ Math.floor(seed / 0x1_0000_0000)
  let c = 0xb7e15162 ^ seed
  let counter = 1

  function word(): number {
    const sum = (a + b + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = ((c << 21) | (c >>> 11)) + sum
    return sum >>> 0
  }

  // The first words still show the seed.
  for (let i = 0; i < 15; i++) word()

  const random: SeededRandom = {
    bytes(length) {
      const bytes = new Uint8Array(length)
      for (let i = 0; i < length; i++) bytes[i] = word() & 0xff
      return bytes
    },
    below: (end) => Math.floor((word() / 0x1_0000_0000) * end),
    chance: (share) => word() < share * 0x1_0000_0000,
    pick(items) {
      if (items.length === 0) throw new RangeError('there is nothing to pick from')
      return items[random.below(items.length)]!
    },
  }
  return random
}
