/** The places of a selection's records, by the index. */
import type { Selection } from '../../ledger/store.ts'
import type { Database } from '../sql/driver.ts'
import { SelectedRows } from '../sql/select.ts'
import { indexGone, PLACE_COLUMNS, placeOf } from './index-db.ts'
import type { IndexedPlace } from './index-db.ts'

/** A page at a time. */
export class SelectedPlaces {
  readonly #rows: SelectedRows
  readonly #isOpen: () => boolean

  constructor(database: Database, selection: Selection, isOpen: () => boolean) {
    this.#rows = new SelectedRows(database, selection, PLACE_COLUMNS)
    this.#isOpen = isOpen
  }

  /** Empty when there are no more. A page ends early where its lines would be more than `bytesMax`. */
  next(recordsMax: number, bytesMax: number): IndexedPlace[] {
    if (!this.#isOpen()) throw indexGone()
    let bytes = 0
    return this.#rows.next(recordsMax, (row) => (bytes += Number(row['length'])) >= bytesMax).map(placeOf)
  }
}
