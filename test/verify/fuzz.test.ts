/** Any bytes as a ledger: a report each time, no throw, and no yes to what was changed. */
import { hash } from 'node:crypto'
import { expect, test } from 'vitest'
import { seededRandom } from '../../src/testing/index.ts'
import { LedgerVerifier } from '../../src/verify/chain.ts'
import { LineSplitter } from '../../src/verify/lines.ts'
import type { VerificationReport } from '../../src/verify/report.ts'
import { fuzzedSegment } from '../helpers/fuzzing.ts'
import { fileOf, honestLedger } from '../helpers/make-lines.ts'
import { scale } from '../helpers/scale.ts'

const SEED = Number(process.env['SEED'] ?? 20_261_122)

function verify(bytes: Uint8Array, chunk: number): VerificationReport {
  const verifier = new LedgerVerifier({ sha256: (part) => hash('sha256', part), canonical_entries: true, problems_max: 50, ids_max: 1000 })
  const splitter = new LineSplitter()
  verifier.file('fuzzed.jsonl', 0)
  for (let at = 0; at < bytes.length; at += chunk) {
    splitter.push(bytes.subarray(at, at + chunk), (line, start, end, position) => verifier.line(line, start, end, position))
  }
  const rest = splitter.rest()
  if (rest !== null) verifier.unended(rest.position, rest.length, 'tail')
  return verifier.finish()
}

test(`fuzzed files (seed ${SEED})`, { timeout: scale(120_000, 1_800_000) }, () => {
  const random = seededRandom(SEED)
  const honest = fileOf(honestLedger(42))
  const whole = verify(honest, 64 * 1024)
  expect(whole.ok).toBe(true)
  const heads = new Set([null, ...honestLedger(42).map((record) => record.hash)])
  for (let i = 0; i < scale(2000, 10_000); i++) {
    const { name, bytes } = fuzzedSegment(honest, random)
    const report = verify(bytes, random.pick([1024, 4096, 65_536]))
    const told = `${name}, number ${i} of seed ${SEED}`
    expect(report.problems.length, told).toBe(Math.min(50, report.problems_total))
    expect(report.verdicts.integrity, told).toBe(report.problems_total === 0 ? 'pass' : 'fail')
    // What passes is the honest ledger, or a beginning of it.
    if (report.ok) expect(honest.subarray(0, bytes.length).equals(bytes), told).toBe(true)
    expect(heads.has(report.head), told).toBe(true)
    JSON.stringify(report)
  }
})
