import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { asFilter, asRange, asSelection, formatCursor, formatRankCursor } from '../../src/ledger/query.ts'

describe('asSelection', () => {
  test('says what an empty query means', () => {
    expect(asSelection({})).toEqual({
      order: 'oldest',
      limit: 100,
      text: null,
      offset: 0,
      selection: { filter: {}, from: 0, before: Infinity, reverse: false, limit: 101 },
    })
  })

  test('turns one value and several into lists', () => {
    expect(asFilter({ actor: 'a', outcome: ['failure', 'denied'], tag: 't' })).toEqual({
      actor: ['a'],
      outcome: ['failure', 'denied'],
      tags: ['t'],
    })
  })

  test('spells every time as the ledger does', () => {
    expect(asFilter({ since: '2026-02-08T05:00:00+02:00', recorded_until: new Date('2026-02-08T04:00:00Z') })).toEqual({
      since: '2026-02-08T03:00:00.000000Z',
      recorded_until: '2026-02-08T04:00:00.000000Z',
    })
  })

  test.each([
    [{ actors: 'a' }, TypeError],
    [{ actor: 1 }, TypeError],
    [{ outcome: 'ok' }, RangeError],
    [{ since: '2026-02-08T04:00:00' }, RangeError],
    [{ until: '2026-02-30T04:00:00Z' }, RangeError],
    [{ limit: 0 }, RangeError],
    [{ limit: 1.5 }, RangeError],
    [{ limit: 10_001 }, RangeError],
    [{ order: 'random' }, RangeError],
    [{ cursor: 'x1' }, RangeError],
    [{ cursor: 'n5' }, RangeError],
    [{ cursor: 'o05' }, RangeError],
    [{ cursor: 'r5.1' }, RangeError],
    [{ order: 'rank' }, RangeError],
    [{ order: 'rank', text: 'a', cursor: 'o5' }, RangeError],
    [{ order: 'rank', text: 'a', cursor: 'r5' }, RangeError],
    [{ order: 'rank', text: 'a', cursor: 'r5.0' }, RangeError],
    [{ text: 1 }, TypeError],
    [{ text: 'a'.repeat(4097) }, RangeError],
  ])('refuses %j', (query, error) => {
    expect(() => asSelection(query as never)).toThrow(error as never)
  })

  test('a cursor of a ranking names the records that were ranked, and how many places were read', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 1e9 }), (before, places) => {
        const asked = asSelection({ text: 'a', order: 'rank', cursor: formatRankCursor(before, places) })
        expect(asked).toMatchObject({ offset: places, selection: { from: 0, before, reverse: false } })
      }),
    )
  })

  test('a cursor goes on behind the record it names, in both orders', () => {
    fc.assert(
      fc.property(fc.nat(), fc.constantFrom('oldest' as const, 'newest' as const), (seq, order) => {
        const { selection } = asSelection({ order, cursor: formatCursor(order, seq) })
        if (order === 'oldest') expect(selection).toMatchObject({ from: seq + 1, before: Infinity, reverse: false })
        else expect(selection).toMatchObject({ from: 0, before: seq, reverse: true })
      }),
    )
  })
})

describe('asRange', () => {
  test.each([
    [{}, { from: 0, before: Infinity, reverse: false, limit: Infinity }],
    [{ from: 5 }, { from: 5, before: Infinity }],
    [
      { after: 5, limit: 2 },
      { from: 6, before: Infinity, limit: 2 },
    ],
    [
      { from: 5, reverse: true },
      { from: 0, before: 6, reverse: true },
    ],
    [
      { after: 5, reverse: true },
      { from: 0, before: 5, reverse: true },
    ],
    [{ stream: 's' }, { filter: { stream: ['s'] } }],
  ])('%j', (range, selection) => {
    expect(asRange(range)).toMatchObject(selection)
  })

  test.each([
    { from: 1, after: 1 },
    { from: -1 },
    { from: 0.5 },
    { limit: 0 },
    { form: 1 },
    { before: -1 },
    { before: 3, reverse: true },
    { where: { text: 'a' } },
    { where: { stream: 'a' }, stream: 'b' },
    { where: { typ: 'a' } },
  ] as object[])('refuses %j', (range) => {
    expect(() => asRange(range)).toThrow()
  })
})
