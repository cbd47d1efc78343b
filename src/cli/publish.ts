/** `cortex-ledger publish`: the ledger's headers, tiles and checkpoint as files for any web server. */
import type { Command } from 'commander'
import { publishLedger } from '../open-publish.ts'
import { asked, Misuse } from './errors.ts'
import { LEDGER_ARGUMENT, locationOf } from './location.ts'
import { Progress } from './progress.ts'
import { addSigningOptions, signingOf } from './signing.ts'
import type { SigningOptions } from './signing.ts'
import type { Terminal } from './terminal.ts'
import { counted, grouped, printable } from './text.ts'

interface PublishCommandOptions extends SigningOptions {
  readonly keepPartials?: boolean
  readonly json?: boolean
}

export function addPublish(program: Command, terminal: Terminal): void {
  addSigningOptions(program.command('publish'))
    .summary('write the ledger as a static log for any web server')
    .description(
      'Writes the checkpoint, the tiles and bundles of headers (C2SP tlog-tiles) into DIR, or what is missing there. No entry leaves: no prompt, no output. Signs a new checkpoint where it can, else publishes the latest one.',
    )
    .argument('[LEDGER]', LEDGER_ARGUMENT)
    .argument('[DIR]', 'the folder to publish to; it is made where there is none')
    .option('--keep-partials', 'keep partial tiles of earlier checkpoints also where the full tile is there')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
DIR holds exactly what the specification names, and .publishing, which is ours. What is there is continued; a folder
that holds another log, or one that this ledger does not continue, is refused.

Example:
  $ cortex-ledger publish ./audit ./public && cortex-ledger verify ./public`,
    )
    .action(async (first: string | undefined, second: string | undefined, options: PublishCommandOptions) => {
      // One argument is the folder: then CORTEX_LEDGER says which ledger.
      const [argument, dir] = second === undefined ? [undefined, first] : [first, second]
      if (dir === undefined) throw new Misuse('publish what, and where to? Give LEDGER and DIR')
      const location = locationOf(argument)
      const progress = new Progress(terminal)
      const report = await asked(() =>
        publishLedger(location, dir, {
          ...signingOf(options),
          keepPartials: options.keepPartials === true,
          onWarning: (warning) => terminal.say(terminal.stderrColours.yellow(`warning: ${warning.message}`)),
          onProgress: (size) => progress.update((ms) => `${counted(size, 'record')}, ${grouped(Math.round((size * 1000) / ms))} a second`),
        }),
      ).finally(() => progress.clear())
      if (report.not_signed !== null)
        terminal.say(terminal.stderrColours.yellow(`the latest checkpoint is published, as no new one can be signed: ${report.not_signed}`))
      if (options.json === true) return terminal.print(JSON.stringify(report))
      const before = report.previous_size === null ? '' : `, ${counted(report.size - report.previous_size, 'new record')} among them`
      return terminal.print(
        `${printable(dir)} holds ${counted(report.size, 'record')} of ${printable(report.origin)}${before}; ${counted(report.files_written, 'file')} written`,
      )
    })
}
