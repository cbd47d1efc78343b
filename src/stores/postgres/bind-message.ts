/**
 * A statement's parameters as the bytes that go over, in one buffer that is kept from append to append. The driver copies
 * what it is given four times and throws all of it away: megabytes for each batch.
 * Source: PostgreSQL's "Message Formats" (Bind, Describe, Execute, Sync) and `array_recv`.
 */
import { POSTGRES_EPOCH_US } from './arrays.ts'

const TEXT_OID = 25
const INT8_OID = 20
const TIMESTAMPTZ_OID = 1184
const EPOCH_US = Number(POSTGRES_EPOCH_US)
const FIRST_BYTES = 64 * 1024
/** A buffer that one large append needed is not kept for the small ones that follow. */
const KEPT_BYTES_MAX = 16 * 1024 * 1024
/** The unnamed portal's description, all its rows, and the end of the statement. */
const AND_THEN = Buffer.from('D\0\0\0\x06P\0E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04', 'latin1')

/** All parameters are in binary form: nothing is quoted by us and nothing parsed by the server. */
export class BindMessage {
  #buffer = Buffer.allocUnsafe(FIRST_BYTES)
  #at = 0
  #parameters = 0
  #countAt = 0

  /** Begins the message of a prepared statement; what was in the buffer is gone. */
  begin(statement: string): void {
    if (this.#buffer.length > KEPT_BYTES_MAX) this.#buffer = Buffer.allocUnsafe(FIRST_BYTES)
    this.#parameters = 0
    this.#at = this.#buffer.write(`B\0\0\0\0\0${statement}\0`, 'latin1')
    // One format for all: binary.
    this.#at = this.#buffer.writeInt16BE(1, this.#at)
    this.#at = this.#buffer.writeInt16BE(1, this.#at)
    this.#countAt = this.#at
    this.#at += 2
  }

  #need(bytes: number): void {
    if (this.#at + bytes <= this.#buffer.length) return
    const larger = Buffer.allocUnsafe(Math.max(2 * this.#buffer.length, this.#at + bytes))
    this.#buffer.copy(larger, 0, 0, this.#at)
    this.#buffer = larger
  }

  /** A value of so many bytes, or one whose length is written when it is known. */
  #parameter(length: number): void {
    this.#parameters++
    this.#at = this.#buffer.writeInt32BE(length, this.#at)
  }

  /** `integer` */
  int4(value: number): void {
    this.#need(8)
    this.#parameter(4)
    this.#at = this.#buffer.writeInt32BE(value, this.#at)
  }

  /** `bigint`; a safe integer. @returns where it stands, for `setInt8` */
  int8(value: number): number {
    this.#need(12)
    this.#parameter(8)
    this.#long(value)
    return this.#at - 8
  }

  /** Another value for a parameter of before. */
  setInt8(at: number, value: number): void {
    const end = this.#at
    this.#at = at
    this.#long(value)
    this.#at = end
  }

  /** `text` */
  text(value: string): void {
    this.#need(4 + 3 * value.length)
    this.#parameter(0)
    this.#string(value)
  }

  /** Safe integers in two halves: a bigint for each would be garbage. */
  #long(value: number | bigint): void {
    if (typeof value === 'bigint') {
      this.#at = this.#buffer.writeBigInt64BE(value, this.#at)
      return
    }
    this.#at = this.#buffer.writeInt32BE(Math.floor(value / 0x1_0000_0000), this.#at)
    this.#at = this.#buffer.writeUInt32BE(value >>> 0, this.#at)
  }

  /** Behind its length, for which there is room before it. */
  #string(value: string): void {
    const written = this.#buffer.write(value, this.#at)
    this.#buffer.writeInt32BE(written, this.#at - 4)
    this.#at += written
  }

  /** `text[]`. @returns its bytes */
  textArray<Item>(items: readonly Item[], pick: (item: Item) => string | null | undefined): number {
    const start = this.#beginArray(TEXT_OID, items.length)
    let hasNulls = false
    for (const item of items) {
      const value = pick(item)
      if (value === null || value === undefined) {
        hasNulls = true
        this.#need(4)
        this.#at = this.#buffer.writeInt32BE(-1, this.#at)
        continue
      }
      this.#need(4 + 3 * value.length)
      this.#at += 4
      this.#string(value)
    }
    return this.#endArray(start, hasNulls)
  }

  /** `bigint[]` of safe integers. */
  int8Array<Item>(items: readonly Item[], pick: (item: Item) => number): void {
    this.#longArray(INT8_OID, items, pick)
  }

  /** `timestamptz[]` of µs since 1970. */
  timeArray<Item>(items: readonly Item[], pick: (item: Item) => number | bigint): void {
    this.#longArray(TIMESTAMPTZ_OID, items, (item) => {
      const us = pick(item)
      const since = Number(us) - EPOCH_US
      return typeof us === 'number' && Number.isSafeInteger(since) ? since : BigInt(us) - POSTGRES_EPOCH_US
    })
  }

  #longArray<Item>(oid: number, items: readonly Item[], pick: (item: Item) => number | bigint): void {
    const start = this.#beginArray(oid, items.length)
    this.#need(12 * items.length)
    for (const item of items) {
      this.#at = this.#buffer.writeInt32BE(8, this.#at)
      this.#long(pick(item))
    }
    this.#endArray(start, false)
  }

  /** Dimensions, nulls, type of element, length, lower bound; 32 bits each. */
  #beginArray(oid: number, count: number): number {
    this.#need(24)
    this.#parameter(0)
    const start = this.#at
    for (const value of [1, 0, oid, count, 1]) this.#at = this.#buffer.writeInt32BE(value, this.#at)
    return start
  }

  #endArray(start: number, hasNulls: boolean): number {
    const bytes = this.#at - start
    this.#buffer.writeInt32BE(bytes, start - 4)
    if (hasNulls) this.#buffer.writeInt32BE(1, start + 4)
    return bytes
  }

  /** The message, and those that have it carried out. Good until the next `begin`. */
  end(): Buffer {
    this.#need(2 + AND_THEN.length)
    this.#buffer.writeInt16BE(this.#parameters, this.#countAt)
    // Results come as text.
    this.#at = this.#buffer.writeInt16BE(0, this.#at)
    this.#buffer.writeInt32BE(this.#at - 1, 1)
    this.#at += AND_THEN.copy(this.#buffer, this.#at)
    return this.#buffer.subarray(0, this.#at)
  }
}
