/** What a program says about encryption when it opens a ledger. */
import type { MasterKey } from './master-key.ts'

/** What is known of a record before it is encrypted. Of this, only the subject is in no header. */
export interface KeyedRecord {
  readonly type: string
  readonly stream: string
  readonly actor: string
  readonly action: string
  readonly run_id: string
  readonly correlation_id: string | undefined
  readonly tags: readonly string[] | undefined
  /** Who the record is about, as its caller said. */
  readonly subject: string | undefined
}

export interface EncryptionOptions {
  /**
   * What wraps the data keys: a master key, or the path of its file. Of several, the first one wraps, and all unwrap what
   * they wrapped: so that a new one can come before the old one goes.
   */
  readonly master: MasterKey | string | readonly (MasterKey | string)[]
  /**
   * Whose data key encrypts the record: any name, which is kept nowhere, or null for a record in clear. The record's
   * `subject`, else its stream, unless said. Pure: a retry must give the same.
   */
  readonly keyOf?: ((record: KeyedRecord) => string | null) | undefined
  /**
   * Index what is in encrypted entries: provider and model, and words where the full-text index is on. They stand in the
   * index in clear. Not unless said.
   */
  readonly indexEncrypted?: boolean | undefined
}

/** @throws TypeError */
export function requireEncryption(options: EncryptionOptions | null | undefined): void {
  if (options === undefined || options === null) return
  const { master, keyOf, indexEncrypted } = options
  const masters: readonly unknown[] = Array.isArray(master) ? master : [master]
  const isMaster = (one: unknown): boolean => {
    if (typeof one === 'string') return one !== ''
    const { id, wrap, unwrap } = (one ?? {}) as Partial<MasterKey>
    return typeof id === 'string' && id !== '' && typeof wrap === 'function' && typeof unwrap === 'function'
  }
  if (masters.length === 0 || !masters.every(isMaster))
    throw new TypeError('encryption.master must be the path of a master key, or { id, wrap, unwrap }, or a list of these')
  if (keyOf !== undefined && typeof keyOf !== 'function') throw new TypeError('encryption.keyOf must be a function')
  if (indexEncrypted !== undefined && typeof indexEncrypted !== 'boolean')
    throw new TypeError('encryption.indexEncrypted must be a boolean')
}
