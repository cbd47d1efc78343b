/** Ed25519 as this browser has it, or has it not. */
import { isStrictEd25519Key } from '../verify/ed25519.ts'
import type { Ed25519Check } from '../verify/note.ts'
import { hashBytes } from '../verify/tree.ts'

const ALGORITHM = { name: 'Ed25519' }
/** RFC 8032, 7.1, test 1: the signature of no bytes at all. */
const KEY = hashBytes('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a')
const SIGNATURE = new Uint8Array([
  ...hashBytes('e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155'),
  ...hashBytes('5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b'),
])

async function verifies(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): Promise<boolean> {
  const key = await crypto.subtle.importKey('raw', publicKey as BufferSource, ALGORITHM, false, ['verify'])
  return crypto.subtle.verify(ALGORITHM, key, signature as BufferSource, message as BufferSource)
}

/** Null where the browser can't check such signatures: it is asked with one that is right and one that is wrong. */
export async function browserEd25519(): Promise<Ed25519Check | null> {
  const nothing = new Uint8Array(0)
  const right = await verifies(KEY, nothing, SIGNATURE).catch(() => false)
  const wrong = await verifies(KEY, Uint8Array.of(0), SIGNATURE).catch(() => true)
  if (!right || wrong) return null
  return async (publicKey, message, signature) =>
    // A key that is no point of the curve is refused by an error.
    isStrictEd25519Key(publicKey) && verifies(publicKey, message, signature).catch(() => false)
}
