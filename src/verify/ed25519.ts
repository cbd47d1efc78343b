/**
 * Which Ed25519 public keys are used at all. Libraries differ in what they let pass (RFC 8032 leaves it open), so what
 * only some would accept is refused beforehand: points in another spelling than the one canonical, and the points of
 * small order, under which one signature fits many messages. Source: "Taming the many EdDSAs" (2020), section 5.
 */
import { hashHex } from './tree.ts'

const KEY_BYTES = 32
/** The y of the points of small order, the sign bit cleared: 0, 1, −1, and those of the points of order 8. */
const SMALL_ORDER = new Set([
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
])
/** Bytes of the prime 2^255 − 19 from the highest: y must be below. */
const LOWEST_OF_PRIME = 0xed

/** True for a key of 32 bytes in the canonical spelling that is not of small order. */
export function isStrictEd25519Key(publicKey: Uint8Array): boolean {
  if (publicKey.length !== KEY_BYTES) return false
  const y = Uint8Array.from(publicKey)
  y[KEY_BYTES - 1] = y[KEY_BYTES - 1]! & 0x7f
  const isBelowPrime = y[KEY_BYTES - 1]! < 0x7f || y[0]! < LOWEST_OF_PRIME || y.subarray(1, KEY_BYTES - 1).some((byte) => byte !== 0xff)
  return isBelowPrime && !SMALL_ORDER.has(hashHex(y))
}
