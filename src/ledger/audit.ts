import { LedgerVerifier } from '../verify/chain.ts'
import type { VerificationReport } from '../verify/report.ts'
import { nodeHashing } from './hashing.ts'
import type { Store } from './store.ts'

export interface AuditOptions {
  readonly origin?: string | undefined
  /** Also check that every entry's bytes are canonical JSON: at the speed of a JSON parser. */
  readonly canonicalEntries?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

/** Verifies all that a store holds. */
export async function auditStore(store: Store, options: AuditOptions): Promise<VerificationReport> {
  const verifier = new LedgerVerifier({
    ...nodeHashing,
    ...(options.origin === undefined ? {} : { origin: options.origin }),
    canonical_entries: options.canonicalEntries ?? false,
  })
  await store.audit(verifier, options.signal)
  return verifier.finish()
}
