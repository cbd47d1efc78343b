/** The caller's end of the index's thread. It is started when first needed, and keeps no process alive. */
import { Worker } from 'node:worker_threads'
import type { CatchUpEnd } from './index-catch-up.ts'
import type { WorkerReply, WorkerRequest } from './index-worker.ts'

interface Waiting {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
  /** Somebody awaits it: until then the process must not end for want of other work. */
  readonly isAwaited: boolean
}

/** How long closing waits for the thread before it is stopped in its transaction, which SQLite takes back. */
const CLOSE_MS = 2000

/** Not built yet: run from its source, as the tests do. */
const IS_SOURCE = import.meta.url.endsWith('.ts')
const WORKER_FILE = new URL(IS_SOURCE ? './index-worker.ts' : './index-worker.js', import.meta.url)

export class IndexThread {
  readonly #dir: string
  readonly #file: URL
  #worker: Worker | null = null
  #waiting: Waiting[] = []
  #closed: (() => void) | null = null
  #isBroken = false

  /** @param file the thread's program */
  constructor(dir: string, file: URL = WORKER_FILE) {
    this.#dir = dir
    this.#file = file
  }

  /** The thread can't be started here, or died: for instance where a bundler left its file behind. */
  get isBroken(): boolean {
    return this.#isBroken
  }

  get isRunning(): boolean {
    return this.#worker !== null
  }

  get isBusy(): boolean {
    return this.#waiting.length > 0
  }

  /** Resolves when the index is at `end`, or as far as it got when something failed (then it rejects). */
  catchUp(end: CatchUpEnd, isAwaited: boolean): Promise<void> {
    let worker: Worker
    try {
      worker = this.#start()
    } catch (error) {
      this.#isBroken = true
      return Promise.reject(error)
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject, isAwaited })
      if (isAwaited) worker.ref()
      worker.postMessage({ kind: 'catch-up', end } satisfies WorkerRequest)
    })
  }

  #start(): Worker {
    if (this.#worker !== null) return this.#worker
    // The caller's own flags (an inspector, a test runner's loader, a heap limit) are not meant for this thread.
    const execArgv = IS_SOURCE && process.features.typescript !== 'strip' ? ['--experimental-strip-types'] : []
    const worker = new Worker(this.#file, { workerData: { dir: this.#dir }, execArgv, name: 'cortex-ledger index' })
    worker.unref()
    worker.on('message', (reply: WorkerReply) => this.#hear(reply))
    worker.on('error', (error) => this.#end(error))
    worker.on('exit', () => this.#end(new Error('the thread of the index ended')))
    this.#worker = worker
    return worker
  }

  #hear(reply: WorkerReply): void {
    if (reply.kind === 'closed') this.#closed?.()
    else if (reply.kind === 'failed') this.#answer((waiting) => waiting.reject(new Error(reply.message)))
    else if (reply.done) this.#answer((waiting) => waiting.resolve())
  }

  #answer(tell: (waiting: Waiting) => void): void {
    const waiting = this.#waiting.shift()
    if (!this.#waiting.some(({ isAwaited }) => isAwaited)) this.#worker?.unref()
    if (waiting !== undefined) tell(waiting)
  }

  #end(error: Error): void {
    if (this.#worker === null) return
    this.#worker = null
    this.#isBroken = true
    const waiting = this.#waiting
    this.#waiting = []
    for (const { reject } of waiting) reject(error)
    this.#closed?.()
  }

  /** What is under way gets a moment to end. */
  async close(): Promise<void> {
    const worker = this.#worker
    if (worker === null) return
    worker.ref()
    const closed = new Promise<void>((resolve) => (this.#closed = resolve))
    worker.postMessage({ kind: 'close' } satisfies WorkerRequest)
    const timer = setTimeout(() => this.#closed?.(), CLOSE_MS)
    await closed
    clearTimeout(timer)
    await worker.terminate()
  }
}
