/** A ledger in the memory of one process, gone when it ends: for tests, and to try things out. The plainest reading of the port. */
import { dataKeysInMemory } from '../ledger/data-keys-in-memory.ts'
import { LedgerError } from '../ledger/errors.ts'
import { contentBytes, lineWithEntry, lineWithoutEntry } from '../ledger/entry-lines.ts'
import { fitsFilter, indexedNames } from '../ledger/filter.ts'
import { hintsUntil } from '../ledger/hints.ts'
import { archiveInMemory } from '../ledger/archive-in-memory.ts'
import { replicaInMemory } from '../ledger/replica-mark.ts'
import { snapshotsInMemory } from '../ledger/snapshot-files.ts'
import type {
  AuditRange,
  AuditSink,
  Head,
  RecordFilter,
  SealedRecord,
  Selection,
  StateRequest,
  Store,
  StoreState,
  TallyColumn,
} from '../ledger/store.ts'
import type { EntryUpkeep } from '../ledger/upkeep.ts'
import { GENESIS, type RecordHeader } from '../verify/header.ts'
import { union } from '../verify/ranges.ts'
import { formatLine, splitLine } from '../verify/record.ts'
import { treeInMemory } from './tree/tree-in-memory.ts'

/** All that is not readonly comes and goes with the entry. */
interface Kept {
  line: Uint8Array
  readonly header: RecordHeader
  readonly hash: string
  provider: string | null
  model: string | null
}

const CHUNK_RECORDS_MAX = 256
const CHUNK_BYTES_MAX = 1024 * 1024
const utf8 = new TextEncoder()

const bytesOf = (kept: readonly Kept[]): number => kept.reduce((sum, { line }) => sum + line.length + 1, 0)

/** Opens an empty ledger in memory. Closing keeps what is in it, for whoever still holds it, and refuses everything else. */
export function openMemoryStore(): Store {
  const kept: Kept[] = []
  const seqOfRun = new Map<string, number>()
  const versionOfStream = new Map<string, number>()
  const watchers = new Set<() => void>()
  let closed = false

  function assertOpen(): void {
    if (closed) throw new LedgerError('closed', 'the ledger was closed: open it again')
  }

  function head(): Head {
    const last = kept.at(-1)
    if (last === undefined) return { size: 0, hash: GENESIS, recorded_at: null }
    return { size: kept.length, hash: last.hash, recorded_at: last.header.recorded_at }
  }

  function fits(record: Kept, filter: RecordFilter): boolean {
    return fitsFilter(filter, record.header, record.provider, record.model)
  }

  /** All records that the selection takes at this moment. Nothing is ever moved or removed, so positions stay true. */
  function* select({ filter, from, before, reverse, limit }: Selection): Generator<Kept> {
    const end = Math.min(before, kept.length)
    let left = limit
    for (let i = from; i < end && left > 0; i++) {
      const record = kept[reverse ? end - 1 - (i - from) : i]!
      if (!fits(record, filter)) continue
      yield record
      left--
    }
  }

  function keep(record: SealedRecord): void {
    const { hash, header, provider, model } = record
    const line = utf8.encode(formatLine(record))
    seqOfRun.set(header.run_id, kept.length)
    versionOfStream.set(header.stream, header.stream_version)
    kept.push({ line, header, hash, provider, model })
  }

  return {
    tree: treeInMemory(),
    replica: replicaInMemory(),
    snapshots: snapshotsInMemory(),
    dataKeys: dataKeysInMemory(),
    upkeep: upkeepInMemory(kept, assertOpen),
    kind: 'memory',
    location: 'memory:',
    readOnly: false,
    segmentFull: false,
    segment: null,
    recovered: null,

    async state(request: StateRequest): Promise<StoreState> {
      assertOpen()
      const streams = new Map<string, number>()
      for (const stream of request.streams) {
        const version = versionOfStream.get(stream)
        if (version !== undefined) streams.set(stream, version)
      }
      const runs = new Map<string, Uint8Array>()
      for (const run_id of request.run_ids) {
        const seq = seqOfRun.get(run_id)
        if (seq !== undefined) runs.set(run_id, kept[seq]!.line.slice())
      }
      return { head: head(), streams, runs, now: null }
    },

    async append(records: readonly SealedRecord[], expected: Head): Promise<void> {
      assertOpen()
      const now = head()
      if (now.size !== expected.size || now.hash !== expected.hash) {
        throw new LedgerError('head_moved', `the ledger has ${now.size} records, not ${expected.size}: read the head again`, {
          expected_size: expected.size,
          actual_size: now.size,
        })
      }
      for (const record of records) keep(record)
      for (const hint of watchers) hint()
    },

    watch(signal: AbortSignal): AsyncIterable<void> {
      return hintsUntil(signal, (hint) => {
        watchers.add(hint)
        return () => void watchers.delete(hint)
      })
    },

    async *read(selection: Selection): AsyncGenerator<readonly Uint8Array[]> {
      assertOpen()
      let chunk: Uint8Array[] = []
      let chunkBytes = 0
      // The end is taken when reading starts: a selection of all does not chase a writer for ever.
      for (const record of select({ ...selection, before: Math.min(selection.before, kept.length) })) {
        // A copy, since the caller could write to it.
        chunk.push(record.line.slice())
        chunkBytes += record.line.length
        if (chunk.length < CHUNK_RECORDS_MAX && chunkBytes < CHUNK_BYTES_MAX) continue
        yield chunk
        chunk = []
        chunkBytes = 0
      }
      if (chunk.length > 0) yield chunk
    },

    async count(filter: RecordFilter): Promise<number> {
      assertOpen()
      return kept.reduce((count, record) => (fits(record, filter) ? count + 1 : count), 0)
    },

    async tally(column: TallyColumn, filter: RecordFilter): Promise<ReadonlyMap<string, number>> {
      assertOpen()
      const counts = new Map<string, number>()
      for (const record of kept) {
        if (!fits(record, filter)) continue
        const value = column === 'provider' || column === 'model' ? record[column] : record.header[column]
        if (value !== null) counts.set(value, (counts.get(value) ?? 0) + 1)
      }
      return counts
    },

    async describe() {
      assertOpen()
      return { kind: 'memory', bytes: bytesOf(kept) }
    },

    async audit(sink: AuditSink, signal?: AbortSignal, { from, before }: AuditRange = { from: 0, before: Infinity }): Promise<void> {
      assertOpen()
      sink.file(null, null)
      for (const [row, { line }] of kept.entries()) {
        signal?.throwIfAborted()
        if (row < from || row >= before) continue
        sink.line(line, 0, line.length, row)
      }
      sink.columnsChecked('a ledger in memory has no index columns')
    },

    async flush() {},

    async close() {
      closed = true
    },
  }
}

/** Some hundred records a step, so that whoever reads has a turn in between. */
const STEP_RECORDS = 256

function upkeepInMemory(kept: readonly Kept[], assertOpen: () => void): EntryUpkeep {
  const archive = archiveInMemory()

  return {
    archive,

    async *withhold(positions, { erase = false } = {}) {
      assertOpen()
      let step = { records: 0, bytes: 0 }
      for (const { first, last } of union(positions)) {
        for (let seq = first; seq <= last && seq < kept.length; seq++) {
          const record = kept[seq]!
          if (erase) record.provider = record.model = null
          const slices = splitLine(record.line)
          const bytes = slices === null ? 0 : contentBytes(slices)
          if (slices === null || bytes === 0) continue
          record.line = lineWithoutEntry(record.line, 0, slices)
          step = { records: step.records + 1, bytes: step.bytes + bytes }
          if (step.records < STEP_RECORDS) continue
          yield step
          step = { records: 0, bytes: 0 }
          assertOpen()
        }
      }
      if (step.records > 0) yield step
    },

    async *restore(entries) {
      assertOpen()
      for await (const chunk of entries) {
        assertOpen()
        const step = { records: 0, bytes: 0 }
        for (const entry of chunk) {
          const record = kept[entry.seq]
          const slices = record === undefined ? null : splitLine(record.line)
          if (record === undefined || slices === null || contentBytes(slices) > 0) continue
          record.line = lineWithEntry(record.line, 0, slices, entry)
          // What was archived alone is still known.
          const names = indexedNames(entry.entry_text)
          record.provider ??= names.provider
          record.model ??= names.model
          step.records++
          step.bytes += entry.salt.length + Buffer.byteLength(entry.entry_text)
        }
        if (step.records > 0) yield step
      }
    },

    async reclaim() {
      assertOpen()
      let bytes = bytesOf(kept)
      for await (const file of archive.list('')) bytes += file.bytes
      return { bytes_before: bytes, bytes_after: bytes, left: [] }
    },
  }
}
