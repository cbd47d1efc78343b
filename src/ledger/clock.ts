/** Time, passed in so that tests can set it. */
export interface Clock {
  /** Wall clock: µs since the Unix epoch, an integer. May go back. */
  now(): number
  /** For durations: ms, never goes back, may have a fraction. */
  monotonic(): number
}

export const systemClock: Clock = {
  now: () => Date.now() * 1000,
  monotonic: () => performance.now(),
}
