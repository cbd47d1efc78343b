/** `cortex-ledger promote`: a replica becomes the ledger. */
import type { Command } from 'commander'
import { promoteLedger } from '../open-copy.ts'
import { shownLocation } from '../open-store.ts'
import { LEDGER_ARGUMENT, locationOf } from './location.ts'
import type { Terminal } from './terminal.ts'
import { counted, printable } from './text.ts'

interface PromoteCommandOptions {
  readonly unverified?: boolean
  readonly json?: boolean
}

export function addPromote(program: Command, terminal: Terminal): void {
  program
    .command('promote')
    .summary('make a replica the ledger that is recorded in')
    .description(
      'Lets a replica that copy made be recorded in. From then on nobody may write to its source: two that go on from the same records are two ledgers of one name, and neither can be believed.',
    )
    .argument('[LEDGER]', `the replica: ${LEDGER_ARGUMENT}`)
    .option('--unverified', 'also where the last copy did not come to its end: the source is lost, and what is here is kept')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
Example:
  $ cortex-ledger copy ./audit audit.db && cortex-ledger promote audit.db && mv ./audit ./audit-retired`,
    )
    .action(async (argument: string | undefined, options: PromoteCommandOptions) => {
      const location = locationOf(argument)
      const report = await promoteLedger(location, { unverified: options.unverified })
      if (options.json === true) return terminal.print(JSON.stringify(report))
      const { size, origin, source, verified } = report
      if (!verified)
        terminal.say(
          terminal.stderrColours.yellow(`what is here was not verified against ${printable(source)}: records at the end may be missing`),
        )
      return terminal.print(
        `${printable(shownLocation(location))} is the ledger ${printable(origin)} now, with ${counted(size, 'record')}. Nobody may write to ${printable(source)} any more: two writers of one ledger part it for good`,
      )
    })
}
