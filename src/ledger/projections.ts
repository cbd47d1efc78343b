/** States of projections out of a ledger: from the newest snapshot that fits and the records since, else from all records. */
import { canonicalize } from '../verify/canonical.ts'
import { GENESIS } from '../verify/header.ts'
import { parseTime } from '../verify/time.ts'
import type { DraftContext } from './draft.ts'
import { asToldError, LedgerError } from './errors.ts'
import { bothFilters, fitsNothing, scopeFilter } from './projection.ts'
import type { Projection, ProjectionScope } from './projection.ts'
import { readFitting } from './record-reading.ts'
import type { RecordBatches } from './record-reading.ts'
import { isSnapshotDue, SNAPSHOTS_KEPT } from './snapshot-policy.ts'
import { formatSnapshotName, formatState, groupOf, hashAt, headOf, judgeSnapshot, newestFirst, takeSnapshot } from './snapshots.ts'
import type { SnapshotsParts } from './snapshots.ts'
import type { Head, RecordFilter, Store } from './store.ts'
import type { LedgerWarning } from './warning.ts'

export interface LoadOptions extends ProjectionScope {
  /** The state as it was behind this position; the end of the ledger unless said. */
  readonly upTo?: number | undefined
  /** `off`: all records are replayed, whatever snapshots there are, and none is taken. */
  readonly snapshots?: 'off' | undefined
}

export interface LoadedState<State> {
  readonly state: State
  /** The last record that was looked at; -1 where the ledger is empty. Give it as `after` to an append that must not miss one. */
  readonly position: number
  /** Hash of that record. */
  readonly hash: string
  /** Events that were replayed. */
  readonly replayed: number
  /** The snapshot that it began with. */
  readonly snapshot: { readonly id: string; readonly position: number } | null
}

export interface ProjectionsParts extends SnapshotsParts {
  readonly drafting: DraftContext
  readonly warn: (warning: LedgerWarning) => void
}

/** Records with a handler, from a position up to and without another, by the store's chunks. */
export async function* replayed(store: Store, filter: RecordFilter, from: number, before: number): RecordBatches {
  if (from >= before || fitsNothing(filter)) return
  yield* readFitting(store, filter, from, before)
}

/** A state, and how it came about. */
interface Work<State> extends LoadedState<State> {
  readonly filter: RecordFilter
  readonly taken_at: string | null
  readonly replay_ms: number
}

interface Beginning<State> {
  readonly id: string
  readonly position: number
  readonly state: State
  readonly taken_at: string
}

export class Projections {
  readonly #parts: ProjectionsParts
  /** Snapshots that were told of: not at each loading again. */
  readonly #told = new Set<string>()
  /** Groups of which one is being taken. */
  readonly #taking = new Set<string>()

  constructor(parts: ProjectionsParts) {
    this.#parts = parts
  }

  async load<State>(projection: Projection<State>, options: LoadOptions): Promise<LoadedState<State>> {
    const work = await this.#work(projection, options)
    const { store } = this.#parts
    if (options.upTo === undefined && options.snapshots !== 'off' && projection.snapshots !== null && !store.readOnly)
      await this.#follow(projection, work)
    const { state, position, hash, replayed: count, snapshot } = work
    return { state, position, hash, replayed: count, snapshot }
  }

  async take<State>(projection: Projection<State>, scope: ProjectionScope): Promise<string> {
    return this.#take(projection, await this.#work(projection, scope))
  }

  async #work<State>(projection: Projection<State>, options: LoadOptions): Promise<Work<State>> {
    const { store } = this.#parts
    const { upTo = Infinity } = options
    if (upTo !== Infinity && !(Number.isSafeInteger(upTo) && upTo >= -1))
      throw new RangeError(`upTo must be a position, or -1, not ${upTo}`)
    const filter = scopeFilter(projection, options)
    const head = await headOf(store)
    const position = Math.min(upTo, head.size - 1)
    const began = performance.now()
    const beginning = options.snapshots === 'off' ? null : await this.#beginning(projection, filter, position, head)
    let state = beginning === null ? projection.start() : beginning.state
    let count = 0
    const handled = bothFilters(filter, { type: projection.types })
    for await (const batch of replayed(store, handled, (beginning?.position ?? -1) + 1, position + 1)) {
      for (const record of batch) {
        state = projection.apply(state, record)
        count++
      }
    }
    const hash = position < 0 ? GENESIS : position === head.size - 1 ? head.hash : await hashAt(store, position)
    if (hash === null) throw new LedgerError('damaged', `the record at position ${position} is not there: run verify`, { seq: position })
    const snapshot = beginning === null ? null : { id: beginning.id, position: beginning.position }
    const replay_ms = performance.now() - began
    return { state, position, hash, replayed: count, snapshot, filter, taken_at: beginning?.taken_at ?? null, replay_ms }
  }

  /** The newest snapshot up to a position that is what was taken; null where there is none. */
  async #beginning<State>(
    projection: Projection<State>,
    filter: RecordFilter,
    position: number,
    head: Head,
  ): Promise<Beginning<State> | null> {
    const { store } = this.#parts
    const names = await newestFirst(store, `${groupOf(projection.name, filter)}-`).catch((error: unknown) => {
      this.#refuse('', `the snapshots of ${projection.name} can't be read, so all records are replayed (${String(error)})`)
      return []
    })
    for (const name of names) {
      if (name.position > position && name.position < head.size) continue
      const judged = await judgeSnapshot(store, name, head).catch((error: unknown) => `it can't be read (${String(error)})`)
      if (judged === null) continue
      const usable = typeof judged === 'string' ? judged : usableState(projection, judged.content)
      if (typeof usable !== 'string')
        return { id: name.id, position: name.position, state: usable.state, taken_at: (judged as { taken_at: string }).taken_at }
      this.#refuse(
        formatSnapshotName(name),
        `the snapshot ${name.id} of ${projection.name} at position ${name.position} is not used: ${usable}. An older one is, or all records are replayed`,
      )
    }
    return null
  }

  #refuse(name: string, message: string): void {
    if (this.#told.has(name)) return
    this.#told.add(name)
    this.#parts.warn({ code: 'snapshot_refused', message })
  }

  async #follow<State>(projection: Projection<State>, work: Work<State>): Promise<void> {
    const policy = projection.snapshots
    const group = groupOf(projection.name, work.filter)
    const taken_us = work.taken_at === null ? null : parseTime(work.taken_at)
    const since = {
      events: work.replayed,
      age_ms: taken_us === null ? null : (this.#parts.drafting.now() - taken_us) / 1000,
      replay_ms: work.replay_ms,
      stateBytes: () => Buffer.byteLength(formatState(projection.name, work.state)),
    }
    try {
      if (policy === null || this.#taking.has(group) || !isSnapshotDue(policy, since)) return
      this.#taking.add(group)
      await this.#take(projection, work)
    } catch (error) {
      // The state is right without it.
      const told = asToldError(error)
      this.#parts.warn({ code: 'snapshot_failed', message: `no snapshot of ${projection.name} was taken: ${told.message}`, error: told })
    } finally {
      this.#taking.delete(group)
    }
  }

  #take<State>(projection: Projection<State>, work: Work<State>): Promise<string> {
    const { name, version, types, snapshots } = projection
    const { filter, position, hash, state } = work
    if (position < 0) throw new LedgerError('not_found', `the ledger has no record yet: there is nothing to take a snapshot of`)
    const content = { projection: name, version, types, filter, position, hash, state }
    return takeSnapshot(this.#parts, content, snapshots?.keep ?? SNAPSHOTS_KEPT)
  }
}

/** The state as one of this projection, or why it is none. */
function usableState<State>(
  projection: Projection<State>,
  { version, types, state }: { readonly version: number; readonly types: readonly string[]; readonly state: unknown },
): { readonly state: State } | string {
  if (version !== projection.version) {
    try {
      const upcasted = projection.upcast(state, version)
      if (upcasted !== undefined) return { state: upcasted }
    } catch (error) {
      return `it can't be brought from version ${version} to ${projection.version} (${String(error)})`
    }
    return `it is of version ${version}, and the projection of version ${projection.version}`
  }
  if (canonicalize(types) !== canonicalize(projection.types))
    return 'the projection has handlers of other events now: give it another version'
  return { state: state as State }
}
