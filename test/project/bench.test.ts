/** The bench runs from end to end with tiny counts, and without a network: what it measures there means nothing. */
import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { tempDir } from '../helpers/temp.ts'

const bench = join(import.meta.dirname, '../../bench')
const run = promisify(execFile)

interface Result {
  readonly topic: string
  readonly what: string
  readonly absent?: string
  readonly ours?: readonly number[]
  readonly floor?: readonly number[]
}

/** Its own temporary folder, so that neither peers of an earlier run are there nor files of this one can stay. */
async function quickly(folder: string, ...args: readonly string[]): Promise<readonly Result[]> {
  const offline = { npm_config_offline: 'true', npm_config_cache: join(folder, 'npm'), PIP_NO_INDEX: '1', PYTHONPATH: '' }
  const env = { ...process.env, TMPDIR: folder, ...offline }
  const { stdout } = await run(process.execPath, [join(bench, 'main.ts'), '--quick', '--records', '2000', '--json', ...args], { env })
  return (JSON.parse(stdout) as { readonly results: readonly Result[] }).results
}

test('each topic gives its figures, and a bench leaves nothing behind', async () => {
  const folder = tempDir()
  const topics = ['append', 'verify', 'loop', 'query', 'open', 'proofs', 'memory']
  const results = await quickly(folder, '--only', topics.join(','))
  expect([...new Set(results.map(({ topic }) => topic))]).toEqual(topics)
  for (const { what, ours = [], floor = [] } of results) {
    expect(ours.length, what).toBeGreaterThan(0)
    expect(floor.length, what).toBe(ours.length)
    expect(
      [...ours, ...floor].every((figure) => Number.isFinite(figure)),
      what,
    ).toBe(true)
  }
  expect(readdirSync(folder)).toEqual([])
})

test('peers that can not be had are named as missing', async () => {
  const results = await quickly(tempDir(), '--only', 'peers')
  expect(results.length).toBeGreaterThan(0)
  for (const { what, absent } of results) expect(absent, what).toMatch(/^not to be had here: /)
})

test('misuse is told, and nothing is measured', async () => {
  await expect(quickly(tempDir(), '--only', 'everything')).rejects.toMatchObject({ code: 2, stdout: '' })
})
