/** Entries that come and go while others read, append and verify; and long histories drawn by chance. */
import assert from 'node:assert/strict'
import type { SealedRecord, Store } from '../../ledger/store.ts'
import type { KeptEntry } from '../../ledger/upkeep.ts'
import { LedgerVerifier } from '../../verify/chain.ts'
import type { Range } from '../../verify/ranges.ts'
import { formatLine } from '../../verify/record.ts'
import { assertLines, linesOf, textOf } from '../checks.ts'
import type { Sample, SampleChain } from '../sample-chain.ts'
import { persistent, type Bench, type Scenario } from './bench.ts'
import { able, assertWithheld, linesWithout, naming, restore, sealed, upkeepOf, withhold, withheldLine } from './upkeep-bench.ts'

/** Each line is what it was or what it is without its entry, each in its place. */
function assertEither(lines: readonly string[], records: readonly SealedRecord[], what: string): void {
  assertLines(
    lines,
    lines.map((line, i) => {
      const record = records[i]
      if (record === undefined) return 'nothing'
      return line === withheldLine(record) ? line : formatLine(record)
    }),
    what,
  )
}

/** Others have theirs: a store in memory never waits for anything. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Reads in every way, over and over, until it is told to stop. */
async function readOn(store: Store, chain: SampleChain, isOver: () => boolean): Promise<number> {
  const actor = 'actor-1'
  for (let round = 0; ; round++) {
    const size = chain.records.length
    const records = chain.records.slice(0, size)
    const all = await linesOf(store, { before: size })
    assertEither(all, records, `round ${round}`)
    assert.equal(all.length, size)
    const back = await linesOf(store, { before: size, reverse: true, limit: 50 })
    assertEither(back, records.toReversed(), `round ${round}, newest first`)
    const middle = size >> 1
    assertEither(await linesOf(store, { from: middle, before: size, limit: 20 }), records.slice(middle), `round ${round}, from the middle`)
    const ofActor = records.filter(({ header }) => header.actor === actor)
    const found = await linesOf(store, { filter: { actor: [actor] }, before: size })
    assertEither(found, ofActor, `round ${round}, by actor`)
    assert.equal(found.length, ofActor.length)
    const run_ids = [1, middle, size - 1].map((seq) => records[seq]!.header.run_id)
    const { runs } = await store.state({ streams: ['stream-1'], run_ids })
    for (const [i, run_id] of run_ids.entries())
      assertEither([textOf(runs.get(run_id) ?? new Uint8Array())], [records[[1, middle, size - 1][i]!]!], run_id)
    if (isOver()) return round
    await turn()
  }
}

/** Verifies over and over: no entry is ever missed that a record names. */
async function verifyOn(store: Store, isOver: () => boolean): Promise<number> {
  for (let round = 0; ; round++) {
    const verifier = new LedgerVerifier()
    await store.audit(verifier)
    const { problems } = verifier.finish()
    assert.deepEqual(problems, [], `round ${round}`)
    if (isOver()) return round
    await turn()
  }
}

/** Draws a history, and keeps beside it what must be there. */
class History {
  readonly store: Store
  readonly chain: SampleChain
  readonly gone = new Set<number>()
  /** Positions before this one can be changed. */
  changeable = 0

  constructor(store: Store, chain: SampleChain) {
    this.store = store
    this.chain = chain
  }

  get ranges(): Range[] {
    return [...this.gone].map((seq) => ({ first: seq, last: seq }))
  }

  async step(hasSegments: boolean): Promise<void> {
    const { chain, store, gone } = this
    const { random } = chain
    const samples = (): Sample[] =>
      Array.from({ length: 1 + random.below(12) }, () => (random.chance(0.1) ? { entry: { text: 'é'.repeat(random.below(40_000)) } } : {}))
    switch (random.below(5)) {
      case 0:
        await chain.append(store, samples(), { whole: random.chance(0.3) })
        if (!hasSegments) this.changeable = chain.records.length
        return
      case 1:
        if (hasSegments) this.changeable = chain.records.length
        await chain.append(store, samples(), { newSegment: true })
        return
      case 2:
      case 3: {
        const ranges = Array.from({ length: 1 + random.below(4) }, () => {
          const first = 1 + random.below(Math.max(1, this.changeable - 1))
          return { first, last: Math.min(first + random.below(15), this.changeable - 1) }
        }).filter(({ first, last }) => first <= last)
        await withhold(store, ranges, random.chance(0.2) ? { erase: true } : {})
        for (const { first, last } of ranges) for (let seq = first; seq <= last; seq++) gone.add(seq)
        return
      }
      default: {
        const back = [...gone].toSorted((a, b) => a - b).filter(() => random.chance(0.4))
        await restore(
          store,
          back.map((seq) => chain.records[seq]!),
        )
        for (const seq of back) gone.delete(seq)
      }
    }
  }
}

async function reopened(bench: Bench, history: History): Promise<History> {
  await history.store.close()
  const next = new History(await bench.reopen(history.store), history.chain)
  for (const seq of history.gone) next.gone.add(seq)
  next.changeable = history.changeable
  return next
}

export const upkeepRaceCases: readonly Scenario[] = [
  {
    name: 'who reads meanwhile sees each line with its entry or without it, and nothing in between',
    needs: able,
    async run(bench) {
      const { store, chain } = await sealed(bench, 240, (i) => ({ entry: { i, text: 'é'.repeat((i * 37) % 3000) } }))
      const reader = bench.capabilities.readersBesideWriter ? await bench.reopen(store, { readOnly: true }) : store
      let isOver = false
      const reading = Promise.all([store, reader].map((each) => readOn(each, chain, () => isOver)))
      reading.catch(() => {})
      for (let round = 0; round < 4 * bench.effort; round++) {
        await withhold(store, [
          { first: 1 + round, last: 120 },
          { first: 150, last: 200 - round },
        ])
        await chain.append(store, [{ actor: 'actor-1' }, {}])
        await restore(store, chain.records.slice(1, 201))
        await turn()
      }
      isOver = true
      await reading
      await assertWithheld(store, chain, [])
    },
  },
  {
    name: 'who verifies meanwhile finds nothing wrong where each entry is named before it goes',
    needs: able,
    async run(bench) {
      const { store, chain } = await sealed(bench, 120)
      const reader = bench.capabilities.readersBesideWriter ? await bench.reopen(store, { readOnly: true }) : store
      let isOver = false
      const verifying = Promise.all([store, reader].map((each) => verifyOn(each, () => isOver)))
      verifying.catch(() => {})
      const ranges = Array.from({ length: 6 }, (_, i) => ({ first: 1 + 20 * i, last: 15 + 20 * i }))
      for (const [i, range] of ranges.entries()) {
        await chain.append(store, [naming('EntriesArchived', range), {}], { newSegment: i % 2 === 0 })
        await withhold(store, [range])
        await chain.append(store, [{}], { newSegment: i % 3 === 0 })
        await turn()
      }
      isOver = true
      await verifying
      await assertWithheld(store, chain, ranges)
    },
  },
  {
    name: 'a reading that was begun before goes on over what is taken away and put back',
    needs: able,
    async run(bench) {
      const { store, chain } = await sealed(bench, 400, (i) => ({ entry: { i, text: 'x'.repeat(20_000) } }))
      const size = chain.records.length
      for (const reverse of [false, true]) {
        const lines: string[] = []
        let chunks = 0
        for await (const chunk of store.read({ filter: {}, from: 0, before: Infinity, reverse, limit: Infinity })) {
          for (const line of chunk) lines.push(textOf(line))
          chunks++
          if (chunks === 1) await chain.append(store, [{ entry: { text: 'late' } }], { newSegment: true })
          if (chunks % 2 === 1) await withhold(store, [{ first: 1, last: size - 1 }])
          else await restore(store, chain.records.slice(1, size))
        }
        const expected = chain.records.slice(0, reverse ? size + 1 : size)
        assertEither(lines, reverse ? expected.toReversed() : expected, reverse ? 'newest first' : 'oldest first')
        assert.equal(lines.length, expected.length)
        await restore(store, chain.records.slice(1, size))
      }
    },
  },
  {
    name: 'two at once, and appends between, end as if one had come after the other',
    needs: able,
    async run(bench) {
      const { store, chain } = await sealed(bench, 100)
      const [a, b] = [
        { first: 5, last: 60 },
        { first: 40, last: 95 },
      ]
      const steps = await Promise.all([withhold(store, [a]), withhold(store, [b]), chain.append(store, [{}, {}])])
      assert.equal(steps[0].records + steps[1].records, 91)
      await assertWithheld(store, chain, [a, b])
      await Promise.all([restore(store, chain.records.slice(5, 50)), restore(store, chain.records.slice(30, 96)), store.flush()])
      await assertWithheld(store, chain, [])
    },
  },
  {
    name: 'what comes from a source that fails is put back as far as it came',
    needs: able,
    async run(bench) {
      const { store, chain } = await sealed(bench, 40)
      await withhold(store, [{ first: 1, last: 40 }])
      async function* failing(): AsyncGenerator<readonly KeptEntry[]> {
        for (const { header, salt, entry_text } of chain.records.slice(1, 4))
          yield [{ seq: header.seq, salt: salt!, entry_text: entry_text! }]
        throw new Error('the source failed')
      }
      await assert.rejects(async () => {
        for await (const _ of upkeepOf(store).restore(failing()));
      }, /the source failed/)
      const lines = await linesOf(store)
      assertEither(lines, chain.records, 'after the failure')
      await restore(store, chain.records.slice(1, 41))
      await assertWithheld(store, chain, [])
    },
  },
  {
    name: 'long histories by chance: what is there is what a plain list says',
    needs: able,
    async run(bench) {
      for (let round = 0; round < 3 * bench.effort; round++) {
        const { store, chain } = await bench.started()
        let history = new History(store, chain)
        for (let i = 0; i < 40; i++) {
          await history.step(bench.capabilities.segments)
          if (i % 8 === 7) assertLines(await linesOf(history.store), linesWithout(chain, history.ranges), `round ${round}, step ${i}`)
          if (i % 13 === 12 && persistent(bench.capabilities)) history = await reopened(bench, history)
        }
        await assertWithheld(history.store, chain, history.ranges)
        await history.store.flush()
        await assertWithheld(history.store, chain, history.ranges)
      }
    },
  },
]
