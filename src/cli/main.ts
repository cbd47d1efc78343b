/** The command `cortex-ledger`: its commands, and how whatever happens becomes an exit code. */
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { addCheck } from './check.ts'
import { addCheckpoint } from './checkpoint.ts'
import { addDemo } from './demo.ts'
import { endingOf, EXIT } from './errors.ts'
import { addExport } from './export.ts'
import { addImport } from './import.ts'
import { addInit } from './init.ts'
import { addKeys } from './keys.ts'
import { addProve } from './prove.ts'
import { addPublish } from './publish.ts'
import { addQuery } from './query.ts'
import { addRecord } from './record.ts'
import { addRotate } from './rotate.ts'
import { addShow } from './show.ts'
import { addStats } from './stats.ts'
import { addTail } from './tail.ts'
import { OutputClosed, Terminal } from './terminal.ts'
import { addVerify } from './verify.ts'
import { addWitness } from './witness.ts'

function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

const HELP = `
A LEDGER is a directory (JSONL), a file ending in .db (SQLite), or a URL; without one, CORTEX_LEDGER says which.

Exit codes: 0 fine, 1 verification found problems, 2 misuse, 3 can't read or write,
4 refused (conflict, locked, there already).

Example:
  $ cortex-ledger init ./audit --origin example.com/agents/prod
  $ echo '{"agent_name":"analyst","method_name":"summarise"}' | cortex-ledger record ./audit
  $ cortex-ledger query ./audit --outcome success
  $ cortex-ledger verify ./audit`

/** Built for each run, so that a test can have its own. */
export function makeProgram(terminal: Terminal): Command {
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
      getOutHasColors: () => terminal.colours.isColorSupported,
      getErrHasColors: () => terminal.stderrColours.isColorSupported,
    })
    .addHelpText('after', HELP)
  for (const add of [
    addInit,
    addRecord,
    addImport,
    addQuery,
    addShow,
    addTail,
    addVerify,
    addCheckpoint,
    addProve,
    addCheck,
    addStats,
    addExport,
    addRotate,
    addKeys,
    addWitness,
    addPublish,
    addDemo,
  ]) {
    add(program, terminal)
  }
  return program
}

/**
 * Runs one command.
 * @param args without the names of node and of the script
 * @returns the exit code; everything that has to be said has been said
 */
export async function main(args: readonly string[]): Promise<number> {
  const terminal = new Terminal()
  try {
    await makeProgram(terminal).parseAsync(args, { from: 'user' })
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
