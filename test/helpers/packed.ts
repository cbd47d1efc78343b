/** Packed files for tests, in memory. */
import { packLines } from '../../src/ledger/packed-lines.ts'
import type { PackedTable } from '../../src/ledger/packed-lines.ts'
import type { ByteSource } from '../../src/ledger/packed-reading.ts'
import { LedgerError } from '../../src/ledger/errors.ts'

export async function packed(lines: readonly Uint8Array[], chunk = 100): Promise<{ file: Buffer; table: PackedTable }> {
  const chunks: (readonly Uint8Array[])[] = []
  for (let i = 0; i < lines.length; i += chunk) chunks.push(lines.slice(i, i + chunk))
  const parts: Uint8Array[] = []
  const packing = packLines(chunks)
  for (;;) {
    const next = await packing.next()
    if (next.done === true) return { file: Buffer.concat(parts), table: next.value }
    parts.push(next.value)
  }
}

/** `reads`: what was read of it. */
export function sourceOf(bytes: Uint8Array, name = 'test.jsonl.zst'): ByteSource & { readonly reads: number[] } {
  const reads: number[] = []
  const read = async (start: number, end: number): Promise<Uint8Array> => {
    if (end > bytes.length || start > end) throw new LedgerError('damaged', `${name} has no bytes ${start} to ${end}`)
    reads.push(end - start)
    return bytes.slice(start, end)
  }
  return { name, bytes: bytes.length, read, reads }
}
