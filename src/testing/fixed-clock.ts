import type { Clock } from '../ledger/clock.ts'
import { parseTime } from '../verify/time.ts'

/** A clock that stands still until a test moves it. */
export interface FixedClock extends Clock {
  /** Time passes: both clocks go on by `us` µs (from 0). */
  advance(us: number): void
  /** Somebody sets the wall clock, to µs since the epoch or to a time in the ledger's spelling; durations don't notice. */
  set(wall: number | string): void
}

function microseconds(wall: number | string): number {
  const us = typeof wall === 'number' ? wall : parseTime(wall)
  if (us === null || !Number.isSafeInteger(us)) throw new RangeError(`not a time such as 2026-11-22T20:15:33.123456Z, nor µs: ${wall}`)
  return us
}

/** A clock that shows `start` (µs since the epoch, or a time in the ledger's spelling). */
export function fixedClock(start: number | string = '2026-01-01T00:00:00.000000Z'): FixedClock {
  let wall_us = microseconds(start)
  let monotonic_us = 0
  return {
    now: () => wall_us,
    monotonic: () => monotonic_us / 1000,
    advance(us) {
      if (!Number.isSafeInteger(us) || us < 0)
        throw new RangeError(`time passes by whole µs from 0, not ${us}; use set to move the wall clock`)
      wall_us += us
      monotonic_us += us
    },
    set(wall) {
      wall_us = microseconds(wall)
    },
  }
}
