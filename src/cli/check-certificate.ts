/** `cortex-ledger check` of what an erasure left in the hand of whoever asked for it. */
import type { ProofTrust } from '../ledger/check.ts'
import { CERTIFICATE_FORMAT, checkErasureCertificate } from '../ledger/retention/certificate.ts'
import type { CertificateReport, ErasureCertificate } from '../ledger/retention/certificate.ts'
import { decodeText } from '../verify/text.ts'
import type { Checked } from './check-text.ts'
import { checkpointLines, problemLines, verdictLines } from './check-text.ts'
import type { Terminal } from './terminal.ts'
import { counted, folded, grouped, pad, printable } from './text.ts'

const NAME = CERTIFICATE_FORMAT.slice(0, CERTIFICATE_FORMAT.lastIndexOf('/') + 1)
/** As it is written, its format comes first: also one that is cut is known by it. */
const HEAD = new RegExp(`^\\s*\\{\\s*"format"\\s*:\\s*"${NAME}`)
const HEAD_BYTES = 256
/** The other files of JSON are bundles, which are canonical. */
const BUNDLE = '{"checkpoint":'
/** Ranges and problems that are listed. */
const LISTED_MAX = 100

function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(decodeText(bytes))
  } catch {
    return null
  }
}

/** Null where the file is something else; a certificate that can't be read is an empty object. */
export function asCertificate(bytes: Uint8Array): unknown {
  const head = Buffer.from(bytes.subarray(0, HEAD_BYTES)).toString('latin1')
  if (!/^\s*\{/.test(head) || head.startsWith(BUNDLE)) return null
  const value = parsed(bytes) as Partial<ErasureCertificate> | null
  if (HEAD.test(head)) return value ?? {}
  return typeof value?.format === 'string' && value.format.startsWith(NAME) ? value : null
}

/** What the proven records say of the erasure: they are what was signed, and the rest of the certificate is not. */
function saidBy({ bundle }: CertificateReport): readonly (readonly [string, string])[] {
  const entries = (bundle?.records ?? [])
    .filter(({ header, entry_text }) => header?.type === 'EntryErased' && entry_text !== null)
    .map(({ header, entry_text }) => ({
      at: header?.recorded_at ?? '',
      ...(JSON.parse(entry_text as string) as { [name: string]: unknown }),
    }))
  const all = (name: string): readonly [string, string][] => {
    const texts = new Set(entries.map((entry) => entry[name as 'at']).filter((value): value is string => typeof value === 'string'))
    return texts.size === 0 ? [] : [[name === 'at' ? 'recorded at' : name, [...texts].join('; ')]]
  }
  return ['at', 'reason', 'right', 'case'].flatMap(all)
}

function listed(items: readonly string[]): string[] {
  const rest = items.length - LISTED_MAX
  return rest <= 0 ? [...items] : [...items.slice(0, LISTED_MAX), `and ${grouped(rest)} more`]
}

function certificateLines(certificate: ErasureCertificate, report: CertificateReport, file: string, terminal: Terminal): string[] {
  const { colours, width } = terminal
  const { bold, dim, green, red, yellow } = colours
  const line = ([name, value]: readonly [string, string]): string => `${dim(pad(name, 12))}${printable(value)}`
  const { bundle, problems, ok } = report
  // Of what is wrong nothing is repeated as if it were so.
  const ranges = certificate.ranges.map(({ first_seq, last_seq }) => (first_seq === last_seq ? `${first_seq}` : `${first_seq}–${last_seq}`))
  const claims = ok
    ? [
        line(['erased', `the entries of ${counted(certificate.records, 'record')}`]),
        line(['positions', listed(ranges).join(', ')]),
        ...saidBy(report).map(line),
        line(['before it', `${counted(certificate.before.size, 'record')}, root ${certificate.before.root}`]),
      ]
    : []
  const left = ok ? certificate.left.map((text) => yellow(`left, as its maker says: ${printable(text)}`)) : []
  const unchecked = Object.values(bundle?.verdicts ?? {}).filter((verdict) => verdict === 'not checked').length
  return [
    bold(printable(file)),
    'certificate of an erasure',
    ...claims,
    ...(bundle === null ? [] : [...checkpointLines(bundle, colours), '', ...verdictLines(bundle, colours, width)]),
    '',
    ...left,
    ...listed(problems).flatMap((text) => folded(printable(text), width).map((part) => yellow(part))),
    ...(bundle === null || bundle.ok ? [] : ['', ...problemLines(bundle, colours, width)]),
    `${ok ? green('no problem found') : red(`NOT A PROOF OF THIS ERASURE: ${counted(problems.length, 'problem')}`)}${unchecked === 0 ? '' : `; ${unchecked} of 4 claims not checked`}`,
  ]
}

export async function certificateChecked(certificate: unknown, trust: ProofTrust, file: string, terminal: Terminal): Promise<Checked> {
  const report = await checkErasureCertificate(certificate, trust)
  return {
    ok: report.ok,
    report: { ok: report.ok, erasure_certificate: report },
    lines: () => certificateLines(certificate as ErasureCertificate, report, file, terminal),
  }
}
