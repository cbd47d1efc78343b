/** What a verification says, in words for people. */
import type { Note, Problem, VerificationReport, Verdict, Verdicts, Where } from '../index.ts'
import type { Colours } from './terminal.ts'
import { counted, cut, folded, grouped, pad, printable, table } from './text.ts'

const DENIED: { readonly [name in keyof Verdicts]: string } = {
  integrity: 'not every record is what it was, in its place: see below',
  authenticity: 'this is not what the holder of the key said: see below',
  completeness: 'this is not all of what was there before, or not the same ledger: see below',
  time: 'it did not exist by the time that it says: see below',
}

/** Of how many records: all, or those up to a position. */
function ofRecords(size: number, report: VerificationReport): string {
  return size === report.size ? `all ${counted(size, 'record')}` : `the records up to position ${size - 1}, of ${grouped(report.size)},`
}

/** What the verdict claims that passes, and of which records. */
function claimed(name: keyof Verdicts, report: VerificationReport): string {
  const { claims, checkpoint, from, excerpt } = report
  switch (name) {
    case 'integrity':
      if (excerpt !== undefined)
        return 'every record that is here is what it was when it was hashed, and follows the one before where that is here'
      return from === 0
        ? 'every record is what it was when it was hashed, and in its place'
        : `every record from position ${from} on is what it was when it was hashed, and in its place; those before were not read`
    case 'authenticity':
      return `${ofRecords(claims.authentic ?? 0, report)} are what the holder of ${checkpoint?.signed_by.join(', ') ?? 'the key'} signed`
    case 'completeness':
      return from === 0
        ? `${ofRecords(claims.complete ?? 0, report)} are those of a checkpoint from before, or that witnesses saw`
        : `the kept tree and the records from position ${from} on continue a checkpoint of ${counted(claims.complete ?? 0, 'record')}`
    case 'time':
      return `${ofRecords(claims.existed?.size ?? 0, report)} existed by ${claims.existed?.by ?? 'then'}: enough witnesses say so`
  }
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

export interface Presentation {
  readonly location: string
  readonly elapsed_ms: number
  readonly colours: Colours
  readonly width: number
}

export function verdictLines(report: VerificationReport, colours: Colours, width: number): string[] {
  return (Object.keys(DENIED) as (keyof Verdicts)[]).flatMap((name) => {
    const verdict = report.verdicts[name]
    const needed = `would need: ${report.missing[name] ?? 'more than was given'}`
    const meaning = verdict === 'pass' ? claimed(name, report) : verdict === 'fail' ? DENIED[name] : needed
    const [first = '', ...rest] = folded(printable(meaning), width - VERDICT_INDENT)
    return [
      `${colours.bold(pad(name, 13))} ${verdictColour(colours, verdict)(pad(verdict, 12))} ${first}`,
      ...rest.map((line) => ' '.repeat(VERDICT_INDENT) + line),
    ]
  })
}

export function reportText(report: VerificationReport, { location, elapsed_ms, colours, width }: Presentation): string[] {
  const { bold, dim, green, red, yellow } = colours
  const line = (name: string, value: string): string => `${dim(pad(name, 12))}${value}`
  const { excerpt } = report
  const { first, last } = report.recorded
  const lines = [
    bold(printable(location)),
    line('origin', printable(report.origin ?? '–')),
    line('size', excerpt === undefined ? counted(report.size, 'record') : `${counted(excerpt.records, 'record')} of a ledger`),
    ...(first === null || last === null ? [] : [line('recorded', `${printable(first)} to ${printable(last)}`)]),
    line('head', report.head ?? '–'),
    ...(report.root === null ? [] : [line('root', report.root)]),
    ...(report.checkpoint === null ? [] : [line('checkpoint', checkpointText(report.checkpoint))]),
    '',
    ...verdictLines(report, colours, width),
    '',
    ...checkLines(report, colours),
  ]
  if (report.problems_total > 0) {
    const shown = report.problems.length < report.problems_total ? `, of which the first ${grouped(report.problems.length)}` : ''
    lines.push('', bold(red(counted(report.problems_total, 'problem'))) + shown, ...problemTable(report.problems, colours, width))
  }
  lines.push(...snapshotLines(report, colours))
  for (const note of report.notes) lines.push(...noteLines(note, width).map((each) => yellow(each)))
  const verdict = report.ok
    ? green('no problem found')
    : report.problems_total === 0
      ? red('the records are what they were; not every snapshot is')
      : report.problems_total === report.opened?.failed
        ? red('the records are what they were; not every encrypted entry opens')
        : red(`NOT WHAT WAS RECORDED: ${counted(report.problems_total, 'problem')}`)
  const unchecked = Object.values(report.verdicts).filter((one) => one === 'not checked').length
  const caveat = unchecked === 0 ? '' : `; ${unchecked} of 4 claims not checked`
  return [
    ...lines,
    '',
    `${verdict}${caveat} ${dim(`(${counted(excerpt?.records ?? report.size, 'record')} in ${grouped(Math.round(elapsed_ms))} ms)`)}`,
  ]
}

function checkpointText({ size, signed_by, cosigned_by }: NonNullable<VerificationReport['checkpoint']>): string {
  const signed = signed_by.length === 0 ? 'by no key from outside' : `signed by ${signed_by.join(', ')}`
  const cosigned = cosigned_by.map(({ name, time }) => `${name} at ${time}`)
  return printable(`of ${counted(size, 'record')}, ${signed}${cosigned.length === 0 ? '' : `, seen by ${cosigned.join(', ')}`}`)
}

/** What is not covered is to be read whole. */
const UNCOVERED: readonly Note['code'][] = ['records_behind_checkpoint', 'only_new_records', 'excerpt', 'archive_not_read']

function noteLines({ seq, text, where, code }: Note, width: number): string[] {
  const at = [seq === null ? '' : `seq ${seq}`, whereText(where)].filter((part) => part !== '').join(', ')
  const line = `note: ${printable(text)}${at === '' ? '' : ` (${printable(at)})`}`
  return UNCOVERED.includes(code) ? folded(line, width) : [cut(line, width)]
}

const CHECK_NAMES: { readonly [name in keyof VerificationReport['checks']]-?: string } = {
  run_ids_unique: 'run_ids unique',
  stream_versions: 'stream versions gapless',
  entries_canonical: 'entries canonical',
  columns: "the store's columns agree with the records",
  signatures: "the records' own signatures",
  entries_opened: 'encrypted entries open under their data keys',
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
  const { opened } = report
  if (opened !== undefined && opened.opened + opened.erased + opened.failed > 0) {
    lines.push(
      `${colours.dim('·')} encrypted entries: ${opened.opened} open, ${opened.erased} erased by their key, ${opened.failed} that do not open`,
    )
  }
  const { erased, archived, unnamed, pending } = report.withheld
  if (erased + archived + unnamed + pending > 0) {
    lines.push(
      `${colours.dim('·')} entries withheld: ${erased} erased, ${archived} archived, ${unnamed} that no record names; ${pending} named and still there`,
    )
  }
  return lines
}

/** The snapshots that are kept, where it was asked for them. */
function snapshotLines({ snapshots }: VerificationReport, colours: Colours): string[] {
  return (snapshots ?? []).map(({ projection, version, position, verdict, reason }) => {
    const name = projection === null ? 'a snapshot' : `the snapshot of ${projection} v${version}`
    const why = reason === null ? '' : colours.dim(` (${printable(reason)})`)
    return `${colours.dim('·')} ${printable(name)} at position ${position}: ${verdictColour(colours, verdict)(verdict)}${why}`
  })
}
