/** Wrapped data keys in a table of their own, which an auditor's role does not see. */
import type { DataKeyStore, StoredKey } from '../../ledger/store.ts'
import { textArray } from './arrays.ts'
import type { Row } from './bound-query.ts'
import { UNDEFINED_TABLE, sqlStateOf } from './errors.ts'
import type { TreeAccess } from './tree.ts'

const COLUMNS = 'id, label, master, wrapped'
const ANY = { name: 'cortex_keys_any', text: 'SELECT EXISTS (SELECT FROM data_keys WHERE ledger_id = $1)' }
const FIND = {
  id: { name: 'cortex_keys_by_id', text: `SELECT ${COLUMNS} FROM data_keys WHERE ledger_id = $1 AND id = ANY ($2::text[])` },
  label: { name: 'cortex_keys_by_label', text: `SELECT ${COLUMNS} FROM data_keys WHERE ledger_id = $1 AND label = ANY ($2::text[])` },
}
const LIST = {
  name: 'cortex_keys_list',
  text: `SELECT ${COLUMNS} FROM data_keys WHERE ledger_id = $1 AND id > $2 ORDER BY id LIMIT $3`,
}
/** In the order of label: two that add the same ones at once wait for each other, and never in a circle. */
const ADD = {
  name: 'cortex_keys_add',
  text: `INSERT INTO data_keys (ledger_id, ${COLUMNS}) SELECT $1, k.* FROM unnest($2::text[], $3::text[], $4::text[], $5::text[]) AS k(${COLUMNS})
    ORDER BY k.label ON CONFLICT DO NOTHING`,
}
const REWRAP = {
  name: 'cortex_keys_rewrap',
  text: `UPDATE data_keys AS d SET master = c.master, wrapped = c.wrapped
    FROM unnest($2::text[], $3::text[], $4::text[], $5::text[]) AS c(id, before, master, wrapped)
    WHERE d.ledger_id = $1 AND d.id = c.id AND d.wrapped = c.before RETURNING d.id`,
}
const REMOVE = { name: 'cortex_keys_remove', text: 'DELETE FROM data_keys WHERE ledger_id = $1 AND id = ANY ($2::text[])' }
/**
 * What was removed stays in the table's pages until it is written anew. It is small, so that is done at once; where somebody
 * is in the way, the next `reclaim` does it.
 */
const REWRITE = { text: "SELECT rewrite_table('data_keys', 0)" }

function asKey([id, label, master, wrapped]: Row): StoredKey {
  return { id: id as string, label: label as string, master: master as string, wrapped: wrapped as string }
}

/** Over the connections that read: doing any of it twice is doing it once. */
export function dataKeysInTable({ place, reading, assertWritable }: TreeAccess): DataKeyStore {
  return {
    async isEmpty() {
      try {
        const [row] = await reading((session) => session.query(ANY, [place.id]))
        return row?.[0] !== 't'
      } catch (error) {
        // Tables of version 1 have none.
        if (sqlStateOf(error) !== UNDEFINED_TABLE) throw error
        return true
      }
    },
    find: async (by, values) => (await reading((session) => session.query(FIND[by], [place.id, textArray(values)]))).map(asKey),
    list: async (after, limit) => (await reading((session) => session.query(LIST, [place.id, after, limit]))).map(asKey),
    async add(keys) {
      assertWritable()
      const columns = (['id', 'label', 'master', 'wrapped'] as const).map((column) => textArray(keys.map((key) => key[column])))
      await reading((session) => session.query(ADD, [place.id, ...columns]))
    },
    async rewrap(changes) {
      assertWritable()
      const columns = [
        changes.map(({ before }) => before.id),
        changes.map(({ before }) => before.wrapped),
        changes.map(({ after }) => after.master),
        changes.map(({ after }) => after.wrapped),
      ]
      return (await reading((session) => session.query(REWRAP, [place.id, ...columns.map(textArray)]))).length
    },
    async remove(ids) {
      assertWritable()
      // Asked first: where the connection is lost and the deletion is done again, there is nothing to tell any more.
      const there = (await reading((session) => session.query(FIND.id, [place.id, textArray(ids)]))).map(([id]) => id as string)
      if (there.length === 0) return []
      await reading((session) => session.query(REMOVE, [place.id, textArray(there)]))
      await reading((session) => session.query(REWRITE)).catch(() => {})
      return there
    },
  }
}
