/** One line of a segment: what is needed of it, and whether it is whole. */
import { isUtf8 } from 'node:buffer'
import { nodeHashing } from '../../ledger/hashing.ts'
import { LedgerError } from '../../ledger/errors.ts'
import { indexedNames, NO_NAMES } from '../../ledger/filter.ts'
import type { EntryNames } from '../../ledger/filter.ts'
import { headerHash } from '../../verify/hash.ts'
import type { RecordHeader } from '../../verify/header.ts'
import { splitLine } from '../../verify/record.ts'
import type { Segment } from './layout.ts'

/** A record whose bytes are what was hashed. */
export interface WholeRecord {
  readonly hash: string
  readonly header: RecordHeader
}

const isPosition = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0

/**
 * The record of a line whose header and entry have the hashes that it carries; null where they have not, or it is no
 * record. So a line that was written whole is told from one of which a part was lost. Whether it fits its place, and
 * obeys every rule of the format, is for verification to say.
 */
export function wholeRecord(bytes: Buffer, start: number, end: number): WholeRecord | null {
  const slices = splitLine(bytes, start, end)
  if (slices === null) return null
  const hash = bytes.toString('latin1', slices.hash_start, slices.hash_end)
  const headerBytes = bytes.subarray(slices.header_start, slices.header_end)
  if (headerHash(nodeHashing.sha256, headerBytes) !== hash || !isUtf8(headerBytes)) return null
  let header: RecordHeader
  try {
    header = JSON.parse(headerBytes.toString('utf8')) as RecordHeader
  } catch {
    return null
  }
  if (slices.commitment_start !== -1) {
    if (nodeHashing.sha256(bytes.subarray(slices.commitment_start, slices.entry_end)) !== header.entry_hash) return null
  }
  const { seq, append_last_seq } = header
  if (!isPosition(seq) || (append_last_seq !== undefined && !isPosition(append_last_seq))) return null
  return { hash, header }
}

/** The header of a line that is believed (its hash is not computed); null where it can't be read. */
export function headerOfLine(bytes: Buffer, start: number, end: number): RecordHeader | null {
  const slices = splitLine(bytes, start, end)
  if (slices === null) return null
  try {
    return JSON.parse(bytes.toString('utf8', slices.header_start, slices.header_end)) as RecordHeader
  } catch {
    return null
  }
}

/** True for a record's line whose entry is not there. */
export function isWithheld(bytes: Buffer, start: number, end: number): boolean {
  return splitLine(bytes, start, end)?.salt_start === -1
}

/** What the line's entry names, for the index and for filters; nothing where it is withheld. */
export function namesOfLine(bytes: Buffer, start: number, end: number): EntryNames {
  const slices = splitLine(bytes, start, end)
  if (slices === null || slices.commitment_start === -1) return NO_NAMES
  // An entry that names neither, which is cheap to see in its bytes, needs no text.
  const entry = bytes.subarray(slices.entry_start, slices.entry_end)
  if (!entry.includes('"provider_name":') && !entry.includes('"model_name":')) return NO_NAMES
  return indexedNames(entry.toString('utf8'))
}

export function damagedLine(segment: Segment, byte: number): LedgerError {
  return new LedgerError('damaged', `the line at byte ${byte} of ${segment.name} is no record: run verify to see what is wrong`, {
    file: segment.name,
    byte,
  })
}
