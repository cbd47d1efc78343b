import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { nodeFiles } from '../../../src/stores/jsonl/index.ts'
import { LINE_BYTES_MAX } from '../../../src/stores/jsonl/layout.ts'
import { backwardLines, forwardLines, LineCutter } from '../../../src/stores/jsonl/lines.ts'
import type { Lines } from '../../../src/stores/jsonl/lines.ts'
import { Overlay } from '../../../src/stores/jsonl/overlay.ts'
import { segmentAt } from '../../../src/stores/jsonl/layout.ts'
import { hasLostSector } from '../../../src/stores/jsonl/tail-scan.ts'
import { scale } from '../../helpers/scale.ts'
import { tempDir } from '../../helpers/temp.ts'

/** Position and content of each complete line, as plainly as it can be said. */
function plainly(bytes: Buffer, from = 0): [number, string][] {
  const lines: [number, string][] = []
  let start = from
  for (let at = from; at < bytes.length; at++) {
    if (bytes[at] !== 0x0a) continue
    lines.push([start, bytes.toString('latin1', start, at)])
    start = at + 1
  }
  return lines
}

function each({ bytes, base, ends }: Lines): [number, string][] {
  let start = 0
  return ends.map((end) => {
    const line: [number, string] = [base + start, bytes.toString('latin1', start, end)]
    start = end + 1
    return line
  })
}

const content = fc
  .array(fc.oneof(fc.constant('\n'), fc.constant('ab'), fc.constant('\r\n\u2028'), fc.string({ maxLength: 40 })), { maxLength: 60 })
  .map((parts) => Buffer.from(parts.join('')))

test('a cutter finds the lines, however the bytes come', () => {
  fc.assert(
    fc.property(content, fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }), (bytes, sizes) => {
      const cutter = new LineCutter(0)
      const lines: [number, string][] = []
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const size = sizes[i % sizes.length] as number
        lines.push(...cutter.push(bytes.subarray(at, at + size)).flatMap(each))
        at += size
      }
      expect(lines).toEqual(plainly(bytes))
      expect(cutter.position).toBe(bytes.lastIndexOf(0x0a) + 1)
      expect(cutter.unended).toBe(bytes.length - cutter.position)
    }),
    { numRuns: scale(300, 5000) },
  )
})

test('a file is read forwards and backwards in any window', async () => {
  const dir = tempDir()
  let count = 0
  await fc.assert(
    fc.asyncProperty(content, fc.integer({ min: 1, max: 50 }), fc.nat(), async (bytes, blockBytes, pick) => {
      const path = join(dir, `f${count++}`)
      writeFileSync(path, bytes)
      const starts = [0, ...plainly(bytes).map(([start, line]) => start + line.length + 1)]
      const from = starts[pick % starts.length] as number
      const file = await nodeFiles.open(path, 'read')
      const backwards: [number, string][] = []
      for await (const lines of backwardLines(file, from, bytes.length, blockBytes)) backwards.unshift(...each(lines))
      expect(backwards).toEqual(plainly(bytes, from))
      const forwards: [number, string][] = []
      for await (const lines of forwardLines(file, from, bytes.length)) forwards.push(...each(lines))
      expect(forwards).toEqual(plainly(bytes, from))
      await file.close()
    }),
    { numRuns: scale(150, 2000) },
  )
})

test('a line that is too long is cut short, can not pass for a record, and what follows it is found', () => {
  const cutter = new LineCutter(0)
  const block = Buffer.alloc(1024 * 1024, 0x61)
  const found: Lines[] = []
  let length = 0
  for (; length < LINE_BYTES_MAX + 3_000_000; length += block.length) found.push(...cutter.push(block))
  expect(cutter.unended).toBe(length)
  found.push(...cutter.push(Buffer.from('}}\nnext\nrest')))
  expect(found.map(({ base, ends, oversized }) => [base, ends.length, oversized])).toEqual([
    [0, 1, length + 2],
    [length + 3, 1, undefined],
  ])
  expect(found[0]!.bytes.length).toBe(LINE_BYTES_MAX + 1)
  expect(found[0]!.bytes.at(-1)).toBe(0)
  expect(each(found[1]!)).toEqual([[length + 3, 'next']])
  expect([cutter.position, cutter.unended]).toEqual([length + 8, 4])
})

test('lost sectors are told from a zero byte', () => {
  const at = (from: number, to: number, base: number, fileSize = 10_000, isCut = false): boolean => {
    const bytes = Buffer.alloc(3000, 0x61).fill(0, from, to)
    return hasLostSector(bytes, 0, 3000, { base, fileSize, isCut })
  }
  expect(at(0, 0, 0)).toBe(false)
  expect(at(512, 1024, 0)).toBe(true)
  expect(at(512, 1000, 0)).toBe(false)
  expect(at(500, 1024, 0)).toBe(false)
  expect(at(0, 212, 300)).toBe(true)
  expect(at(0, 100, 300)).toBe(false)
  expect(at(2000, 3000, 48, 3048)).toBe(true)
  expect(at(2000, 3000, 48)).toBe(false)
  expect(at(2000, 3000, 48, 100_000, true)).toBe(true)
})

test('an overlay knows what was added and not evicted', () => {
  const overlay = new Overlay(10, 4)
  const segment = segmentAt('/l', 0)
  const add = (first: number, count: number): void => {
    const records = Array.from({ length: count }, (_, i) => ({
      header: { run_id: `r${first + i}`, stream: `s${(first + i) % 3}`, stream_version: first + i },
    }))
    overlay.add(records, { first_seq: first, segment, byte: first * 100, end: (first + count) * 100 })
  }
  for (const [first, count] of [
    [10, 3],
    [13, 1],
    [14, 5],
    [19, 2],
    [21, 1],
  ] as const)
    add(first, count)
  expect(overlay.from).toBe(10)
  for (let seq = 10; seq < 22; seq++) {
    expect(overlay.findRun(`r${seq}`)).toBe(seq)
    expect(overlay.locate(seq)!.first_seq).toBeLessThanOrEqual(seq)
  }
  expect(overlay.locate(16)?.first_seq).toBe(14)
  expect(overlay.locate(22)).toBe(undefined)
  expect(['s0', 's1', 's2', 's3'].map((stream) => overlay.findStream(stream))).toEqual([21, 19, 20, undefined])
  overlay.evict(13)
  expect(overlay.from).toBe(10)
  overlay.evict(14)
  expect(overlay.from).toBe(14)
  expect(overlay.findRun('r13')).toBe(undefined)
  expect(overlay.findRun('r14')).toBe(14)
  overlay.evict(100)
  expect([overlay.from, overlay.findRun('r21'), overlay.findStream('s0')]).toEqual([22, undefined, undefined])
  add(22, 1)
  expect([overlay.from, overlay.findRun('r22')]).toEqual([22, 22])
})
