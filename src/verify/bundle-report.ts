/** What the check of a bundle says: the four verdicts of every verification, and the problems behind them. */
import type { RecordHeader } from './header.ts'
import type { Verdict, Verdicts } from './report.ts'

/** The closed set of what can be wrong with a bundle: the verdict that it fails, and what it means. */
export const BUNDLE_PROBLEMS = {
  malformed_bundle: { verdict: 'integrity', meaning: 'the file is neither a tlog-proof with a record nor a bundle of several records' },
  malformed_checkpoint: { verdict: 'integrity', meaning: 'what stands where the checkpoint belongs is no signed checkpoint of a ledger' },
  malformed_record: { verdict: 'integrity', meaning: 'the line has not the form of a record' },
  hash_mismatch: { verdict: 'integrity', meaning: 'the header is not what was hashed' },
  entry_mismatch: { verdict: 'integrity', meaning: 'the entry, or its salt, is not what the header commits to' },
  entry_not_canonical: { verdict: 'integrity', meaning: 'the entry is spelled so that two readers may see two different things in it' },
  index_mismatch: { verdict: 'integrity', meaning: 'the record says another position than the one that is proven' },
  not_included: { verdict: 'integrity', meaning: 'the path does not lead from the record to the root that the checkpoint states' },
  chain_broken: { verdict: 'integrity', meaning: 'the record does not follow the record before it' },
  duplicate_run_id: { verdict: 'integrity', meaning: 'two records have the same run_id' },
  wrong_origin: { verdict: 'integrity', meaning: 'record 0 is not that of the ledger that the checkpoint names' },
  checkpoint_invalid: {
    verdict: 'authenticity',
    meaning: 'a signature of the checkpoint by a key that was given is wrong, or there twice',
  },
  not_signed: { verdict: 'authenticity', meaning: 'no key that was given, and is named like the ledger, has signed the checkpoint' },
  quorum_not_met: { verdict: 'time', meaning: 'fewer witnesses than the policy asks for have cosigned the checkpoint' },
  time_contradicted: { verdict: 'time', meaning: 'the record says a time more than 300 s later than witnesses saw it' },
} as const satisfies { readonly [code: string]: { readonly verdict: keyof Verdicts; readonly meaning: string } }

export type BundleProblemCode = keyof typeof BUNDLE_PROBLEMS

/** What each verdict claims of a bundle when it passes, and what it denies when it fails. */
export const BUNDLE_CLAIMS: { readonly [name in keyof Verdicts]: readonly [pass: string, fail: string] } = {
  integrity: [
    'each record is what it was when it was hashed, and is in the ledger under this checkpoint',
    'not every record is what it was, or in the ledger under this checkpoint: see below',
  ],
  authenticity: [
    'the holder of a key that was given has signed this checkpoint',
    'this checkpoint is not what the holder of the key signed',
  ],
  completeness: ['nothing is missing', 'records are missing'],
  time: ['witnesses had seen this checkpoint', 'witnesses do not confirm the time'],
}

export interface BundleProblem {
  readonly code: BundleProblemCode
  /** The position that the bundle gives the record; null where it is about the whole. */
  readonly seq: number | null
  readonly expected: string | null
  readonly found: string | null
}

/** Something worth saying that is no problem. */
export interface BundleNote {
  readonly code: 'newer_format' | 'signatures_not_checked'
  readonly seq: number | null
  readonly text: string
}

export interface BundleSignature {
  readonly name: string
  /** 8 lower-case hex digits. */
  readonly id: string
  /** By a key that was given, and right. The signatures of others are not looked at. */
  readonly verified: boolean
  /** Of the log, or of a witness; null where it is not verified. */
  readonly kind: 'signature' | 'cosignature' | null
  /** When the witness says that it saw the checkpoint. */
  readonly time: string | null
}

export interface BundledRecordReport {
  /** The position that the bundle gives it. */
  readonly index: number
  /** SHA-256(0x00 ‖ header) of the line; null where no header could be told. */
  readonly hash: string | null
  /** Null where it is not what was hashed, breaks a rule, or is of a later version. */
  readonly header: RecordHeader | null
  /** `not checked` where the line is broken, or of a later version. */
  readonly entry: 'disclosed' | 'withheld' | 'not checked'
  /** The entry's exact text, where it is disclosed and is what the header commits to; else null. */
  readonly entry_text: string | null
  readonly problems: readonly BundleProblem[]
}

export interface BundleReport {
  /** No verdict is `fail`. `not checked` is not `fail`: read `missing` to see what was not claimed. */
  readonly ok: boolean
  /** What the checkpoint says; null where there is none that can be read. */
  readonly checkpoint: { readonly origin: string; readonly size: number; readonly root: string } | null
  readonly signatures: readonly BundleSignature[]
  /** The time by which witnesses say that the checkpoint existed. */
  readonly existed_by: string | null
  readonly records: readonly BundledRecordReport[]
  readonly verdicts: Verdicts
  /** For each verdict that is `not checked`: what would be needed. */
  readonly missing: { readonly [verdict in keyof Verdicts]?: string }
  /** The first problems (at most 1000). */
  readonly problems: readonly BundleProblem[]
  readonly problems_total: number
  readonly notes: readonly BundleNote[]
}

const PROBLEMS_MAX = 1000
const NOTES_MAX = 100
const COMPLETENESS = 'the ledger itself: a bundle shows that records are there, not that no others are'

/** What a report is made of besides what was found. */
type Facts = Pick<BundleReport, 'checkpoint' | 'signatures' | 'existed_by' | 'records' | 'missing'>

/** Gathers what is found. */
export class BundleFindings {
  readonly #problems: BundleProblem[] = []
  readonly #notes: BundleNote[] = []
  readonly #failed = new Set<keyof Verdicts>()
  #total = 0

  add(code: BundleProblemCode, seq: number | null, expected: string | null, found: string | null): BundleProblem {
    const problem = { code, seq, expected, found }
    this.#total++
    this.#failed.add(BUNDLE_PROBLEMS[code].verdict)
    if (this.#problems.length < PROBLEMS_MAX) this.#problems.push(problem)
    return problem
  }

  note(code: BundleNote['code'], seq: number | null, text: string): void {
    if (this.#notes.length < NOTES_MAX) this.#notes.push({ code, seq, text })
  }

  report({ missing: needed, ...facts }: Facts): BundleReport {
    const missing = { ...needed, completeness: COMPLETENESS }
    const verdict = (name: keyof Verdicts): Verdict =>
      this.#failed.has(name) ? 'fail' : (missing as BundleReport['missing'])[name] === undefined ? 'pass' : 'not checked'
    const verdicts: Verdicts = {
      integrity: verdict('integrity'),
      authenticity: verdict('authenticity'),
      completeness: verdict('completeness'),
      time: verdict('time'),
    }
    return {
      ok: this.#failed.size === 0,
      ...facts,
      verdicts,
      missing,
      problems: this.#problems,
      problems_total: this.#total,
      notes: this.#notes,
    }
  }
}
