/** `copy` and `promote`, as a process of its own each. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { damage } from '../helpers/jsonl-ledger.ts'
import { tempDir } from '../helpers/temp.ts'
import { ok, run } from './cli.ts'

const CALLS = (count: number): string => '{"agent_name":"analyst","method_name":"work"}\n'.repeat(count)

test('a ledger is moved from files to a database: copied, brought up to date, promoted', async () => {
  const folder = tempDir()
  const [files, db] = [join(folder, 'audit'), join(folder, 'audit.db')]
  await ok(['init', files, '--origin', 'example.com/cli'])
  await ok(['record', files], { input: CALLS(2) })
  expect(await ok(['copy', files, db])).toMatch(/audit\.db is a verified replica of example\.com\/cli: 3 records, root [0-9a-f]{16}…\n$/)
  await ok(['record', files], { input: CALLS(4) })
  expect(await run(['record', db], { input: CALLS(1) })).toMatchObject({ code: 3, stderr: expect.stringMatching(/read_only: .*promote/) })
  expect(JSON.parse(await ok(['copy', db, '--json'], { env: { CORTEX_LEDGER: files } }))).toMatchObject({ size: 7, previous_size: 3 })
  const promoted = await run(['promote', db])
  expect(promoted).toMatchObject({ code: 0, stderr: '' })
  expect(promoted.stdout).toMatch(/is the ledger example\.com\/cli now, with 7 records\. Nobody may write to .*audit any more/)
  await ok(['record', db], { input: CALLS(1) })
  expect(await run(['promote', db])).toMatchObject({ code: 4, stderr: expect.stringContaining('already_exists') })
  expect(await run(['copy', files, db])).toMatchObject({ code: 4, stderr: expect.stringContaining('already_exists') })
})

test('what is left of a damaged ledger is copied, and promoted only by whoever says so', async () => {
  const folder = tempDir()
  const [files, db] = [join(folder, 'audit'), join(folder, 'audit.db')]
  await ok(['init', files, '--origin', 'example.com/cli'])
  await ok(['record', files], { input: CALLS(5) })
  damage(files, (bytes) => Buffer.from(bytes.toString().replace(/\{"hash":"(?=[^\n]*"seq":4,)/, '{"hsah":"')))
  expect(await run(['copy', files, db])).toMatchObject({ code: 3, stderr: expect.stringMatching(/damaged: record 4 of/) })
  expect(await run(['promote', db])).toMatchObject({ code: 4, stderr: expect.stringMatching(/not_verified: .*--unverified/) })
  const { code, stdout, stderr } = await run(['promote', db, '--unverified', '--json'])
  expect([code, JSON.parse(stdout)]).toEqual([0, expect.objectContaining({ size: 4, verified: false, origin: 'example.com/cli' })])
  expect(stderr).toBe('')
})

test('misuse is told as such', async () => {
  const folder = tempDir()
  const files = join(folder, 'audit')
  for (const args of [['copy'], ['copy', files, join(files, 'copy')], ['copy', 'memory:', files], ['promote']])
    expect(await run(args), args.join(' ')).toMatchObject({ code: 2, stdout: '' })
  expect(await run(['copy', files, join(folder, 'copy.db')])).toMatchObject({ code: 3, stderr: expect.stringContaining('not_found') })
})
