/**
 * Why an entry is not there. A line that withholds its entry does not say; whoever reads it for the ledger knows it from
 * the ledger's own records (src/ledger/retention), and notes it for whoever gets the line.
 */
import { LedgerError } from './errors.ts'

export type WithheldEntry =
  | {
      readonly state: 'erased'
      /** Position of the `EntryErased` that names it. */
      readonly erased_by: number
    }
  | {
      readonly state: 'archived'
      readonly tier: 'warm' | 'cold'
      readonly file: string
      /** Null: beside the ledger itself. */
      readonly location: string | null
      /** Why it was not read from there; null where nobody tried. */
      readonly fault: string | null
    }

/** By the line's bytes, as they were handed out: it ends with them, and a copy of them knows nothing. */
const noted = new WeakMap<Uint8Array, WithheldEntry>()

export function noteWithheld(line: Uint8Array, why: WithheldEntry): void {
  noted.set(line, why)
}

/** Null where the entry is there, or nobody knows. */
export function withheldOf(line: Uint8Array): WithheldEntry | null {
  return noted.get(line) ?? null
}

/** What whoever needs the data of such a record is told. @param hint what else may be done, as the end of a sentence */
export function withheldError(seq: number, why: WithheldEntry | null, hint = ''): LedgerError {
  const end = hint === '' ? '' : `; ${hint}`
  const record = `the record at position ${seq}`
  if (why === null) return new LedgerError('not_found', `the data of ${record} are withheld: erased, or archived elsewhere${end}`, { seq })
  if (why.state === 'erased') {
    const { erased_by } = why
    return new LedgerError('erased', `the data of ${record} were erased, as the record at position ${erased_by} says${end}`, {
      seq,
      erased_by,
    })
  }
  const { tier, file, location, fault } = why
  const place = location === null ? file : `${file} in ${location}`
  const what = fault === null ? 'restore it, or open the ledger with this archive and readThrough (--archive)' : fault
  return new LedgerError('archived', `the data of ${record} are archived in ${place}: ${what}${end}`, { seq, tier, file, location })
}
