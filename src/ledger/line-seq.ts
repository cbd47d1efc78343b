/** The position of a line, for whoever looks for one line among many. */

// With the comma before it, this stands nowhere in a header but at the key: inside a text its quotes are escaped.
const SEQ_KEY = Buffer.from(',"seq":')
/** Behind `{"hash":"…","header":{`. */
const SEQ_SEARCH_START = 84

/** The position that the line's header names, without parsing it; -1 where it names none. */
export function seqOfLine(bytes: Buffer, start: number, end: number): number {
  let at = bytes.indexOf(SEQ_KEY, start + SEQ_SEARCH_START)
  if (at === -1 || at >= end) return -1
  at += SEQ_KEY.length
  let seq = 0
  const first = at
  for (; at < end; at++) {
    const digit = (bytes[at] as number) - 0x30
    if (digit < 0 || digit > 9) break
    seq = seq * 10 + digit
  }
  return at > first && Number.isSafeInteger(seq) ? seq : -1
}
