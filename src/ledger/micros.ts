/** Times in the ledger's spelling as numbers, for index columns. */
import { parseTime } from '../verify/time.ts'

/** Most records are of the second of the one before, so the last second's µs are remembered. */
let lastSecond = ''
let lastSecondUs = 0

/**
 * µs since the epoch, exact: a bigint where a number can't hold it (before 1685 and after 2255).
 * @throws RangeError for a text that is not a time in the ledger's spelling.
 */
export function timeMicros(text: string): number | bigint {
  // `2026-11-22T20:15:33.` and six digits.
  const second = text.slice(0, 20)
  if (second !== lastSecond) {
    const us = parseTime(`${second}000000Z`)
    if (us === null) throw new RangeError(`not a time of the ledger: ${text}`)
    lastSecond = second
    lastSecondUs = us
  }
  let fraction = text.length === 27 && text.charCodeAt(26) === 0x5a ? 0 : Number.NaN
  for (let i = 20; i < 26; i++) {
    const digit = text.charCodeAt(i) - 0x30
    fraction = digit >= 0 && digit <= 9 ? fraction * 10 + digit : Number.NaN
  }
  if (Number.isNaN(fraction)) throw new RangeError(`not a time of the ledger: ${text}`)
  const us = lastSecondUs + fraction
  // Whole seconds are exact as a number in all four-digit years (multiples of 2^6), their sum with a fraction is not.
  return Number.isSafeInteger(us) ? us : BigInt(lastSecondUs) + BigInt(fraction)
}
