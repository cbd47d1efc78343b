/**
 * The one place that knows all stores: where a ledger lies decides what keeps it. Above the ledger and the stores,
 * below the command line (docs/decisions/0006).
 */
import { LedgerError } from './ledger/errors.ts'
import { ledgerParts, requireOrigin, requireTreeMode } from './ledger/founding.ts'
import type { LedgerOptions } from './ledger/founding.ts'
import { readEvidence } from './ledger/evidence.ts'
import { Ledger } from './ledger/ledger.ts'
import type { Store } from './ledger/store.ts'
import { auditLocation } from './open-audit.ts'
import type { LocationAuditOptions } from './open-audit.ts'
import { openStore } from './open-store.ts'
import type { StoreOptions } from './open-store.ts'
import { LedgerVerifier } from './verify/chain.ts'
import type { VerificationReport } from './verify/report.ts'

export interface OpenOptions extends LedgerOptions, StoreOptions {
  /** There must be nothing yet: what `init` asks for. */
  readonly mustCreate?: boolean | undefined
  /**
   * The full-text index. `on-demand`, unless said: made by the first query for words, and kept up from then on.
   * `background`: kept up from the start. `off`: neither made nor asked. Appends never wait for it.
   */
  readonly fullText?: 'on-demand' | 'background' | 'off' | undefined
}

/** @throws RangeError */
function requireFullText(mode: unknown): void {
  if (mode !== undefined && mode !== 'on-demand' && mode !== 'background' && mode !== 'off')
    throw new RangeError(`fullText must be on-demand, background or off, not ${JSON.stringify(mode)}`)
}

/** The flight recorder: an append-only ledger of agent calls and events that proves itself. */
export class AuditLedger extends Ledger {
  /**
   * Opens the ledger at a path or URL, and makes a new one where nothing is.
   * @throws LedgerError `not_found` | `not_a_ledger` | `already_exists` | `locked` | `read_only` | `damaged` | `newer_format` | `key_error` | `unsupported` | `io_error`
   */
  static async open(location: string | URL, options: OpenOptions = {}): Promise<AuditLedger> {
    requireOrigin(options.origin)
    requireFullText(options.fullText)
    requireTreeMode(options.tree)
    const store = await openStore(location, options)
    const parts = await ledgerParts(store, options, options.mustCreate ?? false)
    const { textIndexFor } = await import('./open-text.ts')
    const text = textIndexFor(location, store, options)
    if (!store.readOnly) text.follow(1)
    return new AuditLedger({ ...parts, text })
  }
}

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
