/**
 * The grammar of a record's own signatures. Whether they are true needs a key from outside; that each signer named in
 * the header is there, so that none can be stripped, is part of the line. Source: docs/format.md, "Hash, chain, tree, signatures".
 */

const ED25519_LENGTH = 88 // Base64 of 64 bytes.
/** Base64 of the signatures of RSA keys from 2048 to 16384 bits. */
const RSA_LENGTH_MIN = 344
const RSA_LENGTH_MAX = 2732

const SIGNATURE = /\{"key":"([0-9a-f]{8})","alg":"(ed25519|rsa-pss-sha256)","sig":"([A-Za-z0-9+/=]{1,2732})"\}/y
// Padded, and the spare bits of the last digit zero: one signature has one spelling.
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$/

/** Bytes that the longest legal array can have: 64 signers. */
export const SIGNATURES_BYTES_MAX = 64 * (RSA_LENGTH_MAX + 64) + 2

/** Why the array's text is not the signatures of exactly these signers, in their order, or null. */
export function signaturesFault(text: string, signers: readonly string[]): string | null {
  let at = 1
  for (const [index, signer] of signers.entries()) {
    SIGNATURE.lastIndex = at
    const match = SIGNATURE.exec(text)
    if (match === null) return `signature ${index} has not the form of one`
    const [whole, key, algorithm, signature] = match as unknown as [string, string, string, string]
    if (key !== signer) return `signature ${index} is of ${key}, where signers names ${signer}`
    const isRight =
      algorithm === 'ed25519'
        ? signature.length === ED25519_LENGTH
        : signature.length >= RSA_LENGTH_MIN && signature.length <= RSA_LENGTH_MAX
    if (!isRight || !BASE64.test(signature)) return `signature ${index} is not canonical base64 of a signature of ${algorithm}`
    at += whole.length
    const isLast = index === signers.length - 1
    if (text[at] !== (isLast ? ']' : ','))
      return isLast ? 'there are signatures that signers does not name' : `signature ${index + 1} is missing`
    at++
  }
  return text[0] === '[' && at === text.length ? null : 'the signatures are not an array that ends behind the last of them'
}
