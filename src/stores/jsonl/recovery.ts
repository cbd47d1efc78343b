/**
 * Opening for writing after whatever happened. The normal opening is this same path: where nothing was torn it finds
 * nothing to do. Each step can be cut short and run again, and ends in the same state.
 */
import { join } from 'node:path'
import { LedgerError } from '../../ledger/errors.ts'
import type { Head } from '../../ledger/store.ts'
import { damagedLine, wholeRecord } from './checked-line.ts'
import type { WholeRecord } from './checked-line.ts'
import { EMPTY_HEAD, findEnd, headAfter } from './end.ts'
import { readFully, writeFully } from './files.ts'
import type { FilePort, OpenFile } from './files.ts'
import { LINE_BYTES_MAX, listSegments, padSeq, SEGMENTS, TORN } from './layout.ts'
import type { Segment } from './layout.ts'
import { BLOCK_BYTES, forwardLines } from './lines.ts'
import { TailScan } from './tail-scan.ts'
import type { TailVerdict } from './tail-scan.ts'

/** The line of a record that was acknowledged: everything up to its end is durable. */
export interface KnownPlace {
  /** `first_seq` of the segment that it is in. */
  readonly segment: number
  readonly byte: number
  /** Without line feed. */
  readonly length: number
  readonly hash: string
}

export interface Recovered {
  readonly bytes: number
  /** Relative to the ledger. */
  readonly moved_to: string
  readonly reason: string
}

export interface LiveSegment {
  readonly segment: Segment
  readonly file: OpenFile
  /** Bytes of records in it: the next one goes there. */
  readonly length: number
}

export interface Recovery {
  readonly head: Head
  readonly segments: readonly Segment[]
  /** Null where there is no segment yet. */
  readonly live: LiveSegment | null
  readonly recovered: Recovered | null
}

/** @throws LedgerError `damaged` where nothing can be chained to what is there; nothing was changed then */
export async function recover(files: FilePort, dir: string, known: KnownPlace | null): Promise<Recovery> {
  const segments = await listSegments(files, dir)
  const segment = segments.at(-1)
  if (segment === undefined) {
    await files.syncFolder(join(dir, SEGMENTS), 'opening-entry')
    return { head: EMPTY_HEAD, segments, live: null, recovered: null }
  }
  const file = await openForWriting(files, segment.path)
  try {
    const size = await file.size()
    const verdict = await scanTail(file, size, segment, known)
    if (verdict.damagedAt !== null) throw cannotGoOn(damagedLine(segment, verdict.damagedAt))
    const head = verdict.last === null ? await headBefore(files, segments, segment) : headAfter(verdict.last)
    let recovered: Recovered | null
    if (verdict.reason === null) {
      // A killed writer may have left lines in the page cache that no sync has seen. From now on they are in the ledger.
      await file.sync('opening')
      recovered = await unrecorded(files, dir, head.size)
    } else {
      recovered = await moveAside(files, dir, file, head.size, verdict.cut, size, verdict.reason)
      // Crash point: the bytes are in both places; the next opening finds the copy and cuts them off again.
      await file.truncate(verdict.cut)
      await file.sync('torn-cut')
    }
    await files.syncFolder(join(dir, SEGMENTS), 'opening-entry')
    return { head, segments, live: { segment, file, length: verdict.cut }, recovered }
  } catch (error) {
    await file.close().catch(() => {})
    throw error
  }
}

async function openForWriting(files: FilePort, path: string): Promise<OpenFile> {
  try {
    return await files.open(path, 'write')
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'EACCES') throw error
    // A sealed segment that is the last one, since those behind it never came to be.
    await files.chmod(path, 0o644)
    return await files.open(path, 'write')
  }
}

async function scanTail(file: OpenFile, size: number, segment: Segment, known: KnownPlace | null): Promise<TailVerdict> {
  const start = known?.segment === segment.first_seq ? await believe(file, known) : null
  const scan = new TailScan(start?.last ?? null, size)
  const lines = forwardLines(file, start?.byte ?? 0, size)
  for (;;) {
    const next = await lines.next()
    if (next.done === true) return scan.finish(next.value.position, start !== null)
    scan.add(next.value)
    // What follows a lost sector decides nothing, and the last good line is known.
    if (scan.isTorn) return scan.finish(size, start !== null)
  }
}

/** The record at the known place and where it ends, if the file still says the same there. */
async function believe(file: OpenFile, known: KnownPlace): Promise<{ byte: number; last: WholeRecord } | null> {
  const { byte, length, hash } = known
  if (!(Number.isSafeInteger(byte) && byte >= 0 && Number.isSafeInteger(length) && length > 0 && length <= LINE_BYTES_MAX)) return null
  // With the line feed before it and its own.
  const first = Math.max(0, byte - 1)
  const bytes = Buffer.alloc(byte - first + length + 1)
  if ((await readFully(file, bytes, first)) < bytes.length) return null
  if ((byte > 0 && bytes[0] !== 0x0a) || bytes.at(-1) !== 0x0a) return null
  const last = wholeRecord(bytes, byte - first, bytes.length - 1)
  return last === null || last.hash !== hash ? null : { byte: byte + length + 1, last }
}

/** The head where the live segment has no record: it is in the segment before. */
async function headBefore(files: FilePort, segments: readonly Segment[], live: Segment): Promise<Head> {
  const before = segments.filter((segment) => segment.first_seq < live.first_seq)
  const end = await findEnd(files, before)
  if (end.damage !== null) throw cannotGoOn(end.damage)
  if (before.length > 0 && end.head.size === 0) {
    throw cannotGoOn(new LedgerError('damaged', `no record can be read in ${before.at(-1)?.name}`))
  }
  if (before.length === 0 && live.first_seq > 0) {
    throw cannotGoOn(new LedgerError('damaged', `the segments before ${live.name} are not there`))
  }
  return end.head
}

function cannotGoOn(error: LedgerError): LedgerError {
  const advice = `${error.message.replace(/: run verify.*$/, '')}, so nothing can be recorded behind it: run verify to see what is wrong, and restore the file from a backup`
  return new LedgerError('damaged', advice, error.details)
}

/**
 * Copies `[cut, size)` of the segment into a file of its own, durably. The same bytes again (an opening that was cut
 * short) find their copy and make no second one.
 */
async function moveAside(
  files: FilePort,
  dir: string,
  file: OpenFile,
  seq: number,
  cut: number,
  size: number,
  reason: string,
): Promise<Recovered> {
  const folder = join(dir, TORN)
  await files.makeFolder(folder)
  await files.syncFolder(dir, 'torn-folder')
  for (let count = 0; ; count++) {
    const name = `${padSeq(seq)}-${count}.bin`
    const path = join(folder, name)
    const facts = await files.facts(path)
    if (facts !== null && !(facts.size === size - cut && (await sameBytes(files, path, file, cut, size)))) continue
    const copy = await files.open(path, facts === null ? 'create' : 'write')
    try {
      for (let at = cut; facts === null && at < size; at += BLOCK_BYTES) {
        const block = Buffer.allocUnsafe(Math.min(BLOCK_BYTES, size - at))
        const read = await readFully(file, block, at)
        await writeFully(copy, block.subarray(0, read), at - cut)
      }
      await copy.sync('torn-file')
    } finally {
      await copy.close()
    }
    await files.syncFolder(folder, 'torn-entry')
    return { bytes: size - cut, moved_to: `${TORN}/${name}`, reason }
  }
}

async function sameBytes(files: FilePort, path: string, file: OpenFile, cut: number, size: number): Promise<boolean> {
  const copy = await files.open(path, 'read')
  try {
    for (let at = cut; at < size; at += BLOCK_BYTES) {
      const ours = Buffer.alloc(Math.min(BLOCK_BYTES, size - at))
      const theirs = Buffer.alloc(ours.length)
      await readFully(file, ours, at)
      await readFully(copy, theirs, at - cut)
      if (!ours.equals(theirs)) return false
    }
    return true
  } finally {
    await copy.close()
  }
}

/**
 * Bytes that an earlier opening moved aside and that the ledger has not noted since: their name is the position that
 * the note would have taken, and that position is still free.
 */
async function unrecorded(files: FilePort, dir: string, size: number): Promise<Recovered | null> {
  const folder = join(dir, TORN)
  if ((await files.facts(folder)) === null) return null
  const names = (await files.list(folder)).filter((name) => name.startsWith(`${padSeq(size)}-`)).sort()
  const [name] = names
  if (name === undefined) return null
  const bytes = await Promise.all(names.map(async (each) => (await files.facts(join(folder, each)))?.size ?? 0))
  return {
    bytes: bytes.reduce((sum, each) => sum + each, 0),
    moved_to: `${TORN}/${name}`,
    reason: 'moved aside at an earlier opening that was cut short',
  }
}
