/** Verifying what a store holds: every record, and what is claimed of them. */
import { tmpdir } from 'node:os'
import { setImmediate as turnOfTheLoop } from 'node:timers/promises'
import { LedgerVerifier } from '../verify/chain.ts'
import type { LedgerFacts } from '../verify/checkpoint-watch.ts'
import { judgeClaims, sizesNotFound, sizesOf } from '../verify/claims.ts'
import type { ClaimEvidence } from '../verify/claims.ts'
import type { VerificationReport } from '../verify/report.ts'
import { LedgerError } from './errors.ts'
import { gatherEvidence, readEvidence } from './evidence.ts'
import type { EvidenceOptions } from './evidence.ts'
import { nodeHashing } from './hashing.ts'
import { withArchivesNotRead } from './retention/audit-archives.ts'
import { isTiered } from './retention/tiered-store.ts'
import { checkRecordSignature } from './signature-check.ts'
import type { AuditSink, Selection, Store } from './store.ts'
import { TemporaryFile } from './temporary-file.ts'

export interface AuditOptions extends EvidenceOptions {
  readonly origin?: string | undefined
  /** Also check that every entry's bytes are canonical JSON. */
  readonly canonicalEntries?: boolean | undefined
  /** Also open every encrypted entry; the ledger was opened with its master key. */
  readonly decrypt?: boolean | undefined
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
export function counting(sink: AuditSink, onProgress: (lines: number) => void): AuditSink {
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

/** One pass over the records: what they say by themselves, and what checkpoints are judged by where there are any. */
export interface Pass {
  readonly report: VerificationReport
  readonly facts: LedgerFacts | null
}

/** A verifier with room outside memory, which `close` clears away. */
export interface Verification {
  readonly verifier: LedgerVerifier
  /** The room that was made, in the order in which it was. */
  readonly files: readonly TemporaryFile[]
  readonly close: () => void
}

/** @param sizes at which the tree's root is wanted; null: nobody asks for it @param seed of the ids, where parts are joined */
export function openVerification(options: AuditOptions, sizes: readonly number[] | null, seed?: number): Verification {
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
    ...(sizes === null ? {} : { root_sizes: sizes }),
    ...(seed === undefined ? {} : { ids_seed: seed }),
  })
  return { verifier, files, close: () => files.forEach((file) => file.close()) }
}

/** What is left to do at the end, in pieces between which others have their turn. */
export async function settled(verifier: LedgerVerifier, signal: AbortSignal | undefined): Promise<VerificationReport> {
  for (const piece of verifier.settle()) {
    signal?.throwIfAborted()
    await turnOfTheLoop(piece)
  }
  return verifier.finish()
}

/** Restoring is over soon; a finding that stays is one. */
const PASSES_MAX = 3

/** All records, on this thread. */
export async function auditOnce(store: Store, options: AuditOptions, sizes: readonly number[] | null): Promise<Pass> {
  for (let pass = 1; ; pass++) {
    const size = await sizeOf(store)
    const found = await onePass(store, options, sizes)
    if (pass === PASSES_MAX || !(await isOvertaken(store, found.report, size))) return found
  }
}

async function sizeOf(store: Store): Promise<number> {
  try {
    return (await store.state({ streams: [], run_ids: [] })).head.size
  } catch (error) {
    if (error instanceof LedgerError) return Infinity
    throw error
  }
}

/**
 * Where a store has no view of one moment, an entry can be seen withheld and then, at the end, the record that says that
 * it was put back: nothing is wrong, and another look finds it so.
 */
async function isOvertaken(store: Store, { problems }: VerificationReport, size: number): Promise<boolean> {
  if (size === Infinity || !problems.some(({ code }) => code === 'withheld_unnamed')) return false
  const restored: Selection = { filter: { type: ['EntriesRestored'] }, from: size, before: Infinity, reverse: false, limit: 1 }
  try {
    for await (const lines of store.read(restored)) if (lines.length > 0) return true
  } catch (error) {
    // Whatever is damaged is in the report.
    if (!(error instanceof LedgerError)) throw error
  }
  return false
}

async function onePass(store: Store, options: AuditOptions, sizes: readonly number[] | null): Promise<Pass> {
  const { verifier, close } = openVerification(options, sizes)
  const sink = options.onProgress === undefined ? verifier : counting(verifier, options.onProgress)
  try {
    await store.audit(sink, options.signal)
    return { report: await settled(verifier, options.signal), facts: verifier.facts() }
  } finally {
    close()
  }
}

/** Judges what a pass finds. A second one is made where a record quotes a checkpoint of a size that lies far behind it. */
export async function judged(
  evidence: ClaimEvidence,
  pass: (sizes: readonly number[] | null) => Promise<Pass>,
): Promise<VerificationReport> {
  const { statements, unreadable, keys, witnesses } = evidence
  if (statements.length + unreadable.length + keys.length === 0 && witnesses === null) return (await pass(null)).report
  const sizes = sizesOf(statements)
  let { report, facts } = await pass(sizes)
  const more = facts === null || !facts.roots.has(report.size) ? [] : sizesNotFound(facts)
  if (more.length > 0) ({ report, facts } = await pass([...sizes, ...more]))
  return facts === null ? report : judgeClaims(report, facts, evidence)
}

/**
 * Verifies all that a store holds.
 * @throws RangeError for a key or a checkpoint that is none
 */
export async function auditStore(store: Store, options: AuditOptions): Promise<VerificationReport> {
  const asked = readEvidence(options)
  const evidence = await gatherEvidence(store, asked, options.origin)
  const found = await judged(evidence, (sizes) => auditOnce(store, options, sizes))
  const report = isTiered(store) ? await withArchivesNotRead(found, store, store.tiers) : found
  if (options.decrypt !== true) return report
  return (await import('./encryption/verify-entries.ts')).withOpenedEntries(report, store)
}
