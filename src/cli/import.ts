/** `cortex-ledger import`: runs of agents from chat files, and the ledgers that people have from the mission's Python. */
import { stat } from 'node:fs/promises'
import type { Command } from 'commander'
import { importChat } from '../ledger/import/chat.ts'
import { checkCortexJsonl } from '../ledger/import/cortex-check.ts'
import { importCortexJsonl, refusesCortexJsonl } from '../ledger/import/cortex-jsonl.ts'
import { fileSource } from '../ledger/import/source.ts'
import type { AuditLedger, ChatImportReport, CortexImportReport, ImportOptions, ImportProblem, ImportSource } from '../index.ts'
import { fitsHeader } from '../ledger/import/source.ts'
import { EXIT, Misuse } from './errors.ts'
import { LEDGER_ARGUMENT, locationOf, withLedger } from './location.ts'
import { addMaskOption, maskOf } from './masking.ts'
import type { MaskingOptions } from './masking.ts'
import { Progress } from './progress.ts'
import { addMasterKeyOption, encryptionOf } from './encryption.ts'
import type { MasterKeyOptions } from './encryption.ts'
import { addSigningOptions, signingOf } from './signing.ts'
import type { SigningOptions } from './signing.ts'
import type { Terminal } from './terminal.ts'
import { counted, grouped, printable } from './text.ts'

interface ImportCommandOptions extends SigningOptions, MaskingOptions, MasterKeyOptions {
  readonly format?: string
  readonly source?: string
  readonly agent?: string
  readonly adoptFindings?: boolean
  readonly assumeUtc?: boolean
  readonly json?: boolean
}

/** Problems that people are shown; --json has up to a thousand. */
const PROBLEMS_SHOWN = 20

export function addImport(program: Command, terminal: Terminal): void {
  addMaskOption(addMasterKeyOption(addSigningOptions(program.command('import')), 'the master key: entries are encrypted; none: in clear'))
    .summary('import runs of agents, or a ledger of the mission’s Python')
    .description(
      'Imports a file, as a stream. chat: runs in the message form of OpenAI’s chat API, JSON or JSONL, gzip too. cortex-jsonl: a JSON object a line, plain or with the Python hash chain, which is checked first. Makes the ledger where nothing is.',
    )
    .argument('[LEDGER]', LEDGER_ARGUMENT)
    .argument('[FILE]', 'the file; - is stdin, for chat')
    .option('--format <format>', 'chat or cortex-jsonl')
    .option('--source <name>', 'what the file is called in the ledger, and in the ids of its records (default: its file name)')
    .option('--agent <name>', 'chat: agent_name of the calls (default: assistant)')
    .option('--adopt-findings', 'cortex-jsonl: record what is wrong with the file, instead of refusing it')
    .option('--assume-utc', 'cortex-jsonl: a time without a zone is UTC')
    .option('--json', 'print what came of it as one JSON object')
    .addHelpText(
      'after',
      `
Importing the same file under the same source name again adds nothing, and finishes what was broken off. Ends with 1
where there are problems: a bad run is left out and the others go on; of a cortex-jsonl file with a finding nothing is
written, unless --adopt-findings says so.

Examples:
  $ cortex-ledger import ./audit runs.json.gz --format chat
  $ cortex-ledger import ./audit audit.jsonl --format cortex-jsonl --assume-utc`,
    )
    .action(async (first: string | undefined, second: string | undefined, options: ImportCommandOptions) => {
      // One argument is the file: there is always one, and CORTEX_LEDGER may say which ledger.
      const [ledger, file] = second === undefined ? [process.env['CORTEX_LEDGER'], first] : [first, second]
      if (file === undefined || ledger === undefined) {
        throw new Misuse('which file? `cortex-ledger import LEDGER FILE --format chat`, or without LEDGER where CORTEX_LEDGER is set')
      }
      const location = locationOf(ledger)
      refuseOptions(options)
      await maskOf(options)
      const { source, bytes } = await sourceOf(file, options, terminal)
      await new Import(terminal, location, source, bytes, options).run()
    })
}

/** @throws Misuse */
function refuseOptions({ format, source, agent, adoptFindings, assumeUtc }: ImportCommandOptions): void {
  if (format !== 'chat' && format !== 'cortex-jsonl') {
    throw new Misuse(`${format === undefined ? 'which format?' : `--format ${JSON.stringify(format)} is none:`} it is chat or cortex-jsonl`)
  }
  if (format === 'chat' && (adoptFindings === true || assumeUtc === true)) {
    throw new Misuse('--adopt-findings and --assume-utc are for --format cortex-jsonl')
  }
  if (format === 'cortex-jsonl' && agent !== undefined) throw new Misuse('--agent is for --format chat')
  for (const [option, name] of Object.entries({ source, agent })) {
    if (name !== undefined && !fitsHeader(name)) throw new Misuse(`--${option} is a text of 1 to 512 bytes without control characters`)
  }
}

/** Looks before a ledger is made. @throws Misuse, or the system's error */
async function sourceOf(
  file: string,
  options: ImportCommandOptions,
  terminal: Terminal,
): Promise<{ source: ImportSource; bytes: number | null }> {
  if (file === '-') {
    if (options.format !== 'chat') throw new Misuse('a cortex-jsonl file is read twice, first checked and then written: save it to a file')
    if (options.source === undefined) throw new Misuse('what is it called? stdin has no name: give --source NAME')
    return { source: { name: options.source, read: () => terminal.stdin }, bytes: null }
  }
  const found = await stat(file)
  if (found.isDirectory()) throw new Misuse(`${file} is a directory: name a file`)
  if (!found.isFile() && options.format !== 'chat') {
    throw new Misuse(`${file} is no regular file, and a cortex-jsonl file is read twice: save it to a file`)
  }
  const source = fileSource(file, options.source)
  if (!fitsHeader(source.name)) throw new Misuse('the name of the file can not be that of a source: give --source NAME')
  return { source, bytes: found.isFile() ? found.size : null }
}

class Import {
  readonly #terminal: Terminal
  readonly #location: string
  readonly #source: ImportSource
  /** Size of the file, where that is known. */
  readonly #bytes: number | null
  readonly #options: ImportCommandOptions
  readonly #progress: Progress
  readonly #abort = new AbortController()
  readonly #importing: ImportOptions

  constructor(terminal: Terminal, location: string, source: ImportSource, bytes: number | null, options: ImportCommandOptions) {
    this.#terminal = terminal
    this.#location = location
    this.#source = source
    this.#bytes = bytes
    this.#options = options
    this.#progress = new Progress(terminal)
    this.#importing = {
      signal: this.#abort.signal,
      onProgress: ({ phase, bytes: read, records }) =>
        this.#progress.update(() => `${this.#bar(read)}${phase} ${counted(records, phase === 'checking' ? 'line' : 'record')}`),
    }
  }

  async run(): Promise<void> {
    const interrupt = (): void => {
      this.#abort.abort()
      // It may wait for bytes that never come.
      if (this.#bytes === null) this.#terminal.stdin.destroy()
    }
    process.once('SIGINT', interrupt)
    process.once('SIGTERM', interrupt)
    try {
      await this.#tell(this.#options.format === 'chat' ? await this.#chat() : await this.#cortex())
    } finally {
      this.#progress.clear()
      process.removeListener('SIGINT', interrupt)
      process.removeListener('SIGTERM', interrupt)
      if (this.#bytes === null) this.#terminal.stdin.destroy()
    }
  }

  #bar(read: number): string {
    if (this.#bytes === null || this.#bytes === 0) return ''
    const part = Math.min(1, read / this.#bytes)
    const done = Math.floor(part * 20)
    return `[${'#'.repeat(done)}${'-'.repeat(20 - done)}] ${Math.floor(part * 100)} % `
  }

  async #chat(): Promise<ChatImportReport> {
    return this.#open((ledger) =>
      importChat(ledger, this.#source, {
        ...this.#importing,
        ...(this.#options.agent !== undefined && { agentName: this.#options.agent }),
      }),
    )
  }

  /** The file is checked before the ledger is opened: where it is refused, not even an empty ledger is made. */
  async #cortex(): Promise<CortexImportReport> {
    const { adoptFindings, assumeUtc } = this.#options
    const check = await checkCortexJsonl(this.#source, { ...this.#importing, assumeUtc })
    if (check.interrupted || refusesCortexJsonl(check, { adoptFindings })) {
      return { imported: 0, already: 0, skipped: check.lines, ...check }
    }
    return this.#open((ledger) => importCortexJsonl(ledger, this.#source, { ...this.#importing, adoptFindings, assumeUtc, check }))
  }

  async #open<T>(work: (ledger: AuditLedger) => Promise<T>): Promise<T> {
    const opening = { ...signingOf(this.#options), ...encryptionOf(this.#options), mask: await maskOf(this.#options) }
    return withLedger(this.#terminal, this.#location, opening, async (ledger) => {
      if (ledger.keyFile !== null) {
        this.#terminal.say(
          `created ${printable(ledger.location)} (origin ${printable(ledger.origin ?? '')}); its key is in ${printable(ledger.keyFile)}`,
        )
      }
      return work(ledger)
    })
  }

  async #tell(report: ChatImportReport | CortexImportReport): Promise<void> {
    this.#progress.clear()
    const adopted = this.#options.adoptFindings === true && report.skipped === 0
    this.#terminal.exitCode = report.interrupted ? 130 : report.problems_total > 0 && !adopted ? EXIT.problems : EXIT.ok
    if (this.#options.json === true) {
      const { imported, already, skipped, problems, ...more } = report
      await this.#terminal.print(JSON.stringify({ imported, already, skipped, problems, ...more }))
      return
    }
    for (const problem of report.problems.slice(0, PROBLEMS_SHOWN)) this.#terminal.say(this.#problemText(problem))
    const more = report.problems_total - Math.min(report.problems.length, PROBLEMS_SHOWN)
    if (more > 0) this.#terminal.say(`and ${counted(more, 'problem')} more; --json lists up to a thousand`)
    await this.#terminal.print(summary(report, adopted))
    if ('sha256' in report && report.skipped > 0 && !report.interrupted) {
      this.#terminal.say(`nothing was written${hint(report)}`)
    }
  }

  #problemText({ line, run, code, message }: ImportProblem): string {
    const where = line === null ? 'the file' : `line ${grouped(line)}${run === undefined ? '' : ` (run ${run})`}`
    return `${this.#terminal.stderrColours.red(`${where}:`)} ${code}: ${printable(message)}`
  }
}

/** What to type instead, where something helps. */
function hint({ findings }: CortexImportReport): string {
  if ((findings['line_too_long'] ?? 0) > 0) return '; a line is too long for a record'
  return (findings['zoneless_time'] ?? 0) > 0
    ? '; --assume-utc takes its times without a zone as UTC'
    : '; --adopt-findings imports it and records what was found'
}

function summary(report: ChatImportReport | CortexImportReport, adopted: boolean): string {
  const noun = 'runs' in report ? 'run' : 'line'
  return [
    `imported ${counted(report.imported, 'record')}`,
    ...('calls' in report
      ? [`of the file's records, ${grouped(report.calls)} are calls and ${grouped(report.tool_results)} tool results`]
      : []),
    ...(report.already > 0 ? [`${grouped(report.already)} were there already`] : []),
    ...(report.skipped > 0 ? [`${counted(report.skipped, noun)} left out`] : []),
    ...(adopted && report.problems_total > 0 ? [`${counted(report.problems_total, 'finding')} recorded`] : []),
    ...(report.interrupted ? ['interrupted'] : []),
  ].join('; ')
}
