/** `cortex-ledger export`: the record lines, byte for byte, or a table for other programs. */
import type { Command } from 'commander'
import type { AuditLedger } from '../index.ts'
import type { Criteria } from '../ledger/query.ts'
import { addArchiveOption, readingFrom } from './archive-option.ts'
import type { ArchiveOption } from './archive-option.ts'
import { CSV_TITLES, csvRow } from './csv.ts'
import { addMasterKeyOption, encryptionOf } from './encryption.ts'
import type { MasterKeyOptions } from './encryption.ts'
import { Misuse } from './errors.ts'
import { checkTrainingOutput, exportTraining } from './export-training.ts'
import { addFilterOptions, addTextOption, checkWords, criteriaOf, FILTER_HELP, openingFor } from './filters.ts'
import type { FilterOptions } from './filters.ts'
import { LEDGER_ARGUMENT, locationOf, withLedger } from './location.ts'
import { refuseLedgerAsOutput, replaceFile } from './output-file.ts'
import { Progress } from './progress.ts'
import { openedLine } from './records.ts'
import type { Terminal } from './terminal.ts'
import { counted, grouped, printable } from './text.ts'

interface ExportOptions extends FilterOptions, ArchiveOption, MasterKeyOptions {
  readonly format?: string
  readonly output?: string
  readonly corrected?: boolean
}

/** `opened`: JSONL in which encrypted entries stand as they read. */
type Format = 'jsonl' | 'csv' | 'opened'

export function addExport(program: Command, terminal: Terminal): void {
  const command = program
    .command('export')
    .summary('write records as JSONL or CSV, or examples for training')
    .description(
      'Writes all records, or those that fit, in the order of the ledger. A whole JSONL export can be verified like the ledger itself. training-chat writes examples for fine-tuning, and a manifest beside them that names the records they were made of.',
    )
    .argument('[LEDGER]', LEDGER_ARGUMENT)
    .option(
      '--format <format>',
      'jsonl: the record lines, byte for byte; csv: RFC 4180, without the content; training-chat: chat examples (default: jsonl)',
    )
    .option('-o, --output <file>', 'a file, which is replaced when all is written; stdout if absent')
    .option('--corrected', 'with training-chat: entries as later corrections have them')
  addMasterKeyOption(command, 'the master key: encrypted entries as they read; such a JSONL can not be verified')
  addArchiveOption(addTextOption(addFilterOptions(command)), 'also read entries that lie there')
    .addHelpText(
      'after',
      `${FILTER_HELP}

Examples:
  $ cortex-ledger export ./audit --format jsonl -o audit.jsonl && cortex-ledger verify audit.jsonl
  $ cortex-ledger export ./audit --format csv --outcome denied > denied.csv
  $ cortex-ledger export ./audit --format training-chat --outcome success -o examples.jsonl`,
    )
    .action(async (argument: string | undefined, options: ExportOptions) => {
      const location = locationOf(argument)
      const format = options.format ?? 'jsonl'
      if (format !== 'jsonl' && format !== 'csv' && format !== 'training-chat')
        throw new Misuse(`--format ${JSON.stringify(format)} is none: it is jsonl, csv or training-chat`)
      const criteria = criteriaOf(options)
      const file = options.output === undefined || options.output === '-' ? null : options.output
      if (file !== null) await refuseLedgerAsOutput(location, file)
      if (options.corrected === true && format !== 'training-chat') throw new Misuse('--corrected goes with --format training-chat only')
      const trainingTo = format === 'training-chat' ? await checkTrainingOutput(location, file, criteria) : null
      const opening = { ...openingFor(criteria), ...encryptionOf(options), ...readingFrom(options) }
      await withLedger(terminal, location, opening, async (ledger) => {
        await checkWords(ledger, criteria)
        if (format === 'training-chat') await exportTraining(terminal, ledger, criteria, trainingTo as string, options.corrected === true)
        else {
          const written: Format = format === 'jsonl' && options.masterKey !== undefined ? 'opened' : format
          if (file === null) await exportTo(terminal, ledger, criteria, written, (text) => terminal.print(text))
          else await exportToFile(terminal, ledger, criteria, written, file)
        }
      })
    })
}

/** The line's end is what `print` adds: LF. RFC 4180 wants CRLF, so a row of CSV brings its CR. */
async function exportTo(
  terminal: Terminal,
  ledger: AuditLedger,
  criteria: Criteria,
  format: Format,
  print: (line: string) => Promise<void>,
): Promise<number> {
  const progress = new Progress(terminal)
  let records = 0
  let locked = 0
  try {
    if (format === 'csv') await print(`${CSV_TITLES}\r`)
    for await (const record of ledger.scan(criteria)) {
      await print(format === 'csv' ? `${csvRow(record)}\r` : format === 'opened' ? openedLine(record) : record.line)
      if (format === 'opened' && record.locked !== null) locked++
      records++
      progress.update((ms) => `${counted(records, 'record')}, ${grouped(Math.round((records * 1000) / ms))} a second`)
    }
  } finally {
    progress.clear()
  }
  if (locked > 0)
    terminal.say(`${grouped(locked)} of the encrypted entries did not open, and stand there encrypted: \`show\` tells of each why`)
  return records
}

/** Characters that are handed over at once. */
const CHUNK = 8 * 1024

/** The file is the whole export or what it was before. */
async function exportToFile(terminal: Terminal, ledger: AuditLedger, criteria: Criteria, format: Format, file: string): Promise<void> {
  const records = await replaceFile(file, async (handle) => {
    let gathered = ''
    const write = async (): Promise<void> => {
      const text = gathered
      gathered = ''
      // From where the write before ended; unlike `write`, it goes on until all is written.
      await handle.writeFile(text)
    }
    const count = await exportTo(terminal, ledger, criteria, format, async (line) => {
      gathered += `${line}\n`
      if (gathered.length >= CHUNK) await write()
    })
    await write()
    return count
  })
  terminal.say(`${counted(records, 'record')} written to ${printable(file)}`)
}
