/** `cortex-ledger report`: who did what, when, with what outcome, under which policy, and who approved. */
import type { FileHandle } from 'node:fs/promises'
import type { Command } from 'commander'
import { auditReportHtml } from '../derive/audit-html.ts'
import { auditReportJson } from '../derive/audit-json.ts'
import { auditReport } from '../derive/audit-report.ts'
import { readTrustedKey } from '../ledger/evidence.ts'
import { verifyLedger } from '../open-verify.ts'
import type { VerificationReport } from '../index.ts'
import { EXIT, Misuse } from './errors.ts'
import { addFilterOptions, addTextOption, checkWords, criteriaOf, FILTER_HELP, gather, openingFor } from './filters.ts'
import type { FilterOptions } from './filters.ts'
import { LEDGER_ARGUMENT, locationOf, withLedger } from './location.ts'
import { refuseLedgerAsOutput, replaceFile } from './output-file.ts'
import type { Terminal } from './terminal.ts'
import { counted, printable } from './text.ts'

interface ReportFlags extends FilterOptions {
  readonly output?: string
  readonly json?: boolean
  readonly verify?: boolean
  readonly key?: string[]
}

export function addReport(program: Command, terminal: Terminal): void {
  const command = program
    .command('report')
    .summary('an audit report: who did what, when, and who approved')
    .description(
      "Writes the records that fit as one page of HTML, or as JSON: who, what, when, outcome, policy, approval; with the ledger's size, head, root and last checkpoint.",
    )
    .argument('[LEDGER]', LEDGER_ARGUMENT)
    .option('-o, --output <file>', 'a file, which is replaced when all is written; stdout if absent')
    .option('--json', 'one JSON object instead of the page')
    .option('--verify', 'verify the ledger, and say in the report what was found; ends with 1 where a verdict fails')
    .option('--key <vkey>', 'with --verify: a public key that you trust, from outside the ledger; can be given again', gather)
  addTextOption(addFilterOptions(command))
    .addHelpText(
      'after',
      `${FILTER_HELP}

Example:
  $ cortex-ledger report ./audit --since 2026-02-01 --until 2026-03-01 --verify -o february.html`,
    )
    .action(async (argument: string | undefined, flags: ReportFlags) => {
      const location = locationOf(argument)
      const criteria = criteriaOf(flags)
      const keys = keysOf(flags)
      const file = flags.output === undefined || flags.output === '-' ? null : flags.output
      if (file !== null) await refuseLedgerAsOutput(location, file)
      const verification = flags.verify === true ? await verifyLedger(location, { keys }) : undefined
      if (verification !== undefined) terminal.exitCode = verification.ok ? EXIT.ok : EXIT.problems
      await withLedger(terminal, location, openingFor(criteria), async (ledger) => {
        await checkWords(ledger, criteria)
        const report = await auditReport(ledger, { ...criteria, verify: verification })
        const pieces = flags.json === true ? auditReportJson(report) : auditReportHtml(report)
        if (file === null) for await (const piece of pieces) await terminal.print(piece.replace(/\n$/, ''))
        else {
          await replaceFile(file, (handle) => writeAll(handle, pieces))
          terminal.say(`a report of ${counted(report.summary.records, 'record')} written to ${printable(file)}${foundText(verification)}`)
        }
      })
    })
}

/** @throws Misuse for a key that is none, or that nothing would use */
function keysOf({ key = [], verify }: ReportFlags): readonly string[] {
  if (key.length > 0 && verify !== true) throw new Misuse('--key belongs to --verify: it says whose signatures are believed')
  try {
    for (const one of key) readTrustedKey(one)
  } catch (error) {
    if (error instanceof RangeError) throw new Misuse(`--key: ${error.message}`)
    throw error
  }
  return key
}

function foundText(report: VerificationReport | undefined): string {
  return report === undefined || report.ok ? '' : `; verification found ${counted(report.problems_total, 'problem')}`
}

/** Characters that are handed over at once. */
const CHUNK = 64 * 1024

async function writeAll(handle: FileHandle, pieces: AsyncIterable<string>): Promise<void> {
  let gathered = ''
  for await (const piece of pieces) {
    gathered += piece
    if (gathered.length < CHUNK) continue
    await handle.writeFile(gathered)
    gathered = ''
  }
  await handle.writeFile(gathered)
}
