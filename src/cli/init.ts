/** `cortex-ledger init`: a new ledger, and its key. */
import type { Command } from 'commander'
import { isOrigin, ORIGIN_RULE } from '../verify/origin.ts'
import { Misuse } from './errors.ts'
import { LEDGER_ARGUMENT, locationOf, withLedger } from './location.ts'
import { PASSPHRASE_HELP, PASSPHRASE_OPTION, passphraseFrom } from './passphrase.ts'
import type { Terminal } from './terminal.ts'
import { printable } from './text.ts'

interface InitOptions {
  readonly origin?: string
  readonly key?: string
  readonly passphraseFile?: string
  readonly json?: boolean
}

export function addInit(program: Command, terminal: Terminal): void {
  program
    .command('init')
    .summary('make a new ledger and its key')
    .description('Makes a new ledger. What is there already is never touched: then it ends with 4.')
    .argument('[LEDGER]', LEDGER_ARGUMENT)
    .option('--origin <line>', 'the name of the ledger, for ever: a line such as example.com/agents/prod (localhost/<uuid> if absent)')
    .option(
      '--key <file>',
      "the ledger's Ed25519 key: used if the file is there, else made there (CORTEX_LEDGER_KEY, else ~/.config/cortex-ledger/keys/)",
    )
    .option(PASSPHRASE_OPTION, `${PASSPHRASE_HELP}; a key that is made is put under it`)
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExample:\n  $ cortex-ledger init ./audit --origin example.com/agents/prod')
    .action(async (argument: string | undefined, options: InitOptions) => {
      const location = locationOf(argument)
      // Before anything is made: a refused origin leaves nothing behind.
      if (options.origin !== undefined && !isOrigin(options.origin))
        throw new Misuse(`--origin ${JSON.stringify(options.origin)}: ${ORIGIN_RULE}`)
      await init(terminal, location, options)
    })
}

async function init(terminal: Terminal, location: string, options: InitOptions): Promise<void> {
  const { origin, key } = options
  const passphrase = await passphraseFrom(options.passphraseFile)
  const open = { mustCreate: true, origin, key, passphrase }
  await withLedger(terminal, location, open, async (ledger) => {
    const made = {
      location: ledger.location,
      kind: ledger.kind,
      origin: ledger.origin,
      verifier_key: ledger.verifierKey,
      key_file: ledger.keyFile,
    }
    if (options.json === true) return terminal.print(JSON.stringify(made))
    const { bold, dim, green } = terminal.colours
    const line = (name: string, value: string | null): string => `${dim(name.padEnd(14))}${printable(value ?? '–')}`
    await terminal.print(
      [
        `${green('created')} ${bold(printable(made.location))} (${made.kind})`,
        line('origin', made.origin),
        line('key file', made.key_file),
        line('verifier key', made.verifier_key),
        ...(made.key_file === null
          ? []
          : [
              '',
              'Back the key file up, and keep it from others: whoever has it can sign for this ledger.',
              'Give the verifier key to those who will check the ledger.',
            ]),
      ].join('\n'),
    )
  })
}
