/**
 * What the records say together, once each stands in its place: the origin, the clock, whole appends, the reserved
 * stream, ids and stream versions, withheld entries. A record that is missing or can't be trusted is reported where it
 * is missing; what follows from it (a version that jumps, half an append) is not reported again.
 */
import { asciiText, textStandsAt } from './bytes.ts'
import { Memory } from './bytes.ts'
import { KEY } from './header-grammar.ts'
import type { HeaderScan } from './header-scan.ts'
import { LEDGER_STREAM, RESERVED_TYPES } from './header.ts'
import type { IdChecks } from './id-checks.ts'
import type { IdEntry } from './id-log.ts'
import { KEY_RECORD_TYPES } from './key-log.ts'
import type { KeyRecordType } from './key-log.ts'
import { isOrigin } from './origin.ts'
import { NOTES_MAX, whereOf } from './problems.ts'
import type { Findings, Place } from './problems.ts'
import type { Range } from './ranges.ts'
import type { RecordSignatures, SignedRecord } from './record-signatures.ts'
import type { Note, SubCheck } from './report.ts'
import { decodeText } from './text.ts'
import { namedPositions, NAMING_TYPES, WithheldEntries } from './withheld.ts'
import type { NamingType, WithheldCounts, WithheldPart } from './withheld.ts'

const TIME_LENGTH = 27
/** The reserved types of each length. */
const RESERVED_OF_LENGTH: (readonly string[] | undefined)[] = []
for (const type of RESERVED_TYPES) RESERVED_OF_LENGTH[type.length] = [...(RESERVED_OF_LENGTH[type.length] ?? []), type]
const UNKNOWN_KEYS_MAX = 64
/** Ranges of withheld entries and of names for them, each. */
const RANGES_MAX = 1_000_000
/** Records of a part that name keys; where there are more, it is not joined. */
const KEY_RECORDS_MAX = 4000
const NOT_ALL_THERE = 'every record: some are missing or could not be read, so what they held could not be compared'

/** The entry of one of the ledger's own records that says something of others, or of keys. */
export interface OwnEntry {
  readonly type: NamingType | KeyRecordType
  /** As it was parsed. */
  readonly entry: unknown
}

interface PlacedEntry extends OwnEntry {
  readonly seq: number
  readonly place: Place
}

/** The types of the ledger's own records whose entries are read. */
export const OWN_TYPES: readonly OwnEntry['type'][] = [...NAMING_TYPES, ...KEY_RECORD_TYPES]

export function isKeyRecord(type: OwnEntry['type']): type is KeyRecordType {
  return (KEY_RECORD_TYPES as readonly string[]).includes(type)
}

/** One record that stands in its place; an object that is used again, so nobody keeps it. */
export interface PlacedRecord {
  /** A scan of the header, or null for a record of a newer format. */
  header: HeaderScan | null
  bytes: Uint8Array
  /** A view of the same bytes. */
  memory: Memory
  headerStart: number
  seq: number
  withheld: boolean
  /** Null for other records, and where its content has a fault. */
  own: OwnEntry | null
  /** Null where nobody signed, or where signatures are not checked. */
  signed: SignedRecord | null
  place: Place
  /** Its content has a fault that is reported already. */
  faulty: boolean
  /** The record before stands right before it, and is what it was when it was hashed. */
  follows: boolean
}

/** What the checks of a part that found nothing know, for whoever joins the parts. */
export interface CheckedPart {
  /** Records that name keys: whether they may depends on all that are before. */
  readonly key_records: readonly PlacedEntry[]
  readonly last_recorded_at: string
  readonly append_last_seq: number | null
  readonly withheld: WithheldPart
  readonly unknown_keys: readonly string[]
}

interface OpenAppend {
  readonly first: number
  readonly last: number
  readonly place: Place
}

function unknownKeyText(key: string): string {
  return `the header key ${key} is not known to this version`
}

function noEntry(): IdEntry {
  return { memory: new Memory(), start: 0, end: 0, seq: 0, place: { file: null, position: 0 }, version: 0, disturbances: 0 }
}

export class RecordChecks {
  /** The actor of record 0. */
  origin: string | null = null
  firstRecordedAt: string | null = null
  /** Position of the first record that is looked at. */
  start = 0
  readonly #findings: Findings
  readonly #wantedOrigin: string | null
  /** Highest position that was taken: what stands behind a lower one (a segment that comes twice) is not taken again. */
  #highest = -1
  /** Counts how often records were missing or not to be trusted; streams start anew after each time. */
  #disturbances = 0
  /** What that is at the beginning. */
  #undisturbed = 0
  #isPart = false
  /** There is something in this part that only one who goes through all of the ledger can judge. */
  #isUnjoinable = false
  readonly #keyRecords: PlacedEntry[] = []
  #newer = false
  /** A record that may name withheld entries can't be read. */
  #namesLost = false
  readonly #recordedAt = new Uint8Array(TIME_LENGTH)
  #append: OpenAppend | null = null
  /** The disturbance after which the next record may be in the middle of an append. */
  #appendDisturbance = 0
  readonly #ids: IdChecks
  readonly #runId: IdEntry = noEntry()
  readonly #stream: IdEntry = noEntry()
  readonly #withheld = new WithheldEntries(RANGES_MAX)
  readonly #signatures: RecordSignatures
  readonly #unknownKeys = new Set<string>()

  constructor(findings: Findings, wantedOrigin: string | null, ids: IdChecks, signatures: RecordSignatures) {
    this.#findings = findings
    this.#wantedOrigin = wantedOrigin
    this.#ids = ids
    this.#signatures = signatures
  }

  /**
   * Begins behind this record, which is sound by itself. `isPart`: what is before it is looked at elsewhere, and joined;
   * else nobody looks at it, and of a stream's first version nothing can be said.
   */
  begin(record: PlacedRecord, isPart: boolean): void {
    this.#highest = record.seq
    this.start = record.seq + 1
    this.#isPart = isPart
    this.#withheld.start = isPart ? 0 : this.start
    if (!isPart) this.#disturbances = this.#undisturbed = this.#appendDisturbance = 1
    const header = record.header as HeaderScan
    this.#checkTime(record, header)
    const last = header.starts[KEY.append_last_seq] === -1 ? -1 : header.numbers[KEY.append_last_seq]!
    if (last > record.seq) this.#append = { first: record.seq, last, place: { ...record.place } }
  }

  /** Nothing that was found or is unknown keeps this part from being joined. */
  get isClean(): boolean {
    const isKnown =
      !this.#newer && !this.#isUnjoinable && !this.#namesLost && !this.#withheld.overflown && this.#unknownKeys.size < UNKNOWN_KEYS_MAX
    return isKnown && this.#disturbances === this.#undisturbed
  }

  part(): CheckedPart {
    return {
      key_records: this.#keyRecords,
      last_recorded_at: this.lastRecordedAt ?? '',
      append_last_seq: this.#append?.last ?? null,
      withheld: this.#withheld.part(),
      unknown_keys: [...this.#unknownKeys],
    }
  }

  /** The records up to `last` were looked at elsewhere, behind those that were taken here; both are clean. False: too much to note. */
  absorb(part: CheckedPart, last: number, notes: readonly Note[]): boolean {
    if (new Set([...this.#unknownKeys, ...part.unknown_keys]).size > UNKNOWN_KEYS_MAX) return false
    if (this.#findings.notes.length + notes.length > NOTES_MAX) return false
    for (let i = 0; i < TIME_LENGTH; i++) this.#recordedAt[i] = part.last_recorded_at.charCodeAt(i)
    this.#highest = last
    this.#append = part.append_last_seq === null ? null : { first: last, last: part.append_last_seq, place: { file: null, position: 0 } }
    this.#withheld.absorb(part.withheld)
    for (const record of part.key_records) this.#takeOwn(record, record)
    for (const note of notes) {
      const key = part.unknown_keys.find((name) => note.code === 'unknown_header_key' && note.text === unknownKeyText(name))
      if (key !== undefined && this.#unknownKeys.has(key)) continue
      if (key !== undefined) this.#unknownKeys.add(key)
      this.#findings.notes.push(note)
    }
    return true
  }

  /** `recorded_at` of the last record. */
  get lastRecordedAt(): string | null {
    return this.firstRecordedAt === null ? null : asciiText(this.#recordedAt, 0, TIME_LENGTH)
  }

  /** Records are missing here, or are not to be trusted. */
  disturb(): void {
    this.#disturbances++
    this.#append = null
  }

  /** Takes the record that stands behind those taken before. */
  take(record: PlacedRecord): void {
    if (record.seq <= this.#highest) return
    this.#highest = record.seq
    if (record.header === null) {
      this.#newer = true
      this.disturb()
      return
    }
    this.#checkTime(record, record.header)
    if (record.seq === 0) this.#checkOrigin(record, record.header)
    if (record.header.unknown.length > 0) this.#noteUnknown(record, record.header)
    if (this.#append !== null || record.header.starts[KEY.append_last_seq] !== -1) this.#checkAppend(record, record.header)
    else this.#appendDisturbance = this.#disturbances
    const isReserved = this.#checkReserved(record, record.header)
    this.#checkIds(record, record.header)
    if (isReserved && record.faulty) this.#namesLost = true
    if (record.withheld && !isReserved) this.#withheld.add(record.seq)
    if (record.own !== null) this.#takeOwn(record.own, record)
    if (record.signed === null) return
    // Which keys were right is for whoever has seen all that is before.
    if (this.#isPart) this.#isUnjoinable = true
    else this.#signatures.take(record.signed, this.origin, this.#disturbances === 0 && !this.#namesLost)
  }

  #takeOwn({ type, entry }: OwnEntry, { seq, place }: Pick<PlacedRecord, 'seq' | 'place'>): void {
    if (!isKeyRecord(type)) this.#withheld.name(type, namedPositions(entry, seq))
    else if (this.origin !== null) this.#signatures.takeKeys(type, entry, seq, this.origin, place)
    else if (!this.#isPart) return
    else if (this.#keyRecords.length === KEY_RECORDS_MAX) this.#isUnjoinable = true
    else this.#keyRecords.push({ type, entry, seq, place: { ...place } })
  }

  #text({ bytes, headerStart }: PlacedRecord, header: HeaderScan, key: number): string {
    // The quotes are taken along, so that JSON undoes the escapes.
    return JSON.parse(decodeText(bytes.subarray(headerStart + header.starts[key]! - 1, headerStart + header.ends[key]! + 1)))
  }

  #checkTime(record: PlacedRecord, header: HeaderScan): void {
    const { bytes, seq } = record
    const start = record.headerStart + header.starts[KEY.recorded_at]!
    const before = this.#recordedAt
    let i = 0
    while (i < TIME_LENGTH && bytes[start + i] === before[i]) i++
    if (i === TIME_LENGTH) return
    if (record.follows && bytes[start + i]! < before[i]! && !this.#isType(record, header, 'ClockMovedBack')) {
      const [expected, found] = [asciiText(before, 0, TIME_LENGTH), asciiText(bytes, start, start + TIME_LENGTH)]
      this.#findings.add('clock_moved_back', seq, expected, found, whereOf(record.place))
    }
    for (; i < TIME_LENGTH; i++) before[i] = bytes[start + i]!
    this.firstRecordedAt ??= asciiText(before, 0, TIME_LENGTH)
  }

  #isType({ bytes, headerStart }: PlacedRecord, header: HeaderScan, type: string): boolean {
    const start = headerStart + header.starts[KEY.type]!
    return header.ends[KEY.type]! - header.starts[KEY.type]! === type.length && textStandsAt(bytes, start, type)
  }

  #checkOrigin(record: PlacedRecord, header: HeaderScan): void {
    const actor = this.#text(record, header, KEY.actor)
    const wanted = this.#wantedOrigin
    this.origin = actor
    const isCreation = this.#isType(record, header, 'LedgerCreated')
    if (isCreation && isOrigin(actor) && (wanted === null || wanted === actor)) return
    const expected = isCreation ? (wanted ?? 'an origin as the actor') : 'LedgerCreated'
    this.#findings.add('wrong_origin', 0, expected, isCreation ? actor : this.#text(record, header, KEY.type), whereOf(record.place))
  }

  #noteUnknown(record: PlacedRecord, header: HeaderScan): void {
    for (const key of header.unknown) {
      if (this.#unknownKeys.has(key) || this.#unknownKeys.size === UNKNOWN_KEYS_MAX) continue
      this.#unknownKeys.add(key)
      this.#findings.note('unknown_header_key', record.seq, unknownKeyText(key), record.place)
    }
  }

  #checkAppend(record: PlacedRecord, header: HeaderScan): void {
    const { seq, place } = record
    const last = header.starts[KEY.append_last_seq] === -1 ? -1 : header.numbers[KEY.append_last_seq]!
    const open = this.#append
    if (open !== null) {
      if (last !== open.last) this.#reportAppend(open, `position ${seq} of another append`)
      if (seq === open.last || last !== open.last) this.#append = null
      if (last === open.last) return
    }
    if (last === -1) return
    if (last > seq) this.#append = { first: seq, last, place: { ...place } }
    // A record that is the last of its append, and nothing of the append before it.
    else if (this.#appendDisturbance === this.#disturbances) this.#reportAppend({ first: seq, last, place }, 'none of its other records')
    this.#appendDisturbance = this.#disturbances
  }

  #reportAppend({ first, last, place }: OpenAppend, found: string): void {
    this.#findings.add('incomplete_append', first, `positions ${first} to ${last} in one append`, found, whereOf(place))
  }

  /** True for a record of the reserved stream. */
  #checkReserved(record: PlacedRecord, header: HeaderScan): boolean {
    const { bytes, headerStart } = record
    const start = headerStart + header.starts[KEY.stream]!
    const length = header.ends[KEY.stream]! - header.starts[KEY.stream]!
    const isReservedStream = length === LEDGER_STREAM.length && textStandsAt(bytes, start, LEDGER_STREAM)
    const isReservedType = this.#isReservedType(record, header)
    if (isReservedStream === isReservedType && !(isReservedStream && record.withheld)) return isReservedStream
    const found = `type ${this.#text(record, header, KEY.type)} in stream ${this.#text(record, header, KEY.stream)}`
    const [expected, what] =
      isReservedStream && isReservedType ? ['its entry', 'withheld'] : ['stream ledger and a type of its own, or neither', found]
    this.#findings.add('reserved_misused', record.seq, expected, what, whereOf(record.place))
    return isReservedStream
  }

  #isReservedType({ bytes, headerStart }: PlacedRecord, header: HeaderScan): boolean {
    const start = headerStart + header.starts[KEY.type]!
    const length = header.ends[KEY.type]! - header.starts[KEY.type]!
    for (const type of RESERVED_OF_LENGTH[length] ?? []) if (textStandsAt(bytes, start, type)) return true
    return false
  }

  #checkIds({ bytes, memory, headerStart, seq, place }: PlacedRecord, { starts, ends, numbers }: HeaderScan): void {
    const start = bytes.byteOffset + headerStart
    const [runId, stream] = [this.#runId, this.#stream]
    runId.memory = memory
    runId.start = start + starts[KEY.run_id]!
    runId.end = start + ends[KEY.run_id]!
    runId.seq = seq
    runId.place = place
    stream.memory = memory
    stream.start = start + starts[KEY.stream]!
    stream.end = start + ends[KEY.stream]!
    stream.seq = seq
    stream.place = place
    stream.version = numbers[KEY.stream_version]!
    stream.disturbances = this.#disturbances
    this.#ids.take(runId, stream)
  }

  /** Settles what only the end can tell. `live`: a writer is at work, who may be in the middle of an append. */
  finish(live: boolean): { withheld: WithheldCounts; unsettled: string | null; runIds: SubCheck; streams: SubCheck; signatures: SubCheck } {
    if (this.#append !== null && !live) this.#reportAppend(this.#append, `the end of the ledger at ${this.#highest + 1}`)
    const { counts, unnamed, pending } = this.#withheld.settle()
    const unsettled = this.#withheld.overflown ? `memory for more than ${RANGES_MAX} ranges of withheld entries` : null
    if (unsettled === null) this.#reportUnnamed(unnamed)
    for (const { first, last } of pending) {
      if (first > this.#highest) continue
      this.#findings.note(
        'erasure_pending',
        first,
        `the entries of ${first} to ${Math.min(last, this.#highest)} are named as erased and still there`,
        null,
      )
    }
    return {
      withheld: counts,
      unsettled,
      runIds: this.#subCheck(this.#findings.has('duplicate_run_id'), this.#ids.runIdsMissing),
      streams: this.#subCheck(this.#findings.has('stream_version_gap'), this.#ids.streamsMissing),
      signatures: this.#signatures.subCheck(this.#lost),
    }
  }

  #reportUnnamed(unnamed: readonly Range[]): void {
    // Where records are missing, what named these entries may be among them: that is said once, not for each entry.
    const reported = this.#disturbances > this.#undisturbed || this.#namesLost ? unnamed.slice(0, 1) : unnamed
    for (const { first, last } of reported) {
      const found = first === last ? `position ${first}` : `positions ${first} to ${last}`
      this.#findings.add('withheld_unnamed', first, 'a record that names it as erased or archived', found, null)
    }
  }

  #subCheck(failed: boolean, missing: string | null): SubCheck {
    if (failed) return { verdict: 'fail' }
    const needed =
      missing ?? this.#lost ?? (this.#undisturbed > 0 ? `the ${this.start} records before, with which nothing was compared` : null)
    return needed === null ? { verdict: 'pass' } : { verdict: 'not checked', missing: needed }
  }

  /** What would be needed to have looked at every record, or null. */
  get #lost(): string | null {
    if (this.#newer) return 'a version that knows the newer format of some records'
    return this.#disturbances > this.#undisturbed ? NOT_ALL_THERE : null
  }
}
