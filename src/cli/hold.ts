/** `cortex-ledger hold`: legal holds, which keep records from being erased or moved. */
import type { Command } from 'commander'
import type { LegalHold } from '../index.ts'
import { asked, Misuse } from './errors.ts'
import { addFilterOptions, criteriaOf, FILTER_HELP } from './filters.ts'
import type { FilterOptions } from './filters.ts'
import { LEDGER_ARGUMENT, locationOf, withLedger } from './location.ts'
import { addSigningOptions, signingOf } from './signing.ts'
import type { SigningOptions } from './signing.ts'
import type { Terminal } from './terminal.ts'
import { counted, printable, table } from './text.ts'

interface HoldFlags extends FilterOptions, SigningOptions {
  readonly reason?: string
  readonly case?: string
  readonly id?: string
  readonly json?: boolean
}

export function addHold(program: Command, terminal: Terminal): void {
  const hold = program
    .command('hold')
    .summary('legal holds: place, release, list')
    .description('What fits a legal hold is neither erased nor moved, however that comes, until the hold is released. Both are recorded.')
  hold.addHelpText(
    'after',
    '\nExample:\n  $ cortex-ledger hold place ./audit --correlation-id task-42 --case "case 2026-17" --reason "dispute"',
  )
  addPlace(hold, terminal)
  addRelease(hold, terminal)
  addList(hold, terminal)
}

/** @throws Misuse */
function saidOf({ reason, case: matter }: HoldFlags): { readonly reason: string; readonly case: string } {
  if (reason === undefined || matter === undefined)
    throw new Misuse('--reason and --case say why, and for which matter: they stay in the ledger, so name nobody')
  return { reason, case: matter }
}

function addPlace(hold: Command, terminal: Terminal): void {
  addSigningOptions(addFilterOptions(hold.command('place')))
    .summary('place a hold')
    .description('Nothing that fits is erased or moved from here on: what is there, and what comes.')
    .argument('[LEDGER]', LEDGER_ARGUMENT)
    .option('--case <reference>', 'the case or matter')
    .option('--reason <text>', 'why; it stays in the ledger for ever')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `${FILTER_HELP}\n\nExample:\n  $ cortex-ledger hold place ./audit --actor analyst --case "case 2026-17" --reason "dispute"`,
    )
    .action(async (argument: string | undefined, flags: HoldFlags) => {
      const said = saidOf(flags)
      const criteria = criteriaOf(flags)
      await withLedger(terminal, locationOf(argument), { create: false, ...signingOf(flags) }, async (ledger) => {
        const id = await asked(() => ledger.retention.placeHold(criteria, said))
        const records = await ledger.count(criteria)
        if (flags.json === true) return terminal.print(JSON.stringify({ hold: id, records }))
        return terminal.print(`${id}\nholds ${counted(records, 'record')} that are there, and those that come`)
      })
    })
}

function addRelease(hold: Command, terminal: Terminal): void {
  addSigningOptions(hold.command('release'))
    .summary('release a hold')
    .description('What it held may be moved and erased again.')
    .argument('[LEDGER]', LEDGER_ARGUMENT)
    .option('--id <hold>', 'as `hold list` shows it')
    .option('--case <reference>', 'the case or matter')
    .option('--reason <text>', 'why; it stays in the ledger for ever')
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExample:\n  $ cortex-ledger hold release ./audit --id 019b… --case "case 2026-17" --reason "settled"')
    .action(async (argument: string | undefined, flags: HoldFlags) => {
      const said = saidOf(flags)
      const { id } = flags
      if (id === undefined) throw new Misuse('which hold? Give its --id, as `hold list` shows it')
      await withLedger(terminal, locationOf(argument), { create: false, ...signingOf(flags) }, async (ledger) => {
        const receipt = await ledger.retention.releaseHold(id, said)
        return terminal.print(flags.json === true ? JSON.stringify({ hold: id, receipt }) : `released ${id} at position ${receipt.seq}`)
      })
    })
}

function addList(hold: Command, terminal: Terminal): void {
  hold
    .command('list')
    .summary('show the holds')
    .description('Shows all holds, oldest first, those that were released among them.')
    .argument('[LEDGER]', LEDGER_ARGUMENT)
    .option('--json', 'print one JSON object a line')
    .addHelpText('after', '\nExample:\n  $ cortex-ledger hold list ./audit')
    .action(async (argument: string | undefined, flags: HoldFlags) => {
      await withLedger(terminal, locationOf(argument), { readOnly: true }, async (ledger) => {
        const holds = await ledger.retention.holds()
        const lines = flags.json === true ? holds.map((each) => JSON.stringify(each)) : listing(holds, terminal)
        for (const line of lines) await terminal.print(line)
      })
    })
}

function listing(holds: readonly LegalHold[], { colours, width }: Terminal): string[] {
  if (holds.length === 0) return ['the ledger has no legal hold']
  return table(
    holds,
    [
      { title: 'id', text: ({ id }) => id },
      { title: 'placed', text: ({ placed_at }) => placed_at.slice(0, 19) },
      { title: 'released', text: ({ released_at }) => released_at?.slice(0, 19) ?? '–' },
      { title: 'case', text: (each) => printable(each.case), width_min: 10 },
      { title: 'about', text: ({ criteria }) => printable(JSON.stringify(criteria)), width_min: 20 },
    ],
    { width, title: colours.bold },
  )
}
