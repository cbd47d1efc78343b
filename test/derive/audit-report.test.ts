import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { AuditLedger, auditReport, auditReportHtml, auditReportJson } from '../../src/index.ts'
import type { AuditReport, AuditRow } from '../../src/index.ts'
import { fixedClock } from '../../src/testing/index.ts'
import { CHROMIUM, startBrowser } from '../helpers/browser.ts'
import { tempDir } from '../helpers/temp.ts'
import { withhold } from '../helpers/withholding.ts'

const NASTY = `<script>document.title='owned'</script><img src=x onerror="document.title='owned'">"'&\u202e\u0007`

/** Calls that were allowed, denied, approved before and after, and one that says what no page may believe. */
async function audited(location = 'memory:'): Promise<AuditLedger> {
  const clock = fixedClock('2026-03-01T12:00:00.000000Z')
  const ledger = await AuditLedger.open(location, { origin: 'example.com/audit', clock, actor: 'service', signer: null })
  const about = ({ run_id, hash }: { run_id: string; hash: string }): object => ({ run_id, hash })
  const next = (): void => clock.advance(3_600_000_000)
  const refund = await ledger.record({
    agent_name: 'refunds',
    method_name: 'refund',
    run_id: 'refund',
    correlation_id: 'task-1',
    policy_decisions: [{ policy: 'refund-limit', decision: 'allow', reason: 'below 100' }],
  })
  next()
  await ledger.record({
    agent_name: 'refunds',
    method_name: 'refund',
    run_id: 'too-much',
    policy_decisions: [{ rule: 'refund-limit', decision: 'deny' }],
  })
  next()
  const decided = { policy: 'four-eyes', decision: 'ask', about: about(refund) }
  await ledger.append('approvals', { type: 'PolicyDecided', causation_id: 'refund', data: decided })
  await ledger.append('approvals', {
    type: 'ApprovalGranted',
    actor: 'user:alice',
    causation_id: 'refund',
    run_id: 'by-alice',
    data: { about: about(refund), reason: 'regular customer', approved_by: 'somebody else' },
  })
  await ledger.append('approvals', {
    type: 'ApprovalDenied',
    actor: 'user:mallory',
    data: { about: { run_id: 'refund', hash: 'f'.repeat(64) } },
  })
  next()
  await ledger.record(
    { agent_name: 'payments', method_name: 'pay', run_id: 'paid', parse_result: { ok: false } },
    { causation_id: 'by-alice' },
  )
  await ledger.record({
    agent_name: NASTY.replaceAll('\u0007', ''),
    method_name: '<b>bold</b>',
    run_id: 'nasty',
    policy_decisions: [{ policy: NASTY, decision: NASTY }],
  })
  return ledger
}

async function rowsOf(report: AuditReport): Promise<AuditRow[]> {
  const rows: AuditRow[] = []
  for await (const row of report.rows()) rows.push(row)
  return rows
}

async function text(pieces: AsyncIterable<string>): Promise<string> {
  let whole = ''
  for await (const piece of pieces) whole += piece
  return whole
}

test('who did what, with what outcome, under which policy, and who approved, whichever stands first', async () => {
  await using ledger = await audited()
  const report = await auditReport(ledger, { verify: true, now: new Date('2026-04-01T00:00:00Z') })
  const rows = await rowsOf(report)
  const row = (run_id: string): AuditRow => rows.find((one) => one.run_id === run_id)!
  expect(row('refund')).toMatchObject({
    actor: 'refunds',
    action: 'refund',
    outcome: 'success',
    timestamp: '2026-03-01T12:00:00.000000Z',
    policies: [
      { policy: 'refund-limit', decision: 'allow', reason: 'below 100', seq: 1 },
      { policy: 'four-eyes', decision: 'ask', reason: null, seq: 3 },
    ],
    // What names another hash approves, or denies, something else.
    approvals: [{ by: 'user:alice', granted: true, reason: 'regular customer', seq: 4, at: '2026-03-01T14:00:00.000000Z' }],
  })
  expect(row('too-much')).toMatchObject({ outcome: 'denied', policies: [{ policy: 'refund-limit', decision: 'deny' }], approvals: [] })
  expect(row('paid').approvals.map(({ by }) => by)).toEqual(['user:alice'])
  expect(report.summary).toMatchObject({
    records: 8,
    withheld: 0,
    outcomes: { success: 6, denied: 1, failure: 1 },
    first: expect.any(String),
    last: '2026-03-01T15:00:00.000000Z',
  })
  expect(report.summary.actors[0]).toMatchObject({ actor: 'refunds', records: 2, denials: 1 })
  expect(report).toMatchObject({
    made_at: '2026-04-01T00:00:00.000000Z',
    ledger: { size: 8, checkpoint: null, origin: 'example.com/audit' },
  })
  expect([report.ledger.head, report.verification?.verdicts.integrity]).toEqual([(await ledger.at(7))!.hash, 'pass'])
})

test('a period and a filter; an approval outside of them counts; what is appended later is not in it', async () => {
  await using ledger = await audited()
  const report = await auditReport(ledger, { actor: 'refunds', since: '2026-03-01T13:00:00+01:00', until: '2026-03-01T13:00:00Z' })
  await ledger.record({ agent_name: 'refunds', method_name: 'late' }, {})
  const rows = await rowsOf(report)
  expect(rows.map(({ run_id, approvals }) => [run_id, approvals.length])).toEqual([['refund', 1]])
  expect([report.summary.records, report.ledger.size]).toEqual([1, 8])
  expect(report.criteria).toEqual({ actor: 'refunds', since: '2026-03-01T12:00:00.000000Z', until: '2026-03-01T13:00:00.000000Z' })
  await expect(auditReport(ledger, { until: 'soon' })).rejects.toThrow(RangeError)
})

test('the JSON is one object with the same rows', async () => {
  await using ledger = await audited()
  const report = await auditReport(ledger)
  const { rows, format, ...about } = JSON.parse(await text(auditReportJson(report)))
  const { rows: read, ...facts } = report
  expect(format).toBe('cortex-ledger/audit-report/v1')
  expect(about).toEqual(JSON.parse(JSON.stringify(facts)))
  expect(rows).toEqual(await rowsOf({ ...report, rows: read }))
  const none = await auditReport(ledger, { actor: 'nobody' })
  expect(JSON.parse(await text(auditReportJson(none))).rows).toEqual([])
})

test('withheld entries and a tampered ledger are told in the page', async () => {
  const folder = join(tempDir(), 'audit')
  await (await audited(folder)).close()
  withhold(folder, ({ run_id }) => run_id === 'refund')
  await using ledger = await AuditLedger.open(folder, { readOnly: true })
  const page = await text(auditReportHtml(await auditReport(ledger, { verify: true })))
  expect(page).toContain('entry withheld')
  expect(page).toContain('withheld_unnamed')
  expect(page).toMatch(/<td>integrity<\/td><td class="bad">fail<\/td><td>Does not hold/)
})

test('the page has no script, loads nothing, and nothing that agents wrote is markup', async () => {
  await using ledger = await audited()
  const page = await text(auditReportHtml(await auditReport(ledger, { tag: [], action: undefined })))
  expect(page).not.toMatch(/<(?:script|img|link|iframe|object|embed|base|form|b>bold)\b|\bsrc\s*=\s*["']|\burl\(|@import/i)
  expect(page).toContain('&lt;script&gt;document.title=&#39;owned&#39;&lt;/script&gt;')
  expect(page).toContain("default-src 'none'; style-src 'unsafe-inline'")
  // oxlint-disable-next-line no-control-regex -- what steers a terminal or turns text around is what is looked for
  expect(page).not.toMatch(/[\u0000-\u0008\u202a-\u202e]/)
})

if (CHROMIUM === null) console.log('skipped: the audit report is not opened, there is no Chromium (apt-get install chromium)')

describe.skipIf(CHROMIUM === null)('in Chromium', () => {
  test('it says what it should, asks for nothing, complains of nothing, and prints', async () => {
    await using ledger = await audited()
    const file = join(tempDir(), 'report.html')
    writeFileSync(file, await text(auditReportHtml(await auditReport(ledger, { verify: true }))))
    const browser = await startBrowser()
    try {
      const page = await browser.newPage()
      await page.send('Emulation.setDeviceMetricsOverride', { width: 1280, height: 900, deviceScaleFactor: 1, mobile: false })
      await page.open(file)
      expect(await page.evaluate('document.title')).toBe('Audit report: example.com/audit')
      expect(await page.evaluate('document.querySelectorAll(".records tbody tr").length')).toBe(8)
      expect(await page.evaluate('document.querySelector("#seq-1 td:nth-child(7)").textContent')).toContain('granted by user:alice')
      expect(await page.evaluate('document.querySelectorAll("img, script, b b").length')).toBe(0)
      // Nothing is cut off to the right, on a screen of usual width.
      expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true)
      const { requests, complaints } = page.heard()
      expect([requests.map((url) => url.startsWith('file:')), complaints]).toEqual([[true], []])
      const { data } = (await page.send('Page.printToPDF', { preferCSSPageSize: true, printBackground: false })) as { data: string }
      const pdf = Buffer.from(data, 'base64')
      expect(pdf.subarray(0, 5).toString()).toBe('%PDF-')
      const shots = process.env['SCREENSHOTS']
      if (shots !== undefined) {
        writeFileSync(join(shots, 'audit-report.png'), await page.screenshot())
        writeFileSync(join(shots, 'audit-report.pdf'), pdf)
      }
    } finally {
      await browser.close()
    }
  })
})
