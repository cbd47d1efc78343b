/** Archives in a directory, on real file systems. */
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, statSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'
import { openArchive } from '../../src/open-archive.ts'
import { readArchived } from '../../src/ledger/archive.ts'
import { allOf, archiveContract, chunked, namesIn } from '../helpers/archive-contract.ts'
import { tempDir } from '../helpers/temp.ts'

describe('a directory', () => {
  archiveContract(() => openArchive(tempDir()), 2_000_000)
})

test('is named by a path or a file: URL', async () => {
  const folder = tempDir()
  await (await openArchive(folder)).write('a', Buffer.from('x'))
  expect((await allOf(await openArchive(pathToFileURL(folder)), 'a')).toString()).toBe('x')
  expect((await openArchive(pathToFileURL(folder).href)).location).toBe(folder)
})

test('one that is not there is told, and not made: mostly it is not mounted', async () => {
  const path = join(tempDir(), 'not', 'mounted')
  const archive = await openArchive(path)
  await expect(archive.write('a', Buffer.from('x'))).rejects.toMatchObject({ code: 'not_found' })
  await expect(archive.stat('a')).rejects.toMatchObject({ code: 'not_found' })
  await expect(namesIn(archive)).rejects.toMatchObject({ code: 'not_found' })
  await expect(archive.remove('a')).rejects.toMatchObject({ code: 'not_found' })
  expect(existsSync(path)).toBe(false)
  await (await openArchive(path, { create: true })).write('a', Buffer.from('x'))
  expect(await namesIn(archive)).toEqual(['a'])
})

test('files and folders are the owner’s alone, and nothing else lies there', async () => {
  const folder = tempDir()
  await (await openArchive(folder)).write('a/b', Buffer.from('x'))
  expect(statSync(join(folder, 'a')).mode & 0o777).toBe(0o700)
  expect(statSync(join(folder, 'a/b')).mode & 0o777).toBe(0o600)
  expect(readdirSync(join(folder, 'a'))).toEqual(['b'])
})

test('what a crash left is not listed, and goes with the next write of its name once it is old', async () => {
  const folder = tempDir()
  const archive = await openArchive(folder)
  const [old, young, other] = ['.a.0123456789abcdef.part', '.a.fedcba9876543210.part', '.b.0123456789abcdef.part']
  for (const name of [old, young, other]) writeFileSync(join(folder, name), 'half')
  const before = Date.now() / 1000 - 2 * 86_400
  for (const name of [old, other]) utimesSync(join(folder, name), before, before)
  expect(await namesIn(archive)).toEqual([])
  await archive.write('a', Buffer.from('x'))
  expect(readdirSync(folder).toSorted()).toEqual([young, other, 'a'].toSorted())
})

test('files of others in it are left alone', async () => {
  const folder = tempDir()
  const archive = await openArchive(folder)
  writeFileSync(join(folder, 'a note.txt'), 'x')
  mkdirSync(join(folder, 'lost+found'))
  symlinkSync('/etc', join(folder, 'link'))
  await archive.write('a', Buffer.from('x'))
  expect(await namesIn(archive)).toEqual(['a'])
  expect(await archive.stat('lost')).toBe(null)
})

test('a file that was cut is found by its length', async () => {
  const folder = tempDir()
  const archive = await openArchive(folder)
  await archive.write('a', Buffer.alloc(1000))
  truncateSync(join(folder, 'a'), 400)
  await expect(readArchived(archive, 'a', { start: 0, end: 1000 })).rejects.toMatchObject({ code: 'damaged' })
  expect((await readArchived(archive, 'a', { start: 0, end: 400 })).length).toBe(400)
})

const isRoot = process.getuid?.() === 0

test.skipIf(isRoot || process.platform === 'win32')('where one may not write, that is told', async () => {
  const folder = tempDir()
  chmodSync(folder, 0o500)
  await expect((await openArchive(folder)).write('a', Buffer.from('x'))).rejects.toMatchObject({ code: 'read_only' })
})

/** A file system of one MiB; why it can't be had, where it can't. */
function smallFileSystem(): string | null {
  const folder = tempDir()
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder], { stdio: 'pipe' })
  } catch {
    return null
  }
  onTestFinished(() => void execFileSync('umount', [folder]))
  return folder
}

test('a full disk is told, leaves nothing, and is no trouble once there is room', async (context) => {
  const folder = smallFileSystem()
  if (folder === null) return context.skip('a file system of its own can not be mounted here')
  const archive = await openArchive(folder)
  await expect(archive.write('big', chunked(Buffer.alloc(3_000_000, 1), 100_000))).rejects.toMatchObject({ code: 'disk_full' })
  expect(readdirSync(folder)).toEqual([])
  await archive.write('small', chunked(Buffer.alloc(600_000, 1), 100_000))
  expect(await namesIn(archive)).toEqual(['small'])
})
