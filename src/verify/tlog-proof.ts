/**
 * A proof that an entry is in a log, as one file that can be checked offline. Source: C2SP tlog-proof@v1.
 *
 *     c2sp.org/tlog-proof@v1
 *     extra <base64>            optional; nothing vouches for it by itself
 *     index <decimal>
 *     <base64 hash>             the path, the leaf's sibling first
 *
 *     <signed checkpoint>
 */
import { formatBase64, parseBase64 } from './base64.ts'
import { TREE_SIZE_MAX } from './proof.ts'
import { decodeText } from './text.ts'
import { HASH_BYTES } from './tree.ts'

const FIRST_LINE = 'c2sp.org/tlog-proof@v1'
/** A path has one hash a level. */
export const PATH_HASHES_MAX = 63

export interface TlogProof {
  /** What the entry is, for whoever can check that; null where it is not there. */
  readonly extra: Uint8Array | null
  readonly index: bigint
  readonly path: readonly Uint8Array[]
  /** The signed checkpoint, as it is. */
  readonly note: string
}

export function formatTlogProof({ extra, index, path, note }: TlogProof): string {
  const lines = [FIRST_LINE, ...(extra === null ? [] : [`extra ${formatBase64(extra)}`]), `index ${index}`, ...path.map(formatBase64)]
  return `${lines.join('\n')}\n\n${note}`
}

/** The proof, or why the bytes are none. The checkpoint is not looked at. */
export function parseTlogProof(bytes: Uint8Array): TlogProof | string {
  let whole: string
  try {
    whole = decodeText(bytes)
  } catch {
    return 'a proof is UTF-8'
  }
  // Nothing in front of the checkpoint is an empty line.
  const end = whole.indexOf('\n\n')
  if (end === -1) return 'an empty line stands between a proof and its checkpoint'
  const [first, ...lines] = whole.slice(0, end).split('\n')
  if (first !== FIRST_LINE) return `a proof begins with ${FIRST_LINE}`
  let extra: Uint8Array | null = null
  if (lines[0]?.startsWith('extra ') === true) {
    extra = parseBase64(lines.shift()!.slice('extra '.length))
    if (extra === null) return 'what is extra is not in canonical base64'
  }
  const decimal = /^index (0|[1-9][0-9]{0,18})$/.exec(lines.shift() ?? '')?.[1]
  if (decimal === undefined || BigInt(decimal) > TREE_SIZE_MAX) return 'the index is not a decimal number without leading zeros'
  if (lines.length > PATH_HASHES_MAX) return `a path has at most ${PATH_HASHES_MAX} hashes`
  const path = lines.map(parseBase64)
  if (!path.every((hash) => hash?.length === HASH_BYTES)) return 'a hash is not 32 bytes in canonical base64'
  return { extra, index: BigInt(decimal), path: path as Uint8Array[], note: whole.slice(end + 2) }
}
