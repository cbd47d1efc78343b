/** `cortex-ledger stats`: how much there is, of what, since when. */
import type { Command } from 'commander'
import type { LedgerStats } from '../index.ts'
import { LEDGER_ARGUMENT, locationOf, withLedger } from './location.ts'
import { outcomeColour } from './records.ts'
import type { Outcome } from '../verify/header.ts'
import type { Terminal } from './terminal.ts'
import { bytesText, grouped, pad, printable } from './text.ts'

export function addStats(program: Command, terminal: Terminal): void {
  program
    .command('stats')
    .summary('how much there is, of what, since when')
    .description('Prints figures of a ledger: size, head, times, records by outcome and by type, and those of its store.')
    .argument('[LEDGER]', LEDGER_ARGUMENT)
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExample:\n  $ cortex-ledger stats ./audit')
    .action(async (argument: string | undefined, options: { json?: boolean }) => {
      await withLedger(terminal, locationOf(argument), { readOnly: true }, async (ledger) => {
        const stats = await ledger.stats()
        await terminal.print(
          options.json === true ? JSON.stringify({ location: ledger.location, ...stats }) : statsText(terminal, ledger.location, stats),
        )
      })
    })
}

function figureText(name: string, value: number | string | boolean | null): string {
  if (typeof value !== 'number') return printable(String(value ?? '–'))
  return name === 'bytes' || name.endsWith('_bytes') ? bytesText(value) : grouped(value)
}

function statsText(terminal: Terminal, location: string, stats: LedgerStats): string {
  const { bold, dim } = terminal.colours
  const { kind, bytes, ...ofStore } = stats.store
  const { text } = stats
  const ofText = text === null ? {} : { text_index_bytes: text.bytes, text_index_lag_records: text.lag_records }
  const figures = { ...ofStore, ...ofText }
  const width = Object.keys(figures).reduce((most, name) => Math.max(most, name.length), 'first recorded'.length) + 2
  const line = (name: string, value: string): string => `${dim(pad(name, width))}${value}`
  const counts = (
    title: string,
    figures: { readonly [name: string]: number },
    style: (name: string) => (text: string) => string,
  ): string[] => {
    const names = Object.entries(figures).toSorted((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
    const width = names.reduce((most, [, count]) => Math.max(most, grouped(count).length), 0)
    return ['', bold(title), ...names.map(([name, count]) => `  ${pad(grouped(count), width, 'right')}  ${style(name)(printable(name))}`)]
  }
  return [
    `${bold(printable(location))} (${kind})`,
    line('origin', printable(stats.origin ?? '–')),
    line('records', grouped(stats.size)),
    line('bytes', bytesText(bytes)),
    line('first recorded', stats.recorded.first ?? '–'),
    line('last recorded', stats.recorded.last ?? '–'),
    line('head', stats.head ?? '–'),
    ...Object.entries(figures).map(([name, value]) => line(name.replaceAll('_', ' '), figureText(name, value))),
    ...counts('by outcome', stats.outcomes, (name) => outcomeColour(terminal.colours, name as Outcome)),
    ...counts('by type', stats.types, () => (text) => text),
  ].join('\n')
}
