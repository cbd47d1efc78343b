/**
 * Cuts a stream of JSON into the values that are worth looking at, without parsing the whole: the items of a document
 * that is one array, a document that is one object, or lines with a value each (JSONL). It only looks for where a value
 * ends; whether it is one, `JSON.parse` of it tells.
 */
import { decodeText } from '../../verify/text.ts'

export type JsonItemFault = 'torn' | 'not_utf8' | 'too_large'

export interface JsonItem {
  /** The value's text with its white space; null where there is a fault. */
  readonly text: string | null
  readonly fault: JsonItemFault | null
  /** Line at which it begins, 1 for the first. */
  readonly line: number
  readonly bytes: number
  /** It is an item of an array that is the document, or a line. */
  readonly ofArray: boolean
}

/** Behind the last item of an array that is the document, or a line: what came before may have been one run's messages. */
export const ARRAY_END = 'array end'

const QUOTE = 0x22
const COMMA = 0x2c
const BACKSLASH = 0x5c
const OPEN_LIST = 0x5b
const CLOSE_LIST = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d
const LINE_FEED = 0x0a
const MARK = Uint8Array.of(0xef, 0xbb, 0xbf)

function isBlank(byte: number): boolean {
  return byte === 0x20 || byte === LINE_FEED || byte === 0x0d || byte === 0x09
}

type State =
  /** Nothing but white space so far. */
  | 'start'
  /** Within the value that the document begins with, an object. */
  | 'object'
  /** Between the brackets of the array that the document begins with. */
  | 'array'
  /** Behind that first value, or from the start: a value a line. */
  | 'lines'

export class JsonItems {
  readonly #bytesMax: number
  #state: State
  #found: (JsonItem | typeof ARRAY_END)[] = []
  #line = 1
  /** Objects and arrays that are open, the document's own array not counted. */
  #depth = 0
  #inString = false
  #escaped = false
  /** An item has begun: something but white space came. */
  #begun = false
  #beginLine = 1
  /** An item, or a comma, came before in this array: then the next one must be there. */
  #expected = false
  #parts: Uint8Array[] = []
  #length = 0
  /** How much of a byte order mark came; -1 once that is settled. */
  #mark = 0

  /** `lines`: not a document, though its first line may look like the start of one. */
  constructor(bytesMax: number, lines: boolean) {
    this.#bytesMax = bytesMax
    this.#state = lines ? 'lines' : 'start'
  }

  /** What this chunk ends. The chunk is kept in part until then, so it is not to be used again. */
  push(chunk: Uint8Array): (JsonItem | typeof ARRAY_END)[] {
    let at = this.#skipMark(chunk)
    while (at < chunk.length) {
      if (this.#state === 'lines') at = this.#takeLine(chunk, at)
      else if (this.#state === 'start') at = this.#takeStart(chunk, at)
      else at = this.#takeValue(chunk, at)
    }
    return this.#taken()
  }

  /** What nothing ends. */
  end(): (JsonItem | typeof ARRAY_END)[] {
    if (this.#state === 'lines') this.#finish(null, false)
    else if (this.#state !== 'start') {
      if (!this.#begun) this.#begin()
      this.#finish('torn', this.#state === 'array')
    }
    return this.#taken()
  }

  #taken(): (JsonItem | typeof ARRAY_END)[] {
    const found = this.#found
    this.#found = []
    return found
  }

  /** RFC 8259, section 8.1: a parser may ignore a byte order mark. A part of one is no text. */
  #skipMark(chunk: Uint8Array): number {
    let at = 0
    while (this.#mark >= 0 && at < chunk.length) {
      if (this.#mark < MARK.length && chunk[at] === MARK[this.#mark]) {
        this.#mark++
        at++
        continue
      }
      if (this.#mark > 0 && this.#mark < MARK.length) {
        this.#state = 'lines'
        this.#begin()
        this.#keep(MARK, 0, this.#mark)
      }
      this.#mark = -1
    }
    return at
  }

  #takeStart(chunk: Uint8Array, start: number): number {
    let at = start
    for (; at < chunk.length; at++) {
      const byte = chunk[at]!
      if (byte === LINE_FEED) this.#line++
      if (isBlank(byte)) continue
      this.#depth = 0
      this.#state = byte === OPEN_LIST ? 'array' : byte === OPEN_OBJECT ? 'object' : 'lines'
      return byte === OPEN_LIST ? at + 1 : at
    }
    return at
  }

  #takeLine(chunk: Uint8Array, start: number): number {
    let end = chunk.indexOf(LINE_FEED, start)
    const ended = end !== -1
    if (!ended) end = chunk.length
    for (let at = start; at < end && !this.#begun; at++) if (!isBlank(chunk[at]!)) this.#begin()
    if (this.#begun) this.#keep(chunk, start, end)
    if (!ended) return end
    this.#finish(null, false)
    this.#line++
    return end + 1
  }

  /** Through the value at hand up to its end, or the chunk's. */
  #takeValue(chunk: Uint8Array, start: number): number {
    const inArray = this.#state === 'array'
    let at = start
    for (; at < chunk.length; at++) {
      const byte = chunk[at]!
      if (byte === LINE_FEED) this.#line++
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false
        else if (byte === BACKSLASH) this.#escaped = true
        else if (byte === QUOTE) this.#inString = false
        continue
      }
      if (!this.#begun && !isBlank(byte) && !(inArray && (byte === CLOSE_LIST || byte === COMMA))) this.#begin()
      if (byte === QUOTE) this.#inString = true
      else if (byte === OPEN_OBJECT || byte === OPEN_LIST) this.#depth++
      else if (inArray && this.#depth === 0 && (byte === COMMA || byte === CLOSE_LIST)) return this.#endItem(chunk, start, at, byte)
      else if (byte === CLOSE_OBJECT || byte === CLOSE_LIST) {
        this.#depth--
        if (inArray || this.#depth > 0) continue
        this.#keep(chunk, start, at + 1)
        this.#finish(null, false)
        this.#state = 'lines'
        return at + 1
      }
    }
    if (this.#begun) this.#keep(chunk, start, at)
    return at
  }

  /** At the comma or bracket behind an item of the document's array. */
  #endItem(chunk: Uint8Array, start: number, at: number, byte: number): number {
    const isEnd = byte === CLOSE_LIST
    // Nothing before a comma, or behind one, is a fault that JSON.parse tells of the empty text.
    if (!this.#begun && (!isEnd || this.#expected)) this.#begin()
    if (this.#begun) this.#keep(chunk, start, at)
    this.#finish(null, true)
    this.#expected = !isEnd
    if (isEnd) {
      this.#found.push(ARRAY_END)
      this.#state = 'lines'
    }
    return at + 1
  }

  #begin(): void {
    this.#begun = true
    this.#beginLine = this.#line
  }

  #keep(chunk: Uint8Array, start: number, end: number): void {
    this.#length += end - start
    if (this.#length > this.#bytesMax) this.#parts = []
    else if (end > start) this.#parts.push(chunk.subarray(start, end))
  }

  #finish(fault: 'torn' | null, ofArray: boolean): void {
    if (this.#begun) {
      const tooLarge = this.#length > this.#bytesMax
      const text = fault !== null || tooLarge ? null : decoded(this.#parts)
      const found: JsonItemFault | null = fault ?? (tooLarge ? 'too_large' : text === null ? 'not_utf8' : null)
      this.#found.push({ text, fault: found, line: this.#beginLine, bytes: this.#length, ofArray })
    }
    this.#begun = false
    this.#parts = []
    this.#length = 0
    this.#depth = 0
  }
}

function decoded(parts: readonly Uint8Array[]): string | null {
  try {
    return decodeText(parts.length === 1 ? parts[0]! : Buffer.concat(parts))
  } catch {
    return null
  }
}
