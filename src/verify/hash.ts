/**
 * SHA-256 (FIPS 180-4) in plain ECMAScript: the default where no faster one is passed in. The web's own
 * `crypto.subtle.digest` is asynchronous, which no line-by-line verifier can afford; Node passes `crypto.hash`.
 */

/** SHA-256 of the bytes as 64 lower-case hex digits. */
export type Sha256 = (bytes: Uint8Array) => string

/** What is put before a header's bytes: the leaf prefix of RFC 6962, section 2.1. */
const LEAF_PREFIX = 0x00

const FRACTION_BITS = 0x1_0000_0000

/** The first 32 bits of the fractional part of a root of each of the first `count` primes (FIPS 180-4, 4.2.2 and 5.3.3). */
function primeRoots(count: number, root: (prime: number) => number): Int32Array {
  const words = new Int32Array(count)
  for (let candidate = 2, found = 0; found < count; candidate++) {
    let prime = true
    for (let divisor = 2; divisor * divisor <= candidate; divisor++) if (candidate % divisor === 0) prime = false
    if (!prime) continue
    const value = root(candidate)
    words[found++] = ((value - Math.floor(value)) * FRACTION_BITS) | 0
  }
  return words
}

const ROUND_WORDS = primeRoots(64, Math.cbrt)
const INITIAL = primeRoots(8, Math.sqrt)

function compress(state: Int32Array, schedule: Int32Array): void {
  const w = schedule
  for (let t = 16; t < 64; t++) {
    const x = w[t - 15]!
    const y = w[t - 2]!
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3)
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10)
    w[t] = (w[t - 16]! + s0 + w[t - 7]! + s1) | 0
  }
  let [a, b, c, d, e, f, g, h] = state as unknown as [number, number, number, number, number, number, number, number]
  for (let t = 0; t < 64; t++) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7))
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + ROUND_WORDS[t]! + w[t]!) | 0
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10))
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0
    h = g
    g = f
    f = e
    e = (d + t1) | 0
    d = c
    c = b
    b = a
    a = (t1 + t2) | 0
  }
  state[0]! += a
  state[1]! += b
  state[2]! += c
  state[3]! += d
  state[4]! += e
  state[5]! += f
  state[6]! += g
  state[7]! += h
}

/** SHA-256 of the bytes, lower-case hex. */
export function sha256(bytes: Uint8Array): string {
  const state = INITIAL.slice()
  const schedule = new Int32Array(64)
  const length = bytes.length
  // The message, 0x80, zeros, and the length in bits as 64 bits, to whole blocks of 64 bytes.
  const blocks = Math.ceil((length + 9) / 64)
  const whole = length - (length % 64)
  const tail = new Uint8Array(blocks * 64 - whole)
  tail.set(bytes.subarray(whole))
  tail[length % 64] = 0x80
  const view = new DataView(tail.buffer)
  view.setUint32(tail.length - 8, Math.floor(length / 0x2000_0000))
  view.setUint32(tail.length - 4, (length << 3) >>> 0)
  for (let block = 0; block < blocks; block++) {
    const start = block * 64
    const source = start + 64 <= length ? bytes : tail
    let at = source === bytes ? start : start - whole
    for (let t = 0; t < 16; t++, at += 4) {
      schedule[t] = (source[at]! << 24) | (source[at + 1]! << 16) | (source[at + 2]! << 8) | source[at + 3]!
    }
    compress(state, schedule)
  }
  let hex = ''
  for (const word of state) hex += (word >>> 0).toString(16).padStart(8, '0')
  return hex
}

/** The hash of a record: SHA-256( 0x00 ‖ header bytes ). Source: docs/format.md, "Hash, chain, tree, signatures". */
export function headerHash(hash: Sha256, header: Uint8Array): string {
  const leaf = new Uint8Array(header.length + 1)
  leaf[0] = LEAF_PREFIX
  leaf.set(header, 1)
  return hash(leaf)
}
