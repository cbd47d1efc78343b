import type { RecordHeader } from '../verify/header.ts'
import { readSense } from '../verify/record.ts'
import type { JsonObject } from './entry.ts'
import { LedgerError } from './errors.ts'

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

/** A record as it was read: the exact line, and what it says. Parsed when asked for. */
export class LedgerRecord {
  /** The line's bytes, without line feed. */
  readonly bytes: Uint8Array
  readonly hash: string
  readonly header: RecordHeader
  /** 22 base64url characters; null where the entry is withheld. */
  readonly salt: string | null
  readonly #entryText: string | null
  #entry: JsonObject | null | undefined

  /** @throws LedgerError `damaged` where the line is no record */
  constructor(bytes: Uint8Array) {
    const { hash, header, salt, entry_text } = readable(() => readSense(bytes))
    this.bytes = bytes
    this.hash = hash
    this.header = header
    this.salt = salt
    this.#entryText = entry_text
  }

  get seq(): number {
    return this.header.seq
  }

  get run_id(): string {
    return this.header.run_id
  }

  /**
   * The content: a `LedgerEntry` for agent calls, an event's data else; null where it is withheld.
   * @throws LedgerError `damaged` where it is no JSON
   */
  get entry(): JsonObject | null {
    const text = this.#entryText
    if (this.#entry === undefined) this.#entry = text === null ? null : readable(() => JSON.parse(text) as JsonObject)
    return this.#entry
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
