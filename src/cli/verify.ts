/** `cortex-ledger verify`: what can be claimed of a ledger, what can't, and where it is broken. */
import type { Command } from 'commander'
import { verifyLedger } from '../index.ts'
import type { Problem, VerificationReport, Verdict, Verdicts, Where } from '../index.ts'
import { EXIT, Misuse } from './errors.ts'
import { LEDGER_ARGUMENT, placeToVerify } from './location.ts'
import { isOrigin, ORIGIN_RULE } from '../verify/origin.ts'
import { Progress } from './progress.ts'
import { verifyPublished } from './published.ts'
import type { Colours, Terminal } from './terminal.ts'
import { counted, cut, folded, grouped, pad, printable, table } from './text.ts'

interface VerifyOptions {
  readonly json?: boolean
  readonly origin?: string
  readonly canonical?: boolean
  readonly key: readonly string[]
  readonly since: readonly string[]
  readonly policy?: string
  readonly quiet?: boolean
}

const gathered = (value: string, before: readonly string[]): readonly string[] => [...before, value]

export function addVerify(program: Command, terminal: Terminal): void {
  program
    .command('verify')
    .summary('check every record')
    .description(
      'Checks every record and changes nothing. Works on ledgers that are too damaged to open, and on one exported .jsonl file. Ends with 1 where a verdict fails.',
    )
    .argument('[LEDGER]', `${LEDGER_ARGUMENT}; or an exported .jsonl file; or a published log, by its directory or http(s) address`)
    .option('--origin <line>', 'fail unless the ledger is the one of this origin')
    .option('--key <vkey>', 'a verifier key (repeatable): the checkpoint of a published log must be signed by one of them', gathered, [])
    .option('--since <file>', 'a signed checkpoint from before (repeatable), which a published log must continue', gathered, [])
    .option('--policy <file>', 'a C2SP tlog-policy file: logs and witnesses to believe, of a published log')
    .option('--canonical', "also check that every entry's bytes are canonical JSON")
    .option('--quiet', 'print nothing: the exit code tells')
    .option('--json', 'print the report as one JSON object')
    .addHelpText(
      'after',
      `
Four verdicts, kept apart because they are different claims: integrity, authenticity, completeness, time. Each is
pass, fail or not checked. "Not checked" is no failure, and no success either.

Example:
  $ cortex-ledger verify ./audit --origin example.com/agents/prod`,
    )
    .action(async (argument: string | undefined, options: VerifyOptions) => {
      const location = placeToVerify(argument)
      if (options.origin !== undefined && !isOrigin(options.origin))
        throw new Misuse(`--origin ${JSON.stringify(options.origin)}: ${ORIGIN_RULE}`)
      const progress = new Progress(terminal)
      const began = performance.now()
      const report = await reportOn(location, options, progress).finally(() => progress.clear())
      const elapsed_ms = performance.now() - began
      // Set before anything is printed: `verify … | head -1` is to end with what was found.
      terminal.exitCode = report.ok ? EXIT.ok : EXIT.problems
      if (options.quiet === true) return
      if (options.json === true) await terminal.print(JSON.stringify(report))
      else await terminal.print(reportText(report, { location, elapsed_ms, colours: terminal.colours, width: terminal.width }).join('\n'))
    })
}

async function reportOn(location: string, options: VerifyOptions, progress: Progress): Promise<VerificationReport> {
  const { origin, key: keys, since, policy } = options
  const onProgress = (lines: number): void =>
    progress.update((ms) => `${counted(lines, 'record')} checked, ${grouped(Math.round((lines * 1000) / ms))} a second`)
  const published = await verifyPublished(location, { origin, keys, since, policy, onProgress })
  if (published !== null) return published
  if (keys.length + since.length > 0 || policy !== undefined)
    throw new Misuse('--key, --since and --policy are for published logs: this is a ledger')
  return verifyLedger(location, { ...(origin !== undefined && { origin }), canonicalEntries: options.canonical === true, onProgress })
}

/** What each verdict claims when it passes, and what it denies when it fails. */
const CLAIMS: { readonly [name in keyof Verdicts]: readonly [pass: string, fail: string] } = {
  integrity: [
    'every record is what it was when it was hashed, and in its place',
    'not every record is what it was, in its place: see below',
  ],
  authenticity: ['the holder of the key said so', 'this is not what the holder of the key said'],
  completeness: ['nothing is missing, at the end or from a view that others saw', 'records are missing that were there before'],
  time: ['it existed by the time that it says', 'it did not exist by the time that it says'],
}

export function verdictColour(colours: Colours, verdict: Verdict): (text: string) => string {
  return verdict === 'pass' ? colours.green : verdict === 'fail' ? colours.red : colours.yellow
}

export function whereText(where: Where | null): string {
  if (where === null) return ''
  return 'row' in where ? `row ${where.row}` : `${where.file}:${where.byte}`
}

/** A hash is told by its beginning; two of them differ there already. */
function evidence(text: string | null): string {
  if (text === null) return ''
  return text.replace(/\b([0-9a-f]{12})[0-9a-f]{52}\b/g, '$1…')
}

export function problemTable(problems: readonly Problem[], colours: Colours, width: number): string[] {
  return table(
    problems,
    [
      { title: 'seq', text: ({ seq }) => (seq === null ? '?' : String(seq)), align: 'right' },
      { title: 'problem', text: ({ code }) => code, style: colours.red },
      { title: 'where', text: ({ where }) => whereText(where), width_min: 16 },
      { title: 'expected', text: ({ expected }) => evidence(expected), style: colours.green, width_min: 13, drop: 1 },
      { title: 'found', text: ({ found }) => evidence(found), style: colours.yellow, width_min: 13, drop: 2 },
    ],
    { width, title: colours.bold },
  )
}

/** Columns before the meaning of a verdict. */
const VERDICT_INDENT = 27

interface Presentation {
  readonly location: string
  readonly elapsed_ms: number
  readonly colours: Colours
  readonly width: number
}

export function verdictLines(report: VerificationReport, colours: Colours, width: number): string[] {
  return (Object.keys(CLAIMS) as (keyof Verdicts)[]).flatMap((name) => {
    const verdict = report.verdicts[name]
    const [pass, fail] = CLAIMS[name]
    const meaning = verdict === 'pass' ? pass : verdict === 'fail' ? fail : `would need: ${report.missing[name] ?? 'more than was given'}`
    const [first = '', ...rest] = folded(printable(meaning), width - VERDICT_INDENT)
    return [
      `${colours.bold(pad(name, 13))} ${verdictColour(colours, verdict)(pad(verdict, 12))} ${first}`,
      ...rest.map((line) => ' '.repeat(VERDICT_INDENT) + line),
    ]
  })
}

function reportText(report: VerificationReport, { location, elapsed_ms, colours, width }: Presentation): string[] {
  const { bold, dim, green, red, yellow } = colours
  const line = (name: string, value: string): string => `${dim(pad(name, 10))}${value}`
  const { first, last } = report.recorded
  const lines = [
    bold(printable(location)),
    line('origin', printable(report.origin ?? '–')),
    line('size', counted(report.size, 'record')),
    ...(first === null || last === null ? [] : [line('recorded', `${printable(first)} to ${printable(last)}`)]),
    line('head', report.head ?? '–'),
    '',
    ...verdictLines(report, colours, width),
    '',
    ...checkLines(report, colours),
  ]
  if (report.problems_total > 0) {
    const shown = report.problems.length < report.problems_total ? `, of which the first ${grouped(report.problems.length)}` : ''
    lines.push('', bold(red(counted(report.problems_total, 'problem'))) + shown, ...problemTable(report.problems, colours, width))
  }
  for (const { seq, text, where } of report.notes) {
    const at = [seq === null ? '' : `seq ${seq}`, whereText(where)].filter((part) => part !== '').join(', ')
    lines.push(yellow(cut(`note: ${printable(text)}${at === '' ? '' : ` (${printable(at)})`}`, width)))
  }
  const verdict = report.ok ? green('no problem found') : red(`NOT WHAT WAS RECORDED: ${counted(report.problems_total, 'problem')}`)
  const unchecked = Object.values(report.verdicts).filter((one) => one === 'not checked').length
  const caveat = unchecked === 0 ? '' : `; ${unchecked} of 4 claims not checked`
  return [...lines, '', `${verdict}${caveat} ${dim(`(${counted(report.size, 'record')} in ${grouped(Math.round(elapsed_ms))} ms)`)}`]
}

const CHECK_NAMES: { readonly [name in keyof VerificationReport['checks']]-?: string } = {
  run_ids_unique: 'run_ids unique',
  stream_versions: 'stream versions gapless',
  entries_canonical: 'entries canonical',
  columns: "the store's columns agree with the records",
  signatures: "the records' own signatures",
  entries: 'entries are what the headers commit to',
  tiles: 'tiles and bundles are what the headers give',
}

function checkLines(report: VerificationReport, colours: Colours): string[] {
  const lines = (Object.keys(CHECK_NAMES) as (keyof VerificationReport['checks'])[]).flatMap((name) => {
    const { verdict, missing } = report.checks[name] ?? {}
    if (verdict === undefined) return []
    const needed =
      name === 'entries_canonical' && report.checks.entries === undefined
        ? '--canonical asks for it'
        : `would need: ${printable(missing ?? '')}`
    return `${colours.dim('·')} ${CHECK_NAMES[name]}: ${verdictColour(colours, verdict)(verdict)}${verdict === 'not checked' ? colours.dim(` (${needed})`) : ''}`
  })
  const { erased, archived, unnamed, pending } = report.withheld
  if (erased + archived + unnamed + pending > 0) {
    lines.push(
      `${colours.dim('·')} entries withheld: ${erased} erased, ${archived} archived, ${unnamed} that no record names; ${pending} named and still there`,
    )
  }
  return lines
}
