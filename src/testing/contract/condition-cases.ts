/** Append conditions: who decided on what certain events said appends only if no further one has come. */
import assert from 'node:assert/strict'
import type { LedgerError } from '../../ledger/errors.ts'
import type { EventQuery } from '../../ledger/conditions.ts'
import { assertRefused } from '../checks.ts'
import { seededRandom } from '../seeded-random.ts'
import type { Scenario } from './bench.ts'
import { assertSound, ledgerOver, newLedger, recordsOf, sizeOf, someCall } from './ledger-bench.ts'

const event = (type: string, ...tags: string[]): { type: string; data: object; tags: string[] } => ({ type, data: {}, tags })
const SEATS: EventQuery = { types: ['SeatReserved', 'SeatReleased'], tags: 'show:1' }

export const conditionCases: readonly Scenario[] = [
  {
    name: 'an append goes through where no event fits, behind or before',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      await ledger.append('a', event('SeatReserved', 'show:2'))
      await ledger.append('a', event('ShowMoved', 'show:1'))
      const [receipt] = await ledger.append('b', event('SeatReserved', 'show:1'), { failIfEventsMatch: SEATS })
      assert.equal(receipt?.seq, 3)
      await assertSound(ledger)
    },
  },
  {
    name: 'an event that fits and is there makes it fail, and nothing is recorded',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      await ledger.append('a', event('SeatReserved', 'show:1', 'seat:7'))
      await assertRefused(ledger.append('b', event('SeatReserved', 'show:1'), { failIfEventsMatch: SEATS }), 'condition_failed')
      assert.equal(await sizeOf(ledger), 2)
    },
  },
  {
    name: 'events up to `after` do not count, one behind it does',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      await ledger.append('a', event('SeatReserved', 'show:1'))
      const { events, head } = await ledger.events(SEATS)
      assert.deepEqual([events.map(({ seq }) => seq), head], [[1], 1])
      await ledger.append('b', event('SeatReserved', 'show:1'), { failIfEventsMatch: SEATS, after: head })
      await assertRefused(
        ledger.append('b', event('SeatReserved', 'show:1'), { failIfEventsMatch: SEATS, after: head }),
        'condition_failed',
      )
      assert.equal(await sizeOf(ledger), 3)
    },
  },
  {
    name: 'of several queries any counts, and reading by them gives each event once, in order',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      await ledger.append('a', [
        event('SeatReserved', 'x', 'y'),
        event('SeatReleased', 'y'),
        event('ShowMoved', 'z'),
        event('SeatReserved', 'x'),
      ])
      const queries: EventQuery[] = [{ tags: ['x'] }, { types: 'SeatReleased' }, { tags: ['x', 'y'] }]
      const { events, head } = await ledger.events(queries)
      assert.deepEqual([events.map(({ seq }) => seq), head], [[1, 2, 4], 4])
      assert.deepEqual(
        (await ledger.events(queries, { after: 1 })).events.map(({ seq }) => seq),
        [2, 4],
      )
      await assertRefused(ledger.append('b', event('StepTaken'), { failIfEventsMatch: queries, after: 3 }), 'condition_failed')
      await ledger.append('b', event('StepTaken'), { failIfEventsMatch: queries, after: 4 })
    },
  },
  {
    name: 'appends at once see each other: of ten for one seat one gets it',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const { head } = await ledger.events(SEATS)
      const tries = Array.from({ length: 10 }, (_, i) =>
        ledger.append(`caller-${i}`, event('SeatReserved', 'show:1', 'seat:7'), { failIfEventsMatch: { tags: ['seat:7'] }, after: head }),
      )
      const ended = await Promise.allSettled(tries)
      assert.equal(ended.filter(({ status }) => status === 'fulfilled').length, 1)
      for (const one of ended) if (one.status === 'rejected') assert.equal((one.reason as LedgerError).code, 'condition_failed')
      assert.equal(await sizeOf(ledger), 2)
      await assertSound(ledger)
    },
  },
  {
    name: 'a failed condition leaves the neighbours of the batch alone',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      await ledger.append('a', event('SeatReserved', 'show:1'))
      const ended = await Promise.allSettled([
        ledger.record(someCall()),
        ledger.append('b', [event('StepTaken'), event('StepTaken')], { failIfEventsMatch: SEATS }),
        ledger.record(someCall()),
        ledger.append('c', event('StepTaken'), { failIfEventsMatch: { types: 'NeverHappened' } }),
      ])
      assert.deepEqual(
        ended.map(({ status }) => status),
        ['fulfilled', 'rejected', 'fulfilled', 'fulfilled'],
      )
      assert.equal(await sizeOf(ledger), 5)
      await assertSound(ledger)
    },
  },
  {
    name: 'what another writer appended in between counts',
    async run(bench) {
      const made = await newLedger(bench)
      const { ledger, store } = made
      const rival = await ledgerOver(bench, store, { random: seededRandom(bench.seed + 99) })
      const { head } = await ledger.events(SEATS)
      store.plan('append', {
        kind: 'interfere',
        act: () => rival.ledger.append('r', event('SeatReserved', 'show:1')),
      })
      await assertRefused(
        ledger.append('b', event('SeatReserved', 'show:1'), { failIfEventsMatch: SEATS, after: head }),
        'condition_failed',
      )
      assert.equal(await sizeOf(ledger), 2)
      await assertSound(ledger)
    },
  },
  {
    name: 'a repetition gets its first receipt, whatever has come since',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const once = { ...event('SeatReserved', 'show:1'), run_id: 'once' }
      const [first] = await ledger.append('a', once, { failIfEventsMatch: SEATS })
      await ledger.append('a', event('SeatReserved', 'show:1'))
      const [again] = await ledger.append('a', once, { failIfEventsMatch: SEATS })
      assert.deepEqual([again?.seq, again?.hash], [first?.seq, first?.hash])
      assert.equal(await sizeOf(ledger), 3)
    },
  },
  {
    name: 'several streams at once: all or none, each at its version',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const [from, to] = await ledger.appendAll([
        { stream: 'a', events: [event('MoneySent'), event('MoneySent')], expectedVersion: 'no-stream' },
        { stream: 'b', events: event('MoneyReceived'), expectedVersion: 'no-stream' },
      ])
      assert.deepEqual([from?.map(({ stream_version }) => stream_version), to?.map(({ stream }) => stream)], [[0, 1], ['b']])
      const parts = [
        { stream: 'a', events: event('MoneySent'), expectedVersion: 1 },
        { stream: 'b', events: event('MoneyReceived'), expectedVersion: 5 },
      ]
      await assertRefused(ledger.appendAll(parts), 'version_conflict')
      assert.equal(await sizeOf(ledger), 4)
      // A stream may be watched without being appended to.
      await assertRefused(
        ledger.appendAll([
          { stream: 'c', events: event('MoneySent') },
          { stream: 'b', events: [], expectedVersion: 'no-stream' },
        ]),
        'version_conflict',
      )
      await ledger.appendAll([
        { stream: 'c', events: event('MoneySent') },
        { stream: 'b', events: [], expectedVersion: 0 },
      ])
      assert.deepEqual(
        (await recordsOf(ledger.read({ from: 1 }))).map(({ header }) => [header.stream, header.stream_version]),
        [
          ['a', 0],
          ['a', 1],
          ['b', 0],
          ['c', 0],
        ],
      )
      await assertSound(ledger)
    },
  },
  {
    name: 'conditions by chance: what goes through is what a list of events says',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const random = seededRandom(bench.seed)
      const model: { type: string; tags: string[] }[] = [{ type: 'LedgerCreated', tags: [] }]
      for (let step = 0; step < 60 * bench.effort; step++) {
        const type = random.pick(['AThingDone', 'BThingDone', 'CThingDone'])
        const tags = ['t1', 't2', 't3'].filter(() => random.chance(0.4))
        const query: EventQuery = random.chance(0.5)
          ? { types: random.pick(['AThingDone', 'BThingDone']), tags: random.pick([['t1'], ['t1', 't2']]) }
          : { tags: [random.pick(['t1', 't3'])] }
        const after = random.below(model.length + 1) - 1
        const fits = (one: { type: string; tags: string[] }): boolean =>
          (query.types === undefined || query.types === one.type) && (query.tags as string[]).every((tag) => one.tags.includes(tag))
        const isRuledOut = model.slice(after + 1).some(fits)
        const appended = await ledger.append('s', { type, data: { step }, tags }, { failIfEventsMatch: query, after }).then(
          () => true,
          (error: unknown) => {
            assert.equal((error as LedgerError).code, 'condition_failed')
            return false
          },
        )
        assert.equal(appended, !isRuledOut, `step ${step}`)
        if (appended) model.push({ type, tags })
      }
      assert.equal(await sizeOf(ledger), model.length)
      await assertSound(ledger)
    },
  },
  {
    name: 'a condition that makes no sense is misuse',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const append = (options: object): Promise<unknown> => ledger.append('s', event('StepTaken'), options)
      await assert.rejects(append({ after: 3 }), TypeError)
      await assert.rejects(append({ failIfEventsMatch: { type: 'x' } }), TypeError)
      await assert.rejects(append({ failIfEventsMatch: [] }), TypeError)
      await assert.rejects(append({ failIfEventsMatch: {}, after: -2 }), RangeError)
      await assert.rejects(ledger.appendAll([]), TypeError)
      assert.equal(await sizeOf(ledger), 1)
    },
  },
]
