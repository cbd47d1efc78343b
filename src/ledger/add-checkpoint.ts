/** What a log sends to a witness. Source: C2SP tlog-witness v1.0.0, add-checkpoint. */
import { formatBase64, parseBase64 } from '../verify/base64.ts'
import { parseCheckpoint } from '../verify/checkpoint.ts'
import type { Checkpoint } from '../verify/checkpoint.ts'
import { parseNote } from '../verify/note.ts'
import type { SignedNote } from '../verify/note.ts'
import { TREE_SIZE_MAX } from '../verify/proof.ts'
import { decodeText, encodeText } from '../verify/text.ts'
import { HASH_BYTES } from '../verify/tree.ts'

/** Media type of the answer (409) that says which size the witness has. */
export const SIZE_TYPE = 'text/x.tlog.size'

/** A proof has one hash a level. */
const HASHES_MAX = 63

export interface AddCheckpointRequest {
  /** Size of the last checkpoint that the witness cosigned, as far as the log knows. */
  readonly oldSize: bigint
  /** From the old size to that of the checkpoint. */
  readonly proof: readonly Uint8Array[]
  readonly note: SignedNote
  readonly checkpoint: Checkpoint
}

/** The body of a request. `note` is the signed checkpoint, as it is. */
export function formatAddCheckpoint(oldSize: bigint, proof: readonly Uint8Array[], note: string): string {
  return `old ${oldSize}\n${proof.map((hash) => `${formatBase64(hash)}\n`).join('')}\n${note}`
}

/** The request, or why the bytes are none. */
export function parseAddCheckpoint(bytes: Uint8Array): AddCheckpointRequest | string {
  let whole: string
  try {
    whole = decodeText(bytes)
  } catch {
    return 'a request is UTF-8'
  }
  const end = whole.indexOf('\n\n')
  if (end === -1) return 'an empty line stands between the proof and the checkpoint'
  const [first = '', ...lines] = whole.slice(0, end).split('\n')
  const decimal = /^old (0|[1-9][0-9]{0,18})$/.exec(first)?.[1]
  if (decimal === undefined || BigInt(decimal) > TREE_SIZE_MAX) return 'a request begins with "old", a space and a size'
  if (lines.length > HASHES_MAX) return `a proof has at most ${HASHES_MAX} hashes`
  const proof = lines.map(parseBase64)
  if (!proof.every((hash) => hash?.length === HASH_BYTES)) return 'a hash is not 32 bytes in canonical base64'
  const note = parseNote(encodeText(whole.slice(end + 2)))
  if (typeof note === 'string') return note
  const checkpoint = parseCheckpoint(note.text)
  if (typeof checkpoint === 'string') return checkpoint
  return { oldSize: BigInt(decimal), proof: proof as Uint8Array[], note, checkpoint }
}
