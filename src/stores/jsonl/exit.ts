/**
 * The blocking siblings of `append` and `state`, for a process that exits: JavaScript gets no more turns, the threads
 * that do file operations still run until the process is gone.
 */
import fs from 'node:fs'
import { join } from 'node:path'
import { asStorageError, LedgerError } from '../../ledger/errors.ts'
import { fileOf } from './files.ts'
import type { OpenFile } from './files.ts'
import { SEGMENTS, segmentAt } from './layout.ts'
import type { Segment } from './layout.ts'
import type { SegmentWriter } from './segment-writer.ts'

/** How long a cut of the file that is under way may take. */
const ROLL_BACK_MS = 5000

function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

function writeAll(fd: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length;) done += fs.writeSync(fd, bytes, done, bytes.length - done, position + done)
}

function syncFolder(path: string): void {
  if (process.platform === 'win32') return
  const fd = fs.openSync(path, 'r')
  try {
    fs.fsyncSync(fd)
  } finally {
    fs.closeSync(fd)
  }
}

function descriptor(file: OpenFile | null): number {
  if (file === null || file.fd === null)
    throw new LedgerError('closed', 'the live segment is not open any more: nothing more can be recorded')
  return file.fd
}

/**
 * Ends a write that is under way. Writing the same bytes to the same place once more is harmless, whatever the thread
 * that has the first attempt does meanwhile; so this waits for nothing, unless the batch is just being taken back.
 * Returns true where the batch is durable now.
 */
export function settleNow(writer: SegmentWriter, dir: string): boolean {
  const { underway, length } = writer
  if (writer.isUnsettled || underway?.rollingBack === true) {
    const fd = descriptor(writer.file)
    // The cut may still be waiting for its thread, and would take with it what is written now.
    for (const until = Date.now() + ROLL_BACK_MS; fs.fstatSync(fd).size > length && Date.now() < until;) pause(1)
    fs.ftruncateSync(fd, length)
    fs.fsyncSync(fd)
    writer.advance(length)
    return false
  }
  if (underway === null) return false
  const { bytes, preparing } = underway
  if (preparing !== null) begin(writer, preparing)
  const fd = descriptor(writer.file)
  writeAll(fd, bytes, writer.length)
  fs.fdatasyncSync(fd)
  if (!writer.isNamed) syncFolder(join(dir, SEGMENTS))
  writer.advance(writer.length + bytes.length)
  return true
}

/** The file of a segment that is just being made, or renamed, by another thread: whoever comes first makes it. */
function begin(writer: SegmentWriter, segment: Segment): void {
  if (writer.length === 0 && writer.segment !== null) {
    try {
      fs.renameSync(writer.segment.path, segment.path)
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'ENOENT') throw error
    }
  }
  const fd = fs.openSync(segment.path, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o666)
  if (fs.fstatSync(fd).size > 0)
    throw new LedgerError('damaged', `${segment.path} is there already and holds something: run verify to see what it is`)
  writer.adopt(segment, fileOf(fd))
}

/** Writes one batch behind the last one. @throws LedgerError; then it was taken back */
export function writeNow(writer: SegmentWriter, dir: string, bytes: Uint8Array, first_seq: number): void {
  const wanted = segmentAt(dir, first_seq)
  if (writer.segment === null || (writer.length === 0 && writer.segment.first_seq !== first_seq)) begin(writer, wanted)
  const fd = descriptor(writer.file)
  const position = writer.length
  try {
    writeAll(fd, bytes, position)
    fs.fdatasyncSync(fd)
    if (!writer.isNamed) syncFolder(join(dir, SEGMENTS))
  } catch (error) {
    fs.ftruncateSync(fd, position)
    throw asStorageError(error, `appending to ${writer.segment?.name} while the process exits`)
  }
  writer.advance(position + bytes.length)
}
