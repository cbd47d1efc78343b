import { LedgerError } from './errors.ts'
import { LIMITS } from './limits.ts'
import type { AppendRequest, Receipt } from './plan.ts'

/** An append that waits to be written, and who waits for it. */
export interface Waiting extends AppendRequest {
  readonly bytes: number
  /** Seals the live segment first: the writer puts the record that does so in front. */
  readonly newSegment: boolean
  readonly resolve: (receipts: Receipt[]) => void
  readonly reject: (error: LedgerError) => void
}

export interface QueueLimits {
  /** Records that may wait; beyond it `record` is refused with `queue_full`. */
  readonly records_max: number
  readonly bytes_max: number
}

export interface BatchLimits {
  /** A batch ends with the append that reaches one of these. */
  readonly records_max: number
  readonly bytes_max: number
}

/** What waits to be written: bounded, first in first out. */
export class AppendQueue {
  readonly #limits: QueueLimits
  #waiting: Waiting[] = []
  #next = 0
  #records = 0
  #bytes = 0
  #roomWanted: (() => void)[] = []

  constructor(limits: Partial<QueueLimits> = {}) {
    this.#limits = {
      records_max: limits.records_max ?? LIMITS.queue_records_max,
      bytes_max: limits.bytes_max ?? LIMITS.queue_bytes_max,
    }
  }

  get records(): number {
    return this.#records
  }

  get isEmpty(): boolean {
    return this.#next === this.#waiting.length
  }

  /** @throws LedgerError `queue_full`; an append that is larger than the queue alone still goes into an empty one. */
  put(append: Waiting): void {
    const { records_max, bytes_max } = this.#limits
    const full = this.#records + append.drafts.length > records_max || this.#bytes + append.bytes > bytes_max
    if (full && this.#records > 0) {
      throw new LedgerError(
        'queue_full',
        `${this.#records} records (${this.#bytes} bytes) wait to be written and the queue's limit is reached: await record(), or await ready() before the next one. This one was not recorded`,
        { records: this.#records, bytes: this.#bytes },
      )
    }
    this.#waiting.push(append)
    this.#records += append.drafts.length
    this.#bytes += append.bytes
  }

  /** The appends of the next batch. One that seals a segment begins a batch of its own. */
  take(limits: BatchLimits): Waiting[] {
    const batch: Waiting[] = []
    let records = 0
    let bytes = 0
    while (this.#next < this.#waiting.length) {
      const append = this.#waiting[this.#next] as Waiting
      if (append.newSegment && batch.length > 0) break
      batch.push(append)
      this.#next++
      records += append.drafts.length
      bytes += append.bytes
      if (records >= limits.records_max || bytes >= limits.bytes_max) break
    }
    this.#records -= records
    this.#bytes -= bytes
    // Cut what was taken off once it outweighs the rest: shifting each one would be quadratic.
    if (this.#next > 1024 && this.#next * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#next)
      this.#next = 0
    } else if (this.isEmpty) {
      this.#waiting = []
      this.#next = 0
    }
    this.#tellRoom()
    return batch
  }

  #hasRoom(): boolean {
    return this.#records * 2 <= this.#limits.records_max && this.#bytes * 2 <= this.#limits.bytes_max
  }

  #tellRoom(): void {
    if (this.#roomWanted.length === 0 || !this.#hasRoom()) return
    const wanted = this.#roomWanted
    this.#roomWanted = []
    for (const tell of wanted) tell()
  }

  /** Resolves when at most half of the queue's room is taken. */
  ready(): Promise<void> {
    return this.#hasRoom() ? Promise.resolve() : new Promise((resolve) => this.#roomWanted.push(resolve))
  }
}
