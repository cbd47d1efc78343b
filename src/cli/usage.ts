/** `cortex-ledger usage`: calls, errors, latency, tokens and cost, by whom, of what, when. */
import type { Command } from 'commander'
import { USAGE_COLUMNS, usage } from '../derive/usage.ts'
import type { Usage, UsageColumn, UsageFigures, UsageGroup } from '../derive/usage.ts'
import { Misuse } from './errors.ts'
import { quoted } from './csv.ts'
import { addFilterOptions, addTextOption, checkWords, criteriaOf, FILTER_HELP, openingFor } from './filters.ts'
import type { FilterOptions } from './filters.ts'
import { LEDGER_ARGUMENT, locationOf, withLedger } from './location.ts'
import type { Terminal } from './terminal.ts'
import { grouped, table } from './text.ts'
import type { Column } from './text.ts'

interface UsageFlags extends FilterOptions {
  readonly by?: string
  readonly json?: boolean
  readonly csv?: boolean
}

function columnsOf(by: string | undefined): UsageColumn[] {
  if (by === undefined) return ['agent', 'model']
  if (by === '') return []
  const names = by.split(',').map((name) => name.trim())
  for (const name of names) {
    if (!(USAGE_COLUMNS as readonly string[]).includes(name))
      throw new Misuse(`--by ${JSON.stringify(name)} is none: it is one of ${USAGE_COLUMNS.join(', ')}, or several with commas between`)
  }
  if (new Set(names).size < names.length) throw new Misuse(`--by ${by} names a column twice`)
  return names as UsageColumn[]
}

export function addUsage(program: Command, terminal: Terminal): void {
  const command = program
    .command('usage')
    .summary('calls, errors, latency, tokens and cost')
    .description(
      'Sums up the agent calls that fit: calls, errors, denials, latency percentiles, tokens (cached ones once) and cost, by agent and model unless said.',
    )
    .argument('[LEDGER]', LEDGER_ARGUMENT)
    .option('--by <columns>', `one or several of ${USAGE_COLUMNS.join(', ')}, with commas between; days are UTC`)
  addTextOption(addFilterOptions(command))
    .option('--json', 'print one JSON object')
    .option('--csv', 'print CSV (RFC 4180)')
    .addHelpText(
      'after',
      `${FILTER_HELP}

Errors are failures and timeouts. Percentiles are by nearest rank: exact up to 1,024 calls of a group, within 1 % beyond.

Examples:
  $ cortex-ledger usage ./audit --by agent,model,day
  $ cortex-ledger usage ./audit --by model --since 2026-02-01 --until 2026-03-01 --json`,
    )
    .action(async (argument: string | undefined, flags: UsageFlags) => {
      const location = locationOf(argument)
      const by = columnsOf(flags.by)
      if (flags.json === true && flags.csv === true) throw new Misuse('--json and --csv are two forms: give one of them')
      const criteria = criteriaOf(flags)
      await withLedger(terminal, location, openingFor(criteria), async (ledger) => {
        await checkWords(ledger, criteria)
        const figures = await usage(ledger, { ...criteria, by })
        if (flags.json === true) await terminal.print(JSON.stringify(figures))
        else if (flags.csv === true) for (const line of csvLines(figures)) await terminal.print(`${line}\r`)
        else await terminal.print(usageTable(figures, terminal).join('\n'))
      })
    })
}

function msText(ms: number | null): string {
  if (ms === null) return ''
  return ms >= 100 ? grouped(Math.round(ms)) : String(Number(ms.toPrecision(3)))
}

function costText(cost: UsageFigures['cost']): string {
  return Object.entries(cost)
    .map(([unit, amount]) => `${amount} ${unit}`)
    .join(' + ')
}

type Row = UsageGroup & { readonly isTotal?: boolean }

function usageTable({ by, groups, total }: Usage, { colours, width }: Terminal): string[] {
  const figure = (title: string, text: (row: Row) => string, drop?: number): Column<Row> => ({
    title,
    text,
    align: 'right',
    ...(drop !== undefined && { drop }),
  })
  const names = by.map((column, i): Column<Row> => ({
    title: column,
    text: ({ group, isTotal }) => (isTotal === true ? (i === 0 ? 'total' : '') : (group[column] ?? '–')),
    width_min: 10,
  }))
  const columns: Column<Row>[] = [
    ...names,
    figure('calls', ({ calls }) => grouped(calls)),
    figure('errors', ({ errors }) => grouped(errors)),
    figure('denied', ({ denials }) => grouped(denials)),
    figure('p50 ms', ({ latency_ms }) => msText(latency_ms.p50), 3),
    figure('p90 ms', ({ latency_ms }) => msText(latency_ms.p90), 5),
    figure('p99 ms', ({ latency_ms }) => msText(latency_ms.p99), 4),
    figure('input', ({ tokens }) => grouped(tokens.input), 2),
    figure('cached', ({ tokens }) => grouped(tokens.cached), 6),
    figure('output', ({ tokens }) => grouped(tokens.output), 1),
    { title: 'cost', text: ({ cost }) => costText(cost), style: colours.cyan },
  ]
  const rows: Row[] = by.length === 0 ? [{ group: {}, ...total }] : [...groups, { group: {}, ...total, isTotal: true }]
  return table(rows, columns, { width, title: colours.bold })
}

function csvLines({ by, groups, total }: Usage): string[] {
  const units = Object.keys(total.cost)
  const titles = [
    ...by,
    'calls',
    'errors',
    'denials',
    ...Object.keys(total.outcomes).map((name) => `outcome_${name}`),
    ...Object.keys(total.latency_ms).map((name) => `latency_${name === 'count' || name === 'error' ? name : `${name}_ms`}`),
    ...Object.keys(total.tokens).map((name) => `tokens_${name}`),
    ...units.map((unit) => `cost_${unit}`),
    'calls_without_tokens',
    'unreadable',
    'withheld',
  ]
  const rows = by.length === 0 ? [{ group: {}, ...total }] : groups
  const line = ({ group, ...figures }: UsageGroup): string =>
    [
      ...by.map((column) => group[column]),
      figures.calls,
      figures.errors,
      figures.denials,
      ...Object.values(figures.outcomes),
      ...Object.values(figures.latency_ms),
      ...Object.values(figures.tokens),
      ...units.map((unit) => figures.cost[unit]),
      figures.calls_without_tokens,
      figures.unreadable,
      figures.withheld,
    ]
      .map(quoted)
      .join(',')
  return [titles.map(quoted).join(','), ...rows.map(line)]
}
