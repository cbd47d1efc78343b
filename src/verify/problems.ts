/** Gathers what a verification finds, within a limit: a ruined ledger of a million lines makes no million objects. */
import { verdictOf } from './report.ts'
import type { Note, Problem, ProblemCode, Verdicts, Where } from './report.ts'

/** Where a line lies: its byte offset in a file, or its row where `file` is null. */
export interface Place {
  readonly file: string | null
  readonly position: number
}

/** What is wrong with a line, before it is known at which position the line stands. */
export interface Fault {
  readonly code: ProblemCode
  readonly expected: string | null
  readonly found: string | null
}

export function whereOf(place: Place): Where {
  return place.file === null ? { row: place.position } : { file: place.file, byte: place.position }
}

export const NOTES_MAX = 100

interface LateProblem {
  readonly problem: Problem
  readonly seq: number
}

export class Findings {
  readonly problems: Problem[] = []
  readonly notes: Note[] = []
  total = 0
  readonly #max: number
  readonly #codes = new Set<ProblemCode>()
  /** Position of the last record whose ids were asked about; and what it was when each problem was found. */
  #mark = -1
  readonly #marks: number[] = []
  #late: LateProblem[] = []
  /** Late problems from this position on are not among the first. */
  #lateBound = Infinity

  constructor(problemsMax: number) {
    this.#max = problemsMax
  }

  /** How many more problems are kept, and not only counted. */
  get room(): number {
    return Math.max(0, this.#max - this.problems.length)
  }

  add(code: ProblemCode, seq: number | null, expected: string | null, found: string | null, where: Where | null): void {
    this.total++
    this.#codes.add(code)
    if (this.problems.length >= this.#max) return
    this.problems.push({ code, seq, expected, found, where })
    this.#marks.push(this.#mark)
  }

  /** From now on the ids of the record at this position are asked about. Positions ascend. */
  mark(seq: number): void {
    this.#mark = seq
  }

  /** A problem of an id of the record at `seq`, found at once, or late: then it takes its place in the order at the end. */
  addOf(code: ProblemCode, seq: number, isLate: boolean, expected: string | null, found: string | null, where: Where | null): void {
    if (!isLate) {
      this.add(code, seq, expected, found, where)
      return
    }
    this.total++
    this.#codes.add(code)
    if (seq >= this.#lateBound) return
    this.#late.push({ problem: { code, seq, expected, found, where }, seq })
    if (this.#late.length >= this.#max * 2) this.#sortLate()
  }

  /** Late problems by position, as many as can be among the first; what came first at one position stays first. */
  #sortLate(): void {
    this.#late.sort((a, b) => a.seq - b.seq)
    this.#late.length = Math.min(this.#late.length, this.#max)
    // At one position, a run_id's problem comes late before a stream's; the bound keeps all of the last position.
    if (this.#late.length === this.#max) this.#lateBound = (this.#late.at(-1)?.seq ?? Infinity) + 1
  }

  /** The late problems go where they would be if they had been found at once. */
  settle(): void {
    if (this.#late.length === 0) return
    this.#sortLate()
    const all: Problem[] = []
    let next = 0
    for (const { problem, seq } of this.#late) {
      // What was found before this record's ids were asked about.
      while (next < this.problems.length && this.#marks[next]! < seq) all.push(this.problems[next++]!)
      all.push(problem)
    }
    all.push(...this.problems.slice(next))
    this.problems.splice(0, this.problems.length, ...all.slice(0, this.#max))
    this.#late = []
  }

  /** Faults that were too many to keep. */
  count(code: ProblemCode, times: number): void {
    this.total += times
    this.#codes.add(code)
  }

  has(...codes: readonly ProblemCode[]): boolean {
    return codes.some((code) => this.#codes.has(code))
  }

  /** True where a problem was found that makes this verdict fail. */
  fail(verdict: keyof Verdicts): boolean {
    return [...this.#codes].some((code) => verdictOf(code) === verdict)
  }

  note(code: Note['code'], seq: number | null, text: string, place: Place | null): void {
    if (this.notes.length < NOTES_MAX) this.notes.push({ code, seq, text, where: place === null ? null : whereOf(place) })
  }
}
