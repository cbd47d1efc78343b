/** `cortex-ledger export`: the record lines, byte for byte, or a table for other programs. */
import { open, realpath, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import type { AuditLedger } from '../index.ts'
import type { Criteria } from '../ledger/query.ts'
import { CSV_TITLES, csvRow } from './csv.ts'
import { Misuse } from './errors.ts'
import { addFilterOptions, addTextOption, checkWords, criteriaOf, FILTER_HELP } from './filters.ts'
import type { FilterOptions } from './filters.ts'
import { LEDGER_ARGUMENT, locationOf, withLedger } from './location.ts'
import { Progress } from './progress.ts'
import type { Terminal } from './terminal.ts'
import { counted, grouped, printable } from './text.ts'

interface ExportOptions extends FilterOptions {
  readonly format?: string
  readonly output?: string
}

type Format = 'jsonl' | 'csv'

export function addExport(program: Command, terminal: Terminal): void {
  const command = program
    .command('export')
    .summary('write records as JSONL or CSV')
    .description(
      'Writes all records, or those that fit, in the order of the ledger. A whole JSONL export can be verified like the ledger itself.',
    )
    .argument('[LEDGER]', LEDGER_ARGUMENT)
    .option('--format <format>', 'jsonl: the record lines, byte for byte; csv: RFC 4180, without the content (default: jsonl)')
    .option('-o, --output <file>', 'a file, which is replaced when all is written; stdout if absent')
  addTextOption(addFilterOptions(command))
    .addHelpText(
      'after',
      `${FILTER_HELP}

Examples:
  $ cortex-ledger export ./audit --format jsonl -o audit.jsonl && cortex-ledger verify audit.jsonl
  $ cortex-ledger export ./audit --format csv --outcome denied > denied.csv`,
    )
    .action(async (argument: string | undefined, options: ExportOptions) => {
      const location = locationOf(argument)
      const format = options.format ?? 'jsonl'
      if (format !== 'jsonl' && format !== 'csv') throw new Misuse(`--format ${JSON.stringify(format)} is none: it is jsonl or csv`)
      const criteria = criteriaOf(options)
      const file = options.output === undefined || options.output === '-' ? null : options.output
      if (file !== null) await refuseLedgerAsOutput(location, file)
      await withLedger(terminal, location, { readOnly: true }, async (ledger) => {
        await checkWords(ledger, criteria)
        if (file === null) await exportTo(terminal, ledger, criteria, format, (text) => terminal.print(text))
        else await exportToFile(terminal, ledger, criteria, format, file)
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
  try {
    if (format === 'csv') await print(`${CSV_TITLES}\r`)
    for await (const record of ledger.scan(criteria)) {
      await print(format === 'csv' ? `${csvRow(record)}\r` : record.line)
      records++
      progress.update((ms) => `${counted(records, 'record')}, ${grouped(Math.round((records * 1000) / ms))} a second`)
    }
  } finally {
    progress.clear()
  }
  return records
}

/** A path of the file system, or null for what is none. */
async function pathOf(location: string): Promise<string | null> {
  const path = location.startsWith('file:') ? fileURLToPath(location) : location.replace(/^(jsonl|sqlite):(\/\/)?/i, '')
  return realpath(path).catch(() => null)
}

/** Replacing the ledger by its own export would be the end of it. @throws Misuse */
async function refuseLedgerAsOutput(location: string, file: string): Promise<void> {
  const ledger = await pathOf(location)
  const folder = await realpath(dirname(resolve(file))).catch(() => null)
  if (ledger === null || folder === null) return
  const target = await realpath(file).catch(() => join(folder, basename(file)))
  if ([ledger, `${ledger}-wal`, `${ledger}-shm`, `${ledger}-text`].includes(target) || target.startsWith(ledger + sep)) {
    throw new Misuse(`--output ${file} is in the ledger itself: write somewhere else`)
  }
}

/** Characters that are handed over at once. */
const CHUNK = 8 * 1024

/** Written beside, synced, then renamed: the file is the whole export or what it was before. */
async function exportToFile(terminal: Terminal, ledger: AuditLedger, criteria: Criteria, format: Format, file: string): Promise<void> {
  const there = await stat(file).catch(() => null)
  if (there?.isDirectory() === true) throw new Misuse(`--output ${file} is a directory: name a file`)
  // A device or a pipe is written to, not replaced.
  const isPlain = there === null || there.isFile()
  const target = there?.isFile() === true ? await realpath(file) : file
  const path = isPlain ? join(dirname(target), `.${basename(target)}.${process.pid}.tmp`) : target
  const handle = await open(path, isPlain ? 'wx' : 'w')
  let records: number
  try {
    let gathered = ''
    const write = async (): Promise<void> => {
      const text = gathered
      gathered = ''
      // From where the write before ended; unlike `write`, it goes on until all is written.
      await handle.writeFile(text)
    }
    records = await exportTo(terminal, ledger, criteria, format, async (line) => {
      gathered += `${line}\n`
      if (gathered.length >= CHUNK) await write()
    })
    await write()
    if (isPlain) await handle.sync()
    await handle.close()
    if (isPlain) await rename(path, target)
  } catch (error) {
    await handle.close().catch(() => {})
    if (isPlain) await rm(path, { force: true })
    throw error
  }
  terminal.say(`${counted(records, 'record')} written to ${printable(file)}`)
}
