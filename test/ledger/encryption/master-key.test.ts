import { randomBytes } from 'node:crypto'
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { commandMasterKey, createMasterKeyFile, masterKeyFrom, readMasterKeyFile } from '../../../src/index.ts'
import type { MasterKey } from '../../../src/index.ts'
import { formatKeyFile } from '../../../src/ledger/keys.ts'
import { tempDir } from '../../helpers/temp.ts'

const DATA_KEY = randomBytes(32)

async function wrapsAndUnwraps(key: MasterKey, again: MasterKey): Promise<void> {
  expect(again.id).toBe(key.id)
  const wrapped = await key.wrap(DATA_KEY, 'context')
  expect(Buffer.from(wrapped).includes(DATA_KEY)).toBe(false)
  expect(Buffer.from(await again.unwrap(wrapped, 'context'))).toEqual(DATA_KEY)
}

function fileOf(text: string): string {
  const path = join(tempDir(), 'master.key')
  writeFileSync(path, text)
  return path
}

test('a file holds one key, for its owner alone, and is never written over', async () => {
  const path = join(tempDir(), 'keys', 'master.key')
  const { key } = await createMasterKeyFile(path)
  expect(statSync(path).mode & 0o777).toBe(0o600)
  expect(readFileSync(path, 'utf8')).toMatch(/^MASTER\+KEY\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}\n$/)
  await wrapsAndUnwraps(key, await readMasterKeyFile(path))
  await expect(createMasterKeyFile(path)).rejects.toMatchObject({ code: 'key_error' })
  await wrapsAndUnwraps(key, await readMasterKeyFile(path))
})

test('a file may be under a passphrase', async () => {
  const path = join(tempDir(), 'master.key')
  const { key } = await createMasterKeyFile(path, 'correct horse')
  expect(readFileSync(path, 'utf8')).toMatch(/^ENCRYPTED\+KEY\+/)
  await wrapsAndUnwraps(key, await readMasterKeyFile(path, { passphrase: 'correct horse' }))
  await expect(readMasterKeyFile(path, { passphrase: 'wrong' })).rejects.toMatchObject({ code: 'key_error' })
  await expect(readMasterKeyFile(path)).rejects.toMatchObject({ code: 'key_error' })
})

test('what was wrapped opens under its key and in its context alone', async () => {
  const key = masterKeyFrom(randomBytes(32))
  const wrapped = await key.wrap(DATA_KEY, 'context')
  await expect(key.unwrap(wrapped, 'another')).rejects.toThrow()
  await expect(masterKeyFrom(randomBytes(32)).unwrap(wrapped, 'context')).rejects.toThrow()
  for (let at = 0; at < wrapped.length; at++) {
    const changed = Uint8Array.from(wrapped)
    changed[at]! ^= 1
    await expect(key.unwrap(changed, 'context')).rejects.toThrow()
  }
  await expect(key.unwrap(wrapped.subarray(1), 'context')).rejects.toMatchObject({ code: 'key_error' })
  expect(() => masterKeyFrom(randomBytes(31))).toThrow(RangeError)
})

test.each([
  ['nothing', ''],
  ['another id', `MASTER+KEY+00000000+${Buffer.concat([Buffer.of(0x20), Buffer.alloc(32, 7)]).toString('base64')}\n`],
  ['too few bytes', `MASTER+KEY+00000000+${Buffer.alloc(32, 0x20).toString('base64')}\n`],
  ['a signing key', formatKeyFile('example.com/x', Buffer.alloc(32, 7))],
  ['JSON that is none', '{"master_id":'],
  ['no command', '{"master_id":"a","wrap":[],"unwrap":["x"]}'],
  ['an unknown member', '{"master_id":"a","wrap":["x"],"unwrap":["x"],"more":1}'],
  ['a member twice', '{"master_id":"a","master_id":"b","wrap":["x"],"unwrap":["x"]}'],
  ['a relative path', '{"master_id":"a","wrap":["./x"],"unwrap":["x"]}'],
  ['no id', '{"wrap":["x"],"unwrap":["x"]}'],
])('a file with %s is refused', async (_, text) => {
  await expect(readMasterKeyFile(fileOf(text))).rejects.toMatchObject({ code: 'key_error' })
})

test('a file that is not there is told', async () => {
  await expect(readMasterKeyFile(join(tempDir(), 'none'))).rejects.toMatchObject({ code: 'key_error' })
})

/** A program that turns its input by a byte: a KMS of the simplest kind. */
function turning(folder: string): string {
  const path = join(folder, 'kms')
  writeFileSync(
    path,
    `#!${process.execPath}\nconst chunks = []; process.stdin.on('data', (c) => chunks.push(c)).on('end', () => {
      console.log(Buffer.from(Buffer.concat(chunks).map((b) => b ^ 0x5a)).toString('base64')) })\n`,
  )
  chmodSync(path, 0o755)
  return path
}

test('two commands work with a key that lies elsewhere', async () => {
  const folder = tempDir()
  const program = turning(folder)
  const path = join(folder, 'master.json')
  writeFileSync(path, JSON.stringify({ master_id: 'kms/key-1', wrap: [program, 'wrap'], unwrap: [program, 'unwrap'], timeout_ms: 20_000 }))
  const key = await readMasterKeyFile(path)
  expect(key.id).toBe('kms/key-1')
  await wrapsAndUnwraps(key, key)
})

test.each([
  ['fails', ['sh', '-c', 'echo no rights >&2; exit 3'], /ended with 3: no rights/],
  ['says nothing', ['true'], /no base64/],
  ['says something else', ['echo', '!!'], /no base64/],
  ['is not there', ['/nowhere/kms'], /can't be run/],
  ['hangs', ['sleep', '10'], /did not answer within 200 ms/],
])('a command that %s is told', async (_, command, message) => {
  const key = commandMasterKey({ id: 'kms', wrap: command, unwrap: command, timeoutMs: 200 })
  await expect(key.wrap(DATA_KEY, '')).rejects.toMatchObject({ code: 'key_error', message: expect.stringMatching(message) as string })
  await expect(key.unwrap(DATA_KEY, '')).rejects.toMatchObject({ code: 'key_error' })
})

test('misuse is told', () => {
  expect(() => commandMasterKey({ id: '', wrap: ['x'], unwrap: ['x'] })).toThrow(TypeError)
  expect(() => commandMasterKey({ id: 'a\nb', wrap: ['x'], unwrap: ['x'] })).toThrow(TypeError)
  expect(() => commandMasterKey({ id: 'a', wrap: [], unwrap: ['x'] })).toThrow(TypeError)
  expect(() => commandMasterKey({ id: 'a', wrap: ['x'], unwrap: ['x'], timeoutMs: 0 })).toThrow(RangeError)
})
