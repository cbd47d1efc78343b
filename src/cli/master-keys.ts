/** `cortex-ledger keys …`: the keys of encrypted entries. */
import type { Command } from 'commander'
import type { AuditLedger, OpenOptions } from '../index.ts'
import { createMasterKeyFile } from '../ledger/encryption/master-key.ts'
import { addArchiveOption, archiveOf } from './archive-option.ts'
import type { ArchiveOption } from './archive-option.ts'
import { addMasterKeyOption, encryptionOf, masterKeysOf } from './encryption.ts'
import type { MasterKeyOptions } from './encryption.ts'
import { Misuse } from './errors.ts'
import { LEDGER_ARGUMENT, locationOf, withLedger } from './location.ts'
import { PASSPHRASE_HELP, PASSPHRASE_OPTION, passphraseFrom } from './passphrase.ts'
import type { Terminal } from './terminal.ts'
import { counted, printable, table } from './text.ts'

interface Options extends MasterKeyOptions, ArchiveOption {
  readonly to?: string
  readonly name?: string
  readonly id?: string
  readonly passphraseFile?: string
  readonly json?: boolean
}

export function addMasterKeys(keys: Command, terminal: Terminal): void {
  addNewMaster(keys, terminal)
  addRotateMaster(keys, terminal)
  addDataKeys(keys, terminal)
  addShred(keys, terminal)
}

/** Nothing is recorded, so nothing need be signed. */
const OPENING: OpenOptions = { create: false, signer: null, checkpoints: false, tree: 'on-demand' }

/** The ledger with its master keys, of which there may be none. */
async function withKeys<T>(terminal: Terminal, argument: string | undefined, options: Options, work: (ledger: AuditLedger) => Promise<T>) {
  const passphrase = await passphraseFrom(options.passphraseFile, terminal)
  return withLedger(terminal, locationOf(argument), { ...OPENING, ...archiveOf(options), ...encryptionOf(options), passphrase }, work)
}

function addNewMaster(keys: Command, terminal: Terminal): void {
  keys
    .command('new-master')
    .summary('make a master key for encrypted entries')
    .description(
      'Makes a master key in a new file, mode 0600. It wraps the data keys of encrypted entries. Without it, they can not be read by anybody: keep a copy apart from the ledger and its backups.',
    )
    .argument('[FILE]', 'the new file (in ~/.config/cortex-ledger/keys/ if absent)')
    .option(PASSPHRASE_OPTION, `${PASSPHRASE_HELP}; the key is put under it`)
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExample:\n  $ cortex-ledger keys new-master ./master.key')
    .action(async (file: string | undefined, options: Options) => {
      const { key, path } = await createMasterKeyFile(file, await passphraseFrom(options.passphraseFile, terminal))
      if (options.json === true) return terminal.print(JSON.stringify({ master: key.id, key_file: path }))
      return terminal.print(`made the master key ${terminal.colours.bold(key.id)} in ${printable(path)}`)
    })
}

function addRotateMaster(keys: Command, terminal: Terminal): void {
  addMasterKeyOption(
    keys
      .command('rotate-master')
      .summary('put all data keys under another master key')
      .description(
        'Wraps every data key by the new master key. Entries stay as they are. Give all master keys that are in use. Stopped in the middle, it goes on when it is called again. Then open the ledger with the new one alone, and destroy the old one.',
      )
      .argument('[LEDGER]', LEDGER_ARGUMENT)
      .requiredOption('--to <file>', 'the new master key'),
    'the master key that wraps the data keys now',
  )
    .option(PASSPHRASE_OPTION, PASSPHRASE_HELP)
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExample:\n  $ cortex-ledger keys rotate-master ./audit --master-key ./master.key --to ./new-master.key')
    .action(async (argument: string | undefined, options: Options) => {
      const masterKey = [options.to as string, ...masterKeysOf(options)]
      if (masterKey.length < 2) throw new Misuse('which master key wraps the data keys now? Give --master-key')
      const done = await withKeys(terminal, argument, { ...options, masterKey }, (ledger) => ledger.dataKeys.rewrap())
      if (options.json === true) return terminal.print(JSON.stringify(done))
      return terminal.print(
        `${counted(done.rewrapped, 'key')} wrapped by the new master key${done.unchanged === 0 ? '' : `; ${done.unchanged} were already`}`,
      )
    })
}

function addDataKeys(keys: Command, terminal: Terminal): void {
  keys
    .command('data')
    .summary('show the data keys of encrypted entries')
    .description('Shows the data keys that are there, each with the master key that wraps it. Nobody can tell from these whose they are.')
    .argument('[LEDGER]', LEDGER_ARGUMENT)
    .option('--json', 'print one JSON object a line')
    .addHelpText('after', '\nExample:\n  $ cortex-ledger keys data ./audit')
    .action(async (argument: string | undefined, options: Options) => {
      await withLedger(terminal, locationOf(argument), { readOnly: true }, async (ledger) => {
        const all: { readonly id: string; readonly master: string }[] = []
        for await (const key of ledger.dataKeys.list()) {
          if (options.json === true) await terminal.print(JSON.stringify(key))
          else all.push(key)
        }
        if (options.json === true) return
        const columns = [
          { title: 'data key', text: ({ id }: { readonly id: string }) => printable(id) },
          { title: 'master key', text: ({ master }: { readonly master: string }) => printable(master) },
        ]
        const lines =
          all.length === 0 ? ['there is no data key'] : table(all, columns, { width: terminal.width, title: terminal.colours.bold })
        await terminal.print(lines.join('\n'))
      })
    })
}

function addShred(keys: Command, terminal: Terminal): void {
  addMasterKeyOption(
    addArchiveOption(keys.command('shred'), 'where entries under legal hold may lie')
      .summary('take a data key away, for good')
      .description(
        'Takes away the data key of a name, or the one with an id. All that was encrypted under it can never be read again, by nobody, wherever a copy lies. Every proof holds as before. It records nothing: record why before, or use erase --subject, which does. Refused while such an entry is under legal hold.',
      )
      .argument('[LEDGER]', LEDGER_ARGUMENT)
      .option('--name <name>', 'whose key: a subject, or a stream; needs the master key')
      .option('--id <id>', 'which key, as `keys data` shows it, and `show` for a record'),
    'the master key, to find the data key of a name',
  )
    .option(PASSPHRASE_OPTION, PASSPHRASE_HELP)
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExample:\n  $ cortex-ledger keys shred ./audit --name customer-4711 --master-key ./master.key')
    .action(async (argument: string | undefined, options: Options) => {
      const { name, id } = options
      if ((name === undefined) === (id === undefined)) throw new Misuse('which key? Give --name or --id, one of them')
      const which = id === undefined ? { name: name as string } : { id }
      const gone = await withKeys(terminal, argument, options, (ledger) => ledger.dataKeys.shred(which))
      if (options.json === true) return terminal.print(JSON.stringify({ shredded: gone }))
      return terminal.print(
        gone.length === 0 ? 'there is no such data key' : `shredded the data key ${gone.map((one) => printable(one)).join(', ')}`,
      )
    })
}
