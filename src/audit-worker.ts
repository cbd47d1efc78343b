/** The second thread of verification: goes through its part of the records by a store of its own. */
import { auditPart, STOP } from './open-audit.ts'
import type { PartRequest } from './open-audit.ts'
import { serveThread } from './stores/sql/thread-end.ts'

let close: () => void = () => {}
let shared: Int32Array | null = null

async function answer(request: PartRequest): Promise<unknown> {
  ;({ shared } = request)
  const found = await auditPart(request)
  if (found === null) return null
  // Whoever joins the parts reads the files until it closes this thread.
  ;({ close } = found)
  return found.answer
}

serveThread(
  answer,
  () => close(),
  () => {
    if (shared !== null) Atomics.store(shared, STOP, 1)
  },
)
