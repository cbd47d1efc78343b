/**
 * Parameters that are arrays, in PostgreSQL's binary form: nothing is quoted by us and nothing parsed by the server.
 * Source: PostgreSQL's `array_recv`; a `Buffer` goes over as a binary parameter.
 */

/** PostgreSQL counts µs from 2000-01-01. */
export const POSTGRES_EPOCH_US = 946_684_800_000_000n

const TEXT_OID = 25
const INT8_OID = 20
const TIMESTAMPTZ_OID = 1184
/** Dimensions, nulls, type of element, length, lower bound; 32 bits each. */
const HEADER_BYTES = 20

function writeHeader(buffer: Buffer, count: number, hasNulls: boolean, oid: number): void {
  buffer.writeInt32BE(1, 0)
  buffer.writeInt32BE(hasNulls ? 1 : 0, 4)
  buffer.writeInt32BE(oid, 8)
  buffer.writeInt32BE(count, 12)
  buffer.writeInt32BE(1, 16)
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
  writeHeader(buffer, values.length, hasNulls, TEXT_OID)
  let at = HEADER_BYTES
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

function longArray(values: readonly bigint[], oid: number): Buffer {
  const buffer = Buffer.allocUnsafe(HEADER_BYTES + 12 * values.length)
  writeHeader(buffer, values.length, false, oid)
  let at = HEADER_BYTES
  for (const value of values) {
    at = buffer.writeInt32BE(8, at)
    at = buffer.writeBigInt64BE(value, at)
  }
  return buffer
}

/** `bigint[]` */
export function int8Array(values: readonly number[]): Buffer {
  return longArray(values.map(BigInt), INT8_OID)
}

/** `timestamptz[]` of µs since 1970. */
export function timeArray(values: readonly (number | bigint)[]): Buffer {
  return longArray(
    values.map((us) => BigInt(us) - POSTGRES_EPOCH_US),
    TIMESTAMPTZ_OID,
  )
}

/** A `text[]` as text, for where it is an element itself; null stays. */
export function textArrayLiteral(values: readonly string[] | undefined): string | null {
  if (values === undefined || values.length === 0) return null
  return `{${values.map((value) => `"${value.replace(/["\\]/g, '\\$&')}"`).join(',')}}`
}
