import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { scale } from '../helpers/scale.ts'
import { tempDir } from '../helpers/temp.ts'
import { ended, entryLines, jsonLines, ok, run, shell, start } from './cli.ts'

const call = { agent_name: 'analyst', method_name: 'summarise' }

interface Receipt {
  readonly run_id: string
  readonly seq: number
  readonly hash: string
}

async function sizeOf(ledger: string): Promise<number> {
  return Number(await ok(['query', ledger, '--count']))
}

describe.each(['audit', 'audit.db'])('record into %s', (name) => {
  test('makes the ledger, takes lines from stdin, gives receipts that are durable', async () => {
    const dir = tempDir()
    const ledger = join(dir, name)
    const input = entryLines([
      { ...call, run_id: 'r-1', correlation_id: 'task-42', outcome: 'denied', causation_id: 'r-0', tags: ['b', 'a'], stream: 'case' },
      { ...call, run_id: 'r-2', outcome: null, prompt: 'é 東京' },
    ])
    const { code, stdout, stderr } = await run(['record', ledger, '--json'], { input })
    expect(code).toBe(0)
    expect(stderr).toMatch(/^created .*its key is in /)
    const receipts = jsonLines(stdout) as Receipt[]
    expect(receipts).toEqual([
      {
        run_id: 'r-1',
        seq: 1,
        hash: expect.stringMatching(/^[0-9a-f]{64}$/),
        recorded_at: expect.any(String),
        stream: 'case',
        stream_version: 0,
      },
      {
        run_id: 'r-2',
        seq: 2,
        hash: expect.stringMatching(/^[0-9a-f]{64}$/),
        recorded_at: expect.any(String),
        stream: 'r-2',
        stream_version: 0,
      },
    ])
    const records = jsonLines(await ok(['query', ledger, '--json', '--action', 'summarise'])) as {
      hash: string
      header: object
      entry: object
    }[]
    expect(records.map(({ hash }) => hash)).toEqual(receipts.map(({ hash }) => hash))
    expect(records[0]?.header).toMatchObject({
      outcome: 'denied',
      causation_id: 'r-0',
      tags: ['a', 'b'],
      stream: 'case',
      correlation_id: 'task-42',
    })
    expect(records[0]?.entry).not.toHaveProperty('outcome')
    expect(records[1]?.entry).toMatchObject({ prompt: 'é 東京' })
  })

  test('stops at the first bad line: what is before it is durable, nothing behind it is there', async () => {
    const ledger = join(tempDir(), name)
    const lines = [call, call, { agent_name: 'analyst', method_nam: 'x' }, ...Array.from({ length: 500 }, () => call)]
    const { code, stdout, stderr } = await run(['record', ledger], { input: entryLines(lines) })
    expect(code).toBe(2)
    expect(stderr).toMatch(/line 3: invalid_entry: .*\/method_nam\b/)
    expect(stdout).toMatch(/^recorded 2 records \(seq 1 to 2\).*1 bad line/)
    expect(await sizeOf(ledger)).toBe(3)
  })

  test('--keep-going records the rest and still ends with 2', async () => {
    const ledger = join(tempDir(), name)
    const input = `${JSON.stringify(call)}\n\nno json\n{"agent_name":"a"}\n  \n${JSON.stringify(call)}\n[]\n${JSON.stringify(call)}`
    const { code, stdout, stderr } = await run(['record', ledger, '-', '--keep-going'], { input })
    expect(code).toBe(2)
    expect(stderr).toMatch(/line 3: not JSON/)
    expect(stderr).toMatch(/line 4: .*\/method_name/)
    expect(stderr).toMatch(/line 7: a line is one JSON object/)
    expect(stdout).toMatch(/^recorded 3 records \(seq 1 to 3\).*3 bad lines left out/)
    expect(await sizeOf(ledger)).toBe(4)
  })

  test('the same file twice is recorded once; a run_id with other content is refused with 4', async () => {
    const dir = tempDir()
    const ledger = join(dir, name)
    const file = join(dir, 'calls.jsonl')
    writeFileSync(file, entryLines(['a', 'b', 'a'].map((run_id) => ({ ...call, run_id }))))
    expect(await ok(['record', ledger, file])).toMatch(/^recorded 2 records \(seq 1 to 2\).*; 1 were there already/)
    expect(await ok(['record', ledger, file])).toMatch(/^nothing recorded .*; 3 were there already/)
    const other = await run(['record', ledger], { input: entryLines([{ ...call, run_id: 'b', prompt: 'other' }]) })
    expect(other.code).toBe(4)
    expect(other.stderr).toMatch(/line 1: run_id_conflict/)
    expect(await sizeOf(ledger)).toBe(3)
  })

  test('many records in flight, in the order of their lines', async () => {
    const ledger = join(tempDir(), name)
    const count = scale(6000, 60_000)
    const input = entryLines(Array.from({ length: count }, (_, i) => ({ ...call, run_id: `r-${i}`, prompt: 'x'.repeat(i % 700) })))
    const receipts = jsonLines(await ok(['record', ledger, '--json'], { input })) as Receipt[]
    expect(receipts).toHaveLength(count)
    expect(receipts.every(({ run_id, seq }, i) => run_id === `r-${i}` && seq === i + 1)).toBe(true)
  })
})

describe('record', () => {
  test('says of each bad line where it is bad; no byte is replaced, no value is guessed', async () => {
    const bad: readonly (readonly [line: string | Uint8Array, message: RegExp])[] = [
      ['\ufeff{"agent_name":"a","method_name":"m"}', /byte order mark/],
      ['{"agent_name":"a","method_name":"m","outcome":"failure","outcome":"success"}', /at \/outcome: .*twice/],
      ['{"agent_name":"a","method_name":"m","outcome":"good"}', /invalid_entry: .*outcome/],
      ['{"agent_name":"a","method_name":"m","tags":"x"}', /tags must be an array/],
      ['{"agent_name":"a","method_name":"m","usage":{"n":9007199254740993}}', /invalid_entry: .*\/usage\/n/],
      ['{"agent_name":"a","method_name":"m","prompt":"\\ud800"}', /invalid_entry: .*\/prompt/],
      ['{"agent_name":"a","method_name":"m","timestamp_end":"2026-02-08T04:00:00"}', /invalid_entry: .*\/timestamp_end/],
      ['{"agent_name":"a","method_name":"m","unknown":1}', /invalid_entry: .*"unknown"/],
      [Buffer.from('{"agent_name":"a","method_name":"m\xff"}', 'latin1'), /UTF-8/],
    ]
    const input = Buffer.concat(bad.flatMap(([line]) => [Buffer.from(line), Buffer.from('\n')]))
    const { code, stdout, stderr } = await run(['record', 'memory:', '--keep-going'], { input })
    expect([code, stdout]).toEqual([2, expect.stringMatching(/^nothing recorded .*9 bad lines left out/)])
    const told = stderr.split('\n').filter((line) => line.startsWith('line '))
    bad.forEach(([, message], i) => {
      expect(told[i]).toMatch(new RegExp(`^line ${i + 1}: `))
      expect(told[i]).toMatch(message)
    })
  })

  test('the reserved stream is refused with 4', async () => {
    const { code, stderr } = await run(['record', 'memory:'], { input: entryLines([{ ...call, stream: 'ledger' }]) })
    expect([code, stderr]).toEqual([4, expect.stringMatching(/line 1: reserved/)])
  })

  test('a file that is not there is told before a ledger is made', async () => {
    const ledger = join(tempDir(), 'audit')
    const { code, stderr } = await run(['record', ledger, join(ledger, 'calls.jsonl')])
    expect([code, stderr]).toEqual([3, expect.stringMatching(/ENOENT/)])
    expect(existsSync(ledger)).toBe(false)
  })

  test('a file of lines in place of the ledger is told what to type', async () => {
    const file = join(tempDir(), 'calls.jsonl')
    writeFileSync(file, entryLines([call]))
    const { code, stderr } = await run(['record', file])
    expect([code, stderr]).toEqual([2, expect.stringMatching(/cortex-ledger record LEDGER/)])
  })

  test('receipts come while the pipe stays open, and an interrupt ends it after what is on its way', async () => {
    const ledger = join(tempDir(), 'audit')
    const child = start(['record', ledger, '--json'])
    const end = ended(child)
    child.stdin?.write(entryLines([call]))
    await new Promise((resolve) => child.stdout?.once('data', resolve))
    child.kill('SIGINT')
    const { code, stdout, stderr } = await end
    expect(code).toBe(130)
    expect(jsonLines(stdout)).toHaveLength(1)
    expect(stderr).toMatch(/recorded 1 record .*interrupted/)
  })

  test('a reader of receipts that goes away stops no recording', async () => {
    const dir = tempDir()
    writeFileSync(join(dir, 'in.jsonl'), entryLines(Array.from({ length: 3000 }, () => call)))
    const { code, stdout } = await shell('cortex-ledger record audit in.jsonl --json | head -1', { cwd: dir })
    expect(code).toBe(0)
    expect(jsonLines(stdout)).toHaveLength(1)
    expect(await sizeOf(join(dir, 'audit'))).toBe(3001)
  })

  test('a second writer is refused with 4', async () => {
    const ledger = join(tempDir(), 'audit')
    const first = start(['record', ledger, '--json'])
    const end = ended(first)
    first.stdin?.write(entryLines([call]))
    await new Promise((resolve) => first.stdout?.once('data', resolve))
    const second = await run(['record', ledger], { input: entryLines([call]) })
    expect([second.code, second.stderr]).toEqual([4, expect.stringMatching(new RegExp(`locked: .*${first.pid}`))])
    first.stdin?.end()
    expect((await end).code).toBe(0)
    expect(await sizeOf(ledger)).toBe(2)
  })
})
