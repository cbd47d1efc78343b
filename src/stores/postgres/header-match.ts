/**
 * Whether a row's columns are what its header says, by walking through the header's bytes beside the columns' own: of a
 * record as we write it nothing has to be parsed. It says yes or "look closer", never no.
 */
import type { CopiedRow } from './copy-out.ts'
import { POSTGRES_EPOCH_US } from './arrays.ts'

/** Where the values lie in a row: src/stores/postgres/audit-row.ts. */
export interface HeaderColumns {
  readonly seq: number
  readonly recorded_at: number
  readonly occurred_at: number
  readonly stream_version: number
  readonly run_id: number
  readonly stream: number
  readonly type: number
  readonly actor: number
  readonly action: number
  readonly outcome: number
  readonly correlation_id: number
  readonly causation_id: number
  readonly tags: number
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const HASH_DIGITS = 64
const GENESIS_LETTERS = 7
/** Of a time up to and with the second's dot: `2026-11-22T20:15:33.` */
const SECOND_LENGTH = 20
const EPOCH_US = Number(POSTGRES_EPOCH_US)

const OPEN = Buffer.from('{"action":"')
const ACTOR = Buffer.from('","actor":"')
const APPEND_LAST_SEQ = Buffer.from('","append_last_seq":')
const CAUSATION = Buffer.from(',"causation_id":"')
const CORRELATION = Buffer.from(',"correlation_id":"')
const ENTRY_HASH = Buffer.from(',"entry_hash":"')
const OUTCOME = Buffer.from('","outcome":"')
const PREVIOUS_HASH = Buffer.from('","previous_hash":"')
const RECORDED_AT = Buffer.from('","recorded_at":"')
const RUN_ID = Buffer.from('","run_id":"')
const SCHEMA = Buffer.from('","schema":')
const SEQ = Buffer.from(',"seq":')
const STREAM = Buffer.from(',"stream":"')
const STREAM_VERSION = Buffer.from('","stream_version":')
const TAGS = Buffer.from(',"tags":')
const TIMESTAMP = Buffer.from(',"timestamp":"')
const TYPE = Buffer.from('","type":"')
const CLOSE = Buffer.from('","v":1}')

export class HeaderMatch {
  readonly #columns: HeaderColumns
  #row!: CopiedRow
  #bytes!: Buffer
  #at = 0
  /** The text up to the second that was read last, and its µs since 1970. */
  readonly #second = Buffer.alloc(SECOND_LENGTH)
  #secondUs = Number.NaN

  constructor(columns: HeaderColumns) {
    this.#columns = columns
  }

  /** True where the header `bytes[start, end)` of the row's line says what the columns say. */
  holds(row: CopiedRow, start: number, end: number): boolean {
    const columns = this.#columns
    this.#row = row
    this.#bytes = row.bytes
    this.#at = start
    return (
      this.#literal(OPEN) &&
      this.#text(columns.action) &&
      this.#literal(ACTOR) &&
      this.#text(columns.actor) &&
      this.#lastSeq() &&
      this.#optional(CAUSATION, columns.causation_id) &&
      this.#optional(CORRELATION, columns.correlation_id) &&
      this.#literal(ENTRY_HASH) &&
      this.#skip(HASH_DIGITS) &&
      this.#literal(OUTCOME) &&
      this.#text(columns.outcome) &&
      this.#literal(PREVIOUS_HASH) &&
      this.#skip(this.#bytes[this.#at + GENESIS_LETTERS] === QUOTE ? GENESIS_LETTERS : HASH_DIGITS) &&
      this.#literal(RECORDED_AT) &&
      this.#time(columns.recorded_at) &&
      this.#literal(RUN_ID) &&
      this.#text(columns.run_id) &&
      this.#literal(SCHEMA) &&
      this.#digits() > 0 &&
      this.#literal(SEQ) &&
      this.#number(columns.seq) &&
      this.#literal(STREAM) &&
      this.#text(columns.stream) &&
      this.#literal(STREAM_VERSION) &&
      this.#number(columns.stream_version) &&
      this.#tags(columns.tags) &&
      this.#literal(TIMESTAMP) &&
      this.#time(columns.occurred_at) &&
      this.#literal(TYPE) &&
      this.#text(columns.type) &&
      this.#literal(CLOSE) &&
      this.#at === end
    )
  }

  #literal(wanted: Buffer): boolean {
    const bytes = this.#bytes
    const at = this.#at
    for (let i = 0; i < wanted.length; i++) if (bytes[at + i] !== wanted[i]) return false
    this.#at = at + wanted.length
    return true
  }

  #skip(count: number): boolean {
    this.#at += count
    return true
  }

  /** A string without its quotes. What JSON spells otherwise than it is, is looked at more closely. */
  #text(column: number): boolean {
    const length = this.#row.lengths[column] as number
    const start = this.#row.starts[column] as number
    const bytes = this.#bytes
    const at = this.#at
    if (length < 0) return false
    for (let i = 0; i < length; i++) {
      const byte = bytes[start + i]
      if (byte !== bytes[at + i] || byte === QUOTE || byte === BACKSLASH) return false
    }
    this.#at = at + length
    return true
  }

  /** With the quote in front, and without one behind: either a number follows the actor, or nothing. */
  #lastSeq(): boolean {
    if (this.#literal(APPEND_LAST_SEQ)) return this.#digits() >= 0
    return this.#bytes[this.#at++] === QUOTE
  }

  #optional(key: Buffer, column: number): boolean {
    if (this.#row.lengths[column] === -1) return true
    return this.#literal(key) && this.#text(column) && this.#bytes[this.#at++] === QUOTE
  }

  #tags(column: number): boolean {
    // The stream's version has no quote behind it, and the tags are one JSON array.
    if (this.#row.lengths[column] === -1) return true
    if (!this.#literal(TAGS)) return false
    const start = this.#row.starts[column] as number
    const length = this.#row.lengths[column] as number
    if (this.#bytes.compare(this.#bytes, start, start + length, this.#at, this.#at + length) !== 0) return false
    this.#at += length
    return true
  }

  /** The digits here as a number; -1 where there are none, or more than a number holds. */
  #digits(): number {
    const first = this.#at
    let value = 0
    for (;;) {
      const digit = (this.#bytes[this.#at] as number) - 0x30
      if (!(digit >= 0 && digit <= 9)) break
      value = value * 10 + digit
      this.#at++
    }
    return this.#at > first && value <= Number.MAX_SAFE_INTEGER ? value : -1
  }

  /** A column of 64 bits; NaN where a number can't hold it. */
  #long(column: number): number {
    const start = this.#row.starts[column] as number
    const value = this.#bytes.readInt32BE(start) * 0x1_0000_0000 + this.#bytes.readUInt32BE(start + 4)
    return Number.isSafeInteger(value) ? value : Number.NaN
  }

  #number(column: number): boolean {
    return this.#digits() === this.#long(column)
  }

  #time(column: number): boolean {
    const bytes = this.#bytes
    const at = this.#at
    const second = this.#second
    for (let i = 0; i < SECOND_LENGTH; i++) {
      if (bytes[at + i] !== second[i]) {
        bytes.copy(second, 0, at, at + SECOND_LENGTH)
        this.#secondUs = Date.parse(`${second.toString('latin1')}000Z`) * 1000
        break
      }
    }
    this.#at = at + SECOND_LENGTH
    const fraction = this.#digits()
    if (this.#at !== at + SECOND_LENGTH + 6 || bytes[this.#at++] !== 0x5a) return false
    return this.#secondUs + fraction === this.#long(column) + EPOCH_US
  }
}
