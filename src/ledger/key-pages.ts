/** All data keys of a store, some at a time. */
import type { DataKeyStore, StoredKey } from './store.ts'

const PAGE = 256

/** By ascending id; those of a page may be changed or removed before the next one is asked for. @throws LedgerError of the store */
export async function* keyPages(keys: Pick<DataKeyStore, 'list'>): AsyncGenerator<readonly StoredKey[], void, undefined> {
  for (let after = ''; ;) {
    const page = await keys.list(after, PAGE)
    const last = page.at(-1)
    if (last === undefined) return
    yield page
    after = last.id
  }
}
