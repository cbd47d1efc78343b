/** `cortex-ledger tail`: the last records, and with -f those that any process adds from then on. */
import { setImmediate as turnOfTheLoop } from 'node:timers/promises'
import type { Command } from 'commander'
import type { AuditLedger, LedgerRecord } from '../index.ts'
import type { Criteria } from '../ledger/query.ts'
import { addFilterOptions, criteriaOf, FILTER_HELP, integerOf } from './filters.ts'
import type { FilterOptions } from './filters.ts'
import { LEDGER_ARGUMENT, locationOf, withLedger } from './location.ts'
import { recordLine } from './records.ts'
import type { Terminal } from './terminal.ts'

interface TailOptions extends FilterOptions {
  readonly follow?: boolean
  readonly lines?: string
  readonly json?: boolean
}

const LINES_DEFAULT = 10
/** As many as one page of a query may have. */
const LINES_MAX = 10_000

export function addTail(program: Command, terminal: Terminal): void {
  const command = program
    .command('tail')
    .summary('show the last records, and follow')
    .description(
      'Prints the last records, oldest first. With -f it goes on with every record that any process adds, once and in order, until Ctrl-C, which ends it with 0.',
    )
    .argument('[LEDGER]', LEDGER_ARGUMENT)
    .option('-f, --follow', 'go on with what is added')
    .option('-n, --lines <n>', `records to begin with (default: ${LINES_DEFAULT}, at most ${LINES_MAX})`)
  addFilterOptions(command)
    .option('--json', 'print the record lines, byte for byte')
    .addHelpText('after', `${FILTER_HELP}\n\nExample:\n  $ cortex-ledger tail ./audit -f --outcome failure --outcome denied`)
    .action(async (argument: string | undefined, options: TailOptions) => {
      const location = locationOf(argument)
      const lines = options.lines === undefined ? LINES_DEFAULT : integerOf('--lines', options.lines, 0)
      const criteria = criteriaOf(options)
      const show = (record: LedgerRecord): Promise<void> =>
        terminal.print(options.json === true ? record.line : recordLine(record, terminal.colours, terminal.width))
      await withLedger(terminal, location, { readOnly: true }, async (ledger) => {
        const next = await printLast(ledger, criteria, Math.min(lines, LINES_MAX), show)
        await terminal.flush()
        if (options.follow === true) await follow(terminal, ledger, criteria, next, show)
      })
    })
}

/** @returns the position from which nothing has been shown */
async function printLast(
  ledger: AuditLedger,
  criteria: Criteria,
  lines: number,
  show: (record: LedgerRecord) => Promise<void>,
): Promise<number> {
  // The size is read first: a record that comes between the two is either in the page or at a position behind it.
  const { size } = await ledger.head()
  if (lines === 0) return size
  const { records } = await ledger.query({ ...criteria, order: 'newest', limit: lines })
  for (const record of records.toReversed()) await show(record)
  return Math.max(size, (records[0]?.seq ?? -1) + 1)
}

/** Follows what any process adds, until it is told to stop. */
async function follow(
  terminal: Terminal,
  ledger: AuditLedger,
  criteria: Criteria,
  from: number,
  show: (record: LedgerRecord) => Promise<void>,
): Promise<void> {
  const interrupted = new AbortController()
  const stop = (): void => interrupted.abort()
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  try {
    const records = ledger.subscribe({ from, filter: criteria, signal: interrupted.signal })
    for (let next = records.next(); ;) {
      // What was printed is shown before more is waited for.
      const isThere = await Promise.race([next.then(() => true), turnOfTheLoop(false)])
      if (!isThere) await terminal.flush()
      const { value, done } = await next
      if (done === true) return
      next = show(value).then(() => records.next())
    }
  } finally {
    process.removeListener('SIGINT', stop)
    process.removeListener('SIGTERM', stop)
  }
}
