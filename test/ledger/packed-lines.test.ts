/** Files of compressed lines: what is packed comes back, by this code and by others'; what is damaged is an error. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { constants, gunzipSync, gzipSync, zstdCompressSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { chatRecords, readRun } from '../../src/ledger/import/chat-run.ts'
import { PACKED_LIMITS, packLines } from '../../src/ledger/packed-lines.ts'
import type { PackedTable } from '../../src/ledger/packed-lines.ts'
import { findLine, frameAt, readFrame, readTable } from '../../src/ledger/packed-reading.ts'
import type { ByteSource } from '../../src/ledger/packed-reading.ts'
import { openBytes, readLines } from '../../src/ledger/packed-source.ts'
import { makeRecord, sha256Hex } from '../helpers/make-lines.ts'
import { packed, sourceOf } from '../helpers/packed.ts'
import { scale } from '../helpers/scale.ts'
import { tempDir } from '../helpers/temp.ts'

const line = (seq: number, text = 'an answer'): Buffer => Buffer.from(makeRecord(seq, 'GENESIS', 0, { entry: { raw_output: text } }).line)
const joined = (lines: readonly Uint8Array[]): Buffer => Buffer.concat(lines.flatMap((each) => [each, Buffer.from('\n')]))

async function linesIn(source: ByteSource, foreign = false): Promise<Buffer> {
  const lines: Uint8Array[] = []
  for await (const chunk of readLines(source, { foreign })) lines.push(...chunk)
  return joined(lines)
}

/** Lines that compress badly, so that a few make several frames. */
function noisy(count: number, bytes: number, step = 1): Buffer[] {
  const noise = (i: number): string => Array.from({ length: Math.ceil(bytes / 64) }, (_, at) => sha256Hex(`${i} ${at}`)).join('')
  return Array.from({ length: count }, (_, i) => line(i * step, noise(i)))
}

test('whatever is packed comes back, whole and line by line', async () => {
  const lengths = fc.array(
    fc.record({ gap: fc.integer({ min: 1, max: 1000 }), length: fc.constantFrom(0, 10, 3000, 100_000, 262_000, 300_000) }),
    { maxLength: 12 },
  )
  await fc.assert(
    fc.asyncProperty(lengths, fc.integer({ min: 1, max: 5 }), async (wanted, chunk) => {
      let seq = -1
      const lines = wanted.map(({ gap, length }) => line((seq += gap), 'x'.repeat(length)))
      const { file, table } = await packed(lines, chunk)
      const source = sourceOf(file)
      expect(await readTable(source)).toEqual(table)
      expect((await linesIn(source)).equals(joined(lines))).toBe(true)
      expect([table.lines, table.last_seq, table.bytes, table.file_bytes]).toEqual([lines.length, seq, joined(lines).length, file.length])
      let at = -1
      for (const [i, { gap }] of wanted.entries()) {
        at += gap
        expect(Buffer.from((await findLine(source, table, at)) ?? '').equals(lines[i] as Buffer)).toBe(true)
        if (gap > 1) expect(await findLine(source, table, at - 1)).toBe(null)
      }
      expect(await findLine(source, table, seq + 1)).toBe(null)
      for (const frame of table.frames)
        expect(frame.bytes <= PACKED_LIMITS.frame_bytes || (await readFrame(source, frame)).indexOf(0x0a) === frame.bytes - 1).toBe(true)
    }),
    { numRuns: scale(20, 300) },
  )
})

test('one line costs one frame, and the table one read', async () => {
  const { file } = await packed(noisy(400, 3000, 2))
  const source = sourceOf(file)
  const table = await readTable(source)
  expect(source.reads).toHaveLength(1)
  expect(table.frames.length).toBeGreaterThan(4)
  source.reads.length = 0
  await findLine(source, table, 500)
  expect(source.reads).toEqual([frameAt(table, 500)?.compressed_bytes])
})

test('a table that is larger than one read', async () => {
  // Nobody looks at the frames, so there are none.
  const count = 10_000
  const frames = Array.from({ length: count }, (_, i) => ({
    first_seq: 3 * i,
    offset: 20 * i,
    compressed_bytes: 20,
    bytes: 100,
    position: 100 * i,
  }))
  const positions = Buffer.alloc(32 + 8 * count)
  positions.writeUInt32LE(0x184d2a5d, 0)
  positions.writeUInt32LE(positions.length - 8, 4)
  positions.write('CLDGSEQ1', 8)
  positions.writeBigUInt64LE(BigInt(2 * count), 16)
  positions.writeBigUInt64LE(BigInt(3 * count), 24)
  for (const [i, frame] of frames.entries()) positions.writeBigUInt64LE(BigInt(frame.first_seq), 32 + 8 * i)
  const seek = Buffer.alloc(8 + 8 * (count + 1) + 9)
  seek.writeUInt32LE(0x184d2a5e, 0)
  seek.writeUInt32LE(seek.length - 8, 4)
  for (let i = 0; i <= count; i++) seek.writeUInt32LE(i === count ? positions.length : 20, 8 + 8 * i)
  for (let i = 0; i < count; i++) seek.writeUInt32LE(100, 12 + 8 * i)
  seek.writeUInt32LE(count + 1, seek.length - 9)
  seek.writeUInt32LE(0x8f92eab1, seek.length - 4)
  const file = Buffer.concat([Buffer.alloc(20 * count), positions, seek])
  expect(await readTable(sourceOf(file))).toEqual({
    frames,
    lines: 2 * count,
    last_seq: 3 * count,
    bytes: 100 * count,
    file_bytes: file.length,
  })
})

test('memory of a chunk may be used again for the next one', async () => {
  const lines = noisy(20, 5000)
  const memory = Buffer.alloc(20_000)
  async function* source(): AsyncGenerator<Uint8Array[]> {
    for (const each of lines) {
      memory.fill(0)
      each.copy(memory)
      yield [memory.subarray(0, each.length)]
    }
  }
  const parts: Uint8Array[] = []
  for await (const part of packLines(source())) parts.push(part)
  expect((await linesIn(sourceOf(Buffer.concat(parts)))).equals(joined(lines))).toBe(true)
})

test('what is no ascending record is misuse', async () => {
  for (const lines of [
    [line(1), line(1)],
    [line(2), line(1)],
    [Buffer.from('{}')],
    [Buffer.from('')],
    [Buffer.concat([line(1), Buffer.from('\n'), line(2)])],
  ])
    await expect(packed(lines)).rejects.toThrow(RangeError)
})

test('a source that fails fails the packing, and one that is given up is closed', async () => {
  let closed = 0
  async function* source(fails: boolean): AsyncGenerator<Uint8Array[]> {
    try {
      for (let i = 0; i < 300; i++) yield [line(i, 'y'.repeat(20_000))]
      if (fails) throw new Error('no more')
    } finally {
      closed++
    }
  }
  await expect(
    (async () => {
      for await (const _ of packLines(source(true)));
    })(),
  ).rejects.toThrow('no more')
  for await (const _ of packLines(source(false))) break
  expect(closed).toBe(2)
})

describe('others read it', () => {
  const lines = noisy(300, 2000, 3)
  const has = (command: string): boolean => spawnSync(command, ['--version']).status === 0

  test.skipIf(!has('zstd'))('zstd -d gives the lines, and zstd -t finds nothing wrong', async () => {
    const path = join(tempDir(), 'a.jsonl.zst')
    writeFileSync(path, (await packed(lines)).file)
    execFileSync('zstd', ['-tq', path])
    expect(execFileSync('zstd', ['-dcq', path], { maxBuffer: 1e8 }).equals(joined(lines))).toBe(true)
  })

  test('files of other programs are read: zstd in one frame, of no stated size, and gzip in members', async () => {
    const all = joined(lines)
    const half = joined(lines.slice(0, 150)).length
    const zstd = zstdCompressSync(all)
    const gzip = Buffer.concat([gzipSync(all.subarray(0, half + 7)), gzipSync(all.subarray(half + 7))])
    expect((await linesIn(sourceOf(zstd), true)).equals(all)).toBe(true)
    await expect(linesIn(sourceOf(zstd))).rejects.toThrow(/seek table/)
    expect((await linesIn(sourceOf(gzip, 'test.jsonl.gz'))).equals(all)).toBe(true)
    await expect(linesIn(sourceOf(zstd, 'test.jsonl'))).rejects.toMatchObject({ code: 'unsupported' })
    for (const [file, name] of [
      [zstd, 'a.jsonl.zst'],
      [gzip, 'a.jsonl.gz'],
    ] as const) {
      await expect(linesIn(sourceOf(file.subarray(0, -9), name), true)).rejects.toMatchObject({ code: 'damaged' })
      await expect(linesIn(sourceOf(Buffer.from('{"hash":"'), name), true)).rejects.toMatchObject({ code: 'damaged' })
    }
    await expect(linesIn(sourceOf(gzipSync(all.subarray(0, -1)), 'a.jsonl.gz'))).rejects.toThrow(/middle of a line/)
  })

  test('a file on disk', async () => {
    const path = join(tempDir(), 'a.jsonl.zst')
    const { file, table } = await packed(lines)
    writeFileSync(path, file)
    const source = await openBytes(path)
    expect(await readTable(source)).toEqual(table)
    writeFileSync(path, file.subarray(0, 1000))
    await expect(readFrame(source, table.frames.at(-1)!)).rejects.toMatchObject({ code: 'damaged' })
    await source.close()
    await expect(openBytes(join(path, 'none'))).rejects.toMatchObject({ code: 'not_found' })
  })
})

describe('damage', () => {
  test('each byte that is changed, and each end that is cut off, is an error, or the lines are the same', async () => {
    const lines = noisy(15, 20, 5)
    const all = joined(lines)
    const { file } = await packed(lines)
    const outcome = async (bytes: Buffer): Promise<string> => {
      try {
        return (await linesIn(sourceOf(bytes))).equals(all) ? 'the same' : 'OTHER LINES'
      } catch (error) {
        return (error as { code: string }).code
      }
    }
    const outcomes = new Set<string>()
    for (let at = 0; at < file.length; at += scale(3, 1)) {
      const changed = Buffer.from(file)
      changed[at] = (changed[at] as number) ^ (1 << (at % 8))
      const what = await outcome(changed)
      outcomes.add(what)
      expect(['damaged', 'the same'], `byte ${at}`).toContain(what)
    }
    expect(outcomes).toContain('damaged')
    for (let length = 0; length < file.length; length += 7)
      expect(await outcome(file.subarray(0, length)), `${length} bytes`).toBe('damaged')
  })

  const rewritten = async (change: (view: DataView, table: PackedTable) => void): Promise<ByteSource> => {
    const { file, table } = await packed(noisy(200, 3000))
    change(new DataView(file.buffer, file.byteOffset, file.length), table)
    return sourceOf(file)
  }
  /** Where the entry of a frame is in the seek table. */
  const entry = (view: DataView, table: PackedTable, frame: number): number =>
    view.byteLength - 9 - 8 * (table.frames.length + 1) + 8 * frame

  test.each([
    [
      'more bytes than a frame may have',
      (view: DataView, table: PackedTable) => view.setUint32(entry(view, table, 0) + 4, 0xffff_ffff, true),
    ],
    ['more compressed bytes', (view: DataView, table: PackedTable) => view.setUint32(entry(view, table, 0), 0xffff_ffff, true)],
    ['no bytes', (view: DataView, table: PackedTable) => view.setUint32(entry(view, table, 1) + 4, 0, true)],
    ['more frames than there are', (view: DataView) => view.setUint32(view.byteLength - 9, 900_000, true)],
    ['more frames than any file has', (view: DataView) => view.setUint32(view.byteLength - 9, 0xffff_fffe, true)],
    ['no frame', (view: DataView) => view.setUint32(view.byteLength - 9, 0, true)],
    ['a descriptor of later times', (view: DataView) => view.setUint8(view.byteLength - 5, 0x80)],
    [
      'frames that begin elsewhere',
      (view: DataView, table: PackedTable) => view.setUint32(entry(view, table, 0), view.getUint32(entry(view, table, 0), true) + 1, true),
    ],
  ])('a table that states %s', async (_, change) => {
    await expect(readTable(await rewritten(change))).rejects.toMatchObject({ code: 'damaged' })
  })

  test('a frame that is a bomb: its head, the table and its content say different things', async () => {
    const bomb = zstdCompressSync(Buffer.alloc(50_000_000, 0x20))
    const lie = async (stated: number, compressed = bomb): Promise<unknown> => {
      const frame = { first_seq: 0, offset: 0, compressed_bytes: compressed.length, bytes: stated, position: 0 }
      return readFrame(sourceOf(compressed), frame)
    }
    await expect(lie(1000)).rejects.toMatchObject({ code: 'damaged' })
    // The head is changed to say what the table says; four bytes of content size stand behind the descriptor.
    const forged = Buffer.from(bomb)
    expect(forged[4]! >> 6).toBe(2)
    forged.writeUInt32LE(1000, (forged[4]! & 0x20) === 0 ? 6 : 5)
    await expect(lie(1000, forged)).rejects.toMatchObject({ code: 'damaged' })
    // Two frames in the place of one.
    const one = zstdCompressSync(Buffer.from('{}\n'))
    await expect(lie(3, Buffer.concat([one, bomb]))).rejects.toMatchObject({ code: 'damaged' })
    const streamed = zstdCompressSync(Buffer.from('{}\n'), { params: { [constants.ZSTD_c_contentSizeFlag]: 0 } })
    await expect(lie(3, streamed)).rejects.toMatchObject({ code: 'damaged' })
  })
})

const REAL = join(import.meta.dirname, '../../../shared/data/tau-airline-gpt-4o.json.gz')
const missing = existsSync(REAL) ? null : `${REAL} is not there`
if (missing !== null) console.warn(`skipped, no real calls are packed: ${missing}`)

test.skipIf(missing !== null)('real calls take at most a quarter of their entries', async () => {
  const runs = JSON.parse(gunzipSync(readFileSync(REAL)).toString()) as unknown[]
  const settings = { source: 'packed', agentName: 'assistant' }
  const entries = runs.flatMap((run, index) =>
    [...chatRecords(readRun(run), index, settings)].flatMap((record) => (record.kind === 'call' ? [record.entry] : [])),
  )
  let bytes = 0
  let previous = 'GENESIS'
  const lines = entries.map((entry, seq) => {
    const record = makeRecord(seq, previous, seq, { entry: JSON.parse(JSON.stringify(entry)) as object })
    previous = record.hash
    bytes += Buffer.byteLength(record.entry_text)
    return Buffer.from(record.line)
  })
  const { file } = await packed(lines)
  expect(lines.length).toBe(2454)
  expect(file.length / bytes).toBeLessThan(0.25)
})
