/** The data keys of a ledger that is copied: without them nobody reads the encrypted entries of the copy. */
import { keyPages } from './key-pages.ts'
import type { DataKeyStore, Rewrapping, StoredKey } from './store.ts'

/**
 * Brings the keys of `target` to where those of `source` are, as they are wrapped there. A key that only the target has
 * stays, since the source may have lost it, unless the source has another one for the same name: then it was shredded.
 * @throws LedgerError of the stores
 */
export async function copyDataKeys(source: DataKeyStore, target: DataKeyStore): Promise<void> {
  for await (const page of keyPages(source)) {
    const known = new Map<string, StoredKey>()
    for (const key of await target.find(
      'id',
      page.map(({ id }) => id),
    ))
      known.set(key.id, key)
    const fresh = page.filter(({ id }) => !known.has(id))
    const labels = fresh.map(({ label }) => label)
    const replaced = fresh.length === 0 ? [] : await target.find('label', labels)
    if (replaced.length > 0) await target.remove(replaced.map(({ id }) => id))
    if (fresh.length > 0) await target.add(fresh)
    const changes: Rewrapping[] = []
    for (const after of page) {
      const before = known.get(after.id)
      if (before !== undefined && (before.master !== after.master || before.wrapped !== after.wrapped)) changes.push({ before, after })
    }
    if (changes.length > 0) await target.rewrap(changes)
  }
}
