/** Thousands of hostile lines: of each we say what real Python says, and its hash is Python's. */
import { expect, test } from 'vitest'
import { seededRandom } from '../../../src/testing/index.ts'
import type { PythonVerdict } from '../../../src/verify/python/entry.ts'
import { PythonLedgerVerifier, type PythonLine } from '../../../src/verify/python/ledger.ts'
import { PYTHON_3_11 } from '../../../src/verify/python/value.ts'
import { scale } from '../../helpers/scale.ts'
import { hostileLine, sha256 } from './hostile.ts'
import { askPython, pythonMissing, type PythonAnswer, type Question } from './python.ts'

const SEED = 20260208

function named(verdict: PythonVerdict): string {
  if (verdict.says === 'false') return verdict.check
  return verdict.says === 'raises' ? verdict.exception : verdict.says
}

function ours(line: PythonLine): PythonAnswer {
  const verdict = named(line.verdict)
  return {
    verdict,
    ...(line.verdict.says === 'raises' && verdict === 'KeyError' ? { argument: line.verdict.reason.slice(1, -1) } : {}),
    ...(line.computed_hash === null ? {} : { hash: line.computed_hash }),
    ...(line.entry === null ? {} : { respelled: line.findings.some(({ code }) => code === 'other_spelling') }),
  }
}

test.skipIf(pythonMissing !== null)('hostile lines: our verdict is Python’s, our hash is Python’s', { timeout: 600_000 }, (context) => {
  const count = scale(2_000, 20_000)
  context.annotate(`seed ${SEED}, ${count} lines`)
  const { limits, version } = askPython([])
  if (version[0] === 3 && version[1] <= 11) expect(limits).toEqual(PYTHON_3_11)
  const random = seededRandom(SEED)
  const questions: Question[] = []
  const lines: (PythonLine | null)[] = []
  let verifier = new PythonLedgerVerifier({ sha256, limits })
  for (let i = 0; i < count; i++) {
    if (random.chance(0.02)) {
      verifier = new PythonLedgerVerifier({ sha256, limits })
      questions.push({ kind: 'R', payload: new Uint8Array(0) })
      lines.push(null)
    }
    const payload = hostileLine(random.chance(0.97) ? verifier.report().head : 'GENESIS', random, limits)
    questions.push({ kind: 'L', payload })
    const [line, ...more] = verifier.push(Buffer.concat([payload, Buffer.from('\n')]))
    expect(more).toEqual([])
    lines.push(line!)
  }
  const verdicts = new Map<string, number>()
  for (const [i, { verdict, argument, hash, respelled }] of askPython(questions).answers.entries()) {
    const line = lines[i]!
    if (line === null) continue
    verdicts.set(verdict!, (verdicts.get(verdict!) ?? 0) + 1)
    const theirs = {
      verdict,
      ...(verdict === 'KeyError' ? { argument } : {}),
      ...(hash === undefined ? {} : { hash }),
      ...(respelled === undefined ? {} : { respelled }),
    }
    expect(ours(line), `seed ${SEED}, line ${i}: ${line.text?.slice(0, 2_000)}`).toEqual(theirs)
  }
  // Else there would be little to agree on.
  expect(verdicts.get('ok')).toBeGreaterThan(count / 2)
  const seen = [
    'ok',
    'previous_hash',
    'hash',
    'UnicodeDecodeError',
    'JSONDecodeError',
    'RecursionError',
    'TypeError',
    'KeyError',
    'ValueError',
  ]
  expect([...verdicts.keys()]).toEqual(expect.arrayContaining(seen))
})
