/** What a writer knows of its ledger's end, so that most appends need not ask the store. */
import type { Draft } from './draft.ts'
import type { AppendRequest, BatchPlan } from './plan.ts'
import type { Head, StateRequest, Store, StoreState } from './store.ts'

/** Streams whose last version is remembered. */
const STREAMS_REMEMBERED_MAX = 20_000

/** A batch, as far as it says what has to be known to seal it. */
export interface Wanted {
  readonly batch: readonly AppendRequest[]
  /** How often its outcome was unknown: some of it may be there already. */
  readonly looks: number
  /** The record that seals the live segment, which goes in front. */
  readonly sealing: Draft | null
  /** What is there already is the answer, so it has to be durable. */
  readonly confirming?: boolean
}

function isSame(a: Head, b: Head): boolean {
  return a.size === b.size && a.hash === b.hash
}

export class KnownEnd {
  #head: Head | null = null
  #streams = new Map<string, number>()

  /** Behind all that was sent, durable or not; null when only the store knows. */
  get head(): Head | null {
    return this.#head
  }

  forget(): void {
    this.#head = null
    this.#streams = new Map()
  }

  remember(plan: BatchPlan): void {
    this.#head = plan.head
    if (this.#streams.size + plan.streams.size > STREAMS_REMEMBERED_MAX) this.#streams = new Map()
    for (const [stream, version] of plan.streams) this.#streams.set(stream, version)
  }

  /** The state of a turn: nobody else changes it. */
  taken(state: StoreState): StoreState {
    this.#head = state.head
    this.#streams = new Map(state.streams)
    return { ...state, streams: this.#streams }
  }

  /** What is not remembered of what the batch needs. */
  needs({ batch, looks, sealing }: Wanted): StateRequest {
    const streams = new Set<string>()
    const run_ids: string[] = sealing === null ? [] : [sealing.run_id]
    for (const append of batch) {
      for (const draft of append.drafts) {
        // Some of a batch whose outcome is unknown may be there already.
        if (!draft.fresh || looks > 0) run_ids.push(draft.run_id)
        // A stream that is named by a run_id made just now can't be there yet.
        if (!this.#streams.has(draft.stream) && !(draft.fresh && draft.stream === draft.run_id)) streams.add(draft.stream)
      }
      // A stream may be expected at a version without being appended to.
      for (const { stream } of append.expectations) if (!this.#streams.has(stream)) streams.add(stream)
    }
    if (!this.#streams.has('ledger')) streams.add('ledger')
    return { streams: [...streams], run_ids }
  }

  /**
   * What the batch needs to know. `bases`: what batches that are on their way were sealed for. The store may not have
   * those yet; but streams that they move on are remembered, and of all others it has the last word.
   */
  async state(store: Store, wanted: Wanted, bases: readonly Head[] = []): Promise<StoreState> {
    const request = this.needs(wanted)
    if (this.#head !== null && request.streams.length === 0 && request.run_ids.length === 0) {
      return { head: this.#head, streams: this.#streams, runs: new Map(), now: null }
    }
    const { confirmedState } = store
    const isConfirmed = wanted.confirming === true && confirmedState !== undefined
    const state = await (isConfirmed ? confirmedState.call(store, request) : store.state(request))
    const known = this.#head
    if (known === null || ![known, ...bases].some((head) => isSame(head, state.head))) {
      this.#streams = new Map()
      this.#head = state.head
      // What was remembered is stale, and the request left out what was remembered: ask for it as well.
      const again = this.needs(wanted)
      if (again.streams.length > request.streams.length) return this.state(store, wanted)
    }
    for (const [stream, version] of state.streams) this.#streams.set(stream, version)
    return { ...state, head: this.#head as Head, streams: this.#streams }
  }
}
