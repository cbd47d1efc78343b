/**
 * Verifies some of a ledger's records, as an archive file keeps them: in the order of position, with positions left out.
 * Each record by itself, as in a ledger; and where two neighbours are there, that the one points back to the other. What
 * is left out can't be told from what was taken away: that is for the ledger's own records to say. It never throws on data.
 * Source: docs/format.md, "Some records of a ledger".
 */
import { asciiText, Digest } from './bytes.ts'
import { sha256 as plainSha256 } from './hash.ts'
import { KEY } from './header-grammar.ts'
import { GENESIS } from './header.ts'
import { LineCheck } from './line-check.ts'
import { Findings, whereOf } from './problems.ts'
import type { Place } from './problems.ts'
import { readSense } from './record.ts'
import type { Problem, SubCheck, VerificationReport } from './report.ts'
import { isUtf8 as decodesAsUtf8 } from './text.ts'
import type { VerifierOptions } from './verifier-options.ts'

const PROBLEMS_MAX = 1000
const HASH_LENGTH = 64
const TIME_LENGTH = 27

const THE_LEDGER = 'the ledger, of which this file has some records'
const MISSING = {
  authenticity: `${THE_LEDGER}: what is signed is the root of all of them`,
  completeness: `${THE_LEDGER}: whether any are missing here is in its own records`,
  time: `${THE_LEDGER}: what witnesses saw is the root of all of them`,
} as const
const NOT_HERE: SubCheck = { verdict: 'not checked', missing: THE_LEDGER }

export type ExcerptOptions = Pick<VerifierOptions, 'sha256' | 'isUtf8' | 'origin' | 'canonical_entries' | 'problems_max'>

/** Takes lines in their order, then gives the report. The shape of `AuditSink`, as `LedgerVerifier` has it. */
export class ExcerptVerifier {
  readonly #findings: Findings
  readonly #check: LineCheck
  readonly #origin: string | null
  readonly #canonicalEntries: boolean
  readonly #here: { file: string | null; position: number } = { file: null, position: 0 }
  #hash = new Digest()
  #spare = new Digest()
  /** Of the last record that stands where it may; -1 before the first. */
  #seq = -1
  #first = -1
  /** False where something that can't be read stands between the last record and what comes. */
  #isNeighbour = true
  #records = 0
  #runs = 0
  #withheld = 0
  #newer = 0
  #actor: string | null = null
  #firstRecordedAt: string | null = null
  #lastRecordedAt: string | null = null
  #columns: SubCheck = { verdict: 'not checked', missing: 'a table of positions' }

  constructor(options: ExcerptOptions = {}) {
    const { sha256 = plainSha256, isUtf8 = decodesAsUtf8, origin = null, canonical_entries: canonicalEntries = false } = options
    this.#findings = new Findings(options.problems_max ?? PROBLEMS_MAX)
    this.#check = new LineCheck({ sha256, isUtf8, canonicalEntries })
    this.#origin = origin
    this.#canonicalEntries = canonicalEntries
  }

  /** The lines that follow are of this file. */
  file(name: string | null): void {
    this.#here.file = name
  }

  /** One line without its line feed: `bytes[start, end)`, at this byte offset of the file. */
  line(bytes: Uint8Array, start: number, end: number, position: number): void {
    const check = this.#check
    this.#here.position = position
    check.check(bytes, start, end, this.#seq === -1 ? null : this.#hash)
    const { fault, status, seq } = check
    const isRecord = status === 'header' || status === 'newer'
    if (fault !== null) this.#findings.add(fault.code, isRecord ? seq : null, fault.expected, fault.found, whereOf(this.#here))
    if (isRecord) this.#place(bytes, start, end)
    else this.#isNeighbour = false
  }

  /** What stands behind the last line feed. */
  unended(position: number, length: number): void {
    const place: Place = { file: this.#here.file, position }
    this.#findings.add('unended_segment', null, 'a line feed', `${length} bytes without one`, whereOf(place))
  }

  /** What only whoever reads the file can see. */
  problem({ code, seq, expected, found, where }: Problem): void {
    if (code === 'unreadable') this.#isNeighbour = false
    this.#findings.add(code, seq, expected, found, where)
  }

  /** The table of the file was compared with its lines, or says what is missing for that. */
  columnsChecked(missing?: string): void {
    this.#columns = missing === undefined ? { verdict: 'pass' } : { verdict: 'not checked', missing }
  }

  #place(bytes: Uint8Array, start: number, end: number): void {
    const check = this.#check
    const { seq, status } = check
    if (seq <= this.#seq) {
      this.#findings.add('unexpected_record', seq, `a position above ${this.#seq}`, `position ${seq}`, whereOf(this.#here))
      return
    }
    // Before record 0 there is nothing, and it says so.
    const isBound = seq === 0 || (seq === this.#seq + 1 && this.#seq !== -1 && this.#isNeighbour)
    if (isBound && !this.#pointsBack(bytes)) {
      const expected = seq === 0 ? GENESIS : asciiText(this.#hash.bytes, 0, HASH_LENGTH)
      const found = asciiText(bytes, check.previousStart, Math.min(check.previousEnd, check.previousStart + HASH_LENGTH))
      this.#findings.add('chain_broken', seq, expected, found, whereOf(this.#here))
    }
    if (seq !== this.#seq + 1 || this.#records === 0) this.#runs++
    if (this.#records++ === 0) this.#first = seq
    if (status === 'newer') this.#newer++
    else this.#takeHeader(bytes, start, end)
    const hash = check.takeHash(this.#spare)
    this.#spare = this.#hash
    this.#hash = hash
    this.#seq = seq
    this.#isNeighbour = true
  }

  #pointsBack(bytes: Uint8Array): boolean {
    const { previousStart, previousEnd, seq } = this.#check
    const expected = seq === 0 ? GENESIS : asciiText(this.#hash.bytes, 0, HASH_LENGTH)
    return previousEnd - previousStart === expected.length && asciiText(bytes, previousStart, previousEnd) === expected
  }

  #takeHeader(bytes: Uint8Array, start: number, end: number): void {
    const { header, headerStart, withheld, seq, fault } = this.#check
    const at = headerStart + header.starts[KEY.recorded_at]!
    this.#lastRecordedAt = asciiText(bytes, at, at + TIME_LENGTH)
    this.#firstRecordedAt ??= this.#lastRecordedAt
    if (withheld) this.#withheld++
    if (seq === 0 && fault === null) this.#checkOrigin(bytes.slice(start, end))
  }

  #checkOrigin(line: Uint8Array): void {
    const { actor, type } = readSense(line).header
    this.#actor = actor
    if (type !== 'LedgerCreated') this.#findings.add('wrong_origin', 0, 'LedgerCreated', type, whereOf(this.#here))
  }

  /** The report. Nothing can be fed afterwards. */
  finish(): VerificationReport {
    const findings = this.#findings
    if (this.#origin !== null && this.#actor !== this.#origin)
      findings.add('wrong_origin', 0, this.#origin, this.#actor ?? 'no record 0, which names it, in this file', null)
    this.#note()
    const failed = findings.fail('integrity')
    const canonical: SubCheck = this.#canonicalEntries
      ? { verdict: findings.has('entry_not_canonical') ? 'fail' : 'pass' }
      : { verdict: 'not checked', missing: 'to ask for it (canonical entries)' }
    return {
      ok: !failed,
      from: Math.max(0, this.#first),
      size: this.#seq + 1,
      head: this.#seq === -1 ? null : asciiText(this.#hash.bytes, 0, HASH_LENGTH),
      root: null,
      origin: this.#actor,
      verdicts: { integrity: failed ? 'fail' : 'pass', authenticity: 'not checked', completeness: 'not checked', time: 'not checked' },
      missing: MISSING,
      claims: { authentic: null, complete: null, existed: null },
      checkpoint: null,
      excerpt: { records: this.#records, runs: this.#runs, withheld: this.#withheld },
      checks: {
        run_ids_unique: NOT_HERE,
        stream_versions: NOT_HERE,
        entries_canonical: canonical,
        columns: findings.has('column_mismatch') ? { verdict: 'fail' } : this.#columns,
        signatures: { verdict: 'not checked', missing: `${THE_LEDGER}: which keys were right when is in its own records` },
      },
      problems: findings.problems,
      problems_total: findings.total,
      notes: findings.notes,
      withheld: { erased: 0, archived: 0, unnamed: 0, pending: 0 },
      recorded: { first: this.#firstRecordedAt, last: this.#lastRecordedAt },
    }
  }

  #note(): void {
    const runs = this.#runs === 1 ? 'one after the other' : `in ${this.#runs} runs, between which nothing binds them to each other`
    const bare = this.#withheld === 0 ? '' : `; ${this.#withheld} without their entries: what erased them is in the ledger`
    this.#findings.note(
      'excerpt',
      Math.max(0, this.#first),
      `some records of a ledger, ${this.#records} of the positions ${Math.max(0, this.#first)} to ${this.#seq}, ${runs}${bare}`,
      null,
    )
    if (this.#newer > 0)
      this.#findings.note(
        'newer_format',
        null,
        `${this.#newer} records are of a newer format: their hashes are checked, their meaning is not`,
        null,
      )
  }
}
