/** Where values begin and end in a stream of JSON, however it is cut into chunks. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ARRAY_END, JsonItems } from '../../../src/ledger/import/json-items.ts'
import { scale } from '../../helpers/scale.ts'

type Found = string | { readonly fault: string; readonly line: number }

function itemsOf(bytes: Uint8Array, { step = bytes.length, lines = false, max = 1e6 } = {}): Found[] {
  const items = new JsonItems(max, lines)
  const found: Found[] = []
  const take = (more: ReturnType<JsonItems['push']>): void => {
    for (const item of more)
      found.push(item === ARRAY_END ? ']' : item.text === null ? { fault: item.fault!, line: item.line } : item.text.trim())
  }
  for (let at = 0; at < bytes.length; at += step) take(items.push(bytes.slice(at, at + step)))
  take(items.end())
  return found
}

const of = (text: string, options = {}): Found[] => itemsOf(Buffer.from(text), options)

describe('the forms of a file', () => {
  test.each<[string, string, Found[]]>([
    ['nothing', ' \n ', []],
    ['an array', '[{"a":"]},["},\n [1,[2]] ]\n', ['{"a":"]},["}', '[1,[2]]', ']']],
    ['an empty array', '[ ]', [']']],
    ['an object', '{\n"a": [1, {"b": "\\"}"}]\n}\n', ['{\n"a": [1, {"b": "\\"}"}]\n}']],
    ['lines of objects', '{"a":1}\n\n{"b":[2]}\r\n{"c":3}', ['{"a":1}', '{"b":[2]}', '{"c":3}']],
    ['lines of arrays', '[1,2]\n[3]\n', ['1', '2', ']', '[3]']],
    ['a byte order mark', '\ufeff[1]', ['1', ']']],
    ['no JSON at all', 'run_id,agent\n1,2\n', ['run_id,agent', '1,2']],
  ])('%s', (_, text, expected) => {
    for (let step = 1; step <= text.length + 1; step++) expect(of(text, { step }), `in chunks of ${step}`).toEqual(expected)
  })

  test('lines from the start, where the first looks like a document', () => {
    expect(of('[1,\n{"a":\n2\n', { lines: true })).toEqual(['[1,', '{"a":', '2'])
  })
})

describe('what is wrong', () => {
  test.each<[string, string, Found[]]>([
    ['torn in an item', '[1,\n{"a":', ['1', { fault: 'torn', line: 2 }]],
    ['torn behind an item', '[1\n', [{ fault: 'torn', line: 1 }]],
    ['torn behind a comma', '[1,\n', ['1', { fault: 'torn', line: 2 }]],
    ['torn in an object', '\n{"a": "', [{ fault: 'torn', line: 2 }]],
    ['a comma too many', '[1,,2,]', ['1', '', '2', '', ']']],
    ['something behind the document', '[1] x\n{"a":1}', ['1', ']', 'x', '{"a":1}']],
  ])('%s', (_, text, expected) => {
    for (const step of [1, 2, 3, 100]) expect(of(text, { step })).toEqual(expected)
  })

  test('a part of a byte order mark', () => {
    expect(itemsOf(Uint8Array.of(0xef, 0xbb, 0x5b, 0x5d), { step: 1 })).toEqual([{ fault: 'not_utf8', line: 1 }])
  })

  test('bytes that are not UTF-8, and values over the limit, spoil themselves alone', () => {
    const bytes = Buffer.from('[{"a":1},\n"bad",\n"long long long",4]')
    bytes[bytes.indexOf('bad')] = 0xff
    for (const step of [1, 5, 100]) {
      expect(itemsOf(bytes, { step, max: 12 })).toEqual([
        '{"a":1}',
        { fault: 'not_utf8', line: 2 },
        { fault: 'too_large', line: 3 },
        '4',
        ']',
      ])
    }
  })
})

test('any values, in any chunks', () => {
  fc.assert(
    fc.property(
      fc.array(fc.jsonValue(), { minLength: 1 }),
      fc.integer({ min: 0, max: 3 }),
      fc.integer({ min: 1, max: 40 }),
      (values, indent, step) => {
        const document = JSON.stringify(values, null, indent)
        const parsed = of(document, { step }).slice(0, -1)
        expect(parsed.map((text) => JSON.parse(text as string) as unknown)).toEqual(JSON.parse(document))
        const lines = values.map((value) => `${JSON.stringify(value)}\n`).join('')
        expect(of(lines, { step, lines: true }).map((text) => JSON.parse(text as string) as unknown)).toEqual(JSON.parse(document))
      },
    ),
    { numRuns: scale(200, 5000) },
  )
})
