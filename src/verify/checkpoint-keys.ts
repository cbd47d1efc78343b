/**
 * When which key may sign checkpoints, by the ledger's own word: record 0 names the first keys, `KeyAdded` later ones,
 * `KeyRetired` ends one. Whether to believe it is another question (claims.ts). Source: docs/format.md, "Keys".
 */
import type { Sha256 } from './hash.ts'
import type { KeyRecordType } from './key-log.ts'
import { ED25519, formatVerifierKey, parseVerifierKey } from './note.ts'
import type { VerifierKey } from './note.ts'

/** What is kept of what the ledger says of its keys: each may ask for a hundred signatures to be checked. */
export const KEY_EVENTS_MAX = 4000

export interface KeyAddedEvent {
  readonly kind: 'added'
  readonly seq: number
  readonly key: VerifierKey
}

export interface KeyRetiredEvent {
  readonly kind: 'retired'
  readonly seq: number
  /** Key id, 8 hex. */
  readonly id: string
  /** The last checkpoint that the key signed, a signed note; it covers the `KeyAdded` of its successor. */
  readonly checkpoint: string | null
}

export type KeyEvent = KeyAddedEvent | KeyRetiredEvent

/** What the entry says of checkpoint keys. What can't be read adds no key, and retires none. */
export function readKeyEvents(sha256: Sha256, type: KeyRecordType, seq: number, entry: unknown): KeyEvent[] {
  if (typeof entry !== 'object' || entry === null) return []
  const { keys, purpose, verifier_key, key: id, checkpoint } = entry as { readonly [name: string]: unknown }
  if (type === 'LedgerCreated') return Array.isArray(keys) ? keys.flatMap((text) => addedEvent(sha256, seq, text)) : []
  if (purpose !== 'checkpoint') return []
  if (type === 'KeyAdded') return addedEvent(sha256, seq, verifier_key)
  if (typeof id !== 'string' || !/^[0-9a-f]{8}$/.test(id)) return []
  return [{ kind: 'retired', seq, id, checkpoint: typeof checkpoint === 'string' ? checkpoint : null }]
}

function addedEvent(sha256: Sha256, seq: number, text: unknown): KeyAddedEvent[] {
  const key = typeof text === 'string' ? parseVerifierKey(sha256, text) : 'no text'
  return typeof key !== 'string' && key.kind === ED25519 ? [{ kind: 'added', seq, key }] : []
}

/** Behind which record a key was added, and from which on it was retired. */
export interface KeyTime {
  readonly added: number
  /** Infinity while it is not. */
  readonly retired: number
}

export class CheckpointKeys {
  readonly #times = new Map<string, { readonly key: VerifierKey; readonly added: number; retired: number }>()

  /** @param origin whose name a ledger's keys carry */
  constructor(events: readonly KeyEvent[], origin: string | null) {
    const byId = new Map<string, { readonly key: VerifierKey; readonly added: number; retired: number }>()
    for (const event of events) {
      // An id is added once, whatever becomes of it, and retired once.
      if (event.kind === 'retired') {
        const known = byId.get(event.id)
        if (known?.retired === Infinity) known.retired = event.seq
      } else if (!byId.has(event.key.id) && event.key.name === origin) {
        const time = { key: event.key, added: event.seq, retired: Infinity }
        byId.set(event.key.id, time)
        this.#times.set(formatVerifierKey(event.key), time)
      }
    }
  }

  /** All keys that the ledger names. */
  get keys(): readonly VerifierKey[] {
    return [...this.#times.values()].map(({ key }) => key)
  }

  /** When the key was right; null where the ledger does not name it. A checkpoint of size s is in time where added < s ≤ retired. */
  timeOf(key: VerifierKey): KeyTime | null {
    return this.#times.get(formatVerifierKey(key)) ?? null
  }
}
