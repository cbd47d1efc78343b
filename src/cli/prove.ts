/** `cortex-ledger prove`: records with the proof that they are in the ledger, as one file. */
import type { Command } from 'commander'
import { LedgerError } from '../ledger/errors.ts'
import type { ProofRequest } from '../ledger/prove.ts'
import { parseBundle } from '../verify/bundle.ts'
import { decodeText } from '../verify/text.ts'
import { asked, Misuse } from './errors.ts'
import { gather, integerOf } from './filters.ts'
import { LEDGER_ARGUMENT, locationOf, withLedger } from './location.ts'
import { refuseLedgerAsOutput, replaceFile } from './output-file.ts'
import { addSigningOptions, signingOf } from './signing.ts'
import type { SigningOptions } from './signing.ts'
import type { Terminal } from './terminal.ts'
import { counted, printable } from './text.ts'

interface ProveOptions extends SigningOptions {
  readonly runId?: string[]
  readonly correlationId?: string[]
  readonly seq?: string[]
  readonly output?: string
  readonly disclose?: boolean
}

export function addProve(program: Command, terminal: Terminal): void {
  addSigningOptions(program.command('prove'))
    .summary('write records with the proof that they are in the ledger')
    .description(
      'Writes one file that anyone can check without the ledger: the headers of records, the path of each to a signed checkpoint, and the entries if you disclose them. Works while others write to the ledger. Records that no checkpoint covers yet are signed for, where the key is here.',
    )
    .argument('[LEDGER]', LEDGER_ARGUMENT)
    .option('--run-id <id>', 'the record of this run; may be repeated', gather)
    .option('--correlation-id <id>', 'the records of this task, conversation or trace; may be repeated', gather)
    .option('--seq <n>', 'the record at this position; may be repeated', gather)
    .option('--disclose', 'with the entries: prompts, outputs, data. Without it they are withheld')
    .option('-o, --output <file>', 'a file, which is replaced when all is written; stdout if absent, or -')
    .addHelpText(
      'after',
      `
Example:
  $ cortex-ledger prove ./audit --correlation-id task-42 --disclose -o task-42.bundle
  $ cortex-ledger check task-42.bundle --key example.com/agents/prod+1a2b3c4d+AQ…`,
    )
    .action(async (argument: string | undefined, options: ProveOptions) => {
      const location = locationOf(argument)
      const request = requestOf(options)
      const file = options.output === undefined || options.output === '-' ? null : options.output
      if (file !== null) await refuseLedgerAsOutput(location, file)
      const bytes = await proveAt(terminal, location, request, options)
      // The last line feed is what `print` adds.
      if (file === null) return terminal.print(decodeText(bytes).slice(0, -1))
      await replaceFile(file, (handle) => handle.writeFile(bytes))
      const bundle = parseBundle(bytes)
      const count = typeof bundle === 'string' ? 0 : bundle.records.length
      const entries = options.disclose === true ? 'with what is there of entries' : 'entries withheld'
      terminal.say(`${counted(count, 'record')} proven in ${printable(file)}, ${entries}`)
    })
}

/** @throws Misuse */
function requestOf({ runId, correlationId, seq }: ProveOptions): ProofRequest {
  const [kind, ...others] = [runId, correlationId, seq].filter((given) => given !== undefined)
  if (kind === undefined || others.length > 0)
    throw new Misuse('which records? Give --run-id, --correlation-id or --seq, and one kind of them only')
  if (seq !== undefined) return { seq: seq.map((text) => integerOf('--seq', text, 0)) }
  return runId !== undefined ? { run_id: runId } : { correlation_id: correlationId }
}

/** Why a ledger can't be opened to sign, while it can be read. */
const CANT_SIGN: readonly string[] = ['locked', 'read_only', 'key_error']

/** As a reader, beside whoever writes; where no checkpoint covers the records, one is signed first. */
async function proveAt(terminal: Terminal, location: string, request: ProofRequest, options: ProveOptions): Promise<Uint8Array> {
  const disclose = options.disclose === true
  const prove = (): Promise<Uint8Array> =>
    withLedger(terminal, location, { readOnly: true }, (ledger) => asked(() => ledger.prove(request, { disclose })))
  try {
    return await prove()
  } catch (error) {
    if (!(error instanceof LedgerError && error.code === 'not_covered')) throw error
    try {
      // Closing waits for the witnesses: what is read afterwards has their cosignatures.
      await withLedger(terminal, location, { create: false, ...signingOf(options) }, (ledger) => ledger.checkpoint())
    } catch (second) {
      if (!(second instanceof LedgerError && CANT_SIGN.includes(second.code))) throw second
      throw new LedgerError('not_covered', `${error.message}. It can't be signed from here: ${second.message}`, {
        ...error.details,
        cause: second,
      })
    }
    return prove()
  }
}
