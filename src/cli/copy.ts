/** `cortex-ledger copy`: a ledger in another place or another store, byte for byte, verified. */
import type { Command } from 'commander'
import type { CopyProgress } from '../ledger/copy.ts'
import { copyLedger } from '../open-copy.ts'
import { shownLocation } from '../open-store.ts'
import { asked, Misuse } from './errors.ts'
import { LEDGER_ARGUMENT, locationOf } from './location.ts'
import { Progress } from './progress.ts'
import { leftText } from './retention.ts'
import type { Terminal } from './terminal.ts'
import { counted, grouped, printable } from './text.ts'

export function addCopy(program: Command, terminal: Terminal): void {
  program
    .command('copy')
    .summary('copy a ledger into any store, or bring a copy up to date')
    .description(
      'Copies every record of SOURCE byte for byte into TARGET, or those that TARGET has not yet, and verifies all of TARGET. Proofs and checkpoints of SOURCE hold for it. TARGET is a replica: it can be read, and recorded in only after promote.',
    )
    .argument('[SOURCE]', LEDGER_ARGUMENT)
    .argument(
      '[TARGET]',
      'where to: a directory (JSONL), a file ending in .db (SQLite), or a URL (PostgreSQL); new, or a replica of SOURCE',
    )
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
A copy that was interrupted, or whose SOURCE has gone on, is continued by the same command. A TARGET that is no beginning
of SOURCE is refused.

Example:
  $ cortex-ledger copy ./audit audit.db && cortex-ledger query audit.db --outcome denied`,
    )
    .action(async (first: string | undefined, second: string | undefined, options: { readonly json?: boolean }) => {
      // One argument is the target: then CORTEX_LEDGER says which ledger.
      const [argument, target] = second === undefined ? [undefined, first] : [first, second]
      if (target === undefined) throw new Misuse('copy what, and where to? Give SOURCE and TARGET')
      const [source, to] = [locationOf(argument), locationOf(target)]
      const progress = new Progress(terminal)
      const report = await asked(() =>
        copyLedger(source, to, { onProgress: (come) => progress.update((ms) => progressText(come, ms)) }),
      ).finally(() => progress.clear())
      if (options.json === true) return terminal.print(JSON.stringify(report))
      const { size, previous_size, origin, root, erased, left } = report
      const before = previous_size === null ? '' : `, ${counted(size - previous_size, 'new record')} among them`
      const gone = erased === 0 ? [] : [`erased ${counted(erased, 'entry', 'entries')} there as well`]
      const copied = `${printable(shownLocation(to))} is a verified replica of ${printable(origin)}: ${counted(size, 'record')}${before}, root ${root.slice(0, 16)}…`
      return terminal.print([copied, ...gone, ...leftText(left, terminal.colours)].join('\n'))
    })
}

function progressText({ phase, records, size }: CopyProgress, elapsed_ms: number): string {
  const of = size === null ? '' : ` of ${grouped(size)}`
  const rate = phase === 'copying' ? `, ${grouped(Math.round((records * 1000) / elapsed_ms))} a second` : ''
  return `${phase} ${grouped(records)}${of}${rate}`
}
