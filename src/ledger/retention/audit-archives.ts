/** Verifying the archive files that can be read: each line against the ledger's own, which withholds the entry. */
import { countOf, partition } from '../../verify/ranges.ts'
import type { Range } from '../../verify/ranges.ts'
import type { Note, VerificationReport } from '../../verify/report.ts'
import { LedgerError } from '../errors.ts'
import type { AuditRange, AuditSink, Store } from '../store.ts'
import { archivedFault, besideOwn, isWithheldLine, NULL_END } from './archive-lines.ts'
import type { ArchivedFile } from './catalogue.ts'
import type { Tiers } from './tiers.ts'

/** Hands all on, and says whether an entry was withheld: where none is, nobody need look where it might lie. */
export function watchingWithheld(sink: AuditSink): { readonly sink: AuditSink; readonly saw: () => boolean } {
  let saw = false
  return {
    saw: () => saw,
    sink: {
      file: (name, first_seq) => sink.file(name, first_seq),
      line: (bytes, start, end, position) => {
        if (bytes[end - 2] === NULL_END) saw = true
        sink.line(bytes, start, end, position)
      },
      unended: (position, length, state) => sink.unended(position, length, state),
      problem: (problem) => sink.problem(problem),
      columnsChecked: (missing) => sink.columnsChecked(missing),
    },
  }
}

/**
 * Problems of archive files that hold entries of this range are told to the sink, whatever state they are in.
 * @throws LedgerError where the ledger can't be read
 */
export async function auditArchives(
  store: Store,
  tiers: Tiers,
  sink: AuditSink,
  signal: AbortSignal | undefined,
  { from, before }: AuditRange,
): Promise<void> {
  // Without an index, looking for these records reads all of them.
  if (tiers.warm === null && !(tiers.cold !== null && tiers.readThrough)) return
  try {
    await tiers.catalogue.refresh(store)
  } catch (error) {
    if (!(error instanceof LedgerError) || error.code !== 'damaged') throw error
    // So damaged that nobody can say which files there should be.
    sink.problem({
      code: 'unreadable',
      seq: null,
      expected: 'the records that say where entries are archived',
      found: error.message,
      where: null,
    })
    return
  }
  for (const [file, ranges] of tiers.catalogue.current()) {
    const looked = tiers.reads(file) ? partition(ranges, [{ first: from, last: before - 1 }]).inside : []
    signal?.throwIfAborted()
    if (looked.length > 0) await auditFile(store, tiers, file, looked, sink)
  }
}

/**
 * Says which archives nobody looked into. That their records are archived is proven without them; that the entries are
 * still to be had is not.
 */
export async function withArchivesNotRead(report: VerificationReport, store: Store, tiers: Tiers): Promise<VerificationReport> {
  if (report.withheld.archived === 0) return report
  const notRead = new Map<string, number>()
  try {
    await tiers.catalogue.refresh(store)
  } catch (error) {
    // What is damaged there is in the report.
    if (!(error instanceof LedgerError)) throw error
    return report
  }
  for (const [file, ranges] of tiers.catalogue.current()) {
    if (tiers.reads(file)) continue
    const location = file.location ?? 'the ledger'
    notRead.set(location, (notRead.get(location) ?? 0) + countOf(ranges))
  }
  const notes = [...notRead].map(([location, count]): Note => {
    const text = `${count} entries lie in ${location}, which was not read: name it as the archive to have them verified, too`
    return { code: 'archive_not_read', seq: null, text, where: null }
  })
  return { ...report, notes: [...report.notes, ...notes] }
}

async function auditFile(store: Store, tiers: Tiers, file: ArchivedFile, ranges: readonly Range[], sink: AuditSink): Promise<void> {
  const where = { file: file.location === null ? `entries/${file.file}` : `${file.location}/${file.file}`, byte: 0 }
  const tell = (seq: number | null, found: string): void =>
    sink.problem({ code: 'archive_mismatch', seq, expected: 'the entries that the ledger says are archived there', found, where })
  const lines = tiers.lines(file)
  try {
    // Others are in the ledger still, or again.
    for await (const { seq, own, line } of besideOwn(store, lines, ranges, isWithheldLine)) {
      const fault = line === null ? 'it is not there' : archivedFault(own, line)
      if (fault !== null) tell(seq, fault)
    }
  } catch (error) {
    // Its own lines can be wrong in any way.
    if (!(error instanceof LedgerError || error instanceof TypeError)) throw error
    tell(ranges[0]?.first ?? null, error.message)
  } finally {
    await lines.return()
  }
}
