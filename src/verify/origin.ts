/** The name of a ledger. Source: docs/format.md, "Hash, chain, tree, signatures". */
import { byteLength } from './text.ts'

/** What makes a line an origin, for messages. */
export const ORIGIN_RULE =
  'an origin has 1 to 255 bytes, no white space, no control character, no +, and does not start with cortex-ledger/'

const ORIGIN_BYTES_MAX = 255
// eslint-disable-next-line no-control-regex
const FORBIDDEN = /[\s+\u0000-\u001f\u007f-\u009f]/u

/**
 * True for 1 to 255 bytes without white space, control characters and `+`, which does not start with `cortex-ledger/`:
 * what checkpoints and signed messages put before it can't be taken for it.
 */
export function isOrigin(text: string): boolean {
  return (
    text !== '' &&
    text.isWellFormed() &&
    byteLength(text) <= ORIGIN_BYTES_MAX &&
    !FORBIDDEN.test(text) &&
    !text.startsWith('cortex-ledger/')
  )
}
