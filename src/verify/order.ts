/**
 * Which record stands where. Each record says its position and points back to the one before; where what comes does
 * not continue what came, this finds out what happened, so that one fault is one finding (at most three) at the right
 * place and the rest of the ledger is checked as if nothing had been.
 *
 * - A line that tells no position (unreadable, or not what was hashed) joins a *run*. The next record that fits behind
 *   settles which positions the run takes.
 * - A record that does not continue the last one is a *suspect* until the next record comes. When that continues the
 *   suspect, records are missing before it, or the chain is broken there; when it continues the last one, the suspect
 *   was slipped in; when it is the one after the suspect's place, the suspect stands in the place of another.
 *
 * Findings: removed: 1. Doubled, a copy slipped in, a forged record slipped in: 1. Two neighbours swapped: 2. Any two
 * swapped: 2. A record moved: 2. Two runs of records swapped: 3. A line feed that is another byte: 2 (the line, and
 * the record that went with it). A byte that is a line feed: 2 (both halves).
 */
import { asciiText, sameBytes } from './bytes.ts'
import { whereOf } from './problems.ts'
import type { Fault, Findings, Place } from './problems.ts'
import type { OwnEntry } from './record-checks.ts'
import type { SignedRecord } from './record-signatures.ts'
import type { Where } from './report.ts'

/** A record copied out of its line, to be placed later. */
export interface Arrival {
  readonly seq: number
  /** previous_hash and hash as ASCII. */
  readonly previous: Uint8Array
  readonly hash: Uint8Array
  /** The header's bytes, or null for a record of a newer format. */
  readonly header: Uint8Array | null
  readonly withheld: boolean
  readonly own: OwnEntry | null
  readonly signed: SignedRecord | null
  readonly fault: Fault | null
  /** The position that the segment's name promises for it, where that is not its own. */
  readonly promised: number | null
  readonly place: Place
}

/** The record that the next one has to continue. */
export interface Tail {
  /** -1 before the first. */
  readonly seq: number
  readonly hash: Uint8Array
  /** What its own previous_hash is. */
  readonly previous: Uint8Array
  readonly place: Place
}

const NONE = 0
/** Fits by position, where no hash could be compared. */
const LOOSE = 1
const LINKED = 2
type Fit = typeof NONE | typeof LOOSE | typeof LINKED

const text = (hash: Uint8Array): string => asciiText(hash, 0, hash.length)
const same = (a: Uint8Array, b: Uint8Array): boolean => sameBytes(a, 0, a.length, b, 0, b.length)

interface RunLine {
  readonly fault: Fault
  readonly where: Where | null
}

/** Lines that tell no position, one after the other. */
class Run {
  count = 0
  /** Hashes that the next record may point to, stated and computed, if the last line has any. */
  hashes: readonly Uint8Array[] = []
  readonly #lines: RunLine[] = []

  add(line: RunLine, hashes: readonly Uint8Array[], room: number): void {
    this.count++
    this.hashes = hashes
    if (this.#lines.length < room) this.#lines.push(line)
  }

  /** Reports each line at its position: on from `first`, but none after `last`. */
  report(findings: Findings, first: number, last: number): void {
    for (const [index, { fault, where }] of this.#lines.entries()) {
      findings.add(fault.code, Math.max(first, Math.min(first + index, last)), fault.expected, fault.found, where)
    }
    const rest = this.count - this.#lines.length
    if (rest > 0) findings.count('malformed_record', rest)
  }
}

/** Fits `next` behind `tail`, with lines in between of which `count` may take a position each? */
function fit(tail: Tail, count: number, hashes: readonly Uint8Array[], next: Arrival): Fit {
  const gap = next.seq - tail.seq - 1
  if (gap === 0) return same(next.previous, tail.hash) ? LINKED : NONE
  if (gap < 0 || gap > count) return NONE
  if (gap < count || hashes.length === 0) return LOOSE
  return hashes.some((hash) => same(hash, next.previous)) ? LINKED : NONE
}

export interface OrderEvents {
  /** The record stands in its place, behind all that were placed. `follows`: right behind the last of them. */
  placed(arrival: Arrival, follows: boolean): void
  /** Records are missing here, or not to be trusted. */
  disturbed(): void
}

export class RecordOrder {
  readonly #findings: Findings
  readonly #events: OrderEvents
  #tail: Tail
  /** A tail that was left for a record of a lower position. */
  #aside: Tail
  #run = new Run()
  #suspect: Arrival | null = null
  /** Lines behind the suspect. */
  #runBehind = new Run()

  constructor(findings: Findings, events: OrderEvents, start: Tail) {
    this.#findings = findings
    this.#events = events
    this.#tail = start
    this.#aside = start
  }

  /** True where the next record can be placed by its seq and previous_hash alone. */
  get settled(): boolean {
    return this.#suspect === null && this.#run.count === 0
  }

  /** While settled, a record that continues the tail may be placed without this class, which is then told. */
  moveTail(tail: Tail): void {
    this.#tail = tail
  }

  get tail(): Tail {
    return this.#tail
  }

  /** The record with the highest position that was placed: where the ledger ends. */
  get head(): Tail {
    return this.#aside.seq > this.#tail.seq ? this.#aside : this.#tail
  }

  /** A line that tells no position. `hashes`: what the next record may point to. */
  unplaced(fault: Fault, where: Where | null, hashes: readonly Uint8Array[]): void {
    const run = this.#suspect === null ? this.#run : this.#runBehind
    run.add({ fault, where }, hashes, this.#findings.room)
  }

  arrive(next: Arrival): void {
    const suspect = this.#suspect
    if (suspect === null) {
      if (fit(this.#tail, this.#run.count, this.#run.hashes, next) === NONE) this.#suspect = next
      else this.#place(next)
      return
    }
    this.#judge(suspect, next)
  }

  #judge(suspect: Arrival, next: Arrival): void {
    const [run, behind, tail] = [this.#run, this.#runBehind, this.#tail]
    const withoutSuspect = fit(tail, run.count + behind.count, behind.count > 0 ? behind.hashes : run.hashes, next)
    const withSuspect = fit(suspect, behind.count, behind.hashes, next)
    if (withoutSuspect !== NONE && withoutSuspect >= withSuspect) {
      this.#slippedIn(suspect, next)
    } else if (withSuspect !== NONE) {
      this.#confirm(suspect, true)
      this.#place(next)
    } else if (this.#standsFor(next)) {
      this.#inPlaceOfAnother(suspect, next)
    } else {
      this.#confirm(suspect, false)
      this.arrive(next)
    }
  }

  /** Is `next` the one after the suspect's place? */
  #standsFor(next: Arrival): boolean {
    const gap = next.seq - (this.#tail.seq + 1 + this.#run.count) - 1
    return gap >= 0 && gap <= this.#runBehind.count
  }

  /** The run and `next`, which fits behind it. */
  #place(next: Arrival): void {
    const run = this.#run
    const { seq } = this.#tail
    const gap = next.seq - seq - 1
    const follows = gap === 0
    run.report(this.#findings, seq + 1, next.seq - 1)
    if (!follows) this.#events.disturbed()
    this.#accept(next, follows)
  }

  /** `misplacedAt`: where the file's name is due here, what it promises is missing; else the record is in the wrong file. */
  #accept(next: Arrival, follows: boolean, misplacedAt: number = next.seq): void {
    const { seq, fault, promised, place } = next
    if (promised !== null) this.#findings.add('segment_misplaced', misplacedAt, String(promised), String(seq), whereOf(place))
    if (fault !== null) this.#findings.add(fault.code, seq, fault.expected, fault.found, whereOf(place))
    this.#events.placed(next, follows)
    if (next.seq <= this.#tail.seq) this.#aside = this.head
    this.#tail = next
    this.#run = new Run()
    this.#suspect = null
    this.#runBehind = new Run()
  }

  #slippedIn(suspect: Arrival, next: Arrival): void {
    const { seq } = this.#tail
    const gap = next.seq - seq - 1
    const at = seq + 1 + Math.min(this.#run.count, gap)
    this.#run.report(this.#findings, seq + 1, next.seq - 1)
    this.#reportUnexpected(suspect, at)
    this.#runBehind.report(this.#findings, at, next.seq - 1)
    if (gap > 0) this.#events.disturbed()
    this.#accept(next, gap === 0)
  }

  #inPlaceOfAnother(suspect: Arrival, next: Arrival): void {
    const at = this.#tail.seq + 1 + this.#run.count
    this.#run.report(this.#findings, this.#tail.seq + 1, at - 1)
    this.#reportUnexpected(suspect, at)
    this.#runBehind.report(this.#findings, at + 1, next.seq - 1)
    this.#events.disturbed()
    this.#accept(next, false)
  }

  #reportUnexpected(suspect: Arrival, at: number): void {
    const { seq, previous, place } = suspect
    if (seq === at) this.#findings.add('unexpected_record', at, text(this.#tail.hash), text(previous), whereOf(place))
    else this.#findings.add('unexpected_record', at, String(at), String(seq), whereOf(place))
  }

  /** The suspect stands where it stands, and what is before it is wrong. `continued`: the next record continues it. */
  #confirm(suspect: Arrival, continued: boolean): void {
    const [run, tail] = [this.#run, this.#tail]
    const first = tail.seq + 1
    const gap = suspect.seq - first
    const expected = first + run.count
    const { promised, place } = suspect
    if (gap >= 0 && gap <= run.count) {
      run.report(this.#findings, first, suspect.seq - 1)
      const wanted = gap > 0 ? (run.hashes[0] ?? tail.hash) : tail.hash
      this.#findings.add('chain_broken', suspect.seq, text(wanted), text(suspect.previous), whereOf(place))
    } else {
      run.report(this.#findings, first, expected - 1)
      // A segment in another's place: its name says it all.
      if (promised === null) this.#reportGap(suspect, expected, continued)
    }
    this.#events.disturbed()
    const behind = this.#runBehind
    this.#accept(suspect, false, promised === expected && suspect.seq > expected ? expected : suspect.seq)
    this.#run = behind
  }

  #reportGap(suspect: Arrival, expected: number, continued: boolean): void {
    const tail = this.#tail
    const { seq, place } = suspect
    if (seq > expected) {
      this.#findings.add('missing_records', expected, String(expected), String(seq), whereOf(place))
    } else if (continued && seq === tail.seq && this.#run.count === 0 && same(suspect.previous, tail.previous)) {
      // Both point back to the same record and only this one is continued: the one before it was slipped in.
      this.#findings.add('unexpected_record', tail.seq, text(suspect.hash), text(tail.hash), whereOf(tail.place))
    } else {
      this.#findings.add('unexpected_record', expected, String(expected), String(seq), whereOf(place))
    }
  }

  /** Nothing more comes. */
  finish(): void {
    const suspect = this.#suspect
    if (suspect !== null && suspect.seq <= this.#tail.seq) {
      // A copy, or a record of an earlier place, at the very end: the ledger ends before it.
      const at = this.#tail.seq + 1 + this.#run.count
      this.#run.report(this.#findings, this.#tail.seq + 1, at)
      this.#reportUnexpected(suspect, at)
      this.#runBehind.report(this.#findings, at + 1, Infinity)
      this.#events.disturbed()
    } else {
      if (suspect !== null) this.#confirm(suspect, false)
      if (this.#run.count > 0) this.#events.disturbed()
      this.#run.report(this.#findings, this.#tail.seq + 1, Infinity)
    }
    this.#run = new Run()
    this.#runBehind = new Run()
    this.#suspect = null
  }
}
