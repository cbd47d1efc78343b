import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ByteIndex } from '../../src/verify/byte-index.ts'
import { Memory } from '../../src/verify/bytes.ts'

/** The id's bytes somewhere in memory, other bytes around them. */
function place(id: string, before: number, behind: number): { memory: Memory; start: number; end: number } {
  const inner = Buffer.from(id)
  const bytes = new Uint8Array(before + inner.length + behind).fill(0x78)
  bytes.set(inner, before)
  const memory = new Memory()
  memory.view(bytes)
  return { memory, start: before, end: before + inner.length }
}

test('numbers ids as a Map does, wherever they lie in memory', () => {
  const id = fc.oneof(
    fc.constantFrom('a', 'ab', 'abc', 'abcd', 'abcde', 'x', 'xx', '\u20ac'),
    fc.string({ minLength: 1, maxLength: 20 }).filter((text) => !text.includes('\0')),
  )
  fc.assert(
    fc.property(fc.array(fc.tuple(id, fc.nat(5), fc.nat(9)), { maxLength: 60 }), (adds) => {
      const index = new ByteIndex(1000)
      const numbers = new Map<string, number>()
      for (const [text, before, behind] of adds) {
        if (!numbers.has(text)) numbers.set(text, numbers.size)
        const { memory, start, end } = place(text, before, behind)
        expect(index.add(memory, start, end)).toBe(numbers.get(text))
        expect(index.size).toBe(numbers.size)
      }
    }),
  )
})

test('keeps tens of thousands apart, long ones too, and says when there is no more room', () => {
  const index = new ByteIndex(20_000)
  const add = (text: string): number => {
    const { memory, start, end } = place(text, 3, 8)
    return index.add(memory, start, end)
  }
  for (let i = 0; i < 20_000; i++) expect(add(`run-${i}-${'y'.repeat(i % 90)}`)).toBe(i)
  for (let i = 0; i < 20_000; i += 7) expect(add(`run-${i}-${'y'.repeat(i % 90)}`)).toBe(i)
  expect(add('one more')).toBe(-1)
  expect(add('run-0-')).toBe(0)
  expect(new ByteIndex(10).add(place('z'.repeat(10_000), 0, 0).memory, 0, 10_000)).toBe(-1)
})
