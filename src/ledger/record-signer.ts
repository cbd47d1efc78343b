/** Who signs single records: for the highest assurance, beside checkpoints. Source: docs/format.md, "Signatures of a record". */
import { createPrivateKey, createPublicKey, KeyObject, sign } from 'node:crypto'
import type { SignKeyObjectInput } from 'node:crypto'
import { SIGNATURE_ALGORITHMS, recordKeyId } from '../verify/key-log.ts'
import type { SignatureAlgorithm } from '../verify/key-log.ts'
import { HEADER_LIMITS } from '../verify/header.ts'
import { LedgerError } from './errors.ts'
import { nodeHashing } from './hashing.ts'
import { checkRecordSignature, isRecordKey, PSS, rsaKeyFault } from './signature-check.ts'

/** Signs records. One asynchronous method, so that a KMS or an HSM fits. */
export interface RecordSigner {
  /** Key id: the first 4 bytes of SHA-256( alg LF SPKI ), as 8 lower-case hex digits. */
  readonly key: string
  readonly alg: SignatureAlgorithm
  /** SPKI in DER. */
  readonly publicKey: Uint8Array
  /** The signature's bytes. It should fail rather than never answer: the append waits for it. */
  sign(message: Uint8Array): Promise<Uint8Array>
  /** For a process that is exiting, where nothing asynchronous runs any more; absent where it can't. */
  signSync?(message: Uint8Array): Uint8Array
}

/** The public half of a record key. */
export type RecordPublicKey = Pick<RecordSigner, 'key' | 'alg' | 'publicKey'>

function algorithmOf(key: KeyObject): SignatureAlgorithm {
  if (key.asymmetricKeyType === 'ed25519') return 'ed25519'
  const fault = rsaKeyFault(key)
  if (fault === null) return 'rsa-pss-sha256'
  throw new LedgerError('key_error', `the key can't sign records: ${fault}. Give an Ed25519 key, or an RSA key of 2048 bits or more`)
}

function publicKeyOf(key: KeyObject): RecordPublicKey {
  const alg = algorithmOf(key)
  const publicKey = Uint8Array.from((key.type === 'public' ? key : createPublicKey(key)).export({ format: 'der', type: 'spki' }))
  return { key: recordKeyId(nodeHashing.sha256, alg, publicKey), alg, publicKey }
}

function readPem(pem: string | Uint8Array, passphrase: string | undefined): KeyObject {
  const key = typeof pem === 'string' ? pem : Buffer.from(pem)
  try {
    return createPrivateKey({ key, format: 'pem', ...(passphrase !== undefined && { passphrase }) })
  } catch (error) {
    throw new LedgerError(
      'key_error',
      `the private key can't be read: give it as PEM (PKCS #8 or PKCS #1), and its passphrase where it has one (${(error as Error).message})`,
      { cause: error },
    )
  }
}

/**
 * The public half of a key in PEM, which may be private or public, and needs no passphrase then.
 * @throws LedgerError `key_error`
 */
export function recordPublicKeyFrom(pem: string, passphrase?: string): RecordPublicKey {
  if (!pem.includes('-----BEGIN PUBLIC KEY-----')) return publicKeyOf(readPem(pem, passphrase))
  try {
    return publicKeyOf(createPublicKey({ key: pem, format: 'pem' }))
  } catch (error) {
    if (error instanceof LedgerError) throw error
    throw new LedgerError('key_error', `the public key can't be read: give it as PEM (${(error as Error).message})`, { cause: error })
  }
}

/**
 * Signs records with a private key: Ed25519, or RSA of 2048 bits or more (RSA-PSS, SHA-256, a salt of 32 bytes).
 * @param key a KeyObject, or PEM (PKCS #8, PKCS #1)
 * @param passphrase of a PEM that is under one
 * @throws LedgerError `key_error`
 */
export function recordSignerFromKey(key: KeyObject | string | Uint8Array, passphrase?: string): RecordSigner {
  const isKeyObject = key instanceof KeyObject
  if (!isKeyObject && typeof key !== 'string' && !(key instanceof Uint8Array)) throw new TypeError('key must be a KeyObject or a PEM')
  const secret = isKeyObject ? key : readPem(key, passphrase)
  if (secret.type !== 'private') throw new LedgerError('key_error', `a ${secret.type} key can't sign: give the private key`)
  const half = publicKeyOf(secret)
  const hash = half.alg === 'ed25519' ? null : 'sha256'
  const input: SignKeyObjectInput = half.alg === 'ed25519' ? { key: secret } : { key: secret, ...PSS }
  return {
    ...half,
    sign: (message) =>
      new Promise((resolve, reject) => {
        // With a callback it is done on a thread of its own: an RSA signature takes as long as writing many records.
        sign(hash, message, input, (error, signature) => {
          if (error === null) resolve(signature)
          else reject(error)
        })
      }),
    signSync: (message) => sign(hash, message, input),
  }
}

/**
 * The signers in the order of their ids, which is that of the header.
 * @throws TypeError | RangeError | LedgerError `key_error`
 */
export function asRecordSigners(given: RecordSigner | readonly RecordSigner[] | undefined): readonly RecordSigner[] {
  if (given === undefined) return []
  const signers: readonly RecordSigner[] = Array.isArray(given) ? given : [given as RecordSigner]
  for (const signer of signers) {
    const isSigner = typeof signer === 'object' && signer !== null && typeof signer.sign === 'function'
    if (!isSigner || !(signer.publicKey instanceof Uint8Array) || !SIGNATURE_ALGORITHMS.includes(signer.alg))
      throw new TypeError('signRecords must be a signer of records, or several: an object with key, alg, publicKey and sign')
    requireKeyId(signer)
  }
  if (signers.length > HEADER_LIMITS.array_items_max) throw new RangeError(`a record has at most ${HEADER_LIMITS.array_items_max} signers`)
  const ordered = signers.toSorted((a, b) => (a.key < b.key ? -1 : 1))
  const twice = ordered.find(({ key }, i) => key === ordered[i + 1]?.key)
  if (twice !== undefined) throw new RangeError(`signRecords has the key ${twice.key} twice`)
  return ordered
}

/** @throws LedgerError `key_error` where the key is none that signs records, or has another id */
export function requireKeyId({ key, alg, publicKey }: RecordPublicKey): void {
  if (!isRecordKey(alg, publicKey))
    throw new LedgerError(
      'key_error',
      `the public key of ${key} is no key that signs records by ${alg}: Ed25519, or RSA of 2048 bits or more`,
    )
  const id = recordKeyId(nodeHashing.sha256, alg, publicKey)
  if (id !== key) throw new LedgerError('key_error', `the signer says that its key is ${key}, and the id of its public key is ${id}`)
}

function checked(signer: RecordSigner, message: Uint8Array, signature: unknown): Uint8Array {
  if (signature instanceof Uint8Array && checkRecordSignature(signer.alg, signer.publicKey, message, signature)) return signature
  throw new LedgerError(
    'key_error',
    `what was given as a signature by ${signer.key} is none under that key: check that the signer has the right one. Nothing was recorded`,
    { key: signer.key },
  )
}

function failed(signer: RecordSigner, error: unknown): LedgerError {
  const why = error instanceof Error ? error.message : String(error)
  return new LedgerError('key_error', `the key ${signer.key} could not sign: ${why}. Nothing was recorded`, {
    key: signer.key,
    cause: error,
  })
}

/** A signature that is right. @throws LedgerError `key_error` */
export async function recordSignature(signer: RecordSigner, message: Uint8Array): Promise<Uint8Array> {
  let signature: unknown
  try {
    // A copy: what is checked is what was meant.
    signature = await signer.sign(Uint8Array.from(message))
  } catch (error) {
    throw failed(signer, error)
  }
  return checked(signer, message, signature)
}

/** The same without waiting. @throws LedgerError `key_error`, also where the signer can't */
export function recordSignatureSync(signer: RecordSigner, message: Uint8Array): Uint8Array {
  if (signer.signSync === undefined) throw failed(signer, 'it can only sign while the process is alive; await flush() before it exits')
  let signature: unknown
  try {
    signature = signer.signSync(Uint8Array.from(message))
  } catch (error) {
    throw failed(signer, error)
  }
  return checked(signer, message, signature)
}
