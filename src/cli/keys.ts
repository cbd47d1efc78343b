/** `cortex-ledger keys`: which keys the ledger names, adding one, retiring one; and keys that are in no record. */
import { generateKeyPairSync } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import type { AuditLedger, LedgerKey, OpenOptions, Receipt } from '../index.ts'
import { LedgerError } from '../ledger/errors.ts'
import type { KeyToAdd } from '../ledger/key-records.ts'
import { defaultKeyPath, keyOfNewLedger, readKeyFile, writePrivateFile } from '../ledger/keys.ts'
import { systemRandom } from '../ledger/random.ts'
import { recordPublicKeyFrom } from '../ledger/record-signer.ts'
import { KEY_PURPOSES } from '../verify/key-log.ts'
import type { KeyPurpose } from '../verify/key-log.ts'
import { Misuse } from './errors.ts'
import { LEDGER_ARGUMENT, locationOf, withLedger } from './location.ts'
import { addMasterKeys } from './master-keys.ts'
import { PASSPHRASE_HELP, PASSPHRASE_OPTION, passphraseFrom } from './passphrase.ts'
import { addPseudonym } from './pseudonym.ts'
import type { Terminal } from './terminal.ts'
import { pad, printable, table } from './text.ts'

interface KeyCommandOptions {
  readonly key?: string
  readonly purpose?: string
  readonly passphraseFile?: string
  readonly id?: string
  readonly reason?: string
  readonly json?: boolean
}

export function addKeys(program: Command, terminal: Terminal): void {
  const keys = program
    .command('keys')
    .summary("the ledger's keys: list, add, retire; encryption; pseudonyms")
    .description(
      'Shows, adds and retires the keys that a ledger names. A checkpoint key signs checkpoints of the whole ledger; a record key signs single records. Nothing is ever taken back: a retired key stays retired. Data keys encrypt entries, and a master key wraps them; the key of pseudonyms says what people are called: these are in no record.',
    )
  keys.addHelpText('after', '\nExample:\n  $ cortex-ledger keys list ./audit')
  addList(keys, terminal)
  addAdd(keys, terminal)
  addRetire(keys, terminal)
  addMasterKeys(keys, terminal)
  addPseudonym(keys, terminal)
}

function addList(keys: Command, terminal: Terminal): void {
  keys
    .command('list')
    .summary('show the keys')
    .description(
      'Shows every key that the ledger names, from where to where it is right. Give verifier keys to those who will check the ledger.',
    )
    .argument('[LEDGER]', LEDGER_ARGUMENT)
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExample:\n  $ cortex-ledger keys list ./audit --json')
    .action(async (argument: string | undefined, options: KeyCommandOptions) => {
      await withLedger(terminal, locationOf(argument), { readOnly: true }, async (ledger) => {
        const all = await ledger.keys()
        if (options.json === true) return terminal.print(JSON.stringify({ origin: ledger.origin, keys: all }))
        if (all.length === 0) return terminal.print('the ledger names no key')
        return terminal.print(keyTable(all, terminal).join('\n'))
      })
    })
}

function keyTable(all: readonly LedgerKey[], terminal: Terminal): string[] {
  return table(
    all,
    [
      { title: 'key', text: ({ key }) => key },
      { title: 'purpose', text: ({ purpose }) => purpose },
      { title: 'alg', text: ({ alg }) => alg },
      { title: 'added at', text: ({ added_seq }) => String(added_seq), align: 'right' },
      { title: 'retired at', text: ({ retired_seq }) => (retired_seq === null ? '–' : String(retired_seq)), align: 'right' },
      { title: 'public key', text: ({ verifier_key, public_key }) => printable(verifier_key ?? public_key ?? ''), width_min: 20 },
    ],
    { width: terminal.width, title: terminal.colours.bold },
  )
}

function addAdd(keys: Command, terminal: Terminal): void {
  keys
    .command('add')
    .summary('add a key')
    .description(
      'Records that a key is right from here on. The key is used if the file is there, else made there. A checkpoint key is a key file as init makes it; a record key is a PEM file, private or public: Ed25519, or RSA of 2048 bits or more.',
    )
    .argument('[LEDGER]', LEDGER_ARGUMENT)
    .option('--key <file>', "the key's file (a new one in ~/.config/cortex-ledger/keys/ if absent)")
    .option('--purpose <purpose>', `what it signs: ${KEY_PURPOSES.join(' or ')} (checkpoint if absent)`)
    .option(PASSPHRASE_OPTION, PASSPHRASE_HELP)
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExample:\n  $ cortex-ledger keys add ./audit --purpose record --key ./records.pem')
    .action(async (argument: string | undefined, options: KeyCommandOptions) => {
      const purpose = purposeOf(options.purpose)
      const location = locationOf(argument)
      const passphrase = await passphraseFrom(options.passphraseFile, terminal)
      await withLedger(terminal, location, opening(passphrase), async (ledger) => {
        const work = purpose === 'record' ? recordKey : checkpointKey
        const { key, file, made } = await work(ledger, options.key, passphrase)
        const receipt = await ledger.addKey(key)
        const added = await keyAt(ledger, receipt)
        if (options.json === true) return terminal.print(JSON.stringify({ ...added, key_file: file, made, receipt }))
        return terminal.print(addedText(added, receipt, file, made, terminal).join('\n'))
      })
    })
}

function addedText(added: LedgerKey, receipt: Receipt, file: string, made: boolean, terminal: Terminal): string[] {
  const { green, bold, dim } = terminal.colours
  const line = (name: string, value: string): string => `${dim(pad(name, 14))}${printable(value)}`
  return [
    `${green('added')} the ${added.purpose} key ${bold(added.key)} (${added.alg}) at position ${receipt.seq}`,
    line('key file', `${file}${made ? ' (new)' : ''}`),
    line(added.purpose === 'checkpoint' ? 'verifier key' : 'public key', added.verifier_key ?? added.public_key ?? ''),
  ]
}

function addRetire(keys: Command, terminal: Terminal): void {
  keys
    .command('retire')
    .summary('retire a key, for good')
    .description('Records that a key is not right any more: what it signs from here on is a finding. What it signed before stays right.')
    .argument('[LEDGER]', LEDGER_ARGUMENT)
    .option('--id <hex>', "the key's id, as `keys list` shows it")
    .option('--key <file>', 'the file of the key, in place of its id')
    .option('--purpose <purpose>', `what the key in the file signs: ${KEY_PURPOSES.join(' or ')} (checkpoint if absent)`)
    .option(PASSPHRASE_OPTION, PASSPHRASE_HELP)
    .option('--reason <text>', 'why; it stays in the ledger for ever')
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExample:\n  $ cortex-ledger keys retire ./audit --id 1f2e3d4c --reason "yearly rotation"')
    .action(async (argument: string | undefined, options: KeyCommandOptions) => {
      const location = locationOf(argument)
      const passphrase = await passphraseFrom(options.passphraseFile, terminal)
      const id = await idToRetire(options, passphrase)
      await withLedger(terminal, location, opening(passphrase), async (ledger) => {
        const receipt = await ledger.retireKey(id, options.reason === undefined ? {} : { reason: options.reason })
        const retired = (await ledger.keys()).find(({ key }) => key === id)
        if (options.json === true) return terminal.print(JSON.stringify({ ...retired, receipt }))
        return terminal.print(`retired the ${retired?.purpose} key ${id} at position ${receipt.seq}`)
      })
    })
}

/** The ledger's own key may be under a passphrase of its own, which is in the environment then. */
function opening(passphrase: string | undefined): OpenOptions {
  return { create: false, passphrase: process.env['CORTEX_LEDGER_PASSPHRASE'] || passphrase }
}

/** @throws Misuse */
function purposeOf(text: string | undefined): KeyPurpose {
  const purpose = KEY_PURPOSES.find((each) => each === (text ?? 'checkpoint'))
  if (purpose === undefined) throw new Misuse(`--purpose ${text}: it is one of ${KEY_PURPOSES.join(', ')}`)
  return purpose
}

async function idToRetire(options: KeyCommandOptions, passphrase: string | undefined): Promise<string> {
  if ((options.id === undefined) === (options.key === undefined)) throw new Misuse('which key? Give --id or --key, one of them')
  if (options.id !== undefined) {
    if (!/^[0-9a-f]{8}$/.test(options.id))
      throw new Misuse(`--id ${options.id}: an id is 8 hex digits in lower case, as \`keys list\` shows it`)
    return options.id
  }
  const file = options.key ?? ''
  if (purposeOf(options.purpose) === 'record') return recordPublicKeyFrom(await readPem(file), passphrase).key
  const { verifierKey } = await readKeyFile(file, { passphrase })
  return verifierKey.split('+')[1] ?? ''
}

async function keyAt(ledger: AuditLedger, { seq }: Receipt): Promise<LedgerKey> {
  const added = (await ledger.keys()).find(({ added_seq }) => added_seq === seq)
  if (added === undefined) throw new LedgerError('damaged', `the key that was added at ${seq} can't be read again: run verify`)
  return added
}

interface FoundKey {
  readonly key: KeyToAdd
  readonly file: string
  readonly made: boolean
}

async function readPem(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw new LedgerError('key_error', `the key file ${file} can't be read: check the path and its mode`, { file, cause: error })
  }
}

async function isThere(file: string): Promise<boolean> {
  return readFile(file).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code !== 'ENOENT',
  )
}

async function checkpointKey({ origin }: AuditLedger, file: string | undefined, passphrase: string | undefined): Promise<FoundKey> {
  const there = file !== undefined && (await isThere(file))
  if (there && (await readPem(file)).startsWith('-----BEGIN '))
    throw new Misuse(`${file} is a PEM, which signs records: add --purpose record`)
  const { signer, path } = await keyOfNewLedger(origin ?? '', systemRandom(), file, passphrase)
  return { key: signer, file: path, made: !there }
}

async function recordKey({ origin }: AuditLedger, file: string | undefined, passphrase: string | undefined): Promise<FoundKey> {
  if (file !== undefined && (await isThere(file))) return { key: recordPublicKeyFrom(await readPem(file), passphrase), file, made: false }
  const { privateKey } = generateKeyPairSync('ed25519')
  const pem = privateKey
    .export({ format: 'pem', type: 'pkcs8', ...(passphrase !== undefined && { cipher: 'aes-256-cbc', passphrase }) })
    .toString()
  const key = recordPublicKeyFrom(pem, passphrase)
  const path = file ?? defaultKeyPath(origin ?? '', `${origin ?? ''}+${key.key}`).replace(/\.key$/, '.pem')
  await writePrivateFile(path, pem)
  return { key, file: path, made: true }
}
