/** UTF-8 in and out, with the platform's own coders: the only things here that are not ECMAScript. */

interface Decoder {
  decode(bytes: Uint8Array): string
}
interface Encoder {
  encode(text: string): Uint8Array
  encodeInto(text: string, into: Uint8Array): unknown
}
// Declared here so that src/verify type-checks without the types of Node or of the DOM.
declare const TextDecoder: new (label: 'utf-8', options: { fatal: boolean; ignoreBOM: boolean }) => Decoder
declare const TextEncoder: new () => Encoder

// By default a TextDecoder replaces bad bytes and drops a BOM: two byte strings would read as one text.
const decoder: Decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const encoder: Encoder = new TextEncoder()

/** The text of valid UTF-8, a BOM kept as U+FEFF. @throws TypeError where the bytes are not UTF-8. */
export function decodeText(bytes: Uint8Array): string {
  return decoder.decode(bytes)
}

/** UTF-8 of a text; unpaired surrogates become U+FFFD, so check `isWellFormed` first. */
export function encodeText(text: string): Uint8Array {
  return encoder.encode(text)
}

/** Writes as much of the text's UTF-8 as fits. */
export function encodeInto(text: string, into: Uint8Array): void {
  encoder.encodeInto(text, into)
}

/** True where the bytes are valid UTF-8 (no overlong forms, no surrogates). */
export function isUtf8(bytes: Uint8Array): boolean {
  try {
    decoder.decode(bytes)
    return true
  } catch {
    return false
  }
}

/** Length in UTF-8 bytes of a well-formed text. */
export function byteLength(text: string): number {
  let length = text.length
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    // A surrogate pair is two units and four bytes: each half counts two.
    if (unit > 0x7f) length += unit > 0x7ff && (unit < 0xd800 || unit > 0xdfff) ? 2 : 1
  }
  return length
}
