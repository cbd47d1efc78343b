import { join } from 'node:path'
import { expect, test } from 'vitest'
import { AuditLedger, currentState } from '../../src/index.ts'
import { fixedClock } from '../../src/testing/index.ts'
import { tempDir } from '../helpers/temp.ts'
import { withhold } from '../helpers/withholding.ts'

const second = (n: number): string => `2026-03-01T12:00:0${n}.000000Z`

async function orders(location = 'memory:'): Promise<AuditLedger> {
  const clock = fixedClock(second(0))
  const ledger = await AuditLedger.open(location, { origin: 'example.com/s', signer: null, clock, actor: 'shop' })
  const events = [
    { type: 'OrderPlaced', data: { total: 10, items: ['a', 'b'], address: { city: 'X', zip: '1' } } },
    { type: 'AddressChanged', data: { address: { city: 'Y' } } },
    { type: 'OrderPaid', data: { paid: true, total: null }, timestamp: second(1) },
  ]
  for (const event of events) {
    clock.advance(2_000_000)
    await ledger.append('order-1', event)
    await ledger.append('order-2', { type: 'OrderPlaced', data: { total: 99 } })
  }
  return ledger
}

test('data merged member by member; only this stream', async () => {
  await using ledger = await orders()
  const found = await currentState(ledger, 'order-1')
  expect(found).toMatchObject({ stream: 'order-1', version: 2, events: 3, withheld: 0, seq: 5, hash: (await ledger.at(5))!.hash })
  expect(found.state).toEqual({ total: null, items: ['a', 'b'], address: { city: 'Y' }, paid: true })
  expect(await currentState(ledger, 'nowhere')).toEqual({
    stream: 'nowhere',
    state: {},
    version: null,
    seq: null,
    hash: null,
    events: 0,
    withheld: 0,
  })
})

test('as it was known, and as it was: to the µs, inclusive', async () => {
  await using ledger = await orders()
  const versions = async (options: object): Promise<unknown> => (await currentState(ledger, 'order-1', options)).events
  expect(await versions({ recordedAt: second(4) })).toBe(2)
  expect(await versions({ recordedAt: '2026-03-01T12:00:03.999999Z' })).toBe(1)
  expect(await versions({ recordedAt: new Date(second(6)) })).toBe(3)
  expect(await versions({ recordedAt: '2026-03-01T13:00:04+01:00' })).toBe(2)
  // Paid before it was placed, by what the events say.
  expect((await currentState(ledger, 'order-1', { happenedAt: second(1) })).state).toEqual({ paid: true, total: null })
  expect(await versions({ happenedAt: second(1), recordedAt: second(4) })).toBe(0)
  await expect(versions({ recordedAt: 'yesterday' })).rejects.toThrow(RangeError)
})

test("a projection of the caller's own; names of members that mean something to JavaScript", async () => {
  await using ledger = await orders()
  const projection = {
    initial: () => ({ steps: [] as string[] }),
    on: { OrderPlaced: (s: { steps: string[] }) => ({ steps: [...s.steps, 'placed'] }) },
  }
  expect((await currentState(ledger, 'order-1', { projection })).state).toEqual({ steps: ['placed'] })
  const replayable = { start: () => 0, apply: (count: number) => count + 1 }
  expect((await currentState(ledger, 'order-1', { projection: replayable })).state).toBe(3)
  await ledger.append('odd', { type: 'toString', data: JSON.parse('{"__proto__":{"x":1},"constructor":2}') })
  const { state } = await currentState(ledger, 'odd')
  expect(Object.keys(state).toSorted()).toEqual(['__proto__', 'constructor'])
  expect(Object.getPrototypeOf(state)).toBe(Object.prototype)
  expect((await currentState(ledger, 'odd', { projection })).state).toEqual({ steps: [] })
})

test('withheld data are not in the state, and that is said', async () => {
  const folder = join(tempDir(), 'audit')
  await (await orders(folder)).close()
  withhold(folder, ({ type }) => type === 'AddressChanged')
  await using ledger = await AuditLedger.open(folder, { readOnly: true })
  expect(await currentState(ledger, 'order-1')).toMatchObject({ events: 3, withheld: 1, state: { address: { city: 'X', zip: '1' } } })
})
