/** `cortex-ledger checkpoint`: signs the ledger as it is now. */
import type { Command } from 'commander'
import { LEDGER_ARGUMENT, locationOf, withLedger } from './location.ts'
import { addSigningOptions, signingOf } from './signing.ts'
import type { SigningOptions } from './signing.ts'
import type { Terminal } from './terminal.ts'

export function addCheckpoint(program: Command, terminal: Terminal): void {
  addSigningOptions(program.command('checkpoint'))
    .summary('sign the ledger as it is now')
    .description(
      'Signs the size and the root of the ledger, and prints the signed note: whoever keeps it can tell later that nothing before it was changed, removed or left out. With nothing new it prints the last one again. With a policy it waits for the witnesses, and prints their cosignatures too.',
    )
    .argument('[LEDGER]', LEDGER_ARGUMENT)
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      '\nExample:\n  $ cortex-ledger checkpoint ./audit > audit.checkpoint\n  $ cortex-ledger verify ./audit --since audit.checkpoint',
    )
    .action(async (argument: string | undefined, options: SigningOptions & { json?: boolean }) => {
      await withLedger(terminal, locationOf(argument), { create: false, ...signingOf(options) }, async (ledger) => {
        const signed = await ledger.checkpoint({ cosigned: true })
        // A note ends with a line feed of its own.
        await terminal.print(options.json === true ? JSON.stringify({ origin: ledger.origin, ...signed }) : signed.note.slice(0, -1))
      })
    })
}
