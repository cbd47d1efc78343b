/** `cortex-ledger archive` and `restore`: chosen entries to the archive, and back. */
import type { Command } from 'commander'
import { addArchiveOption, archiveOf } from './archive-option.ts'
import type { ArchiveOption } from './archive-option.ts'
import { Misuse } from './errors.ts'
import { addFilterOptions, criteriaOf, FILTER_HELP, integerOf } from './filters.ts'
import type { FilterOptions } from './filters.ts'
import type { RestoreRequest } from '../index.ts'
import { LEDGER_ARGUMENT, locationOf, withLedger } from './location.ts'
import { appliedText, leftText, withProgress } from './retention.ts'
import { addSigningOptions, signingOf } from './signing.ts'
import type { SigningOptions } from './signing.ts'
import type { Terminal } from './terminal.ts'
import { bytesText, counted } from './text.ts'

interface ChoiceFlags extends FilterOptions, ArchiveOption, SigningOptions {
  readonly from?: string
  readonly before?: string
  readonly all?: boolean
  readonly tier?: string
  readonly reason?: string
  readonly json?: boolean
}

function addChoiceOptions(command: Command, what: string): Command {
  return addSigningOptions(
    addArchiveOption(
      addFilterOptions(command)
        .argument('[LEDGER]', LEDGER_ARGUMENT)
        .option('--from <seq>', 'from this position on')
        .option('--before <seq>', 'up to and without this position')
        .option('--all', 'all records'),
      what,
    ),
  )
    .option('--reason <text>', 'why; it stays in the ledger for ever')
    .option('--json', 'print one JSON object')
}

/** @throws Misuse where nothing is chosen */
function choiceOf(flags: ChoiceFlags): RestoreRequest {
  const where = criteriaOf(flags)
  const request = {
    from: flags.from === undefined ? undefined : integerOf('--from', flags.from, 0),
    before: flags.before === undefined ? undefined : integerOf('--before', flags.before, 1),
    where,
  }
  const isChosen = Object.keys(where).length > 0 || request.from !== undefined || request.before !== undefined
  if (!isChosen && flags.all !== true) throw new Misuse('which records? Give --run-id, --recorded-until, --from or the like, or --all')
  return request
}

export function addArchive(program: Command, terminal: Terminal): void {
  addChoiceOptions(program.command('archive'), 'where they go')
    .summary('move entries to the archive')
    .description(
      'Moves the entries of the records that fit to the archive, or compresses them in the ledger, whatever their age. Each file is read back and compared before anything leaves the ledger. What is under legal hold stays.',
    )
    .option('--tier <tier>', 'cold: to the archive (if absent), or warm: compressed, in the ledger')
    .addHelpText(
      'after',
      `${FILTER_HELP}\n\nExample:\n  $ cortex-ledger archive ./audit --recorded-until 2026-01-01 --archive /mnt/archive`,
    )
    .action(async (argument: string | undefined, flags: ChoiceFlags) => {
      const request = choiceOf(flags)
      const { tier = 'cold', reason } = flags
      if (tier !== 'cold' && tier !== 'warm') throw new Misuse(`--tier ${JSON.stringify(tier)}: it is warm or cold`)
      const opening = { create: false, ...archiveOf(flags), ...signingOf(flags) }
      await withLedger(terminal, locationOf(argument), opening, async (ledger) => {
        const applied = await withProgress(terminal, (onProgress) => ledger.retention.archive(request, { tier, reason, onProgress }))
        return terminal.print(flags.json === true ? JSON.stringify(applied) : appliedText(applied, terminal).join('\n'))
      })
    })
}

export function addRestore(program: Command, terminal: Terminal): void {
  addChoiceOptions(program.command('restore'), 'where they lie')
    .summary('bring archived entries back')
    .description(
      'Brings the archived entries of the records that fit back into the ledger, each compared with what its record commits to. For the retention policy they count as new.',
    )
    .addHelpText('after', `${FILTER_HELP}\n\nExample:\n  $ cortex-ledger restore ./audit --run-id 019ab3c4-… --archive /mnt/archive`)
    .action(async (argument: string | undefined, flags: ChoiceFlags) => {
      const request = choiceOf(flags)
      const opening = { create: false, ...archiveOf(flags), ...signingOf(flags) }
      await withLedger(terminal, locationOf(argument), opening, async (ledger) => {
        const { reason } = flags
        const restored = await withProgress(terminal, (onProgress) => ledger.retention.restore(request, { reason, onProgress }))
        if (flags.json === true) return terminal.print(JSON.stringify(restored))
        const { records, bytes, files, left } = restored
        const removed = files === 0 ? [] : [`${counted(files, 'archive file')} not needed any more: removed`]
        const text = [`restored the entries of ${counted(records, 'record')}, ${bytesText(bytes)}`, ...removed]
        return terminal.print([...text, ...leftText(left, terminal.colours)].join('\n'))
      })
    })
}
