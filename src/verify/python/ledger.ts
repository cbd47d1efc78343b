/**
 * A whole ledger of the seed's Python, as a stream: for each line what Python says of it, and for the file what Python's
 * `verify_ledger_integrity` does. Python stops at the first line that is not right; this goes on, from the hash that the
 * line states.
 */
import { GENESIS } from '../header.ts'
import { sha256, type Sha256 } from '../hash.ts'
import { decodeText } from '../text.ts'
import { checkPythonEntry, pythonFinding, type PythonEntryCheck, type PythonFindingCode, type PythonVerdict } from './entry.ts'
import { UniversalLines, type LineEnding, type UniversalLine } from './lines.ts'
import { utf8FaultAt } from './utf8.ts'
import { PYTHON_3_11, type PythonLimits } from './value.ts'

export interface PythonLedgerOptions {
  /** A faster one than the default in plain ECMAScript. */
  readonly sha256?: Sha256
  /** The Python that is asked; `PYTHON_3_11` by default. */
  readonly limits?: PythonLimits
  /** Bytes of the longest line that is read; 64 MiB by default. */
  readonly lineBytesMax?: number
}

export interface PythonLine extends PythonEntryCheck {
  /** 1 for the first line, as Python and every editor counts them. */
  readonly number: number
  /** Offset of its first byte in the file. */
  readonly byte: number
  /** In bytes, without the ending. */
  readonly length: number
  /** Empty for a last line that has none. */
  readonly ending: LineEnding
  /** The exact text without the ending; null where it is not UTF-8, or too long. */
  readonly text: string | null
  /** A copy of the bytes where they are not UTF-8, else null. */
  readonly bytes: Uint8Array | null
}

export interface PythonLedgerReport {
  /** What Python does with the file as a whole: `ok` is its True. */
  readonly verdict: PythonVerdict
  /** Number of the line at which Python stops; null where it comes to the end. */
  readonly line: number | null
  readonly lines: number
  readonly bytes: number
  /** Lines that have a `previous_hash`. */
  readonly chained: number
  /** The hash that a next line would have to point to; `GENESIS` where no line states one. */
  readonly head: string
  /** How often each finding was made. None but `legacy_line`: nothing is wrong with the file. */
  readonly findings: ReadonlyMap<PythonFindingCode, number>
}

const LINE_BYTES_MAX = 64 * 1024 * 1024
/** Python's text files decode so many bytes at a time (`_CHUNK_SIZE` of `io.TextIOWrapper`), and raise for all of them at once. */
const CHUNK_BYTES = 8192

/** Where Python stops, as far as is known. */
interface Stop {
  readonly verdict: PythonVerdict
  readonly line: number
  /** Number of the chunk that Python has read by then. */
  readonly chunk: number
}

export class PythonLedgerVerifier {
  readonly #sha256: Sha256
  readonly #limits: PythonLimits
  readonly #splitter: UniversalLines
  readonly #findings = new Map<PythonFindingCode, number>()
  #number = 0
  #bytes = 0
  #chained = 0
  #head = GENESIS as string
  #firstEnding: LineEnding | null = null
  #stop: Stop | null = null
  /** The last chunk that Python has read for the lines so far, and the first line for which it read that one. */
  #chunk = -1
  #chunkLine = 0
  /** The line before ended with a bare CR. */
  #afterReturn = false

  constructor(options: PythonLedgerOptions = {}) {
    this.#sha256 = options.sha256 ?? sha256
    this.#limits = options.limits ?? PYTHON_3_11
    this.#splitter = new UniversalLines(options.lineBytesMax ?? LINE_BYTES_MAX)
  }

  /** The lines that this chunk of the file ends, checked. The chunk may be used again afterwards. */
  push(chunk: Uint8Array): PythonLine[] {
    this.#bytes += chunk.length
    return this.#splitter.push(chunk).map((line) => this.#check(line))
  }

  /** The last line where nothing ends it, as a list of one or none. To be called once, behind the last chunk. */
  end(): PythonLine[] {
    const line = this.#splitter.end()
    return line === null ? [] : [this.#check(line)]
  }

  /** What is known of the file so far; before the end, what Python does may still change, as it decodes ahead. */
  report(): PythonLedgerReport {
    return {
      verdict: this.#stop?.verdict ?? { says: 'ok' },
      line: this.#stop?.line ?? null,
      lines: this.#number,
      bytes: this.#bytes,
      chained: this.#chained,
      head: this.#head,
      findings: new Map(this.#findings),
    }
  }

  #check(line: UniversalLine): PythonLine {
    this.#number++
    const text = line.bytes === null ? null : tryDecode(line.bytes)
    const faultAt = line.bytes === null || text !== null ? -1 : utf8FaultAt(line.bytes)
    const check = text === null ? unread(line, faultAt) : this.#checkText(text)
    const findings = [...check.findings, ...this.#endingFindings(line)]
    for (const { code } of findings) this.#findings.set(code, (this.#findings.get(code) ?? 0) + 1)
    this.#followPython(line, faultAt, check.verdict)
    // Not `slice`: Node's Buffer, which a chunk may be, has one that does not copy.
    const bytes = faultAt === -1 ? null : new Uint8Array(line.bytes!)
    return { ...check, findings, number: this.#number, byte: line.byte, length: line.length, ending: line.ending, text, bytes }
  }

  #checkText(text: string): PythonEntryCheck {
    const options = { sha256: this.#sha256, limits: this.#limits, chained: this.#chained > 0 }
    const check = checkPythonEntry(text, this.#head, options)
    if (check.entry?.has('previous_hash') === true) {
      this.#chained++
      if (check.stated_hash !== null) this.#head = check.stated_hash
    }
    return check
  }

  #endingFindings({ ending }: UniversalLine): ReturnType<typeof pythonFinding>[] {
    this.#firstEnding ??= ending
    if (ending === '') return [pythonFinding('torn_line')]
    if (ending !== '\r' && ending === this.#firstEnding) return []
    return [pythonFinding('line_ending', this.#firstEnding === '\r\n' ? '\r\n' : '\n', ending)]
  }

  /**
   * Python decodes ahead: bytes that are not UTF-8 end its verification at the first line for which it reads their
   * chunk, be it some lines before, and before it looks at that line.
   */
  #followPython(line: UniversalLine, faultAt: number, verdict: PythonVerdict): void {
    if (this.#afterReturn) this.#waitBehindReturn(line)
    if (faultAt !== -1) {
      const atEnd = line.ending === '' && faultAt === line.length
      const chunk = atEnd ? Infinity : Math.floor((line.byte + faultAt) / CHUNK_BYTES)
      if (this.#stop === null || chunk <= this.#stop.chunk) {
        this.#stop = { verdict, line: chunk <= this.#chunk ? this.#chunkLine : this.#number, chunk: -1 }
      }
    }
    // It reads a line without ending to the end of the file, and behind a CR it waits for the next character.
    const last = line.byte + line.length + (line.ending === '\n' ? 0 : 1)
    this.#reads(line.ending === '' ? Infinity : Math.floor(last / CHUNK_BYTES), this.#number)
    if (verdict.says !== 'ok') this.#stop ??= { verdict, line: this.#number, chunk: this.#chunk }
    this.#afterReturn = line.ending === '\r'
  }

  #reads(chunk: number, line: number): void {
    if (chunk <= this.#chunk) return
    this.#chunk = chunk
    this.#chunkLine = line
  }

  /** The character behind a CR may begin in one chunk and end in the next; then the line before had to wait for that one. */
  #waitBehindReturn({ bytes, byte }: UniversalLine): void {
    const chunk = Math.floor(byte / CHUNK_BYTES) + 1
    const inside = chunk * CHUNK_BYTES - byte
    if (bytes === null || inside > 3) return
    for (let length = 1; length <= inside; length++) if (utf8FaultAt(bytes.subarray(0, length)) !== length) return
    this.#reads(chunk, this.#number - 1)
    if (this.#stop?.line === this.#number - 1) this.#stop = { ...this.#stop, chunk }
  }
}

function tryDecode(bytes: Uint8Array): string | null {
  try {
    return decodeText(bytes)
  } catch {
    return null
  }
}

function unread(line: UniversalLine, faultAt: number): PythonEntryCheck {
  const nothing = { value: null, entry: null, computed_hash: null, stated_hash: null }
  if (faultAt === -1) {
    const reason = `a line of ${line.length} bytes`
    return { ...nothing, verdict: { says: 'not checked', reason }, findings: [pythonFinding('line_too_long', null, reason)] }
  }
  const found = `byte ${line.byte + faultAt}`
  const verdict = { says: 'raises', exception: 'UnicodeDecodeError', reason: `not UTF-8 at ${found}` } as const
  return { ...nothing, verdict, findings: [pythonFinding('undecodable', null, found)] }
}
