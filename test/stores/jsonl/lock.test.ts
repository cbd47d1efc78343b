/** One writer: by a lock of the kernel that dies with its owner, and that our own doings must not drop. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openJsonlStore } from '../../../src/stores/jsonl/index.ts'
import { isWriterAtWork } from '../../../src/stores/jsonl/lock.ts'
import { LEDGER_CREATED, SampleChain } from '../../../src/testing/sample-chain.ts'
import { linesOf } from '../../../src/testing/checks.ts'
import { startChild } from '../../helpers/jsonl-process.ts'
import { problemsOf } from '../../helpers/jsonl-model.ts'
import { scale } from '../../helpers/scale.ts'
import { tempDir } from '../../helpers/temp.ts'

test('of many processes that try at once one wins, and the others name it', async () => {
  const dir = tempDir()
  const children = Array.from({ length: scale(16, 64) }, () => startChild('hold', dir))
  const said = await Promise.all(children.map((child) => child.next()))
  const winners = children.filter((_, i) => said[i] === 'open')
  expect(winners.length).toBe(1)
  const pid = String(winners[0]?.process.pid)
  for (const line of said) {
    if (line === 'open') continue
    expect(line).toMatch(/^locked: process /)
    expect(line).toContain(`process ${pid} on `)
    expect(line).toContain('since 20')
  }
  winners[0]?.process.stdin.end()
  await winners[0]?.ended
  const next = startChild('hold', dir)
  expect(await next.next()).toBe('open')
})

test('the lock dies with its owner, killed in whatever it does', async () => {
  const dir = tempDir()
  const owner = startChild('hold', dir)
  expect(await owner.next()).toBe('open')
  await expect(openJsonlStore(dir)).rejects.toMatchObject({ code: 'locked', details: { owner: { pid: owner.process.pid } } })
  expect(await isWriterAtWork(dir)).toBe(true)
  owner.process.kill('SIGKILL')
  await owner.ended
  // What it said of itself is still there, and nobody believes it.
  expect(existsSync(join(dir, 'writer.json'))).toBe(true)
  expect(await isWriterAtWork(dir)).toBe(false)
  const store = await openJsonlStore(dir)
  expect(JSON.parse(readFileSync(join(dir, 'writer.json'), 'utf8'))).toMatchObject({ pid: process.pid })
  await store.close()
  expect(existsSync(join(dir, 'writer.json'))).toBe(false)
})

test('whatever this process does with the ledger, its lock stays: another process is refused', async () => {
  const dir = tempDir()
  const store = await openJsonlStore(dir, { segmentBytes: 2000 })
  const chain = new SampleChain()
  const refused = async (after: string): Promise<void> => {
    const other = startChild('hold', dir)
    expect(await other.next(), after).toMatch(new RegExp(`^locked: process ${process.pid} `))
    await other.ended
  }
  await chain.append(store, [LEDGER_CREATED])
  for (let i = 0; i < 5; i++) await chain.append(store, [{}, {}], { newSegment: store.segmentFull })
  await refused('appending and beginning segments')
  await expect(openJsonlStore(dir)).rejects.toMatchObject({ code: 'locked' })
  await refused('a second attempt of this process')
  const reader = await openJsonlStore(dir, { readOnly: true })
  expect(await linesOf(reader)).toEqual(chain.lines)
  expect(await problemsOf(reader)).toEqual([])
  expect(await reader.count({ outcome: ['success'] })).toBe(chain.head.size)
  await reader.close()
  await refused('a reader that came and went, and looked for a writer')
  expect(await problemsOf(store)).toEqual([])
  await store.flush()
  await store.describe()
  await refused('verifying, the index, describing')
  await store.close()
})

test('the trap: opening and closing the file of the lock drops it, in silence', async () => {
  const dir = tempDir()
  const owner = startChild('trap', dir)
  expect(await owner.next()).toBe('open')
  const before = startChild('hold', dir)
  expect(await before.next()).toMatch(/^locked/)
  owner.process.stdin.write('go\n')
  expect(await owner.next()).toBe('trapped')
  const after = startChild('hold', dir)
  expect(await after.next(), 'if this is "locked", the file system has better locks than POSIX, and the rule can go').toBe('open')
})

test('a stale note of an owner that is gone misleads nobody', async () => {
  const dir = tempDir()
  const store = await openJsonlStore(dir)
  writeFileSync(join(dir, 'writer.json'), '{"pid":')
  await expect(openJsonlStore(dir)).rejects.toMatchObject({ code: 'locked', message: expect.stringContaining('another process') as string })
  await store.close()
})

test('a reader looks for a writer where there never was one', async () => {
  const dir = tempDir()
  expect(await isWriterAtWork(dir)).toBe(false)
  const store = await openJsonlStore(dir)
  expect(await isWriterAtWork(dir)).toBe(true)
  await store.close()
  expect(await isWriterAtWork(dir)).toBe(false)
})
