/** A process that appends batches to a ledger as fast as others let it: `node appending-process.ts PATH NAME BATCHES SIZE`. */
import { LedgerError } from '../../../src/ledger/errors.ts'
import { openSqliteStore } from '../../../src/stores/sqlite/index.ts'
import { SampleChain } from '../../../src/testing/sample-chain.ts'

const [path, name, batches, size] = process.argv.slice(2) as [string, string, string, string]
const store = await openSqliteStore(path)
process.stdout.write('ready\n')
await new Promise((resolve) => process.stdin.once('data', resolve))
process.stdin.unref()

let lost = 0
for (let batch = 0; batch < Number(batches);) {
  const { head } = await store.state({ streams: [], run_ids: [] })
  const chain = new SampleChain()
  // Sealed for the head that was just read: another process may be faster.
  const sealed = Object.defineProperty(chain, 'head', { value: head }).seal(
    Array.from({ length: Number(size) }, (_, i) => ({ actor: name, stream: `${name}-${batch}`, run_id: `${name}-${batch}-${i}` })),
    true,
  )
  try {
    await store.append(sealed, head)
    batch++
  } catch (error) {
    if (!(error instanceof LedgerError) || error.code !== 'head_moved') throw error
    lost++
  }
}
await store.close()
process.stdout.write(`done ${lost}\n`)
