/** Verifying the ledger at a location: apart from `open.ts`, so that whoever only records loads nothing of it. */
import type { DecryptOptions } from './ledger/encryption/verify-entries.ts'
import { LedgerError } from './ledger/errors.ts'
import { readEvidence } from './ledger/evidence.ts'
import type { Projection } from './ledger/projection.ts'
import type { Store } from './ledger/store.ts'
import type { ArchiveStore } from './ledger/archive.ts'
import { withArchivesNotRead } from './ledger/retention/audit-archives.ts'
import { tieredStore } from './ledger/retention/tiered-store.ts'
import type { TieredStore } from './ledger/retention/tiered-store.ts'
import { asArchive } from './open-archive.ts'
import { openPackedFile } from './open-packed.ts'
import { auditLocation } from './open-audit.ts'
import type { LocationAuditOptions } from './open-audit.ts'
import { openStore } from './open-store.ts'
import { LedgerVerifier } from './verify/chain.ts'
import type { SnapshotCheck, VerificationReport } from './verify/report.ts'

export interface VerifyOptions extends Omit<LocationAuditOptions, 'decrypt'> {
  /** Also open every encrypted entry, by these master keys. */
  readonly decrypt?: DecryptOptions | undefined
  /**
   * Also look at the kept snapshots: each against its record, and those of these projections against a replay. May be
   * none: then no state is compared.
   */
  readonly snapshots?: readonly Projection[] | undefined
  /** Where cold entries lie, to be verified as well; those in the ledger's own archive files are in any case. */
  readonly archive?: string | URL | ArchiveStore | undefined
}

/**
 * Verifies the ledger at a path or URL without writing anything: also one that is too damaged to be opened, one exported
 * JSONL file, and one that is compressed (`.jsonl.zst`, `.jsonl.gz`), on disk or at an `s3:` URL. A compressed file may
 * have only some of a ledger's records; the report's `excerpt` says so.
 * @throws LedgerError `not_found` | `unsupported` | `io_error` where there is nothing to look at
 * @throws RangeError for a key or a checkpoint that is none
 */
export async function verifyLedger(location: string | URL, options: VerifyOptions = {}): Promise<VerificationReport> {
  // Misuse is told before anything is opened.
  const { since } = readEvidence(options)
  if (options.onlySince === true && since.length === 0) throw new RangeError('onlySince needs a checkpoint from before (since)')
  const { decrypt, ...auditing } = options
  const packed = await openPackedFile(location)
  if (packed !== null) {
    const { auditPacked } = await import('./ledger/packed-audit.ts')
    const report = await auditPacked(packed, packed.name, auditing).finally(() => packed.close())
    return decrypt === undefined ? report : withoutDataKeys(report)
  }
  let store: TieredStore
  try {
    const archive = options.archive === undefined ? null : await asArchive(options.archive)
    const below = await openStore(location, { readOnly: true, index: 'off', driver: options.driver })
    store = tieredStore(below, { cold: archive, readThrough: archive !== null })
  } catch (error) {
    if (!(error instanceof LedgerError) || (error.code !== 'damaged' && error.code !== 'not_a_ledger')) throw error
    // Something is there and it is no ledger any more: that is a finding, not a failure to look.
    const verifier = new LedgerVerifier({})
    verifier.problem({ code: 'unreadable', seq: null, expected: 'a ledger', found: error.message, where: null })
    return verifier.finish()
  }
  try {
    // Another thread would have to be told of the archive, credentials and all.
    const threads = options.archive === undefined ? options.threads : 1
    const found = await auditLocation(location instanceof URL ? location.href : location, store, { ...auditing, threads })
    const audited = await withArchivesNotRead(found, store, store.tiers)
    const report = decrypt === undefined ? audited : await withOpened(audited, store, decrypt)
    return options.snapshots === undefined ? report : await withSnapshots(report, store, options.snapshots)
  } finally {
    await store.close()
  }
}

function withoutDataKeys(report: VerificationReport): VerificationReport {
  const missing = 'the ledger itself: there are no data keys beside a compressed file'
  return { ...report, checks: { ...report.checks, entries_opened: { verdict: 'not checked', missing } } }
}

async function withOpened(report: VerificationReport, store: Store, decrypt: DecryptOptions): Promise<VerificationReport> {
  const { decrypting, withOpenedEntries } = await import('./ledger/encryption/verify-entries.ts')
  return withOpenedEntries(report, await decrypting(store, report.origin, decrypt))
}

async function withSnapshots(report: VerificationReport, store: Store, projections: readonly Projection[]): Promise<VerificationReport> {
  const { checkSnapshots } = await import('./ledger/snapshot-check.ts')
  const snapshots = await checkSnapshots(store, projections).catch((error: unknown): SnapshotCheck[] => [
    { id: '', projection: null, version: null, position: 0, verdict: 'fail', reason: `the snapshots can't be read (${String(error)})` },
  ])
  return { ...report, ok: report.ok && snapshots.every(({ verdict }) => verdict !== 'fail'), snapshots }
}
