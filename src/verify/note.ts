/**
 * Signed notes: a text that people can read, with lines of signatures under it. Source: C2SP signed-note v1.0.0.
 *
 *     <text, whose lines each end with a line feed>
 *     <one empty line, which is not signed>
 *     — <key name> <base64(key id ‖ signature)>
 */
import { formatBase64, parseBase64 } from './base64.ts'
import type { Sha256 } from './hash.ts'
import { decodeText, encodeText } from './text.ts'

/** Kinds of keys by the byte that stands before the public key. */
export const ED25519 = 0x01
/** An Ed25519 key of a witness, whose signatures say when: C2SP tlog-cosignature. */
export const ED25519_COSIGNATURE = 0x04

const KEY_ID_BYTES = 4
const ED25519_KEY_BYTES = 32
/** More lines are taken for an attack on whoever checks them; the specification asks for at least 16. */
const SIGNATURES_MAX = 100
const SIGNATURE_MARK = '\u2014 '
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u0009\u000b-\u001f]/

/** A public key with its name: `<name>+<8 hex key id>+<base64(kind ‖ public key)>`. */
export interface VerifierKey {
  readonly name: string
  /** 8 lower-case hex digits. */
  readonly id: string
  readonly kind: number
  readonly publicKey: Uint8Array
}

export interface NoteSignature {
  readonly name: string
  /** 8 lower-case hex digits. */
  readonly id: string
  /** What follows the key id. */
  readonly bytes: Uint8Array
}

export interface SignedNote {
  /** What is signed, the last line feed included. */
  readonly text: string
  readonly signatures: readonly NoteSignature[]
}

/** True for the name of a key: not empty, no white space, no `+`. */
export function isKeyName(name: string): boolean {
  return name !== '' && name.isWellFormed() && !/[\s+\u0085]/u.test(name) && !CONTROL.test(name)
}

/** First 4 bytes of SHA-256( name LF kind ‖ public key ), as hex. */
export function keyIdOf(sha256: Sha256, name: string, kind: number, publicKey: Uint8Array): string {
  return sha256(joined(encodeText(`${name}\n`), Uint8Array.of(kind), publicKey)).slice(0, 2 * KEY_ID_BYTES)
}

export function joined(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

export function formatVerifierKey({ name, id, kind, publicKey }: VerifierKey): string {
  return `${name}+${id}+${formatBase64(joined(Uint8Array.of(kind), publicKey))}`
}

/** The key, or why the text is none. Its id must be that of the key. */
export function parseVerifierKey(sha256: Sha256, text: string): VerifierKey | string {
  // The base64 may contain a plus: split at the first two.
  const [, name, id, base64] = /^([^+]*)\+([0-9a-f]{8})\+(.+)$/su.exec(text) ?? []
  if (name === undefined || id === undefined || base64 === undefined) return 'a verifier key is <name>+<8 hex>+<base64>'
  if (!isKeyName(name)) return "a key's name is not empty and has no white space"
  const bytes = parseBase64(base64)
  if (bytes === null || bytes.length < 2) return 'the key is not in canonical base64'
  const [kind, publicKey] = [bytes[0]!, bytes.subarray(1)]
  if ((kind === ED25519 || kind === ED25519_COSIGNATURE) && publicKey.length !== ED25519_KEY_BYTES) return 'an Ed25519 key has 32 bytes'
  if (keyIdOf(sha256, name, kind, publicKey) !== id) return 'the key id is not that of the key'
  return { name, id, kind, publicKey }
}

/** The note, or why the bytes are none. */
export function parseNote(bytes: Uint8Array): SignedNote | string {
  let whole: string
  try {
    whole = decodeText(bytes)
  } catch {
    return 'a note is UTF-8'
  }
  if (CONTROL.test(whole)) return 'a note has no control characters'
  // The text may have empty lines of its own: the last one ends it.
  const end = whole.lastIndexOf('\n\n')
  if (end === -1) return 'an empty line stands between a text and its signatures'
  const lines = whole.slice(end + 2).split('\n')
  if (lines.pop() !== '' || lines.length === 0) return 'each signature is a line that ends with a line feed'
  if (lines.length > SIGNATURES_MAX) return `a note has at most ${SIGNATURES_MAX} signatures`
  const signatures: NoteSignature[] = []
  for (const line of lines) {
    const signature = parseSignatureLine(line)
    if (signature === null) return `no line of a signature: ${JSON.stringify(line.slice(0, 80))}`
    signatures.push(signature)
  }
  return { text: whole.slice(0, end + 1), signatures }
}

function parseSignatureLine(line: string): NoteSignature | null {
  if (!line.startsWith(SIGNATURE_MARK)) return null
  const parts = line.slice(SIGNATURE_MARK.length).split(' ')
  const [name = '', base64 = ''] = parts
  const bytes = parseBase64(base64)
  if (parts.length !== 2 || !isKeyName(name) || bytes === null || bytes.length <= KEY_ID_BYTES) return null
  return { name, id: idHex(bytes), bytes: bytes.subarray(KEY_ID_BYTES) }
}

function idHex(bytes: Uint8Array): string {
  let hex = ''
  for (let i = 0; i < KEY_ID_BYTES; i++) hex += bytes[i]!.toString(16).padStart(2, '0')
  return hex
}

export function formatSignatureLine({ name, id, bytes }: NoteSignature): string {
  const idBytes = Uint8Array.from({ length: KEY_ID_BYTES }, (_, i) => Number.parseInt(id.slice(2 * i, 2 * i + 2), 16))
  return `${SIGNATURE_MARK}${name} ${formatBase64(joined(idBytes, bytes))}\n`
}

/** @throws RangeError where the text can't be that of a note */
export function formatNote({ text, signatures }: SignedNote): string {
  if (!text.endsWith('\n') || !text.isWellFormed() || CONTROL.test(text))
    throw new RangeError('the text of a note is lines of well-formed text that each end with a line feed')
  return `${text}\n${signatures.map(formatSignatureLine).join('')}`
}

/** Checks an Ed25519 signature (RFC 8032), strictly. May be asynchronous, as WebCrypto is. */
export type Ed25519Check = (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean | Promise<boolean>

/** What each signature by a known key says. */
export interface OpenedNote {
  readonly text: string
  /** Keys of which a signature was there and right. */
  readonly verified: readonly { readonly key: VerifierKey; readonly signature: NoteSignature }[]
}

/** What is signed, for each kind of key; null where the kind or the signature's form is not known. */
function signedMessage(kind: number, text: string, signature: Uint8Array): { message: Uint8Array; signature: Uint8Array } | null {
  const message = encodeText(text)
  if (kind === ED25519 && signature.length === 64) return { message, signature }
  if (kind !== ED25519_COSIGNATURE || signature.length !== 72) return null
  return { message: cosignedMessage(text, cosignatureTime(signature)), signature: signature.subarray(8) }
}

/** Times end here. Source: C2SP tlog-cosignature. */
export const COSIGNATURE_TIME_MAX = (1n << 63n) - 1n

/** What a witness signs who saw this note's text at this time (seconds since 1970). Source: C2SP tlog-cosignature. */
export function cosignedMessage(text: string, time: bigint): Uint8Array {
  return encodeText(`cosignature/v1\ntime ${time}\n${text}`)
}

/** A cosignature as it stands behind the key id: the time in 8 bytes, the signature. @throws RangeError for a time that is none */
export function formatCosignature(time: bigint, signature: Uint8Array): Uint8Array {
  if (time < 0n || time > COSIGNATURE_TIME_MAX) throw new RangeError(`a time has 0 to 2^63-1 seconds, not ${time}`)
  return joined(
    Uint8Array.from({ length: 8 }, (_, i) => Number((time >> BigInt(56 - 8 * i)) & 0xffn)),
    signature,
  )
}

/** Seconds since 1970 at which a witness says that it saw the note. Source: C2SP tlog-cosignature. */
export function cosignatureTime(signature: Uint8Array): bigint {
  let time = 0n
  for (let i = 0; i < 8; i++) time = (time << 8n) | BigInt(signature[i]!)
  return time
}

/**
 * Checks every signature by a known key (name and id together): one that is wrong spoils the note, whoever else signed.
 * Signatures by others are ignored. Returns why the note is refused, or what was verified; that may be nothing.
 */
export async function openNote(note: SignedNote, keys: readonly VerifierKey[], check: Ed25519Check): Promise<OpenedNote | string> {
  const verified: { key: VerifierKey; signature: NoteSignature }[] = []
  for (const signature of note.signatures) {
    const key = keys.find(({ name, id }) => name === signature.name && id === signature.id)
    if (key === undefined) continue
    if (verified.some((other) => other.key === key)) return `two signatures by the key ${key.name}+${key.id}`
    const signed = signedMessage(key.kind, note.text, signature.bytes)
    const isRight = signed !== null && (await check(key.publicKey, signed.message, signed.signature))
    if (!isRight) return `the signature by ${key.name}+${key.id} is wrong`
    verified.push({ key, signature })
  }
  return { text: note.text, verified }
}
