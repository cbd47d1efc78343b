import { expect, test } from 'vitest'
import { Misuse } from '../../src/cli/errors.ts'
import { criteriaOf, integerOf, timeOf } from '../../src/cli/filters.ts'

test('times in any zone, and dates, in the spelling of the ledger', () => {
  expect(timeOf('--since', '2026-02-08T05:00:00+01:00')).toBe('2026-02-08T04:00:00.000000Z')
  expect(timeOf('--since', '2026-02-08T04:00:00.5Z')).toBe('2026-02-08T04:00:00.500000Z')
  expect(timeOf('--since', '2026-02-08')).toBe('2026-02-08T00:00:00.000000Z')
})

test('a time without a zone is told how to get one', () => {
  expect(() => timeOf('--until', '2026-02-08T04:00:00')).toThrow(/--until .* names no zone.*2026-02-08T04:00:00Z/)
  expect(() => timeOf('--until', '2026-02-08 04:00')).toThrow(Misuse)
})

test.each(['yesterday', '2026-02-30', '2026-02-08T25:00:00Z', '', '-7d', '2026-02-08T04:00:60Z'])('%j is no time', (text) => {
  expect(() => timeOf('--since', text)).toThrow(/--since .* is no time/)
})

test('an outcome that is none is told which there are', () => {
  expect(() => criteriaOf({ outcome: ['success', 'Failure'] })).toThrow(/"Failure".*success, failure, denied/)
  expect(criteriaOf({ outcome: ['success', 'failure'], tag: ['a'] })).toEqual({ outcome: ['success', 'failure'], tag: ['a'] })
})

test.each(['-1', '1.5', '1e3', '', 'ten', '0x10', '99999999999999999999'])('%j is no whole number from 0', (text) => {
  expect(() => integerOf('--limit', text, 0)).toThrow(Misuse)
})
