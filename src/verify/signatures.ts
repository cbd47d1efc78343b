/**
 * The grammar of a record's own signatures. Whether they are true needs a key from outside; that each signer named in
 * the header is there, so that none can be stripped, is part of the line. Source: docs/format.md, "Hash, chain, tree, signatures".
 */

const ED25519_BYTES = 64
/** Signatures of RSA keys from 2048 to 16384 bits. */
const RSA_BYTES_MIN = 256
const RSA_BYTES_MAX = 2048
/** Base64 of the longest. */
const RSA_LENGTH_MAX = 2732

const SIGNATURE = /\{"key":"([0-9a-f]{8})","alg":"(ed25519|rsa-pss-sha256)","sig":"([A-Za-z0-9+/=]{1,2732})"\}/y
// Padded, and the spare bits of the last digit zero: one signature has one spelling.
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$/

/** Bytes that the longest legal array can have: 64 signers. */
export const SIGNATURES_BYTES_MAX = 64 * (RSA_LENGTH_MAX + 64) + 2

/** How many bytes padded base64 stands for: 88 digits may be 64, 65 or 66. */
function bytesOf(base64: string): number {
  return (base64.length / 4) * 3 - (base64.endsWith('==') ? 2 : base64.endsWith('=') ? 1 : 0)
}

/** Why the array's text is not the signatures of exactly these signers, in their order, or null. */
export function signaturesFault(text: string, signers: readonly string[]): string | null {
  let at = 1
  for (const [index, signer] of signers.entries()) {
    SIGNATURE.lastIndex = at
    const match = SIGNATURE.exec(text)
    if (match === null) return `signature ${index} has not the form of one`
    const [whole, key, algorithm, signature] = match as unknown as [string, string, string, string]
    if (key !== signer) return `signature ${index} is of ${key}, where signers names ${signer}`
    const bytes = bytesOf(signature)
    const isRight = algorithm === 'ed25519' ? bytes === ED25519_BYTES : bytes >= RSA_BYTES_MIN && bytes <= RSA_BYTES_MAX
    if (!isRight || !BASE64.test(signature)) return `signature ${index} is not canonical base64 of a signature of ${algorithm}`
    at += whole.length
    const isLast = index === signers.length - 1
    if (text[at] !== (isLast ? ']' : ','))
      return isLast ? 'there are signatures that signers does not name' : `signature ${index + 1} is missing`
    at++
  }
  return text[0] === '[' && at === text.length ? null : 'the signatures are not an array that ends behind the last of them'
}
