/** `cortex-ledger import`, as people and scripts use it. */
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { tempDir } from '../helpers/temp.ts'
import { ended, jsonLines, ok, run, start } from './cli.ts'

const DATA = join(import.meta.dirname, '../../../shared/data/tau-airline-gpt-4o.json.gz')
const missing = existsSync(DATA) ? null : `${DATA} is not there`
if (missing !== null) console.warn(`skipped, the real runs are not imported: ${missing}`)

interface Line {
  readonly header: { readonly [key: string]: unknown }
  readonly entry: object
}

/** What differs from one import to the next, whatever is imported. */
const OF_THE_IMPORT = ['previous_hash', 'entry_hash', 'recorded_at']

/** What an import is to give wherever and whenever it is made. */
function comparable(exported: string): object[] {
  return (jsonLines(exported) as Line[])
    .filter(({ header }) => header['stream'] !== 'ledger')
    .map(({ header, entry }) => ({ entry, header: Object.entries(header).filter(([key]) => !OF_THE_IMPORT.includes(key)) }))
}

async function stats(ledger: string): Promise<{ size: number; types: { [type: string]: number } }> {
  return JSON.parse(await ok(['stats', ledger, '--json'])) as { size: number; types: { [type: string]: number } }
}

describe.skipIf(missing !== null)('200 real runs', () => {
  const counts = { AgentCallCompleted: 2454, ToolCallCompleted: 1164 }

  test('into both stores: what they export is the same', { timeout: 300_000 }, async () => {
    const dir = tempDir()
    const exported: object[][] = []
    for (const name of ['audit', 'audit.db']) {
      const ledger = join(dir, name)
      const first = JSON.parse(await ok(['import', ledger, DATA, '--format', 'chat', '--json'])) as object
      expect(first).toMatchObject({ imported: 3618, already: 0, skipped: 0, problems: [] })
      expect(Object.keys(first).slice(0, 4)).toEqual(['imported', 'already', 'skipped', 'problems'])
      const again = await ok(['import', ledger, DATA, '--format', 'chat'])
      expect(again).toMatch(/^imported 0 records; .*2,454 are calls and 1,164 tool results; 3,618 were there already\n$/)
      expect((await stats(ledger)).types).toEqual({ LedgerCreated: 1, ...counts })
      expect(JSON.parse(await ok(['verify', ledger, '--canonical', '--json']))).toMatchObject({ ok: true, problems: [] })
      exported.push(comparable(await ok(['export', ledger, '--format', 'jsonl'])))
    }
    expect(exported[0]).toHaveLength(3618)
    expect(exported[1]).toEqual(exported[0])
  })

  test.each(['audit', 'audit.db'])('killed on the way into %s, it goes on where it stopped', { timeout: 300_000 }, async (name) => {
    const dir = tempDir()
    const ledger = join(dir, name)
    const text = gunzipSync(readFileSync(DATA))
    const source = ['--format', 'chat', '--source', 'tau']
    const child = start(['import', ledger, '-', ...source])
    const end = ended(child)
    child.stdin!.on('error', () => {})
    // Half of it, and then nothing more comes: what is durable by then was not finished.
    child.stdin!.write(text.subarray(0, text.length / 2))
    const bytes = (): number => {
      const live = name === 'audit' ? join(ledger, 'segments') : dir
      if (!existsSync(live)) return 0
      return readdirSync(live).reduce((sum, file) => sum + (statSync(join(live, file), { throwIfNoEntry: false })?.size ?? 0), 0)
    }
    while (bytes() < 1_000_000) await new Promise((resolve) => setTimeout(resolve, 20))
    child.kill('SIGKILL')
    await end
    const before = (await stats(ledger)).size - 1
    expect(before).toBeGreaterThan(0)
    expect(before).toBeLessThan(3618)
    const report = JSON.parse(await ok(['import', ledger, DATA, ...source, '--json'])) as { imported: number; already: number }
    expect(report.imported + report.already).toBe(3618)
    expect(report.already).toBeGreaterThanOrEqual(before)
    expect((await stats(ledger)).types).toMatchObject(counts)
    await ok(['verify', ledger])
    const whole = join(dir, 'whole')
    await ok(['import', whole, DATA, ...source])
    expect(comparable(await ok(['export', ledger]))).toEqual(comparable(await ok(['export', whole])))
  })
})

const good = '{"run_id": "r1", "agent_name": "analyst", "timestamp": "2026-02-08T04:00:00Z"}\n'

function file(content: string, name = 'audit.jsonl'): string {
  const path = join(tempDir(), name)
  writeFileSync(path, content)
  return path
}

describe('cortex-jsonl', () => {
  test('a plain file', async () => {
    const ledger = join(tempDir(), 'audit')
    expect(await ok(['import', ledger, file(good), '--format', 'cortex-jsonl'])).toBe('imported 2 records\n')
    expect((await stats(ledger)).types).toEqual({ LedgerCreated: 1, LegacyLedgerAdopted: 1, LegacyEntryImported: 1 })
    const [, adopted, line] = jsonLines(await ok(['export', ledger])) as { header: object; entry: object }[]
    expect(adopted!.header).toMatchObject({ type: 'LegacyLedgerAdopted' })
    expect(line!.entry).toEqual({ line: good.trimEnd(), file: 'audit.jsonl', number: 1, findings: [] })
  })

  test('findings: listed, 1, and not even an empty ledger is made; adopted, 0', async () => {
    const ledger = join(tempDir(), 'audit')
    const bad = file(`${good}${good.replace(', ', ',')}\n${good.trimEnd()}`)
    const refused = await run(['import', ledger, bad, '--format', 'cortex-jsonl'])
    expect(refused).toMatchObject({ code: 1, stdout: 'imported 0 records; 4 lines left out\n' })
    expect(refused.stderr).toMatch(
      /^line 2: other_spelling: [^\n]*\nline 3: blank_line: [^\n]*\nline 4: torn_line: [^\n]*\nnothing was written; --adopt-findings/,
    )
    const json = await run(['import', ledger, bad, '--format', 'cortex-jsonl', '--json'])
    expect(json.code).toBe(1)
    expect(JSON.parse(json.stdout)).toMatchObject({
      imported: 0,
      already: 0,
      skipped: 4,
      problems: [
        { code: 'other_spelling', line: 2 },
        { code: 'blank_line', line: 3 },
        { code: 'torn_line', line: 4 },
      ],
    })
    expect(existsSync(ledger)).toBe(false)
    const adopted = await run(['import', ledger, bad, '--format', 'cortex-jsonl', '--adopt-findings'])
    expect(adopted).toMatchObject({ code: 0, stdout: 'imported 5 records; 3 findings recorded\n' })
    expect((await run(['import', ledger, bad, '--format', 'cortex-jsonl'])).code).toBe(1)
    expect((await stats(ledger)).size).toBe(6)
  })

  test('a time without a zone', async () => {
    const ledger = join(tempDir(), 'audit.db')
    const zoneless = file(good.replace('Z"', '"'))
    for (const more of [[], ['--adopt-findings']]) {
      const { code, stderr } = await run(['import', ledger, zoneless, '--format', 'cortex-jsonl', ...more])
      expect([code, stderr]).toEqual([1, expect.stringMatching(/^line 1: zoneless_time: .*\nnothing was written; --assume-utc/)])
    }
    expect(existsSync(ledger)).toBe(false)
    await ok(['import', ledger, zoneless, '--format', 'cortex-jsonl', '--assume-utc'])
    expect(await ok(['query', ledger, '--since', '2026-02-08T04:00:00Z', '--type', 'LegacyEntryImported', '--count'])).toBe('1\n')
  })

  test('another file under the same source name is refused with 4', async () => {
    const ledger = join(tempDir(), 'audit')
    await ok(['import', ledger, file(good), '--format', 'cortex-jsonl'])
    const { code, stderr } = await run(['import', ledger, file('{}\n'), '--format', 'cortex-jsonl'])
    expect([code, stderr]).toEqual([4, expect.stringMatching(/run_id_conflict: another file .*"audit.jsonl"/)])
    await ok(['import', ledger, file('{}\n'), '--format', 'cortex-jsonl', '--source', 'other'])
  })
})

describe('chat', () => {
  const runs = JSON.stringify([[{ role: 'assistant', content: 'Hi' }], { messages: [] }])

  test('a bad run is listed and left out, the others go on, and it ends with 1', async () => {
    const ledger = join(tempDir(), 'audit')
    const { code, stdout, stderr } = await run(['import', ledger, file(runs, 'runs.json'), '--format', 'chat', '--agent', 'greeter'])
    expect([code, stdout]).toEqual([1, expect.stringMatching(/^imported 1 record; .*; 1 run left out\n$/)])
    expect(stderr).toMatch(/line 1 \(run 1\): no_messages/)
    expect(await ok(['query', ledger, '--actor', 'greeter', '--count'])).toBe('1\n')
  })

  test('from stdin, with CORTEX_LEDGER', async () => {
    const env = { CORTEX_LEDGER: join(tempDir(), 'audit') }
    const { code, stdout } = await run(['import', '-', '--format', 'chat', '--source', 'piped', '--json'], { input: runs, env })
    expect(code).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({ imported: 1, skipped: 1, problems: [{ code: 'no_messages', line: 1, run: 1 }] })
  })

  test('an interrupt ends it after what is on its way', async () => {
    const ledger = join(tempDir(), 'audit')
    const child = start(['import', ledger, '-', '--format', 'chat', '--source', 'piped', '--json'])
    const end = ended(child)
    child.stdin!.write('[[{"role":"assistant","content":"Hi"}],')
    const segment = join(ledger, 'segments', `${'0'.repeat(20)}.jsonl`)
    while (!existsSync(segment) || !readFileSync(segment, 'utf8').includes('"raw_output":"Hi"')) {
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    child.kill('SIGINT')
    const { code, stdout } = await end
    expect(code).toBe(130)
    expect(JSON.parse(stdout)).toMatchObject({ imported: 1, interrupted: true })
  })
})

/** A file that is always there. */
const HERE = import.meta.filename

test.each<[string, string[], number, RegExp]>([
  ['no file', ['import', '--format', 'chat'], 2, /which file/],
  ['no ledger', ['import', HERE, '--format', 'chat'], 2, /which file/],
  ['no format', ['import', 'memory:', HERE], 2, /which format/],
  ['another format', ['import', 'memory:', HERE, '--format', 'csv'], 2, /"csv"/],
  ['a file that is not there', ['import', 'memory:', 'nowhere.json', '--format', 'chat'], 3, /ENOENT/],
  ['a directory', ['import', 'memory:', '.', '--format', 'chat'], 2, /directory/],
  ['stdin twice', ['import', 'memory:', '-', '--format', 'cortex-jsonl'], 2, /read twice/],
  ['stdin without a name', ['import', 'memory:', '-', '--format', 'chat'], 2, /--source/],
  ['an option of the other format', ['import', 'memory:', HERE, '--format', 'chat', '--assume-utc'], 2, /cortex-jsonl/],
  ['a bad name', ['import', 'memory:', HERE, '--format', 'chat', '--source', 'a\tb'], 2, /--source/],
])('misuse: %s', async (_, args, code, message) => {
  const ended = await run(args)
  expect([ended.code, ended.stderr]).toEqual([code, expect.stringMatching(message)])
  expect(ended.stdout).toBe('')
})
