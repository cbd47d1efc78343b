/** `cortex-ledger keys pseudonym`: what somebody is called in the ledger's headers. */
import type { Command } from 'commander'
import { asked, Misuse } from './errors.ts'
import { BadLine, openInput, readLines } from './lines.ts'
import type { Terminal } from './terminal.ts'

interface Options {
  readonly kind?: string
  readonly create?: boolean
  readonly json?: boolean
}

export function addPseudonym(keys: Command, terminal: Terminal): void {
  keys
    .command('pseudonym')
    .summary('compute the pseudonym of somebody')
    .description(
      'Prints the pseudonym that a name has under the key of a file, one a line. Without a NAME, names are read from stdin, one a line: what stands in a command can be seen by others on this machine, and is kept by shells. A name counts byte by byte: give one person always in one spelling.',
    )
    .argument('<FILE>', 'the key of pseudonyms, which is kept apart from the ledger')
    .argument('[NAME...]', 'whose; from stdin if absent')
    .option('--kind <word>', 'the word before the hash (person if absent); two kinds of one name have nothing in common')
    .option('--create', 'make the key where the file is not there')
    .option('--json', 'print one JSON object a line, with the name')
    .addHelpText(
      'after',
      `
Example:
  $ cortex-ledger query ./audit --actor "$(cortex-ledger keys pseudonym ./people.key ann@example.org)"`,
    )
    .action(async (file: string, names: readonly string[], { kind, create, json }: Options) => {
      const { Pseudonyms } = await import('../ledger/pseudonyms.ts')
      const people = await asked(() => Pseudonyms.open(file, { kind, create }))
      for await (const name of names.length > 0 ? names : namesFrom(terminal)) {
        const pseudonym = await asked(async () => people.of(name))
        await terminal.print(json === true ? JSON.stringify({ name, pseudonym }) : pseudonym)
      }
    })
}

async function* namesFrom(terminal: Terminal): AsyncGenerator<string, void, undefined> {
  for await (const { number, text } of readLines(await openInput(undefined, terminal))) {
    if (text instanceof BadLine) throw new Misuse(`line ${number}: ${text.message}`)
    // Else the same name would have another pseudonym on Windows.
    yield text.endsWith('\r') ? text.slice(0, -1) : text
  }
}
