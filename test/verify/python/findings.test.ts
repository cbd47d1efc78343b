/** What is said of each line, Python's part and what Python can't see. */
import { describe, expect, test } from 'vitest'
import { dumps } from '../../../src/verify/python/dumps.ts'
import { computeEntryHash, PYTHON_FINDING_CODES } from '../../../src/verify/python/entry.ts'
import {
  PythonLedgerVerifier,
  type PythonLedgerOptions,
  type PythonLedgerReport,
  type PythonLine,
} from '../../../src/verify/python/ledger.ts'
import { loads } from '../../../src/verify/python/loads.ts'
import { PYTHON_3_11, type PythonDict, type PythonValue } from '../../../src/verify/python/value.ts'
import { sha256 } from './hostile.ts'

/** A line of the chain, as Python writes it. */
function entry(members: string, previous: string): string {
  const dict = new Map(loads(`{${members}}`) as PythonDict).set('previous_hash', previous)
  return dumps(dict.set('hash', computeEntryHash(dict, previous, sha256, PYTHON_3_11)))
}

function hashOf(line: string): string {
  return (loads(line) as PythonDict).get('hash') as string
}

const first = entry('"run_id": "r1", "cost": 0.1, "outcome": "ok"', 'GENESIS')
const second = entry('"run_id": "r2"', hashOf(first))
const third = entry('"run_id": "r3"', hashOf(second))
const plain = '{"run_id": "r0"}'

function check(
  file: string | Uint8Array,
  options: PythonLedgerOptions = {},
): { readonly lines: readonly PythonLine[]; readonly report: PythonLedgerReport } {
  const verifier = new PythonLedgerVerifier(options)
  const lines = verifier.push(typeof file === 'string' ? Buffer.from(file) : file)
  lines.push(...verifier.end())
  return { lines, report: verifier.report() }
}

const seen = new Set<string>()

/** The findings of each line, and what Python does. */
function codes(
  file: string | Uint8Array,
  options: PythonLedgerOptions = {},
): { readonly found: string[][]; readonly says: string; readonly line: number | null } {
  const { lines, report } = check(file, options)
  const found = lines.map(({ findings }) => findings.map(({ code }) => code))
  for (const code of found.flat()) seen.add(code)
  for (const { expected, found: text } of lines.flatMap(({ findings }) => findings)) {
    expect(`${expected}${text}`).toMatch(/^[ -~]*$/)
  }
  const { verdict, line } = report
  const says = verdict.says === 'false' ? verdict.check : verdict.says === 'raises' ? verdict.exception : verdict.says
  return { found, says, line }
}

test('an honest ledger', () => {
  const { lines, report } = check(`${first}\n${second}\n${third}\n`)
  expect(report).toEqual({
    verdict: { says: 'ok' },
    line: null,
    lines: 3,
    bytes: first.length + second.length + third.length + 3,
    chained: 3,
    head: hashOf(third),
    findings: new Map(),
  })
  expect(lines[1]).toMatchObject({
    number: 2,
    byte: first.length + 1,
    length: second.length,
    ending: '\n',
    text: second,
    bytes: null,
    stated_hash: hashOf(second),
    computed_hash: hashOf(second),
  })
  expect(lines[1]!.entry!.get('run_id')).toBe('r2')
  expect(check('').report).toMatchObject({ verdict: { says: 'ok' }, line: null, lines: 0, head: 'GENESIS' })
})

describe('what Python sees', () => {
  test('lines without a chain', () => {
    expect(codes(`${plain}\n${plain}\n`)).toEqual({ found: [['legacy_line'], ['legacy_line']], says: 'KeyError', line: 1 })
    expect(codes(`${plain}\n${first}\n${plain}\n${second}\n`)).toEqual({
      found: [['legacy_line'], [], ['unchained_line'], []],
      says: 'KeyError',
      line: 1,
    })
    expect(codes('{"hash": "x"}\n').found).toEqual([['missing_hash']])
    expect(codes('{"previous_hash": "GENESIS"}\n')).toEqual({ found: [['missing_hash']], says: 'KeyError', line: 1 })
  })

  test('a broken chain, told apart from a changed line', () => {
    expect(codes(`${first}\n${third}\n`)).toEqual({ found: [[], ['chain_broken']], says: 'previous_hash', line: 2 })
    expect(codes(`${first}\n${second.replace('r2', 'rX')}\n${third}\n`)).toEqual({
      found: [[], ['hash_mismatch'], []],
      says: 'hash',
      line: 2,
    })
    expect(codes(`${second.replace('r2', 'rX')}\n`).found).toEqual([['chain_broken', 'hash_mismatch']])
    expect(codes('{"previous_hash": 1, "hash": "x"}\n').found).toEqual([['chain_broken']])
    const { findings, computed_hash } = check(`${first.replace('"hash": "', '"hash": "f\\ud800')}\n`).lines[0]!
    expect(findings).toEqual([{ code: 'hash_mismatch', expected: computed_hash, found: `f\\ud800${hashOf(first)}` }])
  })

  test('lines that it can’t read', () => {
    expect(codes(`${first}\n\n \t\n${second}\n`)).toEqual({
      found: [[], ['blank_line'], ['blank_line'], []],
      says: 'JSONDecodeError',
      line: 2,
    })
    expect(codes(`${first}\n${second.slice(0, 50)}`)).toEqual({ found: [[], ['not_json', 'torn_line']], says: 'JSONDecodeError', line: 2 })
    expect(codes(`\ufeff${first}\n`).found).toEqual([['not_json']])
    expect(codes('[]\n"x"\n1\n')).toEqual({ found: [['not_object'], ['not_object'], ['not_object']], says: 'TypeError', line: 1 })
    expect(codes(`{"a": ${'9'.repeat(4301)}}\n`)).toEqual({ found: [['too_many_digits']], says: 'ValueError', line: 1 })
    expect(codes('{"previous_hash": "GENESIS", "hash": "\\ud800"}\n{"previous_hash": "\\ud800", "hash": ""}\n').found).toEqual([
      ['hash_mismatch'],
      ['unencodable'],
    ])
  })

  test('bytes that are not UTF-8: for Python the file can’t be read, for us that line', () => {
    const bad = Buffer.from(`${first}\n${second}\n${third}\n`)
    bad[first.length + 5] = 0xff
    expect(codes(bad)).toEqual({ found: [[], ['undecodable'], ['chain_broken']], says: 'UnicodeDecodeError', line: 1 })
    const line = check(bad).lines[1]!
    expect(line).toMatchObject({ text: null, value: null, findings: [{ found: `byte ${first.length + 5}` }] })
    expect(line.bytes).toEqual(new Uint8Array(bad.subarray(first.length + 1, first.length + 1 + second.length)))
  })

  test('depth on which its versions disagree is always told', () => {
    const nested = (depth: number): string => `"deep": ${'['.repeat(depth)}${']'.repeat(depth)}`
    expect(codes(`${entry(nested(499), 'GENESIS')}\n`).found).toEqual([[]])
    expect(codes(`${entry(nested(500), 'GENESIS')}\n`)).toEqual({ found: [['too_deep']], says: 'ok', line: null })
    expect(codes(`${entry(nested(992), 'GENESIS')}\n`)).toEqual({ found: [['too_deep']], says: 'ok', line: null })
    const unhashable = `{${nested(993)}, "previous_hash": "GENESIS", "hash": ""}\n`
    expect(codes(unhashable)).toEqual({ found: [['too_deep']], says: 'RecursionError', line: 1 })
    expect(codes(unhashable, { limits: { ...PYTHON_3_11, dumps_depth_max: 2000 } }).says).toBe('hash')
    expect(codes(`{${nested(994)}}\n`)).toEqual({ found: [['too_deep']], says: 'RecursionError', line: 1 })
  })
})

describe('what Python can’t see', () => {
  test.each<[string, string, string[]]>([
    [
      'a second key that says otherwise',
      first.replace('"outcome": ', '"outcome": "FAILED", "outcome": '),
      ['duplicate_key', 'other_spelling'],
    ],
    ['white space', first.replace(', ', ',  '), ['other_spelling']],
    ['white space at the end', `${first} `, ['other_spelling']],
    ['no white space', first.replaceAll(', ', ','), ['other_spelling']],
    ['an escape', first.replace('run_id', 'run\\u005fid'), ['other_spelling']],
    ['another spelling of a number', first.replace('0.1', '1.00e-1'), ['other_spelling']],
    ['a number of other digits', first.replace('0.1', '0.1000000000000000055'), ['lost_precision', 'other_spelling']],
  ])('%s', (_, line, found) => {
    expect(line).not.toBe(first)
    expect(codes(`${line}\n${second}\n`)).toEqual({ found: [found, []], says: 'ok', line: null })
  })

  test('where the spellings part', () => {
    const { findings } = check(`${first.replace('"ok"', '"\\u006Fk"')}\n`).lines[0]!
    expect(findings).toEqual([
      { code: 'other_spelling', expected: expect.stringMatching(/^ok", "previous_hash"/), found: expect.stringMatching(/^\\u006Fk", /) },
    ])
  })

  test('a last line without its end, and other ends of lines', () => {
    expect(codes(`${first}\n${second}`)).toEqual({ found: [[], ['torn_line']], says: 'ok', line: null })
    expect(codes(`${first}\r\n${second}\r\n`)).toEqual({ found: [[], []], says: 'ok', line: null })
    expect(codes(`${first}\n${second}\r\n${third}\n`).found).toEqual([[], ['line_ending'], []])
    expect(codes(`${first}\r${second}\r`)).toEqual({ found: [['line_ending'], ['line_ending']], says: 'ok', line: null })
    expect(check(`${first}\u2028`).lines).toHaveLength(1)
  })
})

test('a line over the limit is not read, and what follows is', () => {
  const file = `${first}\n${entry(`"long": "${'x'.repeat(5000)}"`, hashOf(first))}\n${second}\n`
  expect(codes(file, { lineBytesMax: 1000 })).toEqual({ found: [[], ['line_too_long'], []], says: 'not checked', line: 2 })
  const verifier = new PythonLedgerVerifier({ lineBytesMax: 1000 })
  const numbers = [...Buffer.from(file)]
    .flatMap((byte) => verifier.push(Uint8Array.of(byte)))
    .map(({ number, byte, length }) => [number, byte, length])
  expect(numbers).toEqual(check(file).lines.map(({ number, byte, length }) => [number, byte, length]))
})

test('every finding was made above', () => {
  expect(seen).toEqual(new Set(PYTHON_FINDING_CODES))
})

test('values keep what a JSON object would lose', () => {
  const [line] = check('{"10": 1, "9": 1.0, "__proto__": 12345678901234567890, "x": [true, null, "a"]}\n').lines
  const expected: [string, PythonValue][] = [
    ['10', 1n],
    ['9', 1],
    ['__proto__', 12345678901234567890n],
    ['x', [true, null, 'a']],
  ]
  expect([...line!.entry!]).toEqual(expected)
})
