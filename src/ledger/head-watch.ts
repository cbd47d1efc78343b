/**
 * Waiting for a ledger to grow. The ledger's own writer says so at once; a store may hint at what other processes add;
 * and the head is looked at every now and then whatever they say. So a hint that is lost costs time, never a record.
 */
import { LedgerError } from './errors.ts'
import type { Head, SealedRecord, Store } from './store.ts'

/** How long nothing may be heard before somebody who waits looks at the head, ms. */
const POLL_MS = 50

export class HeadWatch {
  readonly #store: Store
  readonly #waiting = new Set<() => void>()
  readonly #closing = new AbortController()
  /** The longest that anybody here has seen. */
  #head: Head | null = null
  #looking: Promise<Head> | null = null
  #wakings = 0
  #followers = 0
  #hints: { readonly stop: AbortController; readonly ended: Promise<void> } | null = null

  constructor(store: Store) {
    this.#store = store
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted
  }

  /** These records of ours are durable; the ledger has so many now. */
  appended(size: number, records: readonly SealedRecord[]): void {
    const last = records.at(-1)
    if (this.#followers === 0 || last === undefined || last.header.seq !== size - 1) return
    this.#saw({ size, hash: last.hash, recorded_at: last.header.recorded_at })
    this.#wake()
  }

  /** From now on hints are listened to, until the last follower has called what this returns. */
  follow(): () => void {
    if (this.#followers++ === 0) this.#listen()
    let isFollowing = true
    return () => {
      if (isFollowing && --this.#followers === 0) this.#hints?.stop.abort()
      isFollowing = false
    }
  }

  /**
   * The head, once the ledger has more than `size` records; null where the signal or `close` came first.
   * @throws LedgerError of the store
   */
  async beyond(size: number, signal: AbortSignal): Promise<Head | null> {
    for (;;) {
      if (signal.aborted || this.isClosed) return null
      if (this.#head !== null && this.#head.size > size) return this.#head
      const wakings = this.#wakings
      await this.#look()
      // What was heard while the head was asked for may be newer than the answer.
      if ((this.#head?.size ?? 0) <= size && wakings === this.#wakings) await this.pause(signal)
    }
  }

  /** Until something is heard, or it is time to look. */
  pause(signal: AbortSignal): Promise<void> {
    if (signal.aborted || this.isClosed) return Promise.resolve()
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', done)
        this.#waiting.delete(done)
        resolve()
      }
      const timer = setTimeout(done, POLL_MS)
      signal.addEventListener('abort', done)
      this.#waiting.add(done)
    })
  }

  /** Whoever waits hears that it is over. Resolves when nothing listens any more, for which the store may have to be closed. */
  close(): Promise<void> {
    this.#closing.abort()
    this.#hints?.stop.abort()
    this.#wake()
    return this.#hints?.ended ?? Promise.resolve()
  }

  /** One question for all who wait. */
  async #look(): Promise<void> {
    this.#looking ??= this.#store.state({ streams: [], run_ids: [] }).then(({ head }) => head)
    try {
      this.#saw(await this.#looking)
    } catch (error) {
      if (this.isClosed && error instanceof LedgerError && error.code === 'closed') return
      throw error
    } finally {
      this.#looking = null
    }
  }

  /** A server that lags may know less than what was seen before. */
  #saw(head: Head): void {
    if (this.#head === null || head.size > this.#head.size) this.#head = head
  }

  #wake(): void {
    this.#wakings++
    for (const wake of this.#waiting) wake()
  }

  #listen(): void {
    const { watch } = this.#store
    if (watch === undefined || this.isClosed) return
    const stop = new AbortController()
    const before = this.#hints?.ended
    const listen = async (): Promise<void> => {
      await before
      try {
        for await (const _ of watch.call(this.#store, stop.signal)) this.#wake()
      } catch {
        // Only a hint: whoever waits looks by itself.
      }
    }
    this.#hints = { stop, ended: listen() }
  }
}
