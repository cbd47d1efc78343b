/**
 * NOTIFY and LISTEN, as hints that somebody has appended. A NOTIFY holds a lock of the whole server from its commit on, so
 * it is no part of an append: it goes by itself, once for all that was appended in some ms, and nobody waits for it.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { hintsUntil } from '../../ledger/hints.ts'
import type { Session } from './session.ts'
import type { Sessions } from './sessions.ts'

/** At most one NOTIFY in this time, ms. */
const GATHERED_MS = 10
const LISTEN_AGAIN_MS = 1000

/** By the row's number alone: a ledger of that number in another schema of the database causes a look for nothing. */
function channelOf(ledger: number): string {
  return `cortex_ledger_${ledger}`
}

export class Notices {
  readonly #sessions: Sessions
  readonly #ledger: number
  #isUnderWay = false
  #isWanted = false

  constructor(sessions: Sessions, ledger: number) {
    this.#sessions = sessions
    this.#ledger = ledger
  }

  /** Tells whoever listens, soon. */
  tell(): void {
    this.#isWanted = true
    if (!this.#isUnderWay) void this.#tellAll()
  }

  async #tellAll(): Promise<void> {
    this.#isUnderWay = true
    while (this.#isWanted && !this.#sessions.isClosed) {
      this.#isWanted = false
      // One that is lost is missed by nobody for long.
      await this.#sessions
        .reading((session) => session.query({ name: 'cortex_notify', text: 'SELECT pg_notify($1, $2)' }, [channelOf(this.#ledger), '']))
        .catch(() => {})
      await sleep(GATHERED_MS, undefined, { ref: false })
    }
    this.#isUnderWay = false
  }

  /** On a connection of its own, which is made again when it is lost. A standby and some poolers can't do it: then there are no hints. */
  async *heard(signal: AbortSignal): AsyncGenerator<void, void, undefined> {
    while (!signal.aborted && !this.#sessions.isClosed) {
      let session: Session | null = null
      try {
        session = await this.#sessions.streaming()
        await session.query({ text: `LISTEN "${channelOf(this.#ledger)}"` })
        yield* this.#until(signal, session)
      } catch {
        // Whoever waits looks by itself.
      } finally {
        await session?.end()
      }
      await sleep(LISTEN_AGAIN_MS, undefined, { signal, ref: false }).catch(() => {})
    }
  }

  /** Until the connection is lost, or the signal. */
  async *#until(signal: AbortSignal, { connection: { client } }: Session): AsyncGenerator<void, void, undefined> {
    const lost = new AbortController()
    const end = (): void => lost.abort()
    client.once('end', end)
    client.once('error', end)
    try {
      yield* hintsUntil(AbortSignal.any([signal, lost.signal]), (hint) => {
        client.on('notification', hint)
        // What came before this connection listened.
        hint()
        return () => client.removeListener('notification', hint)
      })
    } finally {
      client.removeListener('end', end)
      client.removeListener('error', end)
    }
  }
}
