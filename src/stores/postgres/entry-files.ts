/** Archive files in tables beside the records. */
import { PIECE_BYTES } from '../../ledger/archive-pieces.ts'
import type { PieceTables, WholeFile } from '../../ledger/archive-pieces.ts'
import { byteaArray } from './arrays.ts'
import { UNDEFINED_TABLE, sqlStateOf } from './errors.ts'
import type { TreeAccess } from './tree.ts'

const BEGIN = { text: 'INSERT INTO entry_files (ledger_id) VALUES ($1) RETURNING id' }
const PUT = {
  name: 'cortex_pieces',
  text: `INSERT INTO entry_pieces (id, piece, content) SELECT $1, $2 + p.number - 1, p.content FROM unnest($3::bytea[]) WITH ORDINALITY AS p(content, number)
    ON CONFLICT (id, piece) DO UPDATE SET content = excluded.content`,
}
/** Once more does no harm: it has its name then. */
const NAME = {
  text: `UPDATE entry_files AS f SET name = $2, bytes = $3, sha256 = $4 WHERE f.id = $1 AND (f.name IS NULL OR f.name = $2)
    AND (SELECT count(*) FROM entry_pieces AS p WHERE p.id = f.id) = $5 RETURNING f.id`,
}
const FIND = { name: 'cortex_file', text: 'SELECT id, name, bytes, sha256 FROM entry_files WHERE ledger_id = $1 AND name = $2' }
const READ = {
  name: 'cortex_pieces_of',
  text: `SELECT piece, content FROM entry_pieces AS p WHERE id = $1 AND piece BETWEEN $2 AND $3
    AND EXISTS (SELECT FROM entry_files AS f WHERE f.id = p.id AND f.name = $4 AND f.sha256 = $5)`,
}
const LIST = { text: 'SELECT name, bytes FROM entry_files WHERE ledger_id = $1 AND starts_with(name, $2)' }
const REMOVE = { text: 'DELETE FROM entry_files WHERE id = $1' }
const LEFT_OVERS = { text: 'DELETE FROM entry_files WHERE ledger_id = $1 AND name IS NULL AND id <> ALL ($2::bigint[])' }

export interface EntryFiles extends PieceTables {
  /** Removes what has no name and is not being written by this store. */
  removeLeftOvers(): Promise<void>
}

const UNIQUE_VIOLATION = '23505'

/** What fails with this SQLSTATE comes to this. */
async function unless<T>(state: string, instead: T, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (sqlStateOf(error) !== state) throw error
    return instead
  }
}

function wholeFile(row: readonly (string | null)[] | undefined): WholeFile | null {
  if (row === undefined) return null
  const [id, name, bytes, sha256] = row
  return { id: Number(id), name: String(name), bytes: Number(bytes), sha256: String(sha256) }
}

/** Each statement may come twice, where the connection is lost and nobody knows whether it took effect. */
export function entryFilesIn({ place, reading, assertWritable }: TreeAccess): EntryFiles {
  /** Being written just now. */
  const begun = new Set<number>()

  return {
    display: place.display,
    assertWritable,

    async begin() {
      const [row] = await reading((session) => session.query(BEGIN, [place.id]))
      const id = Number(row?.[0])
      begun.add(id)
      return id
    },

    async put(id, first, pieces) {
      const content = byteaArray(pieces)
      await reading((session) => session.query(PUT, [id, first, content]))
    },

    async name(id, { name, bytes, sha256 }) {
      const values = [id, name, bytes, sha256, Math.ceil(bytes / PIECE_BYTES)]
      const rows = await unless(
        UNIQUE_VIOLATION,
        [],
        reading((session) => session.query(NAME, values)),
      )
      if (rows.length > 0) begun.delete(id)
      return rows.length > 0
    },

    // Tables of version 1 have none.
    find: (name) =>
      unless(
        UNDEFINED_TABLE,
        null,
        reading((session) => session.query(FIND, [place.id, name])).then(([row]) => wholeFile(row)),
      ),

    async pieces({ id, name, sha256 }, first, last) {
      const rows = await reading((session) => session.query(READ, [id, first, last, name, sha256]))
      return new Map(rows.map(([piece, content]) => [Number(piece), Buffer.from(String(content).slice(2), 'hex')]))
    },

    async list(prefix) {
      const rows = await unless(
        UNDEFINED_TABLE,
        [],
        reading((session) => session.query(LIST, [place.id, prefix])),
      )
      return rows.map(([name, bytes]) => ({ name: String(name), bytes: Number(bytes) }))
    },

    async remove(id) {
      await reading((session) => session.query(REMOVE, [id]))
      begun.delete(id)
    },

    async removeLeftOvers() {
      await reading((session) => session.query(LEFT_OVERS, [place.id, `{${[...begun].join(',')}}`]))
    },
  }
}
