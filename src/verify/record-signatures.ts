/**
 * Whether the signatures that records carry are those of keys that were right at their positions. The grammar of
 * signatures is checked with the line (signatures.ts). Source: docs/format.md, "Signatures of a record".
 */
import { parseBase64 } from './base64.ts'
import type { Sha256 } from './hash.ts'
import { KeyLog } from './key-log.ts'
import type { KeyRecordType, LedgerKey, SignatureAlgorithm } from './key-log.ts'
import { whereOf } from './problems.ts'
import type { Findings, Place } from './problems.ts'
import type { SubCheck } from './report.ts'
import { encodeText } from './text.ts'

/**
 * True where the signature is right. @param spki the public key in DER. It has to be strict: Ed25519 in canonical
 * encodings and with no small-order key; RSA-PSS with SHA-256, MGF1 with SHA-256, a salt of 32 bytes, a key of 2048 bits or more.
 */
export type RecordSignatureCheck = (alg: SignatureAlgorithm, spki: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean

/** What is signed: 0x00, `cortex-ledger/v1 record`, and origin and hash on a line each. 0x00 can't stand in a signed note. */
export function recordSignatureMessage(origin: string, hash: string): Uint8Array {
  return encodeText(`\0cortex-ledger/v1 record\n${origin}\n${hash}\n`)
}

/** A record's signatures as they stand in its line, grammar checked, and what they are of. */
export interface SignedRecord {
  readonly seq: number
  /** 64 lower-case hex digits. */
  readonly hash: string
  /** The JSON array's text. */
  readonly signatures: string
  readonly place: Place
}

interface Signature {
  readonly key: string
  readonly alg: SignatureAlgorithm
  readonly sig: string
}

const CHECK_MISSING = 'a check of signatures, passed in (checkRecordSignature)'
const NOTHING_SIGNED = 'records that are signed'
const KEYS_LOST = 'every record: one that names a key may be among those that are missing or could not be read'

export class RecordSignatures {
  readonly #findings: Findings
  readonly #check: RecordSignatureCheck | null
  readonly #keys: KeyLog
  #signed = false
  #failed = false
  /** A signature by a key that a lost record may have named. */
  #unjudged = false

  /** @param check null: nothing is judged, and the sub-check says so */
  constructor(findings: Findings, sha256: Sha256, check: RecordSignatureCheck | null) {
    this.#findings = findings
    this.#check = check
    this.#keys = new KeyLog(sha256)
  }

  /** A record of the ledger's own that names keys. It comes before its own signatures are taken. */
  takeKeys(type: KeyRecordType, entry: unknown, seq: number, origin: string, place: Place): void {
    if (this.#check === null) return
    const fault = this.#keys.take(type, entry, seq, origin)
    if (fault === null) return
    this.#report(
      'key_misused',
      seq,
      type === 'KeyRetired' ? 'the retirement of a key that is in use' : 'the addition of a new key',
      fault,
      place,
    )
  }

  /** @param isWhole no record before this one is missing or could not be trusted */
  take({ seq, hash, signatures, place }: SignedRecord, origin: string | null, isWhole: boolean): void {
    const check = this.#check
    if (check === null) return
    this.#signed = true
    if (origin === null) {
      this.#unjudged = true
      return
    }
    const message = recordSignatureMessage(origin, hash)
    // The grammar was checked, so this can't fail.
    for (const { key: id, alg, sig } of JSON.parse(signatures) as Signature[]) {
      const key = this.#keys.get(id)
      if (key === undefined && !isWhole) {
        this.#unjudged = true
        continue
      }
      const misuse = misuseOf(key, seq)
      if (key === undefined || misuse !== null) this.#report('key_misused', seq, misuse, id, place)
      else if (key.alg !== alg) this.#report('signature_invalid', seq, `a signature of ${key.alg} by ${id}`, alg, place)
      else if (!isRight(check, key, message, sig))
        this.#report('signature_invalid', seq, `the signature of ${hash} by ${id}`, sig.slice(0, 32), place)
    }
  }

  #report(code: 'key_misused' | 'signature_invalid', seq: number, expected: string | null, found: string, place: Place): void {
    this.#failed = true
    this.#findings.add(code, seq, expected, found, whereOf(place))
  }

  /** @param lost why not all records could be read, or null */
  subCheck(lost: string | null): SubCheck {
    if (this.#failed) return { verdict: 'fail' }
    if (this.#check === null) return { verdict: 'not checked', missing: CHECK_MISSING }
    if (this.#unjudged) return { verdict: 'not checked', missing: KEYS_LOST }
    if (lost !== null) return { verdict: 'not checked', missing: lost }
    return this.#signed ? { verdict: 'pass' } : { verdict: 'not checked', missing: NOTHING_SIGNED }
  }
}

/** What was expected instead of a signature by this key at this position, or null where it is right there. */
function misuseOf(key: LedgerKey | undefined, seq: number): string | null {
  if (key === undefined) return 'a key that a KeyAdded before names'
  if (key.purpose !== 'record') return 'a key that was added for records'
  if (seq <= key.added_seq) return `a position behind ${key.added_seq}, where the key was added`
  return key.retired_seq === null || seq < key.retired_seq ? null : `a position before ${key.retired_seq}, where the key was retired`
}

function isRight(check: RecordSignatureCheck, key: LedgerKey, message: Uint8Array, base64: string): boolean {
  const spki = parseBase64(key.public_key ?? '')
  const signature = parseBase64(base64)
  if (spki === null || signature === null) return false
  try {
    return check(key.alg, spki, message, signature) === true
  } catch {
    return false
  }
}
