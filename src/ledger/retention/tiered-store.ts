/**
 * A store whose archived entries are put back into their lines as they are read: warm ones always, cold ones where that
 * was asked for. All above it reads as if nothing had been moved. What stays withheld is noted (withheld-entry.ts).
 */
import { readSense } from '../../verify/record.ts'
import { asToldError } from '../errors.ts'
import type { LedgerError } from '../errors.ts'
import type { AuditRange, AuditSink, Selection, StateRequest, Store, StoreState } from '../store.ts'
import { noteWithheld } from '../withheld-entry.ts'
import { isWithheldLine } from './archive-lines.ts'
import { auditArchives, watchingWithheld } from './audit-archives.ts'
import type { ArchivedFile } from './catalogue.ts'
import { Tiers } from './tiers.ts'
import type { TierOptions } from './tiers.ts'
import { withMembers } from '../store-members.ts'

/** Entries make lines longer: what the store gave at once is handed on in parts of about this. Bytes. */
const CHUNK_BYTES_MAX = 1024 * 1024

export interface TieredStore extends Store {
  /** As it keeps the lines. */
  readonly below: Store
  readonly tiers: Tiers
}

export function isTiered(store: Store): store is TieredStore {
  return (store as Partial<TieredStore>).tiers instanceof Tiers
}

/** One reading: the catalogue is brought up at its first withheld line, and once more where what it says is not so. */
class Filling {
  readonly #store: Store
  readonly #tiers: Tiers
  #isFresh = false

  constructor(store: Store, tiers: Tiers) {
    this.#store = store
    this.#tiers = tiers
  }

  /** The line with its entry, where that can be had. */
  async filled(line: Uint8Array): Promise<Uint8Array> {
    if (!isWithheldLine(line)) return line
    const { catalogue } = this.#tiers
    if (!this.#isFresh) await catalogue.refresh(this.#store)
    this.#isFresh = true
    const { seq } = readSense(line).header
    for (let isLast = false; ; isLast = true) {
      const erased_by = catalogue.erasedBy(seq)
      if (erased_by !== null) {
        noteWithheld(line, { state: 'erased', erased_by })
        return line
      }
      const owner = catalogue.ownerOf(seq)
      // It was withheld and may have come back since.
      if (owner?.kind !== 'file') return (await lineAt(this.#store, seq)) ?? line
      if (!this.#tiers.reads(owner)) return noted(line, owner, null)
      try {
        return await this.#tiers.whole(owner, seq, line)
      } catch (error) {
        if (!isLast && (await catalogue.refresh(this.#store))) continue
        return noted(line, owner, asToldError(error))
      }
    }
  }
}

function noted(line: Uint8Array, { tier, file, location }: ArchivedFile, fault: LedgerError | null): Uint8Array {
  noteWithheld(line, { state: 'archived', tier, file, location, fault: fault?.message ?? null })
  return line
}

async function lineAt(store: Store, seq: number): Promise<Uint8Array | null> {
  for await (const [line] of store.read({ filter: {}, from: seq, before: seq + 1, reverse: false, limit: 1 })) return line ?? null
  return null
}

async function* filledChunks(store: Store, tiers: Tiers, selection: Selection): AsyncGenerator<readonly Uint8Array[]> {
  const filling = new Filling(store, tiers)
  for await (const chunk of store.read(selection)) {
    if (!chunk.some(isWithheldLine)) {
      yield chunk
      continue
    }
    let lines: Uint8Array[] = []
    let bytes = 0
    for (const line of chunk) {
      const whole = await filling.filled(line)
      lines.push(whole)
      bytes += whole.length
      if (bytes < CHUNK_BYTES_MAX) continue
      yield lines
      lines = []
      bytes = 0
    }
    if (lines.length > 0) yield lines
  }
}

async function withRuns(store: Store, tiers: Tiers, state: StoreState): Promise<StoreState> {
  if (![...state.runs.values()].some(isWithheldLine)) return state
  const filling = new Filling(store, tiers)
  const runs = new Map<string, Uint8Array>()
  for (const [run_id, line] of state.runs) runs.set(run_id, await filling.filled(line))
  return { ...state, runs }
}

/**
 * The store with entries where they belong. While the head is held (`takeTurn`) nothing else is read, so content that
 * lies elsewhere is not compared there.
 * @param store owned: closing closes it
 */
export function tieredStore(store: Store, options: TierOptions): TieredStore {
  const tiers = new Tiers(store, options)
  const { confirmedState } = store
  const members: Partial<Store> & Pick<TieredStore, 'below' | 'tiers'> = {
    below: store,
    tiers,
    state: async (request) => withRuns(store, tiers, await store.state(request)),
    ...(confirmedState === undefined
      ? {}
      : { confirmedState: async (request: StateRequest) => withRuns(store, tiers, await confirmedState.call(store, request)) }),
    read: (selection) => filledChunks(store, tiers, selection),
    audit: async (sink: AuditSink, signal?: AbortSignal, range?: AuditRange) => {
      const watching = watchingWithheld(sink)
      await store.audit(watching.sink, signal, range)
      if (watching.saw()) await auditArchives(store, tiers, sink, signal, range ?? { from: 0, before: Infinity })
    },
  }
  return withMembers(store, members)
}
