/** Reading from the port: every part of the ledger, in both directions, while it grows, byte for byte. */
import assert from 'node:assert/strict'
import type { Selection, Store } from '../../ledger/store.ts'
import { assertLines, linesOf, selection, textOf } from '../checks.ts'
import type { Sample, SampleChain } from '../sample-chain.ts'
import { seededRandom } from '../seeded-random.ts'
import type { Bench, Scenario } from './bench.ts'

async function filled(bench: Bench, count: number): Promise<{ store: Store; chain: SampleChain }> {
  const { store, chain } = await bench.started()
  await chain.append(
    store,
    Array.from({ length: count - 1 }, () => ({})),
  )
  return { store, chain }
}

/** What the selection must give, by the words of the port. */
function picked(lines: readonly string[], { from, before, reverse, limit }: Selection): string[] {
  const range = lines.slice(from, Math.min(before, lines.length))
  return (reverse ? range.toReversed() : range).slice(0, Math.min(limit, range.length))
}

function reads(name: string, part: Partial<Selection>): Scenario {
  return {
    name,
    async run(bench) {
      const { store, chain } = await filled(bench, 40)
      assertLines(await linesOf(store, part), picked(chain.lines, selection(part)))
    },
  }
}

/** A line with this in its entry and its header comes back as it was. */
function keepsBytes(name: string, samples: readonly Sample[]): Scenario {
  return {
    name,
    async run(bench) {
      const { store, chain } = await bench.started()
      for (const sample of samples) await chain.append(store, [sample])
      await chain.append(
        store,
        samples.map((sample, i) => ({ ...sample, run_id: `again-${i}` })),
      )
      assertLines(await linesOf(store), chain.lines)
      const run_ids = chain.records.map(({ header }) => header.run_id)
      const { runs } = await store.state({ streams: [], run_ids })
      for (const [seq, run_id] of run_ids.entries()) assert.equal(textOf(runs.get(run_id) as Uint8Array), chain.lines[seq])
      if (!bench.capabilities.persistent) return
      await store.close()
      assertLines(await linesOf(await bench.reopen(store)), chain.lines, 'after closing and opening')
    },
  }
}

const HOSTILE_TEXTS = [
  'line\u2028and\u2029paragraph\u0085',
  'nul \u0000 bell \u0007 del \u007f c1 \u009f',
  'lf \n cr \r crlf \r\n tab \t',
  'quotes " and \\ and \\" and \\u0000 and </script>',
  '{"hash":"x"},"header":{"a":1},"salt":"b","entry":{"c":1}}',
  '\ufeffbyte order mark\ufffe\uffff',
  'astral 🦊 𝕊 \u{10ffff} combining e\u0301 é',
  '',
]

export const readCases: readonly Scenario[] = [
  reads('reads all', {}),
  reads('reads from a position on', { from: 17 }),
  reads('reads before a position', { before: 17 }),
  reads('reads a window', { from: 5, before: 9 }),
  reads('reads an empty window', { from: 9, before: 9 }),
  reads('reads nothing from beyond the end', { from: 40 }),
  reads('reads to the end when more is asked for', { from: 35, before: 1000 }),
  reads('reads backwards', { reverse: true }),
  reads('reads a window backwards', { from: 5, before: 9, reverse: true }),
  reads('reads the newest', { reverse: true, limit: 3 }),
  reads('reads the oldest', { limit: 3 }),
  reads('reads none where the limit is 0', { limit: 0 }),
  {
    name: 'reads any window, direction and limit',
    async run(bench) {
      const { store, chain } = await filled(bench, 600)
      const random = seededRandom(bench.seed)
      for (let i = 0; i < 50 * bench.effort; i++) {
        const part = {
          from: random.below(620),
          before: random.chance(0.3) ? Infinity : random.below(620),
          reverse: random.chance(0.5),
          limit: random.chance(0.5) ? Infinity : random.below(300),
        }
        assertLines(await linesOf(store, part), picked(chain.lines, selection(part)), JSON.stringify(part))
      }
    },
  },
  {
    name: 'chunks are bounded, however much there is',
    async run(bench) {
      const { store, chain } = await bench.started()
      const text = 'x'.repeat(300_000)
      for (let i = 0; i < 10; i++)
        await chain.append(
          store,
          Array.from({ length: 8 }, () => ({ entry: { text } })),
        )
      for (const reverse of [false, true]) {
        let count = 0
        for await (const lines of store.read(selection({ reverse }))) {
          count += lines.length
          assert.ok(lines.length > 0, 'no chunk is empty')
          const bytes = lines.reduce((sum, line) => sum + line.length, 0)
          assert.ok(bytes <= 8_000_000, `a chunk of ${bytes} bytes, of records of 300 KB`)
        }
        assert.equal(count, 81)
      }
    },
  },
  {
    name: 'a reading ends at what was there when it began, and what comes meanwhile disturbs nothing',
    async run(bench) {
      const { store, chain } = await filled(bench, 1500)
      const there = chain.lines
      for (const reverse of [false, true]) {
        const lines: string[] = []
        for await (const chunk of store.read(selection({ reverse }))) {
          for (const line of chunk) lines.push(textOf(line))
          await chain.append(store, [{}, {}])
          assert.ok(lines.length <= chain.records.length)
        }
        assertLines(lines, reverse ? there.toReversed() : there)
        there.push(...chain.lines.slice(there.length))
      }
      assertLines(await linesOf(store), chain.lines)
    },
  },
  {
    name: 'many readings at the same time do not mix',
    async run(bench) {
      const { store, chain } = await filled(bench, 900)
      const parts = [{}, { reverse: true }, { from: 300 }, { limit: 500 }, { filter: { actor: ['actor-1'] } }]
      const all = await Promise.all([...parts, ...parts].map((part) => linesOf(store, part)))
      const ofActor = chain.lines.filter((_, seq) => chain.records[seq]?.header.actor === 'actor-1')
      const expected = [chain.lines, chain.lines.toReversed(), chain.lines.slice(300), chain.lines.slice(0, 500), ofActor]
      for (const [i, lines] of all.entries()) assertLines(lines, expected[i % 5] as string[], `reading ${i}`)
    },
  },
  {
    name: 'a reading can be left, and the store goes on',
    async run(bench) {
      const { store, chain } = await filled(bench, 900)
      for (const reverse of [false, true]) {
        for await (const lines of store.read(selection({ reverse }))) {
          assert.ok(lines.length > 0)
          break
        }
        await chain.append(store, [{}])
      }
      assertLines(await linesOf(store), chain.lines)
    },
  },
  {
    name: 'the store closes while readings are unfinished',
    async run(bench) {
      const { store } = await filled(bench, 900)
      const readings = [selection(), selection({ reverse: true }), selection({ filter: { outcome: ['success'] } })]
      for (const part of readings) await store.read(part)[Symbol.asyncIterator]().next()
      await store.close()
    },
  },
  {
    name: 'a selection that is asked twice gives the same twice',
    async run(bench) {
      const { store } = await filled(bench, 100)
      assertLines(await linesOf(store, { from: 3, limit: 50 }), await linesOf(store, { from: 3, limit: 50 }))
    },
  },
]

export const byteCases: readonly Scenario[] = [
  keepsBytes(
    'keeps every character in an entry',
    HOSTILE_TEXTS.map((text) => ({ entry: { text, [`key ${text}`]: [text, { [text]: text }] } })),
  ),
  keepsBytes(
    'keeps every character of names',
    ['a"b\\c/d', '\u2028\u2029', 'é e\u0301 \ufeff', '🦊\u{10ffff}', "'; drop table records; --", '},"salt":"', 'x'.repeat(512)].map(
      (text) => ({
        stream: text,
        actor: text,
        action: text,
        run_id: text,
        correlation_id: text,
        causation_id: text,
        tags: [text],
        type: text,
      }),
    ),
  ),
  keepsBytes('keeps numbers as they are spelled', [
    { entry: { numbers: [0, -1, 1e30, 1e-7, 0.1, 123456789012345, Number.MAX_SAFE_INTEGER, 5e-324, 1.7976931348623157e308, 1e21] } },
  ]),
  keepsBytes('keeps keys that mean something elsewhere', [
    { entry: JSON.parse('{"__proto__":{"a":1},"constructor":null,"10":1,"9":2,"":3,"entry":null,"salt":"","toJSON":1}') as object },
    { entry: {} },
  ]),
  keepsBytes('keeps signatures', [
    { signatures_text: `[{"alg":"ed25519","key":"0a1b2c3d","sig":"${'A'.repeat(86)}=="}]`, further: { signers: ['0a1b2c3d'] } },
  ]),
  keepsBytes('keeps that an entry is withheld', [
    { withheld: true },
    { withheld: true, signatures_text: '[]', tags: ['a'], correlation_id: 'c' },
    { withheld: true, entry: { text: '"entry":null}' } },
  ]),
  keepsBytes('keeps header members that a later version brings', [{ further: { zone: 'eu', a_number: 7, some: ['a', 'b'] } }]),
  keepsBytes(
    'keeps characters wherever a chunk of bytes may end',
    [0, 1, 2, 3].map((before) => ({ entry: { text: 'x'.repeat(before) + '🦊'.repeat(50_000) } })),
  ),
  keepsBytes('keeps an entry of a megabyte', [{ entry: { text: 'é🦊x'.repeat(150_000) } }, {}]),
  keepsBytes('keeps an entry of many small values', [{ entry: { values: Array.from({ length: 60_000 }, (_, i) => i) } }, {}]),
  keepsBytes('keeps the largest header', [
    { tags: Array.from({ length: 60 }, (_, i) => String(i).padStart(3, '0') + 'x'.repeat(200)), correlation_id: 'y'.repeat(512) },
  ]),
]
