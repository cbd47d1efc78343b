import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BadLine, readLines } from '../../src/cli/lines.ts'
import type { InputLine } from '../../src/cli/lines.ts'
import { doubledKey } from '../../src/ledger/doubled-key.ts'

async function* chunks(...parts: readonly (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield typeof part === 'string' ? Buffer.from(part) : part
}

async function linesOf(...parts: readonly (string | Uint8Array)[]): Promise<InputLine[]> {
  const lines: InputLine[] = []
  for await (const line of readLines(chunks(...parts))) lines.push(line)
  return lines
}

function shown(line: InputLine): [number, string] {
  return [line.number, line.text instanceof BadLine ? `bad: ${line.text.message}` : line.text]
}

describe('lines', () => {
  test('end at LF, at nothing else, and the last one need not', async () => {
    const lines = await linesOf('a\u2028b\n\nc\rd\n', 'last')
    expect(lines.map(shown)).toEqual([
      [1, 'a\u2028b'],
      [2, ''],
      [3, 'c\rd'],
      [4, 'last'],
    ])
  })
  test('come out the same however the bytes are cut', async () => {
    const bytes = Buffer.from('{"a":"é東"}\n\n{"b":"👩"}\nrest')
    const whole = (await linesOf(bytes)).map(shown)
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: bytes.length }), { maxLength: 8 }), async (cuts) => {
        const at = [0, ...cuts.toSorted((a, b) => a - b), bytes.length]
        const parts = at.slice(1).map((end, i) => bytes.subarray(at[i], end))
        expect((await linesOf(...parts)).map(shown)).toEqual(whole)
      }),
      { seed: 12 },
    )
  })
  test('a byte order mark and bytes that are no UTF-8 are told, line by line', async () => {
    const lines = await linesOf('\ufeff{}\n', Uint8Array.of(0x22, 0xff, 0x22, 0x0a), '{}\n')
    expect(lines.map((line) => line.text instanceof BadLine)).toEqual([true, true, false])
    expect(String(lines[0]?.text)).toMatch(/byte order mark/)
    expect(String(lines[1]?.text)).toMatch(/UTF-8/)
  })
})

describe('a key that is there twice', () => {
  test.each([
    ['{"a":1,"b":2,"a":3}', '/a'],
    ['{"outcome":"failure","outcom\\u0065":"success"}', '/outcome'],
    ['{"a":[{"x":1},{"y":{"z":1,"z":2}}]}', '/a/1/y/z'],
    ['{"a":"\\"b\\":1,\\\\","a":1}', '/a'],
    ['{"__proto__":1,"__proto__":2}', '/__proto__'],
  ])('%s', (text, path) => {
    expect(JSON.parse(text)).toBeDefined()
    expect(doubledKey(text)).toBe(path)
  })
  test.each(['{"a":{"a":{"a":["a","a"]}},"b":"a"}', '[]', '{"a":"{\\"b\\":1,\\"b\\":2}"}', '"a"', '{"a":"\\\\","b":"\\\\\\""}'])(
    'none in %s',
    (text) => {
      expect(JSON.parse(text)).toBeDefined()
      expect(doubledKey(text)).toBeNull()
    },
  )
  test('none in what JSON.stringify writes', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 4 }), (text) => {
        expect(doubledKey(JSON.stringify(JSON.parse(text)))).toBeNull()
      }),
      { seed: 13 },
    )
  })
  test('is found wherever it is put', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue(), { minKeys: 1 }), (value) => {
        const text = JSON.stringify(value)
        const key = JSON.stringify(Object.keys(JSON.parse(text) as object)[0])
        expect(doubledKey(`${text.slice(0, -1)},${key}:0}`)).not.toBeNull()
        expect(doubledKey(`{"outer":[${text.slice(0, -1)},${key}:0}]}`)).toMatch(/^\/outer\/0\//)
      }),
      { seed: 14 },
    )
  })
})
