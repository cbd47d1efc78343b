/** Read models by where they are kept. Above the stores, beside src/open.ts (docs/decisions/0006). */
import { ReadModels } from './ledger/read-models.ts'
import { locate } from './open-store.ts'
import type { StoreOptions } from './open-store.ts'

/**
 * Opens the read models in an SQLite file of their own, or in the schema that a PostgreSQL URL names: the ledger's, or
 * another one (`?schema=`). What is not there is made.
 * @throws RangeError for another kind of place; LedgerError `not_a_ledger` where the file holds something else, and of the storage
 */
export async function openReadModels(location: string | URL, { driver }: Pick<StoreOptions, 'driver'> = {}): Promise<ReadModels> {
  const place = locate(location)
  if (place.kind === 'sqlite') return ReadModels.over((await import('./stores/models/sqlite.ts')).modelsInSqlite(place.path, driver))
  if (place.kind === 'postgres') return ReadModels.over((await import('./stores/models/postgres.ts')).modelsInPostgres(place.url))
  throw new RangeError('read models are kept in an SQLite file (….db) or a postgres: URL')
}
