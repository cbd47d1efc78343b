import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { tempDir } from '../helpers/temp.ts'
import { entryLines, jsonLines, ok, run, shell } from './cli.ts'

const entries = [
  {
    run_id: 'a',
    agent_name: 'says "no", twice',
    method_name: 'm',
    model_name: 'gpt',
    provider_name: 'openai',
    latency_ms: 12.5,
    usage: { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10 },
  },
  {
    run_id: 'b',
    agent_name: 'x',
    method_name: 'm',
    outcome: 'denied',
    tags: ['t1', 't2'],
    correlation_id: 'c,1',
    usage: { input_tokens: 1, output_tokens: 2 },
  },
]

async function makeLedger(name = 'audit'): Promise<string> {
  const ledger = join(tempDir(), name)
  await ok(['record', ledger], { input: entryLines(entries) })
  return ledger
}

/** RFC 4180, read by its own grammar and nothing else. */
function parseCsv(text: string): string[][] {
  const rows: string[][] = []
  let row: string[] = []
  let at = 0
  while (at < text.length) {
    const match = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/y
    match.lastIndex = at
    const found = match.exec(text)
    if (found === null) throw new Error(`no RFC 4180 at ${at}: ${text.slice(at, at + 20)}`)
    row.push(found[1]?.replaceAll('""', '"') ?? found[2] ?? '')
    if (found[3] === '\r\n') {
      rows.push(row)
      row = []
    }
    at = match.lastIndex
  }
  return rows
}

describe('export', () => {
  test('jsonl is the bytes of the segments', async () => {
    const ledger = await makeLedger()
    const folder = join(ledger, 'segments')
    const segments = readdirSync(folder)
      .toSorted()
      .map((name) => readFileSync(join(folder, name), 'utf8'))
    expect(await ok(['export', ledger, '--format', 'jsonl'])).toBe(segments.join(''))
    expect(await ok(['export', ledger])).toBe(segments.join(''))
  })

  test('csv by RFC 4180, with names and figures of the content', async () => {
    const ledger = await makeLedger('audit.db')
    const [titles = [], ...rows] = parseCsv(await ok(['export', ledger, '--format', 'csv']))
    const records = jsonLines(await ok(['export', ledger])) as { hash: string; header: { [key: string]: unknown } }[]
    expect(rows).toHaveLength(3)
    const cells = rows.map((row) => Object.fromEntries(titles.map((title, i) => [title, row[i]])))
    records.forEach(({ hash, header }, i) => {
      expect(cells[i]?.['hash']).toBe(hash)
      for (const key of [
        'seq',
        'run_id',
        'timestamp',
        'recorded_at',
        'actor',
        'action',
        'outcome',
        'type',
        'stream',
        'stream_version',
        'previous_hash',
        'entry_hash',
      ]) {
        expect(cells[i]?.[key]).toBe(String(header[key]))
      }
    })
    expect(cells[1]).toMatchObject({
      provider_name: 'openai',
      model_name: 'gpt',
      input_tokens: '7',
      output_tokens: '3',
      total_tokens: '10',
      latency_ms: '12.5',
    })
    expect(cells[2]).toMatchObject({ tags: 't1 t2', correlation_id: 'c,1', input_tokens: '1', output_tokens: '2', total_tokens: '' })
  })

  test('only what fits', async () => {
    const ledger = await makeLedger()
    expect(await ok(['export', ledger, '--outcome', 'denied'])).toBe(await ok(['query', ledger, '--outcome', 'denied', '--json']))
  })

  test('-o replaces a file when all is written, and leaves nothing beside it', async () => {
    const ledger = await makeLedger()
    const dir = tempDir()
    writeFileSync(join(dir, 'out'), 'before')
    await ok(['export', ledger, '-o', join(dir, 'out')])
    expect(readFileSync(join(dir, 'out'), 'utf8')).toBe(await ok(['export', ledger]))
    expect(readdirSync(dir)).toEqual(['out'])
    expect(await ok(['export', ledger, '-o', '-'])).toBe(readFileSync(join(dir, 'out'), 'utf8'))
    const piped = await shell(`cortex-ledger export ${ledger} -o /dev/stdout | cat`)
    expect([piped.code, piped.stdout]).toEqual([0, readFileSync(join(dir, 'out'), 'utf8')])
    expect(existsSync('/dev/stdout')).toBe(true)
  })

  test('a ledger is never replaced by its export', async () => {
    for (const name of ['audit', 'audit.db']) {
      const ledger = await makeLedger(name)
      const before = await ok(['export', ledger])
      const target = name === 'audit' ? join(ledger, 'segments', '00000000000000000000.jsonl') : ledger
      expect((await run(['export', ledger, '-o', target])).code).toBe(2)
      expect(await ok(['export', ledger])).toBe(before)
    }
  })

  test('what can not be written or read is 3, a format that is none is 2, a broken pipe is 0', async () => {
    const ledger = await makeLedger()
    expect((await run(['export', ledger, '-o', join(ledger, '..', 'no', 'folder', 'x')])).code).toBe(3)
    expect((await run(['export', ledger, '-o', '/dev/full'])).code).toBe(3)
    expect((await run(['export', join(ledger, 'nowhere')])).code).toBe(3)
    expect((await run(['export', ledger, '--format', 'xml'])).code).toBe(2)
    await ok(['record', ledger], { input: entryLines(Array.from({ length: 3000 }, () => ({ agent_name: 'a', method_name: 'm' }))) })
    const { code, stderr } = await shell(`cortex-ledger export ${ledger} | head -1 > /dev/null`)
    expect([code, stderr]).toEqual([0, ''])
  })
})
