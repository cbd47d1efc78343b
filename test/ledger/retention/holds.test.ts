/** Legal holds: what fits one is neither erased nor moved, however that comes and whenever the hold does. */
import { expect, test } from 'vitest'
import type { AuditLedger } from '../../../src/index.ts'
import { crashingArchive, Fuse } from '../../helpers/crashing-store.ts'
import { DAY_US, namesIn, retained } from '../../helpers/retained.ts'

const SAID = { reason: 'a dispute', case: 'case 2026-17' }

async function tierOf(ledger: AuditLedger, run_id: string): Promise<string> {
  const record = (await ledger.get(run_id))!
  return record.entry !== null ? 'there' : (record.withheld?.state ?? 'unknown')
}

test.each([
  ['a run', { run_id: 'run-3' }],
  ['an actor', { actor: 'agent-0' }],
  ['a task', { correlation_id: 'task-3' }],
  ['a time range', { recorded_since: '2026-01-04T00:00:00Z', recorded_until: '2026-01-05T00:00:00Z' }],
  ['a name of the entry', { model: 'small' }],
])('%s', async (_, criteria) => {
  const { ledger, clock } = await retained()
  const plan = await ledger.retention.plan()
  const hold = await ledger.retention.placeHold(criteria, SAID)
  // Placed between plan and apply.
  const held = (await ledger.query(criteria)).records.filter(({ run_id }) => Number(run_id.slice(4)) < 10)
  const applied = await ledger.applyRetention()
  expect(applied.cold.records).toBeLessThan(plan.steps.find(({ move }) => move === 'cold')!.records)
  for (const { run_id } of held) expect(await tierOf(ledger, run_id)).toBe('there')
  await ledger.retention.archive({})
  for (const { run_id } of held) expect(await tierOf(ledger, run_id)).toBe('there')
  await expect(ledger.retention.erase(criteria, { reason: 'x' })).rejects.toMatchObject({ code: 'held', details: { holds: [hold] } })
  await expect(ledger.retention.erase({ run_id: ['run-1', held[0]!.run_id] }, { reason: 'x' })).rejects.toMatchObject({ code: 'held' })
  expect(await tierOf(ledger, 'run-1')).not.toBe('erased')
  clock.advance(400 * DAY_US)
  expect((await ledger.retention.plan({ eraseAfterDays: 200 })).kept.held).toBe(await ledger.count(criteria))
  await ledger.applyRetention({ eraseAfterDays: 200 })
  for (const { run_id } of held) expect(await tierOf(ledger, run_id)).toBe('there')
  await ledger.retention.releaseHold(hold, SAID)
  await ledger.applyRetention({ eraseAfterDays: 200 })
  expect(await tierOf(ledger, held[0]!.run_id)).toBe('erased')
  expect(await ledger.verifyIntegrity()).toMatchObject({ ok: true })
})

test('a hold that comes while a file is on its way is heeded: the file goes, and is made anew without it', async () => {
  const { ledger, open, cold } = await retained()
  const fuse = new Fuse()
  const hooked = crashingArchive(cold, fuse)
  let placed: string | null = null
  const late = await open({
    archive: {
      ...hooked,
      write: async (name, content) => {
        const told = await hooked.write(name, content)
        placed ??= await ledger.retention.placeHold({ run_id: 'run-5' }, SAID)
        return told
      },
    },
  })
  const applied = await late.applyRetention()
  expect(placed).not.toBe(null)
  expect(applied.cold).toMatchObject({ files: 1, records: 10 })
  expect(await namesIn(cold)).toHaveLength(1)
  expect(await tierOf(late, 'run-5')).toBe('there')
  expect(await tierOf(late, 'run-4')).toBe('archived')
})

test('a hold on a name that can not be looked up keeps what may fit it', async () => {
  const { ledger, open } = await retained()
  await ledger.applyRetention()
  const hold = await ledger.retention.placeHold({ model: 'large' }, SAID)
  const blind = await open({ archive: undefined })
  // run-3 is small; but who can't open the file can't know.
  await expect(blind.retention.erase({ run_id: 'run-3' }, { reason: 'x' })).rejects.toMatchObject({
    code: 'held',
    details: { holds: [hold] },
  })
  expect((await ledger.retention.erase({ run_id: 'run-3' }, { reason: 'x' })).records).toBe(1)
})

test('a hold says what it is about, is listed with what became of it, and is released once', async () => {
  const { ledger } = await retained(5)
  await expect(ledger.retention.placeHold({}, SAID)).rejects.toThrow(RangeError)
  await expect(ledger.retention.placeHold({ run_id: [] }, SAID)).rejects.toThrow(RangeError)
  await expect(ledger.retention.placeHold({ text: 'secret' }, SAID)).rejects.toThrow(TypeError)
  await expect(ledger.retention.placeHold({ run_id: 'a' }, { ...SAID, case: '' })).rejects.toThrow('case')
  const id = await ledger.retention.placeHold({ actor: ['b', 'a', 'b'], since: new Date(0) }, SAID)
  expect(await ledger.retention.holds()).toMatchObject([
    { id, criteria: { actor: ['a', 'b'], since: '1970-01-01T00:00:00.000000Z' }, ...SAID, released_at: null },
  ])
  await ledger.retention.releaseHold(id, SAID)
  await expect(ledger.retention.releaseHold(id, SAID)).rejects.toMatchObject({ code: 'not_found' })
  await expect(ledger.retention.releaseHold('nobody', SAID)).rejects.toMatchObject({ code: 'not_found' })
  expect((await ledger.retention.holds())[0]?.released_at).toMatch(/^2026/)
})
