/** Lines whose salt and entry go, or come back, as bytes: nothing is parsed and written anew. */
import { ascii } from '../verify/bytes.ts'
import type { LineSlices } from '../verify/record.ts'
import type { KeptEntry } from './upkeep.ts'

const WITHHELD = ascii(',"entry":null}')

/** Bytes of salt and entry; 0 where they are withheld. */
export function contentBytes({ salt_start, salt_end, entry_start, entry_end }: LineSlices): number {
  return salt_start === -1 ? 0 : salt_end - salt_start + entry_end - entry_start
}

/** The line in the withheld form. `slices` are those of the line in `bytes`, which begins at `start`. */
export function lineWithoutEntry(bytes: Uint8Array, start: number, { header_end, signatures_end }: LineSlices): Buffer {
  return Buffer.concat([bytes.subarray(start, signatures_end === -1 ? header_end : signatures_end), WITHHELD])
}

/** A withheld line with salt and entry in their place again. */
export function lineWithEntry(bytes: Uint8Array, start: number, slices: LineSlices, { salt, entry_text }: KeptEntry): Buffer {
  const { header_end, signatures_end } = slices
  return Buffer.concat([
    bytes.subarray(start, signatures_end === -1 ? header_end : signatures_end),
    Buffer.from(`,"salt":"${salt}","entry":${entry_text}}`),
  ])
}
