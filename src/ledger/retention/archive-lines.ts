/** Lines in archive files: how a file is written, and how its lines are read back and held against the ledger's own. */
import { hash } from 'node:crypto'
import type { Range } from '../../verify/ranges.ts'
import { readSense, splitLine } from '../../verify/record.ts'
import type { ArchiveStore } from '../archive.ts'
import { contentBytes, lineWithoutEntry } from '../entry-lines.ts'
import type { Store } from '../store.ts'

/** What a withheld line ends with: all before it is what an archived line begins with. */
const WITHHELD_TAIL = '"entry":null}'.length

/** The last but one byte of a line without its entry, which ends with `null}`; of any other it is a brace. */
export const NULL_END = 0x6c

export function isWithheldLine(line: Uint8Array): boolean {
  return line[line.length - 2] === NULL_END
}

/** Bytes of salt and entry in a line; 0 where they are withheld. */
export function entryBytes(line: Uint8Array): number {
  const slices = splitLine(line)
  return slices === null ? 0 : contentBytes(slices)
}

/**
 * Why an archived line is not the whole of a ledger's line that withholds its entry, or null where it is: the same hash,
 * header and signatures byte for byte, and the entry that the header commits to.
 */
export function archivedFault(withheld: Uint8Array, archived: Uint8Array): string | null {
  const length = withheld.length - WITHHELD_TAIL
  const [own, other] = [withheld.subarray(0, length), archived.subarray(0, length)]
  if (Buffer.compare(own, other) !== 0) return 'its header is not that of the record in the ledger'
  const slices = splitLine(archived)
  if (slices === null || slices.commitment_start === -1) return 'it is no line of a record with its entry'
  const { header } = readSense(withheld)
  const committed = archived.subarray(slices.commitment_start, slices.entry_end)
  return hash('sha256', committed, 'hex') === header.entry_hash ? null : 'its entry is not the one that the header commits to'
}

/** A line of the ledger as it is once its entry is taken away. */
export function withoutEntry(line: Uint8Array): Uint8Array {
  if (isWithheldLine(line)) return line
  const slices = splitLine(line)
  return slices === null ? line : lineWithoutEntry(line, 0, slices)
}

export async function bytesOf(archive: ArchiveStore, file: string): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const part of archive.read(file)) parts.push(part)
  return Buffer.concat(parts)
}

/**
 * The ledger's own lines at these positions, each with the line that a file has for it; null where it has none.
 * @param lines of the file, ascending
 * @param isWanted which of the ledger's lines; the others are not looked at
 */
export async function* besideOwn(
  store: Pick<Store, 'read'>,
  lines: AsyncIterator<Uint8Array>,
  ranges: readonly Range[],
  isWanted: (own: Uint8Array) => boolean,
): AsyncGenerator<{ readonly seq: number; readonly own: Uint8Array; readonly line: Uint8Array | null }, void, undefined> {
  let next = await lines.next()
  for (const { first, last } of ranges) {
    for await (const chunk of store.read({ filter: {}, from: first, before: last + 1, reverse: false, limit: Infinity })) {
      for (const own of chunk) {
        if (!isWanted(own)) continue
        const { seq } = readSense(own).header
        while (next.done !== true && readSense(next.value).header.seq < seq) next = await lines.next()
        yield { seq, own, line: next.done !== true && readSense(next.value).header.seq === seq ? next.value : null }
      }
    }
  }
}
