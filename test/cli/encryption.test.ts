import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { tempDir } from '../helpers/temp.ts'
import { jsonLines, ok, run } from './cli.ts'

const SECRET = 'zanzibar'
const entry = (run_id: string, more: object = {}): string =>
  `${JSON.stringify({ agent_name: 'a', method_name: 'm', run_id, raw_output: SECRET, ...more })}\n`

interface Place {
  readonly ledger: string
  readonly master: string
  readonly env: { readonly XDG_CONFIG_HOME: string; readonly XDG_STATE_HOME: string }
}

async function encrypted(): Promise<Place> {
  const folder = tempDir()
  const [ledger, master] = [join(folder, 'audit'), join(folder, 'master.key')]
  const env = { XDG_CONFIG_HOME: join(folder, 'config'), XDG_STATE_HOME: join(folder, 'state') }
  await ok(['init', ledger, '--encrypt', master], { env })
  return { ledger, master, env }
}

test('init --encrypt makes a master key; what is recorded is shown with it alone', async () => {
  const { ledger, master, env } = await encrypted()
  expect(statSync(master).mode & 0o777).toBe(0o600)
  const refused = await run(['record', ledger], { env, input: entry('r1') })
  expect([refused.code, refused.stderr]).toEqual([3, expect.stringMatching(/key_error.*encrypted/s)])
  await ok(['record', ledger, '--master-key', master], { env, input: entry('r1', { subject: 'ann' }) + entry('r2', { subject: 'bob' }) })
  await ok(['record', ledger], { env: { ...env, CORTEX_LEDGER_MASTER_KEY: master }, input: entry('r3') })
  await ok(['record', ledger, '--master-key', 'none'], { env, input: entry('r4', { raw_output: 'in clear' }) })

  const without = await ok(['show', ledger, 'r1'], { env })
  expect(without).toMatch(/entry encrypted: .*data key [0-9a-f]{32}/)
  expect(without).not.toContain(SECRET)
  expect(await ok(['show', ledger, 'r1', '--master-key', master], { env })).toContain(SECRET)
  const shown = JSON.parse(await ok(['show', ledger, 'r1', '--json', '--master-key', master], { env })) as { decrypted: object }
  expect(shown.decrypted).toMatchObject({ raw_output: SECRET })
  const line = await ok(['show', ledger, 'r1', '--json'], { env: { ...env, CORTEX_LEDGER_MASTER_KEY: master } })
  expect(line).toContain('"$enc"')

  const lines = await ok(['export', ledger], { env })
  expect(lines).not.toContain(SECRET)
  const opened = jsonLines(await ok(['export', ledger, '--master-key', master], { env })) as { decrypted?: { raw_output: string } }[]
  expect(opened.map(({ decrypted }) => decrypted?.raw_output)).toEqual([undefined, SECRET, SECRET, SECRET, undefined])
  await ok(['verify', ledger, '--quiet', '--no-remembered'], { env })
  expect(await ok(['verify', ledger, '--decrypt', master], { env })).toContain('encrypted entries: 3 open')
})

test('keys shred closes the entries of one name, and verify --decrypt tells so', async () => {
  const { ledger, master, env } = await encrypted()
  await ok(['record', ledger, '--master-key', master], { env, input: entry('r1', { subject: 'ann' }) + entry('r2', { subject: 'bob' }) })
  const keys = jsonLines(await ok(['keys', 'data', ledger, '--json'], { env })) as { id: string; master: string }[]
  expect(keys.length).toBe(2)
  expect((await run(['keys', 'shred', ledger, '--name', 'ann'], { env })).code).toBe(3)
  expect((await run(['keys', 'shred', ledger], { env })).code).toBe(2)
  const { shredded } = JSON.parse(await ok(['keys', 'shred', ledger, '--name', 'ann', '--master-key', master, '--json'], { env })) as {
    shredded: string[]
  }
  expect(await ok(['keys', 'shred', ledger, '--name', 'ann', '--master-key', master], { env })).toContain('no such data key')
  expect(await ok(['show', ledger, 'r1', '--master-key', master], { env })).toContain(`data key ${shredded[0]} is not there`)
  expect(await ok(['show', ledger, 'r2', '--master-key', master], { env })).toContain(SECRET)
  const report = await run(['verify', ledger, '--decrypt', master], { env })
  expect([report.code, report.stdout]).toEqual([1, expect.stringMatching(/entry_not_opened.*not every encrypted entry opens/s)])
  const other = keys.find(({ id }) => id !== shredded[0])?.id ?? ''
  const why = ['--reason', 'dispute', '--case', 'case 7']
  const { hold } = JSON.parse(await ok(['hold', 'place', ledger, '--run-id', 'r2', ...why, '--json'], { env })) as { hold: string }
  const held = await run(['keys', 'shred', ledger, '--id', other], { env })
  expect([held.code, held.stdout, held.stderr]).toEqual([4, '', expect.stringContaining(hold)])
  await ok(['hold', 'release', ledger, '--id', hold, ...why], { env })
  expect(await ok(['keys', 'shred', ledger, '--id', other], { env })).toContain(other)
})

test('keys rotate-master puts all data keys under a new one', async () => {
  const { ledger, master, env } = await encrypted()
  await ok(['record', ledger, '--master-key', master], { env, input: entry('r1') })
  const next = join(tempDir(), 'next.key')
  await ok(['keys', 'new-master', next], { env })
  expect((await run(['keys', 'new-master', next], { env })).code).toBe(3)
  expect((await run(['keys', 'rotate-master', ledger, '--to', next], { env })).code).toBe(2)
  const before = readFileSync(join(ledger, 'segments', '00000000000000000000.jsonl'))
  expect(await ok(['keys', 'rotate-master', ledger, '--master-key', master, '--to', next], { env })).toContain('2 keys')
  expect(readFileSync(join(ledger, 'segments', '00000000000000000000.jsonl'))).toEqual(before)
  expect(await ok(['show', ledger, 'r1', '--master-key', next], { env })).toContain(SECRET)
  const old = await ok(['show', ledger, 'r1', '--master-key', master], { env })
  expect(old).toMatch(/entry encrypted: .*wrapped by the master key/)
  expect(old).not.toContain(SECRET)
})
