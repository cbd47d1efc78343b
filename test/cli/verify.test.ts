import { chmodSync, cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { VerificationReport } from '../../src/index.ts'
import { tempDir } from '../helpers/temp.ts'
import { entryLines, ok, run, shell } from './cli.ts'

const ORIGIN = 'example.com/verify'
const entries = Array.from({ length: 12 }, (_, i) => ({
  run_id: `run-${i}`,
  agent_name: 'a',
  method_name: 'm',
  raw_output: `said ${i}`,
  outcome: i === 6 ? 'denied' : 'success',
}))

async function makeLedger(name: string): Promise<string> {
  const folder = tempDir()
  const ledger = join(folder, name)
  // Several ledgers of one origin: each on a machine of its own.
  process.env['XDG_STATE_HOME'] = join(folder, 'state')
  await ok(['init', ledger, '--origin', ORIGIN])
  await ok(['record', ledger], { input: entryLines(entries) })
  return ledger
}

/** Changes the lines of a ledger's first segment. */
function tamper(ledger: string, change: (lines: string[]) => string[]): void {
  const folder = join(ledger, 'segments')
  const file = join(folder, readdirSync(folder).toSorted()[0] as string)
  const lines = readFileSync(file, 'utf8').slice(0, -1).split('\n')
  chmodSync(file, 0o644)
  writeFileSync(file, `${change(lines).join('\n')}\n`)
}

async function reportOf(ledger: string, ...args: string[]): Promise<{ code: number | null; report: VerificationReport }> {
  const { code, stdout } = await run(['verify', ledger, '--json', ...args])
  return { code, report: JSON.parse(stdout) as VerificationReport }
}

describe.each(['audit', 'audit.db'])('an honest ledger %s', (name) => {
  test('JSON as others rely on it, and words for people', async () => {
    const ledger = await makeLedger(name)
    const { code, report } = await reportOf(ledger)
    expect(code).toBe(0)
    expect(Object.keys(report).slice(0, 6)).toEqual(['ok', 'size', 'head', 'origin', 'verdicts', 'missing'].filter((key) => key in report))
    const [last] = (await ok(['tail', ledger, '-n', '1', '--json'])).split('\n')
    expect(report).toMatchObject({
      ok: true,
      size: 13,
      head: (JSON.parse(last ?? '') as { hash: string }).hash,
      // This machine signed a checkpoint at the end, and remembers it.
      verdicts: { integrity: 'pass', authenticity: 'not checked', completeness: 'pass', time: 'not checked' },
      missing: { authenticity: expect.any(String), time: expect.any(String) },
      claims: { authentic: null, complete: 13, existed: null },
      problems: [],
    })
    expect(report.missing).not.toHaveProperty('integrity')
    const text = await ok(['verify', ledger, '--origin', ORIGIN, '--canonical'])
    expect(text).toMatch(/^integrity +pass/m)
    expect(text).toMatch(/^completeness +pass +all 13 records are those of a checkpoint from before/m)
    for (const verdict of ['authenticity', 'time']) expect(text).toMatch(new RegExp(`^${verdict} +not checked +would need: `, 'm'))
    expect(text).toMatch(/entries canonical: pass/)
    expect(text).toMatch(/no problem found; 2 of 4 claims not checked/)
    expect(text).toContain(ORIGIN)
    expect(await run(['verify', ledger, '--quiet'])).toEqual({ code: 0, stdout: '', stderr: '' })
  })

  test('of another origin than was asked for fails', async () => {
    const ledger = await makeLedger(name)
    const { code, report } = await reportOf(ledger, '--origin', 'example.com/other')
    expect(code).toBe(1)
    expect(report.problems[0]).toMatchObject({ code: 'wrong_origin', seq: 0, expected: 'example.com/other', found: ORIGIN })
    expect((await run(['verify', ledger, '--origin', 'no origin'])).code).toBe(2)
  })
})

describe('keys and checkpoints from outside', () => {
  async function outside(): Promise<{ ledger: string; key: string; since: string }> {
    const ledger = await makeLedger('audit')
    const record = readFileSync(join(ledger, 'segments', '00000000000000000000.jsonl'), 'utf8')
    const key = (/"keys":\["([^"]+)"/.exec(record) as RegExpExecArray)[1] as string
    const since = `${ledger}.checkpoint`
    cpSync(join(ledger, 'tree', 'checkpoint'), since)
    return { ledger, key, since }
  }

  test('each verdict says up to which record, and a cut or forged ledger ends with 1', async () => {
    const { ledger, key, since } = await outside()
    await ok(['record', ledger], { input: entryLines([{ agent_name: 'b', method_name: 'm' }]) })
    const text = await ok(['verify', ledger, '--key', key, '--since', since, '--no-remembered', '--threads', '2'])
    expect(text).toMatch(/^authenticity +pass +all 14 records are what the holder of example\.com\/verify\+[0-9a-f]{8} signed/m)
    expect(text).toMatch(/^completeness +pass +the records up to position 12, of 14, are those of a checkpoint/m)
    const onlyNew = await ok(['verify', ledger, '--since', since, '--only-new', '--no-remembered'])
    expect(onlyNew).toMatch(/^integrity +pass +every record from position 13 on /m)
    expect(onlyNew).toMatch(/note: the 13 records before were not read/)
    tamper(ledger, (lines) => lines.slice(0, -2))
    const cut = await run(['verify', ledger, '--since', since, '--no-remembered'])
    expect([cut.code, cut.stdout]).toEqual([1, expect.stringMatching(/^completeness +fail/m)])
    expect(cut.stdout).toMatch(/behind_checkpoint +\S*audit\.checkpoint/)
    const forged = await makeLedger('audit')
    expect((await run(['verify', forged, '--key', key, '--quiet'])).code).toBe(1)
  })

  test('what can not be read is misuse, and no finding', async () => {
    const { ledger, key, since } = await outside()
    const junk = `${ledger}.junk`
    writeFileSync(junk, 'no checkpoint\n')
    for (const args of [
      ['--key', 'nonsense'],
      ['--key', `${key}x`],
      ['--since', junk],
      ['--since', `${junk}.not-there`],
      ['--policy', junk],
      ['--policy', `${junk}.not-there`],
      ['--only-new'],
      ['--threads', '3'],
    ]) {
      const { code, stderr } = await run(['verify', ledger, ...args])
      expect([code, stderr], args.join(' ')).toEqual([2, expect.stringContaining(args[0] as string)])
    }
    expect((await run(['verify', ledger, '--key', key, '--key', key, '--since', since, '--since', since])).code).toBe(0)
  })
})

describe('a tampered ledger', () => {
  test('each problem with its position and place, in JSON and in words, exit code 1', async () => {
    const ledger = await makeLedger('audit')
    tamper(ledger, (lines) => lines.map((line, i) => (i === 5 ? line.replace('said 4', 'said 5') : line)))
    const { code, report } = await reportOf(ledger)
    expect(code).toBe(1)
    expect(report).toMatchObject({ ok: false, size: 13, verdicts: { integrity: 'fail' } })
    expect(report.problems).toHaveLength(1)
    const [problem] = report.problems
    expect(Object.keys(problem ?? {}).toSorted()).toEqual(['code', 'expected', 'found', 'seq', 'where'])
    const before = readFileSync(join(ledger, 'segments', '00000000000000000000.jsonl'), 'utf8')
      .split('\n')
      .slice(0, 5)
    const byte = Buffer.byteLength(before.map((line) => `${line}\n`).join(''))
    expect(problem).toMatchObject({ code: 'entry_mismatch', seq: 5, where: { file: 'segments/00000000000000000000.jsonl', byte } })
    const { code: again, stdout } = await run(['verify', ledger])
    expect(again).toBe(1)
    expect(stdout).toMatch(/^integrity +fail/m)
    expect(stdout).toMatch(new RegExp(`^ +5 +entry_mismatch +segments/00000000000000000000.jsonl:${byte} `, 'm'))
    expect(stdout).toMatch(/NOT WHAT WAS RECORDED: 1 problem;/)
    expect(await run(['verify', ledger, '--quiet'])).toEqual({ code: 1, stdout: '', stderr: '' })
  })

  test('what an attacker wrote can steer no terminal', async () => {
    const ledger = await makeLedger('audit')
    tamper(ledger, (lines) => [lines[0] as string, '\x1b]0;owned\x07\x1b[2J', ...lines.slice(1)])
    const { code, stdout } = await run(['verify', ledger], { env: { NO_COLOR: '1' } })
    expect(code).toBe(1)
    for (const char of ['\x07', '\x1b']) expect(stdout).not.toContain(char)
  })

  test('a pipe that breaks keeps the exit code', async () => {
    const ledger = await makeLedger('audit')
    tamper(ledger, (lines) => lines.toSpliced(4, 1))
    expect((await shell(`cortex-ledger verify ${ledger} | true`)).code).toBe(1)
  })

  test('too damaged to open: a report, exit code 1', async () => {
    const ledger = await makeLedger('audit')
    tamper(ledger, (lines) => lines.map(() => 'nothing of it is left'))
    const { code, report } = await reportOf(ledger)
    expect([code, report.ok, report.verdicts.integrity]).toEqual([1, false, 'fail'])
    const copy = `${await makeLedger('audit.db')}`
    const bytes = readFileSync(copy)
    writeFileSync(copy, bytes.fill(0x41, 0, 4096))
    expect((await reportOf(copy)).report.ok).toBe(false)
  })
})

describe('what is exported', () => {
  test.each(['audit', 'audit.db'])('from %s verifies like the ledger, and shows what is done to it', async (name) => {
    const ledger = await makeLedger(name)
    const file = `${ledger}.export.jsonl`
    expect(await run(['export', ledger, '--format', 'jsonl', '-o', file])).toMatchObject({
      code: 0,
      stdout: '',
      stderr: expect.stringMatching(/^13 records written to /),
    })
    const honest = await reportOf(file)
    expect([honest.code, honest.report.head]).toEqual([0, (await reportOf(ledger)).report.head])
    writeFileSync(file, readFileSync(file, 'utf8').replace('"outcome":"denied"', '"outcome":"success"'))
    const { code, report } = await reportOf(file)
    expect([code, report.problems[0]?.code, report.problems[0]?.seq]).toEqual([1, 'hash_mismatch', 7])
  })
})

test('a copy is not touched by looking at it', async () => {
  const ledger = await makeLedger('audit')
  const copy = join(tempDir(), 'copy')
  cpSync(ledger, copy, { recursive: true })
  const names = (dir: string): string[] => readdirSync(dir, { recursive: true }).map(String).toSorted()
  const before = names(copy)
  await ok(['verify', copy])
  expect(names(copy)).toEqual(before)
})

test('nothing there is not "nothing wrong"', async () => {
  const { code, stdout, stderr } = await run(['verify', join(tempDir(), 'nowhere')])
  expect([code, stdout, stderr]).toEqual([3, '', expect.stringMatching(/not_found/)])
})
