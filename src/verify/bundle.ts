/**
 * Bundles: records of a ledger with the proof that they are in it, as one file that can be checked offline. Source:
 * docs/format.md, "Bundles".
 *
 * One record is a C2SP tlog-proof whose `extra` is the record's line. Several are one object of canonical JSON, and a line
 * feed:
 *
 *     {"checkpoint":"<signed note>","format":"cortex-ledger/bundle/v1",
 *      "records":[{"index":<position>,"line":"<the record's line>","path":["<base64>",…]},…]}
 *
 * The leaf is the hash of the header in the line. So a line proves the same with its entry, and with the entry withheld.
 */
import { formatBase64, parseBase64 } from './base64.ts'
import { LINE_FEED, OPEN_OBJECT } from './bytes.ts'
import { canonicalize } from './canonical.ts'
import { LINE_BYTES_MAX } from './lines.ts'
import { scanJsonValue } from './scan.ts'
import { decodeText, encodeText } from './text.ts'
import { formatTlogProof, PATH_HASHES_MAX, parseTlogProof } from './tlog-proof.ts'
import { HASH_BYTES } from './tree.ts'

export const BUNDLE_FORMAT = 'cortex-ledger/bundle/v1'
/** A bundle beyond these is refused before anything else. */
export const BUNDLE_LIMITS = { bytes_max: 104_857_600, records_max: 100_000 } as const

export interface BundledRecord {
  /** Its position, which is the leaf's index. */
  readonly index: number
  /** The line without line feed: as it is in the ledger, or the same with its entry withheld. */
  readonly line: Uint8Array
  /** From the leaf to the root, the leaf's sibling first. */
  readonly path: readonly Uint8Array[]
}

export interface Bundle {
  /** The signed checkpoint, as it is. */
  readonly note: string
  /** One or more, ascending by index, none twice. */
  readonly records: readonly BundledRecord[]
}

/**
 * The file's text. It checks no proof.
 * @throws RangeError where there are no records, or too many, or they are not in order, or the whole is too long; TypeError
 * where a line is not UTF-8
 */
export function formatBundle({ note, records }: Bundle): string {
  const fault = recordsFault(records)
  if (fault !== null) throw new RangeError(fault)
  const [first] = records as readonly [BundledRecord]
  const text =
    records.length === 1
      ? formatTlogProof({ extra: first.line, index: BigInt(first.index), path: first.path, note })
      : formatSeveral({ note, records })
  if (encodeText(text).length > BUNDLE_LIMITS.bytes_max) throw new RangeError(`a bundle has at most ${BUNDLE_LIMITS.bytes_max} bytes`)
  return text
}

function formatSeveral({ note, records }: Bundle): string {
  const value = {
    checkpoint: note,
    format: BUNDLE_FORMAT,
    records: records.map(({ index, line, path }) => ({ index, line: decodeText(line), path: path.map(formatBase64) })),
  }
  // The limit in bytes is that of whoever asks for the text.
  return `${canonicalize(value, { bytes_max: Infinity })}\n`
}

function recordsFault(records: readonly BundledRecord[]): string | null {
  if (records.length === 0) return 'a bundle has at least one record'
  if (records.length > BUNDLE_LIMITS.records_max) return `a bundle has at most ${BUNDLE_LIMITS.records_max} records`
  for (const [i, { index, line, path }] of records.entries()) {
    if (!isPosition(index)) return `record ${i} has no index from 0 to 2^53-1`
    if (i > 0 && records[i - 1]!.index >= index) return 'the records are not ascending by index without repetition'
    if (line.length > LINE_BYTES_MAX) return `a line has at most ${LINE_BYTES_MAX} bytes`
    if (path.length > PATH_HASHES_MAX) return `a path has at most ${PATH_HASHES_MAX} hashes`
    if (!path.every((hash) => hash.length === HASH_BYTES)) return `a hash has not ${HASH_BYTES} bytes`
  }
  return null
}

function isPosition(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

/** The bundle, or why the bytes are none. Neither lines, proofs nor the checkpoint are looked at. */
export function parseBundle(bytes: Uint8Array): Bundle | string {
  if (bytes.length > BUNDLE_LIMITS.bytes_max) return `a bundle has at most ${BUNDLE_LIMITS.bytes_max} bytes`
  const bundle = bytes[0] === OPEN_OBJECT ? parseSeveral(bytes) : parseOne(bytes)
  return typeof bundle === 'string' ? bundle : (recordsFault(bundle.records) ?? bundle)
}

function parseOne(bytes: Uint8Array): Bundle | string {
  const proof = parseTlogProof(bytes)
  if (typeof proof === 'string') return proof
  const { extra, index, path, note } = proof
  if (extra === null) return 'the proof has no extra, where the line of the record belongs'
  if (index > BigInt(Number.MAX_SAFE_INTEGER)) return 'the index is beyond 2^53-1'
  return { note, records: [{ index: Number(index), line: extra, path }] }
}

function parseSeveral(bytes: Uint8Array): Bundle | string {
  // Before anything is built: bounded depth, and nothing behind the object but the line feed.
  const end = bytes.length - 1
  if (bytes[end] !== LINE_FEED || scanJsonValue(bytes, 0, end) !== end) return 'the bundle is not exactly one JSON object and a line feed'
  let text: string
  let value: unknown
  try {
    text = decodeText(bytes)
    value = JSON.parse(text)
  } catch {
    return 'a bundle is UTF-8'
  }
  if (!hasMembers(value, ['checkpoint', 'format', 'records'])) return 'a bundle has the members checkpoint, format and records'
  const { checkpoint: note, format, records: items } = value
  if (format !== BUNDLE_FORMAT) return `the format is not ${BUNDLE_FORMAT}`
  if (typeof note !== 'string' || !note.isWellFormed()) return 'the checkpoint is not a text'
  if (!Array.isArray(items) || items.length < 2) return 'the records are not an array of two or more (one alone is a tlog-proof)'
  if (items.length > BUNDLE_LIMITS.records_max) return `a bundle has at most ${BUNDLE_LIMITS.records_max} records`
  const records: BundledRecord[] = []
  for (const [i, item] of items.entries()) {
    const record = parseRecord(item)
    if (typeof record === 'string') return `record ${i}: ${record}`
    records.push(record)
  }
  const bundle = { note, records }
  // Equal keys and other spellings of a value are found by writing it anew.
  return formatSeveral(bundle) === text ? bundle : 'the bundle is not in canonical JSON'
}

function parseRecord(item: unknown): BundledRecord | string {
  if (!hasMembers(item, ['index', 'line', 'path'])) return 'it has not the members index, line and path'
  const { index, line, path: texts } = item
  if (!isPosition(index)) return 'the index is not an integer from 0 to 2^53-1'
  if (typeof line !== 'string' || !line.isWellFormed()) return 'the line is not a text'
  if (!Array.isArray(texts) || texts.length > PATH_HASHES_MAX) return `the path is not an array of at most ${PATH_HASHES_MAX} hashes`
  const path: Uint8Array[] = []
  for (const text of texts as readonly unknown[]) {
    const hash = typeof text === 'string' ? parseBase64(text) : null
    if (hash?.length !== HASH_BYTES) return 'a hash is not 32 bytes in canonical base64'
    path.push(hash)
  }
  return { index, line: encodeText(line), path }
}

/** True for an object of exactly these members. */
function hasMembers<Name extends string>(value: unknown, names: readonly Name[]): value is { readonly [Each in Name]: unknown } {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  return Object.keys(value).length === names.length && names.every((name) => Object.hasOwn(value, name))
}
