import { LedgerVerifier } from '../verify/chain.ts'
import type { VerificationReport } from '../verify/report.ts'
import { nodeHashing } from './hashing.ts'
import type { AuditSink, Store } from './store.ts'

export interface AuditOptions {
  readonly origin?: string | undefined
  /** Also check that every entry's bytes are canonical JSON: at the speed of a JSON parser. */
  readonly canonicalEntries?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  /** Hears now and then how many lines have been checked. */
  readonly onProgress?: ((lines: number) => void) | undefined
}

/** Lines between two calls of `onProgress`: some milliseconds of work. */
const PROGRESS_EVERY = 1000

/** Hands all on, and counts. */
function counting(sink: AuditSink, onProgress: (lines: number) => void): AuditSink {
  let lines = 0
  return {
    file: (name, first_seq) => sink.file(name, first_seq),
    line: (bytes, start, end, position) => {
      sink.line(bytes, start, end, position)
      if (++lines % PROGRESS_EVERY === 0) onProgress(lines)
    },
    unended: (position, length, state) => sink.unended(position, length, state),
    problem: (problem) => sink.problem(problem),
    columnsChecked: (missing) => sink.columnsChecked(missing),
  }
}

/** Verifies all that a store holds. */
export async function auditStore(store: Store, options: AuditOptions): Promise<VerificationReport> {
  const verifier = new LedgerVerifier({
    ...nodeHashing,
    ...(options.origin === undefined ? {} : { origin: options.origin }),
    canonical_entries: options.canonicalEntries ?? false,
  })
  const sink = options.onProgress === undefined ? verifier : counting(verifier, options.onProgress)
  await store.audit(sink, options.signal)
  return verifier.finish()
}
