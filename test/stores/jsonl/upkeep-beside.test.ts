/** Segments are rewritten at the worst moment for whoever reads: between two looks of one reading. */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Store } from '../../../src/ledger/store.ts'
import { nodeFiles, openJsonlStore } from '../../../src/stores/jsonl/index.ts'
import type { FilePort } from '../../../src/stores/jsonl/index.ts'
import { linesOf } from '../../../src/testing/checks.ts'
import { linesWithout, naming, restore, upkeepOf, withhold } from '../../../src/testing/contract/upkeep-bench.ts'
import { LEDGER_CREATED, SampleChain } from '../../../src/testing/sample-chain.ts'
import { problemsOf } from '../../helpers/jsonl-model.ts'
import { tempDir } from '../../helpers/temp.ts'

/** Does something once, just before this segment is opened for reading, or segments are listed once more. */
class Meanwhile {
  #act: (() => Promise<void>) | null = null
  #segment = ''
  #listings = 0
  readonly files: FilePort = {
    ...nodeFiles,
    open: async (path, mode) => {
      if (mode === 'read' && path.endsWith(this.#segment)) await this.#now()
      return nodeFiles.open(path, mode)
    },
    list: async (path) => {
      if (this.#segment === AGAIN && path.endsWith('segments') && this.#listings++ === 1) await this.#now()
      return nodeFiles.list(path)
    },
  }

  async #now(): Promise<void> {
    const act = this.#act
    this.#act = null
    await act?.()
  }

  before(segment: string, act: () => Promise<void>): void {
    this.#segment = segment
    this.#listings = 0
    this.#act = act
  }

  get hasActed(): boolean {
    return this.#act === null
  }
}

const AGAIN = 'segments, once more'
const FIRST = '00000000000000000000.jsonl'
const LIVE = '00000000000000000021.jsonl'

/** 21 records in a sealed segment, 20 in the live one; and who reads, with a moment for others. */
async function made(whose: 'writer' | 'reader'): Promise<{ store: Store; reader: Store; chain: SampleChain; meanwhile: Meanwhile }> {
  const dir = join(tempDir(), 'ledger')
  const meanwhile = new Meanwhile()
  const store = await openJsonlStore(dir, whose === 'writer' ? { files: meanwhile.files } : {})
  const chain = new SampleChain()
  await chain.append(store, [LEDGER_CREATED])
  const samples = Array.from({ length: 20 }, (_, i) => ({ entry: { i, text: 'x'.repeat(2000) } }))
  await chain.append(store, samples)
  await chain.append(store, samples, { newSegment: true })
  const reader = whose === 'writer' ? store : await openJsonlStore(dir, { readOnly: true, files: meanwhile.files })
  return { store, reader, chain, meanwhile }
}

describe.each(['writer', 'reader'] as const)('a %s', (whose) => {
  test('that verifies: what names the entries comes in a segment that was not there when it began', async () => {
    const { store, reader, chain, meanwhile } = await made(whose)
    const range = { first: 1, last: 15 }
    meanwhile.before(FIRST, async () => {
      await chain.append(store, [{}])
      await chain.append(store, [naming('EntriesArchived', range)], { newSegment: true })
      await withhold(store, [range])
    })
    expect(await problemsOf(reader)).toEqual([])
    expect(meanwhile.hasActed).toBe(true)
    // The segment that was live when it began, and is rewritten before it comes there.
    const next = { first: 21, last: 40 }
    meanwhile.before(LIVE, async () => {
      await chain.append(store, [naming('EntriesArchived', next)], { newSegment: true })
      await withhold(store, [next])
    })
    expect(await problemsOf(reader)).toEqual([])
    expect(meanwhile.hasActed).toBe(true)
    // What is appended between its last look at the live segment and the next segment.
    meanwhile.before(AGAIN, async () => {
      await chain.append(store, [{}, {}, {}])
      await chain.append(store, [{}], { newSegment: true })
    })
    const heard: string[] = []
    const quiet = { file() {}, unended() {}, problem() {}, columnsChecked() {} }
    await reader.audit({ ...quiet, line: (bytes, start, end) => void heard.push(Buffer.from(bytes.subarray(start, end)).toString()) })
    expect(meanwhile.hasActed).toBe(true)
    expect(heard).toEqual(linesWithout(chain, [range, next]))
    await reader.close()
    await store.close()
  })

  test.each([false, true])(
    'that reads: the live segment is sealed and rewritten before it is opened (newest first: %s)',
    async (reverse) => {
      const { store, reader, chain, meanwhile } = await made(whose)
      const size = chain.records.length
      await linesOf(reader, { before: 3 })
      await linesOf(reader, { reverse: true, limit: 3 })
      const range = { first: 22, last: 39 }
      const expected = (): string[] => {
        const lines = linesWithout(chain, [range]).slice(0, size)
        return reverse ? lines.toReversed() : lines
      }
      meanwhile.before(LIVE, async () => {
        await chain.append(store, [{}, {}, {}])
        await chain.append(store, [{}], { newSegment: true })
        await withhold(store, [range])
      })
      expect(await linesOf(reader, { reverse })).toEqual(expected())
      expect(meanwhile.hasActed).toBe(true)
      await reader.close()
      await store.close()
    },
  )

  test.each([false, true])('that reads from a place it knows: it is another one by then (newest first: %s)', async (reverse) => {
    const { store, reader, chain, meanwhile } = await made(whose)
    await chain.append(
      store,
      Array.from({ length: 2500 }, () => ({})),
      { newSegment: true },
    )
    await chain.append(store, [{}], { newSegment: true })
    await reader.flush()
    meanwhile.before('00000000000000000041.jsonl', () => withhold(store, [{ first: 100, last: 2200 }]).then(() => {}))
    const [from, before] = [2300, 2400]
    const lines = chain.lines.slice(from, before)
    expect(await linesOf(reader, { from, before, reverse })).toEqual(reverse ? lines.toReversed() : lines)
    expect(meanwhile.hasActed).toBe(true)
    await reader.close()
    await store.close()
  })

  test('that looks up: each line lies elsewhere when it is read', async () => {
    const { store, reader, chain, meanwhile } = await made(whose)
    await chain.append(store, [{}], { newSegment: true })
    await reader.flush()
    const lines = linesWithout(chain, [{ first: 1, last: 15 }])
    meanwhile.before(FIRST, () => withhold(store, [{ first: 1, last: 15 }]).then(() => {}))
    const run_ids = chain.records.map(({ header }) => header.run_id)
    const { runs } = await reader.state({ streams: ['stream-1'], run_ids })
    expect(run_ids.map((run_id) => Buffer.from(runs.get(run_id) ?? []).toString())).toEqual(lines)
    expect(meanwhile.hasActed).toBe(true)
    meanwhile.before(FIRST, () => restore(store, chain.records.slice(1, 16)).then(() => {}))
    const ofActor = chain.lines.filter((_, i) => chain.records[i]!.header.actor === 'actor-2')
    expect(await linesOf(reader, { filter: { actor: ['actor-2'] } })).toEqual(ofActor)
    expect(meanwhile.hasActed).toBe(true)
    await reader.close()
    await store.close()
  })
})

test('an entry of another record is refused, and so are positions in no order; nothing is changed', async () => {
  const { store, chain } = await made('reader')
  await chain.append(store, [{}], { newSegment: true })
  const range = { first: 1, last: 40 }
  await withhold(store, [range])
  const [one, other] = [chain.records[5]!, chain.records[6]!]
  await expect(restore(store, [{ ...one, entry_text: other.entry_text }])).rejects.toMatchObject({ code: 'damaged' })
  await expect(restore(store, [{ ...one, salt: other.salt }])).rejects.toMatchObject({ code: 'damaged' })
  await expect(restore(store, [other, one])).rejects.toThrow(RangeError)
  await expect(restore(store, [one, one])).rejects.toThrow(RangeError)
  expect(await linesOf(store)).toEqual(linesWithout(chain, [range]))
  await restore(store, chain.records.slice(1, 41))
  expect(await linesOf(store)).toEqual(chain.lines)
  expect((await upkeepOf(store).reclaim()).left).toEqual([])
  await store.close()
})
