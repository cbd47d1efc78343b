/** Verifying the ledger at a location: apart from `open.ts`, so that whoever only records loads nothing of it. */
import { LedgerError } from './ledger/errors.ts'
import { readEvidence } from './ledger/evidence.ts'
import type { Store } from './ledger/store.ts'
import { auditLocation } from './open-audit.ts'
import type { LocationAuditOptions } from './open-audit.ts'
import { openStore } from './open-store.ts'
import { LedgerVerifier } from './verify/chain.ts'
import type { VerificationReport } from './verify/report.ts'

export type VerifyOptions = LocationAuditOptions

/**
 * Verifies the ledger at a path or URL without writing anything: also one that is too damaged to be opened, and one
 * exported JSONL file.
 * @throws LedgerError `not_found` | `unsupported` | `io_error` where there is nothing to look at
 * @throws RangeError for a key or a checkpoint that is none
 */
export async function verifyLedger(location: string | URL, options: VerifyOptions = {}): Promise<VerificationReport> {
  // Misuse is told before anything is opened.
  const { since } = readEvidence(options)
  if (options.onlySince === true && since.length === 0) throw new RangeError('onlySince needs a checkpoint from before (since)')
  let store: Store
  try {
    store = await openStore(location, { readOnly: true, index: 'off', driver: options.driver })
  } catch (error) {
    if (!(error instanceof LedgerError) || (error.code !== 'damaged' && error.code !== 'not_a_ledger')) throw error
    // Something is there and it is no ledger any more: that is a finding, not a failure to look.
    const verifier = new LedgerVerifier({})
    verifier.problem({ code: 'unreadable', seq: null, expected: 'a ledger', found: error.message, where: null })
    return verifier.finish()
  }
  try {
    return await auditLocation(location instanceof URL ? location.href : location, store, options)
  } finally {
    await store.close()
  }
}
