/** Policies: what they may say, and what follows from them for one record. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { asRetentionPolicy, decide, policyEntry, readRetentionPolicy, RETENTION_PRESETS } from '../../../src/ledger/retention/policy.ts'
import type { RetainedRecord } from '../../../src/ledger/retention/policy.ts'
import { tempDir } from '../../helpers/temp.ts'

const DAY = 86_400_000_000

test.each([
  [{ hotDay: 3 }, '/hotDay'],
  [{ hotDays: '7' }, '/hotDays'],
  [{ hotDays: -1 }, '/hotDays'],
  [{ hotDays: Number.NaN }, '/hotDays'],
  [{ hotDays: 10, warmDays: 9 }, '/warmDays'],
  [{ preset: '5-years' }, '/preset'],
  [{ preset: '6-years', floorDays: 100 }, '/floorDays'],
  [{ floorDays: 182 }, '/floorDays'],
  [{ preset: '12-months', warmDays: 30 }, '/warmDays'],
  [{ override: 'yes' }, '/override'],
  [{ override: { by: 'case 7' } }, '/override/reason'],
  [{ override: { by: '', reason: 'x' } }, '/override/by'],
  [{ override: { by: 'a', reason: 'b', also: 1 } }, '/override/also'],
  [[], 'must be an object'],
  [null, 'must be an object'],
])('%j is no policy, and the message names the place', (input, path) => {
  expect(() => asRetentionPolicy(input)).toThrow(path)
})

test('what is left out is as the documents say', () => {
  expect(asRetentionPolicy()).toEqual({
    preset: null,
    hotDays: 7,
    warmDays: 30,
    eraseAfterDays: null,
    floorDays: 183,
    override: null,
    rotateAfterDays: 7,
  })
  for (const [preset, { source, floorDays }] of Object.entries(RETENTION_PRESETS)) {
    const policy = asRetentionPolicy({ preset })
    expect(policy.floorDays).toBe(floorDays)
    expect(policy.eraseAfterDays).toBe(null)
    expect(source).toMatch(/article|PCI|CFR/)
  }
})

test('a file of a policy is read, and one that is none names the file and the member', async () => {
  const folder = tempDir()
  const file = join(folder, 'policy.json')
  writeFileSync(file, '{"preset":"6-years","eraseAfterDays":2300}')
  expect(await readRetentionPolicy(file)).toEqual({ preset: '6-years', eraseAfterDays: 2300 })
  writeFileSync(file, '{"override":{"by":7}}')
  await expect(readRetentionPolicy(file)).rejects.toMatchObject({ code: 'invalid_policy', details: { path: '/override/by' } })
  writeFileSync(file, '{')
  await expect(readRetentionPolicy(file)).rejects.toMatchObject({ code: 'invalid_policy' })
  await expect(readRetentionPolicy(join(folder, 'none.json'))).rejects.toMatchObject({ code: 'not_found' })
})

const record: RetainedRecord = { tier: 'hot', recorded_us: 0, restored_us: null, isOwn: false, isHeld: false }

test('the floor keeps what a policy would erase, unless the override is there', () => {
  const policy = { eraseAfterDays: 90 }
  const at = (days: number, more: object = {}): unknown => decide(asRetentionPolicy({ ...policy, ...more }), record, days * DAY, true)
  expect(at(100)).toEqual({ move: 'cold', kept: 'floor' })
  expect(at(183)).toEqual({ move: 'erase', kept: null })
  const override = { by: 'DPO-2026-11', reason: 'art. 5(1)(e)' }
  expect(at(100, { override })).toEqual({ move: 'erase', kept: null })
  expect(policyEntry(asRetentionPolicy({ ...policy, override }))).toMatchObject({ erase_after_days: 90, floor_days: 183, override })
})

test('a record is moved only towards the cold, and what is held or the ledger own is not touched', () => {
  const days = fc.integer({ min: 0, max: 400 })
  const tiers = ['hot', 'warm', 'cold'] as const
  fc.assert(
    fc.property(
      fc.record({ hotDays: days, more: days, eraseAfterDays: fc.option(days), floorDays: fc.integer({ min: 183, max: 400 }) }),
      fc.record({
        tier: fc.constantFrom(...tiers),
        recorded_us: days.map((day) => day * DAY),
        restored_us: fc.option(days.map((day) => day * DAY)),
        isOwn: fc.boolean(),
        isHeld: fc.boolean(),
      }),
      days,
      fc.boolean(),
      ({ more, ...given }, facts, later, hasCold) => {
        const policy = asRetentionPolicy({ ...given, warmDays: given.hotDays + more })
        const now = Math.max(facts.recorded_us, facts.restored_us ?? 0) + later * DAY
        const { move } = decide(policy, facts, now, hasCold)
        if (facts.isOwn || facts.isHeld) expect(move).toBe(null)
        if (move === 'warm' || move === 'cold') expect(tiers.indexOf(move)).toBeGreaterThan(tiers.indexOf(facts.tier))
        if (move === 'cold') expect(hasCold).toBe(true)
        if (move === 'erase') expect(now - facts.recorded_us).toBeGreaterThanOrEqual(policy.floorDays * DAY)
        // What was moved has nothing more to do at the same time.
        if (move === 'warm' || move === 'cold') expect(decide(policy, { ...facts, tier: move }, now, hasCold).move).toBe(null)
      },
    ),
  )
})
