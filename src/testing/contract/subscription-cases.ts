/** Subscriptions: what is there, then what comes; no position is skipped, and none told twice. */
import assert from 'node:assert/strict'
import type { EventQuery } from '../../ledger/conditions.ts'
import { LedgerError } from '../../ledger/errors.ts'
import type { Ledger } from '../../ledger/ledger.ts'
import type { LedgerRecord } from '../../ledger/record.ts'
import type { Subscription } from '../../ledger/subscription.ts'
import { seededRandom } from '../seeded-random.ts'
import { persistent, type Scenario } from './bench.ts'
import { ledgerOver, newLedger, recordsOf, restarted, someCall } from './ledger-bench.ts'

const event = (type: string, ...tags: string[]): { type: string; data: object; tags: string[] } => ({ type, data: {}, tags })

async function take(subscription: Subscription, count: number): Promise<LedgerRecord[]> {
  const records: LedgerRecord[] = []
  while (records.length < count) {
    const { value, done } = await subscription.next()
    if (done === true) break
    records.push(value)
  }
  return records
}

function seqsOf(records: readonly LedgerRecord[]): number[] {
  return records.map(({ seq }) => seq)
}

function range(from: number, before: number): number[] {
  return Array.from({ length: before - from }, (_, i) => from + i)
}

/** Each of them sees every position once, in order, whatever it is that appends meanwhile. */
async function assertAllSeen(ledger: Ledger, subscriptions: readonly Subscription[], appending: Promise<unknown>): Promise<void> {
  const seen = subscriptions.map(async (subscription) => {
    const seqs: number[] = []
    for await (const { seq, header } of subscription) {
      seqs.push(seq)
      if (header.type === 'EverythingDone') break
    }
    return seqs
  })
  await appending
  await ledger.append('end', event('EverythingDone'))
  const { size } = await ledger.head()
  for (const seqs of await Promise.all(seen)) assert.deepEqual(seqs, range(0, size))
}

export const subscriptionCases: readonly Scenario[] = [
  {
    name: 'all that is there comes first, in order, then what is recorded',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      await Promise.all(Array.from({ length: 20 }, () => ledger.record(someCall())))
      const subscription = ledger.subscribe()
      assert.equal(subscription.position, -1)
      assert.deepEqual(seqsOf(await take(subscription, 21)), range(0, 21))
      assert.equal(subscription.position, 20)
      for (let seq = 21; seq < 25; seq++) {
        const next = subscription.next()
        await ledger.record(someCall())
        assert.equal((await next).value?.seq, seq)
      }
      await subscription.return()
    },
  },
  {
    name: 'a record that comes between catching up and waiting is neither lost nor told twice',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const random = seededRandom(bench.seed)
      const appending = async (): Promise<void> => {
        for (let i = 0; i < 15 * bench.effort; i++) {
          await ledger.append(
            `s${random.below(3)}`,
            Array.from({ length: 1 + random.below(4) }, () => event('StepTaken')),
          )
          if (random.chance(0.3)) await new Promise((resolve) => setImmediate(resolve))
        }
      }
      const subscriptions = Array.from({ length: 5 }, () => ledger.subscribe())
      await assertAllSeen(ledger, subscriptions, Promise.all([appending(), appending(), appending()]))
    },
  },
  {
    name: 'what another writer of the same store appends comes too',
    async run(bench) {
      const { ledger, store } = await newLedger(bench)
      const rival = await ledgerOver(bench, store, { random: seededRandom(bench.seed + 99) })
      const subscription = ledger.subscribe({ after: 0 })
      for (let seq = 1; seq < 4; seq++) {
        const next = subscription.next()
        await rival.ledger.record(someCall())
        assert.equal((await next).value?.seq, seq)
      }
      await subscription.return()
    },
  },
  {
    name: 'who reads beside a writer follows it',
    needs: ({ readersBesideWriter }) => readersBesideWriter,
    async run(bench) {
      const { ledger, store } = await newLedger(bench)
      const reader = await ledgerOver(bench, await bench.reopen(store, { readOnly: true }))
      const appending = async (): Promise<void> => {
        for (let i = 0; i < 10 * bench.effort; i++) await ledger.append('s', [event('StepTaken'), event('StepTaken')])
      }
      const subscriptions = [reader.ledger.subscribe(), ledger.subscribe(), reader.ledger.subscribe()]
      await assertAllSeen(ledger, subscriptions, Promise.all([appending(), appending()]))
    },
  },
  {
    name: 'it goes on behind a position, or from one, also one that is not there yet',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const receipts = await ledger.append('s', [event('StepTaken'), event('StepTaken'), event('StepTaken')])
      const after = ledger.subscribe({ after: 1 })
      const from = ledger.subscribe({ from: 2 })
      const behind = ledger.subscribe({ after: receipts[0]! })
      const later = ledger.subscribe({ from: 5 })
      for (const subscription of [after, from, behind]) assert.deepEqual(seqsOf(await take(subscription, 2)), [2, 3])
      const next = later.next()
      await ledger.append('s', [event('StepTaken'), event('StepTaken')])
      assert.equal((await next).value?.seq, 5)
      for (const subscription of [after, from, behind, later]) await subscription.return()
    },
  },
  {
    name: 'position tells where to go on, also where nothing fits',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      await ledger.append('s', [event('AThingDone'), event('BThingDone'), event('AThingDone'), event('BThingDone')])
      const subscription = ledger.subscribe({ filter: { types: 'AThingDone' } })
      assert.deepEqual(seqsOf(await take(subscription, 1)), [1])
      assert.equal(subscription.position, 1)
      assert.deepEqual(seqsOf(await take(subscription, 1)), [3])
      const next = subscription.next()
      for (let i = 0; subscription.position < 4 && i < 1000; i++) await new Promise((resolve) => setTimeout(resolve, 5))
      assert.equal(subscription.position, 4)
      await ledger.append('s', event('AThingDone'))
      assert.equal((await next).value?.seq, 5)
      await subscription.return()
      assert.deepEqual(seqsOf(await take(ledger.subscribe({ after: 3, filter: { type: 'AThingDone' } }), 1)), [5])
    },
  },
  {
    name: 'filters: event queries, several of them, and criteria; near the end and far from it',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const append = async (count: number): Promise<void> => {
        const events = Array.from({ length: count }, (_, i) => event(i % 7 === 0 ? 'AThingDone' : 'BThingDone', `t${i % 5}`))
        for (let at = 0; at < count; at += 500) await ledger.append(`s${at}`, events.slice(at, at + 500))
      }
      // More than is read through one by one, so that it is looked for.
      await append(1100)
      const queries: EventQuery[] = [{ types: 'AThingDone', tags: ['t1'] }, { tags: ['t3'] }]
      const asked = [
        { filter: queries, expected: (await ledger.events(queries)).events },
        { filter: { types: ['AThingDone'] }, expected: await recordsOf(ledger.scan({ type: 'AThingDone' })) },
        { filter: { type: 'AThingDone', tag: ['t2'] }, expected: await recordsOf(ledger.scan({ type: 'AThingDone', tag: 't2' })) },
      ]
      const subscriptions = asked.map(({ filter }) => ledger.subscribe({ filter }))
      for (const [i, { expected }] of asked.entries())
        assert.deepEqual(seqsOf(await take(subscriptions[i]!, expected.length)), seqsOf(expected))
      const { size } = await ledger.head()
      const waiting = subscriptions.map((subscription) => subscription.next())
      await append(30)
      const fitting = await Promise.all(
        asked.map(async ({ filter }) =>
          Array.isArray(filter) || 'types' in filter
            ? (await ledger.events(filter as EventQuery[], { after: size - 1 })).events
            : (await recordsOf(ledger.scan(filter))).filter(({ seq }) => seq >= size),
        ),
      )
      for (const [i, subscription] of subscriptions.entries()) {
        const first = (await waiting[i]!).value as LedgerRecord
        assert.deepEqual(seqsOf([first, ...(await take(subscription, fitting[i]!.length - 1))]), seqsOf(fitting[i]!))
        await subscription.return()
      }
    },
  },
  {
    name: 'provider and model are looked for in the entries that come',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const subscription = ledger.subscribe({ filter: { provider: 'p1', model: ['m1', 'm2'] } })
      const next = subscription.next()
      await ledger.record(someCall({ provider_name: 'p2', model_name: 'm1' }))
      await ledger.record(someCall())
      const { seq } = await ledger.record(someCall({ provider_name: 'p1', model_name: 'm2' }))
      assert.equal((await next).value?.seq, seq)
      await subscription.return()
    },
  },
  {
    name: 'the signal ends it: before, while waiting, and while records are handled',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      await ledger.append('s', [event('StepTaken'), event('StepTaken'), event('StepTaken')])
      assert.deepEqual(await recordsOf(ledger.subscribe({ signal: AbortSignal.abort() })), [])
      const one = new AbortController()
      const seen: number[] = []
      for await (const { seq } of ledger.subscribe({ signal: one.signal })) {
        seen.push(seq)
        if (seq === 2) one.abort()
      }
      assert.deepEqual(seen, [0, 1, 2])
      const two = new AbortController()
      const waiting = ledger.subscribe({ after: 3, signal: two.signal }).next()
      setImmediate(() => two.abort())
      assert.equal((await waiting).done, true)
    },
  },
  {
    name: 'closing the ledger ends it, as return does, also while it waits',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const returned = ledger.subscribe({ after: 0 })
      const next = returned.next()
      await new Promise((resolve) => setImmediate(resolve))
      await returned.return()
      assert.equal((await next).done, true)
      assert.equal((await returned.next()).done, true)
      const waiting = [ledger.subscribe({ after: 0 }), ledger.subscribe({ after: 0, filter: { type: 'x' } })].map((one) => one.next())
      const slow = ledger.subscribe()
      await slow.next()
      await ledger.close()
      for (const ended of await Promise.all([...waiting, slow.next()])) assert.equal(ended.done, true)
      assert.equal((await ledger.subscribe().next()).done, true)
    },
  },
  {
    name: 'who is slow is waited for: nothing is lost, and nothing is read ahead',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const subscription = ledger.subscribe({ after: 0 })
      for (let seq = 1; seq <= 60; seq++) {
        await ledger.record(someCall())
        if (seq % 3 === 0) assert.equal((await subscription.next()).value?.seq, seq / 3)
      }
      assert.deepEqual(seqsOf(await take(subscription, 40)), range(21, 61))
      await subscription.return()
    },
  },
  {
    name: 'it goes on after a restart where it ended',
    needs: persistent,
    async run(bench) {
      let made = await newLedger(bench)
      const random = seededRandom(bench.seed + 7)
      const seen: number[] = []
      let last: LedgerRecord | undefined
      for (let life = 0; life < 4; life++) {
        const subscription = made.ledger.subscribe(last === undefined ? {} : { after: last })
        await made.ledger.append(
          's',
          Array.from({ length: 5 }, () => event('StepTaken')),
        )
        for (const record of await take(subscription, 1 + random.below(5))) {
          seen.push(record.seq)
          last = record
        }
        made = await restarted(bench, made, { random: seededRandom(bench.seed + 500 + life) })
      }
      const rest = made.ledger.subscribe({ after: last! })
      for (const { seq } of await take(rest, 21 - seen.length)) seen.push(seq)
      await rest.return()
      assert.deepEqual(seen, range(0, 21))
    },
  },
  {
    name: 'another ledger than the one that was read is not followed',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      const other = await newLedger(bench, { random: seededRandom(bench.seed + 5), origin: 'example.com/other' })
      for (const made of [ledger, other.ledger]) await made.append('s', [event('StepTaken'), event('StepTaken')])
      const [, first] = await recordsOf(other.ledger.read())
      await assert.rejects(ledger.subscribe({ after: first! }).next(), (error) => error instanceof LedgerError && error.code === 'forked')
      assert.equal((await other.ledger.subscribe({ after: first! }).next()).value?.seq, 2)
    },
  },
  {
    name: 'a store that fails is told, and another subscription goes on behind the position',
    async run(bench) {
      const { ledger, store } = await newLedger(bench)
      await ledger.record(someCall())
      const subscription = ledger.subscribe()
      await take(subscription, 2)
      store.always('state', { kind: 'refuse', code: 'io_error' })
      await assert.rejects(subscription.next(), (error) => error instanceof LedgerError && error.code === 'io_error')
      store.heal()
      assert.equal((await subscription.next()).done, true)
      const next = ledger.subscribe({ after: subscription.position }).next()
      await ledger.record(someCall())
      assert.equal((await next).value?.seq, 2)
    },
  },
  {
    name: 'a subscription that makes no sense is misuse',
    async run(bench) {
      const { ledger } = await newLedger(bench)
      assert.throws(() => ledger.subscribe({ from: 1, after: 0 }), TypeError)
      assert.throws(() => ledger.subscribe({ from: -1 }), RangeError)
      assert.throws(() => ledger.subscribe({ after: -2 }), RangeError)
      assert.throws(() => ledger.subscribe({ from: 1.5 }), RangeError)
      assert.throws(() => ledger.subscribe({ filter: { text: 'words' } }), TypeError)
      assert.throws(() => ledger.subscribe({ filter: { nothing: 'such' } as object }), TypeError)
      assert.throws(() => ledger.subscribe({ filter: [] }), TypeError)
    },
  },
]
