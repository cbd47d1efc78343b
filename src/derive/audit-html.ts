/**
 * An audit report as one page: no script, nothing loaded, nothing that agents wrote taken for markup. It says all that it
 * says on paper too.
 */
import type { Verdicts, VerificationReport } from '../verify/report.ts'
import { printable } from '../verify/printable.ts'
import type { AuditReport, AuditRow } from './audit-report.ts'
import { AUDIT_STYLE } from './audit-style.ts'

const ESCAPES: { readonly [char: string]: string } = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

/** Text for any place in the page: what agents write is not to be trusted by whoever reads it. */
function text(value: string | number | null | undefined): string {
  return value === null || value === undefined ? '–' : printable(String(value)).replaceAll(/[&<>"']/g, (char) => ESCAPES[char] as string)
}

function code(value: string | null): string {
  return value === null ? '–' : `<code>${text(value)}</code>`
}

/** To the second: the whole time is in the JSON, and in the ledger. */
function time(value: string | null): string {
  return value === null ? '–' : `<time datetime="${text(value)}">${text(value.slice(0, 19).replace('T', ' '))}</time>`
}

function facts(pairs: readonly (readonly [name: string, html: string])[]): string {
  return `<dl>${pairs.map(([name, html]) => `<div><dt>${text(name)}</dt><dd>${html}</dd></div>`).join('')}</dl>`
}

function counts(title: string, figures: { readonly [name: string]: number }): string {
  const rows = Object.entries(figures).map(([name, count]) => `<tr><td>${text(name)}</td><td class="n">${count}</td></tr>`)
  return `<table class="small"><thead><tr><th>${text(title)}</th><th class="n">records</th></tr></thead><tbody>${rows.join('')}</tbody></table>`
}

function criteriaText(criteria: AuditReport['criteria']): string {
  const said = Object.entries(criteria).map(
    ([name, value]) => `${text(name)}: ${text(Array.isArray(value) ? value.join(', ') : String(value))}`,
  )
  return said.length === 0 ? 'all records' : said.join('; ')
}

function ledgerFacts({ ledger, made_at, criteria, summary }: AuditReport): string {
  const { checkpoint } = ledger
  return facts([
    ['Ledger', text(ledger.origin)],
    ['Records asked for', criteriaText(criteria)],
    ['Records found', `${summary.records} of ${ledger.size}`],
    ['Happened (UTC)', `${time(summary.first)} to ${time(summary.last)}`],
    ['Entries withheld', String(summary.withheld)],
    ['Report made (UTC)', time(made_at)],
    ['Ledger’s size', `${ledger.size} records`],
    ['Head (hash of the last record)', code(ledger.head)],
    ['Root (RFC 6962)', code(ledger.root)],
    ['Last checkpoint', checkpoint === null ? 'none' : `over ${checkpoint.size} records<pre>${lines(checkpoint.note)}</pre>`],
  ])
}

/** Text of several lines. */
function lines(value: string): string {
  return value.split('\n').map(text).join('\n')
}

const VERDICTS = ['integrity', 'authenticity', 'completeness', 'time'] as const satisfies readonly (keyof Verdicts)[]

/** What the verdict claims, and of how many records: it says nothing about those behind them. */
function meaningOf(name: keyof Verdicts, { verdicts: found, missing, claims, size, from }: VerificationReport): string {
  if (found[name] === 'not checked') return `Would need: ${missing[name] ?? 'more than was given'}`
  if (found[name] === 'fail') return 'Does not hold: see the problems below.'
  const ofRecords = (count: number | null): string =>
    count === size ? `All ${size} records` : `The first ${count ?? 0} of ${size} records`
  switch (name) {
    case 'integrity':
      return `Every record${from === 0 ? '' : ` from position ${from} on`} is what it was when it was hashed, and in its place.`
    case 'authenticity':
      return `${ofRecords(claims.authentic)} are what the holder of a trusted key signed.`
    case 'completeness':
      return `${ofRecords(claims.complete)} are those of a checkpoint from before, or that witnesses saw.`
    case 'time':
      return `${ofRecords(claims.existed?.size ?? null)} existed by ${claims.existed?.by ?? 'then'}: enough witnesses say so.`
  }
}

function verdicts(report: VerificationReport | null): string {
  if (report === null) return '<p>The ledger was not verified for this report. <code>cortex-ledger verify</code> does it.</p>'
  const rows = VERDICTS.map((name) => {
    const verdict = report.verdicts[name]
    const style = verdict === 'pass' ? 'good' : verdict === 'fail' ? 'bad' : 'open'
    return `<tr><td>${name}</td><td class="${style}">${verdict}</td><td>${text(meaningOf(name, report))}</td></tr>`
  })
  const shown = report.problems.slice(0, 50)
  const problems = shown.map(
    ({ code: name, seq, expected, found }) =>
      `<tr><td class="n">${text(seq)}</td><td class="bad">${text(name)}</td><td class="long">${text(expected)}</td><td class="long">${text(found)}</td></tr>`,
  )
  const list =
    report.problems_total === 0
      ? ''
      : `<h3>Problems: ${report.problems_total}${shown.length < report.problems_total ? `, of which the first ${shown.length}` : ''}</h3><table><thead><tr><th class="n">seq</th><th>problem</th><th>expected</th><th>found</th></tr></thead><tbody>${problems.join('')}</tbody></table>`
  return `<p>Of the ledger’s ${report.size} records at that time:</p><table class="verdicts"><thead><tr><th>claim</th><th>verdict</th><th>meaning</th></tr></thead><tbody>${rows.join('')}</tbody></table>${list}`
}

function outcomeClass(outcome: AuditRow['outcome']): string {
  return outcome === 'success' ? 'good' : outcome === 'failure' || outcome === 'denied' ? 'bad' : 'open'
}

function row(record: AuditRow): string {
  const policies = record.policies.map(
    ({ policy, decision, reason }) =>
      `<p>${text(policy)}: <b>${text(decision)}</b>${reason === null ? '' : `<br><small>${text(reason)}</small>`}</p>`,
  )
  const approvals = record.approvals.map(
    ({ by, granted, at, reason, seq }) =>
      `<p>${granted ? 'granted' : '<b class="bad">denied</b>'} by ${text(by)}<br><small>${time(at)}, seq ${seq}${reason === null ? '' : `: ${text(reason)}`}</small></p>`,
  )
  const what = record.type === 'AgentCallCompleted' || record.type === record.action ? '' : `<br><small>${text(record.type)}</small>`
  return `<tr id="seq-${record.seq}"><td class="n">${record.seq}</td><td>${time(record.timestamp)}</td><td class="name">${text(record.actor)}</td><td class="name">${text(record.action)}${what}${record.withheld ? '<br><small>entry withheld</small>' : ''}</td><td class="${outcomeClass(record.outcome)}">${record.outcome}</td><td>${policies.join('')}</td><td>${approvals.join('')}</td><td class="name">${text(record.correlation_id ?? '')}</td><td><code>${record.hash.slice(0, 16)}</code></td></tr>\n`
}

function actors({ summary }: AuditReport): string {
  const rows = summary.actors.map(
    ({ actor, records, errors, denials }) =>
      `<tr><td class="name">${text(actor)}</td><td class="n">${records}</td><td class="n">${errors}</td><td class="n">${denials}</td></tr>`,
  )
  return `<table class="small"><thead><tr><th>who</th><th class="n">records</th><th class="n">errors</th><th class="n">denials</th></tr></thead><tbody>${rows.join('')}</tbody></table>`
}

/** A whole page, piece by piece. */
export async function* auditReportHtml(report: AuditReport): AsyncGenerator<string, void, undefined> {
  const title = `Audit report: ${text(report.ledger.origin ?? 'a ledger')}`
  yield `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${AUDIT_STYLE}</style>
</head>
<body>
<h1>${title}</h1>
${ledgerFacts(report)}
<h2>Verification</h2>
${verdicts(report.verification)}
<h2>Summary</h2>
<div class="side">${actors(report)}${counts('outcome', report.summary.outcomes)}${counts('type', report.summary.types)}</div>
<h2>Records</h2>
<table class="records">
<thead><tr><th class="n">seq</th><th>when (UTC)</th><th>who</th><th>what</th><th>outcome</th><th>policy</th><th>approved</th><th>task</th><th>hash</th></tr></thead>
<tbody>
`
  for await (const record of report.rows()) yield row(record)
  yield `</tbody>
</table>
<footer>Made from the ledger’s records up to position ${report.ledger.size - 1}, under the root above. The hashes are cut to 16 digits; <code>cortex-ledger prove</code> proves single records to anyone.</footer>
</body>
</html>
`
}
