/** From what was found to the report. */
import type { Tail } from './order.ts'
import type { Findings } from './problems.ts'
import type { RecordChecks } from './record-checks.ts'
import type { SubCheck, VerificationReport } from './report.ts'

const MISSING = {
  authenticity: 'a public key from outside, and a checkpoint or records that are signed with it',
  completeness:
    "a checkpoint remembered from before, or witnesses' cosignatures: a bare chain can't detect a cut tail or a ledger rewritten whole",
  time: 'a cosignature that says when, or a timestamp token',
} as const
const CANONICAL_MISSING = 'to ask for it (canonical entries)'
const NO_ENTRIES: SubCheck = { verdict: 'not checked', missing: 'the ledger itself: there are only headers here' }
const NO_CLAIMS = { authentic: null, complete: null, existed: null } as const

/** All that was found, once nothing more comes. */
export interface Found {
  readonly findings: Findings
  readonly checks: RecordChecks
  /** Where the ledger ends. */
  readonly head: Tail
  readonly columns: SubCheck
  /** A writer is at work at its end. */
  readonly live: boolean
  readonly canonicalEntries: boolean
  /** There were no entries: what they say, and whether they are there, is not known. */
  readonly headersOnly: boolean
}

export function writeReport({ findings, checks, head, columns, live, canonicalEntries, headersOnly }: Found): VerificationReport {
  const { withheld, unsettled, runIds, streams, signatures } = checks.finish(live)
  const integrity = findings.fail('integrity') ? 'fail' : unsettled === null ? 'pass' : 'not checked'
  const authenticity = findings.fail('authenticity') ? 'fail' : 'not checked'
  return {
    ok: integrity !== 'fail' && authenticity !== 'fail',
    size: head.seq + 1,
    head: head.seq === -1 ? null : String.fromCharCode(...head.hash),
    origin: checks.origin,
    verdicts: { integrity, authenticity, completeness: 'not checked', time: 'not checked' },
    missing: {
      ...(integrity === 'not checked' && unsettled !== null && { integrity: unsettled }),
      ...(authenticity === 'not checked' && { authenticity: MISSING.authenticity }),
      completeness: MISSING.completeness,
      time: MISSING.time,
    },
    claims: NO_CLAIMS,
    checkpoint: null,
    root: null,
    from: checks.start,
    checks: {
      run_ids_unique: runIds,
      stream_versions: streams,
      entries_canonical: headersOnly ? NO_ENTRIES : canonicalCheck(findings, canonicalEntries),
      columns: findings.has('column_mismatch') ? { verdict: 'fail' } : columns,
      signatures: headersOnly ? NO_ENTRIES : signatures,
      ...(headersOnly && { entries: NO_ENTRIES }),
    },
    problems: findings.problems,
    problems_total: findings.total,
    notes: findings.notes,
    withheld,
    recorded: { first: checks.firstRecordedAt, last: checks.lastRecordedAt },
  }
}

function canonicalCheck(findings: Findings, isAsked: boolean): SubCheck {
  if (!isAsked) return { verdict: 'not checked', missing: CANONICAL_MISSING }
  return { verdict: findings.has('entry_not_canonical') ? 'fail' : 'pass' }
}
