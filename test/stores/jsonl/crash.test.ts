/** Processes that are killed, exit in mid-append, or follow another one: on real files. */
import { mkdirSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openJsonlStore } from '../../../src/stores/jsonl/index.ts'
import { LEDGER_CREATED, SampleChain } from '../../../src/testing/sample-chain.ts'
import { linesOf } from '../../../src/testing/checks.ts'
import { seededRandom } from '../../../src/testing/seeded-random.ts'
import { readLine } from '../../../src/verify/record.ts'
import { problemsOf } from '../../helpers/jsonl-model.ts'
import { startChild } from '../../helpers/jsonl-process.ts'
import { scale } from '../../helpers/scale.ts'
import { tempDir } from '../../helpers/temp.ts'

test('killed again and again while it writes: every acknowledged record is there, no append in part, and it goes on', async () => {
  const dir = tempDir()
  const random = seededRandom(20261122)
  let acknowledged = 0
  for (let round = 0; round < scale(6, 200); round++) {
    const child = startChild('write', dir)
    expect(await child.next()).toMatch(/^open/)
    await new Promise((resolve) => setTimeout(resolve, random.below(scale(250, 400))))
    child.process.kill('SIGKILL')
    await child.ended
    acknowledged = Number(child.said.findLast((line) => /^\d+$/.test(line)) ?? acknowledged)

    // Seen first by one who only reads, then repaired.
    const reader = await openJsonlStore(dir, { readOnly: true })
    const seen = await linesOf(reader)
    expect(seen.length).toBeGreaterThanOrEqual(acknowledged)
    await reader.close()
    const store = await openJsonlStore(dir, { segmentBytes: 60_000 })
    const lines = await linesOf(store)
    expect(lines).toEqual(seen)
    const { head } = await store.state({ streams: [], run_ids: [] })
    expect(head.size).toBe(lines.length)
    expect(await problemsOf(store)).toEqual([])
    // By the index as well.
    const { run_id } = readLine(Buffer.from(lines[random.below(lines.length)] as string)).header
    expect(await store.count({ run_id: [run_id] })).toBe(1)
    acknowledged = head.size
    await store.close()
  }
})

test.each(['at-once', 'soon', 'new-segment'])(
  'a process that exits in mid-append (%s) finishes it, asks, and appends once more',
  async (when) => {
    const dir = tempDir()
    for (let round = 0; round < scale(3, 30); round++) {
      const child = startChild('exit', dir, when)
      const settled = await child.next()
      expect(settled).toMatch(/^settled \d+ /)
      if (settled.includes('-499')) expect(settled).toContain('s3,')
      if (Number(settled.split(' ')[1]) > 0) expect(settled).toContain('run-0')
      expect(await child.next()).toBe('appended')
      expect((await child.ended).code).toBe(0)
      const store = await openJsonlStore(dir)
      expect(store.recovered).toBe(null)
      const lines = await linesOf(store)
      expect(readLine(Buffer.from(lines.at(-1) as string)).header.run_id).toMatch(/^last-/)
      expect(await problemsOf(store)).toEqual([])
      await store.close()
    }
  },
)

test('a process that follows the writer sees every record once and in order, over the borders of segments', async () => {
  const dir = tempDir()
  const store = await openJsonlStore(dir, { segmentBytes: 100_000 })
  const chain = new SampleChain()
  await chain.append(store, [LEDGER_CREATED])
  const followers = [startChild('follow', dir), startChild('follow', dir)]
  for (const follower of followers) expect(await follower.next()).toBe('open')
  const random = seededRandom(5)
  for (let batch = 0; batch < scale(120, 2000); batch++) {
    const samples = Array.from({ length: 1 + random.below(20) }, () => ({ entry: { text: 'x'.repeat(random.below(2000)) } }))
    await chain.append(store, samples, { whole: random.chance(0.5), newSegment: store.segmentFull })
  }
  for (const follower of followers) {
    follower.process.stdin.end()
    expect(await follower.next()).toBe(`followed ${chain.head.size}`)
    expect((await follower.ended).code).toBe(0)
  }
  await store.close()
  expect(readdirSync(join(dir, 'segments')).length).toBeGreaterThan(5)
})

test('verification beside a writer at work finds no problem, and a whole beginning', async () => {
  const dir = tempDir()
  const child = startChild('write', dir, 'slowly')
  expect(await child.next()).toMatch(/^open/)
  const reader = await openJsonlStore(dir, { readOnly: true, index: 'off' })
  for (let round = 0; round < scale(25, 200); round++) {
    expect(await problemsOf(reader)).toEqual([])
    const lines = await linesOf(reader)
    const { header } = readLine(Buffer.from(lines.at(-1) as string))
    expect(header.seq).toBe(lines.length - 1)
    expect(header.append_last_seq ?? header.seq).toBe(header.seq)
  }
  expect(Number(child.said.at(-1))).toBeGreaterThan(0)
})

test('an index keeps no process alive, and closing waits for no one', async () => {
  const dir = tempDir()
  mkdirSync(join(dir, 'ledger'))
  const child = startChild('hold', join(dir, 'ledger'))
  expect(await child.next()).toBe('open')
  child.process.stdin.end()
  expect(await child.ended).toEqual({ code: 0, signal: null })
  // At rest nothing lies beside the index that a reader would have to write to.
  expect(readdirSync(join(dir, 'ledger')).toSorted()).toEqual(['index.db', 'ledger.json', 'segments', 'writer.lock'])
  expect(statSync(join(dir, 'ledger', 'writer.lock')).size).toBe(0)
})
