/**
 * Who signs a ledger's checkpoints: the keys that record 0 names and `KeyAdded` records add, without those that were
 * retired; of these the one that was given, or those whose files are in their default place.
 */
import { existsSync } from 'node:fs'
import { KeyLog } from '../verify/key-log.ts'
import type { LedgerKey } from '../verify/key-log.ts'
import { LedgerError } from './errors.ts'
import { nodeHashing } from './hashing.ts'
import { defaultKeyPath, readKeyFile } from './keys.ts'
import type { Signer } from './keys.ts'
import type { Passphrase } from './passphrase.ts'
import { LedgerRecord } from './record.ts'
import type { Store } from './store.ts'

export interface SigningOptions {
  readonly key?: string | undefined
  readonly signer?: Signer | null | undefined
  readonly passphrase?: Passphrase | undefined
}

/** The word in place of a key file's path for a ledger that goes on unsigned. */
const NO_KEY = 'none'

export function isNoKey(path: string | undefined): boolean {
  return path === NO_KEY
}

/** Of a checkpoint key, which has one. */
const verifierKeyOf = ({ verifier_key }: LedgerKey): string => verifier_key ?? ''
const KEY_CHANGES = ['KeyAdded', 'KeyRetired'] as const

export class SigningKeys {
  readonly #store: Store
  readonly #origin: string
  readonly #options: SigningOptions
  readonly #log = new KeyLog(nodeHashing.sha256)
  /** The key records before this position are known. */
  #seen = 0
  #signers: readonly Signer[] = []

  constructor(store: Store, origin: string, foundingKeys: readonly string[], options: SigningOptions) {
    this.#store = store
    this.#origin = origin
    this.#options = options
    this.#log.take('LedgerCreated', { keys: foundingKeys }, 0, origin)
  }

  /** Of all keys that ever signed checkpoints of the ledger. */
  get verifierKeys(): readonly string[] {
    return this.#keys.map(verifierKeyOf)
  }

  get canSign(): boolean {
    return this.#signers.length > 0
  }

  get #keys(): readonly LedgerKey[] {
    return this.#log.list().filter(({ purpose }) => purpose === 'checkpoint')
  }

  /** Verifier keys of those that are right now. */
  get #active(): readonly string[] {
    return this.#keys.filter(({ retired_seq }) => retired_seq === null).map(verifierKeyOf)
  }

  /**
   * Finds the keys, so that a lost or wrong one is told at opening and not when a checkpoint is due.
   * @throws LedgerError `key_error`
   */
  async open(): Promise<void> {
    const path = this.#options.key ?? (process.env['CORTEX_LEDGER_KEY'] || undefined)
    if (this.#options.signer === null || (this.#options.signer === undefined && isNoKey(path))) return
    await this.#readOn()
    const named = this.#options.signer ?? (path === undefined ? null : await readKeyFile(path, this.#options))
    if (named !== null) {
      this.#requireActive(named.verifierKey)
      this.#signers = [named]
      return
    }
    if (this.#active.length === 0) return
    const paths = this.#active.map((verifierKey) => defaultKeyPath(this.#origin, verifierKey))
    const there = paths.filter((file) => existsSync(file))
    if (there.length === 0) {
      throw new LedgerError(
        'key_error',
        `the key of ${this.#origin} is not at ${paths.join(' or ')}: give its file (key, --key or CORTEX_LEDGER_KEY), or say that recording goes on unsigned (signer: null, or ${NO_KEY} as the file)`,
        { files: paths },
      )
    }
    this.#signers = await Promise.all(there.map((file) => readKeyFile(file, this.#options)))
  }

  #requireActive(verifierKey: string): void {
    const key = this.#keys.find((known) => verifierKeyOf(known) === verifierKey)
    if (key === undefined) {
      throw new LedgerError(
        'key_error',
        `the key ${verifierKey} is not one of the ledger ${this.#origin}: give the key that was made with it, or add this one with keys add`,
        { known: this.verifierKeys },
      )
    }
    if (key.retired_seq === null) return
    throw new LedgerError(
      'key_error',
      `the key ${verifierKey} was retired at position ${key.retired_seq}: give the file of its successor`,
      {
        known: this.#active,
      },
    )
  }

  /** Those that sign a checkpoint now. @throws LedgerError `key_error` where there are none */
  async signers(): Promise<readonly Signer[]> {
    await this.#readOn()
    const active = new Set(this.#active)
    const signers = this.#signers.filter(({ verifierKey }) => active.has(verifierKey))
    if (signers.length > 0) return signers
    const why = this.#signers.length > 0 ? 'its key was retired meanwhile' : 'it has no key here, or was opened without'
    throw new LedgerError(
      'key_error',
      `the ledger ${this.#origin} can't sign (${why}): open it with its key (key, --key or CORTEX_LEDGER_KEY)`,
    )
  }

  /** Key records since the last time. */
  async #readOn(): Promise<void> {
    const { head } = await this.#store.state({ streams: [], run_ids: [] })
    const filter = { type: KEY_CHANGES }
    for await (const chunk of this.#store.read({ filter, from: this.#seen, before: head.size, reverse: false, limit: Infinity })) {
      for (const line of chunk) {
        const { header, entry } = new LedgerRecord(line)
        const type = KEY_CHANGES.find((each) => each === header.type)
        // What can't be taken adds no key: `verify` says so.
        if (type !== undefined) this.#log.take(type, entry, header.seq, this.#origin)
      }
    }
    this.#seen = head.size
  }
}
