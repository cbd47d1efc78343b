/** The ledger's keys in its own records: which there are, and `KeyAdded` and `KeyRetired`. Source: docs/format.md, "Keys". */
import { formatBase64 } from '../verify/base64.ts'
import { KEY_RECORD_TYPES, KeyLog } from '../verify/key-log.ts'
import type { KeyPurpose, KeyRecordType, LedgerKey } from '../verify/key-log.ts'
import { parseNote } from '../verify/note.ts'
import { draftOwnRecord, OWN_ACTOR } from './draft.ts'
import type { Draft, DraftContext } from './draft.ts'
import type { JsonObject } from './entry.ts'
import { LedgerError } from './errors.ts'
import { nodeHashing } from './hashing.ts'
import type { ExpectedVersion, Receipt } from './plan.ts'
import { LedgerRecord } from './record.ts'
import { requireKeyId } from './record-signer.ts'
import type { RecordPublicKey } from './record-signer.ts'
import { ed25519VerifierKey } from './signer.ts'
import type { Signer } from './signer.ts'
import type { Selection, Store } from './store.ts'

/** A checkpoint key by its verifier key (a `Signer` is one), or a record key by its public half (a `RecordSigner` is one). */
export type KeyToAdd = Pick<Signer, 'verifierKey'> | RecordPublicKey

export interface RetireOptions {
  /** Why; it stays in the ledger for ever. */
  readonly reason?: string | undefined
  /** The last checkpoint that the retired key signed, as a signed note: it covers the `KeyAdded` of its successor. */
  readonly checkpoint?: string | undefined
}

const REASON_BYTES_MAX = 1024
const CHECKPOINT_BYTES_MAX = 65_536
/** Other own records may come in between, each another writer's success. */
const RACES_MAX = 20

function isKeyRecord(type: string): type is KeyRecordType {
  return (KEY_RECORD_TYPES as readonly string[]).includes(type)
}

async function keyLogOf(store: Store): Promise<KeyLog> {
  const log = new KeyLog(nodeHashing.sha256)
  let origin = ''
  const take = async (selection: Selection): Promise<void> => {
    for await (const chunk of store.read(selection)) {
      for (const line of chunk) {
        const { header, entry } = new LedgerRecord(line)
        if (header.seq === 0) origin = header.actor
        // What can't be taken adds no key: `verify` says so.
        if (isKeyRecord(header.type)) log.take(header.type, entry, header.seq, origin)
      }
    }
  }
  await take({ filter: {}, from: 0, before: 1, reverse: false, limit: 1 })
  const filter = { type: KEY_RECORD_TYPES.slice(1), stream: ['ledger'] }
  await take({ filter, from: 1, before: Infinity, reverse: false, limit: Infinity })
  return log
}

/** All keys that the ledger names, in the order in which they were added. @throws LedgerError `damaged` | `io_error` */
export async function readKeys(store: Store): Promise<LedgerKey[]> {
  return (await keyLogOf(store)).list()
}

/** @throws LedgerError `key_error` unless each of these keys is in the ledger, for records, and not retired */
export function requireActiveKeys(keys: readonly LedgerKey[], signers: readonly RecordPublicKey[], location: string): void {
  for (const { key: id, publicKey } of signers) {
    const key = keys.find((each) => each.key === id)
    if (key === undefined || key.purpose !== 'record' || key.public_key !== formatBase64(publicKey)) {
      throw new LedgerError(
        'key_error',
        `the record key ${id} is not one of the ledger at ${location}: add it with \`cortex-ledger keys add LEDGER --purpose record --key FILE\` (addKey), then open the ledger again`,
        { key: id },
      )
    }
    if (key.retired_seq !== null) {
      throw new LedgerError(
        'key_error',
        `the record key ${id} was retired at position ${key.retired_seq}: sign with another one, which \`cortex-ledger keys add\` adds`,
        { key: id, retired_seq: key.retired_seq },
      )
    }
  }
}

/** What a `KeyAdded` says. @throws RangeError | LedgerError `key_error` where it is no key that can be added */
function addedEntry(given: KeyToAdd): JsonObject & { readonly key: string; readonly purpose: KeyPurpose } {
  if (typeof given !== 'object' || given === null) throw new TypeError('a key to add is a signer, or its public half')
  if ('verifierKey' in given) {
    const { id } = ed25519VerifierKey(given.verifierKey)
    return { key: id, purpose: 'checkpoint', alg: 'ed25519', verifier_key: given.verifierKey }
  }
  const { key, alg, publicKey } = given
  if (!(publicKey instanceof Uint8Array)) throw new TypeError('a record key is added by key, alg and publicKey, or as a record signer')
  requireKeyId(given)
  return { key, purpose: 'record', alg, public_key: formatBase64(publicKey) }
}

/** The record that adds a key, before it has a place. */
export function keyAddedDraft(key: KeyToAdd, drafting: DraftContext): Draft {
  return draftOwnRecord('KeyAdded', 'add_key', OWN_ACTOR, addedEntry(key), drafting)
}

function retiredEntry(key: LedgerKey, { reason, checkpoint }: RetireOptions): JsonObject {
  if (reason !== undefined && (typeof reason !== 'string' || !reason.isWellFormed() || Buffer.byteLength(reason) > REASON_BYTES_MAX))
    throw new RangeError(`reason must be a text of at most ${REASON_BYTES_MAX} bytes`)
  if (checkpoint !== undefined) {
    if (key.purpose !== 'checkpoint') throw new RangeError('only the retirement of a checkpoint key carries a checkpoint')
    const note = checkpoint.length > CHECKPOINT_BYTES_MAX ? 'it is too long' : parseNote(Buffer.from(checkpoint))
    if (typeof note === 'string') throw new RangeError(`checkpoint must be a signed note: ${note}`)
  }
  const entry = { key: key.key, purpose: key.purpose }
  return { ...entry, ...(reason !== undefined && { reason }), ...(checkpoint !== undefined && { checkpoint }) }
}

export interface LedgerKeysParts {
  readonly store: Store
  readonly drafting: DraftContext
  readonly origin: string | null
  /** With what this process signs records. */
  readonly signing: { readonly ids: readonly string[] } | undefined
  readonly submit: (drafts: readonly Draft[], stream: string, expected: ExpectedVersion) => Promise<Receipt[]>
}

/** The keys of an open ledger. */
export class LedgerKeys {
  readonly #parts: LedgerKeysParts

  constructor(parts: LedgerKeysParts) {
    this.#parts = parts
  }

  list(): Promise<LedgerKey[]> {
    return readKeys(this.#parts.store)
  }

  async add(given: KeyToAdd): Promise<Receipt> {
    const entry = addedEntry(given)
    return this.#record('KeyAdded', 'add_key', (log, seq) => {
      const there = log.get(entry.key)
      if (there !== undefined) {
        const since = there.retired_seq === null ? `added at ${there.added_seq}` : `retired at ${there.retired_seq}, for good`
        throw new LedgerError('key_error', `the key ${entry.key} is in the ledger already (${since}): add another one`, { key: entry.key })
      }
      const fault = log.take('KeyAdded', entry, seq, this.#parts.origin ?? '')
      if (fault !== null) throw new LedgerError('key_error', `the key ${entry.key} can't be added: ${fault}`, { key: entry.key })
      return entry
    })
  }

  async retire(id: string, options: RetireOptions): Promise<Receipt> {
    if (typeof id !== 'string') throw new TypeError('id must be the 8 hex digits of a key')
    return this.#record('KeyRetired', 'retire_key', (log) => {
      const key = log.get(id)
      if (key === undefined)
        throw new LedgerError('key_error', `the ledger has no key ${JSON.stringify(id)}: \`keys list\` shows those it has`, { key: id })
      if (key.retired_seq !== null)
        throw new LedgerError('key_error', `the key ${id} was retired at position ${key.retired_seq} already`, {
          key: id,
          retired_seq: key.retired_seq,
        })
      if (this.#parts.signing?.ids.includes(id) === true)
        throw new LedgerError(
          'key_error',
          `this process signs records with ${id}: open the ledger without it (signRecords), then retire it`,
          { key: id },
        )
      return retiredEntry(key, options)
    })
  }

  /** Writes an own record that is right for the keys as they are at its position, or none. */
  async #record(type: 'KeyAdded' | 'KeyRetired', action: string, decide: (log: KeyLog, seq: number) => JsonObject): Promise<Receipt> {
    const { store, drafting, submit } = this.#parts
    for (let race = 0; ; race++) {
      const { head, streams } = await store.state({ streams: ['ledger'], run_ids: [] })
      const draft = draftOwnRecord(type, action, OWN_ACTOR, decide(await keyLogOf(store), head.size), drafting)
      try {
        const [receipt] = await submit([draft], draft.stream, streams.get('ledger') ?? 'no-stream')
        return receipt as Receipt
      } catch (error) {
        const isRace = error instanceof LedgerError && error.code === 'version_conflict'
        if (!isRace || race >= RACES_MAX) throw error
      }
    }
  }
}
