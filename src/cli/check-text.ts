/** The report of a bundle's check for people. */
import { BUNDLE_CLAIMS, BUNDLE_PROBLEMS } from '../verify/bundle-report.ts'
import type { BundledRecordReport, BundleReport, BundleSignature } from '../verify/bundle-report.ts'
import type { Verdict, Verdicts } from '../verify/report.ts'
import { outcomeColour } from './records.ts'
import type { Colours } from './terminal.ts'
import { counted, cut, folded, grouped, pad, printable, table } from './text.ts'

export interface CheckPresentation {
  readonly file: string
  readonly colours: Colours
  readonly width: number
}

/** What was found in a file, whichever kind it is of. */
export interface Checked {
  readonly ok: boolean
  readonly report: object
  readonly lines: () => string[]
}

/** Columns before the meaning of a verdict. */
const VERDICT_INDENT = 27
/** Records that are listed. */
const RECORDS_MAX = 1000

export function checkText(report: BundleReport, { file, colours, width }: CheckPresentation): string[] {
  const { bold, green, red, yellow } = colours
  const lines = [bold(printable(file)), ...checkpointLines(report, colours), '', ...verdictLines(report, colours, width)]
  if (report.records.length > 0) lines.push('', ...recordTable(report.records.slice(0, RECORDS_MAX), colours, width))
  if (report.records.length > RECORDS_MAX) lines.push(`the first ${grouped(RECORDS_MAX)} of ${grouped(report.records.length)} records`)
  if (report.problems_total > 0) lines.push('', ...problemLines(report, colours, width))
  for (const { seq, text } of report.notes)
    lines.push(yellow(cut(`note: ${printable(seq === null ? text : `seq ${seq}: ${text}`)}`, width)))
  const verdict = report.ok ? green('no problem found') : red(`NOT WHAT WAS RECORDED: ${counted(report.problems_total, 'problem')}`)
  const unchecked = Object.values(report.verdicts).filter((one) => one === 'not checked').length
  return [...lines, '', `${verdict}${unchecked === 0 ? '' : `; ${unchecked} of 4 claims not checked`}`]
}

export function checkpointLines({ checkpoint, signatures }: BundleReport, { dim }: Colours): string[] {
  if (checkpoint === null) return []
  const line = (name: string, value: string): string => `${dim(pad(name, 12))}${value}`
  return [
    line('origin', printable(checkpoint.origin)),
    line('size', counted(checkpoint.size, 'record')),
    line('root', checkpoint.root),
    ...signatures.map((signature) => line(signature.kind === 'cosignature' ? 'cosigned' : 'signed', signatureText(signature))),
  ]
}

function signatureText({ name, id, verified, time }: BundleSignature): string {
  const when = time === null ? '' : ` at ${time}`
  return `${printable(name)}+${id}${when}${verified ? '' : ' (not verified)'}`
}

function verdictColour({ green, red, yellow }: Colours, verdict: Verdict): (text: string) => string {
  return verdict === 'pass' ? green : verdict === 'fail' ? red : yellow
}

export function verdictLines({ verdicts, missing, existed_by }: BundleReport, colours: Colours, width: number): string[] {
  return (Object.keys(BUNDLE_CLAIMS) as (keyof Verdicts)[]).flatMap((name) => {
    const verdict = verdicts[name]
    const [pass, fail] = BUNDLE_CLAIMS[name]
    const passed = name === 'time' ? `${pass} by ${existed_by}` : pass
    const meaning = verdict === 'pass' ? passed : verdict === 'fail' ? fail : `would need: ${missing[name] ?? 'more than was given'}`
    const [first = '', ...rest] = folded(printable(meaning), width - VERDICT_INDENT)
    return [
      `${colours.bold(pad(name, 13))} ${verdictColour(colours, verdict)(pad(verdict, 12))} ${first}`,
      ...rest.map((line) => ' '.repeat(VERDICT_INDENT) + line),
    ]
  })
}

function recordTable(records: readonly BundledRecordReport[], colours: Colours, width: number): string[] {
  return table(
    records,
    [
      { title: 'seq', text: ({ index }) => String(index), align: 'right' },
      {
        title: 'record',
        text: ({ problems }) => (problems.length === 0 ? 'in the tree' : problems.map(({ code }) => code).join(', ')),
        style: (text, { problems }) => (problems.length === 0 ? colours.green : colours.red)(text),
      },
      {
        title: 'outcome',
        text: ({ header }) => header?.outcome ?? '',
        style: (text, { header }) => (header === null ? text : outcomeColour(colours, header.outcome)(text)),
      },
      { title: 'entry', text: ({ entry }) => entry },
      { title: 'actor', text: ({ header }) => header?.actor ?? '', width_min: 10 },
      { title: 'action', text: ({ header }) => header?.action ?? '', width_min: 12 },
      { title: 'recorded (UTC)', text: ({ header }) => header?.recorded_at ?? '', style: colours.dim, drop: 1 },
      { title: 'run_id', text: ({ header }) => header?.run_id ?? '', style: colours.dim, drop: 2 },
    ],
    { width, title: colours.bold },
  )
}

export function problemLines({ problems, problems_total }: BundleReport, colours: Colours, width: number): string[] {
  const shown = problems.length < problems_total ? `, of which the first ${grouped(problems.length)}` : ''
  return [
    colours.bold(colours.red(counted(problems_total, 'problem'))) + shown,
    ...problems.flatMap(({ code, seq, expected, found }) => [
      `${seq === null ? '' : `seq ${seq}: `}${colours.red(code)}: ${BUNDLE_PROBLEMS[code].meaning}`,
      ...(expected === null ? [] : folded(printable(`expected ${expected}`), width - 2).map((line) => colours.green(`  ${line}`))),
      ...(found === null ? [] : folded(printable(`found    ${found}`), width - 2).map((line) => colours.yellow(`  ${line}`))),
    ]),
  ]
}
