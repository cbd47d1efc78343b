/** Records on their way to the disk: so many that batches are large, so few that a file of any size fits. */
import { LedgerError } from '../errors.ts'
import type { Ledger } from '../ledger.ts'
import type { Receipt } from '../plan.ts'

const RECORDS_MAX = 4096
const BYTES_MAX = 16 * 1024 * 1024

/** True where the record itself is at fault: another one may go through. */
export function isOfTheRecord(error: unknown): error is LedgerError {
  return error instanceof LedgerError && (error.code === 'invalid_entry' || error.code === 'too_large' || error.code === 'reserved')
}

export class RecordsInFlight {
  imported = 0
  already = 0
  readonly #ledger: Ledger
  /** Size of the ledger before: a receipt of an earlier position is of a record that was there. */
  readonly #sizeBefore: number
  #records = 0
  #bytes = 0
  #changed: (() => void) | null = null
  #failure: { readonly error: unknown } | null = null

  private constructor(ledger: Ledger, sizeBefore: number) {
    this.#ledger = ledger
    this.#sizeBefore = sizeBefore
  }

  static async begin(ledger: Ledger): Promise<RecordsInFlight> {
    return new RecordsInFlight(ledger, (await ledger.head()).size)
  }

  /** Records that were handed over. */
  get taken(): number {
    return this.imported + this.already + this.#records
  }

  /**
   * Resolves when there is room for the next one; the record itself may still be on its way.
   * @param record hands it to the ledger
   * @param refused told of an error of the record itself; without it, such an error ends the import
   * @throws the first error that is no record's fault, of this or of an earlier record
   */
  async put(record: () => Promise<Receipt>, bytes: number, refused?: (error: LedgerError) => void): Promise<void> {
    await this.#ledger.ready()
    if (this.#failure !== null) throw this.#failure.error
    this.#records++
    this.#bytes += bytes
    void record().then(
      (receipt) => this.#arrived(receipt, bytes),
      (error: unknown) => {
        if (refused !== undefined && isOfTheRecord(error)) refused(error)
        else this.#failure ??= { error }
        this.#leave(bytes)
      },
    )
    await this.#below(RECORDS_MAX, BYTES_MAX)
  }

  /** Resolves when nothing is on its way any more. @throws as `put` */
  async settle(): Promise<void> {
    await this.#below(1, Infinity)
    if (this.#failure !== null) throw this.#failure.error
  }

  async #below(records: number, bytes: number): Promise<void> {
    while (this.#records >= records || this.#bytes >= bytes) {
      await new Promise<void>((resolve) => (this.#changed = resolve))
    }
  }

  #arrived(receipt: Receipt, bytes: number): void {
    if (receipt.seq >= this.#sizeBefore) this.imported++
    else this.already++
    this.#leave(bytes)
  }

  #leave(bytes: number): void {
    this.#records--
    this.#bytes -= bytes
    const changed = this.#changed
    this.#changed = null
    changed?.()
  }
}
