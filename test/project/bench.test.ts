/** The bench runs from end to end with tiny counts, and without a network: what it measures there means nothing. */
import { execFile } from 'node:child_process'
import { chmodSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { TOPICS } from '../../bench/options.ts'
import { MISSING } from '../helpers/postgres-cluster.ts'
import { tempDir } from '../helpers/temp.ts'

const bench = join(import.meta.dirname, '../../bench')
const run = promisify(execFile)
if (MISSING !== null) console.log(`skipped: the bench of PostgreSQL: ${MISSING}`)

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

function requireFigures({ what, ours = [], floor = [] }: Result): void {
  expect(ours.length, what).toBeGreaterThan(0)
  expect(floor.length, what).toBe(ours.length)
  expect(
    [...ours, ...floor].every((figure) => Number.isFinite(figure)),
    what,
  ).toBe(true)
}

test('each topic gives its figures, what can not be had is named, and a bench leaves nothing behind', async () => {
  const folder = tempDir()
  // The server is another user's where this runs as root.
  chmodSync(folder, 0o711)
  const topics = TOPICS.filter((topic) => topic !== 'postgres' || MISSING === null)
  const results = await quickly(folder, '--only', topics.join(','))
  expect([...new Set(results.map(({ topic }) => topic))]).toEqual(topics)
  const of = (wanted: string): readonly Result[] => results.filter(({ topic }) => topic === wanted)
  for (const result of results) if (!['peers', 'postgres'].includes(result.topic)) requireFigures(result)
  for (const { what, absent } of of('peers')) expect(absent, what).toMatch(/^not to be had here: /)

  if (MISSING === null) {
    const [peer, ...others] = of('postgres').filter(({ absent }) => absent !== undefined)
    expect(peer?.absent).toMatch(/^not to be had here: /)
    expect(others).toEqual([])
    const measured = of('postgres').filter(({ absent }) => absent === undefined)
    for (const what of ['append', 'in 2 processes', 'query', 'verify', 'proof', 'memory', 'warm', 'erased'])
      expect(
        measured.some((result) => result.what.includes(what)),
        what,
      ).toBe(true)
    for (const result of measured) requireFigures(result)
  }
  expect(readdirSync(folder).filter((name) => name !== 'npm')).toEqual(['cortex-ledger-bench-peers'])
})

test('misuse is told, and nothing is measured', async () => {
  await expect(quickly(tempDir(), '--only', 'everything')).rejects.toMatchObject({ code: 2, stdout: '' })
})
