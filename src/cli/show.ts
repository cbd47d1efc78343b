/** `cortex-ledger show`: everything of one record. */
import type { Command } from 'commander'
import { LedgerError } from '../ledger/errors.ts'
import { withheldError } from '../ledger/withheld-entry.ts'
import { addArchiveOption, readingFrom } from './archive-option.ts'
import type { ArchiveOption } from './archive-option.ts'
import { Misuse } from './errors.ts'
import { integerOf } from './filters.ts'
import { addMasterKeyOption, encryptionOf } from './encryption.ts'
import type { MasterKeyOptions } from './encryption.ts'
import { LEDGER_ARGUMENT, locationOf, withLedger } from './location.ts'
import { openedLine, recordInFull } from './records.ts'
import type { Terminal } from './terminal.ts'

interface ShowOptions extends ArchiveOption, MasterKeyOptions {
  readonly seq?: string
  readonly json?: boolean
}

export function addShow(program: Command, terminal: Terminal): void {
  const command = addArchiveOption(program.command('show'), 'also read entries that lie there')
    .summary('show one record in full')
    .description('Shows everything of one record, found by its run_id or its position.')
    .argument('[LEDGER]', LEDGER_ARGUMENT)
    .argument('[RUN_ID]', 'the run_id of the record')
    .option('--seq <n>', 'the position of the record, from 0')
    .option('--json', 'print the record line, byte for byte; with --master-key an encrypted entry as it reads')
  addMasterKeyOption(command, 'the master key that opens an encrypted entry')
    .addHelpText('after', '\nExamples:\n  $ cortex-ledger show ./audit 019ab3c4-…\n  $ cortex-ledger show ./audit --seq 41')
    .action(async (first: string | undefined, second: string | undefined, options: ShowOptions) => {
      const { location, run_id, seq } = whatToShow(first, second, options)
      await withLedger(terminal, location, { readOnly: true, ...encryptionOf(options), ...readingFrom(options) }, async (ledger) => {
        const record = run_id === null ? await ledger.at(seq as number) : await ledger.get(run_id)
        if (record === undefined) {
          const what = run_id === null ? `position ${seq}` : `run_id ${JSON.stringify(run_id)}`
          throw new LedgerError('not_found', `no record has ${what}: look for it with \`cortex-ledger query\``)
        }
        const line = options.masterKey === undefined ? record.line : openedLine(record)
        await terminal.print(options.json === true ? line : recordInFull(record, terminal.colours).join('\n'))
        // Whoever asked for all of it did not get that.
        if (options.json !== true && record.withheld !== null) throw withheldError(record.seq, record.withheld)
      })
    })
}

/** With CORTEX_LEDGER set, one argument is the run_id; with --seq, it is the ledger. @throws Misuse */
function whatToShow(
  first: string | undefined,
  second: string | undefined,
  options: ShowOptions,
): { location: string; run_id: string | null; seq: number | null } {
  if (options.seq !== undefined) {
    if (second !== undefined) throw new Misuse('give a run_id or --seq, not both')
    return { location: locationOf(first), run_id: null, seq: integerOf('--seq', options.seq, 0) }
  }
  if (second !== undefined) return { location: locationOf(first), run_id: second, seq: null }
  if (first === undefined || process.env['CORTEX_LEDGER'] === undefined) {
    throw new Misuse('which record? Give its run_id behind the ledger, or --seq')
  }
  return { location: locationOf(undefined), run_id: first, seq: null }
}
