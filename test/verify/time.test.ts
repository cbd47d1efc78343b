import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatTime, formatTimeOfMs, isLedgerTime, normalizeTime, parseTime } from '../../src/verify/time.ts'

// Within these a number holds every µs: 1685 to 2255.
const exactUs = fc.integer({ min: -8_990_000_000_000_000, max: 8_990_000_000_000_000 })

describe('isLedgerTime', () => {
  test.each([
    '2026-11-22T20:15:33.123456Z',
    '0000-01-01T00:00:00.000000Z',
    '9999-12-31T23:59:59.999999Z',
    '2024-02-29T00:00:00.000000Z',
    '2000-02-29T23:59:59.000000Z',
  ])('takes %s', (text) => expect(isLedgerTime(text)).toBe(true))

  test.each([
    '2026-02-30T00:00:00.000000Z',
    '2026-02-29T00:00:00.000000Z',
    '1900-02-29T00:00:00.000000Z',
    '2026-04-31T00:00:00.000000Z',
    '2026-11-22T24:00:00.000000Z',
    '2026-11-22T23:60:00.000000Z',
    '2016-12-31T23:59:60.000000Z',
    '2026-00-22T00:00:00.000000Z',
    '2026-13-22T00:00:00.000000Z',
    '2026-11-00T00:00:00.000000Z',
    '2026-11-22T20:15:33Z',
    '2026-11-22T20:15:33.123Z',
    '2026-11-22T20:15:33.1234567Z',
    '2026-11-22T20:15:33.123456+00:00',
    '2026-11-22t20:15:33.123456z',
    '2026-11-22 20:15:33.123456Z',
    ' 2026-11-22T20:15:33.123456Z',
    '+02026-11-22T20:15:33.12345Z',
    '２026-11-22T20:15:33.123456Z',
    '',
  ])('refuses %j', (text) => {
    expect(isLedgerTime(text)).toBe(false)
    expect(parseTime(text)).toBe(null)
  })
})

test('formatTime and parseTime undo each other, and text order is time order', () => {
  fc.assert(
    fc.property(exactUs, exactUs, (a, b) => {
      expect(parseTime(formatTime(a))).toBe(a)
      expect(formatTime(a) < formatTime(b)).toBe(a < b)
    }),
  )
})

test('formatTimeOfMs agrees with Date in every year', () => {
  fc.assert(
    fc.property(
      fc.date({ noInvalidDate: true, min: new Date('0000-01-01T00:00:00Z'), max: new Date('9999-12-31T23:59:59.999Z') }),
      (date) => {
        expect(formatTimeOfMs(date.getTime())).toBe(date.toISOString().replace('Z', '000Z'))
      },
    ),
  )
})

test.each([Number.NaN, Infinity, 0.5, -62_167_219_200_000_008, 253_402_300_800_000_000])('formatTime refuses %d', (us) => {
  expect(() => formatTime(us)).toThrow(RangeError)
})

describe('normalizeTime', () => {
  test.each([
    ['2026-11-22T20:15:33Z', '2026-11-22T20:15:33.000000Z'],
    ['2026-11-22t20:15:33.5z', '2026-11-22T20:15:33.500000Z'],
    ['2026-11-22 20:15:33.1234569+02:00', '2026-11-22T18:15:33.123456Z'],
    ['2026-11-22T05:00:00-05:30', '2026-11-22T10:30:00.000000Z'],
    ['2026-12-31T23:30:00-01:00', '2027-01-01T00:30:00.000000Z'],
    ['0001-01-01T00:00:00+23:59', '0000-12-31T00:01:00.000000Z'],
    ['9999-12-31T23:59:59.999999Z', '9999-12-31T23:59:59.999999Z'],
  ])('%s is %s', (text, spelled) => expect(normalizeTime(text)).toBe(spelled))

  test.each([
    '2026-11-22T20:15:33',
    '2026-11-22',
    '2026-02-30T00:00:00Z',
    '2016-12-31T23:59:60Z',
    '2026-11-22T20:15:33+24:00',
    '2026-11-22T20:15:33.Z',
    '0000-01-01T00:00:00+00:01',
    '9999-12-31T23:59:59-00:01',
    'yesterday',
  ])('%j is no instant that can be written', (text) => expect(normalizeTime(text)).toBe(null))

  test('keeps every digit in the years where a number of µs could not', () => {
    expect(normalizeTime('9999-12-31T23:59:59.123457+00:00')).toBe('9999-12-31T23:59:59.123457Z')
    expect(normalizeTime('0000-02-29T00:00:00.000001Z')).toBe('0000-02-29T00:00:00.000001Z')
  })
})
