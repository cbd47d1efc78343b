/**
 * Sealing a batch: a pure function from what waits and what the store says to the records to write and what each
 * caller is to hear. Nothing here waits or writes, so a lost race just runs it again.
 */
import { hash } from 'node:crypto'
import { formatHeader, GENESIS } from '../verify/header.ts'
import type { RecordHeader } from '../verify/header.ts'
import { readSense } from '../verify/record.ts'
import { formatTime, parseTime } from '../verify/time.ts'
import { rulesOut } from './conditions.ts'
import type { AppendCondition } from './conditions.ts'
import { commitmentHash, givenFields, headerOf, refilledEntry } from './draft.ts'
import type { Draft, Position } from './draft.ts'
import { isSealed } from './encryption/sealed-entry.ts'
import type { JsonObject } from './entry.ts'
import { LedgerError } from './errors.ts'
import { LIMITS } from './limits.ts'
import type { Head, SealedRecord, StoreState } from './store.ts'

/** What a caller gets for a record that is durable. */
export interface Receipt {
  readonly run_id: string
  readonly seq: number
  /** Hash of the record: what a proof will prove. */
  readonly hash: string
  readonly recorded_at: string
  readonly stream: string
  readonly stream_version: number
  /** The run_id was there already, and its content can't be compared any more (it is withheld, or its key is not here). */
  readonly content_not_compared?: true
  /** Resolves when the ledger's tree has the record: nobody need wait for that, and appends don't. */
  included(): Promise<Inclusion>
}

/** Where a record is in the tree: among its first `size` records, whose root is `root` (64 hex). */
export interface Inclusion {
  readonly seq: number
  readonly size: number
  readonly root: string
}

/** `stream_version` of the stream's last record, or what must be true of the stream. */
export type ExpectedVersion = number | 'no-stream' | 'stream-exists' | 'any'

export interface StreamExpectation {
  readonly stream: string
  readonly expected: ExpectedVersion
}

/** One append: its drafts become records together or not at all. */
export interface AppendRequest {
  readonly drafts: readonly Draft[]
  /** Of each stream that it is to be at a version. */
  readonly expectations: readonly StreamExpectation[]
  readonly condition?: AppendCondition | undefined
}

export type AppendOutcome = { readonly receipts: Receipt[] } | { readonly error: LedgerError }

export interface BatchPlan {
  readonly records: readonly SealedRecord[]
  /** One for each request, in their order. */
  readonly outcomes: readonly AppendOutcome[]
  readonly head: Head
  /** Streams that the batch moved on, with their last version. */
  readonly streams: ReadonlyMap<string, number>
}

function seal(draft: Draft, at: Position): SealedRecord {
  const header = headerOf(draft, at)
  // Hashing makes the text of two dozen pieces flat; a slice of that is, too.
  const leaf = `\0${formatHeader(header)}`
  return {
    hash: hash('sha256', leaf, 'hex'),
    header,
    header_text: leaf.slice(1),
    signatures_text: null,
    salt: draft.salt,
    entry_text: draft.entry_text,
    provider: draft.provider,
    model: draft.model,
  }
}

/** Waits until the tree has the record of a position. */
export type InclusionSource = (seq: number) => Promise<Inclusion>

class DurableReceipt implements Receipt {
  readonly run_id: string
  readonly seq: number
  readonly hash: string
  readonly recorded_at: string
  readonly stream: string
  readonly stream_version: number
  declare readonly content_not_compared?: true
  readonly #inclusion: InclusionSource

  constructor(header: RecordHeader, recordHash: string, inclusion: InclusionSource) {
    this.run_id = header.run_id
    this.seq = header.seq
    this.hash = recordHash
    this.recorded_at = header.recorded_at
    this.stream = header.stream
    this.stream_version = header.stream_version
    this.#inclusion = inclusion
  }

  included(): Promise<Inclusion> {
    return this.#inclusion(this.seq)
  }
}

interface Known {
  readonly header: RecordHeader
  readonly hash: string
  readonly salt: string | null
  readonly entry_text: string | null
  /** Of an encrypted entry what it says, where that can be told. */
  readonly plain_text: string | null
}

function sameValue(a: unknown, b: unknown): boolean {
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((item, i) => item === b[i])
  return a === b
}

/** The first receipt for a repeated run_id, or why it is no repetition. Source: docs/format.md, "Idempotency". */
function repeat(draft: Draft, known: Known, inclusion: InclusionSource): Receipt | LedgerError {
  const conflict = (what: string): LedgerError =>
    new LedgerError(
      'run_id_conflict',
      `run_id ${JSON.stringify(draft.run_id)} is recorded already (position ${known.header.seq}), with another ${what}: give a new run_id for a new record`,
      { run_id: draft.run_id, seq: known.header.seq, differs: what },
    )
  for (const field of givenFields(draft)) {
    if (!sameValue(draft[field], known.header[field])) return conflict(field)
  }
  const receipt: Receipt = new DurableReceipt(known.header, known.hash, inclusion)
  const { salt, entry_text } = known
  const isEncrypted = entry_text !== null && isSealed(entry_text)
  // What was written a moment ago, its answer lost, is there as it was encrypted then.
  if (isEncrypted && entry_text === draft.entry_text) return receipt
  const stored = isEncrypted ? known.plain_text : entry_text
  if (salt === null || stored === null) return Object.assign(receipt, { content_not_compared: true as const })
  const isSame = (text: string): boolean => (isEncrypted ? text === stored : commitmentHash(salt, text) === known.header.entry_hash)
  if (isSame(draft.plain_text ?? draft.entry_text)) return receipt
  if (draft.defaulted.length === 0) return conflict('content')
  return isSame(refilledEntry(draft, JSON.parse(stored) as JsonObject)) ? receipt : conflict('content')
}

function versionConflict({ stream, expected }: StreamExpectation, current: number): LedgerError {
  const actual = current < 0 ? 'no-stream' : current
  return new LedgerError(
    'version_conflict',
    `stream ${JSON.stringify(stream)} is at ${actual}, expected was ${expected}: read it again and decide anew`,
    { stream, expected, actual },
  )
}

function conditionFailed({ after }: AppendCondition, seq: number): LedgerError {
  return new LedgerError(
    'condition_failed',
    `an event that the append rules out has come: the record at position ${seq}, behind ${after}. Read again and decide anew. Nothing was recorded`,
    { seq, after },
  )
}

function expectationHolds(expected: ExpectedVersion, current: number): boolean {
  if (expected === 'any') return true
  if (expected === 'no-stream') return current < 0
  if (expected === 'stream-exists') return current >= 0
  return current === expected
}

/** Makes the record that says the clock went back, with the time it carries. */
export type ClockNote = (from: string, to: string) => Draft

class Planner {
  readonly #state: StoreState
  readonly #records: SealedRecord[] = []
  readonly #streams = new Map<string, number>()
  readonly #inBatch = new Map<string, Known>()
  readonly #noteClock: ClockNote
  readonly #inclusion: InclusionSource
  readonly #now_us: number
  readonly #signers: readonly string[] | undefined
  readonly #matches: Matches
  #recorded_at: string | null = null
  #head: Head

  constructor(state: StoreState, now_us: number, { noteClock, inclusion, signers, matches }: Sealing) {
    this.#inclusion = inclusion
    this.#matches = matches ?? new Map()
    this.#signers = signers
    this.#state = state
    this.#head = state.head
    this.#now_us = state.now ?? now_us
    this.#noteClock = noteClock
  }

  #version(stream: string): number {
    return this.#streams.get(stream) ?? this.#state.streams.get(stream) ?? -1
  }

  #put(draft: Draft, recorded_at: string, append_last_seq: number | null): SealedRecord {
    const stream_version = this.#version(draft.stream) + 1
    const record = seal(draft, {
      seq: this.#head.size,
      previous_hash: this.#head.size === 0 ? GENESIS : this.#head.hash,
      recorded_at,
      stream_version,
      append_last_seq,
      signers: this.#signers,
    })
    this.#streams.set(draft.stream, stream_version)
    if (!draft.fresh) this.#inBatch.set(draft.run_id, { ...record, plain_text: draft.plain_text })
    this.#head = { size: this.#head.size + 1, hash: record.hash, recorded_at }
    this.#records.push(record)
    return record
  }

  /**
   * `recorded_at` of this batch: the wall clock, held at the last value while it is behind by no more than five
   * seconds; further back, a `ClockMovedBack` record comes first and carries the new time.
   */
  #time(): string {
    if (this.#recorded_at !== null) return this.#recorded_at
    const last = this.#head.recorded_at
    const last_us = last === null ? null : parseTime(last)
    if (last === null || last_us === null || this.#now_us >= last_us) {
      this.#recorded_at = formatTime(this.#now_us)
    } else if (last_us - this.#now_us <= LIMITS.clock_hold_us) {
      this.#recorded_at = last
    } else {
      this.#recorded_at = formatTime(this.#now_us)
      this.#put(this.#noteClock(last, this.#recorded_at), this.#recorded_at, null)
    }
    return this.#recorded_at
  }

  #known(run_id: string): Known | null {
    const sealed = this.#inBatch.get(run_id)
    if (sealed !== undefined) return sealed
    const line = this.#state.runs.get(run_id)
    return line === undefined ? null : { ...readSense(line), plain_text: this.#state.opened?.get(run_id) ?? null }
  }

  /** All of the request's ids known: its first receipts. Some: a conflict. None: null. */
  #repeated({ drafts }: AppendRequest): AppendOutcome | null {
    let ids: Set<string> | null = null
    let receipts: Receipt[] | null = null
    for (const draft of drafts) {
      // Nobody else has heard of an id that was made here; only where a write's outcome is unknown is it looked for.
      if (draft.fresh && this.#state.runs.size === 0) continue
      ids ??= new Set()
      if (ids.has(draft.run_id)) {
        return {
          error: new LedgerError('run_id_conflict', `run_id ${JSON.stringify(draft.run_id)} stands twice in one append`, {
            run_id: draft.run_id,
          }),
        }
      }
      ids.add(draft.run_id)
      const known = this.#known(draft.run_id)
      if (known === null) continue
      const answer = repeat(draft, known, this.#inclusion)
      if (answer instanceof LedgerError) return { error: answer }
      receipts ??= []
      receipts.push(answer)
    }
    if (receipts === null) return null
    if (receipts.length === drafts.length) return { receipts }
    const error = new LedgerError(
      'run_id_conflict',
      `of ${drafts.length} records of one append ${receipts.length} are recorded already: an append is repeated whole or not at all`,
      { recorded: receipts.map((receipt) => receipt.run_id) },
    )
    return { error }
  }

  /** By what was there before the batch, or by what came into the batch before this. */
  #ruledOut({ condition }: AppendRequest): LedgerError | null {
    if (condition === undefined) return null
    const seq = this.#matches.get(condition) ?? this.#records.find((record) => rulesOut(condition, record))?.header.seq
    return seq === undefined ? null : conditionFailed(condition, seq)
  }

  add(request: AppendRequest): AppendOutcome {
    const { drafts } = request
    if (drafts.length === 0) return { receipts: [] }
    const repeated = this.#repeated(request)
    if (repeated !== null) return repeated
    for (const expectation of request.expectations) {
      const current = this.#version(expectation.stream)
      if (!expectationHolds(expectation.expected, current)) return { error: versionConflict(expectation, current) }
    }
    const ruledOut = this.#ruledOut(request)
    if (ruledOut !== null) return { error: ruledOut }
    const recorded_at = this.#time()
    const last = drafts.length === 1 ? null : this.#head.size + drafts.length - 1
    const receipts: Receipt[] = []
    for (const draft of drafts) {
      const record = this.#put(draft, recorded_at, last)
      receipts.push(new DurableReceipt(record.header, record.hash, this.#inclusion))
    }
    return { receipts }
  }

  finish(outcomes: readonly AppendOutcome[]): BatchPlan {
    return { records: this.#records, outcomes, head: this.#head, streams: this.#streams }
  }
}

/** Positions of records, below the state's head, that conditions of the batch rule out. */
export type Matches = ReadonlyMap<AppendCondition, number>

/** What sealing needs beside the state. */
export interface Sealing {
  readonly noteClock: ClockNote
  readonly inclusion: InclusionSource
  /** Ids of the keys that will sign the records, ascending. */
  readonly signers?: readonly string[] | undefined
  readonly matches?: Matches | undefined
}

/** The whole of a batch. Each request succeeds or fails by itself. */
export function planBatch(requests: readonly AppendRequest[], state: StoreState, now_us: number, sealing: Sealing): BatchPlan {
  const planner = new Planner(state, now_us, sealing)
  return planner.finish(requests.map((request) => planner.add(request)))
}
