/**
 * Writing what waits when the process exits. Nothing asynchronous runs any more in that thread, but a thread of its own can
 * still be started, with connections of its own, and waited for. It keeps the head's lock between looking and writing,
 * which a process that is run once for each could not: with other writers about, it would come second each time.
 *
 * Measured on two busy cores: 0.2 s for one record, 0.3 s for 1,000; most of it is starting the thread.
 */
import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads'
import type { MessagePort } from 'node:worker_threads'
import { LedgerError } from '../../ledger/errors.ts'
import type { LedgerErrorCode, LedgerErrorDetails } from '../../ledger/errors.ts'
import type { ExitAppender, Head, SealedRecord, StateRequest, StoreState } from '../../ledger/store.ts'
import type { Appending } from './appending.ts'
import type { PostgresStoreOptions } from './opening.ts'
import type { Sessions } from './sessions.ts'

export type ExitRequest =
  | { readonly kind: 'state'; readonly request: StateRequest }
  | { readonly kind: 'append'; readonly records: readonly SealedRecord[] }

export type ExitReply =
  | { readonly kind: 'done'; readonly state: StoreState | null }
  | { readonly kind: 'failed'; readonly code: LedgerErrorCode; readonly message: string; readonly details: LedgerErrorDetails }

export interface ExitThreadData {
  readonly url: string
  readonly databaseClock: boolean | undefined
  /** ms */
  readonly patience_ms: number
  /** The end of what was acknowledged: the thread writes to no server that has less either. */
  readonly acknowledged: Head | null
  readonly port: MessagePort
  /** One number: replies so far. */
  readonly replies: Int32Array
}

const FILE = new URL(import.meta.url.endsWith('.ts') ? './exit-thread.ts' : './exit-thread.js', import.meta.url)
/** How long an exiting process waits for a server that can't be had. */
const PATIENCE_MS = 3000
/** And for an answer: longer than a server leaves the head locked to a process that is gone. */
const ANSWER_MS = 15_000

export class ExitThread implements ExitAppender {
  readonly #url: string
  readonly #options: PostgresStoreOptions
  readonly #sessions: Sessions
  readonly #appending: Appending
  readonly #replies = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
  #port: MessagePort | null = null

  constructor(url: string, options: PostgresStoreOptions, sessions: Sessions, appending: Appending) {
    this.#url = url
    this.#options = options
    this.#sessions = sessions
    this.#appending = appending
  }

  /** What was under way is taken back or goes through; the thread looks under the lock, where that is decided. */
  settle(): void {
    this.#sessions.cut()
  }

  state(request: StateRequest): StoreState {
    return this.#ask({ kind: 'state', request }) as StoreState
  }

  append(records: readonly SealedRecord[], _expected: Head): void {
    // The head has not moved: the thread holds it.
    this.#ask({ kind: 'append', records })
  }

  /** @throws where the process may start no thread (Node.js: `--permission`) */
  #start(): MessagePort {
    const { port1, port2 } = new MessageChannel()
    const { databaseClock, patienceMs = PATIENCE_MS } = this.#options
    const patience_ms = Math.min(patienceMs, PATIENCE_MS)
    const { acknowledged } = this.#appending
    const data: ExitThreadData = { url: this.#url, databaseClock, patience_ms, acknowledged, port: port2, replies: this.#replies }
    const isSource = FILE.pathname.endsWith('.ts')
    const execArgv = isSource && process.features.typescript !== 'strip' ? ['--experimental-strip-types'] : []
    const worker = new Worker(FILE, { workerData: data, transferList: [port2], execArgv, name: 'cortex-ledger exit' })
    worker.unref()
    return port1
  }

  #ask(request: ExitRequest): StoreState | null {
    this.#port ??= this.#start()
    const seen = Atomics.load(this.#replies, 0)
    this.#port.postMessage(request)
    const isTimedOut = Atomics.wait(this.#replies, 0, seen, ANSWER_MS) === 'timed-out'
    const reply = receiveMessageOnPort(this.#port)?.message as ExitReply | undefined
    if (isTimedOut || reply === undefined) {
      throw new LedgerError('io_error', `PostgreSQL gave no answer within ${ANSWER_MS} ms; what was sent may be there: look by run_id`)
    }
    if (reply.kind === 'failed') throw new LedgerError(reply.code, reply.message, reply.details)
    return reply.state
  }
}
