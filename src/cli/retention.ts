/** `cortex-ledger retention`: what a policy would do, and doing it. */
import type { Command } from 'commander'
import type { Reclaimed, RetentionApplied, RetentionPlan, RetentionPolicyInput, RetentionProgress, TierMoves } from '../index.ts'
import { readRetentionPolicy, RETENTION_PRESETS } from '../ledger/retention/policy.ts'
import type { PresetName } from '../ledger/retention/policy.ts'
import { addArchiveOption, archiveOf } from './archive-option.ts'
import type { ArchiveOption } from './archive-option.ts'
import { asked, Misuse } from './errors.ts'
import { integerOf } from './filters.ts'
import { LEDGER_ARGUMENT, locationOf, withLedger } from './location.ts'
import { Progress } from './progress.ts'
import { addSigningOptions, signingOf } from './signing.ts'
import type { SigningOptions } from './signing.ts'
import type { Terminal } from './terminal.ts'
import { bytesText, counted, grouped, printable, table } from './text.ts'

interface PolicyOptions extends ArchiveOption {
  readonly retentionPolicy?: string
  readonly preset?: string
  readonly json?: boolean
}

interface ApplyFlags extends PolicyOptions, SigningOptions {
  readonly rate?: string
  readonly reclaim?: boolean
  readonly join?: boolean
}

export function addRetention(program: Command, terminal: Terminal): void {
  const retention = program
    .command('retention')
    .summary('how long entries are kept where: plan, apply')
    .description(
      'Compresses entries that are old, moves them to an archive when they are older, and erases them where the policy says so. Headers, hashes and proofs stay. Nothing under legal hold is touched.',
    )
  retention.addHelpText('after', '\nExample:\n  $ cortex-ledger retention plan ./audit --archive /mnt/archive')
  addPlan(retention, terminal)
  addApply(retention, terminal)
}

function addPolicyOptions(command: Command): Command {
  return addArchiveOption(
    command
      .argument('[LEDGER]', LEDGER_ARGUMENT)
      .option(
        '--retention-policy <file>',
        'a JSON file: hotDays, warmDays, eraseAfterDays, floorDays, …; hot 7 days, warm 30, then cold if absent',
      )
      .option('--preset <name>', `in place of a file: ${Object.keys(RETENTION_PRESETS).join(', ')}`),
    'where cold entries go',
  )
}

async function policyOf({ retentionPolicy, preset }: PolicyOptions): Promise<RetentionPolicyInput> {
  if (retentionPolicy !== undefined && preset !== undefined) throw new Misuse('give --retention-policy or --preset, one of them')
  if (retentionPolicy !== undefined) return readRetentionPolicy(retentionPolicy)
  if (preset === undefined) return {}
  if (!Object.hasOwn(RETENTION_PRESETS, preset))
    throw new Misuse(`--preset ${JSON.stringify(preset)} is none: it is one of ${Object.keys(RETENTION_PRESETS).join(', ')}`)
  return { preset: preset as PresetName }
}

function addPlan(retention: Command, terminal: Terminal): void {
  addPolicyOptions(retention.command('plan'))
    .summary('show what apply would do')
    .description('Shows what `retention apply` would do now with the same options, and why it would leave the rest. Changes nothing.')
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExample:\n  $ cortex-ledger retention plan ./audit --preset 6-months')
    .action(async (argument: string | undefined, options: PolicyOptions) => {
      const policy = await policyOf(options)
      await withLedger(terminal, locationOf(argument), { readOnly: true, ...archiveOf(options) }, async (ledger) => {
        const plan = await asked(() => ledger.retention.plan(policy))
        return terminal.print(options.json === true ? JSON.stringify(plan) : planText(plan, terminal).join('\n'))
      })
    })
}

function planText(plan: RetentionPlan, { colours, width }: Terminal): string[] {
  const { kept } = plan
  const tiers = table(
    (['hot', 'warm', 'cold'] as const).map((tier) => ({ tier, ...plan.tiers[tier] })),
    [
      { title: 'tier', text: ({ tier }) => tier },
      { title: 'records', text: ({ records }) => grouped(records), align: 'right' },
      { title: 'entries', text: ({ bytes }) => bytesText(bytes), align: 'right' },
      { title: 'kept in', text: ({ stored_bytes }) => bytesText(stored_bytes), align: 'right' },
    ],
    { width, title: colours.bold },
  )
  const steps = plan.steps.map(({ move, from, records, bytes }) => {
    const what = move === 'erase' ? `erase from ${from}` : `${from} to ${move}`
    return `  ${what}: ${counted(records, 'record')}, ${bytesText(bytes)}`
  })
  const why = (count: number, text: string): string[] => (count === 0 ? [] : [colours.yellow(`  ${counted(count, 'record')} ${text}`)])
  return [
    ...tiers,
    ...(plan.erased === 0 ? [] : [`${counted(plan.erased, 'record')} erased`]),
    '',
    ...(plan.rotates ? ['apply would first seal the live segment'] : []),
    ...(steps.length === 0 ? ['nothing is due'] : ['apply would move:', ...steps]),
    ...why(kept.held, 'stay, under legal hold'),
    ...plan.holds.filter(({ records }) => records > 0).map((hold) => `    ${hold.id} (${printable(hold.case)}): ${grouped(hold.records)}`),
    ...why(kept.floor, `are too young to be erased (floorDays ${plan.policy.floorDays})`),
    ...why(kept.live_segment, 'are in the live segment, which is not old enough to be sealed'),
    ...why(kept.lost, 'have their entry nowhere: run verify'),
  ]
}

function addApply(retention: Command, terminal: Terminal): void {
  addSigningOptions(addPolicyOptions(retention.command('apply')))
    .summary('move and erase entries as the policy says')
    .description(
      'Does what the policy says, and finishes what an earlier run has left. Each move is recorded. It can be stopped at any time, and run again.',
    )
    .option('--rate <records>', 'no more than so many records a second')
    .option('--no-reclaim', 'give the room back another time')
    .option('--no-join', 'leave small archive files as they are: for an archive whose files can not be removed, or cost to be read')
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExample:\n  $ cortex-ledger retention apply ./audit --archive s3://audit-archive/prod?region=eu-central-1')
    .action(async (argument: string | undefined, options: ApplyFlags) => {
      const policy = await policyOf(options)
      const recordsPerSecond = options.rate === undefined ? undefined : integerOf('--rate', options.rate, 1)
      const opening = { create: false, ...archiveOf(options), ...signingOf(options) }
      await withLedger(terminal, locationOf(argument), opening, async (ledger) => {
        const applied = await withProgress(terminal, (onProgress) =>
          ledger.retention.apply(policy, { recordsPerSecond, reclaim: options.reclaim, join: options.join, onProgress }),
        )
        return terminal.print(options.json === true ? JSON.stringify(applied) : appliedText(applied, terminal).join('\n'))
      })
    })
}

/** Work on entries, which tells how far it is where somebody watches. @throws as `asked` */
export async function withProgress<T>(terminal: Terminal, work: (onProgress: (now: RetentionProgress) => void) => Promise<T>): Promise<T> {
  const progress = new Progress(terminal)
  const onProgress = ({ step, records }: RetentionProgress): void => progress.update(() => `${step}: ${counted(records, 'record')}`)
  return asked(() => work(onProgress)).finally(() => progress.clear())
}

/** What was moved, in sentences. */
export function appliedText(applied: RetentionApplied, { colours }: Terminal): string[] {
  const { warm, cold, erased, reclaimed } = applied
  const moved = ({ records, bytes, stored_bytes, files }: TierMoves, where: string): string[] =>
    records === 0
      ? []
      : [
          `${counted(records, 'entry', 'entries')} ${where}: ${bytesText(bytes)} in ${counted(files, 'file')}, ${bytesText(Math.max(0, stored_bytes))} more there`,
        ]
  const lines = [
    ...(applied.finished === 0 ? [] : [`finished what an earlier run had left: ${counted(applied.finished, 'record')}`]),
    ...(applied.rotated ? ['sealed the live segment'] : []),
    ...moved(warm, 'compressed'),
    ...moved(cold, 'moved to the archive'),
    ...(erased === 0 ? [] : [`erased ${counted(erased, 'record')}`]),
    ...(reclaimed === null ? [] : [reclaimedText(reclaimed)]),
  ]
  return [...(lines.length === 0 ? ['nothing was due'] : lines), ...leftText(applied.left, colours)]
}

/** Some stores give the room back with each move, others only now. */
function reclaimedText({ bytes_before, bytes_after }: Reclaimed): string {
  const now = bytesText(bytes_after)
  return bytes_after < bytes_before ? `the ledger took ${bytesText(bytes_before)} and takes ${now} now` : `the ledger takes ${now} now`
}

export function leftText(left: readonly string[], colours: Terminal['colours']): string[] {
  return left.length === 0 ? [] : [colours.yellow('left:'), ...left.map((text) => `  ${printable(text)}`)]
}
