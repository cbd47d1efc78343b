import { randomFillSync } from 'node:crypto'

/** Randomness, passed in so that tests can repeat it. Whoever can foresee it can guess withheld entries. */
export interface Random {
  /** `length` fresh bytes that the caller may keep. */
  bytes(length: number): Uint8Array
}

const POOL_BYTES = 8192

/** The system's random source, drawn in blocks: one call for each salt would cost 2 µs, from the pool it is 0.1 µs. */
export function systemRandom(): Random {
  const pool = new Uint8Array(POOL_BYTES)
  let used = POOL_BYTES
  return {
    bytes(length) {
      if (length > POOL_BYTES) return randomFillSync(new Uint8Array(length))
      if (used + length > POOL_BYTES) {
        randomFillSync(pool)
        used = 0
      }
      const drawn = pool.slice(used, used + length)
      // What was handed out is not kept: a later look into memory finds no old salt here.
      pool.fill(0, used, used + length)
      used += length
      return drawn
    },
  }
}

const SALT_BYTES = 16
const SALT_DIGITS = 22
/** 16 bytes and 2 zero bytes are 24 digits of base64, the first 22 of which are the canonical spelling of the 16. */
const SALT_STRIDE_BYTES = 18
const SALT_STRIDE_DIGITS = 24
const SALTS_AT_ONCE = 64

/**
 * Salts of records: 16 fresh bytes each, in canonical base64url. They are spelled many at once, since each call
 * of the encoder costs more than 16 bytes do. Source: docs/format.md, "The salt and the entry".
 */
export function saltsFrom(random: Random): () => string {
  let digits = ''
  let next = 0
  return () => {
    if (next === digits.length) {
      const fresh = random.bytes(SALT_BYTES * SALTS_AT_ONCE)
      const padded = Buffer.alloc(SALT_STRIDE_BYTES * SALTS_AT_ONCE)
      for (let i = 0; i < SALTS_AT_ONCE; i++) padded.set(fresh.subarray(i * SALT_BYTES, (i + 1) * SALT_BYTES), i * SALT_STRIDE_BYTES)
      digits = padded.toString('base64url')
      next = 0
    }
    const salt = digits.slice(next, next + SALT_DIGITS)
    next += SALT_STRIDE_DIGITS
    return salt
  }
}

const UINT32S_AT_ONCE = 256

/** Random integers from 0 to 2^32−1, drawn many at once. */
export function uint32sFrom(random: Random): () => number {
  let drawn = new Uint32Array(0)
  let next = 0
  return () => {
    if (next === drawn.length) {
      drawn = new Uint32Array(Uint8Array.from(random.bytes(4 * UINT32S_AT_ONCE)).buffer)
      next = 0
    }
    return drawn[next++]!
  }
}
