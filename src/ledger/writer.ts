/**
 * The one path by which records come into a ledger: group commit without a timer. One batch is in flight; while it
 * is, the next one gathers, and goes when the one before is durable. Each append in it succeeds or fails by itself.
 */
import { LedgerError } from './errors.ts'
import type { Draft } from './draft.ts'
import { LIMITS } from './limits.ts'
import { Line } from './line.ts'
import { firstMatch } from './conditions.ts'
import type { AppendCondition } from './conditions.ts'
import { KnownEnd } from './known-end.ts'
import type { Wanted } from './known-end.ts'
import { planBatch } from './plan.ts'
import { isSealable, planSealed, unsealed } from './sealed-there.ts'
import type { AppendOutcome, BatchPlan, ClockNote, InclusionSource, Matches, Receipt, Sealing } from './plan.ts'
import { AppendQueue } from './queue.ts'
import type { BatchLimits, QueueLimits, Waiting } from './queue.ts'
import type { RecordSigning } from './record-signing.ts'
import { answer, tell, turnOfTheLoop } from './telling.ts'
import type { ExitAppender, Head, SealedRecord, Store, StoreState, Turn } from './store.ts'

export interface WriterOptions {
  /** Wall clock, µs since the epoch. */
  readonly now: () => number
  readonly noteClock: ClockNote
  /** The record that seals the live segment, or null where the segment holds nothing yet. */
  readonly sealSegment: (head: Head) => Promise<Draft | null>
  readonly queue?: Partial<QueueLimits> | undefined
  readonly batch?: Partial<BatchLimits> | undefined
  /** Signs each record; absent where none is signed. */
  readonly signing?: RecordSigning | undefined
  /** How a receipt's holder waits for the tree; absent where nobody gets to see the receipts. */
  readonly inclusion?: InclusionSource | undefined
  /** Called once a batch, when its callers have been told: these records are durable, the ledger has so many now. */
  readonly answered?: ((size: number, records: readonly SealedRecord[]) => void) | undefined
}

/** Races for the head that a batch may lose before its callers hear of it; each is another writer's success. */
const RACES_MAX = 200
/** How often a batch whose outcome is unknown is looked for and written anew, before its callers hear that nobody knows. */
const LOOKS_MAX = 10
/** How often an exiting process tries to write what waits. */
const EXIT_ATTEMPTS = 3
/** After a lost race, so many batches wait for their turn, as long as others write too. */
const TURNS = 32

/** An append with a condition, of which nothing is there. */
function isLeft({ condition, drafts }: Waiting, { runs }: StoreState): boolean {
  return condition !== undefined && !drafts.some(({ run_id }) => runs.has(run_id))
}

/** Somebody hears of a record that was there before. */
function answersFromBefore({ outcomes }: BatchPlan): boolean {
  return outcomes.some((outcome) => 'receipts' in outcome && outcome.receipts.length > 0)
}

/** A batch, and how far it is with being written. */
interface Work extends Wanted {
  readonly batch: readonly Waiting[]
  /** How often its outcome was unknown. */
  looks: number
  /** The record that seals the live segment, which goes in front. */
  sealing: Draft | null
  confirming: boolean
}

export class Writer {
  readonly #store: Store
  readonly #options: WriterOptions
  readonly #queue: AppendQueue
  readonly #inclusion: InclusionSource
  readonly #batchLimits: BatchLimits
  readonly #known = new KnownEnd()
  /** Batches that were taken off the queue, and whose callers have heard nothing yet. */
  #inFlight: (readonly Waiting[])[] = []
  /** Null where one is written at a time. */
  readonly #line: Line | null
  #running: Promise<void> | null = null
  #closed = false
  /** The records of the batch that was committed last. */
  #written: readonly SealedRecord[] = []
  /** Batches that are still to wait for their turn. */
  #turnsLeft = 0

  constructor(store: Store, options: WriterOptions) {
    this.#store = store
    this.#options = options
    this.#queue = new AppendQueue(options.queue)
    this.#inclusion = options.inclusion ?? (() => Promise.reject(new TypeError('this writer keeps no tree')))
    this.#batchLimits = {
      records_max: options.batch?.records_max ?? LIMITS.batch_records_max,
      bytes_max: options.batch?.bytes_max ?? LIMITS.batch_bytes_max,
    }
    this.#line = this.#newLine()
  }

  /** Records that wait or are being written. */
  get pending(): number {
    return this.#queue.records + this.#inFlight.flat().reduce((sum, append) => sum + append.drafts.length, 0)
  }

  /** Resolves when the append is durable. Rejects with what kept it from that; then nothing of it was written. */
  submit(append: Omit<Waiting, 'resolve' | 'reject' | 'bytes'>): Promise<Receipt[]> {
    if (this.#closed) {
      return Promise.reject(new LedgerError('closed', 'the ledger is closed: open it again to record. This was not recorded'))
    }
    const { drafts, expectations, condition, newSegment } = append
    return new Promise((resolve, reject) => {
      let bytes = 0
      for (const draft of drafts) bytes += draft.size_bytes
      this.#queue.put({ drafts, expectations, condition, newSegment, bytes, resolve, reject })
      this.#running ??= this.#run()
      this.#line?.gathered()
    })
  }

  ready(): Promise<void> {
    return this.#queue.ready()
  }

  /** Resolves when all that was submitted so far is durable or was refused. */
  async drain(): Promise<void> {
    while (this.#running !== null) await this.#running
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.drain()
  }

  async #run(): Promise<void> {
    try {
      for (let answered: 'all' | 'half' = 'all'; !this.#queue.isEmpty || this.#line?.isEmpty === false;) {
        // One turn of the event loop: whoever just heard of the last batch can join this one. Not a timer.
        if (answered === 'all') await turnOfTheLoop()
        if (this.#line !== null) await this.#line.step()
        else answered = await this.#alone(this.#take(this.#batchLimits))
      }
    } finally {
      this.#running = null
    }
  }

  #take(limits: BatchLimits): readonly Waiting[] {
    const batch = this.#queue.take(limits)
    this.#inFlight.push(batch)
    return batch
  }

  #newLine(): Line | null {
    // A signer takes its time, and what it signs names the head.
    if (this.#store.pipelined !== true || this.#options.signing !== undefined) return null
    return new Line({
      store: this.#store,
      queue: this.#queue,
      known: this.#known,
      limits: this.#batchLimits,
      isOpen: () => this.#turnsLeft === 0,
      take: (limits) => this.#take(limits),
      plan: (batch, state) => planBatch(batch, state, this.#now(state), this.#sealingParts()),
      alone: (batch, failure) => this.#alone(batch, failure),
      durable: (batch, plan) => {
        this.#inFlight.shift()
        tell(batch, plan.outcomes, 0, batch.length)
        this.#options.answered?.(plan.head.size, plan.records)
      },
    })
  }

  /** Writes one batch with nothing else on its way, and tells everybody in it. `failure`: what became of it before. */
  async #alone(batch: readonly Waiting[], failure?: unknown): Promise<'all' | 'half'> {
    const began = performance.now()
    const outcomes = await this.#commit(batch, failure)
    this.#inFlight.shift()
    const answered = await answer(batch, outcomes, performance.now() - began)
    if (this.#known.head !== null) this.#options.answered?.(this.#known.head.size, this.#written)
    this.#written = []
    return answered
  }

  /** Writes one batch and resolves to what everybody in it is to hear; never rejects. */
  async #commit(batch: readonly Waiting[], failure: unknown): Promise<readonly AppendOutcome[]> {
    try {
      return await this.#write(batch, failure)
    } catch (error) {
      const told =
        error instanceof LedgerError ? error : new LedgerError('io_error', `recording failed: ${String(error)}`, { cause: error })
      return batch.map(() => ({ error: told }))
    }
  }

  async #write(batch: readonly Waiting[], before: unknown): Promise<readonly AppendOutcome[]> {
    const work: Work = { batch, looks: 0, sealing: null, confirming: false }
    if (before !== undefined) await this.#afterFailure(work, before, 0)
    for (let race = 0; ; race++) {
      try {
        const outcomes = await this.#attempt(work)
        if (outcomes !== null) return outcomes
      } catch (error) {
        await this.#afterFailure(work, error, race)
      }
    }
  }

  /** Returns where the batch is to be tried again. */
  async #afterFailure(work: Work, error: unknown, race: number): Promise<void> {
    this.#known.forget()
    if (!(error instanceof LedgerError)) throw error
    // Crash point: the write may have taken effect. Look, by run_id, and only then decide; never write twice.
    if (error.details.outcome_unknown === true) {
      if (work.looks >= LOOKS_MAX) throw error
      work.looks++
      work.confirming = true
    } else if (error.code !== 'head_moved' || race >= RACES_MAX) {
      // An attempt before may have taken effect, and nobody could look.
      throw work.looks === 0 ? error : new LedgerError(error.code, error.message, { ...error.details, outcome_unknown: true })
    } else if (this.#store.takeTurn !== undefined) {
      this.#turnsLeft = TURNS
      // The lock settles what is unknown as well, and without it this batch would lose to all that take turns.
      work.confirming = false
    } else if (race > 4) {
      // Others keep winning: step back for a moment, by chance, so that not all come again at once.
      await new Promise((resolve) => setTimeout(resolve, Math.random() * Math.min(race, 20)))
    }
  }

  #now({ now }: StoreState): number {
    return now ?? this.#store.now?.() ?? this.#options.now()
  }

  /** Looks, seals and writes; null where it is to be done again. */
  async #attempt(work: Work): Promise<readonly AppendOutcome[] | null> {
    const sealed = await this.#sealedThere(work)
    if (sealed !== null) return sealed
    const turn = await this.#turn(work)
    let isOver = turn === null
    try {
      const state = turn === null ? await this.#known.state(this.#store, work) : this.#known.taken(turn.state)
      // A seal that may be there already is looked for like the rest of the batch; else it names the head, so it is made anew.
      if (work.sealing === null || !state.runs.has(work.sealing.run_id)) work.sealing = await this.#sealing(work.batch, state.head)
      const { batch, sealing } = work
      const requests = sealing === null ? batch : [{ drafts: [sealing], expectations: [] }, ...batch]
      const { signing } = this.#options
      const matches = await this.#matches(batch, state.head)
      const plan = planBatch(requests, state, this.#now(state), { ...this.#sealingParts(), matches })
      // Crash point: nothing is written yet, and nothing will be where a signer fails. Where another writer is faster
      // meanwhile, all is sealed and signed anew.
      const records = signing === undefined ? plan.records : await signing.sign(plan.records, state.streams.get('ledger'))
      if (records.length > 0) {
        isOver = true
        await (turn === null ? this.#store.append(records, state.head, { newSegment: sealing !== null }) : turn.append(records))
      } else if (turn === null && (await this.#isStale(plan, state.head))) return null
      // Nothing is written, so no commit of ours vouches for what others wrote.
      else if (!work.confirming && this.#store.confirmedState !== undefined && answersFromBefore(plan)) {
        work.confirming = true
        return null
      }
      this.#known.remember(plan)
      signing?.note(plan.streams.get('ledger'))
      this.#written = records
      if (sealing === null) return plan.outcomes
      const [sealed, ...outcomes] = plan.outcomes
      // Whoever asked for a new segment hears of the record that sealed the old one.
      return outcomes.map((outcome, i) => (batch[i]?.newSegment === true ? (sealed as AppendOutcome) : outcome))
    } finally {
      if (!isOver) await turn?.release()
    }
  }

  /**
   * Where others write too, the store seals what needs no answer first: it need not wait for this process then, which may
   * have to wait for a processor, while all others wait for the head. Null where it does not.
   */
  async #sealedThere(work: Work): Promise<readonly AppendOutcome[] | null> {
    const { batch, confirming, looks } = work
    if (this.#turnsLeft === 0 || confirming || looks > 0 || this.#options.signing !== undefined) return null
    if (this.#store.sealAndAppend === undefined || !isSealable(batch)) return null
    const sealed = await this.#store.sealAndAppend(batch.map(({ drafts }) => unsealed(drafts[0] as Draft)))
    if (sealed === null) return null
    const plan = planSealed(batch, sealed, this.#sealingParts())
    this.#noteOthers(sealed.head)
    this.#known.taken({ ...sealed, runs: new Map(), now: null })
    this.#known.remember(plan)
    this.#written = plan.records
    return plan.outcomes
  }

  /** Others still write, or have not for so many batches. */
  #noteOthers({ size }: Head): void {
    this.#turnsLeft = this.#known.head?.size === size ? this.#turnsLeft - 1 : TURNS
  }

  /**
   * Alone, comparing the head is one round trip and no lock. Where others write too, all that was sealed and sent for a
   * head that has moved was for nothing, so whoever lost a race waits for the turn from then on, until nobody else writes.
   * After a write whose outcome is unknown `state` settles it first.
   */
  async #turn(work: Work): Promise<Turn | null> {
    if (this.#turnsLeft === 0 || work.confirming || this.#store.takeTurn === undefined) return null
    const turn = await this.#store.takeTurn(new KnownEnd().needs(work))
    this.#noteOthers(turn.state.head)
    return turn
  }

  /**
   * An append that goes through shows that what was remembered was true. Where all that is left is a broken
   * expectation, nothing showed it: another process may have moved the stream on, so the store is asked.
   */
  async #isStale(plan: BatchPlan, head: Head): Promise<boolean> {
    if (!plan.outcomes.some((outcome) => 'error' in outcome && outcome.error.code === 'version_conflict')) return false
    const { head: actual } = await this.#store.state({ streams: [], run_ids: [] })
    if (actual.size === head.size && actual.hash === head.hash) return false
    this.#known.forget()
    return true
  }

  #sealingParts(): Sealing {
    const { noteClock, signing } = this.#options
    return { noteClock, inclusion: this.#inclusion, signers: signing?.ids }
  }

  /** What the batch's conditions rule out and is there. A match stays one, however the head moves on. */
  async #matches(batch: readonly Waiting[], head: Head): Promise<Matches> {
    const found = new Map<AppendCondition, number>()
    for (const { condition } of batch) {
      if (condition === undefined || found.has(condition)) continue
      const seq = await firstMatch(this.#store, condition, head.size)
      if (seq !== null) found.set(condition, seq)
    }
    return found
  }

  /** The record that seals the live segment, where it is full or somebody asked for a new one. It names the head, so it is made here. */
  async #sealing(batch: readonly Waiting[], head: Head): Promise<Draft | null> {
    if (head.size === 0 || !(this.#store.segmentFull || batch[0]?.newSegment === true)) return null
    return this.#options.sealSegment(head)
  }

  /**
   * In a process's `exit` handler, where nothing asynchronous runs any more: writes what still waits. An append that
   * was under way may be there or not, so all of its ids are looked for.
   */
  drainAtExit(): void {
    const store = this.#store.atExit
    if (store === undefined || this.pending === 0) return
    store.settle()
    const rest = this.#inFlight.flat()
    while (!this.#queue.isEmpty) rest.push(...this.#queue.take(this.#batchLimits))
    this.#inFlight = []
    this.#closed = true
    for (let attempt = 1; ; attempt++) {
      try {
        this.#writeAtExit(store, rest)
        return
      } catch (error) {
        // Another writer came first, or an answer was lost: looked for anew.
        const isPassing = error instanceof LedgerError && (error.code === 'head_moved' || error.details.outcome_unknown === true)
        if (!isPassing || attempt === EXIT_ATTEMPTS) throw error
      }
    }
  }

  #writeAtExit(store: ExitAppender, rest: readonly Waiting[]): void {
    this.#known.forget()
    const state = store.state(this.#known.needs({ batch: rest, looks: 1, sealing: null }))
    const { signing } = this.#options
    // What a condition rules out can't be looked for any more.
    const [writable, left] = [rest.filter(({ condition }) => condition === undefined), rest.filter((append) => isLeft(append, state))]
    const plan = planBatch(writable, state, this.#options.now(), this.#sealingParts())
    if (plan.records.length > 0) {
      const records = signing === undefined ? plan.records : signing.signAtExit(plan.records, state.streams.get('ledger'))
      store.append(records, state.head)
    }
    if (left.length > 0)
      throw new LedgerError(
        'closed',
        `${left.length} appends with a condition (failIfEventsMatch), which must be awaited before the process ends`,
      )
  }
}
