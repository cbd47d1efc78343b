/** Entries that go and come back, each call one transaction; all synchronous. */
import { indexedNames } from '../../ledger/filter.ts'
import type { KeptEntry, UpkeepStep } from '../../ledger/upkeep.ts'
import type { Range } from '../../verify/ranges.ts'
import type { Database } from '../sql/driver.ts'
import { inTransaction } from '../sql/transaction.ts'

/** The file holds bytes that `reclaim` has to take out of it. */
export function noteDue(database: Database): void {
  database.cached('INSERT INTO upkeep_due (one, times) VALUES (1, 1) ON CONFLICT (one) DO UPDATE SET times = times + 1').run()
}

/** How often since all was reclaimed; 0: nothing is due. */
export function timesDue(database: Database): number {
  return Number(database.cached('SELECT times FROM upkeep_due').get()?.['times'] ?? 0)
}

/** The guard lets entries go and come in here, and in no other transaction. */
function inUpkeep<T>(database: Database, work: () => T): T {
  return inTransaction(database, () => {
    database.cached("INSERT INTO upkeep_now (what) VALUES ('entries')").run()
    const result = work()
    database.cached('DELETE FROM upkeep_now').run()
    return result
  })
}

/** The bytes that the entries of one step may have. */
const STEP_BYTES = 8 * 1024 * 1024

/** What is there to take: the length of a text stands beside it, so the entry itself is not read. */
const TAKEABLE = `SELECT seq, coalesce(octet_length(salt), 0) + coalesce(octet_length(entry), 0) AS bytes FROM records
  WHERE seq >= ? AND seq <= ? AND (entry IS NOT NULL OR salt IS NOT NULL OR (? AND (provider IS NOT NULL OR model IS NOT NULL)))`
// Only what is named here makes SQLite touch the indexes of provider and model.
const TAKE = 'UPDATE records SET salt = NULL, entry = NULL WHERE seq = ?'
const TAKE_ALL = 'UPDATE records SET salt = NULL, entry = NULL, provider = NULL, model = NULL WHERE seq = ?'

export interface Withheld extends UpkeepStep {
  /** Where to go on; null when all of the portion is done. */
  readonly next: number | null
}

/** Takes entries of the portion away, up to `STEP_BYTES` of them. */
export function withholdStep(database: Database, portion: readonly Range[], erase: boolean): Withheld {
  return inUpkeep(database, () => {
    const found: number[] = []
    let bytes = 0
    let next: number | null = null
    for (const { first, last } of portion) {
      for (const row of database.cached(TAKEABLE).all(first, last, erase ? 1 : 0)) {
        if (bytes >= STEP_BYTES) {
          next = Number(row['seq'])
          break
        }
        found.push(Number(row['seq']))
        bytes += Number(row['bytes'])
      }
      if (next !== null) break
    }
    const take = database.cached(erase ? TAKE_ALL : TAKE)
    for (const seq of found) take.run(seq)
    if (found.length > 0) noteDue(database)
    return { records: found.length, bytes, next }
  })
}

const IS_WITHHELD = 'SELECT provider, model FROM records WHERE seq = ? AND entry IS NULL AND salt IS NULL'
const PUT_BACK = 'UPDATE records SET salt = ?, entry = ? WHERE seq = ?'
const PUT_BACK_NAMES = 'UPDATE records SET salt = ?, entry = ?, provider = ?, model = ? WHERE seq = ?'

/** Puts entries back where they are withheld. */
export function restoreStep(database: Database, entries: readonly KeptEntry[]): UpkeepStep {
  return inUpkeep(database, () => {
    let records = 0
    let bytes = 0
    for (const { seq, salt, entry_text } of entries) {
      const row = database.cached(IS_WITHHELD).get(seq)
      if (row === undefined) continue
      const { provider, model } = row
      // After an erasure, or in a copy of a ledger that withheld it, they are not there.
      const names = provider === null || model === null ? indexedNames(entry_text) : { provider: null, model: null }
      if ((provider ?? names.provider) === provider && (model ?? names.model) === model)
        database.cached(PUT_BACK).run(salt, entry_text, seq)
      else database.cached(PUT_BACK_NAMES).run(salt, entry_text, provider ?? names.provider, model ?? names.model, seq)
      records++
      bytes += Buffer.byteLength(salt) + Buffer.byteLength(entry_text)
    }
    return { records, bytes }
  })
}
