/** The caller's end of a thread that works on a derived database. It is started when first needed, and keeps no process alive. */
import { Worker } from 'node:worker_threads'
import type { ResourceLimits } from 'node:worker_threads'
import { LedgerError } from '../../ledger/errors.ts'
import type { ThreadMessage, ThreadReply } from './thread-end.ts'

interface Waiting {
  readonly resolve: (value: never) => void
  readonly reject: (error: Error) => void
  /** Somebody awaits it: until then the process must not end for want of other work. */
  readonly isAwaited: boolean
}

/** How long closing waits for the thread before it is stopped in its transaction, which SQLite takes back. */
const CLOSE_MS = 2000

export class Thread<Request> {
  readonly #file: URL
  readonly #data: object
  readonly #name: string
  readonly #limits: ResourceLimits | undefined
  #worker: Worker | null = null
  #waiting: Waiting[] = []
  #closed: (() => void) | null = null
  #isBroken = false

  /**
   * @param file the thread's program; where that ends in .ts, the package runs from its source, as in the tests
   * @param data what it is told at its start
   * @param limits of its memory
   */
  constructor(file: URL, data: object, name: string, limits?: ResourceLimits) {
    this.#file = file
    this.#data = data
    this.#name = name
    this.#limits = limits
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

  /** Requests are answered one after the other. Rejects with what failed there, and where the thread can't be had. */
  ask<Answer>(request: Request, isAwaited: boolean): Promise<Answer> {
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
      worker.postMessage({ kind: 'ask', request } satisfies ThreadMessage<Request>)
    })
  }

  #start(): Worker {
    if (this.#worker !== null) return this.#worker
    // The caller's own flags (an inspector, a test runner's loader, a heap limit) are not meant for this thread.
    const isSource = this.#file.pathname.endsWith('.ts')
    const execArgv = isSource && process.features.typescript !== 'strip' ? ['--experimental-strip-types'] : []
    const worker = new Worker(this.#file, {
      workerData: this.#data,
      execArgv,
      name: this.#name,
      ...(this.#limits === undefined ? {} : { resourceLimits: this.#limits }),
    })
    worker.unref()
    worker.on('message', (reply: ThreadReply) => this.#hear(reply))
    worker.on('error', (error) => this.#end(error))
    worker.on('exit', () => this.#end(new Error(`the thread of ${this.#name} ended`)))
    this.#worker = worker
    return worker
  }

  #hear(reply: ThreadReply): void {
    if (reply.kind === 'closed') {
      this.#closed?.()
      return
    }
    const waiting = this.#waiting.shift()
    if (!this.#waiting.some(({ isAwaited }) => isAwaited)) this.#worker?.unref()
    if (reply.kind === 'answer') waiting?.resolve(reply.value as never)
    else waiting?.reject(reply.code === null ? new Error(reply.message) : new LedgerError(reply.code, reply.message))
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
    worker.postMessage({ kind: 'close' } satisfies ThreadMessage<Request>)
    const timer = setTimeout(() => this.#closed?.(), CLOSE_MS)
    await closed
    clearTimeout(timer)
    await worker.terminate()
  }
}
