/** Several processes on one file: serialised when they write, and readers see each commit. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, test } from 'vitest'
import { openSqliteStore } from '../../../src/stores/sqlite/index.ts'
import { readLine } from '../../../src/verify/record.ts'
import { STRIPPING } from '../../helpers/child.ts'
import { scale } from '../../helpers/scale.ts'
import { tempDir } from '../../helpers/temp.ts'
import { linesOf, makeLedger } from './helpers.ts'

async function startAppender(path: string, name: string, batches: number, size: number): Promise<{ go(): void; done: Promise<string> }> {
  const script = join(import.meta.dirname, 'appending-process.ts')
  const child = spawn(
    process.execPath,
    [...STRIPPING, '--disable-warning=ExperimentalWarning', script, path, name, String(batches), String(size)],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  )
  const lines = createInterface({ input: child.stdout })
  await once(lines, 'line')
  const done = once(lines, 'line').then(([line]) => String(line))
  return { go: () => void child.stdin.end('go\n'), done }
}

test('processes that append at once are serialised: gapless, each batch together, every record chained to the one before', async () => {
  const path = join(tempDir(), 'ledger.db')
  await makeLedger(path, 1)
  const batches = scale(40, 1000)
  const size = 5
  const names = ['red', 'green', 'blue']
  const appenders = await Promise.all(names.map((name) => startAppender(path, name, batches, size)))
  const reader = await openSqliteStore(path, { readOnly: true })
  for (const { go } of appenders) go()

  // Meanwhile another process reads: what it sees only grows, by whole batches, and what it saw stays.
  let seen: string[] = []
  let ended = false
  const finished = Promise.all(appenders.map(({ done }) => done)).then((lines) => {
    ended = true
    return lines
  })
  let growth = 0
  while (!ended) {
    const lines = await linesOf(reader)
    expect((lines.length - 1) % size).toBe(0)
    expect(lines.slice(0, seen.length)).toEqual(seen)
    if (lines.length > seen.length) growth++
    seen = lines
  }
  expect(await finished).toEqual(names.map(() => expect.stringMatching(/^done \d+$/)))
  expect(growth).toBeGreaterThan(0)

  const records = (await linesOf(reader)).map((line) => readLine(Buffer.from(line)))
  await reader.close()
  expect(records.length).toBe(1 + names.length * batches * size)
  records.forEach(({ header }, seq) => {
    expect(header.seq).toBe(seq)
    if (seq === 0) return
    expect(header.previous_hash).toBe(records[seq - 1]!.hash)
    // A batch is one stream of its own: never interleaved.
    const first = records[seq - ((seq - 1) % size)]!
    expect(header.stream).toBe(first.header.stream)
  })
  expect(new Set(records.map(({ header }) => header.run_id)).size).toBe(records.length)
})

test('what another process commits is seen by the next read', async () => {
  const path = join(tempDir(), 'ledger.db')
  const chain = await makeLedger(path, 1)
  const reader = await openSqliteStore(path, { readOnly: true })
  const appender = await startAppender(path, 'red', 1, 3)
  expect(await linesOf(reader)).toEqual(chain.lines)
  appender.go()
  await appender.done
  expect((await linesOf(reader)).length).toBe(4)
  expect((await reader.state({ streams: ['red-0'], run_ids: [] })).streams).toEqual(new Map([['red-0', 2]]))
  await reader.close()
})
