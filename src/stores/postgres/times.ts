/** Times of the ledger as PostgreSQL has them: µs, exact for all its years. */
import { parseTime } from '../../verify/time.ts'

/** PostgreSQL counts µs from 2000-01-01. */
export const POSTGRES_EPOCH_US = 946_684_800_000_000n

/** Most records are of the second of the one before, so the last second's µs are remembered. */
let lastSecond = ''
let lastSecondUs = 0n

/** µs since 1970. @throws RangeError for a text that is not a time in the ledger's spelling */
export function timeMicros(text: string): bigint {
  const second = text.slice(0, 20)
  if (second !== lastSecond) {
    const us = parseTime(`${second}000000Z`)
    if (us === null) throw new RangeError(`not a time of the ledger: ${text}`)
    lastSecond = second
    // Whole seconds are exact as a number in all four-digit years.
    lastSecondUs = BigInt(us)
  }
  const fraction = text.slice(20, 26)
  if (text.length !== 27 || text[26] !== 'Z' || !/^[0-9]{6}$/.test(fraction)) throw new RangeError(`not a time of the ledger: ${text}`)
  return lastSecondUs + BigInt(fraction)
}
