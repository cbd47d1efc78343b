/** The thread's own end: answers requests one after the other until it is told to close. */
import { parentPort } from 'node:worker_threads'
import { LedgerError } from '../../ledger/errors.ts'
import type { LedgerErrorCode } from '../../ledger/errors.ts'

export type ThreadMessage<Request> = { readonly kind: 'ask'; readonly request: Request } | { readonly kind: 'close' }

export type ThreadReply =
  | { readonly kind: 'answer'; readonly value: unknown }
  /** `code`: of a LedgerError, whose class does not outlive the way between threads. */
  | { readonly kind: 'failed'; readonly code: LedgerErrorCode | null; readonly message: string }
  | { readonly kind: 'closed' }

/**
 * @param close lets go of everything; must not fail
 * @param interrupt told that closing is wanted while something is under way, which may then be left undone
 */
export function serveThread<Request>(
  answer: (request: Request) => Promise<unknown>,
  close: () => Promise<void> | void,
  interrupt: () => void = () => {},
): void {
  const port = parentPort
  if (port === null) throw new TypeError('this file runs as a worker thread')
  const reply = (message: ThreadReply): void => port.postMessage(message)
  let work: Promise<void> = Promise.resolve()
  port.on('message', (message: ThreadMessage<Request>) => {
    if (message.kind === 'close') interrupt()
    work = work.then(async () => {
      if (message.kind === 'close') {
        await close()
        reply({ kind: 'closed' })
        port.close()
        return
      }
      try {
        reply({ kind: 'answer', value: await answer(message.request) })
      } catch (error) {
        const code = error instanceof LedgerError ? error.code : null
        reply({ kind: 'failed', code, message: error instanceof Error ? error.message : String(error) })
      }
    })
  })
}
