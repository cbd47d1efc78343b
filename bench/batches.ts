/** Keeps what a ledger hands its store, so that a floor can write the same bytes in the same batches. */
import { formatLine } from '../src/verify/record.ts'
import type { SealedRecord, Store } from '../src/ledger/store.ts'

/** The store itself, with each batch that it takes put into `batches` too. */
export function keepBatches(store: Store, batches: (readonly SealedRecord[])[]): Store {
  return new Proxy(store, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      if (name !== 'append') return value.bind(target)
      return (...args: Parameters<Store['append']>) => {
        batches.push(args[0])
        return target.append(...args)
      }
    },
  })
}

/** A batch as the bytes that a file of lines gets. */
export function linesOf(batch: readonly SealedRecord[]): Buffer {
  return Buffer.from(batch.map((record) => `${formatLine(record)}\n`).join(''))
}
