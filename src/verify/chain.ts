/**
 * Verifies a ledger line by line, in bounded memory: integrity, and what was not claimed. It never throws on data and
 * goes on after every problem. Source: docs/format.md, "Verification".
 * Where the time goes, and what was tried to save it: docs/performance.md.
 */
import { ascii, asciiText, Digest, isLowerHex, Memory, textStandsAt } from './bytes.ts'
import { sha256 as plainSha256 } from './hash.ts'
import type { Sha256 } from './hash.ts'
import { KEY } from './header-grammar.ts'
import { HeaderScan } from './header-scan.ts'
import { GENESIS, LEDGER_STREAM } from './header.ts'
import { IdChecks } from './id-checks.ts'
import type { TemporarySpace } from './id-log.ts'
import { LineCheck } from './line-check.ts'
import { RecordOrder } from './order.ts'
import type { Arrival } from './order.ts'
import { Findings, whereOf } from './problems.ts'
import { RecordChecks } from './record-checks.ts'
import { OWN_TYPES } from './record-checks.ts'
import type { OwnEntry, PlacedRecord } from './record-checks.ts'
import { RecordSignatures } from './record-signatures.ts'
import type { RecordSignatureCheck, SignedRecord } from './record-signatures.ts'
import type { Problem, SubCheck, VerificationReport } from './report.ts'
import { decodeText, isUtf8 as decodesAsUtf8 } from './text.ts'

export interface VerifierOptions {
  /** SHA-256; by default the one in plain ECMAScript. In Node: `(bytes) => crypto.hash('sha256', bytes)`. */
  readonly sha256?: Sha256
  /** True for valid UTF-8; by default by the platform's decoder. In Node: `buffer.isUtf8`. */
  readonly isUtf8?: (bytes: Uint8Array) => boolean
  /** Checks the signatures that records carry; without it they are not checked. */
  readonly checkRecordSignature?: RecordSignatureCheck
  /** The origin that the ledger must have. */
  readonly origin?: string
  /** Also check that each entry's bytes are canonical JSON: a twentieth more, several times as long for spellings that are not. */
  readonly canonical_entries?: boolean
  /** Problems that are kept; the others are counted. 1000 by default. */
  readonly problems_max?: number
  /** Ids (of runs and of streams) that memory has to find doubles and gaps. 2,000,000 by default, of about 60 bytes each. */
  readonly ids_max?: number
  /**
   * Makes room outside memory for ids beyond `ids_max`: at most twice, where it is needed. Without it, or where it
   * fails, what needs them is not checked. Some 120 bytes a record are written. The caller clears it away.
   */
  readonly temporary_space?: () => TemporarySpace
}

const PROBLEMS_MAX = 1000
const IDS_MAX = 2_000_000
const HASH_LENGTH = 64
const NO_BYTES = new Uint8Array(0)

const MISSING = {
  authenticity: 'a public key from outside, and a checkpoint or records that are signed with it',
  completeness:
    "a checkpoint remembered from before, or witnesses' cosignatures: a bare chain can't detect a cut tail or a ledger rewritten whole",
  time: 'a cosignature that says when, or a timestamp token',
} as const
const CANONICAL_MISSING = 'to ask for it (canonical entries)'
const NO_ENTRIES: SubCheck = { verdict: 'not checked', missing: 'the ledger itself: there are only headers here' }
const COLUMNS_MISSING = 'a store with index columns'

/** Takes a ledger's lines in their order, then gives the report. The shape of `AuditSink`, which stores feed. */
export class LedgerVerifier {
  readonly #findings: Findings
  readonly #check: LineCheck
  readonly #checks: RecordChecks
  readonly #ids: IdChecks
  readonly #order: RecordOrder
  readonly #canonicalEntries: boolean
  readonly #checksSignatures: boolean
  /** Where the line at hand lies. */
  readonly #here: { file: string | null; position: number } = { file: null, position: 0 }
  /** The position that the file's name promises for its first record, until that has come. */
  #promise: number | null = null
  // The tail while all is in order, here and not in `#order`, so that a record costs no object: its position, its hash
  // and the hash before that, which change places; where it lies; and whether `#order` has heard of it.
  #seq = -1
  #hash = new Digest()
  #previous = new Digest()
  #tailFile: string | null = null
  #tailPosition = 0
  #ahead = false
  readonly #record: PlacedRecord
  readonly #copyMemory = new Memory()
  readonly #copyScan = new HeaderScan(this.#copyMemory)
  #columns: SubCheck = { verdict: 'not checked', missing: COLUMNS_MISSING }
  #live = false
  /** There are no entries: what they say, and whether they are there, is not known. */
  #headersOnly = false
  #report: VerificationReport | null = null

  constructor(options: VerifierOptions = {}) {
    const { sha256 = plainSha256, isUtf8 = decodesAsUtf8, origin = null, canonical_entries: canonicalEntries = false } = options
    const findings = new Findings(options.problems_max ?? PROBLEMS_MAX)
    const ids = new IdChecks(findings, options.ids_max ?? IDS_MAX, options.temporary_space ?? null)
    const signatures = new RecordSignatures(findings, sha256, options.checkRecordSignature ?? null)
    const checks = new RecordChecks(findings, origin, ids, signatures)
    this.#checksSignatures = options.checkRecordSignature !== undefined
    this.#ids = ids
    this.#findings = findings
    this.#checks = checks
    this.#canonicalEntries = canonicalEntries
    this.#check = new LineCheck({ sha256, isUtf8, canonicalEntries })
    const events = {
      placed: (arrival: Arrival, follows: boolean): void => this.#placeCopy(arrival, follows),
      disturbed: (): void => checks.disturb(),
    }
    this.#order = new RecordOrder(findings, events, { seq: -1, hash: ascii(GENESIS), previous: NO_BYTES, place: this.#here })
    this.#record = {
      header: this.#check.header,
      bytes: NO_BYTES,
      memory: this.#check.memory,
      headerStart: 0,
      seq: 0,
      withheld: false,
      own: null,
      signed: null,
      place: this.#here,
      faulty: false,
      follows: true,
    }
  }

  /** The lines that follow are of this file, whose name promises the position of its first record; `null`: they are rows. */
  file(name: string | null, first_seq: number | null): void {
    this.#here.file = name
    this.#promise = first_seq
  }

  /** One line without its line feed: `bytes[start, end)`, at this byte offset of the file, or of this row. */
  line(bytes: Uint8Array, start: number, end: number, position: number): void {
    const check = this.#check
    this.#here.position = position
    check.check(bytes, start, end, this.#seq === -1 ? null : this.#hash)
    const isNext = check.status === 'header' && check.linked && check.seq === this.#seq + 1 && check.fault === null
    if (isNext && this.#order.settled && (this.#promise === null || this.#promise === check.seq)) {
      this.#promise = null
      this.#continue(bytes)
    } else {
      this.#judge(bytes, bytes.subarray(start + 9, start + 9 + HASH_LENGTH))
    }
  }

  /**
   * One header, where that is all there is of a record, as in a published log: `bytes[start, end)`, at this byte offset
   * of the file. `stated`: the hash that it was given, 64 hex digits in ASCII, where that may not be what it hashes to.
   */
  header(bytes: Uint8Array, start: number, end: number, position: number, stated: Uint8Array | null = null): void {
    const check = this.#check
    this.#headersOnly = true
    this.#here.position = position
    check.checkHeader(bytes, start, end, this.#seq === -1 ? null : this.#hash, stated)
    const isNext = check.status === 'header' && check.linked && check.seq === this.#seq + 1 && check.fault === null
    if (isNext && this.#order.settled) this.#continue(bytes)
    else this.#judge(bytes, stated ?? check.hash.bytes)
  }

  /** What stands behind the last line feed: torn (`tail`), cut (`sealed`), or on its way (`live`, also with length 0). */
  unended(position: number, length: number, state: 'live' | 'tail' | 'sealed'): void {
    this.#here.position = position
    if (state === 'live') {
      this.#live = true
      if (length > 0) this.#findings.note('unended_line_of_live_writer', null, `${length} bytes are being written`, this.#here)
      return
    }
    const code = state === 'tail' ? 'torn_tail' : 'unended_segment'
    this.#tellOrder()
    this.#order.unplaced({ code, expected: 'a line feed', found: `${length} bytes without one` }, whereOf(this.#here), [])
  }

  /** What only the store can see. */
  problem(problem: Problem): void {
    const { code, seq, expected, found, where } = problem
    if (code !== 'unreadable') {
      this.#findings.add(code, seq, expected, found, where)
      return
    }
    // It takes a position, as a line that can't be read does.
    this.#tellOrder()
    this.#order.unplaced({ code, expected, found }, where, [])
  }

  /** The store compared its index columns with every record, or says what is missing for that. */
  columnsChecked(missing?: string): void {
    this.#columns = missing === undefined ? { verdict: 'pass' } : { verdict: 'not checked', missing }
  }

  /** The record continues the tail, and nothing is wrong. */
  #continue(bytes: Uint8Array): void {
    const check = this.#check
    const record = this.#record
    record.header = check.header
    record.bytes = bytes
    record.headerStart = check.headerStart
    record.seq = check.seq
    record.withheld = check.withheld
    record.own = this.#own(bytes)
    record.signed = check.signaturesStart === -1 ? null : this.#signed(bytes)
    record.place = this.#here
    record.faulty = false
    record.follows = true
    this.#checks.take(record)
    const hash = check.takeHash(this.#previous)
    this.#previous = this.#hash
    this.#hash = hash
    this.#seq = check.seq
    this.#tailFile = this.#here.file
    this.#tailPosition = this.#here.position
    this.#ahead = true
  }

  #tellOrder(): void {
    if (!this.#ahead) return
    this.#ahead = false
    const place = { file: this.#tailFile, position: this.#tailPosition }
    const previous = this.#seq === 0 ? ascii(GENESIS) : this.#previous.bytes.slice()
    this.#order.moveTail({ seq: this.#seq, hash: this.#hash.bytes.slice(), previous, place })
  }

  /** The line does not simply continue. `stated`: the hash that it says it has. */
  #judge(bytes: Uint8Array, stated: Uint8Array): void {
    const check = this.#check
    const { status, fault } = check
    this.#tellOrder()
    if (status === 'nothing' || status === 'hashes') {
      const computed = check.hash.bytes.slice()
      const hashes = status === 'nothing' ? [] : isLowerHex(stated, 0, HASH_LENGTH) ? [stated.slice(), computed] : [computed]
      this.#promise = null
      this.#order.unplaced(fault!, whereOf(this.#here), hashes)
      return
    }
    const promised = this.#promise === null || this.#promise === check.seq ? null : this.#promise
    this.#promise = null
    this.#order.arrive({
      seq: check.seq,
      previous: bytes.slice(check.previousStart, check.previousEnd),
      hash: check.hash.bytes.slice(),
      header: status === 'newer' ? null : bytes.slice(check.headerStart, check.headerEnd),
      withheld: check.withheld,
      own: status === 'newer' || fault !== null ? null : this.#own(bytes),
      signed: check.signaturesStart === -1 ? null : this.#signed(bytes),
      fault,
      promised,
      place: { ...this.#here },
    })
    if (!this.#order.settled) return
    const { tail } = this.#order
    this.#seq = tail.seq
    if (tail.seq === -1) return
    this.#hash.bytes.set(tail.hash)
    this.#previous.bytes.set(tail.previous)
  }

  #placeCopy(arrival: Arrival, follows: boolean): void {
    const { header, seq, withheld, own, signed, place, fault } = arrival
    if (header === null)
      this.#findings.note('newer_format', seq, 'a record of a newer format: hash and chain are checked, its meaning is not', place)
    else this.#copyScan.scan(header, 0, header.length)
    const record: PlacedRecord = {
      header: header === null ? null : this.#copyScan,
      bytes: header ?? NO_BYTES,
      memory: this.#copyMemory,
      headerStart: 0,
      seq,
      withheld,
      own,
      signed,
      place,
      faulty: fault !== null,
      follows,
    }
    this.#checks.take(record)
  }

  /** The entry of a record of the ledger's own that is read, or null. */
  #own(bytes: Uint8Array): OwnEntry | null {
    const { header, headerStart, entryStart, entryEnd, withheld } = this.#check
    const { starts, ends } = header
    // Nearly every record is of another stream: that is asked first.
    if (ends[KEY.stream]! - starts[KEY.stream]! !== LEDGER_STREAM.length || withheld || this.#headersOnly) return null
    if (!textStandsAt(bytes, headerStart + starts[KEY.stream]!, LEDGER_STREAM)) return null
    const [start, end] = [headerStart + starts[KEY.type]!, headerStart + ends[KEY.type]!]
    const type = OWN_TYPES.find((each) => each.length === end - start && textStandsAt(bytes, start, each))
    if (type === undefined) return null
    // The scan found one JSON object and valid UTF-8, so this can't fail.
    return { type, entry: JSON.parse(decodeText(bytes.subarray(entryStart, entryEnd))) }
  }

  /** The signatures of the record at hand, copied out of its line. */
  #signed(bytes: Uint8Array): SignedRecord | null {
    const { seq, hash, signaturesStart, signaturesEnd } = this.#check
    if (!this.#checksSignatures) return null
    const signatures = asciiText(bytes, signaturesStart, signaturesEnd)
    return { seq, hash: asciiText(hash.bytes, 0, HASH_LENGTH), signatures, place: { ...this.#here } }
  }

  /**
   * What has to be done at the end, in pieces of some ten ms: it is of note where ids were put outside memory. Whoever
   * must not be stopped for long goes through them, and then asks for the report. Nothing can be fed afterwards.
   */
  *settle(): Generator<void, void, undefined> {
    this.#tellOrder()
    this.#order.finish()
    yield* this.#ids.settle()
    this.#findings.settle()
  }

  /** The report. Nothing can be fed afterwards. */
  finish(): VerificationReport {
    this.#report ??= this.#write()
    return this.#report
  }

  #write(): VerificationReport {
    const findings = this.#findings
    for (const piece of this.settle()) void piece
    const { withheld, unsettled, runIds, streams, signatures } = this.#checks.finish(this.#live)
    const integrity = findings.fail('integrity') ? 'fail' : unsettled === null ? 'pass' : 'not checked'
    const authenticity = findings.fail('authenticity') ? 'fail' : 'not checked'
    const { head } = this.#order
    return {
      ok: integrity !== 'fail' && authenticity !== 'fail',
      size: head.seq + 1,
      head: head.seq === -1 ? null : String.fromCharCode(...head.hash),
      origin: this.#checks.origin,
      verdicts: { integrity, authenticity, completeness: 'not checked', time: 'not checked' },
      missing: {
        ...(integrity === 'not checked' && unsettled !== null && { integrity: unsettled }),
        ...(authenticity === 'not checked' && { authenticity: MISSING.authenticity }),
        completeness: MISSING.completeness,
        time: MISSING.time,
      },
      checks: {
        run_ids_unique: runIds,
        stream_versions: streams,
        entries_canonical: this.#canonicalCheck(),
        columns: findings.has('column_mismatch') ? { verdict: 'fail' } : this.#columns,
        signatures: this.#headersOnly ? NO_ENTRIES : signatures,
        ...(this.#headersOnly && { entries: NO_ENTRIES }),
      },
      problems: findings.problems,
      problems_total: findings.total,
      notes: findings.notes,
      withheld,
      recorded: { first: this.#checks.firstRecordedAt, last: this.#checks.lastRecordedAt },
    }
  }

  #canonicalCheck(): SubCheck {
    if (this.#headersOnly) return NO_ENTRIES
    if (!this.#canonicalEntries) return { verdict: 'not checked', missing: CANONICAL_MISSING }
    return { verdict: this.#findings.has('entry_not_canonical') ? 'fail' : 'pass' }
  }
}
