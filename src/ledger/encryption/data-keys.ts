/** The data keys of an open ledger, for whoever keeps it in order. */
import { LedgerError } from '../errors.ts'
import { keyPages } from '../key-pages.ts'
import type { Store } from '../store.ts'
import type { Keyring, Rewrapped, WhichKey } from './keyring.ts'

/** A data key as it is listed: nobody can tell whose it is. */
export interface DataKeyListing {
  /** What entries name it by. */
  readonly id: string
  /** Id of the master key that wraps it. */
  readonly master: string
}

export interface DataKeysParts {
  readonly store: Store
  /** Null where the ledger was opened without a master key. */
  readonly keyring: Keyring | null
  /** Takes away words of encrypted entries that stand in an index. */
  readonly forgetText: () => Promise<void>
  /** @throws LedgerError `held` where an entry under one of these keys is under legal hold */
  readonly refuseHeld: (ids: readonly string[]) => Promise<void>
}

/** What names are hashed with: no entry is encrypted under it. */
const NAMES = 'names'

export class DataKeys {
  readonly #parts: DataKeysParts

  constructor(parts: DataKeysParts) {
    this.#parts = parts
  }

  /** By ascending id. @throws LedgerError `io_error` | `read_only` */
  async *list(): AsyncGenerator<DataKeyListing, void, undefined> {
    const { dataKeys } = this.#parts.store
    for await (const page of keyPages(dataKeys)) for (const { id, master } of page) if (id !== NAMES) yield { id, master }
  }

  /**
   * Takes a data key away for good: all that was encrypted under it can't be read any more, by anybody, wherever it lies;
   * hashes and proofs stay as they are. What is recorded under the same name later gets a new key. This records nothing:
   * record why before it, or erase a subject, which does (docs/guides/erasure.md).
   * @returns ids of the keys that were there, none where the name had no key
   * @throws LedgerError `held` where one of the entries is under legal hold, and as reading those that are archived;
   *   `key_error` for a name where the ledger was opened without its master key; `read_only` | `io_error`
   */
  async shred(which: WhichKey): Promise<readonly string[]> {
    const { store, keyring, forgetText, refuseHeld } = this.#parts
    this.#assertWritable()
    if ('id' in which ? typeof which.id !== 'string' : typeof which.name !== 'string') throw new TypeError('shred takes { name } or { id }')
    if (keyring === null && !('id' in which && which.id !== NAMES)) throw noMasterKey('to find the data key of a name')
    const ids = 'id' in which ? [which.id] : ((await keyring?.idsOf(which.name)) ?? [])
    await refuseHeld(ids)
    const gone: string[] = []
    // By their ids: who records under the name meanwhile gets a new key, at which nobody has looked.
    for (const id of ids) gone.push(...(keyring === null ? await store.dataKeys.remove([id]) : await keyring.shred({ id })))
    // After the key: words that somebody with it puts back meanwhile would be missed else.
    if (gone.length > 0) await forgetText()
    return gone
  }

  /**
   * Wraps all data keys by the first of the master keys that the ledger was opened with. Entries stay as they are. Stopped
   * in the middle, it goes on when it is done again.
   * @throws LedgerError `key_error` where one is wrapped by a master key that was not given; `read_only` | `io_error`
   */
  async rewrap(): Promise<Rewrapped> {
    const { keyring } = this.#parts
    this.#assertWritable()
    if (keyring === null) throw noMasterKey('to wrap data keys')
    return keyring.rewrapAll()
  }

  #assertWritable(): void {
    if (this.#parts.store.readOnly)
      throw new LedgerError('read_only', 'the ledger is open for reading: open it without readOnly to change its data keys')
  }
}

function noMasterKey(what: string): LedgerError {
  return new LedgerError('key_error', `${what}, open the ledger with its master key (encryption, --master-key or CORTEX_LEDGER_MASTER_KEY)`)
}
