import { tmpdir } from 'node:os'
import { setImmediate as turnOfTheLoop } from 'node:timers/promises'
import { LedgerVerifier } from '../verify/chain.ts'
import type { VerificationReport } from '../verify/report.ts'
import { nodeHashing } from './hashing.ts'
import { checkRecordSignature } from './signature-check.ts'
import type { AuditSink, Store } from './store.ts'
import { TemporaryFile } from './temporary-file.ts'

export interface AuditOptions {
  readonly origin?: string | undefined
  /** Also check that every entry's bytes are canonical JSON. */
  readonly canonicalEntries?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  /** Hears now and then how many lines have been checked. */
  readonly onProgress?: ((lines: number) => void) | undefined
  /**
   * Where the ids of a large ledger are put until the end, some 120 bytes a record, in files that are gone afterwards,
   * whatever happens; the system's folder for such things unless said. Where there is no room, what needs the ids is
   * `not checked`, and the report says why.
   */
  readonly temporaryFolder?: string | undefined
  /** Ids that are kept in memory before that; 100,000 unless said, of about 60 bytes each. */
  readonly idsInMemory?: number | undefined
}

/** More of them in memory would save little: those outside are looked at as fast. */
export const IDS_IN_MEMORY = 100_000

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
  const files: TemporaryFile[] = []
  const verifier = new LedgerVerifier({
    ...nodeHashing,
    checkRecordSignature,
    ...(options.origin === undefined ? {} : { origin: options.origin }),
    canonical_entries: options.canonicalEntries ?? false,
    ids_max: options.idsInMemory ?? IDS_IN_MEMORY,
    temporary_space: () => {
      const file = new TemporaryFile(options.temporaryFolder ?? tmpdir())
      files.push(file)
      return file
    },
  })
  const sink = options.onProgress === undefined ? verifier : counting(verifier, options.onProgress)
  try {
    await store.audit(sink, options.signal)
    for (const piece of verifier.settle()) {
      options.signal?.throwIfAborted()
      await turnOfTheLoop(piece)
    }
    return verifier.finish()
  } finally {
    for (const file of files) file.close()
  }
}
