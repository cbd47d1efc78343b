import { isUtf8 } from 'node:buffer'
import { standsAt } from '../verify/bytes.ts'
import type { RecordHeader } from '../verify/header.ts'
import { HASH_START, SALT_LENGTH } from '../verify/line-parts.ts'
import { HASH_END, LineScan, SALT_TO_ENTRY } from '../verify/line-scan.ts'
import { HEADER_START, readSense } from '../verify/record.ts'
import type { LineSense } from '../verify/record.ts'
import { keyIdOf, SEALED_START } from './encryption/sealed-entry.ts'
import type { JsonObject } from './entry.ts'
import { LedgerError } from './errors.ts'
import { withheldOf } from './withheld-entry.ts'
import type { WithheldEntry } from './withheld-entry.ts'
import type { EntryOpening } from './store.ts'

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
/** For each record in turn. */
const ONE_LINE = new LineScan()
const SEALED_BYTES = Buffer.from(SEALED_START)
const ESCAPE = '\\'

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

/** Of valid UTF-8. */
function textOf(bytes: Uint8Array, start: number, end: number): string {
  // A Buffer's own method needs no view of the part.
  return bytes instanceof Buffer ? bytes.toString('utf8', start, end) : decoder.decode(bytes.subarray(start, end))
}

function noMasterKey(seq: number, key: string | null): LedgerError {
  return new LedgerError(
    'key_error',
    `the entry at position ${seq} is encrypted under the data key ${key}: open the ledger with its master key (encryption, --master-key or CORTEX_LEDGER_MASTER_KEY)`,
    { key, seq, reason: 'no_master_key' },
  )
}

/**
 * A record as it was read: the exact line, and what it says. That the line is a record is checked at once, header, hashes
 * and UTF-8; values are decoded and parsed when they are asked for, since most of them never are.
 */
export class LedgerRecord {
  /** The line's bytes, without line feed. */
  readonly bytes: Uint8Array
  readonly seq: number
  /** Where the header ends, the type and the entry lie in the bytes; the entry's -1 where it is withheld. */
  readonly #headerEnd: number
  readonly #typeStart: number
  readonly #typeEnd: number
  readonly #entryStart: number
  /** All of it, of a line that the scan left open; else null. */
  readonly #sense: LineSense | null
  /** Null where the entry is not encrypted, or nothing opens it. */
  readonly #opening: EntryOpening | null
  #header: RecordHeader | null = null
  #entry: JsonObject | null | undefined
  #locked: LedgerError | null | undefined

  /** @throws LedgerError `damaged` where the line is no record */
  constructor(bytes: Uint8Array, opening?: EntryOpening) {
    const line = ONE_LINE
    this.bytes = bytes
    this.#opening = opening ?? null
    const sense = line.scan(bytes) && isUtf8(bytes) ? null : readable(() => readSense(bytes))
    this.#sense = sense
    this.seq = sense === null ? line.seq : sense.header.seq
    this.#headerEnd = line.headerEnd
    this.#typeStart = line.typeStart
    this.#typeEnd = line.typeEnd
    this.#entryStart = line.entryStart
  }

  get header(): RecordHeader {
    if (this.#header === null) {
      const parsed = (): RecordHeader => JSON.parse(textOf(this.bytes, HEADER_START, this.#headerEnd)) as RecordHeader
      this.#header = this.#sense === null ? readable(parsed) : this.#sense.header
    }
    return this.#header
  }

  get hash(): string {
    return this.#sense === null ? textOf(this.bytes, HASH_START, HASH_END) : this.#sense.hash
  }

  /** 22 base64url characters; null where the entry is withheld. */
  get salt(): string | null {
    if (this.#sense !== null) return this.#sense.salt
    const start = this.#entryStart - SALT_TO_ENTRY
    return this.#entryStart === -1 ? null : textOf(this.bytes, start, start + SALT_LENGTH)
  }

  /** The header's, without parsing all of it. */
  get type(): string {
    if (this.#header !== null || this.#sense !== null) return this.header.type
    const type = textOf(this.bytes, this.#typeStart, this.#typeEnd)
    return type.includes(ESCAPE) ? this.header.type : type
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
      const text = this.isEncrypted ? this.#opened() : this.#text()
      this.#entry = text === null ? null : readable(() => JSON.parse(text) as JsonObject)
    }
    return this.#entry
  }

  /** The entry's own text, null where it is withheld. */
  #text(): string | null {
    if (this.#sense !== null) return this.#sense.entry_text
    return this.#entryStart === -1 ? null : textOf(this.bytes, this.#entryStart, this.bytes.length - 1)
  }

  /** Why the entry is not there; null where it is, or where nobody knows. */
  get withheld(): WithheldEntry | null {
    return this.salt === null ? withheldOf(this.bytes) : null
  }

  get isEncrypted(): boolean {
    const start = this.#entryStart
    if (this.#sense !== null) return this.#sense.entry_text?.startsWith(SEALED_START) === true
    return start !== -1 && standsAt(this.bytes, start, this.bytes.length, SEALED_BYTES)
  }

  /** Id of the data key that the entry is encrypted under; null where it is not. */
  get dataKey(): string | null {
    return this.isEncrypted ? keyIdOf(this.#text() as string) : null
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
    const text = this.#text() as string
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
