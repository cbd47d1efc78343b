/** Wrapped data keys of a ledger that is gone with its process, or has no place for files. */
import { LedgerError } from './errors.ts'
import type { DataKeyStore, StoredKey } from './store.ts'

export function dataKeysInMemory(readOnly = false): DataKeyStore {
  const keys = new Map<string, StoredKey>()
  function assertWritable(): void {
    if (readOnly) throw new LedgerError('read_only', 'the ledger was opened for reading: open it without readOnly to change its data keys')
  }
  return {
    isEmpty: async () => keys.size === 0,
    find: async (by, values) => [...keys.values()].filter((key) => values.includes(key[by])),
    async add(added) {
      assertWritable()
      for (const key of added) {
        if (!keys.has(key.id) && ![...keys.values()].some(({ label }) => label === key.label)) keys.set(key.id, { ...key })
      }
    },
    async rewrap(changes) {
      assertWritable()
      const there = changes.filter(({ before }) => keys.get(before.id)?.wrapped === before.wrapped)
      for (const { after } of there) keys.set(after.id, { ...after })
      return there.length
    },
    async remove(ids) {
      assertWritable()
      return ids.filter((id) => keys.delete(id))
    },
    list: async (after, limit) =>
      [...keys.values()]
        .filter(({ id }) => id > after)
        .toSorted((a, b) => (a.id < b.id ? -1 : 1))
        .slice(0, limit),
  }
}
