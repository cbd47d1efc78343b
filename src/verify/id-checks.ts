/**
 * The two checks that need to know every id: no `run_id` twice, and the versions of each stream without a gap. They are
 * exact: what does not fit into memory goes outside (`TemporarySpace`), and its problems are found at the end and
 * reported as if they had been found at once.
 */
import { ByteIndex } from './byte-index.ts'
import { IdLog } from './id-log.ts'
import type { IdEntry, TemporarySpace } from './id-log.ts'
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

/** One of the checks: in memory while it can be, then outside. */
class IdCheck {
  /** What would be needed for the check, where it can't be done; else null. */
  missing: string | null = null
  readonly #rule: IdRule
  readonly #space: (() => TemporarySpace) | null
  #log: IdLog | null = null

  constructor(rule: IdRule, space: (() => TemporarySpace) | null) {
    this.#rule = rule
    this.#space = space
  }

  /** How many ids are in memory. */
  get size(): number {
    return this.#log === null ? this.#rule.size : 0
  }

  /** `hasRoom`: for one more id in memory. */
  take(entry: IdEntry, hasRoom: boolean, missing: string): void {
    if (this.missing !== null) return
    if (this.#log !== null) this.#log.add(entry)
    else if (!hasRoom || !this.#rule.take(entry, false)) this.#leaveMemory(entry, missing)
  }

  #leaveMemory(entry: IdEntry, missing: string): void {
    if (this.#space === null) this.missing = missing
    else {
      try {
        this.#log = new IdLog(this.#space())
        this.#rule.writeTo(this.#log)
        this.#log.add(entry)
      } catch (error) {
        this.missing = `${ROOM_MISSING}: ${error instanceof Error ? error.message : String(error)}`
      }
    }
    this.#rule.forget(0)
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

export class IdChecks {
  readonly #idsMax: number
  readonly #runIds: IdCheck
  readonly #streams: IdCheck
  readonly #findings: Findings

  /** `idsMax`: how many ids, of both kinds together, may be in memory. `space`: makes room outside, when it is needed. */
  constructor(findings: Findings, idsMax: number, space: (() => TemporarySpace) | null) {
    this.#findings = findings
    this.#idsMax = idsMax
    this.#runIds = new IdCheck(new UniqueRule(findings, idsMax), space)
    this.#streams = new IdCheck(new GaplessRule(findings, idsMax), space)
  }

  /** Both ids of the next record. The entries are copied. */
  take(runId: IdEntry, stream: IdEntry): void {
    const missing = `memory for more than ${this.#idsMax} ids (ids_max)`
    this.#findings.mark(runId.seq)
    this.#runIds.take(runId, this.#runIds.size + this.#streams.size < this.#idsMax, missing)
    this.#streams.take(stream, true, missing)
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
