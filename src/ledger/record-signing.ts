/**
 * Signs sealed records on their way to the store. A record key may be retired by another process at any time, and
 * nothing may be signed by it behind that: so whenever the ledger's own stream has moved, its keys are looked at anew.
 */
import { formatBase64 } from '../verify/base64.ts'
import { recordSignatureMessage } from '../verify/record-signatures.ts'
import { LedgerError } from './errors.ts'
import { readKeys, requireActiveKeys } from './key-records.ts'
import { recordSignature, recordSignatureSync } from './record-signer.ts'
import type { RecordSigner } from './record-signer.ts'
import type { SealedRecord, Store } from './store.ts'

/** Records whose signatures are asked for at once. */
const AT_ONCE = 32

function signaturesText(signers: readonly RecordSigner[], signatures: readonly Uint8Array[]): string {
  const each = signers.map(({ key, alg }, i) => `{"key":"${key}","alg":"${alg}","sig":"${formatBase64(signatures[i]!)}"}`)
  return `[${each.join(',')}]`
}

export class RecordSigning {
  /** What the header names: ascending, as the signers. */
  readonly ids: readonly string[]
  readonly #store: Store
  readonly #origin: string
  readonly #signers: readonly RecordSigner[]
  /** `stream_version` of the last of the ledger's own records that was looked at. */
  #ownVersion: number | undefined

  /** @param signers in the order of their ids */
  constructor(store: Store, origin: string, signers: readonly RecordSigner[]) {
    this.ids = signers.map(({ key }) => key)
    this.#store = store
    this.#origin = origin
    this.#signers = signers
  }

  /** The ledger's own stream was moved on by a batch of ours. */
  note(ownVersion: number | undefined): void {
    if (ownVersion !== undefined) this.#ownVersion = ownVersion
  }

  /** Looks whether the keys are right for what comes next. @throws LedgerError `key_error` */
  async look(): Promise<void> {
    // The version first: what comes in between is looked at again.
    const { streams } = await this.#store.state({ streams: ['ledger'], run_ids: [] })
    requireActiveKeys(await readKeys(this.#store), this.#signers, this.#store.location)
    this.#ownVersion = streams.get('ledger')
  }

  /** True where no key can have been retired since `look`: the stream `ledger` is where it was. */
  #knows(ownVersion: number | undefined): boolean {
    return ownVersion !== undefined && ownVersion === this.#ownVersion
  }

  /**
   * The records with their signatures, several asked for at once.
   * @param ownVersion last `stream_version` of the stream `ledger` before them
   * @throws LedgerError `key_error`
   */
  async sign(records: readonly SealedRecord[], ownVersion: number | undefined): Promise<readonly SealedRecord[]> {
    if (records.length === 0) return records
    if (!this.#knows(ownVersion)) await this.look()
    const signed: SealedRecord[] = []
    let next = 0
    const work = async (): Promise<void> => {
      while (next < records.length) {
        const at = next++
        const record = records[at]!
        const message = recordSignatureMessage(this.#origin, record.hash)
        try {
          const signatures = await Promise.all(this.#signers.map((signer) => recordSignature(signer, message)))
          signed[at] = { ...record, signatures_text: signaturesText(this.#signers, signatures) }
        } catch (error) {
          // The batch is lost: the other workers ask for nothing more.
          next = records.length
          throw error
        }
      }
    }
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, records.length) }, work))
    return signed
  }

  /** The same in a process that is exiting. @throws LedgerError `key_error` */
  signAtExit(records: readonly SealedRecord[], ownVersion: number | undefined): SealedRecord[] {
    try {
      if (!this.#knows(ownVersion))
        throw new LedgerError('key_error', 'another process wrote to the stream ledger, and may have retired the key')
      return records.map((record) => {
        const message = recordSignatureMessage(this.#origin, record.hash)
        const signatures = this.#signers.map((signer) => recordSignatureSync(signer, message))
        return { ...record, signatures_text: signaturesText(this.#signers, signatures) }
      })
    } catch (error) {
      throw new LedgerError('key_error', `${records.length} records could not be signed (${(error as Error).message})`, { cause: error })
    }
  }
}
