/** Where a record begins in a segment, found by halving: every one of them, and nothing in a file that is out of order. */
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { cutSegments, placeOf } from '../../../src/stores/jsonl/audit-range.ts'
import { nodeFiles } from '../../../src/stores/jsonl/files.ts'
import { SampleChain } from '../../../src/testing/sample-chain.ts'
import { tempDir } from '../../helpers/temp.ts'

/** Lines of very different lengths, 2 MB of them. */
function linesOf(count: number): string[] {
  const chain = new SampleChain(7)
  for (let seq = 0; seq < count; seq++) {
    const length = seq % 101 === 7 ? 90_000 : seq % 13 === 0 ? 4000 : 10
    chain.accept(chain.seal([{ entry: { text: 'x'.repeat(length) } }]))
  }
  return chain.lines
}

test('every record is found at its byte, and no other', async () => {
  const lines = linesOf(1200)
  const path = join(tempDir(), 'lines.jsonl')
  writeFileSync(path, lines.map((line) => `${line}\n`).join(''))
  const file = await nodeFiles.open(path, 'read')
  const size = await file.size()
  let byte = 0
  for (const [seq, line] of lines.entries()) {
    expect(await placeOf(file, size, seq), `record ${seq}`).toBe(byte)
    byte += Buffer.byteLength(line) + 1
  }
  expect(byte).toBe(size)
  expect(await placeOf(file, size, lines.length)).toBeNull()
  await file.close()
})

test('a cut is at a record, and about where it was asked for', async () => {
  const lines = linesOf(1200)
  const dir = tempDir()
  const starts = [0, 500, 501, 900]
  const segments = starts.map((first_seq) => ({ first_seq, name: `${first_seq}`, path: join(dir, `${first_seq}`) }))
  for (const [i, { first_seq, path }] of segments.entries())
    writeFileSync(
      path,
      lines
        .slice(first_seq, starts[i + 1] ?? lines.length)
        .map((line) => `${line}\n`)
        .join(''),
    )
  const ends = lines.map(() => 0)
  lines.reduce((sum, line, seq) => (ends[seq] = sum + Buffer.byteLength(line) + 1), 0)
  const total = ends.at(-1) as number
  for (let share = 0; share < 1; share += 0.03) {
    const cut = await cutSegments(nodeFiles, segments, share)
    expect(cut?.bytes).toBe(total)
    const before = ends[(cut?.seq ?? 0) - 1] as number
    expect(Math.abs(before - total * share), `share ${share}`).toBeLessThan(100_000)
  }
  expect(await cutSegments(nodeFiles, [], 0.5)).toBeNull()
})

test('in a file without order or without records nothing is found, and nothing is read for ever', async () => {
  const lines = linesOf(600)
  const path = join(tempDir(), 'lines.jsonl')
  writeFileSync(
    path,
    lines
      .toReversed()
      .map((line) => `${line}\n`)
      .join(''),
  )
  const file = await nodeFiles.open(path, 'read')
  for (const seq of [0, 100, 599]) expect([null, ...byteStarts(path)]).toContain(await placeOf(file, await file.size(), seq))
  await file.close()
  writeFileSync(path, Buffer.alloc(3_000_000, 0x41))
  appendFileSync(path, '\n')
  const junk = await nodeFiles.open(path, 'read')
  expect(await placeOf(junk, await junk.size(), 5)).toBeNull()
  expect(await cutSegments(nodeFiles, [{ first_seq: 0, name: 'lines', path }], 0.5)).toBeNull()
  await junk.close()
})

function byteStarts(path: string): number[] {
  const bytes = readFileSync(path)
  const starts = [0]
  for (let at = bytes.indexOf(0x0a); at !== -1; at = bytes.indexOf(0x0a, at + 1)) starts.push(at + 1)
  return starts
}
