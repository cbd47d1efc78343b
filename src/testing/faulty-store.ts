/** A store that fails on demand, to see what the writer makes of it. */
import { LedgerError, type LedgerErrorCode } from '../ledger/errors.ts'
import type { Head, SealedRecord, StateRequest, Store, StoreState, Turn } from '../ledger/store.ts'

/** What befalls one call of the store. */
export type Fault =
  /** It goes through. */
  | { readonly kind: 'none' }
  /** A typed error, and nothing was done: a full disk, a lost connection. */
  | { readonly kind: 'refuse'; readonly code: LedgerErrorCode }
  /** Nothing was done, and the store can't tell. */
  | { readonly kind: 'lose'; readonly code?: LedgerErrorCode }
  /** All was done, and the store can't tell: the answer was lost. */
  | { readonly kind: 'persist'; readonly code?: LedgerErrorCode }
  /** It is done after `ms` milliseconds. */
  | { readonly kind: 'delay'; readonly ms: number }
  /** It is done when the promise has resolved. */
  | { readonly kind: 'wait'; readonly for: Promise<unknown> }
  /** `act` happens first, such as another writer's append; then the call goes on, and meets what it meets. */
  | { readonly kind: 'interfere'; readonly act: () => Promise<unknown> }

export type FaultyCall = 'state' | 'append'

/** One call that the store has seen. */
export interface CallSeen {
  readonly call: FaultyCall
  readonly fault: Fault['kind']
  /** Positions of the records of an append, in their order; of a `state` none. */
  readonly seqs: readonly number[]
}

export interface FaultyStore extends Store {
  /** The next calls of this kind meet these faults, one each, in this order, after those planned before. */
  plan(call: FaultyCall, ...faults: readonly Fault[]): void
  /** From now on every call of this kind without a plan meets this fault. */
  always(call: FaultyCall, fault: Fault): void
  /** Forgets all plans: the cause is gone. */
  heal(): void
  readonly seen: readonly CallSeen[]
}

const NONE: Fault = { kind: 'none' }

function failure(call: FaultyCall, fault: { readonly kind: string; readonly code?: LedgerErrorCode }): LedgerError {
  const unknown = fault.kind !== 'refuse'
  const text = `planned fault: ${call} ${unknown ? 'may or may not have taken effect' : 'refused'}`
  return new LedgerError(fault.code ?? 'io_error', text, unknown ? { outcome_unknown: true } : {})
}

function positionsOf(records: readonly SealedRecord[]): number[] {
  return records.map(({ header }) => header.seq)
}

/** `inner` with faults. It owns nothing: closing it closes `inner`. */
export function faultyStore(inner: Store): FaultyStore {
  const plans: Record<FaultyCall, Fault[]> = { state: [], append: [] }
  const standing: Record<FaultyCall, Fault> = { state: NONE, append: NONE }
  const seen: CallSeen[] = []

  async function meet<Result>(call: FaultyCall, seqs: readonly number[], act: () => Promise<Result>): Promise<Result> {
    const fault = plans[call].shift() ?? standing[call]
    seen.push({ call, fault: fault.kind, seqs })
    switch (fault.kind) {
      case 'none':
        return act()
      case 'refuse':
      case 'lose':
        throw failure(call, fault)
      case 'persist':
        await act()
        throw failure(call, fault)
      case 'delay':
        await new Promise((resolve) => setTimeout(resolve, fault.ms))
        return act()
      case 'wait':
        await fault.for
        return act()
      case 'interfere':
        await fault.act()
        return act()
    }
  }

  /** Nobody else appends while a turn lasts, so who is to interfere does so before it. */
  async function takeTurn(request: StateRequest): Promise<Turn> {
    const next = plans.append[0] ?? standing.append
    if (next.kind === 'interfere') {
      plans.append.shift()
      await next.act()
    }
    const turn = await meet('state', [], () => inner.takeTurn!(request))
    return {
      state: turn.state,
      async append(records) {
        let acted = false
        try {
          await meet('append', positionsOf(records), () => {
            acted = true
            return turn.append(records)
          })
        } finally {
          if (!acted) await turn.release()
        }
      },
      release: () => turn.release(),
    }
  }

  return {
    kind: inner.kind,
    location: inner.location,
    readOnly: inner.readOnly,
    ...(inner.mayLag === undefined ? {} : { mayLag: inner.mayLag }),
    get segmentFull() {
      return inner.segmentFull
    },
    get segment() {
      return inner.segment
    },
    recovered: inner.recovered,
    tree: inner.tree,
    replica: inner.replica,
    snapshots: inner.snapshots,
    dataKeys: inner.dataKeys,
    ...(inner.upkeep === undefined ? {} : { upkeep: inner.upkeep }),
    ...(inner.atExit === undefined ? {} : { atExit: inner.atExit }),
    seen,
    plan: (call, ...faults) => void plans[call].push(...faults),
    always: (call, fault) => void (standing[call] = fault),
    heal() {
      plans.state.length = plans.append.length = 0
      standing.state = standing.append = NONE
    },
    state: (request: StateRequest): Promise<StoreState> => meet('state', [], () => inner.state(request)),
    append: (records: readonly SealedRecord[], expected: Head, options): Promise<void> =>
      meet('append', positionsOf(records), () => inner.append(records, expected, options)),
    ...(inner.confirmedState === undefined ? {} : { confirmedState: (request) => meet('state', [], () => inner.confirmedState!(request)) }),
    ...(inner.takeTurn === undefined ? {} : { takeTurn }),
    ...(inner.sealAndAppend === undefined ? {} : { sealAndAppend: (records) => meet('append', [], () => inner.sealAndAppend!(records)) }),
    ...(inner.pipelined === undefined ? {} : { pipelined: inner.pipelined }),
    ...(inner.watch === undefined ? {} : { watch: (signal) => inner.watch!(signal) }),
    ...(inner.now === undefined ? {} : { now: () => inner.now!() }),
    ...(inner.readHeaders === undefined ? {} : { readHeaders: (from, before) => inner.readHeaders!(from, before) }),
    read: (selection) => inner.read(selection),
    count: (filter) => inner.count(filter),
    tally: (column, filter) => inner.tally(column, filter),
    describe: () => inner.describe(),
    audit: (sink, signal, range) => inner.audit(sink, signal, range),
    flush: () => inner.flush(),
    close: () => inner.close(),
  }
}
