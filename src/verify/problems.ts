/** Gathers what a verification finds, within a limit: a ruined ledger of a million lines makes no million objects. */
import type { Note, Problem, ProblemCode, Where } from './report.ts'

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

const NOTES_MAX = 100

export class Findings {
  readonly problems: Problem[] = []
  readonly notes: Note[] = []
  total = 0
  readonly #max: number
  readonly #codes = new Set<ProblemCode>()

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
    if (this.problems.length < this.#max) this.problems.push({ code, seq, expected, found, where })
  }

  /** Faults that were too many to keep. */
  count(code: ProblemCode, times: number): void {
    this.total += times
    this.#codes.add(code)
  }

  has(...codes: readonly ProblemCode[]): boolean {
    return codes.some((code) => this.#codes.has(code))
  }

  note(code: Note['code'], seq: number | null, text: string, place: Place | null): void {
    if (this.notes.length < NOTES_MAX) this.notes.push({ code, seq, text, where: place === null ? null : whereOf(place) })
  }
}
