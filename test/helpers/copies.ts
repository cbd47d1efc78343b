/** Places for ledgers in each store, so that every copy between two of them can be tried. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { AuditLedger } from '../../src/index.ts'
import { indexedNames } from '../../src/ledger/filter.ts'
import type { Store } from '../../src/ledger/store.ts'
import { openStore } from '../../src/open-store.ts'
import type { StoreOptions } from '../../src/open-store.ts'
import { openMemoryStore } from '../../src/stores/memory.ts'
import { linesOf } from '../../src/testing/checks.ts'
import { LEDGER_CREATED, SampleChain } from '../../src/testing/index.ts'
import { readLine } from '../../src/verify/record.ts'
import { signerOf } from './checkpoints.ts'
import { makeHonestLedger } from './honest-ledger.ts'
import { tempDir } from './temp.ts'
import { wrapped } from './wrapped-store.ts'

/** A place for one ledger. */
export interface CopyPlace {
  readonly kind: string
  /** Opens it, and closes it when the test has ended. */
  open(options?: StoreOptions): Promise<Store>
  /** Opens, hands over, closes. */
  with<Result>(work: (store: Store) => Promise<Result>, options?: StoreOptions): Promise<Result>
}

export function placeAt(kind: string, open: (options: StoreOptions) => Promise<Store>): CopyPlace {
  return {
    kind,
    async open(options = {}) {
      const store = await open(options)
      onTestFinished(() => store.close())
      return store
    },
    async with(work, options = {}) {
      const store = await open(options)
      try {
        return await work(store)
      } finally {
        await store.close()
      }
    },
  }
}

function inMemory(): CopyPlace {
  // Closing would be the end of it.
  const store = { ...openMemoryStore(), close: async () => {} }
  return placeAt('memory', async ({ readOnly = false }) => ({ ...store, readOnly }))
}

function onDisk(kind: string, name: string, more: StoreOptions = {}): CopyPlace {
  const location = join(tempDir(), name)
  return placeAt(kind, (options) => openStore(location, { ...more, ...options }))
}

/** Of each kind of store a new, empty place. */
export const NEW_PLACES: { readonly [kind: string]: () => CopyPlace } = {
  jsonl: () => onDisk('jsonl', 'ledger', { index: 'off' }),
  sqlite: () => onDisk('sqlite', 'ledger.db'),
  memory: inMemory,
}

export type Filling = (place: CopyPlace) => Promise<void>

/** Opens a ledger there and records up to `size` calls and events of every kind. */
export const recorded =
  (size: number, seed = 1): Filling =>
  (place) =>
    place.with((store) => makeHonestLedger('unused', size, seed, { store: { ...wrapped(store), close: async () => {} } }))

/** The same lines in one append, put together in memory: a sync for each of them would be most of a test's time. */
export const honest =
  (size: number, seed = 1): Filling =>
  (place) =>
    place.with(async (store) => {
      const twin = inMemory()
      const there = await linesOf(store)
      await twin.with((memory) => pour(memory, there))
      await recorded(size, seed)(twin)
      await pour(store, (await twin.with((memory) => linesOf(memory))).slice(there.length))
    })

async function pour(store: Store, lines: readonly string[]): Promise<void> {
  const records = lines.map((line) => {
    const parts = readLine(Buffer.from(line))
    return { ...parts, ...indexedNames(parts.entry_text) }
  })
  const { head } = await store.state({ streams: [], run_ids: [] })
  if (records.length > 0) await store.append(records, head)
}

/** Withheld entries, with the record that names them; seals; appends of several records; characters of every width. */
export const varied: Filling = (place) =>
  place.with(async (store) => {
    const chain = new SampleChain(7)
    await chain.append(store, [LEDGER_CREATED])
    await chain.append(store, [{ withheld: true }, { entry: { text: '\u0000 é🦊 \u2028 "\\', n: [1e30, 5e-324, -1] } }, {}])
    await chain.append(
      store,
      Array.from({ length: 7 }, () => ({ tags: ['x', 'y'] })),
      { whole: true },
    )
    await chain.append(store, [
      { withheld: true, tags: ['a'] },
      { correlation_id: 'é', causation_id: 'run-1' },
    ])
    await chain.append(store, [{ stream: 'ledger', type: 'SegmentSealed', entry: { first_seq: 0, last_seq: 12 } }, {}], {
      newSegment: true,
    })
    await chain.append(store, [{ entry: { text: 'é🦊x'.repeat(150_000) } }])
    await chain.append(store, [{ stream: 'ledger', type: 'EntryErased', entry: { seqs: [1, 11] } }])
    await chain.append(store, [{ stream: 'ledger', type: 'SegmentSealed', entry: { first_seq: 13, last_seq: 16 } }], { newSegment: true })
    await chain.append(store, [{}])
  })

/** The files that a JSONL ledger is, by name. */
export function segmentsOf(dir: string): Map<string, Buffer> {
  const folder = join(dir, 'segments')
  return new Map(
    readdirSync(folder)
      .toSorted()
      .map((name) => [name, readFileSync(join(folder, name))]),
  )
}

export const ROUND_SIGNER = signerOf('example.com/round', 5)

/** A JSONL ledger of several segments, with a checkpoint and a bundle from before its last records. */
export async function segmentedLedger(dir: string): Promise<{ checkpoint: string; bundle: Uint8Array }> {
  const options = {
    origin: 'example.com/round',
    signer: ROUND_SIGNER,
    actor: 'tester',
    checkpoints: false,
    stateFolder: join(tempDir(), 'state'),
    segmentBytes: 20_000,
  } as const
  const ledger = await AuditLedger.open(dir, options)
  for (let n = 0; n < 60; n++) {
    const run_id = `run-${n}`
    const call = ledger.record({
      run_id,
      agent_name: 'é🦊',
      method_name: 'm',
      raw_output: 'answer '.repeat((n % 25) * 4),
      model_name: `m${n % 3}`,
    })
    if (n % 6 === 0) await call
    if (n % 10 === 0)
      await ledger.append(`s${n}`, [
        { type: 'A', data: {} },
        { type: 'B', data: { n } },
      ])
  }
  const bundle = await ledger.prove({ run_id: 'run-7' }, { disclose: true })
  const { note } = await ledger.checkpoint()
  await ledger.record({ agent_name: 'a', method_name: 'behind the checkpoint' })
  await ledger.close()
  return { checkpoint: note, bundle }
}
