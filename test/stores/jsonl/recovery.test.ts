/** What opening makes of the end of a ledger: torn writes move aside, damage stays where it is, nothing else is touched. */
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openJsonlStore } from '../../../src/stores/jsonl/index.ts'
import { linesOf } from '../../../src/testing/checks.ts'
import type { SampleChain } from '../../../src/testing/sample-chain.ts'
import { damage, lineStarts, makeLedger, plain, segmentNames, segmentPath, withStore } from '../../helpers/jsonl-ledger.ts'
import { problemsOf } from '../../helpers/jsonl-model.ts'
import { tempDir } from '../../helpers/temp.ts'

const OFF = { index: 'off' } as const

/** Opens for writing: what is left of the chain, and what was moved aside. */
async function reopened(
  dir: string,
  index: 'off' | 'background' = 'off',
): Promise<{ lines: string[]; recovered: { bytes: number; moved_to: string; reason: string } | null; problems: string[] }> {
  return withStore(dir, { index }, async (store) => ({
    lines: await linesOf(store),
    recovered: store.recovered,
    problems: await problemsOf(store),
  }))
}

/** The ledger goes on behind what is left. */
async function goesOn(dir: string, chain: SampleChain, left: number): Promise<void> {
  const records = chain.records.splice(left)
  expect(records.length + left).toBeGreaterThan(0)
  await withStore(dir, OFF, async (store) => {
    // Seals anew behind what is left: stream versions are those of a chain that never had the rest.
    await store.append(chain.seal([{ stream: 'after' }, { stream: 'after' }]), chain.head)
  })
}

describe('an unended last line moves aside', () => {
  test.each([1, 2, 10, 100, 300])('cut by %d bytes', async (cut) => {
    const dir = tempDir()
    const chain = await makeLedger(dir, [plain(5)], OFF)
    damage(dir, (bytes) => bytes.subarray(0, bytes.length - cut))
    const before = readFileSync(segmentPath(dir))
    const { lines, recovered, problems } = await reopened(dir)
    expect(lines).toEqual(chain.lines.slice(0, 5))
    expect(problems).toEqual([])
    expect(recovered).toEqual({
      bytes: before.length - statSync(segmentPath(dir)).size,
      moved_to: `torn/${'5'.padStart(20, '0')}-0.bin`,
      reason: 'the last line has no end',
    })
    expect(readFileSync(join(dir, recovered!.moved_to))).toEqual(before.subarray(before.length - recovered!.bytes))
    await goesOn(dir, chain, 5)
  })

  test('until it is noted in the ledger, each opening says so again; afterwards none', async () => {
    const dir = tempDir()
    const chain = await makeLedger(dir, [plain(2)], OFF)
    damage(dir, (bytes) => bytes.subarray(0, bytes.length - 7))
    const first = (await reopened(dir)).recovered
    const second = (await reopened(dir)).recovered
    expect(second).toMatchObject({ bytes: first!.bytes, moved_to: first!.moved_to })
    await goesOn(dir, chain, 2)
    expect((await reopened(dir)).recovered).toBe(null)
    expect(readdirSync(join(dir, 'torn'))).toEqual([`${'2'.padStart(20, '0')}-0.bin`])
  })

  test('the same bytes torn at the same place again make no second copy, others do', async () => {
    const dir = tempDir()
    await makeLedger(dir, [plain(2)], OFF)
    const whole = readFileSync(segmentPath(dir))
    for (const cut of [7, 7, 9]) {
      damage(dir, () => whole.subarray(0, whole.length - cut))
      await reopened(dir)
    }
    expect(readdirSync(join(dir, 'torn')).length).toBe(2)
  })

  test('a whole ledger of one torn line is empty, and its file is used again', async () => {
    const dir = tempDir()
    await makeLedger(dir, [], OFF)
    damage(dir, (bytes) => bytes.subarray(0, 50))
    const { lines, recovered } = await reopened(dir)
    expect([lines, recovered?.bytes]).toEqual([[], 50])
    rmSync(join(dir, 'ledger.json'))
    await expect(makeLedger(dir, [plain(3)], OFF)).resolves.toBeDefined()
    expect(segmentNames(dir).length).toBe(1)
  })
})

describe('lost sectors', () => {
  test('zeros at the end, as a file that grew without its bytes', async () => {
    const dir = tempDir()
    const chain = await makeLedger(dir, [plain(3)], OFF)
    for (const zeros of [1, 511, 5000, 3_000_000]) {
      damage(dir, (bytes) => Buffer.concat([bytes, Buffer.alloc(zeros)]))
      const { lines, recovered } = await reopened(dir)
      expect(lines).toEqual(chain.lines)
      expect(recovered?.bytes).toBeGreaterThanOrEqual(zeros)
    }
  })

  test('any sector of the last batch, with what follows it whole: all from there moves aside', async () => {
    const dir = tempDir()
    const chain = await makeLedger(dir, [plain(2), plain(12)], OFF)
    const whole = readFileSync(segmentPath(dir))
    const starts = lineStarts(whole)
    const batch = starts[3] as number
    for (let sector = Math.ceil(batch / 512); sector * 512 < whole.length; sector++) {
      damage(dir, () => Buffer.from(whole).fill(0, sector * 512, Math.min(whole.length, sector * 512 + 512)))
      rmSync(join(dir, 'torn'), { recursive: true, force: true })
      const { lines, recovered, problems } = await reopened(dir)
      const kept = starts.findLastIndex((start) => start <= sector * 512)
      expect(lines, `sector ${sector}`).toEqual(chain.lines.slice(0, kept))
      expect(recovered).toMatchObject({ bytes: whole.length - (starts[kept] as number) })
      expect(problems).toEqual([])
    }
  })

  test('a zero byte that is no lost sector is damage, and stays', async () => {
    const dir = tempDir()
    const chain = await makeLedger(dir, [plain(8)], OFF)
    const whole = readFileSync(segmentPath(dir))
    const [, , third] = lineStarts(whole)
    damage(dir, () => Buffer.from(whole).fill(0, (third as number) + 300, (third as number) + 302))
    const { recovered } = await withStore(dir, OFF, async (store) => {
      expect((await store.state({ streams: [], run_ids: [] })).head).toEqual(chain.head)
      expect((await problemsOf(store)).length).toBeGreaterThan(0)
      return store
    })
    expect(recovered).toBe(null)
    expect(statSync(segmentPath(dir)).size).toBe(whole.length)
  })
})

describe('an append that is not whole moves aside', () => {
  test('whole lines of it as well', async () => {
    const dir = tempDir()
    const chain = await makeLedger(dir, [plain(3), { ...plain(4), whole: true }, { ...plain(6), whole: true }], OFF)
    const starts = lineStarts(readFileSync(segmentPath(dir)))
    for (const end of [starts[9] as number, (starts[11] as number) + 20, starts[13] as number]) {
      damage(dir, (bytes) => bytes.subarray(0, end))
      const { lines, recovered, problems } = await reopened(dir)
      expect(lines).toEqual(chain.lines.slice(0, 8))
      expect(recovered?.reason).toMatch(/not whole|no end/)
      expect(problems).toEqual([])
      await makeAgain(dir, chain)
    }
  })

  /** The bytes that were there before. */
  async function makeAgain(dir: string, chain: SampleChain): Promise<void> {
    damage(dir, () => Buffer.from(`${chain.lines.join('\n')}\n`))
  }
})

describe('over the border of segments', () => {
  test('a torn last segment that becomes empty: the head is in the one before, and the ledger wants its seal', async () => {
    const dir = tempDir()
    const chain = await makeLedger(dir, [plain(4), { ...plain(3), newSegment: true }], OFF)
    damage(dir, (bytes) => bytes.subarray(0, 100))
    await withStore(dir, OFF, async (store) => {
      expect((await store.state({ streams: [], run_ids: [] })).head.hash).toBe(chain.records[4]?.hash)
      expect(store.segmentFull).toBe(true)
      expect(store.segment?.name).toBe(`segments/${'0'.padStart(20, '0')}.jsonl`)
      chain.records.splice(5)
      await store.append(chain.seal([{ stream: 'after' }]), chain.head, { newSegment: true })
      expect(store.segment?.name).toBe(`segments/${'5'.padStart(20, '0')}.jsonl`)
      expect(store.segmentFull).toBe(false)
      expect(await problemsOf(store)).toEqual([])
    })
    expect(segmentNames(dir).length).toBe(2)
  })

  test('an empty last segment of another name gets the right one', async () => {
    const dir = tempDir()
    const chain = await makeLedger(dir, [plain(4)], OFF)
    writeFileSync(join(dir, 'segments', `${'3'.padStart(20, '0')}.jsonl`), '')
    await withStore(dir, OFF, async (store) => {
      expect(await linesOf(store)).toEqual(chain.lines)
      expect(await linesOf(store, { from: 3 })).toEqual(chain.lines.slice(3))
      expect(await linesOf(store, { reverse: true, limit: 2 })).toEqual(chain.lines.slice(3).toReversed())
      await chain.append(store, [{}])
      expect(await problemsOf(store)).toEqual([])
    })
    expect(segmentNames(dir)).toEqual(['0', '5'].map((seq) => `${seq.padStart(20, '0')}.jsonl`))
  })

  test('finished segments are read-only, those too that a crash left writable', async () => {
    const dir = tempDir()
    await makeLedger(dir, [plain(2), { ...plain(2), newSegment: true }, { ...plain(2), newSegment: true }], OFF)
    const modes = (): number[] => segmentNames(dir).map((_, i) => statSync(segmentPath(dir, i)).mode & 0o222)
    expect(modes()).toEqual([0o200, 0, 0])
    damage(dir, (bytes) => bytes, 1)
    expect(modes()[1]).not.toBe(0)
    await reopened(dir)
    expect(modes()).toEqual([0o200, 0, 0])
  })

  test('segments before the last that are gone: refused, since nothing can be chained to nothing', async () => {
    const dir = tempDir()
    await makeLedger(dir, [plain(4), { ...plain(3), newSegment: true }], OFF)
    rmSync(segmentPath(dir, 1))
    damage(dir, () => Buffer.alloc(0))
    await expect(openJsonlStore(dir, OFF)).rejects.toMatchObject({ code: 'damaged' })
  })
})

describe('damage is no torn write', () => {
  test('a changed line in the middle stays, and the ledger goes on behind the last record', async () => {
    const dir = tempDir()
    const chain = await makeLedger(dir, [plain(8)], OFF)
    const whole = readFileSync(segmentPath(dir))
    const starts = lineStarts(whole)
    for (const line of [0, 3, 7]) {
      const at = (starts[line] as number) + 200
      damage(dir, () => Buffer.from(whole).fill((whole[at] as number) ^ 1, at, at + 1))
      await withStore(dir, OFF, async (store) => {
        expect(store.recovered).toBe(null)
        expect((await store.state({ streams: [], run_ids: [] })).head).toEqual(chain.head)
        expect((await problemsOf(store)).length).toBeGreaterThan(0)
      })
      expect(statSync(segmentPath(dir)).size).toBe(whole.length)
    }
    expect(existsSync(join(dir, 'torn'))).toBe(false)
  })

  test('a changed last line: refused, and nothing was touched; reading and verifying work', async () => {
    const dir = tempDir()
    const chain = await makeLedger(dir, [plain(8)], OFF)
    damage(dir, (bytes) => bytes.fill((bytes[bytes.length - 40] as number) ^ 1, bytes.length - 40, bytes.length - 39))
    const before = readFileSync(segmentPath(dir))
    for (const index of ['off', 'background'] as const) {
      await expect(openJsonlStore(dir, { index })).rejects.toMatchObject({
        code: 'damaged',
        message: expect.stringContaining('verify') as string,
      })
    }
    expect(readFileSync(segmentPath(dir))).toEqual(before)
    expect(existsSync(join(dir, 'writer.json'))).toBe(false)
    await withStore(dir, { readOnly: true, index: 'off' }, async (store) => {
      await expect(store.state({ streams: [], run_ids: [] })).rejects.toMatchObject({ code: 'damaged' })
      expect(await linesOf(store, { limit: 8 })).toEqual(chain.lines.slice(0, 8))
      expect((await problemsOf(store)).length).toBe(1)
    })
  })

  test('a torn tail behind a changed line: only the tail moves aside, and nothing where the changed line is the last', async () => {
    const dir = tempDir()
    const chain = await makeLedger(dir, [plain(8)], OFF)
    const whole = readFileSync(segmentPath(dir))
    const starts = lineStarts(whole)
    const changed = Buffer.from(whole)
    const at = (starts[2] as number) + 200
    changed[at] = (changed[at] as number) ^ 1
    damage(dir, () => Buffer.concat([changed, Buffer.from('{"hash":"')]))
    await withStore(dir, OFF, async (store) => {
      expect(store.recovered?.bytes).toBe(9)
      expect((await store.state({ streams: [], run_ids: [] })).head).toEqual(chain.head)
    })
    const last = Buffer.from(whole)
    last[whole.length - 40] = (last[whole.length - 40] as number) ^ 1
    damage(dir, () => Buffer.concat([last, Buffer.from('{"hash":"')]))
    await expect(openJsonlStore(dir, OFF)).rejects.toMatchObject({ code: 'damaged' })
    expect(statSync(segmentPath(dir)).size).toBe(whole.length + 9)
  })

  test('a copy of an older line at the end is not the head', async () => {
    const dir = tempDir()
    await makeLedger(dir, [plain(8)], OFF)
    damage(dir, (bytes) => Buffer.concat([bytes, bytes.subarray(0, lineStarts(bytes)[1])]))
    await expect(openJsonlStore(dir, OFF)).rejects.toMatchObject({ code: 'damaged' })
  })
})

describe('with an index that knows what is durable', () => {
  test('unusable lines behind that place which end in a torn one are one torn write', async () => {
    const dir = tempDir()
    const chain = await makeLedger(dir, [plain(8)])
    damage(dir, (bytes) => Buffer.concat([bytes, Buffer.from('garbage\nmore garbage\nand {"hash":"')]))
    const { lines, recovered } = await reopened(dir, 'background')
    expect(lines).toEqual(chain.lines)
    expect(recovered?.bytes).toBe(Buffer.from('garbage\nmore garbage\nand {"hash":"').length)
  })

  test('what is before that place is not read again: opening costs the same at any size', async () => {
    const dir = tempDir()
    const chain = await makeLedger(dir, [plain(50)])
    const whole = readFileSync(segmentPath(dir))
    const [, second] = lineStarts(whole)
    // Damage that a scan from the beginning would meet, with the look of a torn write.
    damage(dir, () =>
      Buffer.from(whole).fill(0, Math.ceil((second as number) / 512) * 512, Math.ceil((second as number) / 512) * 512 + 512),
    )
    await withStore(dir, {}, async (store) => {
      expect(store.recovered).toBe(null)
      expect((await store.state({ streams: [], run_ids: [] })).head).toEqual(chain.head)
    })
  })

  test('an index that says more than the segment is not believed', async () => {
    const dir = tempDir()
    const chain = await makeLedger(dir, [plain(3), plain(6)])
    damage(dir, (bytes) => bytes.subarray(0, bytes.length - 3))
    const { lines, recovered } = await reopened(dir, 'background')
    expect(lines).toEqual(chain.lines.slice(0, 9))
    expect(recovered).not.toBe(null)
    await withStore(dir, {}, async (store) => expect(await store.count({ outcome: ['success'] })).toBe(9))
  })
})

test('a reader beside a torn tail gives whole appends only, and repairs nothing', async () => {
  const dir = tempDir()
  const chain = await makeLedger(dir, [plain(3), { ...plain(4), whole: true }], OFF)
  damage(dir, (bytes) => bytes.subarray(0, bytes.length - 5))
  const before = readFileSync(segmentPath(dir))
  await withStore(dir, { readOnly: true, index: 'off' }, async (store) => {
    expect(await linesOf(store)).toEqual(chain.lines.slice(0, 4))
    expect(await linesOf(store, { reverse: true })).toEqual(chain.lines.slice(0, 4).toReversed())
    expect((await store.state({ streams: [], run_ids: [] })).head.size).toBe(4)
    expect((await problemsOf(store)).some((problem) => problem.startsWith('torn_tail'))).toBe(true)
  })
  expect(readFileSync(segmentPath(dir))).toEqual(before)
  expect(existsSync(join(dir, 'torn'))).toBe(false)
})
