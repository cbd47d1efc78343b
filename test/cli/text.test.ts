import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { wantsColour } from '../../src/cli/terminal.ts'
import { bytesText, counted, cut, folded, grouped, printable, table, widthOf } from '../../src/cli/text.ts'
import type { Column } from '../../src/cli/text.ts'

describe('printable', () => {
  test('shows what could steer a terminal or turn text around', () => {
    expect(printable('a\x1b[31mb')).toBe('a\\u001b[31mb')
    expect(printable('\u009b31m')).toBe('\\u009b31m')
    expect(printable('pay\u202eme')).toBe('pay\\u202eme')
    expect(printable('two\nlines\tand\r')).toBe('two\\nlines\\tand\\r')
    expect(printable('\ufeff\u2028\u2066')).toBe('\\ufeff\\u2028\\u2066')
  })
  test('keeps line breaks and tabs where lines are asked for, and nothing else', () => {
    expect(printable('two\nlines\tand\r\x07', { lines: true })).toBe('two\nlines\tand\\r\\u0007')
  })
  test('leaves the writing of the world as it is', () => {
    const text = 'Grüße, 東京, עברית, 👩🏽‍🚀, naïve'
    expect(printable(text)).toBe(text)
  })
})

describe('widths', () => {
  test('colour takes none, wide characters take two, marks take none', () => {
    expect(widthOf('\x1b[31mred\x1b[39m')).toBe(3)
    expect(widthOf('東京')).toBe(4)
    expect(widthOf('e\u0301')).toBe(1)
  })
  test('what is cut is never wider than asked, and never splits a character', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 1, max: 40 }), (text, width) => {
        const short = cut(printable(text), width)
        expect(widthOf(short)).toBeLessThanOrEqual(width)
        expect(short.isWellFormed()).toBe(printable(text).isWellFormed())
      }),
      { seed: 11 },
    )
  })
})

describe('tables', () => {
  interface Row {
    readonly id: string
    readonly name: string
    readonly note: string
  }
  const columns: Column<Row>[] = [
    { title: 'id', text: ({ id }) => id, align: 'right' },
    { title: 'name', text: ({ name }) => name, width_min: 5 },
    { title: 'note', text: ({ note }) => note, width_min: 6, drop: 1 },
  ]
  const rows: Row[] = [
    { id: '7', name: 'short', note: '' },
    { id: '12', name: 'a rather long name', note: 'and a note that goes on' },
  ]
  const set = (width: number, which: readonly Row[] = rows): string[] => table(which, columns, { width, title: (text) => text })

  test('with room for all', () => {
    expect(set(Infinity)).toEqual(['id  name                note', ' 7  short', '12  a rather long name  and a note that goes on'])
  })
  test('the widest column gives way first, then columns are left out', () => {
    expect(set(30)).toEqual(['id  name          note', ' 7  short', '12  a rather lo…  and a note …'])
    expect(set(17)).toEqual(['id  name   note', ' 7  short', '12  a ra…  and a…'])
    expect(set(14)).toEqual(['id  name', ' 7  short', '12  a rather …'])
  })
  test('no line is wider than asked, as long as the narrowest fits', () => {
    for (let width = 9; width < 60; width++) for (const line of set(width)) expect(widthOf(line)).toBeLessThanOrEqual(width)
  })
  test('a column in which nothing stands is left out', () => {
    expect(set(Infinity, [rows[0]!])).toEqual(['id  name', ' 7  short'])
  })
  test('a cell can break neither line nor colour', () => {
    const [, line] = set(Infinity, [{ id: '1', name: 'a\nb\x1b[0m', note: '' }])
    expect(line).toBe(' 1  a\\nb\\u001b[0m')
  })
})

test('text is folded at blanks', () => {
  expect(folded('one two three', 7)).toEqual(['one two', 'three'])
  expect(folded('a verylongword b', 4)).toEqual(['a', 'verylongword', 'b'])
  expect(folded('one two', Infinity)).toEqual(['one two'])
})

test('figures as people read them', () => {
  expect(grouped(1234567)).toBe('1,234,567')
  expect(grouped(999)).toBe('999')
  expect(counted(1, 'record')).toBe('1 record')
  expect(counted(2000, 'record')).toBe('2,000 records')
  expect(bytesText(1)).toBe('1 byte')
  expect(bytesText(999)).toBe('999 bytes')
  expect(bytesText(123_456)).toBe('123 kB')
  expect(bytesText(1_500_000_000)).toBe('1.50 GB')
})

test('colour: NO_COLOR wins, then FORCE_COLOR, then whether it is a terminal', () => {
  expect(wantsColour({}, true)).toBe(true)
  expect(wantsColour({}, false)).toBe(false)
  expect(wantsColour({ NO_COLOR: '1' }, true)).toBe(false)
  expect(wantsColour({ NO_COLOR: '' }, true)).toBe(true)
  expect(wantsColour({ NO_COLOR: '1', FORCE_COLOR: '1' }, true)).toBe(false)
  expect(wantsColour({ FORCE_COLOR: '1' }, false)).toBe(true)
  expect(wantsColour({ FORCE_COLOR: '0' }, true)).toBe(false)
  expect(wantsColour({ TERM: 'dumb' }, true)).toBe(false)
})
