/** The signatures of records in Node, as strict as src/verify asks for. Source: docs/format.md, "Signatures of a record". */
import { constants, createPublicKey, verify } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { ed25519KeyOf } from '../verify/key-log.ts'
import type { SignatureAlgorithm } from '../verify/key-log.ts'
import type { RecordSignatureCheck } from '../verify/record-signatures.ts'
import { ed25519Check } from './ed25519.ts'

export const RSA_BITS_MIN = 2048
export const RSA_BITS_MAX = 16_384
/** RSA-PSS: SHA-256, MGF1 with SHA-256, a salt of 32 bytes. */
export const PSS = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 } as const
/** Keys whose making is remembered: a ledger has few. */
const KEYS_MAX = 256

/** Why a key is no RSA key that signs records, or null. */
export function rsaKeyFault(key: KeyObject): string | null {
  // A key that is bound to PSS (OID rsassaPss) has another SPKI, which few libraries read.
  if (key.asymmetricKeyType !== 'rsa') return `it is a key of the kind ${key.asymmetricKeyType}`
  const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {}
  if (modulusLength < RSA_BITS_MIN || modulusLength > RSA_BITS_MAX)
    return `it has ${modulusLength} bits, not ${RSA_BITS_MIN} to ${RSA_BITS_MAX}`
  return publicExponent >= 3n && publicExponent % 2n === 1n ? null : `its public exponent is ${publicExponent}`
}

const rsaKeys = new Map<string, KeyObject | null>()

/** The RSA key of an SPKI, or null where it is none that signs records. */
function rsaKeyOf(spki: Uint8Array): KeyObject | null {
  const der = Buffer.from(spki)
  const text = der.toString('latin1')
  const known = rsaKeys.get(text)
  if (known !== undefined) return known
  let key: KeyObject | null = null
  try {
    key = createPublicKey({ key: der, format: 'der', type: 'spki' })
    // One key has one spelling.
    if (rsaKeyFault(key) !== null || !key.export({ format: 'der', type: 'spki' }).equals(der)) key = null
  } catch {
    key = null
  }
  if (rsaKeys.size >= KEYS_MAX) rsaKeys.clear()
  rsaKeys.set(text, key)
  return key
}

/** True for a public key that signs records by this algorithm. @param spki in DER */
export function isRecordKey(alg: SignatureAlgorithm, spki: Uint8Array): boolean {
  return alg === 'ed25519' ? ed25519KeyOf(spki) !== null : rsaKeyOf(spki) !== null
}

export const checkRecordSignature: RecordSignatureCheck = (alg, spki, message, signature) => {
  if (alg === 'ed25519') {
    const publicKey = ed25519KeyOf(spki)
    return publicKey !== null && ed25519Check(publicKey, message, signature)
  }
  const key = rsaKeyOf(spki)
  if (key === null || signature.length !== Math.ceil((key.asymmetricKeyDetails?.modulusLength ?? 0) / 8)) return false
  try {
    return verify('sha256', message, { key, ...PSS }, signature)
  } catch {
    return false
  }
}
