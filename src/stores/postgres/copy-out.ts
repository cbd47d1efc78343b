/**
 * Rows as `COPY … TO STDOUT (FORMAT binary)` sends them: bytes as they are stored, nothing decoded, in bounded memory.
 * Source: PostgreSQL, "COPY", Binary Format.
 */
import { loadCopyStreams } from './driver.ts'
import { asPostgresError } from './errors.ts'
import type { Session } from './session.ts'

/** Signature, flags, and the length of an extension that nobody uses. */
const HEADER_BYTES = 19

/** One row: where its values lie in `bytes`. Good until the next row is asked for. */
export interface CopiedRow {
  readonly bytes: Buffer
  /** Start and length of each value; length -1 for NULL. */
  readonly starts: Int32Array
  readonly lengths: Int32Array
}

/** Cuts the stream's chunks into rows. */
class RowCutter {
  #rest: Buffer = Buffer.alloc(0)
  #at = 0
  /** Chunks behind the rest, kept apart until so many bytes are there: a long row is put together once, not with each chunk. */
  #waiting: Buffer[] = []
  #waitingBytes = 0
  #neededBytes = 0
  #isBegun = false
  readonly #row: { bytes: Buffer; readonly starts: Int32Array; readonly lengths: Int32Array }

  constructor(columns: number) {
    this.#row = { bytes: this.#rest, starts: new Int32Array(columns), lengths: new Int32Array(columns) }
  }

  take(chunk: Buffer): void {
    this.#waiting.push(chunk)
    this.#waitingBytes += chunk.length
    const restBytes = this.#rest.length - this.#at
    if (restBytes + this.#waitingBytes < this.#neededBytes) return
    this.#rest = restBytes === 0 && this.#waiting.length === 1 ? chunk : Buffer.concat([this.#rest.subarray(this.#at), ...this.#waiting])
    this.#at = 0
    this.#waiting = []
    this.#waitingBytes = 0
    this.#neededBytes = 0
  }

  /** The next row that is whole; null where more is needed. */
  next(): CopiedRow | null {
    const bytes = this.#rest
    if (!this.#isBegun) {
      if (bytes.length < HEADER_BYTES) return null
      this.#at = HEADER_BYTES
      this.#isBegun = true
    }
    let at = this.#at
    if (at + 2 > bytes.length || bytes.readInt16BE(at) < 0) return null
    at += 2
    const { starts, lengths } = this.#row
    for (let i = 0; i < starts.length; i++) {
      if (at + 4 > bytes.length) return null
      const length = bytes.readInt32BE(at)
      at += 4
      starts[i] = at
      lengths[i] = length
      if (length > 0) at += length
      if (at > bytes.length) {
        this.#neededBytes = at - this.#at
        return null
      }
    }
    this.#at = at
    this.#row.bytes = bytes
    return this.#row
  }
}

/**
 * Calls `take` with each row of a query, which has no parameters.
 * @throws LedgerError of the server; what `take` throws
 */
export async function copyOut(
  session: Session,
  query: string,
  columns: number,
  display: string,
  take: (row: CopiedRow) => void,
): Promise<void> {
  const { to } = await loadCopyStreams()
  session.hold()
  const stream = session.connection.client.query(to(`COPY (${query}) TO STDOUT (FORMAT binary)`))
  const cutter = new RowCutter(columns)
  try {
    for await (const chunk of stream) {
      cutter.take(chunk as Buffer)
      for (let row = cutter.next(); row !== null; row = cutter.next()) take(row)
    }
  } catch (error) {
    // The rest of the rows would come before the answer to any other query.
    if (!stream.readableEnded) session.destroy()
    throw asPostgresError(error, 'reading all records', { display })
  } finally {
    session.letGo()
  }
}
