/** Opens the entries of what is read. The keys are fetched once for many records, and not kept from the next ones: one that was shredded meanwhile opens nothing. */
import { readSense } from '../../verify/record.ts'
import { asToldError, LedgerError } from '../errors.ts'
import type { EntryOpener, EntryOpening, StateRequest, Store, StoreState, Turn } from '../store.ts'
import type { Keyring } from './keyring.ts'
import { boundTo, isSealed, keyIdOf, openSealedEntry } from './sealed-entry.ts'
import type { DataKey } from './sealed-entry.ts'
import { withMembers } from '../store-members.ts'

/** Nearly every line is decided by this; inside a text the quotes would be escaped. */
const SEALED_ENTRY = Buffer.from('"entry":{"$enc":{')
const KEY_AT_END = /"key":"([A-Za-z0-9_-]{1,64})"\}\}\}$/
const END_BYTES = 82

/** Id of the key of the line's entry; null where it is not encrypted, or names none. */
function keyIdIn(line: Uint8Array): string | null {
  const bytes = Buffer.from(line.buffer, line.byteOffset, line.byteLength)
  if (!bytes.includes(SEALED_ENTRY)) return null
  return KEY_AT_END.exec(bytes.toString('latin1', Math.max(0, bytes.length - END_BYTES)))?.[1] ?? null
}

class Opening implements EntryOpening {
  readonly indexed: boolean
  readonly #keys: ReadonlyMap<string, DataKey | LedgerError>
  readonly #origin: string

  constructor(keys: ReadonlyMap<string, DataKey | LedgerError>, origin: string, indexed: boolean) {
    this.#keys = keys
    this.#origin = origin
    this.indexed = indexed
  }

  open(entry_text: string, run_id: string, seq: number): string {
    const id = keyIdOf(entry_text)
    const key = this.#keys.get(id ?? '') ?? { id: id ?? '', bytes: new Uint8Array(32) }
    try {
      if (key instanceof LedgerError) throw key
      return openSealedEntry(entry_text, key, boundTo(this.#origin, run_id))
    } catch (error) {
      const { code, message, details } = asToldError(error)
      throw new LedgerError(code, `the entry at position ${seq} does not open: ${message}`, { ...details, seq, run_id })
    }
  }
}

export class EntryReader implements EntryOpener {
  readonly indexed: boolean
  readonly #keyring: Keyring
  readonly #origin: string

  constructor(keyring: Keyring, origin: string, indexed: boolean) {
    this.#keyring = keyring
    this.#origin = origin
    this.indexed = indexed
  }

  async opening(lines: readonly Uint8Array[]): Promise<EntryOpening | undefined> {
    const ids = new Set<string>()
    for (const line of lines) {
      const id = keyIdIn(line)
      if (id !== null) ids.add(id)
    }
    return ids.size === 0 ? undefined : new Opening(await this.#keyring.forReading([...ids]), this.#origin, this.indexed)
  }
}

/** What is known of these run_ids, with the plain text of those that are encrypted. */
async function withOpened(state: StoreState, opener: EntryOpener): Promise<StoreState> {
  const opening = state.runs.size === 0 ? undefined : await opener.opening([...state.runs.values()])
  if (opening === undefined) return state
  const opened = new Map<string, string>()
  for (const [run_id, line] of state.runs) {
    try {
      const { entry_text, header } = readSense(line)
      if (entry_text !== null && isSealed(entry_text)) opened.set(run_id, opening.open(entry_text, run_id, header.seq))
    } catch {
      // Whoever repeats this record hears that its content was not compared.
    }
  }
  return { ...state, opened }
}

/** The store as a ledger with keys sees it. */
export function openingStore(store: Store, opener: EntryOpener): Store {
  const { confirmedState, takeTurn } = store
  const members: Partial<Store> = {
    entries: opener,
    state: async (request: StateRequest) => withOpened(await store.state(request), opener),
    ...(confirmedState === undefined
      ? {}
      : { confirmedState: async (request) => withOpened(await confirmedState.call(store, request), opener) }),
    ...(takeTurn === undefined
      ? {}
      : {
          async takeTurn(request): Promise<Turn> {
            const turn = await takeTurn.call(store, request)
            const state = await withOpened(turn.state, opener)
            return { state, append: (records) => turn.append(records), release: () => turn.release() }
          },
        }),
  }
  return withMembers(store, members)
}
