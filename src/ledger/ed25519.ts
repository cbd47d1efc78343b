/** Ed25519 in Node, as strict as src/verify asks for. Source: RFC 8032. */
import { createPublicKey, verify } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { isStrictEd25519Key } from '../verify/ed25519.ts'
import type { Ed25519Check } from '../verify/note.ts'

/** DER in front of the 32 bytes of a public key (SPKI). Source: RFC 8410. */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')

/** @throws where the bytes are no point of the curve */
export function publicKeyFromRaw(publicKey: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.concat([SPKI_PREFIX, publicKey]), format: 'der', type: 'spki' })
}

/** True where the signature is right; false for everything else, a key that nobody should use among it. */
export const ed25519Check = ((publicKey, message, signature) => {
  if (!isStrictEd25519Key(publicKey)) return false
  try {
    // OpenSSL refuses an S that is not reduced, and compares R byte by byte.
    return verify(null, message, publicKeyFromRaw(publicKey), signature)
  } catch {
    return false
  }
}) satisfies Ed25519Check
