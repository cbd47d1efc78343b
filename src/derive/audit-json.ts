/** An audit report as JSON, piece by piece: it may be longer than a text can be. */
import type { AuditReport } from './audit-report.ts'

export const AUDIT_REPORT_FORMAT = 'cortex-ledger/audit-report/v1'

/** One JSON object; its last member, `rows`, has a row a line. */
export async function* auditReportJson({ rows, ...about }: AuditReport): AsyncGenerator<string, void, undefined> {
  yield `${JSON.stringify({ format: AUDIT_REPORT_FORMAT, ...about }).slice(0, -1)},"rows":[`
  let isFirst = true
  for await (const row of rows()) {
    yield `${isFirst ? '' : ','}\n${JSON.stringify(row)}`
    isFirst = false
  }
  yield '\n]}\n'
}
