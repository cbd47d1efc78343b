/** `cortex-ledger record`: entries from lines of JSON, many in flight, answered in the order of the lines. */
import { stat } from 'node:fs/promises'
import type { Command } from 'commander'
import type { AuditLedger, LedgerEntryInput, Receipt, RecordOptions } from '../index.ts'
import { doubledKey } from '../ledger/doubled-key.ts'
import { LedgerError } from '../ledger/errors.ts'
import { addMasterKeyOption, encryptionOf } from './encryption.ts'
import type { MasterKeyOptions } from './encryption.ts'
import { endingOf, EXIT, Misuse } from './errors.ts'
import { BadLine, openInput, readLines } from './lines.ts'
import type { InputLine } from './lines.ts'
import { LEDGER_ARGUMENT, locationOf, withLedger } from './location.ts'
import { addMaskOption, maskOf } from './masking.ts'
import type { MaskingOptions } from './masking.ts'
import { Progress } from './progress.ts'
import { OutputClosed } from './terminal.ts'
import { addSigningOptions, signingOf } from './signing.ts'
import type { SigningOptions } from './signing.ts'
import type { Terminal } from './terminal.ts'
import { counted, grouped, printable } from './text.ts'

interface RecordCommandOptions extends SigningOptions, MaskingOptions, MasterKeyOptions {
  readonly json?: boolean
  readonly keepGoing?: boolean
}

/** What may be under way: enough for the batches to be large, and a small part of the ledger's own queue. */
const IN_FLIGHT_RECORDS = 4096
const IN_FLIGHT_BYTES = 64 * 1024 * 1024

export function addRecord(program: Command, terminal: Terminal): void {
  addMaskOption(addMasterKeyOption(addSigningOptions(program.command('record')), 'the master key: entries are encrypted; none: in clear'))
    .summary('record agent calls, one JSON object a line')
    .description(
      'Records agent calls: one LedgerEntry a line, as a JSON object with at least agent_name and method_name. outcome, causation_id, tags, stream and subject may stand beside its keys. Makes the ledger where nothing is.',
    )
    .argument('[LEDGER]', LEDGER_ARGUMENT)
    .argument('[FILE]', 'a file of lines; stdin if absent or -')
    .option('--keep-going', 'go on behind a bad line (it still ends with 2); by default nothing behind it is recorded')
    .option('--json', 'print a receipt for each record, as a line of JSON, when it is durable')
    .addHelpText(
      'after',
      `
Everything before a bad line is durable, and the bad line is told by its number. With run_ids of your own the same
file can be given again: what is there already is not recorded twice.

Examples:
  $ echo '{"agent_name":"analyst","method_name":"summarise","outcome":"success"}' | cortex-ledger record ./audit
  $ cortex-ledger record ./audit calls.jsonl --json > receipts.jsonl
  $ cortex-ledger record ./audit calls.jsonl --mask email,card,token`,
    )
    .action(async (argument: string | undefined, file: string | undefined, options: RecordCommandOptions) => {
      const location = locationOf(argument)
      const mask = await maskOf(options)
      if (file === undefined) await refuseFileAsLedger(location)
      const input = await openInput(file, terminal)
      try {
        await withLedger(terminal, location, { ...signingOf(options), ...encryptionOf(options), mask }, async (ledger) => {
          if (ledger.keyFile !== null)
            terminal.say(
              `created ${printable(ledger.location)} (origin ${printable(ledger.origin ?? '')}); its key is in ${printable(ledger.keyFile)}`,
            )
          const recording = new Recording(terminal, ledger, options)
          await recording.run(readLines(input), () => input.destroy())
          await recording.conclude()
        })
      } finally {
        // A pipe that is still open would keep the process alive.
        input.destroy()
      }
    })
}

/** `record calls.jsonl` looks like the file of lines was meant; opening it as a ledger would only say that it is none. */
async function refuseFileAsLedger(location: string): Promise<void> {
  if (!/\.(jsonl|ndjson|json)$/i.test(location)) return
  const there = await stat(location).catch(() => null)
  if (there?.isFile() === true) {
    throw new Misuse(
      `${location} is a file, not a ledger: write \`cortex-ledger record LEDGER ${location}\`, or feed it by \`< ${location}\``,
    )
  }
}

const OPTION_KEYS = ['outcome', 'causation_id', 'tags', 'stream', 'subject'] as const

/** @throws BadLine */
function parseEntry(text: string): { entry: LedgerEntryInput; options: RecordOptions } {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new BadLine(`not JSON: ${(error as Error).message}`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new BadLine('a line is one JSON object')
  const doubled = doubledKey(text)
  if (doubled !== null) throw new BadLine(`at ${doubled}: the key is there twice, so it can't be told which value counts`)
  const { ...entry } = value as { [key: string]: unknown }
  const options: { [key: string]: unknown } = {}
  for (const key of OPTION_KEYS) {
    // null says "none" here, as it does for correlation_id.
    if (entry[key] !== undefined && entry[key] !== null) options[key] = entry[key]
    delete entry[key]
  }
  return { entry: entry as unknown as LedgerEntryInput, options: options as RecordOptions }
}

/** What is the line's own fault; anything else stops the work, `--keep-going` or not. */
function isOfTheLine(error: unknown): boolean {
  if (error instanceof LedgerError) {
    const { exitCode } = endingOf(error)
    return exitCode === EXIT.misuse || error.code === 'run_id_conflict' || error.code === 'reserved'
  }
  return error instanceof BadLine || error instanceof TypeError || error instanceof RangeError
}

class Recording {
  readonly #terminal: Terminal
  readonly #ledger: AuditLedger
  readonly #options: RecordCommandOptions
  readonly #progress: Progress
  readonly #began = performance.now()
  #sizeBefore = 0
  #inFlight = { records: 0, bytes: 0 }
  #roomWanted: (() => void) | null = null
  /** Answers are given one after another, in the order of the lines. */
  #answered: Promise<void> = Promise.resolve()
  #stopped = false
  #stopInput: () => void = () => {}
  /** The first error that is no line's fault. */
  #failure: { readonly line: number; readonly error: unknown } | null = null
  #recorded = 0
  #known = 0
  #seqs: { first: number; last: number } | null = null
  #badLines = 0
  #interrupted = false

  constructor(terminal: Terminal, ledger: AuditLedger, options: RecordCommandOptions) {
    this.#terminal = terminal
    this.#ledger = ledger
    this.#options = options
    this.#progress = new Progress(terminal)
  }

  async run(lines: AsyncIterable<InputLine>, stopInput: () => void): Promise<void> {
    this.#stopInput = stopInput
    this.#sizeBefore = (await this.#ledger.head()).size
    const interrupt = (): void => {
      this.#interrupted = true
      this.#stop()
    }
    process.once('SIGINT', interrupt)
    process.once('SIGTERM', interrupt)
    try {
      for await (const line of lines) {
        if (this.#stopped) break
        await this.#take(line)
        if (this.#stopped) break
      }
    } catch (error) {
      // The input that we destroyed ourselves says so; any other failure of it is one.
      if (!this.#stopped) throw error
    } finally {
      await this.#answered
      this.#progress.clear()
      process.removeListener('SIGINT', interrupt)
      process.removeListener('SIGTERM', interrupt)
    }
  }

  #stop(): void {
    this.#stopped = true
    this.#stopInput()
    this.#roomWanted?.()
  }

  async #take(line: InputLine): Promise<void> {
    if (typeof line.text === 'string' && line.text.trim() === '') return
    let receipt: Promise<Receipt>
    try {
      if (line.text instanceof BadLine) throw line.text
      const { entry, options } = parseEntry(line.text)
      receipt = this.#ledger.record(entry, options)
    } catch (error) {
      receipt = Promise.reject(error as Error)
    }
    this.#inFlight.records++
    this.#inFlight.bytes += line.bytes
    // Noticed at once, not in its turn: nothing behind a bad line may go on its way.
    receipt.catch((error: unknown) => {
      if (this.#options.keepGoing !== true || !isOfTheLine(error)) this.#stop()
    })
    this.#answered = this.#answerInTurn(receipt, line, this.#answered)
    // A refused entry rejects in this very turn; let the handler above hear of it before the next line is taken.
    await Promise.resolve()
    if (this.#inFlight.records >= IN_FLIGHT_RECORDS || this.#inFlight.bytes >= IN_FLIGHT_BYTES) {
      if (!this.#stopped) await new Promise<void>((resolve) => (this.#roomWanted = resolve))
      this.#roomWanted = null
    }
  }

  async #answerInTurn(receipt: Promise<Receipt>, line: InputLine, before: Promise<void>): Promise<void> {
    try {
      const done = await receipt
      await before
      await this.#answer(done)
    } catch (error) {
      await before
      this.#refuse(line.number, error)
    }
    this.#letGo(line.bytes)
  }

  #letGo(bytes: number): void {
    this.#inFlight.records--
    this.#inFlight.bytes -= bytes
    if (this.#inFlight.records <= IN_FLIGHT_RECORDS / 2 && this.#inFlight.bytes <= IN_FLIGHT_BYTES / 2) this.#roomWanted?.()
    // What has been answered is to be seen when nothing else is on its way: whoever feeds a pipe may wait for it.
    if (this.#inFlight.records === 0) void this.#flush()
  }

  async #answer(receipt: Receipt): Promise<void> {
    const isNew = receipt.seq >= this.#sizeBefore && receipt.seq > (this.#seqs?.last ?? -1)
    if (isNew) {
      this.#recorded++
      this.#seqs = { first: this.#seqs?.first ?? receipt.seq, last: receipt.seq }
    } else {
      this.#known++
    }
    this.#progress.update((ms) => `${counted(this.#recorded, 'record')}, ${grouped(Math.round((this.#recorded * 1000) / ms))} a second`)
    if (this.#options.json !== true) return
    await this.#quietly(this.#terminal.print(JSON.stringify(receipt)))
  }

  #flush(): Promise<void> {
    return this.#quietly(this.#terminal.flush())
  }

  /** A reader of receipts that goes away stops no recording: that is what the command is for. */
  async #quietly(output: Promise<void>): Promise<void> {
    try {
      await output
    } catch (error) {
      if (error instanceof OutputClosed) return
      this.#failure ??= { line: 0, error }
      this.#stop()
    }
  }

  #refuse(line: number, error: unknown): void {
    if (!isOfTheLine(error)) {
      this.#failure ??= { line, error }
      return
    }
    this.#badLines++
    const { exitCode, message } =
      error instanceof LedgerError ? endingOf(error) : { exitCode: EXIT.misuse, message: (error as Error).message }
    if (this.#terminal.exitCode === EXIT.ok) this.#terminal.exitCode = exitCode
    this.#progress.clear()
    this.#terminal.say(`${this.#terminal.stderrColours.red(`line ${line}:`)} ${printable(message)}`)
  }

  /** Tells what came of it. @throws what stopped the work, where that was no line's fault */
  async conclude(): Promise<void> {
    const told =
      this.#recorded === 0
        ? 'nothing recorded'
        : `recorded ${counted(this.#recorded, 'record')} (seq ${this.#seqs?.first} to ${this.#seqs?.last})`
    const elapsed_ms = Math.max(1, Math.round(performance.now() - this.#began))
    const summary = [
      `${told} in ${grouped(elapsed_ms)} ms`,
      ...(this.#known > 0 ? [`${grouped(this.#known)} were there already`] : []),
      ...(this.#badLines > 0
        ? [`${counted(this.#badLines, 'bad line')}${this.#options.keepGoing === true ? ' left out' : ': nothing behind it was taken'}`]
        : []),
      ...(this.#interrupted ? ['interrupted'] : []),
    ].join('; ')
    if (this.#options.json !== true) await this.#terminal.print(summary)
    else if (this.#badLines > 0 || this.#interrupted || this.#failure !== null) this.#terminal.say(summary)
    if (this.#interrupted && this.#terminal.exitCode === EXIT.ok) this.#terminal.exitCode = 130
    if (this.#failure !== null) {
      if (this.#failure.line > 0)
        this.#terminal.say(`${this.#terminal.stderrColours.red(`line ${this.#failure.line}`)} and what is behind it was not recorded:`)
      throw this.#failure.error
    }
  }
}
