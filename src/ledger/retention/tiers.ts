/** The tiers of a ledger: which archive a file is in, and its lines. */
import type { ArchiveStore } from '../archive.ts'
import { LedgerError } from '../errors.ts'
import type { Store } from '../store.ts'
import { archivedFault } from './archive-lines.ts'
import { Catalogue } from './catalogue.ts'
import type { ArchivedFile } from './catalogue.ts'
import { Packed } from './packing.ts'

/** Files whose tables are kept. */
const OPEN_MAX = 8

export interface TierOptions {
  /** Where cold entries lie; null where nobody said. */
  readonly cold: ArchiveStore | null
  /** Cold entries are read from there wherever they are asked for. */
  readonly readThrough: boolean
}

export class Tiers {
  readonly catalogue = new Catalogue()
  readonly warm: ArchiveStore | null
  readonly cold: ArchiveStore | null
  readonly readThrough: boolean
  readonly #open = new Map<string, Promise<Packed>>()

  constructor(store: Store, { cold, readThrough }: TierOptions) {
    this.warm = store.upkeep?.archive ?? null
    this.cold = cold
    this.readThrough = readThrough
  }

  /** Whether an entry in such a file is read wherever it is asked for. */
  reads({ tier }: ArchivedFile): boolean {
    return tier === 'warm' ? this.warm !== null : this.cold !== null && this.readThrough
  }

  /** @throws LedgerError `archived` where nobody named the archive that it is in */
  archiveOf({ tier, file, location }: ArchivedFile): ArchiveStore {
    const archive = tier === 'warm' ? this.warm : this.cold
    if (archive !== null) return archive
    throw new LedgerError(
      'archived',
      `${file} lies in ${location ?? 'the ledger'}, which was not named: open the ledger with this archive (archive, --archive)`,
      { tier, file, location },
    )
  }

  async #packed(file: ArchivedFile): Promise<Packed> {
    const known = this.#open.get(file.file)
    if (known !== undefined) {
      // Those asked for last stay.
      this.#open.delete(file.file)
      this.#open.set(file.file, known)
      return known
    }
    const opening = Packed.open(this.archiveOf(file), file.file)
    this.#open.set(file.file, opening)
    for (const oldest of this.#open.keys()) {
      if (this.#open.size <= OPEN_MAX) break
      this.#open.delete(oldest)
    }
    opening.catch(() => this.forget(file.file))
    return opening
  }

  /** It is not there any more, or another one now. */
  forget(file: string): void {
    this.#open.delete(file)
  }

  /**
   * The whole of a withheld line, out of a file.
   * @throws LedgerError `not_found` where the file is not there | `damaged` where it has another line, or none | `archived` | `io_error` | `key_error`
   */
  async whole(file: ArchivedFile, seq: number, withheld: Uint8Array): Promise<Uint8Array> {
    const line = await (await this.#packed(file)).line(seq)
    const fault = line === null ? 'it is not in it' : archivedFault(withheld, line)
    if (line !== null && fault === null) return line
    this.forget(file.file)
    throw damaged(file, seq, fault ?? '')
  }

  /** All lines of a file, in the order of position, as they are. @throws LedgerError */
  async *lines(file: ArchivedFile): AsyncGenerator<Uint8Array, void, undefined> {
    yield* (await this.#packed(file)).lines()
  }
}

export function damaged({ file, location, tier }: ArchivedFile, seq: number, fault: string): LedgerError {
  const where = location === null ? file : `${file} in ${location}`
  return new LedgerError('damaged', `the record at position ${seq} can't be had from ${where}: ${fault}. Restore the file from a backup`, {
    seq,
    file,
    location,
    tier,
    fault,
  })
}
