/**
 * Batches on their way together, to a store that takes one while the one before is on its way: it works at one while the
 * callers of another draft and this thread seals. Each is sealed behind the one before, durable or not, so where one
 * fails, all behind it fail too: they are written again, alone and in order.
 */
import type { KnownEnd, Wanted } from './known-end.ts'
import type { BatchPlan } from './plan.ts'
import type { AppendQueue, BatchLimits, Waiting } from './queue.ts'
import type { Head, Store, StoreState } from './store.ts'

export interface LineParts {
  readonly store: Store
  readonly queue: AppendQueue
  readonly known: KnownEnd
  readonly limits: BatchLimits
  /** False while others write too, and every batch waits for its turn, alone. */
  readonly isOpen: () => boolean
  readonly take: (limits: BatchLimits) => readonly Waiting[]
  readonly plan: (batch: readonly Waiting[], state: StoreState) => BatchPlan
  /** Writes a batch with nothing else on its way, and tells its callers. `failure`: what became of it in the line. */
  readonly alone: (batch: readonly Waiting[], failure?: unknown) => Promise<unknown>
  /** Tells the callers of a batch that went through. */
  readonly durable: (batch: readonly Waiting[], plan: BatchPlan) => void
}

interface Sent {
  readonly batch: readonly Waiting[]
  readonly plan: BatchPlan
  /** What it was sealed for. */
  readonly base: Head
  /** Undefined until it is known; null: it is durable. */
  failure: unknown
  readonly settled: Promise<void>
}

/** One is worked at, the next one lies ready at the store. */
const BATCHES_MAX = 2
/**
 * A second one goes when so many records have gathered, and twice as many that come at once are parted in two. A
 * transaction of its own costs the server as much as a dozen records, a standby or a slow disk more; measured on
 * PostgreSQL beside it, 16 callers came to 1.3 to 1.5 times as much in two halves, 8 callers to as much as in one.
 */
const RECORDS_MIN = 8
/** The first of many: the rest is sealed while the store works at these. */
const RECORDS_MAX = 250

export class Line {
  readonly #parts: LineParts
  readonly #sent: Sent[] = []
  #wake: (() => void) | null = null

  constructor(parts: LineParts) {
    this.#parts = parts
  }

  get isEmpty(): boolean {
    return this.#sent.length === 0
  }

  /** Something was put into the queue. */
  gathered(): void {
    if (this.#wake !== null && this.#hasNext()) this.#wake()
  }

  /** Sends what may go, then waits until more may go or something is settled. */
  async step(): Promise<void> {
    const { queue, take, alone } = this.#parts
    while (!queue.isEmpty && (this.isEmpty || this.#hasNext())) {
      const batch = take(this.#share())
      const sent = await this.#send(batch)
      if (sent === null) {
        while (!this.isEmpty) await this.#settle()
        await alone(batch)
        return
      }
      this.#sent.push(sent)
    }
    const [first] = this.#sent
    if (first === undefined) return
    if (first.failure === undefined && this.#sent.length < BATCHES_MAX) {
      await Promise.race([first.settled, new Promise<void>((resolve) => (this.#wake = resolve))])
      this.#wake = null
      if (this.#hasNext()) return
    }
    await this.#settle()
  }

  #hasNext(): boolean {
    return this.#sent.length < BATCHES_MAX && this.#parts.queue.records >= RECORDS_MIN
  }

  /** Callers that all hear at once would all be in the next batch, and either they or the store would always wait. */
  #share(): BatchLimits {
    const { limits, queue, known, isOpen } = this.#parts
    if (!isOpen() || known.head === null) return limits
    const isParted = this.isEmpty && queue.records >= 2 * RECORDS_MIN
    const records_max = Math.min(limits.records_max, RECORDS_MAX, isParted ? Math.ceil(queue.records / 2) : queue.records)
    return { records_max, bytes_max: limits.bytes_max }
  }

  /** Seals the batch behind those that are on their way, and sends it; null where it has to go alone. */
  async #send(batch: readonly Waiting[]): Promise<Sent | null> {
    const { store, known, isOpen, plan: planned } = this.#parts
    const base = known.head
    if (base === null || !isOpen()) return null
    // What a condition rules out is looked for in the store; a segment is sealed by a record that names the head.
    if (batch.some(({ condition, newSegment }) => condition !== undefined || newSegment)) return null
    const wanted: Wanted = { batch, looks: 0, sealing: null }
    // What was given a run_id may be there, and what it is answered by then has to be durable.
    if (known.needs(wanted).run_ids.length > 0) return null
    try {
      const bases = this.#sent.map((sent) => sent.base)
      const state = await known.state(store, wanted, bases)
      // Another writer came first, so what is on its way will fail.
      if (known.head !== base) return null
      const plan = planned(batch, state)
      // Broken expectations alone: only an append that goes through shows that what was remembered is true.
      if (plan.records.length === 0) return null
      const settled = store.append(plan.records, base).then(
        () => void (sent.failure = null),
        (error: unknown) => void (sent.failure = error),
      )
      const sent: Sent = { batch, plan, base, failure: undefined, settled }
      known.remember(plan)
      return sent
    } catch {
      // Whoever tries it again, alone, tells what it is.
      return null
    }
  }

  /** Waits for the first, and for all behind it where it failed; all of them hear. */
  async #settle(): Promise<void> {
    const { alone, durable } = this.#parts
    const first = this.#sent[0] as Sent
    await first.settled
    const settled = first.failure === null ? [first] : [...this.#sent]
    await Promise.all(settled.map((sent) => sent.settled))
    this.#sent.splice(0, settled.length)
    for (const { batch, plan, failure } of settled) {
      if (failure === null) durable(batch, plan)
      else await alone(batch, failure)
    }
  }
}
