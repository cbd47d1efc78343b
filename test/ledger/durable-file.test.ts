/** The order of syncs and names, seen at the moment of each sync: what a power cut would leave. */
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { createText, makeFolder, readText, replaceText } from '../../src/ledger/durable-file.ts'
import { tempDir } from '../helpers/temp.ts'

/** Calls `seen` before each real sync of a file handle; what it throws the sync rejects with. */
async function watchSyncs(seen: (kind: 'file' | 'folder') => void): Promise<void> {
  const handle = await open(tempDir(), 'r')
  const prototype = Object.getPrototypeOf(handle) as { sync: (this: FileHandle) => Promise<void> }
  await handle.close()
  const { sync } = prototype
  onTestFinished(() => void (prototype.sync = sync))
  prototype.sync = async function () {
    seen((await this.stat()).isDirectory() ? 'folder' : 'file')
    return sync.call(this)
  }
}

const noSpace = (): never => {
  throw Object.assign(new Error('no space'), { code: 'ENOSPC' })
}

describe.each([
  ['replaceText', replaceText, 'old'],
  ['createText', createText, null],
] as const)('%s', (_, put, before) => {
  let folder = ''
  let path = ''
  beforeEach(() => {
    folder = tempDir()
    path = join(folder, 'text')
    if (before !== null) writeFileSync(path, before)
  })

  test('syncs the bytes before they get their name, and the name before it resolves', async () => {
    const steps: unknown[] = []
    await watchSyncs((kind) => {
      if (kind === 'file') expect(readFileSync(`${path}.next`, 'utf8')).toBe('new')
      steps.push([kind, readdirSync(folder).includes('text') ? readFileSync(path, 'utf8') : null])
    })
    await put(path, 'new')
    expect(steps).toEqual([
      ['file', before],
      ['folder', 'new'],
    ])
    expect(await readText(path)).toBe('new')
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(readdirSync(folder)).toEqual(['text'])
  })

  test('leaves what was there where the bytes can not be synced, and goes on later', async () => {
    let full = true
    await watchSyncs((kind) => void (full && kind === 'file' && noSpace()))
    await expect(put(path, 'new')).rejects.toMatchObject({ code: 'disk_full' })
    expect(await readText(path)).toBe(before)
    full = false
    await put(path, 'newer')
    expect(await readText(path)).toBe('newer')
  })

  test('rejects where the name can not be synced', async () => {
    await watchSyncs((kind) => void (kind === 'folder' && noSpace()))
    await expect(put(path, 'new')).rejects.toMatchObject({ code: 'disk_full' })
  })

  test('takes over what a crash left aside', async () => {
    writeFileSync(`${path}.next`, 'half of something longer', { mode: 0o644 })
    await put(path, 'new')
    expect([await readText(path), statSync(path).mode & 0o777]).toEqual(['new', 0o600])
  })
})

test('createText is never over a file that is there', async () => {
  const path = join(tempDir(), 'text')
  writeFileSync(path, 'old')
  await expect(createText(path, 'new')).rejects.toMatchObject({ details: { cause: { code: 'EEXIST' } } })
  expect(readFileSync(path, 'utf8')).toBe('old')
})

test('a folder is made with those above it, once, for the owner', async () => {
  const path = join(tempDir(), 'a', 'b')
  let syncs = 0
  await watchSyncs(() => void syncs++)
  await makeFolder(path)
  // One for each name that is new.
  expect(syncs).toBe(2)
  await makeFolder(path)
  expect(syncs).toBe(2)
  expect(statSync(path).mode & 0o777).toBe(0o700)
  expect(await readText(join(path, 'text'))).toBe(null)
  mkdirSync(join(path, 'text'))
  await expect(readText(join(path, 'text'))).rejects.toMatchObject({ code: 'io_error' })
})
