/** The command `cortex-ledger`: its commands, and how whatever happens becomes an exit code. */
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { endingOf, EXIT } from './errors.ts'
import { OutputClosed, Terminal } from './terminal.ts'
import type { Streams } from './terminal.ts'

type AddCommand = (program: Command, terminal: Terminal) => void

/** In the order of the help. Each is loaded when it is called: reading all of them takes longer than most of them run. */
const COMMANDS: { readonly [name: string]: () => Promise<AddCommand> } = {
  init: async () => (await import('./init.ts')).addInit,
  record: async () => (await import('./record.ts')).addRecord,
  import: async () => (await import('./import.ts')).addImport,
  query: async () => (await import('./query.ts')).addQuery,
  show: async () => (await import('./show.ts')).addShow,
  tail: async () => (await import('./tail.ts')).addTail,
  verify: async () => (await import('./verify.ts')).addVerify,
  checkpoint: async () => (await import('./checkpoint.ts')).addCheckpoint,
  prove: async () => (await import('./prove.ts')).addProve,
  check: async () => (await import('./check.ts')).addCheck,
  stats: async () => (await import('./stats.ts')).addStats,
  usage: async () => (await import('./usage.ts')).addUsage,
  timeline: async () => (await import('./timeline.ts')).addTimeline,
  state: async () => (await import('./state.ts')).addState,
  report: async () => (await import('./report.ts')).addReport,
  export: async () => (await import('./export.ts')).addExport,
  snapshot: async () => (await import('./snapshot.ts')).addSnapshot,
  copy: async () => (await import('./copy.ts')).addCopy,
  promote: async () => (await import('./promote.ts')).addPromote,
  rotate: async () => (await import('./rotate.ts')).addRotate,
  retention: async () => (await import('./retention.ts')).addRetention,
  archive: async () => (await import('./archive.ts')).addArchive,
  restore: async () => (await import('./archive.ts')).addRestore,
  hold: async () => (await import('./hold.ts')).addHold,
  erase: async () => (await import('./erase.ts')).addErase,
  keys: async () => (await import('./keys.ts')).addKeys,
  witness: async () => (await import('./witness.ts')).addWitness,
  publish: async () => (await import('./publish.ts')).addPublish,
  demo: async () => (await import('./demo.ts')).addDemo,
}

function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

const HELP = `
A LEDGER is a directory (JSONL), a file ending in .db (SQLite), or postgres://USER@HOST/DATABASE?ledger=NAME;
without one, CORTEX_LEDGER says which.

Exit codes: 0 fine, 1 verification found problems, 2 misuse, 3 can't read or write,
4 refused (conflict, locked, there already).

Example:
  $ cortex-ledger init ./audit --origin example.com/agents/prod
  $ echo '{"agent_name":"analyst","method_name":"summarise"}' | cortex-ledger record ./audit
  $ cortex-ledger query ./audit --outcome success
  $ cortex-ledger verify ./audit`

/** The command that the arguments call; all of them where that is none, so that the help and the suggestions know them. */
function wantedNames(args: readonly string[]): readonly string[] {
  const name = args.find((arg) => !arg.startsWith('-'))
  return name !== undefined && Object.hasOwn(COMMANDS, name) ? [name] : Object.keys(COMMANDS)
}

async function makeProgram(terminal: Terminal, { stdout }: Streams, names: readonly string[]): Promise<Command> {
  const program = new Command('cortex-ledger')
  program
    .description('The flight recorder for AI agents: record, find and verify what they did.')
    .version(packageVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show this help')
    .helpCommand('help [command]', 'show the help of a command')
    .usage('<command> [LEDGER] [options]')
    .showSuggestionAfterError()
    .showHelpAfterError('(--help shows how)')
    .exitOverride()
    .configureHelp({ styleTitle: (title) => terminal.colours.bold(title) })
    .configureOutput({
      writeOut: (text) => void stdout.write(text),
      writeErr: (text) => terminal.write(text),
      getOutHasColors: () => terminal.colours.isColorSupported,
      getErrHasColors: () => terminal.stderrColours.isColorSupported,
    })
    .addHelpText('after', HELP)
  for (const name of names) (await COMMANDS[name]!())(program, terminal)
  return program
}

/**
 * Runs one command.
 * @param args without the names of node and of the script
 * @param streams `process`, unless another program runs the command
 * @returns the exit code; everything that has to be said has been said
 */
export async function main(args: readonly string[], streams: Streams = process): Promise<number> {
  const terminal = new Terminal(streams)
  try {
    const program = await makeProgram(terminal, streams, wantedNames(args))
    await program.parseAsync(args, { from: 'user' })
    await terminal.flush()
    return terminal.exitCode
  } catch (error) {
    if (error instanceof OutputClosed) return terminal.exitCode
    // commander has said what is wrong, or shown the help that was asked for.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.misuse
    await terminal.flush().catch(() => {})
    const { exitCode, message, isBug } = endingOf(error)
    const { red, dim } = terminal.stderrColours
    terminal.say(`${red('error:')} ${message}`)
    if (isBug) terminal.say(dim('This should not happen: please report it with the lines above.'))
    return exitCode
  }
}
