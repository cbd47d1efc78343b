/** What a case of the contract works on, and how the store's author hands it over. */
import type { Store } from '../../ledger/store.ts'
import { LEDGER_CREATED, SampleChain } from '../sample-chain.ts'

export interface OpenStoreOptions {
  /** Seal a segment at about this size; stores without segments ignore it. */
  readonly segmentBytes?: number
}

export interface ReopenStoreOptions {
  readonly readOnly?: boolean
}

/** What a store is able to do beyond the port's minimum. */
export interface StoreCapabilities {
  /** What was appended is there when the store is opened again: `reopen` is given. */
  readonly persistent: boolean
  /** What a second writer of the same place meets: `locked` at opening, or `head_moved` at a stale append; null: there is none. */
  readonly secondWriter: 'refused' | 'serialised' | null
  /** Others can read while one writes. */
  readonly readersBesideWriter: boolean
  /** The store keeps segments, and heeds `segmentBytes` and `newSegment`. */
  readonly segments: boolean
  /** Entries can be taken away and put back: the store has `upkeep`. `keepsNames`: they are then still found by provider and model. */
  readonly upkeep?: { readonly keepsNames: boolean }
}

/** A store as its author hands it to the contract. */
export interface StoreUnderTest {
  /** A new, empty store at a place of its own. */
  open(options: OpenStoreOptions): Promise<Store>
  /** Opens the place of this store once more, whether it is still open or not. Needed where `persistent`. */
  reopen?(store: Store, options: ReopenStoreOptions): Promise<Store>
  readonly capabilities: StoreCapabilities
  /** For what is drawn by chance; 1 if absent. */
  readonly seed?: number
  /** Draw that many times as often by chance; 1 if absent. */
  readonly effort?: number
}

/** One named case, for any test runner. */
export interface ContractCase {
  readonly name: string
  run(): Promise<void>
}

/** A case before it knows its store. */
export interface Scenario {
  readonly name: string
  /** Left out for stores that can't. */
  readonly needs?: (capabilities: StoreCapabilities) => boolean
  run(bench: Bench): Promise<void>
}

export const persistent = ({ persistent }: StoreCapabilities): boolean => persistent

interface Closable {
  close(): Promise<void>
}

/** The stores of one case; it closes what the case has opened, and closing twice is harmless by contract. */
export class Bench {
  readonly capabilities: StoreCapabilities
  readonly seed: number
  readonly effort: number
  readonly #under: StoreUnderTest
  readonly #opened: Closable[] = []

  constructor(under: StoreUnderTest) {
    this.#under = under
    this.capabilities = under.capabilities
    this.seed = under.seed ?? 1
    this.effort = under.effort ?? 1
  }

  /** Closed when the case ends. */
  keep<Thing extends Closable>(opened: Thing): Thing {
    this.#opened.push(opened)
    return opened
  }

  async open(options: OpenStoreOptions = {}): Promise<Store> {
    return this.keep(await this.#under.open(options))
  }

  async reopen(store: Store, options: ReopenStoreOptions = {}): Promise<Store> {
    if (this.#under.reopen === undefined) throw new TypeError('a persistent store is handed over with reopen()')
    return this.keep(await this.#under.reopen(store, options))
  }

  /** A store with record 0, and its chain. */
  async started(options: OpenStoreOptions = {}): Promise<{ store: Store; chain: SampleChain }> {
    const store = await this.open(options)
    const chain = new SampleChain(this.seed)
    await chain.append(store, [LEDGER_CREATED])
    return { store, chain }
  }

  async closeAll(): Promise<void> {
    for (const opened of this.#opened.toReversed()) await opened.close()
  }
}

/** The scenario on this store. */
export function contractCase(scenario: Scenario, under: StoreUnderTest): ContractCase {
  return {
    name: scenario.name,
    async run() {
      const bench = new Bench(under)
      try {
        await scenario.run(bench)
      } catch (error) {
        // What went wrong first is what counts: a failing close must not hide it.
        await bench.closeAll().catch(() => {})
        throw error
      }
      await bench.closeAll()
    },
  }
}
