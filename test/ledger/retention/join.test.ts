/** A policy that is applied each day makes few files, not one a day. */
import { expect, test } from 'vitest'
import type { ApplyOptions } from '../../../src/index.ts'
import { archivedBytes, readLines } from '../../../src/ledger/packed-source.ts'
import { readSense } from '../../../src/verify/record.ts'
import { DAY_US, gathered, namesIn, retained } from '../../helpers/retained.ts'
import type { Retained } from '../../helpers/retained.ts'

const DAYS = 45
/** Seven days and older, the last one among them. */
const MOVED = DAYS - 6

/** Calls of many days, with a run after each. */
async function daily(given: Retained, options: ApplyOptions = {}, days = DAYS): Promise<void> {
  const { ledger, clock } = given
  for (let day = 0; day < days; day++) {
    await ledger.record({ run_id: `day-${day}`, agent_name: `agent-${day % 3}`, method_name: 'ask', prompt: `of day ${day}` })
    clock.advance(DAY_US)
    expect((await ledger.retention.apply({}, options)).left).toEqual([])
  }
}

async function expectAll({ ledger, open }: Retained): Promise<void> {
  expect(await ledger.verifyIntegrity()).toMatchObject({ ok: true, withheld: { unnamed: 0 } })
  const reading = await open({ readOnly: true, readThrough: true })
  for (let day = 0; day < DAYS; day++) expect((await reading.get(`day-${day}`))?.entry).toMatchObject({ prompt: `of day ${day}` })
  await reading.close()
}

async function positionsIn({ store, cold }: Retained): Promise<Map<string, number[]>> {
  const found = new Map<string, number[]>()
  for (const archive of [store.upkeep!.archive, cold])
    for (const name of await namesIn(archive)) {
      const lines = (await gathered(readLines(await archivedBytes(archive, name), { name }))).flat()
      found.set(
        name,
        lines.map((line) => readSense(line).header.seq),
      )
    }
  return found
}

test('a small file is made anew together with what is moved', async () => {
  const given = await retained(0)
  await daily(given)
  const files = await positionsIn(given)
  expect(files.size).toBe(2)
  const all = [...files.values()].flat()
  expect(all.length).toBe(MOVED)
  expect(new Set(all).size).toBe(all.length)
  await expectAll(given)
  const { warm, cold } = (await given.ledger.retention.plan()).tiers
  expect([warm.records, cold.records]).toEqual([23, MOVED - 23])
  const sizes = [...(await gathered(given.store.upkeep!.archive.list('entries-'))), ...(await gathered(given.cold.list('entries-')))]
  expect(warm.stored_bytes + cold.stored_bytes).toBe(sizes.reduce((sum, { bytes }) => sum + bytes, 0))
})

test('or stays as it is, where files are not to be removed', async () => {
  const given = await retained(0)
  await daily(given, { join: false })
  expect((await positionsIn(given)).size).toBe(MOVED)
  await expectAll(given)
  // From then on the last one of each tier is made anew: the warm one grows, and one that goes cold goes into another.
  given.clock.advance(DAY_US)
  await given.ledger.applyRetention()
  expect((await positionsIn(given)).size).toBe(MOVED - 1)
})

test('one with an entry under legal hold stays where it is, until the hold is released', async () => {
  const given = await retained(0)
  const { ledger } = given
  await daily(given, {}, 10)
  const hold = await ledger.retention.placeHold({ run_id: 'day-1' }, { case: 'a case', reason: 'a test' })
  const [held] = (await positionsIn(given)).keys()
  for (let day = 10; day < DAYS; day++) {
    await ledger.record({ run_id: `day-${day}`, agent_name: 'agent', method_name: 'ask', prompt: `of day ${day}` })
    given.clock.advance(DAY_US)
    expect((await ledger.applyRetention()).left).toEqual([])
    expect((await positionsIn(given)).has(held!)).toBe(true)
  }
  await expectAll(given)
  await ledger.retention.releaseHold(hold, { case: 'a case', reason: 'over' })
  given.clock.advance(DAY_US)
  await ledger.applyRetention()
  expect((await positionsIn(given)).has(held!)).toBe(false)
  await expectAll(given)
})

test('one that can not be read is left to verify, and what is due is moved all the same', async () => {
  const given = await retained(0)
  await daily(given, {}, 9)
  const { archive } = given.store.upkeep!
  const [name] = await namesIn(archive)
  const whole = await gathered(archive.read(name!))
  await archive.remove(name!)
  await archive.write(name!, Buffer.from('something else'))
  await daily(given, {}, 1)
  expect((await namesIn(archive)).length).toBe(2)
  expect(await given.ledger.verifyIntegrity()).toMatchObject({ ok: false })
  await archive.remove(name!)
  await archive.write(name!, Buffer.concat(whole))
  expect(await given.ledger.verifyIntegrity()).toMatchObject({ ok: true })
})

test('what goes cold out of the middle of a warm file is not kept twice, unless its neighbour is under legal hold', async () => {
  const given = await retained(20)
  const { ledger } = given
  await ledger.applyRetention()
  const twice = async (run: string): Promise<number> => {
    const { seq } = (await ledger.get(run))!
    return [...(await positionsIn(given)).values()].flat().filter((position) => position === seq).length
  }
  await ledger.retention.archive({ where: { run_id: 'run-5' } })
  expect(await twice('run-5')).toBe(1)
  const hold = await ledger.retention.placeHold({ run_id: 'run-6' }, { case: 'a case', reason: 'a test' })
  await ledger.retention.archive({ where: { run_id: 'run-7' } })
  expect(await twice('run-7')).toBe(2)
  expect(await ledger.verifyIntegrity()).toMatchObject({ ok: true })
  await ledger.retention.releaseHold(hold, { case: 'a case', reason: 'over' })
  await ledger.applyRetention()
  expect(await twice('run-7')).toBe(1)
  expect(await ledger.verifyIntegrity()).toMatchObject({ ok: true })
})
