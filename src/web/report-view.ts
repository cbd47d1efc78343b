/** The report of a check as it is shown: what can be claimed, by whom it is signed, and each record. */
import { BUNDLE_CLAIMS } from '../verify/bundle-report.ts'
import type { BundleReport, BundleSignature } from '../verify/bundle-report.ts'
import type { Verdict, Verdicts } from '../verify/report.ts'
import { element, pairs, shown } from './elements.ts'
import { problemList } from './problem-view.ts'
import { recordView } from './record-view.ts'

const MARKS: { readonly [verdict in Verdict]: string } = { pass: '✓', fail: '✕', 'not checked': '?' }
/** Records that are shown at once, and how many of them opened. */
const RECORDS_AT_ONCE = 100
const RECORDS_OPEN = 3

/** One sentence, and how it is meant. */
export interface Headline {
  readonly state: 'good' | 'bad' | 'open'
  readonly text: string
}

export function headlineOf({ ok, verdicts, problems_total }: BundleReport): Headline {
  if (!ok) return { state: 'bad', text: `Not what was recorded: ${problems_total} ${problems_total === 1 ? 'problem' : 'problems'}` }
  if (verdicts.authenticity === 'pass') return { state: 'good', text: 'Proven: this is in the ledger whose key you gave' }
  return { state: 'open', text: 'No problem found, but nobody vouches for it: no signature was checked' }
}

export function reportView(report: BundleReport): HTMLElement[] {
  return [
    verdictsView(report),
    ...(report.problems.length === 0 ? [] : [section('What is wrong', problemList(report.problems), moreProblems(report))]),
    ...(report.checkpoint === null ? [] : [checkpointView(report)]),
    ...(report.records.length === 0 ? [] : [recordsView(report)]),
    ...(report.notes.length === 0 ? [] : [section('Notes', notesView(report))]),
  ]
}

function section(title: string, ...children: readonly (HTMLElement | null)[]): HTMLElement {
  return element('section', {}, element('h3', {}, title), ...children)
}

function verdictsView(report: BundleReport): HTMLElement {
  const cards = (Object.keys(BUNDLE_CLAIMS) as (keyof Verdicts)[]).map((name) => {
    const verdict = report.verdicts[name]
    const [pass, fail] = BUNDLE_CLAIMS[name]
    const passed = name === 'time' ? `${pass} by ${report.existed_by}` : pass
    const meaning = verdict === 'pass' ? passed : verdict === 'fail' ? fail : `would need ${report.missing[name] ?? 'more than was given'}`
    return element(
      'li',
      { class: 'verdict', 'data-verdict': name, 'data-value': verdict },
      element('span', { class: 'name' }, name),
      element('span', { class: 'value' }, `${MARKS[verdict]} ${verdict}`),
      element('span', { class: 'meaning' }, meaning),
    )
  })
  return element('ul', { class: 'verdicts' }, ...cards)
}

function moreProblems({ problems, problems_total }: BundleReport): HTMLElement | null {
  if (problems.length === problems_total) return null
  return element('p', { class: 'quiet' }, `The first ${problems.length} of ${problems_total}.`)
}

function checkpointView({ checkpoint, signatures }: BundleReport): HTMLElement {
  const { origin, size, root } = checkpoint!
  return section(
    'Checkpoint',
    pairs([
      ['ledger', element('code', {}, shown(origin))],
      ['records', String(size)],
      ['root', element('code', {}, root)],
    ]),
    element('ul', { class: 'signatures' }, ...signatures.map(signatureView)),
  )
}

function signatureView({ name, id, verified, kind, time }: BundleSignature): HTMLElement {
  const said =
    kind === 'cosignature'
      ? `cosigned${time === null ? ', without a time' : ` at ${time}`}`
      : kind === 'signature'
        ? 'signed'
        : 'not checked'
  return element(
    'li',
    { 'data-verified': String(verified) },
    element('span', { class: verified ? 'mark good' : 'mark' }, verified ? '✓' : '?'),
    element('code', {}, shown(`${name}+${id}`)),
    element('span', { class: 'quiet' }, said),
  )
}

function recordsView({ records }: BundleReport): HTMLElement {
  const list = element('div', { class: 'records' })
  const more = element('button', { class: 'more' })
  more.type = 'button'
  let next = 0
  const showMore = (): void => {
    const some = records.slice(next, next + RECORDS_AT_ONCE)
    list.append(
      ...some.map((record, i) => recordView(record, next + i < RECORDS_OPEN && records.length <= RECORDS_AT_ONCE, records.length === 1)),
    )
    next += some.length
    more.hidden = next === records.length
    more.textContent = `Show ${Math.min(RECORDS_AT_ONCE, records.length - next)} more of ${records.length}`
  }
  more.addEventListener('click', showMore)
  showMore()
  return section(records.length === 1 ? 'Record' : `${records.length} records`, list, more)
}

function notesView({ notes }: BundleReport): HTMLElement {
  return element('ul', {}, ...notes.map(({ seq, text }) => element('li', {}, shown(`${seq === null ? '' : `Record ${seq}: `}${text}`))))
}
