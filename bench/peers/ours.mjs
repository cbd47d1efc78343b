/** The same work by the ledger itself, compiled, in a process of its own as the peers have one. */
import { join } from 'node:path'
import { answer, measure, payload, task } from './task.mjs'

const [store, main] = task.variant.split(' ')
const { AuditLedger } = await import(main)
const location = task.url ?? join(task.folder, store === 'SQLite' ? 'ledger.db' : 'ledger')
const ledger = await AuditLedger.open(location, { origin: 'example.com/bench', actor: 'bench', signer: null })

const single = (i) => {
  const { stream, call, event } = payload(i)
  return call === undefined ? ledger.append(stream, event) : ledger.record(call)
}
const seconds = await measure({
  single,
  batch: (from, to) => {
    const indexes = Array.from({ length: to - from }, (_, i) => from + i)
    // Events have one atomic append; calls come at once and share their commit.
    if (payload(from).call !== undefined) return Promise.all(indexes.map(single))
    return ledger.append(
      `run-${from}`,
      indexes.map((i) => payload(i).event),
    )
  },
  read: async () => {
    let found = 0
    for await (const { entry } of ledger.scan({ stream: 'run-0' })) if (entry !== null) found++
    return found
  },
})
const { size } = await ledger.head()
await ledger.close()
answer({ seconds, kept: size - 1, settings: `${store}, durable before each receipt` })
