/**
 * Every byte of every segment to the verifier, in the order of position. It looks and changes nothing: not the index,
 * not a torn tail, not a mode. Beside a writer at work it takes a whole beginning of the ledger and no more.
 */
import type { AuditRange, AuditSink } from '../../ledger/store.ts'
import { LineSplitter } from '../../verify/lines.ts'
import type { LineTaker } from '../../verify/lines.ts'
import { placeOf } from './audit-range.ts'
import { headerOfLine } from './checked-line.ts'
import { readFully } from './files.ts'
import type { FilePort, OpenFile } from './files.ts'
import type { Segment } from './layout.ts'
import { backwardLines } from './lines.ts'

export interface AuditSource {
  readonly files: FilePort
  /** All segments, as they are now. */
  readonly list: () => Promise<readonly Segment[]>
  /** Where this very store is the writer: behind the last acknowledged record of the segment while it is live, else null. */
  readonly ownEnd: ((segment: Segment) => number | null) | null
  /** True while another one holds the writer's lock. */
  readonly isWriterAtWork: () => Promise<boolean>
  /** False for an exported file, whose name promises no position. */
  readonly isLedger: boolean
}

/** One read. */
const AUDIT_BYTES = 512 * 1024

/** Looks again so often when a writer that comes or goes moves the end meanwhile. */
const LOOKS_MAX = 5

export async function auditSegments(source: AuditSource, sink: AuditSink, signal?: AbortSignal, range?: AuditRange): Promise<void> {
  let segments = await source.list()
  for (let i = 0; i < segments.length; i++) {
    const segment = segments[i] as Segment
    signal?.throwIfAborted()
    // An entry that was found withheld is named by a record that was durable before: if need be in a segment begun since.
    const more = async (): Promise<boolean> => {
      const later = (await source.list()).filter(({ first_seq }) => first_seq > segment.first_seq)
      segments = [...segments.slice(0, i + 1), ...later]
      return later.length > 0
    }
    const next = segments[i + 1]?.first_seq ?? Infinity
    if (range !== undefined && (segment.first_seq >= range.before || next <= range.from)) continue
    const cut = { from: range !== undefined && range.from > segment.first_seq ? range.from : null, before: null as number | null }
    if (range !== undefined && range.before < next) cut.before = range.before === Infinity ? null : range.before
    await auditOne(source, segment, cut, i === segments.length - 1 ? more : null, sink, signal)
  }
  sink.columnsChecked('the index of a JSONL ledger is derived from its segments, and made anew where it differs from them')
}

/** Positions within a segment between which it is read; null: to its own end. */
interface Cut {
  readonly from: number | null
  readonly before: number | null
}

/** @param more whether another segment was begun since this one was the last; null where it is not */
async function auditOne(
  source: AuditSource,
  segment: Segment,
  cut: Cut,
  more: (() => Promise<boolean>) | null,
  sink: AuditSink,
  signal?: AbortSignal,
): Promise<void> {
  let byte = 0
  sink.file(segment.name, source.isLedger && cut.from === null ? segment.first_seq : null)
  try {
    const file = await source.files.open(segment.path, 'read')
    try {
      const size = await file.size()
      const [from, before] = [await byteOf(file, size, cut.from, 0), await byteOf(file, size, cut.before, null)]
      if (from === undefined || before === undefined) {
        const expected = `the record at position ${from === undefined ? cut.from : cut.before}`
        sink.problem({ code: 'unreadable', seq: null, expected, found: null, where: { file: segment.name, byte } })
        return
      }
      const reached = (position: number): void => void (byte = position)
      const isOpenEnded = before === null && more !== null
      const { to, state } = isOpenEnded ? await liveEnd(source, segment, file) : { to: before ?? size, state: 'sealed' as const }
      let rest = await feed(file, from ?? 0, to, sink, reached, signal)
      const isSealed = isOpenEnded && (await more())
      // What was added to it before the next one was begun. A new file of that name is not this one, which nothing changes.
      if (isSealed) rest = await feed(file, rest.position, await file.size(), sink, reached, signal)
      if (rest.unended > 0) sink.unended(rest.position, rest.unended, isSealed ? 'sealed' : state)
    } finally {
      await file.close()
    }
  } catch (error) {
    if (signal?.aborted === true) throw error
    const { code } = error as { code?: unknown }
    if (typeof code !== 'string') throw error
    const found = error instanceof Error ? error.message : code
    sink.problem({ code: 'unreadable', seq: null, expected: null, found, where: { file: segment.name, byte } })
  }
}

/** Where the record at this position begins; undefined where it can't be found, `open` where none is asked for. */
async function byteOf(file: OpenFile, size: number, seq: number | null, open: 0 | null): Promise<number | null | undefined> {
  return seq === null ? open : ((await placeOf(file, size, seq)) ?? undefined)
}

/**
 * One block is read while the lines of the other are looked at, and both are used again: fresh memory for each block
 * would cost a page fault for every four lines, and joining each block with the line before it a copy of all.
 */
async function feed(
  file: OpenFile,
  from: number,
  to: number,
  sink: AuditSink,
  reached: (byte: number) => void,
  signal?: AbortSignal,
): Promise<LineSplitter> {
  const splitter = new LineSplitter(from)
  const take: LineTaker = (bytes, start, end, position) => sink.line(bytes, start, end, position)
  const blockBytes = Math.min(AUDIT_BYTES, Math.max(0, to - from))
  const blocks = [Buffer.allocUnsafeSlow(blockBytes), Buffer.allocUnsafeSlow(blockBytes)] as const
  const read = async (turn: number, at: number): Promise<Buffer> => {
    const block = blocks[turn & 1]!.subarray(0, Math.min(AUDIT_BYTES, Math.max(0, to - at)))
    return block.subarray(0, await readFully(file, block, at))
  }
  let coming = read(0, from)
  try {
    for (let at = from, turn = 1; at < to; turn++) {
      signal?.throwIfAborted()
      const block = await coming
      if (block.length === 0) break
      at += block.length
      if (at < to) coming = read(turn, at)
      splitter.push(block, take)
      reached(splitter.position)
    }
  } finally {
    // The file is closed next.
    await coming.catch(() => {})
  }
  return splitter
}

/**
 * How far the live segment is read. A writer's batch may be half there: beside one, up to the last whole append;
 * without one, all of it.
 */
async function liveEnd(source: AuditSource, segment: Segment, file: OpenFile): Promise<{ to: number; state: 'live' | 'tail' | 'sealed' }> {
  const own = source.ownEnd?.(segment)
  if (own !== undefined) return own === null ? { to: await file.size(), state: 'sealed' } : { to: own, state: 'live' }
  for (let look = 1; ; look++) {
    const size = await file.size()
    // First the size, then the lock: a writer that has let go in between has finished what it had begun.
    if (await source.isWriterAtWork()) return { to: await wholeAppends(file, size), state: 'live' }
    if ((await file.size()) === size || look === LOOKS_MAX) return { to: size, state: 'tail' }
  }
}

/** Behind the last whole append of `[0, size)`; `size` where the last line is whole and is not inside one. */
async function wholeAppends(file: OpenFile, size: number): Promise<number> {
  let unfinished: number | null = null
  let first = size
  for await (const lines of backwardLines(file, 0, size)) {
    for (let i = lines.ends.length - 1; i >= 0; i--) {
      const start = i === 0 ? 0 : (lines.ends[i - 1] as number) + 1
      const header = headerOfLine(lines.bytes, start, lines.ends[i] as number)
      if (header === null) return first
      const { seq, append_last_seq = seq } = header
      if (unfinished === null) {
        if (append_last_seq <= seq) return size
        unfinished = append_last_seq
      } else if (append_last_seq !== unfinished) return first
      first = lines.base + start
    }
  }
  return first
}
