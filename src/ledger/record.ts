import type { RecordHeader } from '../verify/header.ts'
import { readSense } from '../verify/record.ts'
import { isSealed, keyIdOf } from './encryption/sealed-entry.ts'
import type { JsonObject } from './entry.ts'
import { LedgerError } from './errors.ts'
import { withheldOf } from './withheld-entry.ts'
import type { WithheldEntry } from './withheld-entry.ts'
import type { EntryOpening } from './store.ts'

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** What `read` gives. @throws LedgerError `damaged` where it fails: the bytes are not the caller's doing. */
function readable<Value>(read: () => Value): Value {
  try {
    return read()
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new LedgerError('damaged', `a record can't be read (${why}): run verify to see which one, and what is wrong with the ledger`, {
      cause: error,
    })
  }
}

function noMasterKey(seq: number, key: string | null): LedgerError {
  return new LedgerError(
    'key_error',
    `the entry at position ${seq} is encrypted under the data key ${key}: open the ledger with its master key (encryption, --master-key or CORTEX_LEDGER_MASTER_KEY)`,
    { key, seq, reason: 'no_master_key' },
  )
}

/** A record as it was read: the exact line, and what it says. Parsed when asked for. */
export class LedgerRecord {
  /** The line's bytes, without line feed. */
  readonly bytes: Uint8Array
  readonly hash: string
  readonly header: RecordHeader
  /** 22 base64url characters; null where the entry is withheld. */
  readonly salt: string | null
  readonly #entryText: string | null
  /** Null where the entry is not encrypted, or nothing opens it. */
  readonly #opening: EntryOpening | null
  #entry: JsonObject | null | undefined
  #locked: LedgerError | null | undefined

  /** @throws LedgerError `damaged` where the line is no record */
  constructor(bytes: Uint8Array, opening?: EntryOpening) {
    const { hash, header, salt, entry_text } = readable(() => readSense(bytes))
    this.bytes = bytes
    this.hash = hash
    this.header = header
    this.salt = salt
    this.#entryText = entry_text
    this.#opening = opening ?? null
  }

  get seq(): number {
    return this.header.seq
  }

  get run_id(): string {
    return this.header.run_id
  }

  /**
   * The content: a `LedgerEntry` for agent calls, an event's data else; null where it is withheld, or encrypted and does
   * not open: `locked` says why.
   * @throws LedgerError `damaged` where it is no JSON
   */
  get entry(): JsonObject | null {
    if (this.#entry === undefined) {
      const text = this.isEncrypted ? this.#opened() : this.#entryText
      this.#entry = text === null ? null : readable(() => JSON.parse(text) as JsonObject)
    }
    return this.#entry
  }

  /** Why the entry is not there; null where it is, or where nobody knows. */
  get withheld(): WithheldEntry | null {
    return this.#entryText === null ? withheldOf(this.bytes) : null
  }

  get isEncrypted(): boolean {
    return this.#entryText !== null && isSealed(this.#entryText)
  }

  /** Id of the data key that the entry is encrypted under; null where it is not. */
  get dataKey(): string | null {
    return this.isEncrypted ? keyIdOf(this.#entryText as string) : null
  }

  /**
   * Why the entry is encrypted and does not open, `key_error` or `damaged`, with the `reason` and the data key's id in its
   * details; null where it is there, or withheld.
   */
  get locked(): LedgerError | null {
    if (this.isEncrypted && this.#locked === undefined) void this.entry
    return this.#locked ?? null
  }

  /** Whether what the entry says may stand in an index: not where it is encrypted, unless the ledger's owner says so. */
  get isIndexed(): boolean {
    return !this.isEncrypted || this.#opening?.indexed === true
  }

  /** Of an encrypted entry its plain text; null where it does not open. */
  #opened(): string | null {
    const text = this.#entryText as string
    try {
      if (this.#opening === null) throw noMasterKey(this.seq, keyIdOf(text))
      const opened = this.#opening.open(text, this.run_id, this.seq)
      this.#locked = null
      return opened
    } catch (error) {
      if (!(error instanceof LedgerError)) throw error
      this.#locked = error
      return null
    }
  }

  /** The line as text. */
  get line(): string {
    return decoder.decode(this.bytes)
  }

  /** The line as an object, its members in the order of the line. */
  toJSON(): object {
    return JSON.parse(this.line) as object
  }
}
