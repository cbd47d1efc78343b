/** `cortex-ledger state`: what a stream's events come to. */
import type { Command } from 'commander'
import { currentState } from '../derive/state.ts'
import type { CurrentState, StateOptions } from '../derive/state.ts'
import type { JsonObject } from '../index.ts'
import { LedgerError } from '../ledger/errors.ts'
import { Misuse } from './errors.ts'
import { timeOf } from './filters.ts'
import { LEDGER_ARGUMENT, locationOf, withLedger } from './location.ts'
import type { Terminal } from './terminal.ts'
import { pad, printable } from './text.ts'

interface StateFlags {
  readonly stream?: string
  readonly asOf?: string
  readonly happenedBy?: string
  readonly json?: boolean
}

export function addState(program: Command, terminal: Terminal): void {
  program
    .command('state')
    .summary('what the events of a stream come to')
    .description("Merges the data of a stream's events in their order: a member of a later event replaces that of an earlier one.")
    .argument('[LEDGER]', LEDGER_ARGUMENT)
    .option('--stream <stream>', 'the event stream')
    .option('--as-of <time>', 'as it was known then: events recorded up to it, inclusive')
    .option('--happened-by <time>', 'only events that had happened by then, inclusive')
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExample:\n  $ cortex-ledger state ./audit --stream order-1017 --as-of 2026-02-08T12:00:00Z')
    .action(async (argument: string | undefined, flags: StateFlags) => {
      const location = locationOf(argument)
      const { stream, asOf, happenedBy } = flags
      if (stream === undefined) throw new Misuse('--stream says of what: cortex-ledger query shows which streams there are')
      const options: StateOptions = {
        recordedAt: asOf === undefined ? undefined : timeOf('--as-of', asOf),
        happenedAt: happenedBy === undefined ? undefined : timeOf('--happened-by', happenedBy),
      }
      await withLedger(terminal, location, { readOnly: true }, async (ledger) => {
        const found = await currentState(ledger, stream, options)
        if (found.events === 0 && (await ledger.count({ stream })) === 0)
          throw new LedgerError('not_found', `no event is in the stream ${printable(JSON.stringify(stream))}: check its name`)
        await terminal.print(flags.json === true ? JSON.stringify(found) : stateText(found, terminal).join('\n'))
      })
    })
}

function stateText(found: CurrentState<JsonObject>, { colours }: Terminal): string[] {
  const { bold, dim, yellow } = colours
  const line = (name: string, value: string): string => `${dim(pad(name, 10))}${value}`
  return [
    bold(printable(found.stream)),
    line('events', String(found.events)),
    line('version', String(found.version ?? '–')),
    line('position', String(found.seq ?? '–')),
    line('hash', found.hash ?? '–'),
    ...(found.withheld === 0 ? [] : [yellow(`the data of ${found.withheld} of them are withheld, and not in the state`)]),
    '',
    printable(JSON.stringify(found.state, null, 2), { lines: true }),
  ]
}
