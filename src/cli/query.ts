/** `cortex-ledger query`: the records that fit, oldest first. */
import type { Command } from 'commander'
import { LIMITS } from '../ledger/limits.ts'
import { asSelection } from '../ledger/query.ts'
import type { Query } from '../ledger/query.ts'
import type { AuditLedger, LedgerRecord } from '../index.ts'
import { addArchiveOption, readingFrom } from './archive-option.ts'
import type { ArchiveOption } from './archive-option.ts'
import { asked, Misuse } from './errors.ts'
import { addFilterOptions, addTextOption, checkWords, criteriaOf, FILTER_HELP, openingFor, integerOf } from './filters.ts'
import type { FilterOptions } from './filters.ts'
import { LEDGER_ARGUMENT, locationOf, withLedger } from './location.ts'
import { recordTable } from './records.ts'
import type { Terminal } from './terminal.ts'

interface QueryOptions extends FilterOptions, ArchiveOption {
  readonly limit?: string
  readonly newest?: boolean
  readonly rank?: boolean
  readonly cursor?: string
  readonly count?: boolean
  readonly json?: boolean
}

/** Records that are asked for at once: a page is in memory as a whole, and an entry may have 16 MiB. */
const PAGE_RECORDS = 500

export function addQuery(program: Command, terminal: Terminal): void {
  const command = program
    .command('query')
    .summary('find records')
    .description(
      'Prints the records that fit, oldest first. Where there are more than the limit, stderr tells the cursor of the next page.',
    )
    .argument('[LEDGER]', LEDGER_ARGUMENT)
  addArchiveOption(addTextOption(addFilterOptions(command)), 'also read entries that lie there')
    .option('--limit <n>', `records at most (default: ${LIMITS.query_limit_default})`)
    .option('--newest', 'newest first')
    .option('--rank', 'best match of --text first')
    .option('--cursor <cursor>', 'go on where the page before ended')
    .option('--count', 'print only how many fit')
    .option('--json', 'print the record lines, byte for byte')
    .addHelpText(
      'after',
      `${FILTER_HELP}

Examples:
  $ cortex-ledger query ./audit --correlation-id task-42
  $ cortex-ledger query ./audit --text 'refund airline' --rank --limit 10
  $ cortex-ledger query ./audit --outcome denied --outcome failure --since 2026-02-08 --json`,
    )
    .action(async (argument: string | undefined, options: QueryOptions) => {
      const location = locationOf(argument)
      const limit = options.limit === undefined ? LIMITS.query_limit_default : integerOf('--limit', options.limit, 1)
      const query: Query = {
        ...criteriaOf(options),
        order: orderOf(options),
        ...(options.cursor !== undefined && { cursor: options.cursor }),
      }
      await asked(async () => asSelection(query))
      await withLedger(terminal, location, { ...openingFor(query), ...readingFrom(options) }, async (ledger) => {
        await checkWords(ledger, query)
        if (options.count === true) return printCount(terminal, ledger, options)
        return printRecords(terminal, ledger, query, limit, options.json === true)
      })
    })
}

function orderOf({ newest, rank, text }: QueryOptions): 'oldest' | 'newest' | 'rank' {
  if (rank !== true) return newest === true ? 'newest' : 'oldest'
  if (newest === true) throw new Misuse('--rank and --newest are two orders: give one of them')
  if (text === undefined) throw new Misuse('--rank needs --text: without words nothing ranks before anything else')
  return 'rank'
}

async function printCount(terminal: Terminal, ledger: AuditLedger, options: QueryOptions): Promise<void> {
  const count = await ledger.count(criteriaOf(options))
  await terminal.print(options.json === true ? JSON.stringify({ count }) : String(count))
}

async function printRecords(terminal: Terminal, ledger: AuditLedger, query: Query, limit: number, json: boolean): Promise<void> {
  const rows: LedgerRecord[] = []
  let cursor = query.cursor ?? null
  let left = limit
  do {
    const page = await ledger.query({ ...query, cursor, limit: Math.min(left, PAGE_RECORDS) })
    if (json) {
      for (const record of page.records) await terminal.print(record.line)
    } else {
      rows.push(...page.records)
    }
    left -= page.records.length
    ;({ cursor } = page)
  } while (cursor !== null && left > 0)
  if (rows.length > 0) await terminal.print(recordTable(rows, terminal.colours, terminal.width).join('\n'))
  await terminal.flush()
  const { dim } = terminal.stderrColours
  if (cursor !== null) terminal.say(dim(`there are more: --cursor ${cursor} goes on from here`))
  else if (!json && left === limit) terminal.say(dim('no record fits'))
}
