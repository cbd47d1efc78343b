/**
 * Imports files of agent runs in the message form of OpenAI's chat API: one JSON document or JSONL, gzip too. Each
 * message of the assistant becomes an `AgentCallCompleted`, each result of a tool a `ToolCallCompleted`.
 */
import { pipeline, Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { CanonicalError, canonicalize } from '../../verify/canonical.ts'
import { doubledKey } from '../doubled-key.ts'
import { LedgerError } from '../errors.ts'
import type { Ledger } from '../ledger.ts'
import { LIMITS } from '../limits.ts'
import { BadRun, chatRecords, isMessage, readRun } from './chat-run.ts'
import type { ChatRecord, ChatRun } from './chat-run.ts'
import { ARRAY_END, JsonItems } from './json-items.ts'
import type { JsonItem } from './json-items.ts'
import { fitsHeader, ImportProblems, requireSourceName, shown } from './source.ts'
import type { ImportOptions, ImportReport, ImportSource } from './source.ts'
import { RecordsInFlight } from './window.ts'

export interface ChatImportOptions extends ImportOptions {
  /** The `agent_name` of the calls; `assistant` unless said, as the messages have it. */
  readonly agentName?: string | undefined
}

export interface ChatImportReport extends ImportReport {
  /** Runs of which records were handed to the ledger. */
  readonly runs: number
  readonly calls: number
  readonly tool_results: number
}

/** Bytes of one run. */
const RUN_BYTES_MAX = 64 * 1024 * 1024
/** What an id in `context_refs` takes: each call names all records before it. */
const REFERENCE_BYTES = 40

/** A value of the file that is a run, or what is wrong with it. */
interface FoundRun {
  readonly line: number
  readonly bytes: number
  readonly value: unknown
  readonly fault: { readonly code: string; readonly message: string } | null
}

const FAULTS = {
  torn: 'the file ends within it',
  not_utf8: 'not valid UTF-8',
  too_large: `over ${RUN_BYTES_MAX} bytes`,
} as const

/**
 * Imports a file of runs. Each run is imported whole or listed as a problem, and the others go on. Importing the same
 * file again adds nothing, and a broken-off import is finished by a second one.
 * @throws LedgerError as `record`; `run_id_conflict` where another file was imported under the same source name
 */
export async function importChat(ledger: Ledger, source: ImportSource, options: ChatImportOptions = {}): Promise<ChatImportReport> {
  requireSourceName(source.name)
  const agentName = options.agentName ?? 'assistant'
  if (!fitsHeader(agentName)) throw new TypeError('agentName is a text of 1 to 512 bytes without control characters')
  const importing = new ChatImport(ledger, await RecordsInFlight.begin(ledger), { source: source.name, agentName }, options)
  try {
    await importing.run(source)
  } catch (error) {
    await importing.settle().catch(() => {})
    if (!(error instanceof LedgerError) || error.code !== 'run_id_conflict') throw error
    throw new LedgerError(
      'run_id_conflict',
      `another file, or another agent name, was imported under the source name ${JSON.stringify(source.name)}: give this one a source name of its own (${error.message})`,
      { ...error.details, cause: error },
    )
  }
  return importing.report()
}

class ChatImport {
  readonly #ledger: Ledger
  readonly #window: RecordsInFlight
  readonly #settings: { readonly source: string; readonly agentName: string }
  readonly #options: ChatImportOptions
  readonly #problems: ImportProblems
  #bytes = 0
  #index = 0
  #counts = { runs: 0, skipped: 0, calls: 0, tool_results: 0 }
  #interrupted = false

  constructor(
    ledger: Ledger,
    window: RecordsInFlight,
    settings: { readonly source: string; readonly agentName: string },
    options: ChatImportOptions,
  ) {
    this.#ledger = ledger
    this.#window = window
    this.#settings = settings
    this.#options = options
    this.#problems = new ImportProblems(options.problemsMax)
  }

  async run(source: ImportSource): Promise<void> {
    try {
      for await (const found of runsOf(this.#itemsOf(source))) {
        if (this.#options.signal?.aborted === true) break
        await this.#take(found, this.#index++)
      }
    } catch (error) {
      // Whoever stops the import may close what it reads from as well.
      if (this.#options.signal?.aborted !== true || error instanceof LedgerError) throw error
    }
    this.#interrupted = this.#options.signal?.aborted === true
    await this.#window.settle()
  }

  settle(): Promise<void> {
    return this.#window.settle()
  }

  report(): ChatImportReport {
    const { imported, already } = this.#window
    const { kept, total } = this.#problems
    return { imported, already, ...this.#counts, problems: kept, problems_total: total, interrupted: this.#interrupted }
  }

  /** The file's items; a fault of its compression is one more item, since what came before it is good. */
  async *#itemsOf(source: ImportSource): AsyncGenerator<JsonItem | typeof ARRAY_END, void, undefined> {
    const items = new JsonItems(RUN_BYTES_MAX, /\.(jsonl|ndjson)(\.gz)?$/i.test(source.name))
    try {
      for await (const chunk of unzipped(this.#counted(source.read()))) yield* items.push(chunk)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (typeof code !== 'string' || !code.startsWith('Z_')) throw error
      this.#problems.add({
        code: code === 'Z_BUF_ERROR' ? 'torn' : 'bad_gzip',
        line: null,
        message: `gzip: ${shown((error as Error).message)}`,
      })
    }
    yield* items.end()
  }

  async *#counted(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of chunks) {
      this.#bytes += chunk.length
      yield chunk
      this.#options.onProgress?.({ phase: 'importing', bytes: this.#bytes, records: this.#window.taken })
    }
  }

  async #take(found: FoundRun, index: number): Promise<void> {
    let run: ChatRun
    try {
      if (found.fault !== null) return this.#skip(found.fault.code, found.line, index, found.fault.message)
      run = readRun(found.value)
      refuseUncanonical(run)
    } catch (error) {
      if (error instanceof BadRun) return this.#skip(error.code, found.line, index, error.message)
      if (error instanceof CanonicalError) return this.#skip('invalid_entry', found.line, index, shown(error.message))
      throw error
    }
    this.#counts.runs++
    const bytes = found.bytes / run.messages.length + 1024
    for (const record of chatRecords(run, index, this.#settings)) {
      const references = record.kind === 'call' ? (record.entry.context_refs?.length ?? 0) : 0
      await this.#window.put(
        () => this.#record(record),
        bytes + references * REFERENCE_BYTES,
        (error) => this.#skip(error.code, found.line, index, `message ${record.message}: ${shown(error.message)}`),
      )
    }
  }

  async #record(record: ChatRecord): ReturnType<Ledger['record']> {
    if (record.kind === 'call') {
      const receipt = await this.#ledger.record(record.entry, record.options)
      this.#counts.calls++
      return receipt
    }
    const [receipt] = await this.#ledger.append(record.stream, record.event)
    this.#counts.tool_results++
    return receipt!
  }

  #skip(code: string, line: number, run: number, message: string): void {
    this.#counts.skipped++
    this.#problems.add({ code, line, run, message })
  }
}

/** What no record can hold makes the whole run a problem, before a part of it is written. @throws CanonicalError */
function refuseUncanonical(run: ChatRun): void {
  const depth_max = LIMITS.entry_depth_max - 4
  for (const message of run.messages) canonicalize(message, { depth_max, bytes_max: LIMITS.entry_bytes_max })
  canonicalize(run.about, { depth_max, bytes_max: LIMITS.entry_bytes_max })
}

/** The bytes behind gzip, where the first two say that it is that; else as they come. */
async function* unzipped(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  const iterator = chunks[Symbol.asyncIterator]()
  let start: Uint8Array = new Uint8Array(0)
  let done = false
  while (start.length < 2 && !done) {
    const next = await iterator.next()
    done = next.done === true
    if (!done) start = Buffer.concat([start, next.value as Uint8Array])
  }
  const whole = (async function* (): AsyncGenerator<Uint8Array> {
    yield start
    if (!done) yield* { [Symbol.asyncIterator]: () => iterator }
  })()
  if (start[0] !== 0x1f || start[1] !== 0x8b) {
    yield* whole
    return
  }
  // Whichever of the two ends or fails takes the other with it; the error comes out of the loop that reads.
  yield* pipeline(Readable.from(whole, { objectMode: false }), createGunzip(), () => {}) as AsyncIterable<Uint8Array>
}

function valueOf(item: JsonItem): Pick<FoundRun, 'value' | 'fault'> {
  if (item.text === null) {
    const code = item.fault ?? 'torn'
    return { value: null, fault: { code, message: FAULTS[code] } }
  }
  let value: unknown
  try {
    value = JSON.parse(item.text)
  } catch (error) {
    return { value: null, fault: { code: 'not_json', message: shown((error as Error).message) } }
  }
  const doubled = doubledKey(item.text)
  if (doubled === null) return { value, fault: null }
  return {
    value: null,
    fault: { code: 'duplicate_key', message: `at ${shown(doubled)}: the key is there twice, so it can't be told which value counts` },
  }
}

/** Runs from items: each item is one, unless the array that they are in is itself the messages of one. */
async function* runsOf(items: AsyncIterable<JsonItem | typeof ARRAY_END>): AsyncGenerator<FoundRun, void, undefined> {
  let isFirst = true
  /** The run that the array's items are the messages of. */
  let gathered: { line: number; bytes: number; value: unknown[]; fault: FoundRun['fault'] } | null = null
  for await (const item of items) {
    if (item === ARRAY_END) {
      if (gathered !== null) yield gathered
      gathered = null
      isFirst = true
      continue
    }
    const found = valueOf(item)
    if (item.ofArray && isFirst && isMessage(found.value)) gathered = { line: item.line, bytes: 0, value: [], fault: null }
    isFirst = !item.ofArray
    if (gathered === null) {
      yield { line: item.line, bytes: item.bytes, ...found }
      continue
    }
    gathered.bytes += item.bytes
    gathered.fault ??= found.fault ?? (gathered.bytes > RUN_BYTES_MAX ? { code: 'too_large', message: FAULTS.too_large } : null)
    if (gathered.fault === null) gathered.value.push(found.value)
    else gathered.value = []
  }
  // The file ended before the array did.
  if (gathered !== null) yield { ...gathered, fault: gathered.fault ?? { code: 'torn', message: FAULTS.torn } }
}
