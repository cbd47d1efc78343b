/** What no ledger on the same disk can go below: the same bytes, or the same rows, with nothing around them. */
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import {
  INDEX_COLUMNS,
  INDEX_COLUMNS_SQL,
  INDEX_PLACEHOLDERS,
  INDEX_STATEMENTS,
  indexColumns,
  TAGS_TABLE_SQL,
} from '../src/stores/sql/columns.ts'
import { openDatabase } from '../src/stores/sql/driver.ts'
import { formatLine } from '../src/verify/record.ts'
import type { Batch } from './batches.ts'
import { timed } from './session.ts'

/**
 * Seconds of a log that does as little as can be done for the same bytes: each record, an object, through
 * `JSON.stringify`, one write and one fdatasync a batch. No check, no hash, no index.
 */
export async function jsonlFloor(folder: string, batches: readonly Batch[]): Promise<number> {
  const work = batches.map((batch) => ({
    records: batch.map((record) => JSON.parse(formatLine(record)) as unknown),
    bytes: batch.reduce((sum, { line_bytes }) => sum + line_bytes, 0),
  }))
  const file = openSync(join(folder, 'floor.jsonl'), 'a')
  try {
    return await timed(() => {
      for (const { records, bytes } of work) {
        let text = ''
        for (const record of records) text += `${JSON.stringify(record)}\n`
        const written = writeSync(file, text)
        if (written !== bytes) throw new Error(`the floor wrote ${written} of ${bytes} bytes`)
        fdatasyncSync(file)
      }
    })
  } finally {
    closeSync(file)
  }
}

/** Seconds of the same driver, settings, columns, values and indexes; one transaction for each of the same batches. */
export async function sqliteFloor(folder: string, batches: readonly Batch[]): Promise<number> {
  const database = await openDatabase(join(folder, 'floor.db'))
  try {
    database.exec('PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
    database.exec('PRAGMA cache_size = -32768; PRAGMA wal_autocheckpoint = 2048; PRAGMA mmap_size = 0')
    database.exec(`CREATE TABLE records (seq INTEGER PRIMARY KEY, ${INDEX_COLUMNS_SQL},
      hash TEXT NOT NULL, header TEXT NOT NULL, signatures TEXT, salt TEXT, entry TEXT) STRICT`)
    for (const statement of [TAGS_TABLE_SQL, ...INDEX_STATEMENTS]) database.exec(statement)
    const insert = database.prepare(
      `INSERT INTO records (seq, ${INDEX_COLUMNS.join(', ')}, hash, header, signatures, salt, entry) VALUES (?, ${INDEX_PLACEHOLDERS}, ?, ?, ?, ?, ?)`,
    )
    const work = batches.map((batch) =>
      batch.map(({ header, provider, model, hash, header_text, signatures_text, salt, entry_text }) => [
        header.seq,
        ...indexColumns(header, provider, model),
        hash,
        header_text,
        signatures_text,
        salt,
        entry_text,
      ]),
    )
    return await timed(() => {
      for (const rows of work) {
        database.exec('BEGIN IMMEDIATE')
        for (const row of rows) insert.run(...row)
        database.exec('COMMIT')
      }
    })
  } finally {
    database.close()
  }
}
