/** What every place that keeps archive files does. */
import { createHash, randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { readArchived } from '../../src/ledger/archive.ts'
import type { ArchiveStore } from '../../src/ledger/archive.ts'

export async function allOf(archive: ArchiveStore, name: string): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of archive.read(name)) chunks.push(chunk.slice())
  return Buffer.concat(chunks)
}

export async function namesIn(archive: ArchiveStore, prefix = ''): Promise<string[]> {
  const names: string[] = []
  for await (const { name } of archive.list(prefix)) names.push(name)
  return names.toSorted()
}

/** In chunks of a size that fits no block. */
export async function* chunked(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** @param large bytes of a content that the place takes in more than one piece */
export function archiveContract(open: () => Promise<ArchiveStore>, large: number): void {
  test('what is written is there, whole and in parts', async () => {
    const archive = await open()
    const bytes = randomBytes(large)
    expect(await archive.write('2026/11/large.jsonl.zst', chunked(bytes, 99_991))).toEqual({ bytes: large, sha256: sha256(bytes) })
    expect(await archive.stat('2026/11/large.jsonl.zst')).toEqual({ name: '2026/11/large.jsonl.zst', bytes: large })
    expect((await allOf(archive, '2026/11/large.jsonl.zst')).equals(bytes)).toBe(true)
    for (const [start, end] of [
      [0, 1],
      [0, large],
      [large - 1, large],
      [large - 1000, large],
      [5, 5],
      [123_456, 234_567],
    ] as const)
      expect(sha256(await readArchived(archive, '2026/11/large.jsonl.zst', { start, end }))).toBe(sha256(bytes.subarray(start, end)))
  })

  test('a range that goes beyond the end is damage, not fewer bytes', async () => {
    const archive = await open()
    await archive.write('a', Buffer.from('12345'))
    for (const range of [
      { start: 0, end: 6 },
      { start: 4, end: 9 },
      { start: 5, end: 6 },
      { start: 90, end: 100 },
    ])
      await expect(readArchived(archive, 'a', range)).rejects.toMatchObject({ code: 'damaged' })
    for (const range of [
      { start: -1, end: 2 },
      { start: 2, end: 1 },
      { start: 0.5, end: 1 },
    ])
      await expect(readArchived(archive, 'a', range)).rejects.toThrow(RangeError)
  })

  test('a name is written once: the same bytes are fine, others are refused and change nothing', async () => {
    const archive = await open()
    const first = await archive.write('once', Buffer.from('the one'))
    expect(await archive.write('once', chunked(Buffer.from('the one'), 2))).toEqual(first)
    for (const other of ['the two', 'the one and more', 'the on', ''])
      await expect(archive.write('once', Buffer.from(other))).rejects.toMatchObject({ code: 'already_exists' })
    expect((await allOf(archive, 'once')).toString()).toBe('the one')
  })

  test('a content that fails, or has not the size that was said, leaves nothing', async () => {
    const archive = await open()
    const failing = async function* (bytes: number): AsyncGenerator<Uint8Array> {
      yield randomBytes(bytes)
      throw new Error('the source failed')
    }
    for (const bytes of [10, large]) await expect(archive.write('failed', failing(bytes))).rejects.toThrow('the source failed')
    for (const size of [0, 9, 11]) await expect(archive.write('failed', chunked(Buffer.alloc(10), 4), size)).rejects.toThrow(RangeError)
    expect(await archive.stat('failed')).toBe(null)
    expect(await namesIn(archive)).toEqual([])
    expect(await archive.write('failed', Buffer.from('now'), 3)).toMatchObject({ bytes: 3 })
  })

  test('an empty file is a file', async () => {
    const archive = await open()
    expect(await archive.write('empty', [])).toEqual({ bytes: 0, sha256: sha256(new Uint8Array(0)) })
    expect(await archive.stat('empty')).toEqual({ name: 'empty', bytes: 0 })
    expect(await allOf(archive, 'empty')).toHaveLength(0)
  })

  test('lists by the beginning of names', async () => {
    const archive = await open()
    for (const name of ['a/1', 'a/2', 'a/b/3', 'ab', 'b/1']) await archive.write(name, Buffer.from(name))
    expect(await namesIn(archive)).toEqual(['a/1', 'a/2', 'a/b/3', 'ab', 'b/1'])
    expect(await namesIn(archive, 'a')).toEqual(['a/1', 'a/2', 'a/b/3', 'ab'])
    expect(await namesIn(archive, 'a/')).toEqual(['a/1', 'a/2', 'a/b/3'])
    expect(await namesIn(archive, 'a/b/')).toEqual(['a/b/3'])
    expect(await namesIn(archive, 'c')).toEqual([])
    for await (const { name, bytes } of archive.list('')) expect(bytes).toBe(name.length)
  })

  test('removes for good, and twice', async () => {
    const archive = await open()
    await archive.write('a/b', Buffer.from('x'))
    await archive.remove('a/b')
    await archive.remove('a/b')
    await archive.remove('never/there')
    expect(await archive.stat('a/b')).toBe(null)
    expect(await namesIn(archive)).toEqual([])
    await expect(allOf(archive, 'a/b')).rejects.toMatchObject({ code: 'not_found' })
    expect(await archive.write('a/b', Buffer.from('another'))).toMatchObject({ bytes: 7 })
  })

  test.each([
    '',
    '..',
    '../a',
    'a/../b',
    'a//b',
    '/a',
    'a/',
    '.hidden',
    'a/.hidden',
    'a\\b',
    'a b',
    'ä',
    'a\0b',
    'a?b',
    'x'.repeat(129),
    'a/'.repeat(300) + 'a',
  ])('the name %j is refused', async (name) => {
    const archive = await open()
    await expect(archive.write(name, Buffer.from('x'))).rejects.toThrow(RangeError)
    await expect(allOf(archive, name)).rejects.toThrow(RangeError)
    await expect(archive.stat(name)).rejects.toThrow(RangeError)
    await expect(archive.remove(name)).rejects.toThrow(RangeError)
  })

  test('two who write the same at once are both told that it is there', async () => {
    const archive = await open()
    const bytes = randomBytes(300_000)
    const written = await Promise.all([1, 2, 3].map(() => archive.write('same', chunked(bytes, 70_000))))
    expect(new Set(written.map((one) => one.sha256))).toEqual(new Set([sha256(bytes)]))
    expect(await namesIn(archive)).toEqual(['same'])
  })
}
