/** Whole files: what real Python's `verify_ledger_integrity` does with them, we say; what its `append_entry` wrote, we find nothing wrong with. */
import { describe, expect, test } from 'vitest'
import { seededRandom, type SeededRandom } from '../../../src/testing/index.ts'
import { dumps, quotePython } from '../../../src/verify/python/dumps.ts'
import { computeEntryHash, type PythonVerdict } from '../../../src/verify/python/entry.ts'
import { PythonLedgerVerifier, type PythonLedgerReport, type PythonLine } from '../../../src/verify/python/ledger.ts'
import { PYTHON_3_11, type PythonLimits, type PythonValue } from '../../../src/verify/python/value.ts'
import { mutated } from '../../helpers/fuzzing.ts'
import { scale } from '../../helpers/scale.ts'
import { hostileLine, hostileObject, sha256, tryLoads } from './hostile.ts'
import { askPython, pythonMissing, type PythonAnswer, type Question } from './python.ts'

const SEED = 20260209
const expression = (text: string): string => `json.loads(${quotePython(text)})`

interface Checked {
  /** Without the values, which go deeper than a comparison should: they are what the text says. */
  readonly lines: readonly PythonLine[]
  readonly report: PythonLedgerReport
}

function checked(file: Buffer, limits: PythonLimits, random?: SeededRandom): Checked {
  const verifier = new PythonLedgerVerifier({ sha256, limits })
  const lines: PythonLine[] = []
  for (let at = 0; at < file.length;) {
    const end = random === undefined ? file.length : Math.min(file.length, at + random.below(random.chance(0.1) ? 3 : 10_000))
    // A chunk is a buffer that its reader uses again.
    const chunk = Buffer.from(file.subarray(at, end))
    lines.push(...verifier.push(chunk))
    chunk.fill(0x78)
    at = end
  }
  lines.push(...verifier.end())
  return { lines: lines.map((line) => ({ ...line, value: null, entry: null })), report: verifier.report() }
}

function named(verdict: PythonVerdict): string {
  return verdict.says === 'ok' ? 'True' : verdict.says === 'false' ? 'False' : verdict.says === 'raises' ? verdict.exception : verdict.says
}

function expectAgreement({ report }: Checked, answer: PythonAnswer, what: string): void {
  expect(named(report.verdict), what).toBe(answer.verdict)
  if (answer.verdict === 'UnicodeDecodeError') expect(report.line, what).toBe(answer.undecodable)
  if (answer.verdict === 'KeyError') expect(report.verdict, what).toHaveProperty('reason', `'${answer.argument}'`)
}

/** Ledgers as the seed's program writes them. */
function honestLedgers(
  count: number,
  entries: number,
  random: SeededRandom,
): { readonly files: readonly Buffer[]; readonly limits: PythonLimits } {
  const questions: Question[] = []
  for (let i = 0; i < count; i++) {
    const expressions: string[] = []
    while (expressions.length < entries) {
      const entry = tryLoads(hostileObject(random, PYTHON_3_11), PYTHON_3_11)
      if (entry === null || entry.has('hash') || entry.has('previous_hash')) continue
      expressions.push(expression(dumps(new Map<string, PythonValue>([['run_id', `r${i}`], ...entry]))))
    }
    questions.push({ kind: 'A', payload: Buffer.from(JSON.stringify(expressions)) })
  }
  const { answers, limits } = askPython(questions)
  return { files: answers.map(({ file }) => Buffer.from(file!, 'base64')), limits }
}

/** Lines of a chain without a fault, each of the given length in bytes with its line feed. */
function chainOfLengths(lengths: readonly number[]): Buffer[] {
  let previous = 'GENESIS'
  return lengths.map((length) => {
    const spelled = (pad: string): string => {
      const entry = new Map([
        ['pad', pad],
        ['previous_hash', previous],
      ])
      return `${dumps(entry.set('hash', computeEntryHash(entry, previous, sha256, PYTHON_3_11)))}\n`
    }
    const line = spelled('x'.repeat(length - spelled('').length))
    previous = line.slice(-67, -3)
    return Buffer.from(line)
  })
}

describe.skipIf(pythonMissing !== null)('files', () => {
  test('what Python wrote: Python says True, we find nothing', () => {
    const { files, limits } = honestLedgers(scale(10, 100), 40, seededRandom(SEED))
    const windows = files.map((file) => Buffer.from(file.toString('latin1').replaceAll('\n', '\r\n'), 'latin1'))
    const all = [...files, ...windows]
    const { answers } = askPython(all.map((payload) => ({ kind: 'F', payload })))
    for (const [i, file] of all.entries()) {
      const { lines, report } = checked(file, limits)
      expect(answers[i]!.verdict).toBe('True')
      expect(lines.flatMap(({ findings, number }) => findings.map((finding) => ({ number, ...finding })))).toEqual([])
      expect(report).toEqual({
        verdict: { says: 'ok' },
        line: null,
        lines: 40,
        bytes: file.length,
        chained: 40,
        head: lines.at(-1)!.stated_hash,
        findings: new Map(),
      })
    }
  })

  test('what Python wrote and Python refuses', () => {
    const honest = [
      // Sorted as numbers when written, as texts when verified.
      '{"m": {9: 1, 10: 2}}',
      // Two halves apart sort before U+E000; read again they are one character, behind it.
      '{"\\ud83d\\ude00": 1, "\\ue000": 2}',
      '{"hash": "x", "a": 1}',
    ]
    const files = askPython(honest.map((text) => ({ kind: 'A', payload: Buffer.from(JSON.stringify([text])) }))).answers
    const payloads = files.map(({ file }) => Buffer.from(file!, 'base64'))
    const { answers, limits } = askPython(payloads.map((payload) => ({ kind: 'F', payload })))
    for (const [i, answer] of answers.entries()) {
      expect(answer.verdict).toBe('False')
      const { lines } = checked(payloads[i]!, limits)
      expect(lines[0]!.verdict).toEqual({ says: 'false', check: 'hash' })
    }
  })

  test('damaged and hostile files: our verdict is Python’s', { timeout: 600_000 }, (context) => {
    context.annotate(`seed ${SEED}`)
    const random = seededRandom(SEED)
    const { files, limits } = honestLedgers(10, 60, random)
    const damaged = Array.from({ length: scale(300, 3_000) }, (): Buffer => {
      if (random.chance(0.6)) return mutated(random.pick(files), random)
      const verifier = new PythonLedgerVerifier({ sha256, limits })
      const parts: Buffer[] = []
      for (let i = random.below(30); i > 0; i--) {
        const line = hostileLine(verifier.report().head, random, limits)
        const [checkedLine] = verifier.push(Buffer.concat([line, Buffer.from('\n')]))
        // Mostly whole ones, else no file would come far.
        if (checkedLine!.verdict.says === 'ok' || random.chance(0.1)) parts.push(line, Buffer.from(random.pick(['\n', '\n', '\r\n', '\r'])))
      }
      if (random.chance(0.3)) parts.pop()
      return Buffer.concat(parts)
    })
    const { answers } = askPython(damaged.map((payload) => ({ kind: 'F', payload })))
    for (const [i, file] of damaged.entries()) {
      const whole = checked(file, limits)
      expectAgreement(whole, answers[i]!, `seed ${SEED}, file ${i}`)
      expect(checked(file, limits, random), `seed ${SEED}, file ${i} in chunks`).toEqual(whole)
    }
    const verdicts = new Set(answers.map(({ verdict }) => verdict))
    expect([...verdicts]).toEqual(expect.arrayContaining(['True', 'False', 'UnicodeDecodeError', 'JSONDecodeError', 'KeyError']))
  })

  test('bytes that are not UTF-8 around the ends of the chunks in which Python decodes', () => {
    const cases: Buffer[] = []
    for (const lengthFirst of [8189, 8190, 8191, 8192, 8193, 8194]) {
      for (const ending of ['\n', '\r', '\r\n']) {
        for (const [at, bad] of [-3, -2, -1, 0, 1, 2, 8190, 8191, 8192, 8193].flatMap((at) =>
          ['\xff', '\xe2', '\xf0\x9f', '\xed\xa0'].map((bad) => [at, bad] as const),
        )) {
          const lines = chainOfLengths([lengthFirst - 4000 + 1 - ending.length, 4000 + 1 - ending.length, 500, 8400])
          const file = Buffer.concat(lines.flatMap((line) => [line.subarray(0, -1), Buffer.from(ending)]))
          // The second line is wrong; the bad bytes come before it, in it or behind it.
          file[lengthFirst - 100]! ^= 1
          file.write(bad, 8192 + at, 'latin1')
          cases.push(file)
        }
      }
    }
    for (const bad of ['\xed\xa0', '\xed\xa0\n', '\xe2', '\xe2\x82', '\xe2\n', 'x\xff', '\xe2\r'])
      cases.push(Buffer.concat([...chainOfLengths([300, 400]), Buffer.from(bad, 'latin1')]))
    const { answers, limits } = askPython(cases.map((payload) => ({ kind: 'F', payload })))
    for (const [i, file] of cases.entries()) expectAgreement(checked(file, limits), answers[i]!, `case ${i}`)
    expect(new Set(answers.map(({ verdict }) => verdict))).toEqual(new Set(['False', 'UnicodeDecodeError']))
  })
})
