/** `cortex-ledger witness`: cosigns the checkpoints of logs, after a proof that nothing of before was changed. */
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { systemClock } from '../ledger/clock.ts'
import { ed25519Check } from '../ledger/ed25519.ts'
import { asStorageError } from '../ledger/errors.ts'
import { nodeHashing } from '../ledger/hashing.ts'
import { ED25519, formatVerifierKey, isKeyName, parseVerifierKey } from '../verify/note.ts'
import type { VerifierKey } from '../verify/note.ts'
import { parsePolicy } from '../verify/policy.ts'
import { Witness } from '../witness/protocol.ts'
import { serveWitness } from '../witness/server.ts'
import { WitnessState } from '../witness/state.ts'
import { Misuse } from './errors.ts'
import type { Terminal } from './terminal.ts'
import { printable } from './text.ts'

const LISTEN_DEFAULT = '127.0.0.1:8090'

interface WitnessCommandOptions {
  readonly listen?: string
  readonly state: string
  readonly key?: string
  readonly name?: string
  readonly log?: readonly string[]
  readonly policy?: string
  readonly newState?: boolean
  readonly json?: boolean
}

export function addWitness(program: Command, terminal: Terminal): void {
  program
    .command('witness')
    .summary('cosign the checkpoints of other ledgers')
    .description(
      'Serves C2SP tlog-witness over HTTP: cosigns a checkpoint of a log that it knows, after a proof that the log has only grown since the last one, and remembers it before it answers. Ends with 0 on SIGTERM or Ctrl-C.',
    )
    .requiredOption('--state <dir>', 'what it must never forget: a folder of its own, made if it is not there')
    .option('--listen <host:port>', `where to listen; port 0 takes a free one (default: ${LISTEN_DEFAULT})`)
    .option('--key <file>', "the witness' key: used if the file is there, else made there (default: witness.key in the state folder)")
    .option('--name <name>', 'the name of a new key, such as witness.example/w1 (localhost/witness-<uuid> if absent)')
    .option('--log <vkey>', 'verifier key of a log that it knows (repeatable)', (vkey: string, before: string[] = []) => [...before, vkey])
    .option('--policy <file>', 'a C2SP tlog-policy file: the logs in it are known')
    .option('--new-state', 'the key that is there has never cosigned anything: let it begin with an empty folder')
    .option('--json', 'print what it is as one JSON object')
    .addHelpText(
      'after',
      `
It speaks HTTP without TLS: put a web server before it that does, and that limits who may ask how often.
A key and its state folder belong together: an older copy of the folder lets it cosign a second history.

Example:
  $ cortex-ledger witness --state ./witness --name witness.example/w1 --log 'example.com/agents/prod+…'`,
    )
    .action((options: WitnessCommandOptions) => witness(terminal, options))
}

async function witness(terminal: Terminal, options: WitnessCommandOptions): Promise<void> {
  const { host, port } = addressOf(options.listen ?? LISTEN_DEFAULT)
  if (options.name !== undefined && !isKeyName(options.name))
    throw new Misuse(`--name ${JSON.stringify(options.name)}: a name is not empty and has no white space and no +`)
  const logs = await logsOf(options)
  const dir = resolve(options.state)
  const state = await WitnessState.open(dir, { keyFile: options.key, name: options.name, newState: options.newState })
  try {
    const { sha256 } = nodeHashing
    const one = new Witness({ signer: state.signer, logs, store: state, clock: systemClock, sha256, check: ed25519Check })
    await one.checkMemory(await state.origins())
    const stopped = untilStopped()
    const server = await serveWitness(one, { host, port, onError: (error) => terminal.say(`error: ${printable(error.message)}`) })
    try {
      await introduce(terminal, options, { url: server.url, state: dir, key_file: state.keyFile, key: one.key, origins: one.origins })
      await stopped
    } finally {
      await server.close()
    }
  } finally {
    state.close()
  }
}

/** @throws Misuse */
function addressOf(listen: string): { host: string; port: number } {
  const [, bracketed, plain, digits] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]+)):([0-9]{1,5})$/.exec(listen) ?? []
  const host = bracketed ?? plain
  const port = Number(digits)
  if (host === undefined || port > 65_535)
    throw new Misuse(`--listen ${JSON.stringify(listen)} is not <host>:<port>, such as ${LISTEN_DEFAULT}`)
  return { host, port }
}

/** @throws Misuse | LedgerError */
async function logsOf({ log = [], policy }: WitnessCommandOptions): Promise<VerifierKey[]> {
  const { sha256 } = nodeHashing
  const keys = log.map((text) => {
    const key = parseVerifierKey(sha256, text)
    if (typeof key === 'string') throw new Misuse(`--log ${JSON.stringify(text)}: ${key}`)
    if (key.kind !== ED25519) throw new Misuse(`--log ${JSON.stringify(text)}: the key of a log is of kind 1 (Ed25519), not ${key.kind}`)
    return key
  })
  if (policy !== undefined) {
    const bytes = await readFile(policy).catch((error: unknown) => {
      throw asStorageError(error, `reading the policy ${policy}`)
    })
    const parsed = parsePolicy(sha256, bytes)
    if (typeof parsed === 'string') throw new Misuse(`--policy ${policy}: ${parsed}`)
    keys.push(...parsed.logs.map(({ key }) => key))
  }
  if (keys.length === 0) throw new Misuse('which logs? Give their verifier keys (--log), or a policy that has some (--policy)')
  return keys
}

/** Resolves at the first of the signals that ask a process to end; a second one ends it at once. */
function untilStopped(): Promise<void> {
  return new Promise((stop) => {
    const end = (): void => {
      process.removeListener('SIGINT', end)
      process.removeListener('SIGTERM', end)
      stop()
    }
    process.on('SIGINT', end)
    process.on('SIGTERM', end)
  })
}

interface Introduction {
  readonly url: string
  readonly state: string
  readonly key_file: string
  readonly key: VerifierKey
  readonly origins: readonly string[]
}

async function introduce(terminal: Terminal, { json }: WitnessCommandOptions, introduction: Introduction): Promise<void> {
  const { key, ...rest } = introduction
  const verifier_key = formatVerifierKey(key)
  if (json === true) await terminal.print(JSON.stringify({ ...rest, verifier_key }))
  else {
    const { dim, green } = terminal.colours
    const line = (name: string, value: string): string => `${dim(name.padEnd(14))}${printable(value)}`
    await terminal.print(
      [
        line('state', rest.state),
        line('key file', rest.key_file),
        line('verifier key', verifier_key),
        ...rest.origins.map((origin) => line('log', origin)),
        `${green('listening')} on ${rest.url}`,
        '',
        'The line for the policy of whoever asks it (with the address that they reach):',
        `witness ${key.name} ${verifier_key} ${rest.url}`,
      ].join('\n'),
    )
  }
  await terminal.flush()
}
