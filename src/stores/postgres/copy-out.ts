/**
 * Rows as `COPY … TO STDOUT (FORMAT binary)` sends them: bytes as they are stored, nothing decoded, in bounded memory.
 * Source: PostgreSQL, "COPY", Binary Format.
 */
import type { Client } from './driver.ts'
import { asPostgresError } from './errors.ts'
import type { Session } from './session.ts'

/** Signature, flags, and the length of an extension that nobody uses. */
const HEADER_BYTES = 19
const NOTHING = Buffer.alloc(0)

/** One row: where its values lie in `bytes`. Good until the next row is asked for: the driver writes into its memory again. */
export interface CopiedRow {
  readonly bytes: Buffer
  /** Start and length of each value; length -1 for NULL. */
  readonly starts: Int32Array
  readonly lengths: Int32Array
}

/** Cuts messages into rows. The server sends each row in one of its own, but promises nothing. */
class RowCutter {
  #rest: Buffer = NOTHING
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

  /** What is left of a message is copied before its memory is written into again. */
  keep(): void {
    const rest = this.#rest.subarray(this.#at)
    this.#rest = rest.length === 0 ? NOTHING : Buffer.from(rest)
    this.#at = 0
    this.#waiting = this.#waiting.map((chunk) => Buffer.from(chunk))
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
 * A query of the driver that is given each message of the rows as it comes. A stream of them would copy every byte twice
 * more and make several objects a row. Nothing piles up: a block of the socket is done with before the next one is read.
 */
class CopyOutQuery {
  readonly #text: string
  readonly #take: (message: Buffer) => void
  readonly #ended: (error: unknown) => void
  /** The driver puts its own name for a prepared statement here, and its end of waiting; neither is used. */
  readonly name = ''
  callback = (): void => {}

  /** @param ended with undefined where all rows came */
  constructor(text: string, take: (message: Buffer) => void, ended: (error: unknown) => void) {
    this.#text = text
    this.#take = take
    this.#ended = ended
  }

  submit(connection: { query(text: string): void }): void {
    connection.query(this.#text)
  }

  handleCopyData({ chunk }: { readonly chunk: Buffer }): void {
    this.#take(chunk)
  }

  handleCommandComplete(): void {}

  handleReadyForQuery(): void {
    this.#ended(undefined)
  }

  handleError(error: unknown): void {
    this.#ended(error)
  }
}

/** Rejects with what the server said, or what `take` threw; then more rows may be on their way. */
function askForRows(client: Client, text: string, take: (message: Buffer) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    let isOver = false
    const ended = (error: unknown): void => {
      isOver = true
      if (error === undefined) resolve()
      else reject(error as Error)
    }
    const each = (message: Buffer): void => {
      if (isOver) return
      try {
        take(message)
      } catch (error) {
        // Thrown on, it would be nobody's: the socket called.
        ended(error)
      }
    }
    client.query(new CopyOutQuery(text, each, ended) as never)
  })
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
  session.hold()
  const cutter = new RowCutter(columns)
  try {
    await askForRows(session.connection.client, `COPY (${query}) TO STDOUT (FORMAT binary)`, (message) => {
      cutter.take(message)
      for (let row = cutter.next(); row !== null; row = cutter.next()) take(row)
      cutter.keep()
    })
  } catch (error) {
    // The rest of the rows would come before the answer to any other query.
    session.destroy()
    throw asPostgresError(error, 'reading all records', { display })
  } finally {
    session.letGo()
  }
}
