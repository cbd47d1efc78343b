/** What a ledger wrote, batch by batch, so that a floor can write as much in the same batches. */
import type { AuditLedger } from '../src/index.ts'
import { indexedName } from '../src/ledger/filter.ts'
import type { SealedRecord, Store } from '../src/ledger/store.ts'
import { readLine } from '../src/verify/record.ts'

export interface Written extends SealedRecord {
  /** Of its line in a file, line feed included. */
  readonly line_bytes: number
}

export type Batch = readonly Written[]

/** The store itself, with the size of each batch that it takes put into `sizes`: keeping the records would be measured as garbage. */
export function countBatches(store: Store, sizes: number[]): Store {
  return new Proxy(store, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      if (name !== 'append') return value.bind(target)
      return (...args: Parameters<Store['append']>) => {
        sizes.push(args[0].length)
        return target.append(...args)
      }
    },
  })
}

function writtenAgain(line: string): Written {
  const bytes = Buffer.from(line)
  const { hash, header, header_text, signatures_text, salt, entry_text } = readLine(bytes)
  if (salt === null || entry_text === null) throw new Error('the bench withholds nothing')
  const entry = JSON.parse(entry_text) as { provider_name?: unknown; model_name?: unknown }
  const names = { provider: indexedName(entry.provider_name), model: indexedName(entry.model_name) }
  return { hash, header, header_text, signatures_text, salt, entry_text, ...names, line_bytes: bytes.length + 1 }
}

/** The records from position `from`, read back and cut into batches of these sizes. */
export async function readBatches(ledger: AuditLedger, from: number, sizes: readonly number[]): Promise<Batch[]> {
  const records: Written[] = []
  for await (const { line } of ledger.read({ from })) records.push(writtenAgain(line))
  let start = 0
  return sizes.map((size) => records.slice(start, (start += size)))
}
