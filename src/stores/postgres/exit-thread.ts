/** The thread that writes what waited when its process exits: see exit.ts. */
import { workerData } from 'node:worker_threads'
import { asToldError } from '../../ledger/errors.ts'
import type { StoreState, Turn } from '../../ledger/store.ts'
import { Appending } from './appending.ts'
import type { ExitReply, ExitRequest, ExitThreadData } from './exit.ts'
import { openSessions } from './opening.ts'

const { url, databaseClock, patience_ms, acknowledged, port, replies } = workerData as ExitThreadData

async function open(): Promise<Appending> {
  const { sessions, place, serverClock } = await openSessions(url, { create: false, patienceMs: patience_ms })
  const now = databaseClock === false ? () => null : serverClock
  return new Appending({ sessions, place, now, warn: undefined, acknowledged })
}

let opening: Promise<Appending> | null = null
let turn: Turn | null = null

async function answer(request: ExitRequest): Promise<StoreState | null> {
  if (request.kind === 'state') {
    const appending = await (opening ??= open())
    await turn?.release()
    turn = null
    turn = await appending.takeTurn(request.request)
    return turn.state
  }
  const held = turn
  if (held === null) throw new TypeError('the head is not held')
  turn = null
  await held.append(request.records)
  return null
}

function reply(message: ExitReply): void {
  port.postMessage(message)
  Atomics.add(replies, 0, 1)
  Atomics.notify(replies, 0)
}

port.on('message', (request: ExitRequest) => {
  answer(request).then(
    (state) => reply({ kind: 'done', state }),
    (error: unknown) => {
      const { code, message, details } = asToldError(error)
      reply({ kind: 'failed', code, message, details: details.outcome_unknown === true ? { outcome_unknown: true } : {} })
    },
  )
})
