/**
 * The writer of an encrypted ledger. What callers give is encrypted in front of the queue, outside any lock, in the order
 * in which it came; all that gathered while keys were fetched is encrypted together, so that many records of many
 * subjects cost one look at what keeps the keys.
 */
import { LEDGER_STREAM } from '../../verify/header.ts'
import { commitmentHash } from '../draft.ts'
import type { Draft } from '../draft.ts'
import { LedgerError } from '../errors.ts'
import { LIMITS } from '../limits.ts'
import type { Receipt } from '../plan.ts'
import type { Random } from '../random.ts'
import type { Store } from '../store.ts'
import { Writer } from '../writer.ts'
import type { WriterOptions } from '../writer.ts'
import type { Keyring } from './keyring.ts'
import type { KeyedRecord } from './options.ts'
import { boundTo, sealEntry } from './sealed-entry.ts'
import type { DataKey } from './sealed-entry.ts'

type Append = Parameters<Writer['submit']>[0]

export interface SealerParts {
  readonly keyring: Keyring
  readonly origin: string
  readonly random: Random
  readonly keyOf: (record: KeyedRecord) => string | null
  readonly indexed: boolean
}

/** Encrypts drafts. */
export class DraftSealer {
  readonly #parts: SealerParts

  constructor(parts: SealerParts) {
    this.#parts = parts
  }

  /** Whose key encrypts the record; null: it stays in clear. @throws TypeError, and what `keyOf` throws */
  #nameOf(draft: Draft): string | null {
    // The ledger's own records are what tells of erasures and keys; they hold nobody's content.
    if (draft.stream === LEDGER_STREAM) return null
    const { type, stream, actor, action, run_id, correlation_id, tags, subject } = draft
    const name: unknown = this.#parts.keyOf({ type, stream, actor, action, run_id, correlation_id, tags, subject })
    if (name === null || (typeof name === 'string' && name !== '')) return name
    throw new TypeError('encryption.keyOf must give a name, or null for a record that stays in clear. Nothing was recorded')
  }

  #seal(draft: Draft, key: DataKey): Draft {
    const { origin, random, indexed } = this.#parts
    const entry_text = sealEntry(draft.entry_text, key, boundTo(origin, draft.run_id), random)
    return {
      ...draft,
      entry_text,
      entry_hash: commitmentHash(draft.salt, entry_text),
      provider: indexed ? draft.provider : null,
      model: indexed ? draft.model : null,
      // Only what may be there already is ever compared.
      plain_text: draft.fresh ? null : draft.entry_text,
      subject: undefined,
      size_bytes: entry_text.length + (draft.fresh ? 0 : draft.entry_text.length) + 1024,
    }
  }

  /** The drafts of each append, encrypted, or why not. */
  async seal(appends: readonly (readonly Draft[])[]): Promise<readonly (readonly Draft[] | { readonly error: unknown })[]> {
    const named = appends.map((drafts) => {
      try {
        return drafts.map((draft) => this.#nameOf(draft))
      } catch (error) {
        return { error }
      }
    })
    const names = new Set(named.flatMap((one) => ('error' in one ? [] : one)).filter((name) => name !== null))
    let keys: ReadonlyMap<string, DataKey>
    try {
      keys = names.size === 0 ? new Map() : await this.#parts.keyring.forWriting([...names])
    } catch (error) {
      // Never in clear instead.
      return appends.map(() => ({ error }))
    }
    return appends.map((drafts, i) => this.#sealedBy(drafts, named[i]!, (name) => keys.get(name) ?? null) as readonly Draft[])
  }

  /** With keys that are at hand; an error where one is not. */
  sealAtOnce(drafts: readonly Draft[]): readonly Draft[] | { readonly error: unknown } {
    try {
      const names = drafts.map((draft) => this.#nameOf(draft))
      return this.#sealedBy(drafts, names, (name) => this.#parts.keyring.lastFor(name))
    } catch (error) {
      return { error }
    }
  }

  #sealedBy(
    drafts: readonly Draft[],
    names: readonly (string | null)[] | { readonly error: unknown },
    keyOf: (name: string) => DataKey | null,
  ): readonly Draft[] | { readonly error: unknown } {
    if ('error' in names) return names
    try {
      return drafts.map((draft, i) => {
        const name = names[i] as string | null
        if (name === null) return draft
        const key = keyOf(name)
        if (key === null) throw new LedgerError('key_error', 'the data key of a record is not at hand. It was not recorded')
        return this.#seal(draft, key)
      })
    } catch (error) {
      return { error }
    }
  }
}

/** An append that waits for its keys. */
interface Staged {
  readonly append: Append
  readonly bytes: number
  readonly resolve: (receipts: Receipt[]) => void
  readonly reject: (error: unknown) => void
}

export class EncryptingWriter extends Writer {
  readonly #sealer: DraftSealer
  readonly #limits: { readonly records_max: number; readonly bytes_max: number }
  #staged: Staged[] = []
  /** Those whose keys are being fetched. */
  #sealing: readonly Staged[] = []
  #records = 0
  #bytes = 0
  #running: Promise<void> | null = null
  #roomWanted: (() => void)[] = []

  constructor(store: Store, options: WriterOptions, sealer: DraftSealer) {
    super(store, options)
    this.#sealer = sealer
    this.#limits = {
      records_max: options.queue?.records_max ?? LIMITS.queue_records_max,
      bytes_max: options.queue?.bytes_max ?? LIMITS.queue_bytes_max,
    }
  }

  override get pending(): number {
    return super.pending + this.#records
  }

  override submit(append: Append): Promise<Receipt[]> {
    let bytes = 0
    for (const { size_bytes } of append.drafts) bytes += size_bytes
    const isFull = this.#records + append.drafts.length > this.#limits.records_max || this.#bytes + bytes > this.#limits.bytes_max
    if (isFull && this.#records > 0) {
      const what = `${this.#records} records (${this.#bytes} bytes) wait to be encrypted and the queue's limit is reached: await record(), or await ready() before the next one. This one was not recorded`
      return Promise.reject(new LedgerError('queue_full', what, { records: this.#records, bytes: this.#bytes }))
    }
    return new Promise((resolve, reject) => {
      this.#staged.push({ append, bytes, resolve, reject })
      this.#records += append.drafts.length
      this.#bytes += bytes
      this.#running ??= this.#run()
    })
  }

  async #run(): Promise<void> {
    try {
      // One turn for whoever records in this one; not a timer.
      await Promise.resolve()
      while (this.#staged.length > 0) {
        const batch = this.#staged
        this.#staged = []
        this.#sealing = batch
        // Whatever goes wrong, each of them hears of it.
        const sealed = await this.#sealer
          .seal(batch.map(({ append }) => append.drafts))
          .catch((error: unknown) => batch.map(() => ({ error })))
        // The process is exiting, and took them over meanwhile.
        if (this.#sealing !== batch) return
        this.#sealing = []
        for (const [i, staged] of batch.entries()) this.#passOn(staged, sealed[i]!)
        this.#tellRoom()
      }
    } finally {
      this.#running = null
    }
  }

  #passOn({ append, bytes, resolve, reject }: Staged, drafts: readonly Draft[] | { readonly error: unknown }): void {
    this.#records -= append.drafts.length
    this.#bytes -= bytes
    if ('error' in drafts) reject(drafts.error)
    else super.submit({ ...append, drafts }).then(resolve, reject)
  }

  #tellRoom(): void {
    const wanted = this.#roomWanted
    if (this.#records * 2 > this.#limits.records_max || this.#bytes * 2 > this.#limits.bytes_max) return
    this.#roomWanted = []
    for (const tell of wanted) tell()
  }

  override async ready(): Promise<void> {
    if (this.#records * 2 > this.#limits.records_max || this.#bytes * 2 > this.#limits.bytes_max)
      await new Promise<void>((resolve) => this.#roomWanted.push(resolve))
    await super.ready()
  }

  override async drain(): Promise<void> {
    while (this.#running !== null) await this.#running
    await super.drain()
  }

  override async close(): Promise<void> {
    while (this.#running !== null) await this.#running
    await super.close()
  }

  /** What still waits for a key is written with the one that its name had last; a new one can't be made any more. */
  override drainAtExit(): void {
    const waiting = [...this.#sealing, ...this.#staged]
    this.#sealing = []
    this.#staged = []
    let lost = 0
    for (const staged of waiting) {
      const drafts = this.#sealer.sealAtOnce(staged.append.drafts)
      if ('error' in drafts) lost += staged.append.drafts.length
      this.#passOn(staged, drafts)
    }
    super.drainAtExit()
    if (lost > 0)
      throw new LedgerError(
        'key_error',
        `${lost} records whose data key was still to be fetched: await what is recorded before the process ends`,
      )
  }
}

/** Of an encrypted ledger that was opened without saying how to encrypt: records nothing of its callers'. */
export class RefusingWriter extends Writer {
  override submit(append: Append): Promise<Receipt[]> {
    if (append.drafts.every(({ stream }) => stream === LEDGER_STREAM)) return super.submit(append)
    return Promise.reject(
      new LedgerError(
        'key_error',
        'entries of this ledger are encrypted: open it with its master key (encryption, --master-key or CORTEX_LEDGER_MASTER_KEY), or say that these are to be recorded in clear (encryption: null, or none as the file). This was not recorded',
      ),
    )
  }
}
