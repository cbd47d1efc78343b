/**
 * Parameters that are arrays, in PostgreSQL's binary form: nothing is quoted by us and nothing parsed by the server.
 * Source: PostgreSQL's `array_recv`; a `Buffer` goes over as a binary parameter.
 */

/** PostgreSQL counts µs from 2000-01-01. */
export const POSTGRES_EPOCH_US = 946_684_800_000_000n

const BYTEA_OID = 17
const TEXT_OID = 25
/** Dimensions, nulls, type of element, length, lower bound; 32 bits each. */
const HEADER_BYTES = 20

function writeHeader(buffer: Buffer, count: number, hasNulls: boolean, oid: number): number {
  let at = 0
  for (const part of [1, hasNulls ? 1 : 0, oid, count, 1]) at = buffer.writeInt32BE(part, at)
  return at
}

/** `text[]` */
export function textArray(values: readonly (string | null)[]): Buffer {
  let bytes = HEADER_BYTES + 4 * values.length
  let hasNulls = false
  for (const value of values) {
    if (value === null) hasNulls = true
    else bytes += Buffer.byteLength(value)
  }
  const buffer = Buffer.allocUnsafe(bytes)
  let at = writeHeader(buffer, values.length, hasNulls, TEXT_OID)
  for (const value of values) {
    if (value === null) {
      at = buffer.writeInt32BE(-1, at)
      continue
    }
    const written = buffer.write(value, at + 4)
    buffer.writeInt32BE(written, at)
    at += 4 + written
  }
  return buffer
}

/** `bytea[]` */
export function byteaArray(values: readonly Uint8Array[]): Buffer {
  const buffer = Buffer.allocUnsafe(values.reduce((sum, { length }) => sum + 4 + length, HEADER_BYTES))
  let at = writeHeader(buffer, values.length, false, BYTEA_OID)
  for (const value of values) {
    at = buffer.writeInt32BE(value.length, at)
    buffer.set(value, at)
    at += value.length
  }
  return buffer
}

/** A `text[]` as text, for where it is an element itself; null stays. */
export function textArrayLiteral(values: readonly string[] | undefined): string | null {
  if (values === undefined || values.length === 0) return null
  return `{${values.map((value) => `"${value.replace(/["\\]/g, '\\$&')}"`).join(',')}}`
}
