/**
 * Imports the mission's own ledgers: a JSON object a line, plain or with the Python hash chain. First a record that
 * commits to the file as it was found, then each line as it stands.
 */
import { ByteIndex } from '../../verify/byte-index.ts'
import { Memory } from '../../verify/bytes.ts'
import { HEADER_LIMITS } from '../../verify/header.ts'
import type { PythonLine } from '../../verify/python/ledger.ts'
import { byteLength, encodeInto } from '../../verify/text.ts'
import { OWN_ACTOR } from '../draft.ts'
import type { EventInput } from '../draft.ts'
import { LedgerError } from '../errors.ts'
import type { Ledger } from '../ledger.ts'
import { checkCortexJsonl, LegacyReader } from './cortex-check.ts'
import type { CortexCheck, CortexCheckOptions } from './cortex-check.ts'
import { legacyData } from './legacy-line.ts'
import type { LegacyLine } from './legacy-line.ts'
import { fitsHeader, importId, NO_TIME, requireSourceName } from './source.ts'
import type { ImportReport, ImportSource } from './source.ts'
import { RecordsInFlight } from './window.ts'

export interface CortexImportOptions extends CortexCheckOptions {
  /** Record what is wrong with the file beside its lines, instead of refusing it. */
  readonly adoptFindings?: boolean | undefined
  /** What `checkCortexJsonl` said of the same source with the same `assumeUtc`: it is not read a second time for that. */
  readonly check?: CortexCheck | undefined
}

export interface CortexImportReport
  extends ImportReport, Pick<CortexCheck, 'sha256' | 'bytes' | 'lines' | 'chained' | 'verdict' | 'findings'> {}

/** True where the import would refuse the file: a finding that is not to be adopted, or can't be. */
export function refusesCortexJsonl(check: CortexCheck, options: Pick<CortexImportOptions, 'adoptFindings'>): boolean {
  return check.refused > 0 || (check.problems_total > 0 && options.adoptFindings !== true)
}

/**
 * Imports a file of the mission's ledger. It is read twice: checked, then written; where it is refused, nothing is
 * written and `problems` says why. Importing the same file again adds nothing, and a broken-off import is finished by a
 * second one with the same options.
 * @throws LedgerError as `append`; `run_id_conflict` where another file was imported under the same source name, or one
 * of its run_ids is another record's; `io_error` where the file changed meanwhile
 */
export async function importCortexJsonl(
  ledger: Ledger,
  source: ImportSource,
  options: CortexImportOptions = {},
): Promise<CortexImportReport> {
  requireSourceName(source.name)
  const check = options.check ?? (await checkCortexJsonl(source, options))
  const { sha256, bytes, lines, chained, verdict, findings, problems, problems_total } = check
  const told = { sha256, bytes, lines, chained, verdict, findings, problems, problems_total }
  if (check.interrupted || refusesCortexJsonl(check, options)) {
    return { imported: 0, already: 0, skipped: lines, ...told, interrupted: check.interrupted }
  }
  const window = await RecordsInFlight.begin(ledger)
  const importing = new CortexImport(ledger, window, source, check, options)
  let interrupted: boolean
  try {
    interrupted = await importing.run()
    await window.settle()
  } catch (error) {
    await window.settle().catch(() => {})
    throw error
  }
  return { imported: window.imported, already: window.already, skipped: 0, ...told, interrupted }
}

/** The run_ids of a file so far: 1 million take some 40 MB. */
class KnownIds {
  readonly #ids = new ByteIndex(Infinity)
  readonly #memory = new Memory()
  readonly #bytes = new Uint8Array(HEADER_LIMITS.string_bytes_max + 8)

  /** True where the id is new; then it is known from now on. */
  add(id: string): boolean {
    encodeInto(id, this.#bytes)
    this.#memory.view(this.#bytes)
    const { size } = this.#ids
    const number = this.#ids.add(this.#memory, 0, byteLength(id))
    if (number === -1)
      throw new LedgerError('too_large', 'the file has more run_ids than can be told apart: split it, and import each part')
    return number === size
  }
}

class CortexImport {
  readonly #ledger: Ledger
  readonly #window: RecordsInFlight
  readonly #source: ImportSource
  readonly #check: CortexCheck
  readonly #options: CortexImportOptions
  readonly #ids = new KnownIds()
  /** run_id of the record that commits to the file, and the stream of its lines. */
  readonly #adoption: string

  constructor(ledger: Ledger, window: RecordsInFlight, source: ImportSource, check: CortexCheck, options: CortexImportOptions) {
    this.#ledger = ledger
    this.#window = window
    this.#source = source
    this.#check = check
    this.#options = options
    this.#adoption = importId('cortex-jsonl', source.name)
  }

  /** Returns whether it was interrupted. */
  async run(): Promise<boolean> {
    // Durable before any line is handed over: no line without what commits to its file.
    await this.#adopt()
    const reader = new LegacyReader(this.#source, this.#options.assumeUtc === true, this.#check.bytes)
    for await (const lines of reader.lines()) {
      for (const line of lines) {
        if (this.#options.signal?.aborted === true) return true
        await this.#window.put(() => this.#take(line), line.length + 1024)
      }
      this.#options.onProgress?.({ phase: 'importing', bytes: reader.bytes, records: this.#window.taken })
    }
    if (reader.end().sha256 !== this.#check.sha256) {
      throw new LedgerError(
        'io_error',
        `${this.#source.name} changed while it was imported: the lines in the ledger are not those that the LegacyLedgerAdopted record ${this.#adoption} commits to. Import a copy that nobody writes to, under another source name`,
      )
    }
    return false
  }

  async #adopt(): Promise<void> {
    const { sha256, bytes, lines, chained, head, verdict, verdict_line, findings, last_time } = this.#check
    const event: EventInput = {
      type: 'LegacyLedgerAdopted',
      run_id: this.#adoption,
      actor: OWN_ACTOR,
      action: 'adopt_ledger',
      // What it is about is the file's own time; when it was adopted, recorded_at says.
      timestamp: last_time ?? NO_TIME,
      data: { file: this.#source.name, sha256, bytes, lines, chained, head, verdict, verdict_line, findings },
    }
    await this.#window.put(async () => (await this.#ledger.append(this.#adoption, event))[0]!, 1024)
    await this.#window.settle().catch((error: unknown) => {
      if (!(error instanceof LedgerError) || error.code !== 'run_id_conflict') throw error
      throw new LedgerError(
        'run_id_conflict',
        `another file was imported under the source name ${JSON.stringify(this.#source.name)}: give this one a source name of its own (${error.message})`,
        { ...error.details, cause: error },
      )
    })
  }

  async #take(line: PythonLine & { readonly legacy: LegacyLine }): ReturnType<Ledger['record']> {
    const { actor, action, outcome, timestamp, correlation_id, causation_id, findings } = line.legacy
    const event: EventInput = {
      type: 'LegacyEntryImported',
      actor: actor ?? 'unknown',
      action: action ?? 'unknown',
      outcome,
      timestamp: timestamp ?? NO_TIME,
      ...(correlation_id === null ? {} : { correlation_id }),
      ...(causation_id === null ? {} : { causation_id }),
      data: legacyData(line, this.#source.name, findings),
    }
    const ids = this.#idsOf(line.legacy.run_id, line.number)
    for (const [i, run_id] of ids.entries()) {
      try {
        const [receipt] = await this.#ledger.append(this.#adoption, { ...event, run_id })
        return receipt!
      } catch (error) {
        // Another record has the id, of another file or of none: then it is repeated in the ledger.
        const isTaken = error instanceof LedgerError && error.code === 'run_id_conflict'
        if (!isTaken || i === ids.length - 1) throw error
      }
    }
    throw new Error('no id was tried')
  }

  /**
   * What the record may be called, to be tried in this order: the line's own run_id; with its number, where an earlier
   * line or record has it, as the mission never asked for unique ones; and an id of this import alone.
   */
  #idsOf(run_id: string | null, number: number): string[] {
    const own = importId('cortex-jsonl', this.#source.name, number)
    const ids: string[] = []
    if (run_id !== null) {
      for (let id = run_id; fitsHeader(id) && ids.length < 2; id = `${id}#${number}`) if (this.#ids.add(id) || ids.length > 0) ids.push(id)
    }
    return [...ids, own]
  }
}
