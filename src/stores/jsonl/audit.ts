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
  /** As listed once: what a writer begins afterwards is not looked at. */
  readonly segments: readonly Segment[]
  /** Where this very store is the writer: behind the last acknowledged record of the last segment. */
  readonly ownEnd: number | null
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
  const { segments } = source
  for (const [i, segment] of segments.entries()) {
    signal?.throwIfAborted()
    const next = segments[i + 1]?.first_seq ?? Infinity
    if (range !== undefined && (segment.first_seq >= range.before || next <= range.from)) continue
    const cut = { from: range !== undefined && range.from > segment.first_seq ? range.from : null, before: null as number | null }
    if (range !== undefined && range.before < next) cut.before = range.before === Infinity ? null : range.before
    await auditOne(source, segment, cut, sink, signal)
  }
  sink.columnsChecked('the index of a JSONL ledger is derived from its segments, and made anew where it differs from them')
}

/** Positions within a segment between which it is read; null: to its own end. */
interface Cut {
  readonly from: number | null
  readonly before: number | null
}

async function auditOne(source: AuditSource, segment: Segment, cut: Cut, sink: AuditSink, signal?: AbortSignal): Promise<void> {
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
      const { to, state } =
        before !== null
          ? { to: before, state: 'sealed' as const }
          : segment === source.segments.at(-1)
            ? await liveEnd(source, file)
            : { to: size, state: 'sealed' as const }
      const rest = await feed(file, from ?? 0, to, sink, (position) => (byte = position), signal)
      if (rest.unended > 0) sink.unended(rest.position, rest.unended, state)
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
async function liveEnd(source: AuditSource, file: OpenFile): Promise<{ to: number; state: 'live' | 'tail' }> {
  if (source.ownEnd !== null) return { to: source.ownEnd, state: 'live' }
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
