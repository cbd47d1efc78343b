/** One record of a bundle as it is shown. */
import type { BundledRecordReport } from '../verify/bundle-report.ts'
import { printable } from '../verify/printable.ts'
import { element, pairs, shown } from './elements.ts'
import { problemList } from './problem-view.ts'

/** Characters of one value that are shown: a page of 16 MiB of text helps nobody. */
const VALUE_LENGTH_MAX = 100_000

/** @param isOpen whether its details are shown at once. @param isAlone all that is wrong is above already */
export function recordView(record: BundledRecordReport, isOpen: boolean, isAlone: boolean): HTMLElement {
  const { index, header, problems } = record
  const isGood = problems.length === 0
  const what = header === null ? 'a line that can’t be read as a record' : `${header.actor} · ${header.action}`
  const view = element(
    'details',
    { class: 'record', 'data-seq': String(index), 'data-state': isGood ? 'good' : 'bad' },
    element(
      'summary',
      {},
      element('span', { class: 'seq' }, `#${index}`),
      element('span', { class: 'what' }, shown(what)),
      header === null ? null : element('span', { class: 'outcome', 'data-outcome': header.outcome }, header.outcome),
      element(
        'span',
        { class: isGood ? 'mark good' : 'mark bad' },
        isGood ? '✓ in the tree' : `✕ ${problems.map(({ code }) => code).join(', ')}`,
      ),
    ),
  )
  view.open = isOpen
  // A bundle may have many thousands: what nobody looks at is not made.
  const fill = (): void => {
    if (view.open && view.childElementCount === 1) view.append(...detailsOf(record, isAlone))
  }
  view.addEventListener('toggle', fill)
  fill()
  return view
}

function detailsOf(record: BundledRecordReport, isAlone: boolean): HTMLElement[] {
  const { header, hash, problems } = record
  const members = Object.entries(header ?? {}).map(([name, value]) => [name, headerText(value)] as const)
  return [
    ...(problems.length === 0 || isAlone ? [] : [problemList(problems)]),
    ...(hash === null ? [] : [element('h4', {}, 'Header'), pairs(members.concat([['hash', hash]]))]),
    element('h4', {}, 'Entry'),
    entryView(record),
  ]
}

function headerText(value: unknown): string {
  return Array.isArray(value) ? value.join(', ') : String(value)
}

function entryView({ entry, entry_text, header }: BundledRecordReport): HTMLElement {
  if (entry === 'withheld')
    return element('p', { class: 'quiet' }, 'Withheld: the header commits to it, and whoever made this file did not disclose it.')
  if (entry_text === null) {
    const why = header === null ? 'the record is none that this page can read' : 'it is not what the header commits to'
    return element('p', { class: 'quiet' }, `Not shown: ${why}.`)
  }
  const members = Object.entries(JSON.parse(entry_text) as { readonly [member: string]: unknown })
  return element('div', { class: 'entry' }, pairs(members.map(([name, value]) => [name, valueView(value)] as const)))
}

function valueView(value: unknown): HTMLElement {
  const text = typeof value === 'string' ? value : (JSON.stringify(value, null, 2) ?? '')
  const start = printable(text.slice(0, VALUE_LENGTH_MAX), { lines: true })
  const isCut = text.length > VALUE_LENGTH_MAX
  const block = element('pre', { tabindex: '0' }, start)
  return isCut
    ? element('div', {}, block, element('p', { class: 'quiet' }, `The first ${VALUE_LENGTH_MAX} of ${text.length} characters.`))
    : block
}
