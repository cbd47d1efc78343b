/** Signed records without the writer: the signed bytes are put together here a second time, as docs/format.md says them. */
import { constants, createHash, generateKeyPairSync, sign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { formatLine } from '../../src/verify/record.ts'
import { makeLedger, ORIGIN } from './make-lines.ts'
import type { MadeRecord, RecordInput } from './make-lines.ts'

export interface TestKey {
  readonly id: string
  readonly alg: 'ed25519' | 'rsa-pss-sha256'
  readonly spki: Buffer
  readonly privateKey: KeyObject
}

export function testKey(alg: TestKey['alg'], bits = 2048): TestKey {
  const { publicKey, privateKey } = alg === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('rsa', { modulusLength: bits })
  const spki = publicKey.export({ format: 'der', type: 'spki' })
  const id = createHash('sha256').update(`${alg}\n`).update(spki).digest('hex').slice(0, 8)
  return { id, alg, spki, privateKey }
}

/** The bytes that are signed. */
export function signedBytes(origin: string, hash: string): Buffer {
  return Buffer.concat([Buffer.of(0), Buffer.from('cortex-ledger/v1 record\n'), Buffer.from(`${origin}\n`), Buffer.from(`${hash}\n`)])
}

export function signBy({ alg, privateKey }: TestKey, message: Uint8Array): Buffer {
  if (alg === 'ed25519') return sign(null, message, privateKey)
  return sign('sha256', message, { key: privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 })
}

export interface SignedInput extends RecordInput {
  readonly by?: readonly TestKey[]
  /** What stands in place of a key's signature. */
  readonly forge?: (key: TestKey, hash: string) => Uint8Array
}

const own = (type: string, entry: object): SignedInput => ({ stream: 'ledger', actor: 'cortex-ledger', action: 'keys', type, entry })

export const added = ({ id, alg, spki }: TestKey, more: object = {}): SignedInput =>
  own('KeyAdded', { key: id, purpose: 'record', alg, public_key: spki.toString('base64'), ...more })
export const retired = ({ id }: Pick<TestKey, 'id'>, more: object = {}): SignedInput =>
  own('KeyRetired', { key: id, purpose: 'record', ...more })

/** A chain of records behind a `LedgerCreated`. */
export function signedLedger(inputs: readonly SignedInput[], origin = ORIGIN): string[] {
  const orders = inputs.map(({ by = [] }) => by.toSorted((a, b) => (a.id < b.id ? -1 : 1)))
  const plain = inputs.map((input, i): RecordInput => {
    const { by, forge: _forge, ...rest } = input
    return by === undefined ? rest : { ...rest, signers: orders[i]!.map(({ id }) => id) }
  })
  const records = makeLedger(plain, origin)
  return records.map((record, seq) => (seq === 0 ? record.line : lineWith(record, orders[seq - 1]!, inputs[seq - 1]!, origin)))
}

function lineWith(record: MadeRecord, keys: readonly TestKey[], { forge, withheld }: SignedInput, origin: string): string {
  if (keys.length === 0) return record.line
  const signatures = keys.map((key) => {
    const signature = forge?.(key, record.hash) ?? signBy(key, signedBytes(origin, record.hash))
    return `{"key":"${key.id}","alg":"${key.alg}","sig":"${Buffer.from(signature).toString('base64')}"}`
  })
  const isWithheld = withheld === true
  return formatLine({
    ...record,
    signatures_text: `[${signatures.join(',')}]`,
    salt: isWithheld ? null : record.salt,
    entry_text: isWithheld ? null : record.entry_text,
  })
}
