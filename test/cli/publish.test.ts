/** `publish`, and `verify` of what was published, as a process of its own each. */
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { gotlog } from '../helpers/gotlog.ts'
import { startChild } from '../helpers/child.ts'
import { serve } from '../helpers/http-server.ts'
import { filesIn, folderHandler, stranger } from '../helpers/published.ts'
import { tempDir } from '../helpers/temp.ts'
import { ok, run, runProcess } from './cli.ts'

const CALLS = (count: number): string => '{"agent_name":"analyst","method_name":"work","prompt":"a secret"}\n'.repeat(count)

async function ledgerAt(location: string, records: number): Promise<string> {
  const { verifier_key } = JSON.parse(await ok(['init', location, '--origin', 'example.com/cli', '--json'])) as { verifier_key: string }
  if (records > 1) await ok(['record', location], { input: CALLS(records - 1) })
  return verifier_key
}

describe.each(['audit', 'audit.db'])('%s', (name) => {
  test('is published, continued, verified by directory and address, and says no content', async () => {
    const folder = tempDir()
    const [ledger, dir] = [join(folder, name), join(folder, 'public')]
    const key = await ledgerAt(ledger, 3)
    expect(JSON.parse(await ok(['publish', ledger, dir, '--json']))).toMatchObject({
      origin: 'example.com/cli',
      size: 3,
      previous_size: null,
      files_written: 3,
      not_signed: null,
    })
    const old = join(folder, 'old-checkpoint')
    writeFileSync(old, readFileSync(join(dir, 'checkpoint')))
    await ok(['record', ledger], { input: CALLS(300) })
    expect(await ok(['publish', dir], { env: { CORTEX_LEDGER: ledger } })).toMatch(/303 records of example\.com\/cli, 300 new records/)
    for (const bytes of filesIn(dir).values()) expect(bytes.includes('secret')).toBe(false)
    if (gotlog !== null) expect(await gotlog(['log', dir, key])).toMatchObject({ ok: true, said: expect.stringContaining('size=303') })
    for (const place of [dir, await serve(folderHandler(dir))]) {
      const report = JSON.parse(await ok(['verify', '--key', key, '--since', old, place, '--json'])) as object
      expect(report).toMatchObject({ size: 303, verdicts: { integrity: 'pass', authenticity: 'pass', completeness: 'pass' }, problems: [] })
    }
    expect((await run(['verify', dir, '--key', stranger.verifierKey])).code).toBe(1)
    expect((await run(['verify', dir, '--key', 'junk'])).code).toBe(2)
    expect((await run(['verify', dir, '--since', join(dir, 'tile/entries/000')])).code).toBe(2)
    appendFileSync(join(dir, 'tile/0/000'), 'x')
    const broken = await run(['verify', dir])
    expect(broken.code).toBe(1)
    expect(broken.stdout).toMatch(/tile_mismatch/)
  })
})

test('beside a live writer the latest checkpoint is published, and why it is not a new one is said', async () => {
  const folder = tempDir()
  const [ledger, dir] = [join(folder, 'audit'), join(folder, 'public')]
  const key = await ledgerAt(ledger, 5)
  const writer = startChild('writer-process', {
    location: ledger,
    name: 'w',
    callers: 1,
    seed: 1,
    onlyHold: true,
    open: { origin: 'example.com/cli' },
  })
  await writer.waitFor(/^ready/)
  const { code, stdout, stderr } = await run(['publish', ledger, dir, '--json'])
  expect(code, stderr).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject({ size: 5, not_signed: expect.stringContaining('writing to') })
  expect(stderr).toMatch(/latest checkpoint/)
  expect(JSON.parse(await ok(['verify', dir, '--key', key, '--json']))).toMatchObject({ ok: true, size: 5 })
  await writer.kill()
})

test('several at once: one after the other, or refused, and the log is whole', async () => {
  const folder = tempDir()
  const [ledger, dir] = [join(folder, 'audit.db'), join(folder, 'public')]
  const key = await ledgerAt(ledger, 600)
  const runs = await Promise.all(Array.from({ length: 4 }, () => runProcess(['publish', ledger, dir])))
  for (const { code, stderr } of runs)
    if (code !== 0) expect([code, stderr]).toEqual([4, expect.stringContaining('another process is publishing')])
  expect(runs.map(({ code }) => code)).toContain(0)
  expect(JSON.parse(await ok(['verify', dir, '--key', key, '--json']))).toMatchObject({ ok: true, size: 600 })
})

test('what can not be: each with its exit code, and nothing is made', async () => {
  const folder = tempDir()
  const [ledger, other, dir] = [join(folder, 'audit'), join(folder, 'other'), join(folder, 'public')]
  await ledgerAt(ledger, 3)
  await ok(['init', other, '--origin', 'example.com/other'])
  await ok(['publish', ledger, dir])
  const before = filesIn(dir)
  const conflict = await run(['publish', other, dir])
  expect(conflict).toMatchObject({ code: 4, stderr: expect.stringContaining('publish_conflict') })
  expect(filesIn(dir)).toEqual(before)
  expect(await run(['publish', ledger, join(ledger, 'public')])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('in the ledger itself'),
  })
  expect(await run(['publish', ledger, other])).toMatchObject({ code: 4 })
  expect(await run(['publish', join(folder, 'nothing'), dir])).toMatchObject({ code: 3 })
  expect(await run(['publish', ledger, dir, '--key', join(folder, 'no.key')])).toMatchObject({
    code: 3,
    stderr: expect.stringContaining('key_error'),
  })
  expect(await run(['publish', ledger, dir, '--key', 'none'])).toMatchObject({
    code: 0,
    stderr: expect.stringContaining('latest checkpoint'),
  })
  expect(await run(['publish'])).toMatchObject({ code: 2 })
  expect(await run(['verify', ledger, '--key', stranger.verifierKey]), 'a ledger, under a key that is not its own').toMatchObject({
    code: 1,
  })
  const empty = await serve((_, response) => void response.writeHead(404).end())
  expect(await run(['verify', empty])).toMatchObject({ code: 3, stderr: expect.stringContaining('no published log') })
})

test('a ledger that no key signs has nothing to publish', async () => {
  const folder = tempDir()
  const ledger = join(folder, 'audit')
  const writer = startChild('writer-process', { location: ledger, name: 'w', callers: 1, seed: 1, appends: 2 })
  await writer.waitFor(/^done/)
  expect(await run(['publish', ledger, join(folder, 'public')])).toMatchObject({
    code: 3,
    stderr: expect.stringContaining('no checkpoint'),
  })
})
