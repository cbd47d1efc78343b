import fc from 'fast-check'
import { expect, test } from 'vitest'
import { timeMicros } from '../../src/ledger/micros.ts'
import { formatTime } from '../../src/verify/time.ts'
import { TIMES } from '../stores/sql/sample.ts'

test('every µs is exact and in order, also where a number can not hold it', () => {
  expect(TIMES.map((time) => BigInt(timeMicros(time)))).toEqual([
    -62_167_219_200_000_000n,
    BigInt(Date.parse('1684-06-05T04:03:02Z')) * 1000n + 1n,
    -1n,
    1_795_378_533_123_456n,
    1_795_378_533_123_457n,
    1_795_378_534_000_000n,
    253_402_300_799_999_998n,
    253_402_300_799_999_999n,
  ])
  expect(typeof timeMicros('2026-11-22T20:15:33.123456Z')).toBe('number')
})

test('the mirror of formatTime', () => {
  fc.assert(
    fc.property(fc.integer({ min: -8_000_000_000_000_000, max: 8_000_000_000_000_000 }), (us) => {
      expect(timeMicros(formatTime(us))).toBe(us)
    }),
  )
})

test('a text that is no time of the ledger is refused', () => {
  timeMicros('2026-11-22T20:15:33.123456Z')
  for (const text of [
    '',
    '2026-11-22T20:15:33Z',
    '2026-11-22T20:15:33.12345Z',
    '2026-11-22T20:15:33.123456z',
    '2026-11-22T20:15:33.12345xZ',
    '2026-02-30T20:15:33.123456Z',
    '2026-11-22T20:15:33.123456Z ',
    '2026-11-22T20:15:33.123456',
  ]) {
    expect(() => timeMicros(text), text).toThrow(RangeError)
  }
})
