/** The connections of one store: one to append by, and some to read by. Each is made when it is needed, and again when it is lost. */
import { setTimeout as sleep } from 'node:timers/promises'
import { LedgerError } from '../../ledger/errors.ts'
import { pauseMs } from './connect.ts'
import { isConnectionLoss, isStandbyConflict } from './errors.ts'
import type { Session } from './session.ts'

export interface SessionsOptions {
  /** Makes a connection; waits for a server as long as it may. */
  readonly open: (signal: AbortSignal, manner?: { readonly pipeline: boolean }) => Promise<Session>
  readonly location: string
  /** How long work that may be begun again is, over lost connections, ms. */
  readonly patience_ms: number
}

/** Connections that read at once; more reads wait for their turn. */
const READERS_MAX = 4

export class Sessions {
  readonly #options: SessionsOptions
  readonly #closing = new AbortController()
  #writer: Promise<Session> | null = null
  readonly #idle: Session[] = []
  readonly #all = new Set<Session>()
  #readers = 0
  #waiting: (() => void)[] = []

  constructor(options: SessionsOptions) {
    this.#options = options
  }

  get patience_ms(): number {
    return this.#options.patience_ms
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted
  }

  assertOpen(): void {
    if (this.isClosed) throw new LedgerError('closed', `the ledger ${this.#options.location} is closed: open it again`)
  }

  async #open(): Promise<Session> {
    this.assertOpen()
    const session = await this.#made()
    if (this.isClosed) {
      await session.end()
      this.assertOpen()
    }
    this.#all.add(session)
    return session
  }

  /** @throws LedgerError `closed` where the ledger was closed meanwhile, and not the signal's reason */
  async #made(manner?: { readonly pipeline: boolean }): Promise<Session> {
    try {
      return await this.#options.open(this.#closing.signal, manner)
    } catch (error) {
      this.assertOpen()
      throw error
    }
  }

  /** The connection that appends. Whoever uses it is alone: the ledger's writer does one thing at a time. */
  async writer(): Promise<Session> {
    this.assertOpen()
    const known = await this.#writer?.catch(() => null)
    if (known !== undefined && known !== null && !known.isLost) return known
    if (known !== undefined && known !== null) this.#all.delete(known)
    this.#writer = this.#open()
    return this.#writer
  }

  async #reader(): Promise<Session> {
    while (this.#readers >= READERS_MAX) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.assertOpen()
    this.#readers++
    try {
      for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
        if (!idle.isLost) return idle
        this.#all.delete(idle)
      }
      return await this.#open()
    } catch (error) {
      this.#leave()
      throw error
    }
  }

  #leave(): void {
    this.#readers--
    this.#waiting.shift()?.()
  }

  #release(session: Session): void {
    if (session.isLost) this.#all.delete(session)
    else this.#idle.push(session)
    this.#leave()
  }

  /**
   * Work on a connection that reads. It is begun again where the connection is lost, or a standby stopped it, so it must
   * change nothing.
   */
  async reading<T>(work: (session: Session) => Promise<T>): Promise<T> {
    const deadline = performance.now() + this.#options.patience_ms
    for (let lost = 0; ; lost++) {
      await this.pause(lost)
      this.assertOpen()
      const session = await this.#reader()
      try {
        return await work(session)
      } catch (error) {
        const isLoss = isConnectionLoss(error)
        if (this.isClosed || !(isLoss || isStandbyConflict(error)) || performance.now() >= deadline) throw error
        if (isLoss) session.destroy()
      } finally {
        this.#release(session)
      }
    }
  }

  /**
   * Before work is begun again that was lost so often. The first time at once, since a connection that stood idle may be
   * long gone; then the work itself may be what the server does not survive.
   */
  async pause(lost: number): Promise<void> {
    if (lost < 2) return
    await sleep(pauseMs(lost - 2), undefined, { signal: this.#closing.signal }).catch(() => {})
  }

  /** A connection for streams of rows, which the caller ends. */
  async streaming(): Promise<Session> {
    this.assertOpen()
    return this.#made({ pipeline: false })
  }

  /** For a process that is exiting: at once, so that the server takes back what is under way, and its locks. */
  cut(): void {
    this.#closing.abort()
    for (const session of this.#all) session.destroy()
  }

  async close(): Promise<void> {
    if (this.isClosed) return
    this.#closing.abort()
    for (const wake of this.#waiting.splice(0)) wake()
    await this.#writer?.catch(() => {})
    await Promise.all([...this.#all].map((session) => session.end()))
  }
}
