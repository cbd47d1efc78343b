/**
 * Evidence that a log told two stories: two checkpoints by one key that no single append-only log has, as one text file
 * that anyone can check offline.
 *
 *     cortex-ledger/fork-evidence@v1
 *     <why they contradict, one of the forms below>
 *
 *     note <lines>
 *     <the checkpoint of the smaller size, as it was signed, in so many lines>
 *     note <lines>
 *     <the other one>
 *
 * What can be proven, with SHA-256 assumed to be collision-resistant:
 *
 * - `same-size`: both have the same size and different roots. Self-evident; the two notes are enough.
 * - `prefix`, `root <base64>`, and hashes, one a line: the sizes differ. The hashes are a consistency proof (RFC 9162,
 *   2.1.4) from the tree of the smaller size with _this_ root to the tree of the larger checkpoint. It holds, so the
 *   larger tree begins with this root; the smaller checkpoint has another one. Whoever holds the larger tree can make it.
 * - `leaves`, `index <decimal>`, and twice `leaf <base64>` with its path, one hash a line: two different leaves at one
 *   index, each with an inclusion proof (RFC 9162, 2.1.3) under one of the roots, the smaller checkpoint's first.
 * - `unproven`: nothing but the two notes. Two checkpoints of different sizes do not contradict each other by
 *   themselves: the larger may well be the smaller one grown. Only data of the log can tell. A consistency proof that
 *   _fails_ proves nothing either, since anybody can make one up; so there is no form for it.
 *
 * A checkpoint of size 0 is the beginning of every log: with it only another checkpoint of size 0 can be in conflict.
 */
import { formatBase64, parseBase64 } from './base64.ts'
import { parseCheckpoint } from './checkpoint.ts'
import type { Checkpoint } from './checkpoint.ts'
import type { Sha256 } from './hash.ts'
import { openNote, parseNote } from './note.ts'
import type { Ed25519Check, SignedNote, VerifierKey } from './note.ts'
import { checkConsistency, checkInclusion, TREE_SIZE_MAX } from './proof.ts'
import { decodeText, encodeText } from './text.ts'
import { HASH_BYTES, hashHex, parentHashing } from './tree.ts'

const FIRST_LINE = 'cortex-ledger/fork-evidence@v1'
const EVIDENCE_BYTES_MAX = 1024 * 1024
const HASHES_MAX = 63

/** A leaf and its path, the leaf's sibling first. */
export interface IncludedLeaf {
  readonly leaf: Uint8Array
  readonly path: readonly Uint8Array[]
}

/** Why two checkpoints contradict each other. */
export type Contradiction =
  | { readonly kind: 'same-size' }
  | { readonly kind: 'prefix'; readonly root: Uint8Array; readonly proof: readonly Uint8Array[] }
  | { readonly kind: 'leaves'; readonly index: bigint; readonly leaves: readonly [IncludedLeaf, IncludedLeaf] }
  | { readonly kind: 'unproven' }

export interface ForkEvidence {
  readonly contradiction: Contradiction
  /** Two signed notes, the one of the smaller size first. */
  readonly notes: readonly [string, string]
}

/** @throws RangeError where a note has no line feed at its end: it could not be told from what follows */
export function formatForkEvidence({ contradiction, notes }: ForkEvidence): string {
  const parts = notes.map((note) => {
    if (!note.endsWith('\n')) throw new RangeError('a signed note ends with a line feed')
    return `note ${note.split('\n').length - 1}\n${note}`
  })
  return `${[FIRST_LINE, ...contradictionLines(contradiction)].join('\n')}\n\n${parts.join('')}`
}

function contradictionLines(contradiction: Contradiction): string[] {
  switch (contradiction.kind) {
    case 'prefix':
      return ['prefix', `root ${formatBase64(contradiction.root)}`, ...contradiction.proof.map(formatBase64)]
    case 'leaves':
      return [
        'leaves',
        `index ${contradiction.index}`,
        ...contradiction.leaves.flatMap(({ leaf, path }) => [`leaf ${formatBase64(leaf)}`, ...path.map(formatBase64)]),
      ]
    default:
      return [contradiction.kind]
  }
}

/** The evidence, or why the bytes are none. Nothing of it is checked yet. */
export function parseForkEvidence(bytes: Uint8Array): ForkEvidence | string {
  if (bytes.length > EVIDENCE_BYTES_MAX) return `evidence has at most ${EVIDENCE_BYTES_MAX} bytes`
  let whole: string
  try {
    whole = decodeText(bytes)
  } catch {
    return 'evidence is UTF-8'
  }
  const end = whole.indexOf('\n\n')
  if (end === -1) return 'an empty line stands between the contradiction and the notes'
  const [first, ...lines] = whole.slice(0, end).split('\n')
  if (first !== FIRST_LINE) return `evidence begins with ${FIRST_LINE}`
  const contradiction = parseContradiction(lines)
  if (typeof contradiction === 'string') return contradiction
  const notes = parseNotes(whole.slice(end + 2))
  return typeof notes === 'string' ? notes : { contradiction, notes }
}

function parseNotes(text: string): [string, string] | string {
  const lines = text.split('\n')
  if (lines.pop() !== '') return 'a note ends with a line feed'
  const notes: string[] = []
  for (let at = 0; at < lines.length;) {
    const count = Number(/^note ([1-9][0-9]{0,5})$/.exec(lines[at]!)?.[1] ?? Number.NaN)
    if (!(at + 1 + count <= lines.length)) return 'each note stands behind a line "note" with how many lines it has'
    notes.push(`${lines.slice(at + 1, at + 1 + count).join('\n')}\n`)
    at += 1 + count
  }
  return notes.length === 2 ? [notes[0]!, notes[1]!] : `evidence is two notes, not ${notes.length}`
}

function parseContradiction([kind, ...lines]: readonly string[]): Contradiction | string {
  if (kind === 'same-size' || kind === 'unproven') return lines.length === 0 ? { kind } : `${kind} stands alone`
  if (kind === 'prefix') {
    const root = namedHash('root', lines[0])
    const proof = parseHashes(lines.slice(1))
    return root === null || proof === null
      ? 'prefix is a root and at most 63 hashes, each 32 bytes in canonical base64'
      : { kind, root, proof }
  }
  if (kind !== 'leaves') return 'two checkpoints contradict each other by same-size, prefix or leaves, or it is unproven'
  const decimal = /^index (0|[1-9][0-9]{0,18})$/.exec(lines[0] ?? '')?.[1]
  if (decimal === undefined || BigInt(decimal) > TREE_SIZE_MAX) return 'the index is not a decimal number without leading zeros'
  const second = lines.findIndex((line, at) => at > 1 && line.startsWith('leaf '))
  const leaves = [lines.slice(1, second), lines.slice(second)].map(parseLeaf)
  if (second === -1 || leaves[0] === null || leaves[1] === null)
    return 'leaves are two, each a hash and its path of at most 63 hashes, each 32 bytes in canonical base64'
  return { kind, index: BigInt(decimal), leaves: leaves as [IncludedLeaf, IncludedLeaf] }
}

function parseLeaf([first, ...rest]: readonly string[]): IncludedLeaf | null {
  const leaf = namedHash('leaf', first)
  const path = parseHashes(rest)
  return leaf === null || path === null ? null : { leaf, path }
}

function namedHash(name: string, line: string | undefined): Uint8Array | null {
  return line?.startsWith(`${name} `) === true ? parseHash(line.slice(name.length + 1)) : null
}

function parseHashes(lines: readonly string[]): Uint8Array[] | null {
  const hashes = lines.map(parseHash)
  return hashes.length <= HASHES_MAX && hashes.every((hash) => hash !== null) ? hashes : null
}

function parseHash(line: string): Uint8Array | null {
  const hash = parseBase64(line)
  return hash?.length === HASH_BYTES ? hash : null
}

/** What evidence shows about a log. */
export interface ForkFinding {
  /** False: both were signed, and whether they contradict each other can't be told from this file. */
  readonly proven: boolean
  readonly origin: string
  /** Who signed both. */
  readonly key: VerifierKey
  /** The smaller size first. */
  readonly checkpoints: readonly [Checkpoint, Checkpoint]
}

export interface ForkCheckOptions {
  readonly sha256: Sha256
  readonly check: Ed25519Check
}

/**
 * Why this is no evidence against the holder of one of the keys, or what it shows: both notes are checkpoints of one
 * origin, one and the same of these keys signed both, and they contradict each other as the file says (`proven`). The
 * keys are the log's, from outside; each counts only for the origin that it is named for.
 */
export async function checkForkEvidence(
  { contradiction, notes }: ForkEvidence,
  keys: readonly VerifierKey[],
  { sha256, check }: ForkCheckOptions,
): Promise<ForkFinding | string> {
  const signed: { readonly checkpoint: Checkpoint; readonly by: readonly VerifierKey[] }[] = []
  for (const [index, text] of notes.entries()) {
    const one = await openCheckpoint(text, keys, check)
    if (typeof one === 'string') return `note ${index + 1}: ${one}`
    signed.push(one)
  }
  const [first, second] = signed as [(typeof signed)[0], (typeof signed)[0]]
  const checkpoints = [first.checkpoint, second.checkpoint] as const
  const { origin } = first.checkpoint
  if (second.checkpoint.origin !== origin) return 'the notes are of two logs'
  if (second.checkpoint.size < first.checkpoint.size) return 'the note of the smaller size stands first'
  const key = first.by.find((one) => second.by.includes(one))
  if (key === undefined) return 'no key that is trusted for this log signed both'
  const fault = contradictionFault(sha256, contradiction, checkpoints)
  return fault ?? { proven: contradiction.kind !== 'unproven', origin, key, checkpoints }
}

async function openCheckpoint(
  text: string,
  keys: readonly VerifierKey[],
  check: Ed25519Check,
): Promise<{ checkpoint: Checkpoint; by: VerifierKey[] } | string> {
  const note: SignedNote | string = parseNote(encodeText(text))
  if (typeof note === 'string') return note
  const checkpoint = parseCheckpoint(note.text)
  if (typeof checkpoint === 'string') return checkpoint
  const own = keys.filter(({ name }) => name === checkpoint.origin)
  const opened = await openNote(note, own, check)
  if (typeof opened === 'string') return opened
  if (opened.verified.length === 0) return 'no key that is trusted for this log signed it'
  return { checkpoint, by: opened.verified.map(({ key }) => key) }
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return hashHex(a) === hashHex(b)
}

/** Why the two do not contradict each other in the way that is claimed, or null where they do (or nothing is claimed). */
function contradictionFault(
  sha256: Sha256,
  contradiction: Contradiction,
  [first, second]: readonly [Checkpoint, Checkpoint],
): string | null {
  const parent = parentHashing(sha256)
  switch (contradiction.kind) {
    case 'same-size':
      if (first.size !== second.size) return 'the sizes differ'
      return isSame(first.root, second.root) ? 'the roots are the same' : null
    case 'prefix': {
      // To or from a tree without leaves an empty proof holds whatever the root: it would convict every honest log.
      if (first.size === 0n || first.size === second.size) return 'a prefix is smaller than the whole, and not empty'
      const { root, proof } = contradiction
      if (isSame(root, first.root)) return 'the larger tree begins with the smaller one'
      return checkConsistency(parent, first.size, second.size, root, second.root, proof)
    }
    case 'leaves': {
      const { index, leaves } = contradiction
      if (isSame(leaves[0].leaf, leaves[1].leaf)) return 'the leaves are the same'
      return (
        checkInclusion(parent, index, first.size, leaves[0].leaf, first.root, leaves[0].path) ??
        checkInclusion(parent, index, second.size, leaves[1].leaf, second.root, leaves[1].path)
      )
    }
    case 'unproven':
      if (first.size === 0n && second.size > 0n) return 'every log begins with a checkpoint of size 0'
      // What is plain from the notes has to be said, and two that agree are no story at all.
      if (first.size !== second.size) return null
      return isSame(first.root, second.root) ? 'the notes say the same' : 'the sizes are the same: that is a same-size contradiction'
  }
}
