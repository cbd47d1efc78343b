/**
 * Verifies a ledger line by line, in bounded memory: integrity, and what was not claimed. It never throws on data and
 * goes on after every problem. Source: docs/format.md, "Verification".
 * Where the time goes, and what was tried to save it: docs/performance.md.
 */
import { ascii, asciiText, Digest, isLowerHex, Memory } from './bytes.ts'
import { CheckpointWatch } from './checkpoint-watch.ts'
import type { LedgerFacts } from './checkpoint-watch.ts'
import { sha256 as plainSha256 } from './hash.ts'
import { HeaderScan } from './header-scan.ts'
import { GENESIS } from './header.ts'
import { IdChecks } from './id-checks.ts'
import type { IdSpaces } from './id-checks.ts'
import { LineCheck } from './line-check.ts'
import { RecordOrder } from './order.ts'
import type { Arrival } from './order.ts'
import { readOwnEntry } from './own-entry.ts'
import type { LedgerPart } from './part.ts'
import { Findings, whereOf } from './problems.ts'
import { RecordChecks } from './record-checks.ts'
import type { PlacedRecord } from './record-checks.ts'
import { RecordSignatures } from './record-signatures.ts'
import type { SignedRecord } from './record-signatures.ts'
import type { Problem, SubCheck, VerificationReport } from './report.ts'
import { isUtf8 as decodesAsUtf8 } from './text.ts'
import type { VerifierOptions } from './verifier-options.ts'
import { writeReport } from './write-report.ts'

const PROBLEMS_MAX = 1000
const IDS_MAX = 2_000_000
const HASH_LENGTH = 64
const NO_BYTES = new Uint8Array(0)

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
  /** Null where no checkpoint is to be judged. */
  readonly #watch: CheckpointWatch | null
  /** `hash` of the record behind which this began. */
  #before = ''
  #columns: SubCheck = { verdict: 'not checked', missing: COLUMNS_MISSING }
  #live = false
  /** There are no entries: what they say, and whether they are there, is not known. */
  #headersOnly = false
  #report: VerificationReport | null = null

  constructor(options: VerifierOptions = {}) {
    const { sha256 = plainSha256, isUtf8 = decodesAsUtf8, origin = null, canonical_entries: canonicalEntries = false } = options
    const findings = new Findings(options.problems_max ?? PROBLEMS_MAX)
    const ids = new IdChecks(findings, {
      ids_max: options.ids_max ?? IDS_MAX,
      space: options.temporary_space ?? null,
      seed: options.ids_seed,
    })
    const signatures = new RecordSignatures(findings, sha256, options.checkRecordSignature ?? null)
    const checks = new RecordChecks(findings, origin, ids, signatures)
    this.#checksSignatures = options.checkRecordSignature !== undefined
    this.#ids = ids
    this.#findings = findings
    this.#checks = checks
    this.#canonicalEntries = canonicalEntries
    const { root_sizes: sizes } = options
    this.#watch = sizes === undefined ? null : new CheckpointWatch(sha256, sizes, () => checks.lastRecordedAt)
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

  /**
   * Begins behind this record, whose line is given, instead of at the beginning. `isPart`: what is before it is verified
   * elsewhere, and `join`ed with this; else nobody looks at it here, and checks of ids say that. Returns the record's
   * position and hash; null where it is not sound by itself.
   */
  beginBehind(line: Uint8Array, isPart: boolean): { readonly seq: number; readonly hash: string } | null {
    const check = this.#check
    check.check(line, 0, line.length, this.#hash)
    if (check.status !== 'header' || check.fault !== null) return null
    const { seq } = check
    this.#fill(line)
    this.#checks.begin(this.#record, isPart)
    if (isPart) this.#ids.leaveMemory()
    this.#previous.bytes.set(line.subarray(check.previousStart, Math.min(check.previousEnd, check.previousStart + HASH_LENGTH)))
    this.#hash = check.takeHash(this.#hash)
    this.#seq = seq
    this.#ahead = true
    this.#before = asciiText(this.#hash.bytes, 0, HASH_LENGTH)
    this.#watch?.begin(seq + 1)
    return { seq, hash: this.#before }
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
    this.#fill(bytes)
    record.own = readOwnEntry(check, bytes)
    this.#checks.take(record)
    this.#watch?.take(check.seq, check.hash.bytes, false)
    this.#watch?.takeOwn(record.own, check.seq)
    const hash = check.takeHash(this.#previous)
    this.#previous = this.#hash
    this.#hash = hash
    this.#seq = check.seq
    this.#tailFile = this.#here.file
    this.#tailPosition = this.#here.position
    this.#ahead = true
  }

  /** The line at hand is a record that follows. */
  #fill(bytes: Uint8Array): void {
    const check = this.#check
    const record = this.#record
    record.header = check.header
    record.bytes = bytes
    record.headerStart = check.headerStart
    record.seq = check.seq
    record.withheld = check.withheld
    record.own = null
    record.signed = check.signaturesStart === -1 ? null : this.#signed(bytes)
    record.place = this.#here
    record.faulty = false
    record.follows = true
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
      own: status === 'newer' || fault !== null ? null : readOwnEntry(check, bytes),
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
    this.#watch?.take(seq, arrival.hash, fault !== null && fault.code !== 'entry_not_canonical')
    this.#watch?.takeOwn(own, seq)
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

  /** False where anything is wrong so far, or is of a kind that keeps parts from being joined. */
  get isClean(): boolean {
    return this.#findings.total === 0 && this.#order.settled && this.#checks.isClean && this.#watch?.isOverflown !== true
  }

  /** What this verifier found, which began behind another part; null where that can't be joined. Nothing can be fed afterwards. */
  part(): LedgerPart | null {
    this.#tellOrder()
    this.#order.finish()
    const ids = this.#ids.seal()
    const records = this.#checks.part()
    if (!this.isClean || ids === null || this.#before === '' || (records.append_last_seq !== null && !this.#live)) return null
    return {
      start: this.#checks.start,
      before: this.#before,
      size: this.#seq + 1,
      head: asciiText(this.#hash.bytes, 0, HASH_LENGTH),
      records,
      ids,
      watched: this.#watch?.part() ?? null,
      notes: this.#findings.notes,
      columns: this.#columns,
      live: this.#live,
    }
  }

  /**
   * Takes what another verifier found in the records behind those that were fed here, instead of them. False where the
   * two don't fit together exactly: then all has to be fed to one. @param spaces where that one put its ids
   */
  join(part: LedgerPart, spaces: IdSpaces): boolean {
    this.#tellOrder()
    if (!this.isClean || this.#seq !== part.start - 1 || asciiText(this.#hash.bytes, 0, HASH_LENGTH) !== part.before) return false
    if (part.size > part.start && !this.#checks.absorb(part.records, part.size - 1, part.notes)) return false
    this.#ids.absorb(spaces, part.ids)
    if (part.watched !== null && this.#watch?.absorb(part.watched) !== true) return false
    const tail = { seq: part.size - 1, hash: ascii(part.head), previous: NO_BYTES, place: { file: null, position: 0 } }
    this.#order.moveTail(tail)
    this.#columns = part.columns
    this.#live = part.live
    return true
  }

  /**
   * What checkpoints are judged by. After `finish`, and where `root_sizes` were given.
   * @param before the hashes of the perfect subtrees in front of the first record (`rangeNodes`), where it began behind one
   */
  facts(before: readonly Uint8Array[] = []): LedgerFacts | null {
    return this.#watch?.facts(before) ?? null
  }

  /** The report. Nothing can be fed afterwards. */
  finish(): VerificationReport {
    this.#report ??= this.#write()
    return this.#report
  }

  #write(): VerificationReport {
    for (const piece of this.settle()) void piece
    return writeReport({
      findings: this.#findings,
      checks: this.#checks,
      head: this.#order.head,
      columns: this.#columns,
      live: this.#live,
      canonicalEntries: this.#canonicalEntries,
      headersOnly: this.#headersOnly,
    })
  }
}
