/** Who signs for a ledger, and how what comes back is checked before anybody uses it. */
import { ED25519, parseVerifierKey } from '../verify/note.ts'
import type { VerifierKey } from '../verify/note.ts'
import { ed25519Check } from './ed25519.ts'
import { LedgerError } from './errors.ts'
import { nodeHashing } from './hashing.ts'

/** Signs statements about the ledger. One asynchronous method, so that a KMS or an HSM fits. */
export interface Signer {
  /** The public key as `<name>+<8 hex key id>+<base64>`. */
  readonly verifierKey: string
  /** The 64 bytes of the Ed25519 signature. @throws LedgerError `key_error` */
  sign(message: Uint8Array): Promise<Uint8Array>
}

/** @throws RangeError where it is no Ed25519 verifier key */
export function ed25519VerifierKey(text: string): VerifierKey {
  const key = typeof text === 'string' ? parseVerifierKey(nodeHashing.sha256, text) : 'a verifier key is a text'
  if (typeof key === 'string') throw new RangeError(`${JSON.stringify(text)} is no verifier key: ${key}`)
  if (key.kind !== ED25519) throw new RangeError(`${text} is no Ed25519 key of a log`)
  return key
}

/**
 * Asks the signer, and checks what it gives: a signature that is wrong must never be used.
 * @throws LedgerError `key_error`
 */
export async function signChecked(signer: Signer, message: Uint8Array): Promise<Uint8Array> {
  const { name, id, publicKey } = ed25519VerifierKey(signer.verifierKey)
  let signature: unknown
  try {
    // A copy: what is checked is what was meant.
    signature = await signer.sign(Uint8Array.from(message))
  } catch (error) {
    if (error instanceof LedgerError && error.code === 'key_error') throw error
    const why = error instanceof Error ? error.message : String(error)
    throw new LedgerError('key_error', `the key ${name}+${id} could not sign: ${why}`, { cause: error })
  }
  if (!(signature instanceof Uint8Array) || !ed25519Check(publicKey, message, signature)) {
    throw new LedgerError(
      'key_error',
      `what was given as a signature by ${name}+${id} is none under that key: check that the key is the right one`,
    )
  }
  return signature
}
