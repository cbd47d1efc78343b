/** `cortex-ledger init`: a new ledger, and its key. */
import { existsSync } from 'node:fs'
import type { Command } from 'commander'
import { isOrigin, ORIGIN_RULE } from '../verify/origin.ts'
import { createMasterKeyFile } from '../ledger/encryption/master-key.ts'
import { LedgerError } from '../ledger/errors.ts'
import { locate, makeRoles, shownLocation } from '../open-store.ts'
import { Misuse } from './errors.ts'
import { LEDGER_ARGUMENT, locationOf, withLedger } from './location.ts'
import { PASSPHRASE_HELP, PASSPHRASE_OPTION, passphraseFrom } from './passphrase.ts'
import type { Terminal } from './terminal.ts'
import { printable } from './text.ts'

interface InitOptions {
  readonly origin?: string
  readonly key?: string
  readonly passphraseFile?: string
  readonly roles?: boolean
  readonly encrypt?: string | true
  readonly json?: boolean
}

export function addInit(program: Command, terminal: Terminal): void {
  program
    .command('init')
    .summary('make a new ledger and its key')
    .description(
      'Makes a new ledger. What is there already is never touched: then it ends with 4, or with 0 where --roles had something to do.',
    )
    .argument('[LEDGER]', LEDGER_ARGUMENT)
    .option('--origin <line>', 'the name of the ledger, for ever: a line such as example.com/agents/prod (localhost/<uuid> if absent)')
    .option(
      '--key <file>',
      "the ledger's Ed25519 key: used if the file is there, else made there (CORTEX_LEDGER_KEY, else ~/.config/cortex-ledger/keys/)",
    )
    .option(PASSPHRASE_OPTION, `${PASSPHRASE_HELP}; a key that is made is put under it`)
    .option(
      '--roles',
      'PostgreSQL: also make the roles SCHEMA_writer, _reader, _auditor (headers only) and _retention, or grant them again; needs CREATEROLE',
    )
    .option(
      '--encrypt [file]',
      'entries are encrypted: the master key, used if the file is there, else made there (in ~/.config/cortex-ledger/keys/ if absent)',
    )
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
Example:
  $ cortex-ledger init ./audit --origin example.com/agents/prod
  $ cortex-ledger init "postgres://owner@db/audit" --origin example.com/agents/prod --roles
  $ psql -c 'GRANT cortex_ledger_writer TO agents'`,
    )
    .action(async (argument: string | undefined, options: InitOptions) => {
      const location = locationOf(argument)
      // Before anything is made: a refused origin leaves nothing behind.
      if (options.origin !== undefined && !isOrigin(options.origin))
        throw new Misuse(`--origin ${JSON.stringify(options.origin)}: ${ORIGIN_RULE}`)
      if (options.roles === true && locate(location).kind !== 'postgres')
        throw new Misuse(`--roles: ${shownLocation(location)} has none; they are of a PostgreSQL server, named by a postgres: URL`)
      const roles = options.roles === true ? await makeRoles(location) : null
      try {
        await init(terminal, location, options, roles)
      } catch (error) {
        if (roles === null || !(error instanceof LedgerError) || error.code !== 'already_exists') throw error
        await terminal.print(
          options.json === true
            ? JSON.stringify({ location: shownLocation(location), kind: 'postgres', created: false, roles })
            : `${printable(shownLocation(location))} was there, and is as it was; ${rolesText(roles)}`,
        )
      }
    })
}

function rolesText(roles: readonly string[]): string {
  return `the roles ${roles.join(', ')} are as they should be: GRANT them to the users of programs and people`
}

/** The file that was named, made where there is none, or a new one in its default place. */
async function masterKeyFile(file: string | true, passphrase: string | undefined): Promise<string> {
  if (file !== true && existsSync(file)) return file
  return (await createMasterKeyFile(file === true ? undefined : file, passphrase)).path
}

async function init(terminal: Terminal, location: string, options: InitOptions, roles: readonly string[] | null): Promise<void> {
  const { origin, key } = options
  const passphrase = await passphraseFrom(options.passphraseFile, terminal)
  const masterFile = options.encrypt === undefined ? null : await masterKeyFile(options.encrypt, passphrase)
  const encryption = masterFile === null ? {} : { encryption: { master: masterFile } }
  const open = { mustCreate: true, origin, key, passphrase, ...encryption }
  await withLedger(terminal, location, open, async (ledger) => {
    const made = {
      location: ledger.location,
      kind: ledger.kind,
      origin: ledger.origin,
      verifier_key: ledger.verifierKey,
      key_file: ledger.keyFile,
      ...(masterFile === null ? {} : { master_key_file: masterFile }),
      ...(roles === null ? {} : { created: true, roles }),
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
        ...(masterFile === null ? [] : [line('master key', masterFile)]),
        ...(roles === null ? [] : ['', rolesText(roles)]),
        ...(made.key_file === null
          ? []
          : [
              '',
              'Back the key file up, and keep it from others: whoever has it can sign for this ledger.',
              ...(masterFile === null ? [] : ['So the master key: without it, nobody can read what is encrypted.']),
              'Give the verifier key to those who will check the ledger.',
            ]),
      ].join('\n'),
    )
  })
}
