/** SQLite with nothing around it: the same driver, settings, columns, indexes and values as the store; one transaction a batch. */
import type { SealedRecord } from '../src/ledger/store.ts'
import {
  INDEX_COLUMNS,
  INDEX_COLUMNS_SQL,
  INDEX_PLACEHOLDERS,
  INDEX_STATEMENTS,
  indexColumns,
  TAGS_TABLE_SQL,
} from '../src/stores/sql/columns.ts'
import { openDatabase } from '../src/stores/sql/driver.ts'

export interface SqliteFloor {
  insert(batch: readonly SealedRecord[]): void
  close(): void
}

export async function sqliteFloor(path: string): Promise<SqliteFloor> {
  const database = await openDatabase(path)
  database.exec('PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
  database.exec('PRAGMA cache_size = -32768; PRAGMA wal_autocheckpoint = 2048; PRAGMA mmap_size = 0')
  database.exec(`CREATE TABLE records (seq INTEGER PRIMARY KEY, ${INDEX_COLUMNS_SQL},
    hash TEXT NOT NULL, header TEXT NOT NULL, signatures TEXT, salt TEXT, entry TEXT) STRICT`)
  for (const statement of [TAGS_TABLE_SQL, ...INDEX_STATEMENTS]) database.exec(statement)
  const insert = database.prepare(
    `INSERT INTO records (seq, ${INDEX_COLUMNS.join(', ')}, hash, header, signatures, salt, entry) VALUES (?, ${INDEX_PLACEHOLDERS}, ?, ?, ?, ?, ?)`,
  )
  return {
    insert(batch) {
      database.exec('BEGIN IMMEDIATE')
      for (const { header, provider, model, hash, header_text, signatures_text, salt, entry_text } of batch) {
        insert.run(header.seq, ...indexColumns(header, provider, model), hash, header_text, signatures_text, salt, entry_text)
      }
      database.exec('COMMIT')
    },
    close: () => database.close(),
  }
}
