import { LedgerRecord } from './record.ts'
import type { Selection, Store } from './store.ts'

/** The records that a store selects, one by one, in bounded memory. @throws LedgerError */
export async function* readRecords(store: Pick<Store, 'read'>, selection: Selection): AsyncGenerator<LedgerRecord, void, undefined> {
  for await (const chunk of store.read(selection)) {
    for (const line of chunk) yield new LedgerRecord(line)
  }
}
