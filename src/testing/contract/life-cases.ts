/** A store's life: opened, closed, opened again, read beside a writer, written by two, verified. */
import assert from 'node:assert/strict'
import { LedgerError } from '../../ledger/errors.ts'
import type { AuditSink, Store } from '../../ledger/store.ts'
import { LedgerVerifier } from '../../verify/chain.ts'
import { assertFinds, assertLines, assertRefused, linesOf, textOf } from '../checks.ts'
import { SAMPLE_ORIGIN, type SampleChain } from '../sample-chain.ts'
import { persistent, type Bench, type Scenario } from './bench.ts'

async function begun(bench: Bench, count: number): Promise<{ store: Store; chain: SampleChain }> {
  const { store, chain } = await bench.started()
  await chain.append(
    store,
    Array.from({ length: count - 1 }, (_, i) => ({ run_id: `begun-${i}`, tags: [`t${i % 2}`] })),
  )
  return { store, chain }
}

async function assertHeld(store: Store, chain: SampleChain): Promise<void> {
  assertLines(await linesOf(store), chain.lines)
  assertLines(await linesOf(store, { reverse: true, limit: 10 }), chain.lines.toReversed().slice(0, 10))
  const { head, streams } = await store.state({ streams: ['stream-1'], run_ids: [] })
  assert.deepEqual(head, chain.head)
  assert.equal(streams.get('stream-1'), chain.lastVersion('stream-1'))
}

/** What a store hands to verification, as it comes. */
class Heard implements AuditSink {
  readonly lines: string[] = []
  readonly troubles: string[] = []
  #inFile = false
  #lastPosition = -1

  file(name: string | null, first_seq: number | null): void {
    this.#inFile = true
    this.#lastPosition = -1
    if (name !== null && first_seq !== this.lines.length)
      this.troubles.push(`the file ${name} begins at ${first_seq}, not at ${this.lines.length}`)
  }

  line(bytes: Uint8Array, start: number, end: number, position: number): void {
    if (!this.#inFile) this.troubles.push('a line before file()')
    if (position <= this.#lastPosition) this.troubles.push(`position ${position} after ${this.#lastPosition}`)
    this.#lastPosition = position
    this.lines.push(textOf(bytes.subarray(start, end)))
  }

  unended(position: number): void {
    this.troubles.push(`an unended line at ${position}`)
  }

  problem(problem: object): void {
    this.troubles.push(JSON.stringify(problem))
  }

  columnsChecked(): void {}
}

export const lifeCases: readonly Scenario[] = [
  {
    name: 'closing twice is harmless, and everything after it is refused',
    async run(bench) {
      const { store, chain } = await begun(bench, 5)
      await store.close()
      await store.close()
      await assertRefused(store.append(chain.seal([{}]), chain.head), 'closed', 'an append after closing')
      await assertRefused(store.state({ streams: [], run_ids: [] }), 'closed', 'state after closing')
      await assertRefused(linesOf(store), 'closed', 'reading after closing')
      await assertRefused(store.count({}), 'closed', 'counting after closing')
    },
  },
  {
    name: 'what was appended is there when the store is opened again',
    needs: persistent,
    async run(bench) {
      const { store, chain } = await begun(bench, 50)
      await store.close()
      const again = await bench.reopen(store)
      await assertHeld(again, chain)
      assert.equal(again.recovered, null)
      await assertFinds(
        again,
        { tags: ['t1'] },
        chain.lines.filter((_, seq) => chain.records[seq]?.header.tags?.[0] === 't1'),
        'by tag',
      )
    },
  },
  {
    name: 'a store that is opened again goes on where it ended',
    needs: persistent,
    async run(bench) {
      const { store: first, chain } = await begun(bench, 3)
      let store = first
      for (let i = 0; i < 6; i++) {
        await store.close()
        store = await bench.reopen(store)
        await assertRefused(store.append(chain.seal([{}]), { ...chain.head, size: chain.head.size - 1 }), 'head_moved')
        await chain.append(store, [{}, {}, {}])
        await assertHeld(store, chain)
      }
    },
  },
  {
    name: 'an empty store that is opened again is empty',
    needs: persistent,
    async run(bench) {
      const store = await bench.open()
      await store.close()
      const again = await bench.reopen(store)
      assert.equal((await again.state({ streams: [], run_ids: [] })).head.size, 0)
      assertLines(await linesOf(again), [])
    },
  },
  {
    name: 'a store opened for reading reads, and refuses to append',
    needs: persistent,
    async run(bench) {
      const { store, chain } = await begun(bench, 30)
      await store.close()
      const reader = await bench.reopen(store, { readOnly: true })
      assert.equal(reader.readOnly, true)
      await assertHeld(reader, chain)
      await assertFinds(reader, { run_id: ['begun-3'] }, [chain.lines[4] as string], 'by run')
      await assertRefused(reader.append(chain.seal([{}]), chain.head), 'read_only', 'an append to a store opened for reading')
      await assertHeld(reader, chain)
    },
  },
  {
    name: 'a reader beside the writer sees what has been appended since it opened',
    needs: ({ readersBesideWriter }) => readersBesideWriter,
    async run(bench) {
      const { store, chain } = await begun(bench, 10)
      const reader = await bench.reopen(store, { readOnly: true })
      for (let i = 0; i < 5; i++) {
        await assertHeld(reader, chain)
        await chain.append(store, [{ actor: 'late' }, {}], { newSegment: i === 2 })
        assert.equal(await reader.count({ actor: ['late'] }), i + 1)
      }
      await assertHeld(reader, chain)
    },
  },
  {
    name: 'readers that come and go leave the writer and its lock alone',
    needs: ({ readersBesideWriter, secondWriter }) => readersBesideWriter && secondWriter === 'refused',
    async run(bench) {
      const { store, chain } = await begun(bench, 10)
      for (let i = 0; i < 3; i++) {
        const reader = await bench.reopen(store, { readOnly: true })
        await assertHeld(reader, chain)
        await reader.close()
        await assertRefused(bench.reopen(store), 'locked', 'a second writer')
        await chain.append(store, [{}])
      }
    },
  },
  {
    name: 'a second writer is refused until the first has closed',
    needs: ({ secondWriter }) => secondWriter === 'refused',
    async run(bench) {
      const { store, chain } = await begun(bench, 10)
      const error = await assertRefused(bench.reopen(store), 'locked', 'a second writer')
      assert.match(error.message, new RegExp(String(process.pid)), 'the error names the process that writes')
      await assertRefused(bench.reopen(store), 'locked', 'a third writer')
      await chain.append(store, [{}])
      await store.close()
      const next = await bench.reopen(store)
      await chain.append(next, [{}])
      await assertHeld(next, chain)
    },
  },
  {
    name: 'two writers take turns, and neither writes over the other',
    needs: ({ secondWriter }) => secondWriter === 'serialised',
    async run(bench) {
      const { store, chain } = await begun(bench, 10)
      const other = await bench.reopen(store)
      for (let i = 0; i < 10; i++) {
        const stale = chain.head
        const late = chain.seal([{ run_id: `late-${i}` }])
        const [writer, loser] = i % 2 === 0 ? [store, other] : [other, store]
        await chain.append(writer, [{}, {}])
        await assertRefused(loser.append(late, stale), 'head_moved', 'the append of the writer who came late')
        await chain.append(loser, [{ run_id: `late-${i}` }])
        await assertHeld(store, chain)
        await assertHeld(other, chain)
      }
    },
  },
  {
    name: 'describe tells the kind, and bytes that grow with the records',
    async run(bench) {
      const { store, chain } = await begun(bench, 2)
      const before = await store.describe()
      assert.equal(before.kind, store.kind)
      await chain.append(store, [{ entry: { text: 'x'.repeat(200_000) } }])
      const after = await store.describe()
      assert.ok(after.bytes >= before.bytes + 100_000, `${before.bytes} bytes, then ${after.bytes}`)
    },
  },
  {
    name: 'flush may be called at any time, and changes nothing',
    async run(bench) {
      const { store, chain } = await begun(bench, 20)
      await store.flush()
      await Promise.all([store.flush(), chain.append(store, [{}]), store.flush()])
      await store.flush()
      await assertHeld(store, chain)
    },
  },
]

export const auditCases: readonly Scenario[] = [
  {
    name: 'two neighbouring ranges are fed like the whole, wherever they meet',
    async run(bench) {
      const { store, chain } = await begun(bench, 12)
      await chain.append(store, [{}, {}, {}], { whole: true })
      await chain.append(store, [{}], { newSegment: true })
      for (let at = 1; at < chain.lines.length; at++) {
        const [first, second] = [new Heard(), new Heard()]
        await store.audit(first, undefined, { from: 0, before: at })
        await store.audit(second, undefined, { from: at, before: Infinity })
        assertLines(first.lines, chain.lines.slice(0, at), `records before ${at}`)
        assertLines(second.lines, chain.lines.slice(at), `records from ${at} on`)
        assert.deepEqual(first.troubles, [])
      }
      const cut = (await store.auditCut?.(0.5)) ?? null
      if (cut !== null) assert.ok(cut.seq > 0 && cut.seq <= chain.lines.length && cut.bytes > 0, `cut at ${JSON.stringify(cut)}`)
    },
  },
  {
    name: 'audit hands over every line in its place, and changes nothing',
    async run(bench) {
      const { store, chain } = await begun(bench, 60)
      await chain.append(store, [{}], { newSegment: true })
      await chain.append(store, [{ entry: { text: 'é\u2028'.repeat(100_000) } }, {}])
      for (let round = 0; round < 2; round++) {
        const heard = new Heard()
        await store.audit(heard)
        assert.deepEqual(heard.troubles, [])
        assertLines(heard.lines, chain.lines)
      }
      await assertHeld(store, chain)
    },
  },
  {
    name: 'an honest chain passes verification, columns too',
    async run(bench) {
      const { store, chain } = await begun(bench, 300)
      await chain.append(store, [{ tags: ['x', 'y'], correlation_id: 'c', causation_id: 'run-1' }, {}, {}], { whole: true })
      await store.flush()
      const verifier = new LedgerVerifier({ origin: SAMPLE_ORIGIN, canonical_entries: true })
      await store.audit(verifier)
      const report = verifier.finish()
      assert.deepEqual(report.problems, [])
      assert.equal(report.ok, true)
      assert.equal(report.verdicts.integrity, 'pass')
      assert.deepEqual([report.size, report.head, report.origin], [chain.head.size, chain.head.hash, SAMPLE_ORIGIN])
      assert.notEqual(report.checks.columns.verdict, 'fail')
    },
  },
  {
    name: 'audit finds what the writer did wrong, at its place',
    async run(bench) {
      const { store, chain } = await begun(bench, 10)
      const [record] = chain.seal([{ recorded_at: '2020-01-01T00:00:00.000000Z' }])
      await store.append([record!], chain.head)
      const verifier = new LedgerVerifier()
      await store.audit(verifier)
      const { ok, problems } = verifier.finish()
      assert.equal(ok, false)
      assert.deepEqual(
        problems.map(({ code, seq }) => [code, seq]),
        [['clock_moved_back', 10]],
      )
    },
  },
  {
    name: 'audit beside appends gives a whole beginning of the ledger',
    async run(bench) {
      const { store, chain } = await begun(bench, 400)
      const heard = new Heard()
      const auditing = store.audit(heard)
      for (let i = 0; i < 10; i++) await chain.append(store, [{}, {}])
      await auditing
      assert.deepEqual(heard.troubles, [])
      assert.ok(heard.lines.length >= 400)
      assertLines(heard.lines, chain.lines.slice(0, heard.lines.length))
    },
  },
  {
    name: 'audit of an empty store has nothing to say',
    async run(bench) {
      const heard = new Heard()
      await (await bench.open()).audit(heard)
      assert.deepEqual([heard.lines, heard.troubles], [[], []])
    },
  },
  {
    name: 'audit stops when it is told to',
    async run(bench) {
      const { store, chain } = await begun(bench, 400)
      const stop = new AbortController()
      stop.abort()
      await store.audit(new Heard(), stop.signal).catch((error: unknown) => {
        assert.ok(error === stop.signal.reason || error instanceof LedgerError, `audit rejected with ${String(error)}`)
      })
      await assertHeld(store, chain)
    },
  },
]
