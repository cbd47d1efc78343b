/** The thread of the full-text index: reads the ledger by a store of its own, so that nothing waits for it. */
import { workerData } from 'node:worker_threads'
import { openTextServiceOnThread } from './open-text.ts'
import type { OpenedService, TextWorkerData } from './open-text.ts'
import { serveThread } from './stores/sql/thread-end.ts'
import type { TextRequest, TextService } from './stores/text/text-service.ts'

const data = workerData as TextWorkerData
let opening: Promise<OpenedService> | null = null
let service: TextService | null = null

/** A failure is not kept: the next request tries again. */
function opened(): Promise<OpenedService> {
  opening ??= openTextServiceOnThread(data).catch((error: unknown) => {
    opening = null
    throw error
  })
  return opening
}

async function answer(request: TextRequest): Promise<unknown> {
  ;({ service } = await opened())
  return service.answer(request)
}

async function letGo(): Promise<void> {
  try {
    await (await opening)?.close()
  } catch {
    // It is derived; the next one who opens it looks at it anyway.
  }
}

serveThread(answer, letGo, () => service?.interrupt())
