/**
 * What one line says by itself: its grammar, its hash and its commitment. Where it belongs in the ledger is not asked
 * here. At most one fault a line, the first in the order: hash, header, the rest of the line, commitment.
 */
import { asciiText, CLOSE_LIST, CLOSE_OBJECT, Digest, isLowerHex, Memory, sameBytes } from './bytes.ts'
import type { Printable } from './bytes.ts'
import { isCanonicalJson } from './canonical.ts'
import type { Sha256 } from './hash.ts'
import { KEY } from './header-grammar.ts'
import { HeaderScan } from './header-scan.ts'
import { FORMAT_VERSION, HEADER_LIMITS } from './header.ts'
import {
  ENTRY_OPEN,
  HASH_LENGTH,
  HASH_OPEN,
  HASH_START,
  HEADER_OPEN,
  SALT_LENGTH,
  SALT_OPEN,
  SIGNATURES_OPEN,
  WITHHELD,
} from './line-parts.ts'
import type { Fault } from './problems.ts'
import { HEADER_START, headerEnd, saltStandsAt } from './record.ts'
import { JsonScanner } from './scan.ts'
import { SIGNATURES_BYTES_MAX, signaturesFault } from './signatures.ts'
import { decodeText, encodeInto } from './text.ts'

/** As long as headers are without long texts. */
const LEAF_VIEWS = 1024
const ENTRY_BYTES_MAX = 16 * 1024 * 1024

export interface LineCheckOptions {
  readonly sha256: Sha256
  readonly isUtf8: (bytes: Uint8Array) => boolean
  readonly canonicalEntries: boolean
}

/** What is known about a line. */
export type LineStatus =
  /** The header is what was hashed, and legal: the line has a place in the chain. The rest may have a fault. */
  | 'header'
  /** As `header`, of a format newer than this; only hash, seq and previous_hash were looked at. */
  | 'newer'
  /** There is something like a header, and a hash that the next record may point to; which record it is can't be told. */
  | 'hashes'
  /** Nothing is known but that a line is here. */
  | 'nothing'

/** One check, used again and again: its fields tell about the last line. Offsets are of the bytes given. */
export class LineCheck {
  status: LineStatus = 'nothing'
  fault: Fault | null = null
  /** The memory of the line's bytes. */
  readonly memory = new Memory()
  readonly header = new HeaderScan(this.memory)
  headerStart = 0
  headerEnd = 0
  seq = 0
  /** previous_hash without quotes. */
  previousStart = 0
  previousEnd = 0
  /** True where previous_hash is the hash that was expected. */
  linked = false
  /** The hash of the header's bytes; replaced by `takeHash`. */
  hash = new Digest()
  withheld = false
  /** The array of signatures, of which the grammar holds; the start is -1 where nobody signed, or the line has a fault before them. */
  signaturesStart = -1
  signaturesEnd = 0
  /** The entry's object; meaningless where it is withheld or the line has a fault. */
  entryStart = 0
  entryEnd = 0
  readonly #options: LineCheckOptions
  readonly #scanner: JsonScanner
  /** 0x00 and the header. */
  readonly #leaf = new Uint8Array(HEADER_LIMITS.header_bytes_max + 1)
  /** Views of the leaf by the header's length, for those of a usual one: making a view costs as much as the copy. */
  readonly #leafViews: (Uint8Array | undefined)[] = Array.from({ length: LEAF_VIEWS })
  /** How far the bytes at hand lie from the start of their memory. */
  #shift = 0
  readonly #digest = new Digest()

  constructor(options: LineCheckOptions) {
    this.#options = options
    this.#scanner = new JsonScanner(this.memory, options.canonicalEntries)
  }

  /** Checks `bytes[start, end)`, a line without its line feed. `expected`: the hash that it should point back to; null: GENESIS. */
  check(bytes: Uint8Array, start: number, end: number, expected: Digest | null): void {
    this.#check(bytes, start, end, expected, false)
    // What is wrong, and whether, is for the whole grammar to say, not for the fast way through it.
    if (this.fault !== null) this.#check(bytes, start, end, expected, true)
  }

  #check(bytes: Uint8Array, start: number, end: number, expected: Digest | null, strictly: boolean): void {
    this.fault = null
    this.withheld = false
    this.signaturesStart = -1
    this.status = 'nothing'
    this.headerStart = start + HEADER_START
    const shift = this.memory.view(bytes)
    this.#shift = shift
    if (
      this.headerStart >= end ||
      !HASH_OPEN.standsAt(this.memory, start + shift) ||
      !HEADER_OPEN.standsAt(this.memory, start + HASH_START + HASH_LENGTH + shift)
    ) {
      this.#malformed('the line does not start with {"hash":"<64 hex>","header":{')
      return
    }
    this.headerEnd = this.header.scan(bytes, this.headerStart, end, strictly)
    const fault = this.header.fault
    if (this.headerEnd === -1)
      this.headerEnd = headerEnd(bytes, this.headerStart, Math.min(end, this.headerStart + HEADER_LIMITS.header_bytes_max + 3))
    if (this.headerEnd === -1) {
      this.#malformed(fault)
      return
    }
    this.status = 'hashes'
    if (!this.#hashHolds(bytes, start + HASH_START)) return
    if (fault !== '') {
      if (!this.#isNewer(bytes)) this.#malformed(fault)
      return
    }
    if (!this.#takeHeader(bytes, expected)) return
    this.status = 'header'
    this.#checkRest(bytes, start, end)
  }

  /**
   * Checks `bytes[start, end)`, a header of which nothing else is known: what it hashes to is its hash, unless whoever
   * knows better states another one. There is no entry, and none is missed.
   */
  checkHeader(bytes: Uint8Array, start: number, end: number, expected: Digest | null, stated: Uint8Array | null): void {
    this.#checkHeader(bytes, start, end, expected, stated, false)
    if (this.fault !== null) this.#checkHeader(bytes, start, end, expected, stated, true)
  }

  #checkHeader(bytes: Uint8Array, start: number, end: number, expected: Digest | null, stated: Uint8Array | null, strictly: boolean): void {
    this.fault = null
    this.withheld = false
    this.signaturesStart = -1
    this.entryStart = -1
    this.status = 'nothing'
    this.headerStart = start
    this.headerEnd = end
    this.#shift = this.memory.view(bytes)
    if (end - start > HEADER_LIMITS.header_bytes_max) {
      this.#malformed(`the header does not end within ${HEADER_LIMITS.header_bytes_max} bytes`)
      return
    }
    const behind = this.header.scan(bytes, start, end, strictly)
    this.status = 'hashes'
    encodeInto(this.#options.sha256(this.#leafOfHeader()), this.hash.bytes)
    if (stated !== null && !sameBytes(stated, 0, stated.length, this.hash.bytes, 0, HASH_LENGTH)) {
      this.#mismatch('hash_mismatch', stated, 0, this.hash)
      return
    }
    if (behind !== end) {
      if (!this.#isNewer(bytes)) this.#malformed(behind === -1 ? this.header.fault : 'something follows the header')
      return
    }
    if (!this.#takeHeader(bytes, expected)) return
    this.status = 'header'
    const entryHash = start + this.header.starts[KEY.entry_hash]!
    if (!isLowerHex(bytes, entryHash, entryHash + HASH_LENGTH)) this.#malformed('entry_hash is not 64 lower-case hex digits')
  }

  /** Gives the hash away and takes another in its stead. */
  takeHash(instead: Digest): Digest {
    const { hash } = this
    this.hash = instead
    return hash
  }

  #malformed(found: string): void {
    this.fault = { code: 'malformed_record', expected: null, found }
  }

  #hashHolds(bytes: Uint8Array, stated: number): boolean {
    // Comparing bytes costs a fifth of comparing the text with bytes letter by letter.
    encodeInto(this.#options.sha256(this.#leafOfHeader()), this.hash.bytes)
    if (this.hash.standsAt(this.memory, stated + this.#shift)) return true
    if (!isLowerHex(bytes, stated, stated + HASH_LENGTH)) this.#malformed('hash is not 64 lower-case hex digits')
    else this.#mismatch('hash_mismatch', bytes, stated, this.hash)
    return false
  }

  /** 0x00 and the header's bytes. */
  #leafOfHeader(): Uint8Array {
    const length = this.headerEnd - this.headerStart
    this.#leaf.set(new Uint8Array(this.memory.buffer, this.headerStart + this.#shift, length), 1)
    return length < LEAF_VIEWS ? (this.#leafViews[length] ??= this.#leaf.subarray(0, length + 1)) : this.#leaf.subarray(0, length + 1)
  }

  #mismatch(code: 'hash_mismatch' | 'entry_mismatch', bytes: Uint8Array, stated: number, computed: Digest): void {
    this.fault = { code, expected: asciiText(bytes, stated, stated + HASH_LENGTH), found: asciiText(computed.bytes, 0, HASH_LENGTH) }
  }

  /** What the scan leaves open: the digits of previous_hash, and UTF-8. */
  #takeHeader(bytes: Uint8Array, expected: Digest | null): boolean {
    const { header } = this
    this.seq = header.numbers[KEY.seq]!
    this.previousStart = this.headerStart + header.starts[KEY.previous_hash]!
    this.previousEnd = this.headerStart + header.ends[KEY.previous_hash]!
    // The scan saw to it that GENESIS stands at seq 0 and nowhere else.
    this.linked = this.seq === 0 ? expected === null : expected !== null && expected.standsAt(this.memory, this.previousStart + this.#shift)
    if (!this.linked && this.seq > 0 && !isLowerHex(bytes, this.previousStart, this.previousEnd)) {
      this.#malformed('previous_hash is not 64 lower-case hex digits')
      return false
    }
    if (header.notAscii && !this.#options.isUtf8(bytes.subarray(this.headerStart, this.headerEnd))) {
      this.#malformed('the header is not UTF-8')
      return false
    }
    return true
  }

  /** A format above ours: what places it in the chain is read, the rest is not judged. */
  #isNewer(bytes: Uint8Array): boolean {
    try {
      const header = JSON.parse(decodeText(bytes.subarray(this.headerStart, this.headerEnd)))
      const { v, seq, previous_hash } = header
      if (!Number.isSafeInteger(v) || v <= FORMAT_VERSION || !Number.isSafeInteger(seq) || seq < 0) return false
      if (typeof previous_hash !== 'string' || !/^(?:[0-9a-f]{64}|GENESIS)$/.test(previous_hash)) return false
      const at = asciiText(bytes, this.headerStart, this.headerEnd).indexOf(`"previous_hash":"${previous_hash}"`)
      if (at === -1) return false
      this.seq = seq
      this.previousStart = this.headerStart + at + '"previous_hash":"'.length
      this.previousEnd = this.previousStart + previous_hash.length
      this.status = 'newer'
      return true
    } catch {
      return false
    }
  }

  /** True where the text stands at this offset of the bytes at hand, wholly before `end`. */
  #standsAt(at: number, end: number, text: Printable): boolean {
    return at + text.length <= end && text.standsAt(this.memory, at + this.#shift)
  }

  #checkRest(bytes: Uint8Array, start: number, end: number): void {
    const { header } = this
    let at = this.headerEnd
    if (header.starts[KEY.signers] !== -1 || this.#standsAt(at, end, SIGNATURES_OPEN)) {
      at = this.#checkSignatures(bytes, at, end)
      if (at === -1) return
    }
    const entryHash = this.headerStart + header.starts[KEY.entry_hash]!
    if (this.#standsAt(at, end, SALT_OPEN)) {
      this.#checkContent(bytes, at, start, end, entryHash)
    } else if (at + WITHHELD.length === end && this.#standsAt(at, end, WITHHELD)) {
      this.withheld = true
      if (!isLowerHex(bytes, entryHash, entryHash + HASH_LENGTH)) this.#malformed('entry_hash is not 64 lower-case hex digits')
    } else {
      this.#malformed('behind the header comes neither ,"salt":" nor ,"entry":null}')
    }
  }

  /** From the comma before the signatures to behind them, or -1. */
  #checkSignatures(bytes: Uint8Array, from: number, end: number): number {
    const { header, headerStart } = this
    if (!this.#standsAt(from, end, SIGNATURES_OPEN)) {
      this.#malformed('the signatures that signers names are missing')
      return -1
    }
    const start = from + SIGNATURES_OPEN.length - 1
    const limit = Math.min(end, start + SIGNATURES_BYTES_MAX)
    let close = start
    while (close < limit && bytes[close] !== CLOSE_LIST) close++
    if (close === limit) {
      this.#malformed('the signatures do not end')
      return -1
    }
    const [from_, to] = [header.starts[KEY.signers]!, header.ends[KEY.signers]!]
    const signers: string[] = from_ === -1 ? [] : JSON.parse(decodeText(bytes.subarray(headerStart + from_, headerStart + to)))
    const fault =
      signers.length === 0
        ? 'there are signatures that signers does not name'
        : signaturesFault(asciiText(bytes, start, close + 1), signers)
    if (fault !== null) {
      this.#malformed(fault)
      return -1
    }
    this.signaturesStart = start
    this.signaturesEnd = close + 1
    return close + 1
  }

  /** Salt and entry, from the comma before them to the line's last `}`. */
  #checkContent(bytes: Uint8Array, from: number, start: number, end: number, entryHash: number): void {
    const salt = from + SALT_OPEN.length
    const entryOpen = salt + SALT_LENGTH
    this.entryStart = entryOpen + ENTRY_OPEN.length - 1
    this.entryEnd = end - 1
    if (!this.#standsAt(entryOpen, end, ENTRY_OPEN) || !saltStandsAt(bytes, salt)) {
      this.#malformed('the salt is not 22 digits of canonical base64url before ,"entry":{')
      return
    }
    if (this.entryEnd - this.entryStart > ENTRY_BYTES_MAX) {
      this.#malformed(`the entry is longer than ${ENTRY_BYTES_MAX} bytes`)
      return
    }
    if (bytes[this.entryEnd] !== CLOSE_OBJECT || this.#scanner.scan(bytes, this.entryStart, this.entryEnd) !== this.entryEnd) {
      this.#malformed('the entry is not exactly one JSON object up to the byte before the last }')
      return
    }
    if ((this.#scanner.notAscii || this.header.notAscii) && !this.#options.isUtf8(bytes.subarray(start, end))) {
      this.#malformed('the entry is not UTF-8')
      return
    }
    this.#checkCommitment(bytes, from + 1, entryHash)
  }

  #checkCommitment(bytes: Uint8Array, from: number, entryHash: number): void {
    // A third of the price of `bytes.subarray`, which asks for the class of the array.
    const commitment = new Uint8Array(this.memory.buffer, from + this.#shift, this.entryEnd - from)
    encodeInto(this.#options.sha256(commitment), this.#digest.bytes)
    if (!this.#digest.standsAt(this.memory, entryHash + this.#shift)) {
      if (!isLowerHex(bytes, entryHash, entryHash + HASH_LENGTH)) this.#malformed('entry_hash is not 64 lower-case hex digits')
      else this.#mismatch('entry_mismatch', bytes, entryHash, this.#digest)
      return
    }
    if (this.#options.canonicalEntries && !this.#scanner.canonical && !isCanonicalJson(bytes, this.entryStart, this.entryEnd)) {
      this.fault = { code: 'entry_not_canonical', expected: null, found: null }
    }
  }
}
