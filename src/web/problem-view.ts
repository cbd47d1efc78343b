/** What is wrong, in words. */
import { BUNDLE_PROBLEMS } from '../verify/bundle-report.ts'
import type { BundleProblem } from '../verify/bundle-report.ts'
import { element, pairs, shown } from './elements.ts'

export function problemList(problems: readonly BundleProblem[]): HTMLElement {
  return element('ul', { class: 'problems' }, ...problems.map(problemView))
}

function problemView({ code, seq, expected, found }: BundleProblem): HTMLElement {
  const where = seq === null ? '' : `Record ${seq}: `
  return element(
    'li',
    { 'data-code': code, 'data-seq': String(seq ?? '') },
    element('p', {}, `${where}${BUNDLE_PROBLEMS[code].meaning}.`),
    element('p', { class: 'code' }, element('code', {}, code)),
    pairs([
      ['expected', expected === null ? null : element('code', {}, shown(expected))],
      ['found', found === null ? null : element('code', {}, shown(found))],
    ]),
  )
}
