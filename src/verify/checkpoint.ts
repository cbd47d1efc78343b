/**
 * Checkpoints: what a log signs, its size and its root. Source: C2SP tlog-checkpoint v1.0.0.
 *
 *     <origin>
 *     <size, decimal>
 *     <root, base64>
 */
import { formatBase64, parseBase64 } from './base64.ts'
import { TREE_SIZE_MAX } from './proof.ts'
import { HASH_BYTES } from './tree.ts'

export interface Checkpoint {
  readonly origin: string
  readonly size: bigint
  readonly root: Uint8Array
  /** Lines that others may add; ours have none. */
  readonly extensions: readonly string[]
}

/** The text of the note. */
export function formatCheckpoint({ origin, size, root, extensions }: Checkpoint): string {
  return [origin, String(size), formatBase64(root), ...extensions].map((line) => `${line}\n`).join('')
}

/** The checkpoint that a note's text is, or why it is none. */
export function parseCheckpoint(text: string): Checkpoint | string {
  const lines = text.split('\n')
  if (lines.pop() !== '' || lines.includes('')) return 'a checkpoint is lines that are not empty'
  const [origin, decimal, base64, ...extensions] = lines
  if (origin === undefined || decimal === undefined || base64 === undefined) return 'a checkpoint has an origin, a size and a root'
  if (!/^(0|[1-9][0-9]{0,18})$/.test(decimal)) return 'the size is not a decimal number without leading zeros'
  const size = BigInt(decimal)
  if (size > TREE_SIZE_MAX) return 'the size is beyond 2^63-1'
  const root = parseBase64(base64)
  if (root === null || root.length !== HASH_BYTES) return 'the root is not 32 bytes in canonical base64'
  return { origin, size, root, extensions }
}
