/** A store of which a test replaces a part. */
import type { Store } from '../../src/ledger/store.ts'

/** Its methods as a plain object has them: a spread of a class leaves them behind. */
export function wrapped(store: Store): Store {
  return {
    kind: store.kind,
    location: store.location,
    readOnly: store.readOnly,
    get segmentFull() {
      return store.segmentFull
    },
    get segment() {
      return store.segment
    },
    tree: store.tree,
    replica: store.replica,
    snapshots: store.snapshots,
    dataKeys: store.dataKeys,
    recovered: store.recovered,
    state: (request) => store.state(request),
    append: (records, expected, options) => store.append(records, expected, options),
    read: (selection) => store.read(selection),
    count: (filter) => store.count(filter),
    tally: (column, filter) => store.tally(column, filter),
    describe: () => store.describe(),
    audit: (sink, signal, range) => store.audit(sink, signal, range),
    flush: () => store.flush(),
    close: () => store.close(),
  }
}
