/**
 * One encrypted entry: `{"$enc":{"alg":"A256GCM","ciphertext":"…","iv":"…","kc":"…","key":"<id of the data key>"}}`.
 * Source: docs/format.md, "Encrypted entries".
 *
 * HKDF-SHA-256 (RFC 5869) of the data key, with the iv as salt, gives the key of this one entry and `kc`, a commitment to
 * it: AES-GCM alone can be made to open as two plaintexts under two keys. What the tag covers beside the text is
 * origin LF run_id, so that no ciphertext opens in the place of another one.
 */
import { createCipheriv, createDecipheriv, hkdfSync, timingSafeEqual } from 'node:crypto'
import { LedgerError } from '../errors.ts'
import { LIMITS } from '../limits.ts'
import type { Random } from '../random.ts'

/** An entry whose text begins so is encrypted; no caller's can. */
export const SEALED_START = '{"$enc":{'
export const DATA_KEY_BYTES = 32

const INFO = 'cortex-ledger/v1 entry'
const IV_BYTES = 12
const TAG_BYTES = 16
const AES_KEY_BYTES = 32
const COMMITMENT_BYTES = 32
const KEY_ID = /^[A-Za-z0-9_-]{1,64}$/
/** The only spelling: its members in canonical order, nothing else beside them. */
const SEALED =
  /^\{"\$enc":\{"alg":"A256GCM","ciphertext":"([A-Za-z0-9_-]+)","iv":"([A-Za-z0-9_-]{16})","kc":"([A-Za-z0-9_-]{43})","key":"([A-Za-z0-9_-]{1,64})"\}\}$/
/** The key's id stands at the end: there is no need to look through what may be megabytes. */
const KEY_AT_END = /"key":"([A-Za-z0-9_-]{1,64})"\}\}$/
const END_CHARACTERS = 80

/** A data key that was unwrapped. */
export interface DataKey {
  readonly id: string
  /** 32 bytes. */
  readonly bytes: Uint8Array
}

/** Why an entry does not open; in the `reason` of the error's details. */
export type LockedReason =
  /** The ledger was opened without a master key. */
  | 'no_master_key'
  /** The data key is not there: it was shredded, or its store was lost. */
  | 'key_gone'
  /** The data key can't be unwrapped by the master keys that were given. */
  | 'wrong_master_key'
  /** The store of the data keys, or who unwraps them, failed. */
  | 'key_not_available'
  /** The entry was encrypted under other bytes than the data key has, or its iv or commitment were changed. */
  | 'wrong_key'
  /** The ciphertext was changed, or belongs to another record. */
  | 'not_authentic'
  /** It is no encrypted entry of the form that this version knows. */
  | 'malformed'

interface Derived {
  readonly aesKey: Buffer
  readonly commitment: Buffer
}

function derive(dataKey: Uint8Array, iv: Uint8Array): Derived {
  const bytes = Buffer.from(hkdfSync('sha256', dataKey, iv, INFO, AES_KEY_BYTES + COMMITMENT_BYTES))
  return { aesKey: bytes.subarray(0, AES_KEY_BYTES), commitment: bytes.subarray(AES_KEY_BYTES) }
}

/** What binds a ciphertext to its place. */
export function boundTo(origin: string, run_id: string): string {
  return `${origin}\n${run_id}`
}

/** True for the text of an entry that is encrypted, whatever it says. */
export function isSealed(entry_text: string): boolean {
  return entry_text.startsWith(SEALED_START)
}

/** Id of the key under which the entry is encrypted; null where it names none. */
export function keyIdOf(entry_text: string): string | null {
  return KEY_AT_END.exec(entry_text.slice(-END_CHARACTERS))?.[1] ?? null
}

/**
 * The entry's canonical text, encrypted.
 * @param bound what `boundTo` gives
 * @throws LedgerError `too_large` where the ciphertext makes the entry longer than 16 MiB
 */
export function sealEntry(plain: string, key: DataKey, bound: string, random: Random): string {
  if (key.bytes.length !== DATA_KEY_BYTES || !KEY_ID.test(key.id)) throw new RangeError('a data key has 32 bytes, and an id')
  const iv = random.bytes(IV_BYTES)
  const { aesKey, commitment } = derive(key.bytes, iv)
  const cipher = createCipheriv('aes-256-gcm', aesKey, iv, { authTagLength: TAG_BYTES })
  cipher.setAAD(Buffer.from(bound))
  const ciphertext = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final(), cipher.getAuthTag()]).toString('base64url')
  const sealed = `{"$enc":{"alg":"A256GCM","ciphertext":"${ciphertext}","iv":"${Buffer.from(iv).toString('base64url')}","kc":"${commitment.toString('base64url')}","key":"${key.id}"}}`
  if (sealed.length <= LIMITS.entry_bytes_max) return sealed
  throw new LedgerError(
    'too_large',
    `entry: encrypted it has ${sealed.length} bytes, a third more than it had, and an entry has at most ${LIMITS.entry_bytes_max}; keep large content elsewhere and record its digest. Nothing was recorded`,
    { path: '' },
  )
}

/** The bytes, where this is their only spelling: another one would be a second record that opens to the same. */
function decoded(text: string): Buffer | null {
  const bytes = Buffer.from(text, 'base64url')
  return bytes.toString('base64url') === text ? bytes : null
}

function refuse(code: 'key_error' | 'damaged', reason: LockedReason, key: string | null, what: string): LedgerError {
  return new LedgerError(code, what, { key, reason })
}

/**
 * The plain text of an encrypted entry.
 * @param bound what `boundTo` gives
 * @throws LedgerError `key_error` where the key is not the one of the entry, `damaged` where the entry is not what was encrypted
 */
export function openSealedEntry(entry_text: string, key: DataKey, bound: string): string {
  const [, ciphertextText = '', ivText = '', kcText = '', id = null] = SEALED.exec(entry_text) ?? []
  const [ciphertext, iv, kc] = [decoded(ciphertextText), decoded(ivText), decoded(kcText)]
  if (ciphertext === null || iv === null || kc === null || ciphertext.length < TAG_BYTES || id !== key.id) {
    throw refuse(
      'damaged',
      'malformed',
      keyIdOf(entry_text),
      'the encrypted entry has not the form of one (A256GCM): run verify to see whether the record is what was recorded',
    )
  }
  const { aesKey, commitment } = derive(key.bytes, iv)
  if (!timingSafeEqual(commitment, kc)) {
    throw refuse(
      'key_error',
      'wrong_key',
      id,
      `the data key ${id} is not the one under which the entry was encrypted, or the entry's iv or kc were changed: run verify; where that passes, restore the data keys of this ledger`,
    )
  }
  const decipher = createDecipheriv('aes-256-gcm', aesKey, iv, { authTagLength: TAG_BYTES })
  decipher.setAAD(Buffer.from(bound))
  decipher.setAuthTag(ciphertext.subarray(-TAG_BYTES))
  try {
    return Buffer.concat([decipher.update(ciphertext.subarray(0, -TAG_BYTES)), decipher.final()]).toString('utf8')
  } catch {
    throw refuse(
      'damaged',
      'not_authentic',
      id,
      `the entry does not open under its data key ${id}: its ciphertext was changed, or is that of another record. Run verify to see which`,
    )
  }
}
