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
  for (let done = 0; done < bytes.length; ) done += fs.writeSync(fd, bytes, done, bytes.length - done, position + done)
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
  if (file === null || file.fd === null) throw new LedgerError('closed', 'the live segment is not open any more: nothing more can be recorded')
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
    for (const until = Date.now() + ROLL_BACK_MS; fs.fstatSync(fd).size > length && Date.now() < until; ) pause(1)
    fs.ftruncateSync(fd, length)
    fs.fsyncSync(fd)
    writer.advance(writer.segment as Segment, length, writer.file as OpenFile)
    return false
  }
  if (underway === null) return false
  const { bytes, segment, position, isNewFile } = underway
  const fd = descriptor(writer.file)
  writeAll(fd, bytes, position)
  fs.fdatasyncSync(fd)
  if (isNewFile) syncFolder(join(dir, SEGMENTS))
  writer.advance(segment, position + bytes.length, writer.file as OpenFile)
  return true
}

/** Writes one batch behind the last one. @throws LedgerError; then it was taken back */
export function writeNow(writer: SegmentWriter, dir: string, bytes: Uint8Array, first_seq: number): { segment: Segment; position: number } {
  const { segment: live, length: position } = writer
  const segment = live ?? segmentAt(dir, first_seq)
  const file = live === null ? fileOf(fs.openSync(segment.path, 'wx+')) : writer.file
  const fd = descriptor(file)
  try {
    writeAll(fd, bytes, position)
    fs.fdatasyncSync(fd)
    if (position === 0) syncFolder(join(dir, SEGMENTS))
  } catch (error) {
    fs.ftruncateSync(fd, position)
    throw asStorageError(error, `appending to ${segment.name} while the process exits`)
  }
  writer.advance(segment, position + bytes.length, file as OpenFile)
  return { segment, position }
}
