/** The text index is derived: whatever becomes of it, and of the thread that writes it, answers stay right and appends go on. */
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'
import { describe, expect, test } from 'vitest'
import { ledgerParts } from '../../../src/ledger/founding.ts'
import { Ledger } from '../../../src/ledger/ledger.ts'
import type { LedgerParts } from '../../../src/ledger/parts.ts'
import type { AuditLedger } from '../../../src/index.ts'
import { openStore } from '../../../src/open-store.ts'
import { textIndexFor } from '../../../src/open-text.ts'
import { seededRandom } from '../../../src/testing/index.ts'
import { startChild } from '../../helpers/child.ts'
import { damage } from '../../helpers/jsonl-ledger.ts'
import { scale, soaking } from '../../helpers/scale.ts'
import { tempDir } from '../../helpers/temp.ts'
import { expectedSeqs, indexOf, open, PERSISTENT, placeOf, seqsOf } from './helpers.ts'

const WORDS = ['refund', 'airline', 'storm', 'gate', 'Zürich', 'a-b'] as const

async function fill(ledger: Ledger, count: number, seed: number): Promise<void> {
  const random = seededRandom(seed)
  const text = (): string => Array.from({ length: random.below(8) }, () => random.pick(WORDS)).join(' ')
  await Promise.all(
    Array.from({ length: count }, (_, i) =>
      ledger.record({ agent_name: `agent-${i % 3}`, method_name: 'm', prompt: text(), raw_output: text() }),
    ),
  )
}

async function answersRight(ledger: AuditLedger): Promise<void> {
  for (const text of ['refund', 'storm gate', 'zurich a-b', 'nobody']) {
    const expected = await expectedSeqs(ledger, text)
    expect(await seqsOf(ledger, { text, limit: 50 }), text).toEqual(expected)
    expect(await seqsOf(ledger, { text, order: 'newest', limit: 50 }), text).toEqual(expected.toReversed())
    expect(
      (await seqsOf(ledger, { text, order: 'rank', limit: 50 })).toSorted((a, b) => a - b),
      text,
    ).toEqual(expected)
    expect(await ledger.count({ text })).toBe(expected.length)
  }
}

function sql(path: string, ...statements: string[]): void {
  const database = new DatabaseSync(path, { defensive: false } as object)
  for (const statement of statements) database.exec(statement)
  database.close()
}

const HARM: Readonly<Record<string, (path: string) => void>> = {
  'it is deleted': (path) => rmSync(path),
  'it is empty': (path) => truncateSync(path, 0),
  'it is cut in half': (path) => truncateSync(path, Math.floor(statSync(path).size / 2)),
  'it is garbage': (path) => writeFileSync(path, Buffer.from(seededRandom(1).bytes(50_000))),
  'its pages are garbage': (path) => writeFileSync(path, Buffer.from(readFileSync(path)).fill(0x5a, 8192)),
  'it is a database of something else': (path) => {
    rmSync(path)
    sql(path, 'CREATE TABLE text (a)')
  },
  'it is of another version': (path) => sql(path, "UPDATE meta SET value = 'text/0' WHERE key = 'schema'"),
  'its notes are gone': (path) => sql(path, 'DELETE FROM meta'),
  'its position makes no sense': (path) => sql(path, 'UPDATE meta SET value = \'{"size":"x"}\' WHERE key = \'position\''),
  'its position is ahead of the ledger': (path) =>
    sql(path, "UPDATE meta SET value = json_set(value, '$.size', 100000) WHERE key = 'position'"),
  'its position is an earlier one': (path) => sql(path, "UPDATE meta SET value = json_set(value, '$.size', 3) WHERE key = 'position'"),
  'it is of another ledger': (path) => sql(path, "UPDATE meta SET value = json_set(value, '$.hash', 'f') WHERE key = 'position'"),
  'its last row is gone': (path) => sql(path, 'DELETE FROM text_docsize WHERE id = (SELECT max(id) FROM text_docsize)'),
  'its segments are gone': (path) => sql(path, 'DELETE FROM text_data WHERE id > 10'),
  'records are in it under other positions': (path) =>
    sql(
      path,
      "INSERT INTO text (text, rowid, prompt, output) VALUES ('delete', 5, '', '')",
      "INSERT INTO text (rowid, prompt) VALUES (7, 'nobody')",
      "INSERT INTO text (rowid, prompt) VALUES (0, 'refund storm gate')",
    ),
}

// The index is one and the same file; what differs by store is read in search.test.ts and real.test.ts.
describe.each(soaking ? PERSISTENT : PERSISTENT.slice(0, 1))('%s', (kind) => {
  test('whatever harm it comes to, answers are right in a reader and in a writer', async () => {
    const location = placeOf(kind)
    const path = indexOf(kind, location)
    {
      await using ledger = await open(location)
      await fill(ledger, 120, 1)
      await answersRight(ledger)
    }
    expect(existsSync(path)).toBe(true)
    const whole = readFileSync(path)
    for (const [i, [what, harm]] of Object.entries(HARM).entries()) {
      for (const readOnly of soaking ? [true, false] : [i % 2 === 0]) {
        rmSync(path, { force: true })
        writeFileSync(path, whole)
        harm(path)
        await using ledger = await open(location, { readOnly })
        await answersRight(ledger).catch((error: unknown) => {
          throw new Error(`where ${what}, readOnly ${readOnly}`, { cause: error })
        })
      }
    }
  })

  test('it is deleted, broken and replaced while the ledger is open', async () => {
    const location = placeOf(kind)
    const path = indexOf(kind, location)
    await using ledger = await open(location)
    await fill(ledger, 80, 2)
    await answersRight(ledger)
    rmSync(path)
    await answersRight(ledger)
    for (const file of [path, `${path}-wal`, `${path}-shm`]) rmSync(file, { force: true })
    writeFileSync(path, 'garbage')
    await fill(ledger, 40, 3)
    await answersRight(ledger)
    const { size } = await ledger.head()
    await ledger.flush()
    expect((await ledger.stats()).text).toMatchObject({ records: size, lag_records: 0 })
  })

  test('an index of another ledger, and one of this ledger as it once was', async () => {
    const [one, other] = [placeOf(kind), placeOf(kind)]
    for (const [location, seed] of [
      [one, 4],
      [other, 5],
    ] as const) {
      await using ledger = await open(location)
      await fill(ledger, 50, seed)
      await answersRight(ledger)
    }
    const old = readFileSync(indexOf(kind, one))
    copyFileSync(indexOf(kind, other), indexOf(kind, one))
    {
      await using ledger = await open(one)
      await answersRight(ledger)
      await fill(ledger, 50, 6)
    }
    writeFileSync(indexOf(kind, one), old)
    await using ledger = await open(one, { readOnly: true })
    await answersRight(ledger)
  })

  test('on demand: no index before the first query, then it is kept up, and who may not read the ledger may not read it', async () => {
    const location = placeOf(kind)
    const path = indexOf(kind, location)
    await using ledger = await open(location)
    await fill(ledger, 10, 7)
    await ledger.flush()
    expect(existsSync(path)).toBe(false)
    expect((await ledger.stats()).text).toBe(null)
    const like = kind === 'sqlite' ? location : join(location, 'segments', '00000000000000000000.jsonl')
    chmodSync(like, 0o640)
    expect(await ledger.count({ text: 'nobody' })).toBe(0)
    expect(statSync(path).mode & 0o777).toBe(0o640 & ~process.umask())
    await fill(ledger, 10, 8)
    await ledger.flush()
    expect((await ledger.stats()).text).toMatchObject({ records: 21, lag_records: 0 })
  })

  test('in the background: it follows by itself', async () => {
    const location = placeOf(kind)
    await using ledger = await open(location, { fullText: 'background' })
    await fill(ledger, 50, 9)
    for (;;) {
      const { text } = await ledger.stats()
      if (text !== null && text.lag_records === 0) break
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    await answersRight(ledger)
  })

  test('where its place can not be written it is of this process alone', async () => {
    const location = placeOf(kind)
    const path = indexOf(kind, location)
    {
      await using ledger = await open(location)
      await fill(ledger, 60, 10)
    }
    // Also for root: where the file should be there is a folder.
    mkdirSync(path)
    await using ledger = await open(location)
    await answersRight(ledger)
    await fill(ledger, 20, 11)
    await answersRight(ledger)
    expect(statSync(path).isDirectory()).toBe(true)
  })

  test.each([
    ['hangs', 'for (;;);'],
    ['dies', 'process.exit(7)'],
    ['can not be loaded', 'import "./none.js"'],
    ['fails', 'throw new Error("no")'],
  ])('a thread that %s keeps no append waiting', async (_, program) => {
    const location = placeOf(kind)
    const file = join(tempDir(), 'thread.mjs')
    writeFileSync(file, program)
    class LedgerWithThread extends Ledger {
      static async open(): Promise<Ledger> {
        const store = await openStore(location, {})
        const text = textIndexFor(location, store, { fullText: 'background' }, pathToFileURL(file))
        text.follow(1)
        return new LedgerWithThread({ ...(await ledgerParts(store, { origin: 'example.com/thread', signer: null }, false)), text })
      }
      constructor(parts: LedgerParts) {
        super(parts)
      }
    }
    const ledger = await LedgerWithThread.open()
    // A query sets the thread going; it is not waited for.
    const asked = ledger.query({ text: 'refund' }).then(
      ({ records }) => records.length,
      (error: unknown) => error,
    )
    await fill(ledger, 200, 12)
    expect((await ledger.head()).size).toBe(201)
    if (program !== 'for (;;);') expect(await asked).toBeTypeOf('number')
    await ledger.close()
    await asked
    await using again = await open(location, { origin: 'example.com/thread' })
    await answersRight(again)
  })

  test('a writer in another process, and two who bring the index up at once', async () => {
    const location = placeOf(kind)
    await (await open(location, { origin: 'example.com/crash' })).close()
    const writer = startChild('writer-process', {
      location,
      name: 'life',
      callers: 4,
      seed: 1,
      appends: scale(60, 1000),
      textMax: 2000,
      open: { fullText: 'background' },
    })
    await writer.waitFor(/^ready/)
    const [one, two] = await Promise.all([1, 2].map(() => open(location, { readOnly: true, origin: 'example.com/crash' })))
    let isOver = false
    void writer.exited.then(() => (isOver = true))
    while (!isOver) {
      const { size } = await one!.head()
      const counts = await Promise.all([one, two].map((ledger) => ledger!.query({ text: 'é'.repeat(3), order: 'rank', limit: 5 })))
      expect(counts).toHaveLength(2)
      expect((await one!.head()).size).toBeGreaterThanOrEqual(size)
    }
    expect(await writer.exited).toMatchObject({ code: 0 })
    for (const ledger of [one!, two!]) {
      await answersRight(ledger)
      await ledger.close()
    }
  })

  test('a process that is killed while it writes the index', async () => {
    const location = placeOf(kind)
    for (let life = 0; life < scale(1, 20); life++) {
      const plan = { location, name: `life-${life}`, callers: 8, seed: life, textMax: 2000, open: { fullText: 'background' } }
      const writer = startChild('writer-process', plan)
      await writer.waitFor(/^ready/)
      if (existsSync(indexOf(kind, location))) rmSync(indexOf(kind, location))
      while (!existsSync(indexOf(kind, location))) await new Promise((resolve) => setTimeout(resolve, 10))
      await writer.waitForCount(writer.lines.length + 1 + life * 50)
      await writer.kill()
      await using ledger = await open(location, { origin: 'example.com/crash' })
      const { size } = await ledger.head()
      expect((await seqsOf(ledger, { text: `life ${life}`, limit: 1000 })).length).toBe(0)
      await ledger.record({ agent_name: 'a', method_name: 'm', prompt: `after life ${life}` })
      expect(await seqsOf(ledger, { text: `life ${life}` })).toEqual([size])
      await answersRight(ledger)
    }
  })

  test('pages of a ranking are the same in another process and by an index made anew', async () => {
    const location = placeOf(kind)
    await using ledger = await open(location)
    await fill(ledger, 200, 13)
    const query = { text: 'refund', order: 'rank', limit: 20 } as const
    const whole = (await ledger.query({ ...query, limit: 1000 })).records.map(({ seq }) => seq)
    const first = await ledger.query(query)
    await fill(ledger, 300, 14)
    await ledger.flush()
    for (const renew of [() => {}, () => rmSync(indexOf(kind, location))]) {
      renew()
      await using other = await open(location, { readOnly: true })
      const rest = first.records.map(({ seq }) => seq)
      for (let { cursor } = first; cursor !== null;) {
        const page: typeof first = await other.query({ ...query, cursor })
        rest.push(...page.records.map(({ seq }) => seq))
        ;({ cursor } = page)
      }
      expect(rest).toEqual(whole)
      await other.query({ text: 'refund' })
    }
  })
})

test('one exported file is searched too, and nothing is left beside it', async () => {
  const dir = tempDir()
  const file = join(dir, 'export.jsonl')
  {
    await using ledger = await open(join(dir, 'ledger'))
    await fill(ledger, 50, 15)
    const lines: string[] = []
    for await (const { line } of ledger.read()) lines.push(`${line}\n`)
    writeFileSync(file, lines.join(''))
  }
  await using ledger = await open(file, { readOnly: true })
  await answersRight(ledger)
  expect(existsSync(join(dir, 'text.db'))).toBe(false)
  expect(existsSync(`${file}-text`)).toBe(false)
})

test('closing does not wait for an index that is far behind', async () => {
  const location = placeOf('jsonl')
  const ledger = await open(location)
  for (let i = 0; i < scale(1, 5); i++) await fill(ledger, 3000, 20 + i)
  const asked = ledger.query({ text: 'refund' }).then(
    () => null,
    (error: unknown) => error,
  )
  // The thread has begun, and is somewhere in the middle.
  while (!existsSync(indexOf('jsonl', location))) await new Promise((resolve) => setImmediate(resolve))
  await ledger.close()
  expect([null, 'closed']).toContain(((await asked) as { code?: string } | null)?.code ?? null)
  await using again = await open(location, { readOnly: true })
  await answersRight(again)
})

test('a line that is no record: what is behind it is found by an index that has it, and not by a new one', async () => {
  const location = placeOf('jsonl')
  {
    await using ledger = await open(location)
    await fill(ledger, 60, 30)
    await ledger.query({ text: 'refund' })
  }
  const before = await (async () => {
    await using ledger = await open(location, { readOnly: true })
    return await seqsOf(ledger, { text: 'storm' })
  })()
  damage(location, (bytes) => {
    const lines = bytes.toString().split('\n')
    const other = lines.findIndex((line, i) => i > 20 && i < 50 && !before.includes(i) && line !== '')
    lines[other] = `x${lines[other]!.slice(1)}`
    return Buffer.from(lines.join('\n'))
  })
  await using ledger = await open(location, { readOnly: true })
  expect(await seqsOf(ledger, { text: 'storm' })).toEqual(before)
  rmSync(indexOf('jsonl', location))
  await expect(ledger.query({ text: 'storm' })).rejects.toMatchObject({ code: 'damaged' })
})

test('better-sqlite3 keeps the index of its ledger', async () => {
  await using ledger = await open(placeOf('sqlite'), { driver: 'better-sqlite3' })
  await fill(ledger, 60, 16)
  await answersRight(ledger)
  rmSync(indexOf('sqlite', ledger.location))
  await answersRight(ledger)
  writeFileSync(indexOf('sqlite', ledger.location), 'garbage')
  await answersRight(ledger)
})
