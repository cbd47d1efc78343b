import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { tempDir } from '../helpers/temp.ts'
import { ok, run, runProcess } from './cli.ts'

test('the demonstration runs to its end, finds what was done, and touches nothing that exists', async () => {
  const dir = tempDir()
  mkdirSync(join(dir, 'show'))
  const { code, stdout, stderr } = await run(['demo', join(dir, 'show')])
  expect([code, stderr]).toEqual([0, ''])
  expect(stdout).not.toContain('\x1b')
  for (const outcome of ['denied', 'failure', 'timeout']) expect(stdout).toMatch(new RegExp(`^ +\\d+ .* ${outcome} `, 'm'))
  expect(stdout).toMatch(/^integrity +pass/m)
  expect(stdout.match(/^found, at record \d+\./gm)).toHaveLength(3)
  for (const problem of ['entry_mismatch', 'missing_records', 'chain_broken'])
    expect(stdout).toMatch(new RegExp(`^ +\\d+ +${problem} +segments/`, 'm'))
  for (const verdict of ['authenticity', 'completeness']) expect(stdout).toMatch(new RegExp(`^${verdict} +pass`, 'm'))
  expect(stdout).toMatch(/behind_checkpoint[^]*^found, by the checkpoint\./m)
  expect(stdout).toMatch(/^checked with nothing but the key example\.com\/agents\/demo\+/m)
  expect(stdout).toContain('One letter changed: entry_mismatch.')
  expect(stdout).toMatch(/2,000 records in [\d,]+ ms/)

  expect(readdirSync(join(dir, 'show'))).toEqual([])
  const folder = join(dir, 'show-2')
  expect(stdout).toContain(join(folder, 'ledger'))
  expect(await ok(['verify', join(folder, 'ledger'), '--origin', 'example.com/agents/demo'])).toMatch(/no problem found/)
  for (const copy of readdirSync(join(folder, 'tampered')))
    expect((await run(['verify', join(folder, 'tampered', copy), '--quiet'])).code).toBe(1)
  expect(Number(await ok(['query', join(folder, 'ledger'), '--correlation-id', 'case-4711', '--count']))).toBeGreaterThanOrEqual(10)
  expect(existsSync(join(folder, 'demo.key'))).toBe(true)
})

test('without a folder it takes a new one among the temporary files', async () => {
  const tmp = tempDir()
  const { code, stdout } = await runProcess(['demo'], { env: { TMPDIR: tmp, FORCE_COLOR: '1' } })
  expect(code).toBe(0)
  expect(readdirSync(tmp)).toEqual(['audit-demo'])
  expect(stdout).toContain('\x1b[')
})
