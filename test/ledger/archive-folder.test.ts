/** Archive files in a folder, as a ledger has them beside its segments. */
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { archiveInFolder } from '../../src/ledger/archive-folder.ts'
import { archiveInMemory } from '../../src/ledger/archive-in-memory.ts'
import { archiveContract, namesIn } from '../helpers/archive-contract.ts'
import { tempDir } from '../helpers/temp.ts'

describe('a folder that is made with its first file', () => {
  archiveContract(async () => archiveInFolder(join(tempDir(), 'not', 'there', 'yet')), 2_000_000)
})

describe('memory', () => {
  archiveContract(async () => archiveInMemory(), 2_000_000)
})

test('a folder that is not there has no files, and asking makes none', async () => {
  const folder = join(tempDir(), 'entries')
  const archive = archiveInFolder(folder)
  expect(await archive.stat('a')).toBe(null)
  expect(await namesIn(archive)).toEqual([])
  await archive.remove('a')
  await archive.removeLeftovers()
  expect(existsSync(folder)).toBe(false)
})

test('who only reads removes nothing, and a refused write leaves nothing', async () => {
  const folder = join(tempDir(), 'entries')
  const archive = archiveInFolder(folder, { readOnly: true })
  await expect(archive.write('a', Buffer.from('x'))).rejects.toMatchObject({ code: 'read_only' })
  await expect(archive.remove('a')).rejects.toMatchObject({ code: 'read_only' })
  expect(existsSync(folder)).toBe(false)
})

test.skipIf(process.platform === 'win32')('the modes are those of a ledger’s other files where that is asked for', async () => {
  const dir = tempDir()
  writeFileSync(join(dir, 'other'), '')
  mkdirSync(join(dir, 'folder'))
  await archiveInFolder(join(dir, 'entries'), { sharesModes: true }).write('a/b', Buffer.from('x'))
  expect(statSync(join(dir, 'entries/a/b')).mode).toBe(statSync(join(dir, 'other')).mode)
  expect(statSync(join(dir, 'entries/a')).mode).toBe(statSync(join(dir, 'folder')).mode)
})

test('what is left of a write goes, of one file or of all, but nothing of one that is under way', async () => {
  const folder = tempDir()
  const archive = archiveInFolder(folder)
  mkdirSync(join(folder, 'a'))
  const left = ['.b.0123456789abcdef.part', 'a/.b.0123456789abcdef.part', 'a/.b.c.0123456789abcdef.part', 'a/.c.0123456789abcdef.part']
  const others = ['.b.part', '.0123456789abcdef.part', 'a/b.0123456789abcdef.part', '.b.0123456789ABCDEF.part']
  for (const name of [...left, ...others]) writeFileSync(join(folder, name), 'half')
  const there = (): string[] => [...left, ...others].filter((name) => existsSync(join(folder, name)))

  await archive.removeLeftovers({ of: 'a/b', before: Date.now() - 60_000 })
  expect(there()).toEqual([...left, ...others])
  await archive.removeLeftovers({ of: 'a/b' })
  expect(there()).toEqual([...left.filter((name) => name !== 'a/.b.0123456789abcdef.part'), ...others])

  await archive.write('d', slowly())
  expect(there()).toEqual(others)

  async function* slowly(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('one ')
    await archive.removeLeftovers()
    yield Buffer.from('two')
  }
  expect(readdirSync(folder).filter((name) => name.includes('d'))).toContain('d')
  expect(statSync(join(folder, 'd')).size).toBe(7)
})

test('what others put into it is neither listed nor in the way', async () => {
  const folder = tempDir()
  const archive = archiveInFolder(folder)
  writeFileSync(join(folder, 'a note.txt'), 'x')
  mkdirSync(join(folder, '.git/objects'), { recursive: true })
  writeFileSync(join(folder, '.git/objects/a'), 'x')
  await archive.write('a', Buffer.from('x'))
  expect(await namesIn(archive)).toEqual(['a'])
})
