/** `cortex-ledger rotate`: seals the live segment and begins a new one. */
import type { Command } from 'commander'
import { LEDGER_ARGUMENT, locationOf, withLedger } from './location.ts'
import { addSigningOptions, signingOf } from './signing.ts'
import type { SigningOptions } from './signing.ts'
import type { Terminal } from './terminal.ts'
import { printable } from './text.ts'

export function addRotate(program: Command, terminal: Terminal): void {
  addSigningOptions(program.command('rotate'))
    .summary('seal the live segment and begin a new one')
    .description(
      'Seals the live segment, records that, and begins a new one. Nothing is ever deleted. With nothing to seal it does nothing and ends with 0.',
    )
    .argument('[LEDGER]', LEDGER_ARGUMENT)
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExample:\n  $ cortex-ledger rotate ./audit')
    .action(async (argument: string | undefined, options: SigningOptions & { json?: boolean }) => {
      await withLedger(terminal, locationOf(argument), { create: false, ...signingOf(options) }, async (ledger) => {
        const receipt = await ledger.rotate()
        const sealed = receipt === null ? null : ((await ledger.at(receipt.seq))?.entry ?? null)
        if (options.json === true) return terminal.print(JSON.stringify({ sealed, receipt }))
        if (receipt === null || sealed === null) return terminal.print('nothing was recorded since the last time: nothing to seal')
        const segment = typeof sealed['segment'] === 'string' ? ` in ${printable(sealed['segment'])}` : ''
        return terminal.print(
          `sealed records ${String(sealed['first_seq'])} to ${String(sealed['last_seq'])}${segment}; the next segment begins at ${receipt.seq}`,
        )
      })
    })
}
