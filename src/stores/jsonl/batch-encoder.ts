/** Records as the bytes of their lines. */
import type { SealedRecord } from '../../ledger/store.ts'
import { formatLine } from '../../verify/record.ts'

/** A larger buffer, made for one large batch, is not kept. */
const KEPT_BYTES = 4 * 1024 * 1024
/** A line's hash, salt and what stands between its parts: about. */
const AROUND_BYTES = 160
/** A UTF-16 code unit is at most three bytes of UTF-8. */
const UNIT_BYTES_MAX = 3

export class BatchEncoder {
  #kept: Buffer = Buffer.alloc(0)

  /**
   * The lines, each ended by a line feed. The bytes hold until the next call.
   *
   * Each line is encoded by itself: in one text of the whole batch a single character beyond Latin-1 makes all of it
   * two bytes a character, which then takes seven times as long (measured on real agent calls: 9.6 µs a record, 1.5 so).
   */
  encode(records: readonly SealedRecord[]): Buffer {
    let bytes = this.#room(records)
    let at = 0
    for (const record of records) {
      const line = `${formatLine(record)}\n`
      if (bytes.length - at < line.length * UNIT_BYTES_MAX && bytes.length - at < Buffer.byteLength(line)) {
        const larger = Buffer.allocUnsafeSlow(bytes.length * 2 + line.length * UNIT_BYTES_MAX)
        bytes.copy(larger, 0, 0, at)
        bytes = larger
      }
      at += bytes.write(line, at)
    }
    this.#kept = bytes.length <= KEPT_BYTES ? bytes : Buffer.alloc(0)
    return bytes.subarray(0, at)
  }

  /** Enough unless much of the text is beyond ASCII. */
  #room(records: readonly SealedRecord[]): Buffer {
    let bytes = 0
    for (const { header_text, entry_text } of records) bytes += header_text.length + (entry_text?.length ?? 0) + AROUND_BYTES
    return this.#kept.length >= bytes ? this.#kept : Buffer.allocUnsafeSlow(Math.ceil(bytes * 1.25))
  }
}
