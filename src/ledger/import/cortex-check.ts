/** The first of the two passes over a file of the mission's ledger: its digest, Python's verdict, and all that is wrong with it. */
import { createHash } from 'node:crypto'
import type { PythonVerdict } from '../../verify/python/entry.ts'
import { PythonLedgerVerifier } from '../../verify/python/ledger.ts'
import type { PythonLine } from '../../verify/python/ledger.ts'
import { nodeHashing } from '../hashing.ts'
import { LEGACY_LINE_BYTES_MAX, readLegacyLine } from './legacy-line.ts'
import type { LegacyFinding, LegacyFindingCode, LegacyLine } from './legacy-line.ts'
import { ImportProblems } from './source.ts'
import type { ImportOptions, ImportProblem, ImportSource } from './source.ts'

export interface CortexCheckOptions extends ImportOptions {
  /** A time without a zone is UTC; without this it is a problem. */
  readonly assumeUtc?: boolean | undefined
}

/** What a file of the mission's ledger is, before anything is written. */
export interface CortexCheck {
  /** SHA-256 of the file, 64 lower-case hex digits. */
  readonly sha256: string
  readonly bytes: number
  readonly lines: number
  /** Lines that have a `previous_hash`; 0 for a file from before there was a chain. */
  readonly chained: number
  /** The hash that a next line would have to point to. */
  readonly head: string
  /** What Python's `verify_ledger_integrity` does: `True`, `False`, the name of an exception, or `not checked`. */
  readonly verdict: string
  /** The line at which it stops; null where it comes to the end. */
  readonly verdict_line: number | null
  /** How often each finding was made; none: nothing is wrong with the file. */
  readonly findings: { readonly [code: string]: number }
  /** Findings that can't be adopted: a time without a zone, a line that no record can hold. */
  readonly refused: number
  readonly problems: readonly ImportProblem[]
  readonly problems_total: number
  /** The latest time that a line has, in the ledger's spelling; null where none has one. */
  readonly last_time: string | null
  readonly interrupted: boolean
}

const MESSAGES: { readonly [Code in LegacyFindingCode]: string } = {
  undecodable: 'not valid UTF-8',
  blank_line: 'nothing but white space',
  not_json: 'no JSON as Python reads it',
  not_object: 'JSON, but no object',
  too_many_digits: 'an integer of more digits than Python reads',
  too_deep: 'nested deeper than Python reads for sure',
  legacy_line: 'written before there was a chain',
  unchained_line: 'has no hash, behind a line of the chain',
  missing_hash: 'one of the two hashes is missing',
  chain_broken: 'previous_hash is not the hash of the line before',
  hash_mismatch: 'hash is not that of the line',
  unencodable: 'the hash can not be computed: an unpaired surrogate',
  duplicate_key: 'a key stands twice; Python reads the last one, other readers the first',
  lost_precision: 'a number says another value than the one that is read, and hashed',
  other_spelling: 'not the spelling that Python writes',
  torn_line: 'the last line has no line ending',
  line_ending: 'ended otherwise than the first line, or by a bare CR',
  line_too_long: 'too long for a record',
  zoneless_time: 'a time without a zone, so it is no instant',
  bad_time: 'no time of a real instant',
  unusable_field: 'a field that a header can not hold',
}

function messageOf({ code, expected, found }: LegacyFinding): string {
  const details = [...(expected === null ? [] : [`expected ${expected}`]), ...(found === null ? [] : [`found ${found}`])]
  return [MESSAGES[code], ...details].join('; ')
}

function isRefused(code: LegacyFindingCode): boolean {
  return code === 'zoneless_time' || code === 'line_too_long'
}

function named(verdict: PythonVerdict): string {
  return verdict.says === 'ok' ? 'True' : verdict.says === 'false' ? 'False' : verdict.says === 'raises' ? verdict.exception : 'not checked'
}

/** Both passes read alike: what the first one found, the second one records. */
export class LegacyReader {
  readonly #verifier = new PythonLedgerVerifier({ sha256: nodeHashing.sha256, lineBytesMax: LEGACY_LINE_BYTES_MAX })
  readonly #digest = createHash('sha256')
  readonly #source: ImportSource
  readonly #assumeUtc: boolean
  readonly #bytesMax: number
  bytes = 0

  /** `bytesMax`: read no further, as a file that is still written to may have become longer. */
  constructor(source: ImportSource, assumeUtc: boolean, bytesMax = Infinity) {
    this.#source = source
    this.#assumeUtc = assumeUtc
    this.#bytesMax = bytesMax
  }

  /** The lines of each chunk together. */
  async *lines(): AsyncGenerator<(PythonLine & { readonly legacy: LegacyLine })[], void, undefined> {
    for await (const whole of this.#source.read()) {
      const chunk = whole.subarray(0, this.#bytesMax - this.bytes)
      this.bytes += chunk.length
      this.#digest.update(chunk)
      yield this.#read(this.#verifier.push(chunk))
      if (this.bytes === this.#bytesMax) break
    }
    yield this.#read(this.#verifier.end())
  }

  #read(lines: readonly PythonLine[]): (PythonLine & { readonly legacy: LegacyLine })[] {
    return lines.map((line) => ({ ...line, legacy: readLegacyLine(line, this.#assumeUtc) }))
  }

  /** To be asked once, behind the last line. */
  end(): Pick<CortexCheck, 'sha256' | 'bytes' | 'lines' | 'chained' | 'head' | 'verdict' | 'verdict_line'> {
    const { verdict, line, lines, bytes, chained, head } = this.#verifier.report()
    return { sha256: this.#digest.digest('hex'), bytes, lines, chained, head, verdict: named(verdict), verdict_line: line }
  }
}

/**
 * Reads a file of the mission's ledger, plain or with its hash chain, and writes nothing: what `importCortexJsonl`
 * would find. Checked by Python's rules, to the byte.
 */
export async function checkCortexJsonl(source: ImportSource, options: CortexCheckOptions = {}): Promise<CortexCheck> {
  const reader = new LegacyReader(source, options.assumeUtc === true)
  const problems = new ImportProblems(options.problemsMax)
  const findings: { [code: string]: number } = {}
  let refused = 0
  let lines = 0
  let last_time: string | null = null
  let interrupted = false
  for await (const part of reader.lines()) {
    interrupted = options.signal?.aborted === true
    if (interrupted) break
    for (const { number, legacy } of part) {
      for (const finding of legacy.findings) {
        findings[finding.code] = (findings[finding.code] ?? 0) + 1
        if (isRefused(finding.code)) refused++
        problems.add({ code: finding.code, line: number, message: messageOf(finding) })
      }
      // Texts in the ledger's spelling compare as the instants do.
      if (legacy.timestamp !== null && (last_time === null || legacy.timestamp > last_time)) last_time = legacy.timestamp
    }
    lines += part.length
    options.onProgress?.({ phase: 'checking', bytes: reader.bytes, records: lines })
  }
  return { ...reader.end(), findings, refused, problems: problems.kept, problems_total: problems.total, last_time, interrupted }
}
