/** Where an import reads from, what it tells, and how its records get their ids. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { basename } from 'node:path'
import { byteLength } from '../../verify/text.ts'
import { HEADER_LIMITS } from '../../verify/header.ts'

/** A file to import, by whatever means its bytes come. */
export interface ImportSource {
  /** Goes into the ids of the records, so the same file under the same name is imported once, wherever it lies. */
  readonly name: string
  /** Its bytes from the first on. `importCortexJsonl` reads twice. */
  read(): AsyncIterable<Uint8Array>
}

/** A file on disk, under its own name unless said. */
export function fileSource(path: string, name: string = basename(path)): ImportSource {
  return { name, read: () => createReadStream(path, { highWaterMark: 256 * 1024 }) }
}

export interface ImportProblem {
  /** Of a closed set for each kind of file; see docs/guides/import.md. */
  readonly code: string
  /** 1 for the first line of the file; null where it is about the file as a whole. */
  readonly line: number | null
  /** 0-based index of the run, in a file of chat runs. */
  readonly run?: number
  /** What is wrong, for people; without control characters. */
  readonly message: string
}

export interface ImportReport {
  /** Records that this import wrote. */
  readonly imported: number
  /** Records that were there already. */
  readonly already: number
  /** Runs, or lines, that were left out because of a problem. */
  readonly skipped: number
  /** The first of them; `problems_total` says how many there are. */
  readonly problems: readonly ImportProblem[]
  readonly problems_total: number
  /** The signal was aborted: the rest of the file was not looked at. */
  readonly interrupted: boolean
}

/** How far an import has come. */
export interface ImportProgress {
  readonly phase: 'checking' | 'importing'
  /** Bytes of the file that were read, in this phase. */
  readonly bytes: number
  /** Records that were handed to the ledger, or lines that were checked. */
  readonly records: number
}

export interface ImportOptions {
  /** Stops the import between two records; what was handed over is waited for. */
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: ImportProgress) => void) | undefined
  /** How many problems are kept; 1,000 unless said. */
  readonly problemsMax?: number | undefined
}

/** The time of what has none in its source. No clock is asked: the same file gives the same entries whenever it is imported. */
export const NO_TIME = '1970-01-01T00:00:00.000000Z'

// Of this project's imports alone; from random, as RFC 9562 (section 6.5) wants a namespace.
const NAMESPACE = Buffer.from('0d5f6f2e3c8a4f1b9c77b1f0a6d2e945', 'hex')

/**
 * The UUID, version 8, that stands for these parts: SHA-256 of a namespace and their JSON. Source: RFC 9562, section
 * 5.8 and appendix B.2.
 */
export function importId(...parts: readonly (string | number)[]): string {
  const bytes = createHash('sha256').update(NAMESPACE).update(JSON.stringify(parts)).digest()
  bytes[6] = (bytes[6]! & 0x0f) | 0x80
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  const hex = bytes.toString('hex', 0, 16)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/

/** True where a header can hold the text: see docs/format.md, "The header". */
export function fitsHeader(text: string): boolean {
  return (
    text !== '' &&
    text.length <= HEADER_LIMITS.string_bytes_max &&
    text.isWellFormed() &&
    !CONTROL.test(text) &&
    byteLength(text) <= HEADER_LIMITS.string_bytes_max
  )
}

/** @throws TypeError for a name that says nothing, or that a record could not hold */
export function requireSourceName(name: string): void {
  if (typeof name !== 'string' || !fitsHeader(name))
    throw new TypeError('the name of a source is a text of 1 to 512 bytes without control characters')
}

/** Problems, counted, and the first of them kept: a file of nothing but faults must not fill the memory. */
export class ImportProblems {
  readonly kept: ImportProblem[] = []
  total = 0
  readonly #max: number

  constructor(max = 1000) {
    this.#max = max
  }

  add(problem: ImportProblem): void {
    this.total++
    if (this.kept.length < this.#max) this.kept.push(problem)
  }
}

/** Text of a file in a message: printable ASCII, and short. */
export function shown(text: string): string {
  const cut = text.length > 80 ? `${text.slice(0, 80)}...` : text
  return cut.replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
