/** Statements about a ledger that come from beside it: checkpoints, whoever kept them, read strictly. */
import { parseCheckpoint } from './checkpoint.ts'
import type { Checkpoint } from './checkpoint.ts'
import { parseNote } from './note.ts'
import type { SignedNote } from './note.ts'
import { decodeText, encodeText } from './text.ts'
import { parseTlogProof } from './tlog-proof.ts'

/**
 * Who kept a checkpoint. `own`: it lies with the ledger, so whoever changed that could change it. `since`: the user kept
 * it. `remembered`: this machine did. `quoted`: a record of the ledger has it, of the key that it retires.
 */
export type CheckpointRole = 'own' | 'since' | 'remembered' | 'quoted'

/** A checkpoint and where it comes from. */
export interface Statement {
  readonly role: CheckpointRole
  /** For people: a file's name, say. */
  readonly source: string
  /** Position of the record that quotes it; null for all others. */
  readonly seq: number | null
  readonly checkpoint: Checkpoint
  /** Null for one that was remembered before it was signed. */
  readonly note: SignedNote | null
}

const BUNDLE_BYTES_MAX = 104_857_600
const BUNDLE_FORMAT = 'cortex-ledger/bundle/v1'
const OPEN_OBJECT = 0x7b
const PROOF_START = 'c2sp.org/tlog-proof@v1\n'

/** The signed note in a file: a note, a tlog-proof, or a bundle of several records. Returns its text, or `{ fault }`. */
export function noteOfFile(bytes: Uint8Array): string | { readonly fault: string } {
  if (bytes.length > BUNDLE_BYTES_MAX) return { fault: `it has more than ${BUNDLE_BYTES_MAX} bytes` }
  let text: string
  try {
    text = decodeText(bytes)
  } catch {
    return { fault: 'it is not UTF-8' }
  }
  if (bytes[0] === OPEN_OBJECT) return noteOfBundle(text)
  if (!text.startsWith(PROOF_START)) return text
  const proof = parseTlogProof(bytes)
  return typeof proof === 'string' ? { fault: proof } : proof.note
}

function noteOfBundle(text: string): string | { readonly fault: string } {
  try {
    const { format, checkpoint } = JSON.parse(text) as { readonly format?: unknown; readonly checkpoint?: unknown }
    if (format === BUNDLE_FORMAT && typeof checkpoint === 'string') return checkpoint
  } catch {
    // Said below.
  }
  return { fault: `it begins like a bundle, and is none of ${BUNDLE_FORMAT}` }
}

/** The statement that a note's text makes, or why it makes none. Its signatures are not looked at. */
export function readStatement(role: CheckpointRole, source: string, text: string, seq: number | null = null): Statement | string {
  // What a machine remembers may have been noted just before it was signed.
  const isUnsigned = role === 'remembered' && !text.includes('\n\n')
  const note = isUnsigned ? null : parseNote(encodeText(text))
  if (typeof note === 'string') return note
  const checkpoint = parseCheckpoint(note === null ? text : note.text)
  return typeof checkpoint === 'string' ? checkpoint : { role, source, seq, checkpoint, note }
}
