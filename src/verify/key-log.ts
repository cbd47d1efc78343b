/**
 * The keys of a ledger and when each was right, from its own records: `LedgerCreated`, `KeyAdded`, `KeyRetired`. A key
 * that the ledger names is known, not trusted: trust comes from outside. Source: docs/format.md, "Keys".
 */
import { formatBase64, parseBase64 } from './base64.ts'
import type { Sha256 } from './hash.ts'
import { ED25519, joined, parseVerifierKey } from './note.ts'
import { encodeText } from './text.ts'

export const KEY_PURPOSES = ['checkpoint', 'record'] as const
/** What a key signs: a record key is never a checkpoint key. */
export type KeyPurpose = (typeof KEY_PURPOSES)[number]

export const SIGNATURE_ALGORITHMS = ['ed25519', 'rsa-pss-sha256'] as const
/** As it stands in a record's signature: Ed25519 (RFC 8032), or RSA-PSS (RFC 8017) with SHA-256, MGF1 with SHA-256 and a salt of 32 bytes. */
export type SignatureAlgorithm = (typeof SIGNATURE_ALGORITHMS)[number]

/** A key that the ledger names. */
export interface LedgerKey {
  /** 8 lower-case hex digits. */
  readonly key: string
  readonly purpose: KeyPurpose
  readonly alg: SignatureAlgorithm
  /** Of a checkpoint key: `<name>+<key id>+<base64>`. */
  readonly verifier_key?: string
  /** Of a record key: base64 of its SPKI in DER. */
  readonly public_key?: string
  /** Position of the record that names it: 0 for the keys of `LedgerCreated`. It is right behind that record. */
  readonly added_seq: number
  /** Position of its `KeyRetired`, from which on it is not right any more; null where there is none. */
  readonly retired_seq: number | null
}

/** The types of the reserved stream whose entries name keys. */
export type KeyRecordType = 'LedgerCreated' | 'KeyAdded' | 'KeyRetired'
export const KEY_RECORD_TYPES: readonly KeyRecordType[] = ['LedgerCreated', 'KeyAdded', 'KeyRetired']

/** More are taken for an attack on whoever reads them. */
const KEYS_MAX = 10_000
const PUBLIC_KEY_DIGITS_MAX = 4096
/** DER before the 32 bytes of an Ed25519 public key (SPKI). Source: RFC 8410. */
const ED25519_SPKI_PREFIX = Uint8Array.of(0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00)
const ED25519_KEY_BYTES = 32

/** Id of a record key: the first 4 bytes of SHA-256( alg LF SPKI ), as hex. */
export function recordKeyId(sha256: Sha256, alg: SignatureAlgorithm, spki: Uint8Array): string {
  return sha256(joined(encodeText(`${alg}\n`), spki)).slice(0, 8)
}

/** The 32 bytes of an Ed25519 key from its SPKI, or null where it is none. */
export function ed25519KeyOf(spki: Uint8Array): Uint8Array | null {
  if (spki.length !== ED25519_SPKI_PREFIX.length + ED25519_KEY_BYTES) return null
  return ED25519_SPKI_PREFIX.every((byte, i) => byte === spki[i]) ? spki.subarray(ED25519_SPKI_PREFIX.length) : null
}

type NewKey = Omit<LedgerKey, 'added_seq' | 'retired_seq'>

interface KnownKey {
  readonly named: NewKey
  /** SPKI in base64: one key has one purpose, whatever it is called. */
  readonly spki: string
}

function isObject(value: unknown): value is { readonly [member: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The key that a verifier key names, or why it is none that signs checkpoints of this origin. */
function checkpointKey(sha256: Sha256, text: unknown, origin: string): KnownKey | string {
  const key = typeof text === 'string' ? parseVerifierKey(sha256, text) : 'verifier_key is not a text'
  if (typeof key === 'string') return key
  if (key.kind !== ED25519) return 'a checkpoint key is an Ed25519 key'
  if (key.name !== origin) return `a checkpoint key is named ${origin}, as the ledger`
  const named = { key: key.id, purpose: 'checkpoint', alg: 'ed25519', verifier_key: text as string } as const
  return { named, spki: formatBase64(joined(ED25519_SPKI_PREFIX, key.publicKey)) }
}

/** The key that a `KeyAdded` names, or why it names none. */
function addedKey(sha256: Sha256, entry: unknown, origin: string): KnownKey | string {
  if (!isObject(entry)) return 'the entry is not an object'
  const { key, purpose, alg, verifier_key, public_key } = entry
  if (purpose === 'checkpoint') {
    if (alg !== 'ed25519') return 'the alg of a checkpoint key is ed25519'
    const known = checkpointKey(sha256, verifier_key, origin)
    return typeof known === 'string' || known.named.key === key ? known : 'the key id is not that of the key'
  }
  if (purpose !== 'record') return `purpose is none of ${KEY_PURPOSES.join(', ')}`
  const algorithm = SIGNATURE_ALGORITHMS.find((each) => each === alg)
  if (algorithm === undefined) return `alg is none of ${SIGNATURE_ALGORITHMS.join(', ')}`
  const isText = typeof public_key === 'string' && public_key.length <= PUBLIC_KEY_DIGITS_MAX
  const spki = isText ? parseBase64(public_key) : null
  if (!isText || spki === null || spki.length === 0) return 'public_key is not canonical base64'
  if (algorithm === 'ed25519' && ed25519KeyOf(spki) === null) return 'public_key is not the SPKI of an Ed25519 key'
  if (key !== recordKeyId(sha256, algorithm, spki)) return 'the key id is not that of the key'
  return { named: { key, purpose, alg: algorithm, public_key }, spki: public_key }
}

/** Takes the records that name keys, in the order of the ledger, and knows what was right when. */
export class KeyLog {
  readonly #sha256: Sha256
  readonly #keys = new Map<string, LedgerKey>()
  readonly #spkis = new Set<string>()

  constructor(sha256: Sha256) {
    this.#sha256 = sha256
  }

  /**
   * Takes what a record says about keys. Returns why it says nothing that counts, or null. Texts in the `keys` of a
   * `LedgerCreated` that are no verifier keys of the origin name none.
   */
  take(type: KeyRecordType, entry: unknown, seq: number, origin: string): string | null {
    if (type === 'KeyRetired') return this.#retire(entry, seq)
    if (type === 'KeyAdded') {
      const added = addedKey(this.#sha256, entry, origin)
      return typeof added === 'string' ? added : this.#add(added, seq)
    }
    const keys = isObject(entry) ? entry['keys'] : null
    if (!Array.isArray(keys)) return null
    for (const text of keys.slice(0, KEYS_MAX)) {
      const first = checkpointKey(this.#sha256, text, origin)
      if (typeof first !== 'string') this.#add(first, seq)
    }
    return null
  }

  #add({ named, spki }: KnownKey, seq: number): string | null {
    if (this.#keys.has(named.key)) return `the key ${named.key} is there already`
    if (this.#spkis.has(spki)) return `the key ${named.key} is there already for another purpose`
    if (this.#keys.size >= KEYS_MAX) return `there are more than ${KEYS_MAX} keys`
    this.#spkis.add(spki)
    this.#keys.set(named.key, { ...named, added_seq: seq, retired_seq: null })
    return null
  }

  #retire(entry: unknown, seq: number): string | null {
    const id = isObject(entry) ? entry['key'] : null
    if (typeof id !== 'string') return 'the entry names no key'
    const key = this.#keys.get(id)
    if (key === undefined) return `no key ${id.slice(0, 8)} was added before`
    if (isObject(entry) && entry['purpose'] !== key.purpose) return `the purpose of the key ${key.key} is ${key.purpose}`
    if (key.retired_seq !== null) return `the key ${key.key} was retired at ${key.retired_seq} already`
    this.#keys.set(key.key, { ...key, retired_seq: seq })
    return null
  }

  get(id: string): LedgerKey | undefined {
    return this.#keys.get(id)
  }

  /** All keys, in the order in which they were added. */
  list(): LedgerKey[] {
    return [...this.#keys.values()]
  }
}
