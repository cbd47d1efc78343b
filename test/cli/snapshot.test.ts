/** `snapshot`, and `verify --snapshots`, as a process of its own each. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect, test } from 'vitest'
import { tempDir } from '../helpers/temp.ts'
import { ok, run } from './cli.ts'

const CALLS = '{"agent_name":"analyst","method_name":"work"}\n'.repeat(4)

function moduleIn(folder: string, step = 1): string {
  const index = pathToFileURL(join(import.meta.dirname, '../../src/index.ts')).href
  const file = join(folder, `projections-${step}.mjs`)
  writeFileSync(
    file,
    `import { defineProjection } from '${index}'
export const calls = defineProjection({ name: 'calls', version: 1, initial: { calls: 0 }, on: { AgentCallCompleted: (state) => ({ calls: state.calls + ${step} }) } })`,
  )
  return file
}

test('a snapshot is taken, listed and verified; one that was changed is found', async () => {
  const folder = tempDir()
  const [ledger, projections] = [join(folder, 'audit'), moduleIn(folder)]
  await ok(['init', ledger, '--origin', 'example.com/cli'])
  await ok(['record', ledger], { input: CALLS })
  expect(await ok(['snapshot', ledger])).toBe('the ledger names no snapshot\n')
  const id = (await ok(['snapshot', ledger, '--projections', projections])).trim()
  expect(id).toMatch(/^[0-9a-f-]{36}$/)
  expect(JSON.parse(await ok(['snapshot', ledger, '--json']))).toMatchObject({
    id,
    projection: 'calls',
    version: 1,
    position: 4,
    kept: true,
  })
  expect(await ok(['snapshot', ledger])).toMatch(new RegExp(`4 +calls v1 .*yes +${id}`))
  const verify = ['verify', ledger, '--no-remembered', '--snapshots']
  expect(await ok(verify)).toMatch(/snapshot of calls v1 at position 4: not checked/)
  expect(await ok([...verify, '--projections', projections])).toMatch(/snapshot of calls v1 at position 4: pass/)
  const other = await run([...verify, '--projections', moduleIn(folder, 2)])
  expect(other).toMatchObject({ code: 1, stdout: expect.stringMatching(/position 4: fail \(a replay.*not every snapshot is/s) })
  const [name] = readdirSync(join(ledger, 'snapshots')) as [string]
  const file = join(ledger, 'snapshots', name)
  writeFileSync(file, readFileSync(file, 'utf8').replace('"calls":4', '"calls":5'))
  const { code, stdout } = await run([...verify, '--json'])
  expect([code, JSON.parse(stdout)]).toMatchObject([1, { ok: false, problems_total: 0, snapshots: [{ id, verdict: 'fail' }] }])
  expect(await run(['verify', ledger, '--no-remembered'])).toMatchObject({ code: 0 })
})

test('misuse is told as such', async () => {
  const folder = tempDir()
  const ledger = join(folder, 'audit')
  await ok(['init', ledger])
  const empty = join(folder, 'empty.mjs')
  writeFileSync(empty, 'export const nothing = 1')
  for (const module of [empty, join(folder, 'missing.mjs')])
    expect(await run(['snapshot', ledger, '--projections', module])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--projections'),
    })
  expect(await run(['snapshot', join(folder, 'nothing')])).toMatchObject({ code: 3 })
})
