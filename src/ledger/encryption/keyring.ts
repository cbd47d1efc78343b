/**
 * The data keys of a ledger. Each name has one at a time: `keyOf` gives the names, which are kept nowhere. What is kept of
 * a name is its HMAC under the `names` key, which is wrapped like the others, so that nobody finds a subject without the
 * master key.
 */
import { createHmac } from 'node:crypto'
import { asToldError, LedgerError } from '../errors.ts'
import { keyPages } from '../key-pages.ts'
import type { Random } from '../random.ts'
import type { DataKeyStore, StoredKey } from '../store.ts'
import type { MasterKey } from './master-key.ts'
import { DATA_KEY_BYTES } from './sealed-entry.ts'
import type { DataKey, LockedReason } from './sealed-entry.ts'

/** Id and label of the key that names are hashed with; other ids have 32 hex digits, other labels 64. */
const NAMES = 'names'
const ID_BYTES = 16
/** Unwrapped keys that are remembered: asking a KMS for one takes far longer than decrypting with it. */
const UNWRAPPED_MAX = 10_000
/** A master key may be another program: so many of them at once. */
const AT_ONCE = 8
/** How often a key may be shredded between making it and finding it. */
const ATTEMPTS = 5

export interface KeyringParts {
  readonly store: DataKeyStore
  /** The first one wraps, all unwrap. */
  readonly masters: readonly MasterKey[]
  readonly origin: string
  readonly random: Random
}

/** Which data key: that of a name, as `keyOf` gives it, or the one with an id, as entries have it. */
export type WhichKey = { readonly name: string } | { readonly id: string }

export interface Rewrapped {
  /** Keys that are under the master key now, and were under another one. */
  readonly rewrapped: number
  /** Keys that were under it already. */
  readonly unchanged: number
}

/** Some at once, the results in their order. */
async function each<Item, Result>(items: readonly Item[], work: (item: Item) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = []
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < items.length) {
      const at = next++
      results[at] = await work(items[at] as Item)
    }
  }
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, items.length) }, worker))
  return results
}

function lockedError(id: string, reason: LockedReason, what: string, cause?: unknown): LedgerError {
  return new LedgerError('key_error', what, { key: id, reason, ...(cause === undefined ? {} : { cause }) })
}

export class Keyring {
  readonly #parts: KeyringParts
  /** By what was unwrapped, so that a key that was put in the place of another one is no other's. */
  readonly #unwrapped = new Map<string, DataKey>()
  /** What names were written under last: for a process that exits, where nothing can be looked up. */
  readonly #last = new Map<string, DataKey>()
  #names: Promise<DataKey> | null = null

  constructor(parts: KeyringParts) {
    this.#parts = parts
  }

  /**
   * Finds the key that names are hashed with, so that a wrong master key is told before anything is recorded.
   * @param isNew make it where there is none: from then on the ledger counts as encrypted
   * @throws LedgerError `key_error`
   */
  async begin(isNew: boolean): Promise<void> {
    if (isNew || !(await this.#parts.store.isEmpty())) await this.#namesKey()
  }

  /**
   * The key of each name, made where it has none. The store is asked each time: another process may have shredded one.
   * @throws LedgerError `key_error`, and as the store
   */
  async forWriting(names: readonly string[]): Promise<ReadonlyMap<string, DataKey>> {
    const labels = new Map<string, string>()
    for (const name of names) labels.set(await this.#labelOf(name), name)
    const keys = new Map<string, DataKey>()
    for (let attempt = 1; labels.size > 0; attempt++) {
      const found = await this.#parts.store.find('label', [...labels.keys()])
      const opened = await each(found, (key) => this.#unwrap(key))
      for (const [i, { label }] of found.entries()) {
        keys.set(labels.get(label) as string, opened[i] as DataKey)
        labels.delete(label)
      }
      if (labels.size === 0) break
      if (attempt > ATTEMPTS) throw new LedgerError('io_error', 'data keys that were made are not there: look at what keeps them')
      // Crash point: a key that is kept and never used does no harm. Another process may be faster; its key counts then.
      await this.#make([...labels.keys()])
    }
    for (const [name, key] of keys) this.#remember(this.#last, name, key)
    return keys
  }

  /** The key that this process used last for the name; null where it has none. */
  lastFor(name: string): DataKey | null {
    return this.#last.get(name) ?? null
  }

  /** The keys with these ids, each or why it can't be had; never rejects. */
  async forReading(ids: readonly string[]): Promise<ReadonlyMap<string, DataKey | LedgerError>> {
    let found: readonly StoredKey[]
    try {
      found = await this.#parts.store.find('id', ids)
    } catch (error) {
      const told = asToldError(error)
      return new Map(ids.map((id) => [id, lockedError(id, 'key_not_available', `its data key can't be fetched (${told.message})`, told)]))
    }
    const keys = new Map<string, DataKey | LedgerError>(
      await each(found, async (key) => [key.id, await this.#unwrap(key).catch(asToldError)] as const),
    )
    for (const id of ids) {
      if (keys.has(id)) continue
      const what = `its data key ${id} is not there: it was shredded, or what keeps the data keys was lost or is another one`
      keys.set(id, lockedError(id, 'key_gone', what))
    }
    return keys
  }

  /** Wraps every key by the first master key, whichever wrapped it before. Done again, it goes on. @throws LedgerError `key_error` */
  async rewrapAll(): Promise<Rewrapped> {
    const { store, masters } = this.#parts
    const master = masters[0] as MasterKey
    let [rewrapped, unchanged] = [0, 0]
    for await (const page of keyPages(store)) {
      const others = page.filter((key) => key.master !== master.id)
      const changes = await each(others, async (before) => ({
        before,
        after: { ...before, master: master.id, wrapped: await this.#wrap(await this.#unwrap(before)) },
      }))
      // What is not there any more was shredded meanwhile, or another process has done it.
      if (changes.length > 0) rewrapped += await store.rewrap(changes)
      unchanged += page.length - others.length
    }
    return { rewrapped, unchanged }
  }

  /** Ids of the data keys that the name has now. @throws LedgerError `key_error`, and as the store */
  async idsOf(name: string): Promise<string[]> {
    return (await this.#parts.store.find('label', [await this.#labelOf(name)])).map(({ id }) => id)
  }

  /** Takes the key away for good; gives the ids that were there. @throws LedgerError as the store */
  async shred(which: WhichKey): Promise<readonly string[]> {
    const { store } = this.#parts
    const ids = 'id' in which ? [which.id] : await this.idsOf(which.name)
    if (ids.includes(NAMES)) throw new RangeError(`${NAMES} is the key that finds all others: it is not shredded`)
    const gone = await store.remove(ids)
    for (const keys of [this.#unwrapped, this.#last]) for (const [at, { id }] of keys) if (gone.includes(id)) keys.delete(at)
    return gone
  }

  #remember(keys: Map<string, DataKey>, at: string, key: DataKey): void {
    keys.delete(at)
    keys.set(at, key)
    if (keys.size > UNWRAPPED_MAX) keys.delete(keys.keys().next().value as string)
  }

  async #labelOf(name: string): Promise<string> {
    const { bytes } = await this.#namesKey()
    return createHmac('sha256', bytes).update(name).digest('hex')
  }

  #namesKey(): Promise<DataKey> {
    this.#names ??= (async () => {
      const { store } = this.#parts
      const [there] = await store.find('id', [NAMES])
      if (there !== undefined) return this.#unwrap(there)
      const key = { id: NAMES, bytes: this.#parts.random.bytes(DATA_KEY_BYTES) }
      await store.add([await this.#stored(key, NAMES)])
      const [kept] = await store.find('id', [NAMES])
      if (kept === undefined)
        throw new LedgerError('io_error', 'the names key that was made is not there: look at what keeps the data keys')
      return this.#unwrap(kept)
    })().catch((error: unknown) => {
      // A failure is not kept: the next record tries again.
      this.#names = null
      throw error
    })
    return this.#names
  }

  async #make(labels: readonly string[]): Promise<void> {
    const { store, random } = this.#parts
    const made = await each(labels, (label) => {
      const id = Buffer.from(random.bytes(ID_BYTES)).toString('hex')
      return this.#stored({ id, bytes: random.bytes(DATA_KEY_BYTES) }, label)
    })
    await store.add(made)
  }

  async #stored(key: DataKey, label: string): Promise<StoredKey> {
    const stored = { id: key.id, label, master: (this.#parts.masters[0] as MasterKey).id, wrapped: await this.#wrap(key) }
    this.#remember(this.#unwrapped, wrappingOf(stored), key)
    return stored
  }

  #contextOf(id: string): string {
    return `cortex-ledger/v1 data key\n${this.#parts.origin}\n${id}`
  }

  /** By the first master key. What it can't unwrap again is used for nothing: all under that key would be lost. */
  async #wrap({ id, bytes }: DataKey): Promise<string> {
    const master = this.#parts.masters[0] as MasterKey
    try {
      const wrapped = await master.wrap(Uint8Array.from(bytes), this.#contextOf(id))
      const again = await master.unwrap(Uint8Array.from(wrapped), this.#contextOf(id))
      if (Buffer.compare(again, bytes) === 0) return Buffer.from(wrapped).toString('base64')
    } catch (error) {
      throw lockedError(id, 'key_not_available', `the master key ${master.id} can't wrap a data key: ${asToldError(error).message}`, error)
    }
    throw lockedError(id, 'wrong_master_key', `the master key ${master.id} does not unwrap what it has wrapped itself: it is not used`)
  }

  async #unwrap(key: StoredKey): Promise<DataKey> {
    const at = wrappingOf(key)
    const known = this.#unwrapped.get(at)
    if (known !== undefined) return known
    const { masters } = this.#parts
    const master = masters.find(({ id }) => id === key.master)
    if (master === undefined) {
      const given = masters.length === 0 ? 'none was given' : `given: ${masters.map(({ id }) => id).join(', ')}`
      throw lockedError(
        key.id,
        'wrong_master_key',
        `its data key ${key.id} is wrapped by the master key ${key.master} (${given}): give that one`,
      )
    }
    let bytes: Uint8Array
    try {
      bytes = await master.unwrap(Buffer.from(key.wrapped, 'base64'), this.#contextOf(key.id))
    } catch (error) {
      const what = `the master key ${key.master} does not unwrap the data key ${key.id} (${error instanceof Error ? error.message : String(error)}): check that it is the key that it was, of this ledger`
      throw lockedError(key.id, 'wrong_master_key', what, error)
    }
    if (bytes.length !== DATA_KEY_BYTES)
      throw lockedError(
        key.id,
        'wrong_master_key',
        `the master key ${key.master} unwraps the data key ${key.id} to ${bytes.length} bytes, not 32`,
      )
    const opened = { id: key.id, bytes: Uint8Array.from(bytes) }
    this.#remember(this.#unwrapped, at, opened)
    return opened
  }
}

function wrappingOf({ id, master, wrapped }: StoredKey): string {
  return `${id}\n${master}\n${wrapped}`
}
