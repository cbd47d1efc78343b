/** Archive files in the database itself. */
import { setImmediate as turnOfTheLoop } from 'node:timers/promises'
import { PIECE_BYTES } from '../../ledger/archive-pieces.ts'
import type { PieceTables, WholeFile } from '../../ledger/archive-pieces.ts'
import type { Database, SqlRow } from '../sql/driver.ts'
import { inTransaction } from '../sql/transaction.ts'
import { noteDue } from './changing.ts'
import { hasUpkeepTables } from './schema.ts'

/** Pieces that are removed by one transaction. */
const REMOVED_PIECES = 256

export interface EntryFilesAccess {
  readonly display: string
  /** Runs the work when no other process is in the way. */
  readonly run: <T>(work: (database: Database) => T) => Promise<T>
  readonly assertWritable: () => void
}

/** Ids are used again: that it is still the file. */
const PIECES = `SELECT piece, content FROM entry_pieces AS p WHERE id = ? AND piece BETWEEN ? AND ?
  AND EXISTS (SELECT 1 FROM entry_files AS f WHERE f.id = p.id AND f.name = ? AND f.sha256 = ?)`

export interface EntryFiles extends PieceTables {
  /** Removes what has no name and is not being written by this store. */
  removeLeftOvers(): Promise<void>
}

function wholeFile(row: SqlRow | undefined): WholeFile | null {
  if (row === undefined) return null
  return { id: Number(row['id']), name: String(row['name']), bytes: Number(row['bytes']), sha256: String(row['sha256']) }
}

export function entryFilesIn({ display, run, assertWritable }: EntryFilesAccess): EntryFiles {
  /** Being written just now. */
  const begun = new Set<number>()

  async function remove(id: number): Promise<void> {
    // First it has no name any more: what a crash leaves is a left-over.
    await run((database) => inTransaction(database, () => database.cached('UPDATE entry_files SET name = NULL WHERE id = ?').run(id)))
    for (let left = true; left; await turnOfTheLoop()) {
      left = await run((database) =>
        inTransaction(database, () => {
          noteDue(database)
          database
            .cached(`DELETE FROM entry_pieces WHERE rowid IN (SELECT rowid FROM entry_pieces WHERE id = ? LIMIT ${REMOVED_PIECES})`)
            .run(id)
          const more = database.cached('SELECT 1 FROM entry_pieces WHERE id = ? LIMIT 1').get(id) !== undefined
          if (!more) database.cached('DELETE FROM entry_files WHERE id = ?').run(id)
          return more
        }),
      )
    }
    begun.delete(id)
  }

  return {
    display,
    assertWritable,

    async begin() {
      const id = await run((database) =>
        inTransaction(database, () => {
          database.cached('INSERT INTO entry_files (name) VALUES (NULL)').run()
          return Number(database.pragma('SELECT last_insert_rowid()'))
        }),
      )
      begun.add(id)
      return id
    },

    put: (id, first, pieces) =>
      run((database) =>
        inTransaction(database, () => {
          const insert = database.cached('INSERT INTO entry_pieces (id, piece, content) VALUES (?, ?, ?)')
          pieces.forEach((piece, i) => insert.run(id, first + i, piece))
        }),
      ),

    async name(id, { name, bytes, sha256 }) {
      const named = await run((database) =>
        inTransaction(database, () => {
          if (database.cached('SELECT 1 FROM entry_files WHERE name = ?').get(name) !== undefined) return false
          const { n } = database.cached('SELECT count(*) AS n FROM entry_pieces WHERE id = ?').get(id) ?? {}
          if (Number(n) !== Math.ceil(bytes / PIECE_BYTES)) return false
          database.cached('UPDATE entry_files SET name = ?, bytes = ?, sha256 = ? WHERE id = ?').run(name, bytes, sha256, id)
          return database.cached('SELECT 1 FROM entry_files WHERE id = ? AND name = ?').get(id, name) !== undefined
        }),
      )
      if (named) begun.delete(id)
      return named
    },

    find: (name) =>
      run((database) =>
        hasUpkeepTables(database)
          ? wholeFile(database.cached('SELECT id, name, bytes, sha256 FROM entry_files WHERE name = ?').get(name))
          : null,
      ),

    pieces: ({ id, name, sha256 }, first, last) =>
      run((database) => {
        const rows = database.cached(PIECES).all(id, first, last, name, sha256)
        return new Map(rows.map((row) => [Number(row['piece']), row['content'] as Uint8Array]))
      }),

    list: (prefix) =>
      run((database) => {
        if (!hasUpkeepTables(database)) return []
        const rows = database.cached('SELECT name, bytes FROM entry_files WHERE substr(name, 1, length(?)) = ?').all(prefix, prefix)
        return rows.map((row) => ({ name: String(row['name']), bytes: Number(row['bytes']) }))
      }),

    remove,

    async removeLeftOvers() {
      const rows = await run((database) => database.cached('SELECT id FROM entry_files WHERE name IS NULL').all())
      for (const { id } of rows) if (!begun.has(Number(id))) await remove(Number(id))
    },
  }
}
