import fc from 'fast-check'
import { expect, test } from 'vitest'
import { LineSplitter } from '../../src/verify/lines.ts'

interface Taken {
  readonly text: string
  readonly position: number
}

function split(bytes: Buffer, sizes: readonly number[], lineMax?: number, offset = 0): { lines: Taken[]; splitter: LineSplitter } {
  const splitter = new LineSplitter(offset, lineMax)
  const lines: Taken[] = []
  const buffer = Buffer.alloc(64)
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = Math.min(sizes[i % sizes.length]!, buffer.length)
    // One buffer for all chunks, as a file is read: nothing of the last chunk may be referred to.
    const length = bytes.copy(buffer, 0, at, at + size)
    splitter.push(buffer.subarray(0, length), (line, start, end, position) =>
      lines.push({ text: Buffer.from(line.subarray(start, end)).toString('latin1'), position }),
    )
    buffer.fill('#')
    at += length
  }
  return { lines, splitter }
}

test('cuts at line feeds only, wherever the chunks end', () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom('', 'a', 'bc', '\r', '\u2028', '\u0085', 'x'.repeat(100)), { maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 64 }), { minLength: 1, maxLength: 5 }),
      (parts, sizes) => {
        const bytes = Buffer.from(parts.join('\n'))
        const { lines, splitter } = split(bytes, sizes, undefined, 1000)
        const expected = bytes.toString('latin1').split('\n')
        const rest = expected.pop()!
        expect(lines.map(({ text }) => text)).toEqual(expected)
        let position = 1000
        for (const line of lines) {
          expect(line.position).toBe(position)
          position += line.text.length + 1
        }
        const unended = splitter.rest()
        if (rest === '') expect(unended).toBe(null)
        else
          expect([unended!.position, unended!.length, Buffer.from(unended!.bytes).toString('latin1')]).toEqual([
            position,
            rest.length,
            rest,
          ])
      },
    ),
  )
})

test('hands over one byte more than the limit of a line that is too long, and keeps no more', () => {
  const bytes = Buffer.from(`${'a'.repeat(50)}\n${'b'.repeat(10)}\n${'c'.repeat(11)}\nd\n${'e'.repeat(5000)}`)
  for (const size of [1, 7, 64]) {
    const { lines, splitter } = split(bytes, [size], 10)
    expect(lines).toEqual([
      { text: 'a'.repeat(11), position: 0 },
      { text: 'b'.repeat(10), position: 51 },
      { text: 'c'.repeat(11), position: 62 },
      { text: 'd', position: 74 },
    ])
    expect(splitter.rest()).toMatchObject({ position: 76, length: 5000 })
    expect(splitter.rest()!.bytes).toHaveLength(11)
  }
})
