/** Where a file stops being UTF-8, for which Python's decoder raises while it reads, however far its verification is. */

/**
 * Offset of the byte at which CPython's decoder gives up: one that can't stand there (RFC 3629, section 4), or the
 * length where the last character is cut off; -1 where all is well. A surrogate is let be until its third byte comes.
 */
export function utf8FaultAt(bytes: Uint8Array): number {
  let at = 0
  while (at < bytes.length) {
    const lead = bytes[at]!
    const length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0
    if (length === 0) return at
    for (let i = 1; i < length; i++) {
      const byte = bytes[at + i]
      // No longer form than needed, nothing above U+10FFFF: told by the second byte.
      const lowest = i > 1 ? 0x80 : lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80
      const highest = i > 1 ? 0xbf : lead === 0xf4 ? 0x8f : 0xbf
      if (byte === undefined || byte < lowest || byte > highest) return at + i
    }
    if (lead === 0xed && bytes[at + 1]! > 0x9f) return at + 2
    at += length
  }
  return -1
}
