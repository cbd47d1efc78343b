/**
 * The two checks that need to know every id: no `run_id` twice, and the versions of each stream without a gap. They are
 * exact: what does not fit into memory goes outside (`TemporarySpace`), and its problems are found at the end and
 * reported as if they had been found at once.
 */
import { ByteIndex } from './byte-index.ts'
import { IdLog, idSeed } from './id-log.ts'
import type { IdEntry, IdLogState, TemporarySpace } from './id-log.ts'
import { whereOf } from './problems.ts'
import type { Findings, Place } from './problems.ts'
import { decodeText } from './text.ts'

const ROOM_MISSING = 'room for temporary files'
const NOWHERE: Place = { file: null, position: 0 }

/** The text of the id: its bytes as they stand in the header are a string of JSON. */
function textOf({ memory, start, end }: IdEntry): string {
  return JSON.parse(`"${decodeText(memory.bytes.subarray(start, end))}"`)
}

/** What is asked about each id, as far as memory goes. */
interface IdRule {
  /** How many ids are known. */
  readonly size: number
  /** Takes the next entry of an id, and reports what is wrong with it; false where there is no room for another id. */
  take(entry: IdEntry, isLate: boolean): boolean
  /** Writes down what is known. */
  writeTo(log: IdLog): void
  /** Begins anew, with room for so many ids. */
  forget(idsMax: number): void
}

class UniqueRule implements IdRule {
  readonly #findings: Findings
  #ids: ByteIndex

  constructor(findings: Findings, idsMax: number) {
    this.#findings = findings
    this.#ids = new ByteIndex(idsMax)
  }

  get size(): number {
    return this.#ids.size
  }

  take(entry: IdEntry, isLate: boolean): boolean {
    const { size } = this.#ids
    const number = this.#ids.add(entry.memory, entry.start, entry.end)
    if (number === -1) return false
    if (number !== size) this.#findings.addOf('duplicate_run_id', entry.seq, isLate, null, textOf(entry), whereOf(entry.place))
    return true
  }

  writeTo(log: IdLog): void {
    this.#ids.each((memory, start, end) => log.add({ memory, start, end, seq: -1, place: NOWHERE, version: 0, disturbances: 0 }))
  }

  forget(idsMax: number): void {
    this.#ids = new ByteIndex(idsMax)
  }
}

class GaplessRule implements IdRule {
  readonly #findings: Findings
  #streams: ByteIndex
  /** Of each stream's last record. */
  #versions = new Float64Array(128)
  #disturbances = new Float64Array(128)

  constructor(findings: Findings, idsMax: number) {
    this.#findings = findings
    this.#streams = new ByteIndex(idsMax)
  }

  get size(): number {
    return this.#streams.size
  }

  take(entry: IdEntry, isLate: boolean): boolean {
    const { size } = this.#streams
    const stream = this.#streams.add(entry.memory, entry.start, entry.end)
    if (stream === -1) return false
    if (stream === this.#versions.length) this.#widen()
    const { version, disturbances } = entry
    const expected = stream === size ? 0 : this.#versions[stream]! + 1
    const seenAt = stream === size ? 0 : this.#disturbances[stream]!
    if (version !== expected && seenAt === disturbances && entry.seq !== -1) {
      const name = textOf(entry)
      const [wanted, found] = [`${expected} of ${name}`, `${version} of ${name}`]
      this.#findings.addOf('stream_version_gap', entry.seq, isLate, wanted, found, whereOf(entry.place))
    }
    this.#versions[stream] = version
    this.#disturbances[stream] = disturbances
    return true
  }

  writeTo(log: IdLog): void {
    this.#streams.each((memory, start, end, stream) => {
      const [version, disturbances] = [this.#versions[stream]!, this.#disturbances[stream]!]
      log.add({ memory, start, end, seq: -1, place: NOWHERE, version, disturbances })
    })
  }

  forget(idsMax: number): void {
    this.#streams = new ByteIndex(idsMax)
  }

  #widen(): void {
    const versions = new Float64Array(this.#versions.length * 2)
    versions.set(this.#versions)
    this.#versions = versions
    const disturbances = new Float64Array(versions.length)
    disturbances.set(this.#disturbances)
    this.#disturbances = disturbances
  }
}

/** What the ids of a part of a ledger are, each kind in its own room. */
export interface IdParts {
  readonly run_ids: IdLogState
  readonly streams: IdLogState
}

/** The same rooms, as whoever joins the parts reads them. */
export interface IdSpaces {
  readonly run_ids: TemporarySpace
  readonly streams: TemporarySpace
}

export interface IdCheckOptions {
  /** How many ids, of both kinds together, may be in memory. */
  readonly ids_max: number
  /** Makes room outside, when it is needed. */
  readonly space: (() => TemporarySpace) | null
  /** Of parts of one ledger: the same, so that they can be joined. */
  readonly seed?: number | undefined
}

/** One of the checks: in memory while it can be, then outside. */
class IdCheck {
  /** What would be needed for the check, where it can't be done; else null. */
  missing: string | null = null
  readonly #rule: IdRule
  readonly #space: (() => TemporarySpace) | null
  readonly #seed: number
  #log: IdLog | null = null

  constructor(rule: IdRule, { space, seed = idSeed() }: IdCheckOptions) {
    this.#rule = rule
    this.#space = space
    this.#seed = seed
  }

  /** How many ids are in memory. */
  get size(): number {
    return this.#log === null ? this.#rule.size : 0
  }

  /** `hasRoom`: for one more id in memory. */
  take(entry: IdEntry, hasRoom: boolean, missing: string): void {
    if (this.missing !== null) return
    if (this.#log === null) {
      if (hasRoom && this.#rule.take(entry, false)) return
      this.leaveMemory(missing)
    }
    ;(this.#log as IdLog | null)?.add(entry)
  }

  /** What is in memory goes outside, and all that comes. */
  leaveMemory(missing: string): void {
    if (this.#log !== null || this.missing !== null) return
    if (this.#space === null) this.missing = missing
    else {
      try {
        this.#log = new IdLog(this.#space(), undefined, this.#seed)
        this.#rule.writeTo(this.#log)
      } catch (error) {
        this.missing = roomMissing(error)
      }
    }
    this.#rule.forget(0)
  }

  /** All that was taken lies outside; null where it can't. */
  seal(): IdLogState | null {
    const state = this.#log?.seal() ?? null
    return this.#log?.failure === null ? state : null
  }

  absorb(space: TemporarySpace, state: IdLogState): void {
    this.leaveMemory(ROOM_MISSING)
    this.#log?.absorb(space, state)
  }

  /** What is outside is looked at, piece by piece. */
  *settle(): Generator<void, void, undefined> {
    const log = this.#log
    if (log === null) return
    this.#log = null
    yield* log.replay(
      () => this.#rule.forget(Infinity),
      (entry) => this.#rule.take(entry, true),
    )
    this.#rule.forget(0)
    if (log.failure !== null) this.missing = `${ROOM_MISSING}: ${log.failure}`
  }
}

function roomMissing(error: unknown): string {
  return `${ROOM_MISSING}: ${error instanceof Error ? error.message : String(error)}`
}

export class IdChecks {
  readonly #idsMax: number
  readonly #runIds: IdCheck
  readonly #streams: IdCheck
  readonly #findings: Findings

  constructor(findings: Findings, options: IdCheckOptions) {
    this.#findings = findings
    this.#idsMax = options.ids_max
    this.#runIds = new IdCheck(new UniqueRule(findings, options.ids_max), options)
    this.#streams = new IdCheck(new GaplessRule(findings, options.ids_max), options)
  }

  get #memoryMissing(): string {
    return `memory for more than ${this.#idsMax} ids (ids_max)`
  }

  /** Both ids of the next record. The entries are copied. */
  take(runId: IdEntry, stream: IdEntry): void {
    const missing = this.#memoryMissing
    this.#findings.mark(runId.seq)
    this.#runIds.take(runId, this.#runIds.size + this.#streams.size < this.#idsMax, missing)
    this.#streams.take(stream, true, missing)
  }

  /** For a part of a ledger: nothing is judged here, all goes outside for whoever joins the parts. */
  leaveMemory(): void {
    this.#runIds.leaveMemory(this.#memoryMissing)
    this.#streams.leaveMemory(this.#memoryMissing)
  }

  /** Where all ids of this part lie; null where there was no room. */
  seal(): IdParts | null {
    const [run_ids, streams] = [this.#runIds.seal(), this.#streams.seal()]
    return run_ids === null || streams === null ? null : { run_ids, streams }
  }

  /** The ids of the part behind this one. They are judged by `settle`. */
  absorb(spaces: IdSpaces, parts: IdParts): void {
    this.#runIds.absorb(spaces.run_ids, parts.run_ids)
    this.#streams.absorb(spaces.streams, parts.streams)
  }

  *settle(): Generator<void, void, undefined> {
    yield* this.#runIds.settle()
    yield* this.#streams.settle()
  }

  /** What would be needed for the check of run_ids, or null. */
  get runIdsMissing(): string | null {
    return this.#runIds.missing
  }

  get streamsMissing(): string | null {
    return this.#streams.missing
  }
}
