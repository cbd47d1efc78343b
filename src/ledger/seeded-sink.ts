/** Hands an audit to a verifier that begins behind the first record of it. */
import type { LedgerVerifier } from '../verify/chain.ts'
import { readSense } from '../verify/record.ts'
import type { Problem } from '../verify/report.ts'
import type { AuditSink } from './store.ts'

export class SeededSink implements AuditSink {
  /** The record behind which the verifier began; null before, and where that could not be. */
  begun: { readonly seq: number; readonly hash: string } | null = null
  recordedAt: string | null = null
  readonly #verifier: LedgerVerifier
  readonly #isPart: boolean
  #isFirst = true
  #file: string | null = null

  /** @param isPart what is before is verified elsewhere, and joined */
  constructor(verifier: LedgerVerifier, isPart: boolean) {
    this.#verifier = verifier
    this.#isPart = isPart
  }

  file(name: string | null, first_seq: number | null): void {
    this.#file = name
    this.#verifier.file(name, this.#isFirst ? null : first_seq)
  }

  line(bytes: Uint8Array, start: number, end: number, position: number): void {
    if (!this.#isFirst) {
      this.#verifier.line(bytes, start, end, position)
      return
    }
    this.#isFirst = false
    const line = bytes.slice(start, end)
    this.begun = this.#verifier.beginBehind(line, this.#isPart)
    // It is sound, so this can't fail.
    if (this.begun !== null) this.recordedAt = readSense(line).header.recorded_at
    this.#verifier.file(this.#file, null)
  }

  unended(position: number, length: number, state: 'live' | 'tail' | 'sealed'): void {
    this.#verifier.unended(position, length, state)
  }

  problem(problem: Problem): void {
    this.#verifier.problem(problem)
  }

  columnsChecked(missing?: string): void {
    this.#verifier.columnsChecked(missing)
  }
}
