/** The index's own thread: brings the index up to the places that it is told, in their order. */
import { parentPort, workerData } from 'node:worker_threads'
import type { Database } from '../sql/driver.ts'
import { catchUpStep, indexPath, LARGE_STEP } from './index-catch-up.ts'
import type { CatchUpEnd } from './index-catch-up.ts'
import { identityOf, isBrokenIndex, openIndex, removeIndex } from './index-db.ts'
import type { IndexPosition } from './index-db.ts'

export type WorkerRequest = { readonly kind: 'catch-up'; readonly end: CatchUpEnd } | { readonly kind: 'close' }

export type WorkerReply =
  | { readonly kind: 'progress'; readonly position: IndexPosition | null; readonly done: boolean }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'closed' }

const { dir } = workerData as { dir: string }
const port = parentPort
if (port === null) throw new TypeError('index-worker runs as a worker thread')

let database: Database | null = null
let identity: string | null = null

function reply(message: WorkerReply): void {
  port?.postMessage(message)
}

function letGo(): void {
  try {
    database?.close()
  } catch {
    // It is derived; the next one who opens it looks at it anyway.
  }
  database = null
}

async function catchUp(end: CatchUpEnd): Promise<void> {
  for (let rebuilt = false; ;) {
    try {
      // Removed by somebody who found it broken: what is written into the removed file is lost.
      if (database !== null && identity !== identityOf(indexPath(dir))) letGo()
      if (database === null) {
        database = await openIndex(indexPath(dir), { busyTimeoutMs: 10_000, cacheKib: 65_536 })
        identity = identityOf(indexPath(dir))
      }
      const { position, done } = catchUpStep(database, dir, end, LARGE_STEP)
      reply({ kind: 'progress', position, done })
      if (done) return
    } catch (error) {
      letGo()
      if (rebuilt || !isBrokenIndex(error)) throw error
      rebuilt = true
      removeIndex(indexPath(dir))
    }
  }
}

let work: Promise<void> = Promise.resolve()

port.on('message', (request: WorkerRequest) => {
  work = work.then(async () => {
    if (request.kind === 'close') {
      letGo()
      reply({ kind: 'closed' })
      port.close()
      return
    }
    try {
      await catchUp(request.end)
    } catch (error) {
      reply({ kind: 'failed', message: error instanceof Error ? error.message : String(error) })
    }
  })
})
