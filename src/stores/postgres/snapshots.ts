/** States of projections in a table beside the records. */
import type { SnapshotFiles } from '../../ledger/store.ts'
import type { TreeAccess } from './tree.ts'

const LIST = {
  name: 'cortex_snapshots',
  text: 'SELECT name FROM snapshots WHERE ledger_id = $1 AND starts_with(name, $2)',
}
const READ = { name: 'cortex_snapshot', text: 'SELECT text FROM snapshots WHERE ledger_id = $1 AND name = $2' }
const WRITE = {
  name: 'cortex_snapshot_write',
  text: 'INSERT INTO snapshots (ledger_id, name, text) VALUES ($1, $2, $3) ON CONFLICT (ledger_id, name) DO UPDATE SET text = excluded.text',
}
const REMOVE = { name: 'cortex_snapshot_remove', text: 'DELETE FROM snapshots WHERE ledger_id = $1 AND name = $2' }

/** Written and removed over the connections that read: doing either twice is doing it once. */
export function snapshotsInTable({ place, reading, assertWritable }: TreeAccess): SnapshotFiles {
  return {
    list: async (prefix) => (await reading((session) => session.query(LIST, [place.id, prefix]))).map(([name]) => name as string),
    read: (name) => reading((session) => session.query(READ, [place.id, name])).then(([row]) => row?.[0] ?? null),
    async write(name, text) {
      assertWritable()
      await reading((session) => session.query(WRITE, [place.id, name, text]))
    },
    async remove(name) {
      assertWritable()
      await reading((session) => session.query(REMOVE, [place.id, name]))
    },
  }
}
