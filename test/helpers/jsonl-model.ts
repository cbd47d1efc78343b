/** A JSONL ledger on a simulated disk, and what must be true of it whatever happened. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { LedgerError } from '../../src/ledger/errors.ts'
import { nodeHashing } from '../../src/ledger/hashing.ts'
import type { SealedRecord, Store } from '../../src/ledger/store.ts'
import { openJsonlStore } from '../../src/stores/jsonl/index.ts'
import { linesOf } from '../../src/testing/checks.ts'
import { LEDGER_CREATED, SampleChain } from '../../src/testing/sample-chain.ts'
import type { Sample } from '../../src/testing/sample-chain.ts'
import { seededRandom } from '../../src/testing/seeded-random.ts'
import type { SeededRandom } from '../../src/testing/seeded-random.ts'
import { LedgerVerifier } from '../../src/verify/chain.ts'
import { formatLine } from '../../src/verify/record.ts'
import { PowerLost, SimulatedDisk } from './jsonl-disk.ts'
import type { Loss } from './jsonl-disk.ts'

/** Verification of all that a store has: its problems, as text. */
export async function problemsOf(store: Store): Promise<string[]> {
  const verifier = new LedgerVerifier(nodeHashing)
  await store.audit(verifier)
  return verifier.finish().problems.map(({ code, seq, found }) => `${code} at ${seq}: ${found}`)
}

/** True for the error of a machine that is off, also inside a typed one. */
export function isPowerLoss(error: unknown): boolean {
  return error instanceof PowerLost || (error instanceof LedgerError && error.details.cause instanceof PowerLost)
}

export class Model {
  readonly disk: SimulatedDisk
  readonly random: SeededRandom
  readonly dir: string
  /** What was acknowledged, or seen after an opening: it must stay. */
  readonly chain: SampleChain
  /** What was given and neither acknowledged nor refused. */
  uncertain: readonly SealedRecord[] = []
  store: Store | null = null
  /** What recovery moved aside, and said so: it must stay as well. */
  readonly #moved = new Map<string, Buffer>()

  /** @param folder a real and empty one: the lock is SQLite's, and lies in the file system */
  constructor(folder: string, seed: number) {
    this.dir = join(folder, 'ledger')
    mkdirSync(this.dir)
    this.disk = new SimulatedDisk(folder)
    this.random = seededRandom(seed)
    this.chain = new SampleChain(seed)
  }

  /** Opens for writing and checks everything. */
  async open(): Promise<Store> {
    const store = await openJsonlStore(this.dir, { files: this.disk, index: 'off' })
    this.store = store
    const lines = await linesOf(store)
    const kept = this.chain.lines
    expect(lines.slice(0, kept.length), 'every acknowledged record is there').toEqual(kept)
    const more = lines.slice(kept.length)
    expect(more, 'what is there beyond it was given').toEqual(this.uncertain.slice(0, more.length).map(formatLine))
    const last = this.uncertain[more.length - 1]
    if (last !== undefined) expect(last.header.append_last_seq ?? last.header.seq, 'no append is there in part').toBe(last.header.seq)
    this.chain.accept(this.uncertain.slice(0, more.length))
    this.uncertain = []
    expect((await store.state({ streams: [], run_ids: [] })).head).toEqual(this.chain.head)
    expect(await problemsOf(store)).toEqual([])
    for (const [name, bytes] of this.#moved) expect(this.disk.peek(join(this.dir, name)), `${name} is there`).toEqual(bytes)
    if (store.recovered !== null) {
      const moved = this.disk.peek(join(this.dir, store.recovered.moved_to)) as Buffer
      expect(moved, 'what was moved aside is there').not.toBe(null)
      this.#moved.set(store.recovered.moved_to, moved)
    }
    return store
  }

  samples(count: number): Sample[] {
    return Array.from({ length: count }, () => ({ entry: { text: 'x'.repeat(this.random.below(700)) } }))
  }

  /** A batch of several appends, some of several records. */
  sealBatch(): SealedRecord[] {
    const records: SealedRecord[] = []
    const ahead = new SampleChain(this.random.below(1e6))
    ahead.accept(this.chain.records)
    if (this.chain.records.length === 0) records.push(...ahead.seal([LEDGER_CREATED]))
    ahead.accept(records)
    for (let appends = 1 + this.random.below(4); appends > 0; appends--) {
      const count = 1 + this.random.below(5)
      const sealed = ahead.seal(this.samples(count), true)
      ahead.accept(sealed)
      records.push(...sealed)
    }
    return records
  }

  /** Appends a batch; a refusal is returned, and what may be there after it is remembered. */
  async append(newSegment = false): Promise<LedgerError | null> {
    const store = this.store as Store
    const records = this.sealBatch()
    this.uncertain = records
    try {
      await store.append(records, this.chain.head, { newSegment })
    } catch (error) {
      if (isPowerLoss(error)) throw error
      expect(error).toBeInstanceOf(LedgerError)
      if ((error as LedgerError).details.outcome_unknown !== true) this.uncertain = []
      return error as LedgerError
    }
    this.chain.accept(records)
    this.uncertain = []
    return null
  }

  /** After a failed append: the store must say what is there. */
  async settle(): Promise<void> {
    const store = this.store as Store
    const { head } = await store.state({ streams: [], run_ids: [] })
    expect(head, 'a batch that was taken back is not there').toEqual(this.chain.head)
    expect(await linesOf(store), 'reading goes on beside a failed append').toEqual(this.chain.lines)
    expect(await linesOf(store, { reverse: true, limit: 3 })).toEqual(this.chain.lines.slice(-3).toReversed())
    this.uncertain = []
  }

  async powerLoss(loss: Loss): Promise<void> {
    this.disk.cutPower()
    await this.letGo()
    this.disk.reboot(loss, this.random)
  }

  async kill(): Promise<void> {
    this.disk.kill()
    await this.letGo()
  }

  /** Frees the lock, which a real process would have taken with it. */
  async letGo(): Promise<void> {
    await this.store?.close().catch(() => {})
    this.store = null
  }
}
