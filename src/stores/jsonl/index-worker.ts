/** The index's own thread: brings the index up to the places that it is told, in their order. */
import { workerData } from 'node:worker_threads'
import { identityOf, isBrokenDatabase, removeDatabase } from '../sql/derived.ts'
import type { Database } from '../sql/driver.ts'
import { serveThread } from '../sql/thread-end.ts'
import { catchUpStep, indexPath, LARGE_STEP } from './index-catch-up.ts'
import { openIndex } from './index-db.ts'
import type { IndexRequest } from './index-thread.ts'
import { keepIndexUp } from './index-upkeep.ts'

const { dir } = workerData as { dir: string }

let database: Database | null = null
let identity: string | null = null

function letGo(): void {
  try {
    database?.close()
  } catch {
    // It is derived; the next one who opens it looks at it anyway.
  }
  database = null
}

async function answer(request: IndexRequest): Promise<boolean> {
  for (let rebuilt = false; ;) {
    try {
      // Removed by somebody who found it broken: what is written into the removed file is lost.
      if (database !== null && identity !== identityOf(indexPath(dir))) letGo()
      if (database === null) {
        database = await openIndex(indexPath(dir), { busyTimeoutMs: 10_000, cacheKib: 65_536 })
        identity = identityOf(indexPath(dir))
      }
      if (request.kind !== 'catch-up') return keepIndexUp(database, dir, request)
      if (catchUpStep(database, dir, request.end, LARGE_STEP).done) return true
    } catch (error) {
      letGo()
      if (rebuilt || !isBrokenDatabase(error)) throw error
      rebuilt = true
      removeDatabase(indexPath(dir))
    }
  }
}

serveThread(answer, letGo)
