/** A process that records without waiting and ends loses nothing, however it ends (short of being killed). */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { AuditLedger } from '../../src/index.ts'
import { startChild } from '../helpers/child.ts'
import type { ExitPlan } from '../helpers/exiting-process.ts'
import { tempDir } from '../helpers/temp.ts'

const COUNT = 60

describe.each([
  ['JSONL', 'ledger'],
  ['SQLite', 'ledger.db'],
])('%s', (_, name) => {
  const ways: [ExitPlan['what'], ExitPlan['end']][] = [
    ['record', 'natural'],
    ['record', 'exit'],
    ['record', 'later'],
    ['record', 'throw'],
    ['append', 'exit'],
    ['append', 'later'],
    ['call', 'natural'],
    ['call', 'exit'],
    ['call', 'throw'],
  ]
  test.each(ways)('%s without waiting, end: %s', async (what, end) => {
    const location = join(tempDir(), name)
    const child = startChild('exiting-process', { location, what, end, count: COUNT } satisfies ExitPlan)
    const { code } = await child.exited
    expect(code, child.stderr()).toBe(end === 'throw' ? 1 : 0)
    const ledger = await AuditLedger.open(location, { signer: null })
    const ids = new Set<string>()
    for await (const { run_id } of ledger.read()) ids.add(run_id)
    expect(ids.size).toBe(1 + COUNT * (what === 'append' ? 2 : 1))
    for (let i = 0; i < COUNT; i++) expect(ids).toContain(`r${i}`)
    expect(await ledger.verifyIntegrity()).toMatchObject({ ok: true, problems: [] })
    await ledger.close()
  })

  test('appends with a condition are not written, which is said, and what waits beside them is', async () => {
    const location = join(tempDir(), name)
    const child = startChild('exiting-process', { location, what: 'conditional', end: 'exit', count: COUNT } satisfies ExitPlan)
    const { code } = await child.exited
    expect(code, child.stderr()).toBe(0)
    expect(child.stderr()).toMatch(new RegExp(`at exit were not written: ${COUNT} appends with a condition`))
    const ledger = await AuditLedger.open(location, { signer: null })
    expect(await ledger.count()).toBe(1 + COUNT)
    await ledger.close()
  })
})
