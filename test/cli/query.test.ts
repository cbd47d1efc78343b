import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { BIN, entryLines, headerHashOf, jsonLines, ok, run, shell } from './cli.ts'

interface Line {
  readonly hash: string
  readonly header: { readonly seq: number; readonly run_id: string; readonly timestamp: string; readonly actor: string }
}

/** 150 calls, one a minute from 2026-02-08T04:00:00Z. */
const ENTRIES = Array.from({ length: 150 }, (_, i) => ({
  run_id: `run-${i}`,
  agent_name: i % 2 === 0 ? 'analyst' : 'coder',
  method_name: i % 3 === 0 ? 'plan' : 'write',
  correlation_id: `task-${Math.floor(i / 10)}`,
  timestamp_end: new Date(Date.UTC(2026, 1, 8, 4, i)).toISOString(),
  prompt: i % 7 === 0 ? `Refund ${'please '.repeat(i % 5)}for bob@example.com` : `Case ${i}`,
  outcome: ['success', 'failure', 'denied', 'timeout'][i % 4],
  provider_name: i % 5 === 0 ? 'anthropic' : 'openai',
  model_name: i % 5 === 0 ? 'claude' : 'gpt',
  tags: i % 10 === 0 ? ['ten', ...(i % 20 === 0 ? ['twenty'] : [])] : [],
  ...(i > 0 && { causation_id: `run-${i - 1}` }),
}))

describe.each(['audit', 'audit.db'])('query %s', (name) => {
  let dir: string
  let ledger: string
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'cortex-ledger-'))
    ledger = join(dir, name)
    await ok(['init', ledger, '--origin', 'example.com/query'])
    await ok(['record', ledger], { input: entryLines(ENTRIES) })
  })
  afterAll(() => rmSync(dir, { recursive: true, force: true }))

  const seqs = async (...args: string[]): Promise<number[]> =>
    (jsonLines(await ok(['query', ledger, '--json', ...args])) as Line[]).map(({ header }) => header.seq)
  /** Positions of the entries that fit: entry i is record i + 1. */
  const fitting = (fits: (entry: (typeof ENTRIES)[number], i: number) => boolean): number[] =>
    ENTRIES.flatMap((entry, i) => (fits(entry, i) ? [i + 1] : []))

  test('record lines, oldest first, 100 unless said, the cursor on stderr', async () => {
    const { code, stdout, stderr } = await run(['query', ledger, '--json'])
    expect(code).toBe(0)
    const lines = stdout.split('\n').slice(0, -1)
    expect((jsonLines(stdout) as Line[]).map(({ header }) => header.seq)).toEqual(Array.from({ length: 100 }, (_, i) => i))
    for (const line of lines) expect(headerHashOf(line)).toBe(line.slice(9, 73))
    const cursor = /--cursor (\S+)/.exec(stderr)?.[1]
    const rest = await run(['query', ledger, '--json', '--cursor', cursor ?? ''])
    expect((jsonLines(rest.stdout) as Line[]).map(({ header }) => header.seq)).toEqual(Array.from({ length: 51 }, (_, i) => i + 100))
    expect(rest.stderr).toBe('')
  })

  test('by each criterion', async () => {
    expect(await seqs('--run-id', 'run-7')).toEqual([8])
    expect(await seqs('--correlation-id', 'task-3')).toEqual(fitting((_, i) => Math.floor(i / 10) === 3))
    expect(await seqs('--causation-id', 'run-7')).toEqual([9])
    expect(await seqs('--actor', 'coder', '--action', 'plan')).toEqual(fitting((_, i) => i % 2 === 1 && i % 3 === 0))
    expect(await seqs('--outcome', 'denied', '--outcome', 'timeout')).toEqual(fitting((_, i) => i % 4 >= 2))
    expect(await seqs('--type', 'LedgerCreated')).toEqual([0])
    expect(await seqs('--stream', 'task-3', '--limit', '2')).toEqual([31, 32])
    expect(await seqs('--tag', 'ten', '--tag', 'twenty')).toEqual(fitting((_, i) => i % 20 === 0))
    expect(await seqs('--provider', 'anthropic', '--model', 'claude')).toEqual(fitting((_, i) => i % 5 === 0))
    expect(await seqs('--actor', 'nobody')).toEqual([])
  })

  test('by time: since inclusive, until exclusive, any zone', async () => {
    expect(await seqs('--since', '2026-02-08T05:00:00+01:00', '--until', '2026-02-08T04:03:00Z')).toEqual([1, 2, 3])
    expect(await seqs('--since', '2026-02-08', '--until', '2026-02-09', '--limit', '1000')).toHaveLength(150)
    expect(await seqs('--until', '2026-02-08')).toEqual([])
    const [first] = jsonLines(await ok(['query', ledger, '--json', '--limit', '1'])) as { header: { recorded_at: string } }[]
    const at = first?.header.recorded_at ?? ''
    expect((await seqs('--recorded-since', at))[0]).toBe(0)
    expect(await seqs('--recorded-until', at)).toEqual([])
  })

  test('newest first, more than a page, and counts', async () => {
    expect(await seqs('--newest', '--limit', '3')).toEqual([150, 149, 148])
    expect(await seqs('--newest', '--limit', '3', '--cursor', 'n148')).toEqual([147, 146, 145])
    expect(await seqs('--limit', '100000')).toHaveLength(151)
    expect(await ok(['query', ledger, '--count', '--outcome', 'denied'])).toBe(`${fitting((_, i) => i % 4 === 2).length}\n`)
    expect(await ok(['query', ledger, '--count', '--json'])).toBe('{"count":151}\n')
  })

  test('by words: all of them, literally, in any order, ranked or by time', async () => {
    const refunds = fitting((_, i) => i % 7 === 0)
    expect(await seqs('--text', 'refund FOR')).toEqual(refunds)
    expect(await seqs('--text', 'bob@example.com', '--newest', '--limit', '2')).toEqual(refunds.slice(-2).toReversed())
    expect(await seqs('--text', 'refund OR case')).toEqual([])
    const askedTwice = await seqs('--text', 'refund please', '--rank', '--limit', '3')
    expect(askedTwice.every((seq) => (seq - 1) % 7 === 0 && (seq - 1) % 5 > 1)).toBe(true)
    const { stdout, stderr } = await run(['query', ledger, '--text', 'refund', '--rank', '--limit', '10', '--json'])
    const cursor = /--cursor (r151\.10) /.exec(stderr)?.[1] ?? ''
    const rest = await seqs('--text', 'refund', '--rank', '--cursor', cursor)
    const first = (jsonLines(stdout) as Line[]).map(({ header }) => header.seq)
    expect([...first, ...rest].toSorted((a, b) => a - b)).toEqual(refunds)
    expect(await ok(['query', ledger, '--text', 'refund', '--count'])).toBe(`${refunds.length}\n`)
    expect(await ok(['query', ledger, '--text', 'refund', '--actor', 'coder', '--count'])).toBe(
      `${fitting((_, i) => i % 7 === 0 && i % 2 === 1).length}\n`,
    )
    expect(jsonLines(await ok(['export', ledger, '--text', 'refund']))).toHaveLength(refunds.length)
    expect(await ok(['stats', ledger])).toMatch(/^text index lag records +0$/m)
  })

  test('a table for people, as wide as the terminal', async () => {
    const { stdout } = await run(['query', ledger, '--limit', '5'])
    const [titles, , second] = stdout.split('\n')
    expect(titles).toMatch(/^seq\s+time \(UTC\)\s+outcome\s+actor\s+action\s+type\s+model\s+correlation_id\s+run_id$/)
    expect(second).toMatch(/^ {2}1 {2}2026-02-08 04:00:00\.000 {2}success {2}analyst .* claude {2}task-0 .*run-0$/)
    for (const width of [60, 80, 120]) {
      const narrow = await ok(['query', ledger, '--limit', '5'], { env: { COLUMNS: String(width) } })
      for (const line of narrow.split('\n')) expect(line.length).toBeLessThanOrEqual(width)
      expect(narrow).toMatch(/^seq /)
    }
    expect((await run(['query', ledger, '--actor', 'nobody'])).stderr).toBe('no record fits\n')
  })

  test('show: by run_id, by position, the line or everything', async () => {
    const line = await ok(['show', ledger, 'run-4', '--json'])
    expect(line).toBe(await ok(['query', ledger, '--run-id', 'run-4', '--json']))
    expect(await ok(['show', ledger, '--seq', '5', '--json'])).toBe(line)
    expect(await ok(['show', 'run-4', '--json'], { env: { CORTEX_LEDGER: ledger } })).toBe(line)
    const { hash, header } = JSON.parse(line) as { hash: string; header: { [key: string]: unknown } }
    const shown = await ok(['show', ledger, 'run-4'])
    for (const [key, value] of Object.entries(header)) expect(shown).toMatch(new RegExp(`^${key} +${String(value)}$`, 'm'))
    expect(shown).toContain(hash)
    expect(shown).toMatch(/^model_name +gpt$/m)
    expect((await run(['show', ledger, 'run-none'])).code).toBe(3)
    expect((await run(['show', ledger, '--seq', '9999'])).code).toBe(3)
    expect((await run(['show', ledger])).code).toBe(2)
    expect((await run(['show', ledger, 'run-4', '--seq', '1'])).code).toBe(2)
  })

  test('a broken pipe is no error', async () => {
    const { code, stdout, stderr } = await shell(`cortex-ledger query ${ledger} --json --limit 1000 | head -1`)
    expect([code, stderr]).toEqual([0, ''])
    expect(jsonLines(stdout)).toHaveLength(1)
  })

  test('a full disk behind stdout is one', async () => {
    const { code, stderr } = await shell(`cortex-ledger query ${ledger} --json > /dev/full`)
    expect([code, stderr]).toEqual([3, expect.stringMatching(/ENOSPC/)])
  })

  test('colour when it is asked for, and never in what machines read', async () => {
    const coloured = await ok(['query', ledger, '--limit', '2'], { env: { FORCE_COLOR: '1' } })
    expect(coloured).toContain('\x1b[')
    for (const env of [{}, { NO_COLOR: '1' }, { NO_COLOR: '1', FORCE_COLOR: '1' }]) {
      expect(await ok(['query', ledger, '--limit', '2'], { env })).not.toContain('\x1b')
    }
    expect(await ok(['query', ledger, '--json'], { env: { FORCE_COLOR: '1' } })).not.toContain('\x1b')
  })

  test('a terminal gets colour and its own width', async (context) => {
    const terminal = await shell(`script -qec 'stty cols 70; ${process.execPath} ${BIN} query ${ledger} --limit 3' /dev/null`, {
      env: { TERM: 'xterm' },
    })
    if (terminal.code === 127) return context.skip('needs `script` of util-linux to make a terminal')
    expect(terminal.stdout).toContain('\x1b[1mseq')
    const lines = stripVTControlCharacters(terminal.stdout).split('\r\n')
    expect(lines[0]).toMatch(/^seq .* actor/)
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(70)
  })

  test.each([
    [['--since', '2026-02-08T04:00:00'], /names no zone/],
    [['--outcome', 'good'], /success, failure/],
    [['--limit', '0'], /whole number/],
    [['--limit', 'all'], /whole number/],
    [['--cursor', 'x'], /cursor/],
    [['--cursor', 'n5'], /other order/],
    [['--bogus'], /unknown option/],
    [['--text', '...'], /no word/],
    [['--text', ''], /no word/],
    [['--rank'], /--rank needs --text/],
    [['--text', 'a', '--rank', '--newest'], /two orders/],
    [['--text', 'a', '--rank', '--cursor', 'o5'], /other order/],
    [['one', 'more'], /too many arguments/],
  ])('%j is misuse', async (args, message) => {
    const { code, stdout, stderr } = await run(['query', ledger, ...args])
    expect([code, stdout, stderr]).toEqual([2, '', expect.stringMatching(message)])
  })
})
