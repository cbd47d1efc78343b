import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { tempDir } from '../helpers/temp.ts'
import { ok, run } from './cli.ts'

const ENTRY = '{"agent_name":"a","method_name":"m"}\n'

test.each(['audit', 'audit.db'])('%s: checkpoint prints the signed note, the same until something is recorded', async (name) => {
  const ledger = join(tempDir(), name)
  await ok(['init', ledger, '--origin', 'example.com/cli'])
  await ok(['record', ledger], { input: ENTRY })
  const note = await ok(['checkpoint', ledger])
  expect(note).toMatch(/^example\.com\/cli\n2\n[A-Za-z0-9+/]{43}=\n\n\u2014 example\.com\/cli [A-Za-z0-9+/]+=*\n$/)
  expect(await ok(['checkpoint', ledger])).toBe(note)
  await ok(['record', ledger], { input: ENTRY })
  const { size, note: later } = JSON.parse(await ok(['checkpoint', ledger, '--json'])) as { size: number; note: string }
  expect([size, later.split('\n')[1]]).toEqual([3, '3'])
  expect(readFileSync(join(name === 'audit' ? join(ledger, 'tree') : `${ledger}-tree`, 'checkpoint'), 'utf8')).toBe(later)
})

test('a lost key is refused with what to do; none goes on unsigned; the file given is used', async () => {
  const folder = tempDir()
  const [ledger, key] = [join(folder, 'audit'), join(folder, 'the.key')]
  await ok(['init', ledger, '--origin', 'example.com/cli', '--key', key])
  for (const [command, input] of [
    ['record', ENTRY],
    ['checkpoint', ''],
    ['rotate', ''],
  ] as const) {
    const refused = await run([command, ledger], { input })
    expect(refused.code).toBe(3)
    expect(refused.stderr).toMatch(/^error: key_error: .*--key/)
  }
  await ok(['record', ledger, '--key', 'none'], { input: ENTRY })
  expect((await run(['checkpoint', ledger, '--key', 'none'])).code).toBe(3)
  expect(await ok(['checkpoint', ledger, '--key', key])).toMatch(/^example\.com\/cli\n2\n/)
  expect(await ok(['checkpoint', ledger], { env: { CORTEX_LEDGER_KEY: key } })).toMatch(/^example\.com\/cli\n2\n/)
})

test('what this machine remembers keeps an older copy from being written to', async () => {
  const folder = tempDir()
  const ledger = join(folder, 'audit.db')
  await ok(['init', ledger, '--origin', 'example.com/cli'])
  await ok(['record', ledger], { input: ENTRY })
  rmSync(ledger)
  const refused = await run(['init', ledger, '--origin', 'example.com/cli'])
  expect([refused.code, refused.stderr]).toEqual([4, expect.stringMatching(/^error: forked: this machine remembers/)])
})
