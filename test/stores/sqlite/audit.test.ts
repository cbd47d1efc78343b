/** What the store itself finds; with the real verifier every change by SQL is in test/tamper. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { auditStore } from '../../../src/ledger/audit.ts'
import { INDEX_COLUMNS } from '../../../src/stores/sql/columns.ts'
import { openDatabase } from '../../../src/stores/sql/driver.ts'
import { openSqliteStore } from '../../../src/stores/sqlite/index.ts'
import type { Sample, SampleChain } from '../../../src/testing/sample-chain.ts'
import { tempDir } from '../../helpers/temp.ts'
import { DRIVERS, NotingSink, auditOf, linesOf, makeLedger, tamper } from './helpers.ts'

const SIZE = 12
const ROW = 7
const sample = (seq: number): Sample => ({
  correlation_id: `task-${seq % 3}`,
  causation_id: 'cause',
  tags: ['a', 'b'],
  actor: `actor \ufffd ${seq}`,
  ...(seq % 2 === 0 ? { signatures_text: '[]' } : {}),
})

async function ledger(size = SIZE, with_: (seq: number) => Sample = sample): Promise<{ path: string; chain: SampleChain }> {
  const path = join(tempDir(), 'ledger.db')
  return { path, chain: await makeLedger(path, size, with_) }
}

describe.each(DRIVERS)('%s', (driver) => {
  test('an honest ledger: every line at its row, and nothing to say', async () => {
    const { path, chain } = await ledger(700)
    const sink = await auditOf(path, driver)
    expect(sink.lines).toEqual(chain.lines)
    expect(sink.rows).toEqual(chain.lines.map((_, seq) => seq))
    expect(sink.problems).toEqual([])
  })

  test('each index column, changed by SQL, is one problem that names it, with what the record says and what is there', async () => {
    const { path, chain } = await ledger()
    const copy = join(tempDir(), 'copy.db')
    for (const column of INDEX_COLUMNS) {
      const integer = /_(us|version)$/.test(column)
      const optional = ['correlation_id', 'causation_id', 'provider', 'model'].includes(column)
      for (const value of integer
        ? [`${column} + 1`, '-1', '9223372036854775807']
        : [`${column} || 'x'`, `${column} || char(0)`, `CAST(x'ff' AS TEXT)`, "''", ...(optional ? ['NULL'] : [])]) {
        writeFileSync(copy, readFileSync(path))
        await tamper(copy, `UPDATE records SET ${column} = ${value} WHERE seq = ${ROW}`)
        const { lines, problems } = await auditOf(copy, driver)
        expect(lines).toEqual(chain.lines)
        expect(problems.length, `${column} = ${value}`).toBe(1)
        expect(problems[0]).toMatchObject({ code: 'column_mismatch', seq: ROW, where: { row: ROW } })
        expect(problems[0]!.expected).toMatch(new RegExp(`^${column}=`))
        expect(problems[0]!.found).toMatch(new RegExp(`^${column}=`))
        expect(problems[0]!.found).not.toBe(problems[0]!.expected)
      }
    }
  })
})

test('bytes that are decoded like the text they replace are found', async () => {
  const { path } = await ledger()
  await tamper(path, `UPDATE records SET actor = CAST(x'6163746f7220ff2037' AS TEXT) WHERE seq = ${ROW}`)
  const { problems } = await auditOf(path)
  expect(problems).toEqual([
    {
      code: 'column_mismatch',
      seq: ROW,
      expected: `actor=actor \ufffd ${ROW}`,
      found: 'actor=bytes that are no UTF-8',
      where: { row: ROW },
    },
  ])
})

test('the same bytes divided otherwise among the columns are found', async () => {
  const { path, chain } = await ledger()
  await tamper(path, `UPDATE records SET header = header || ',"signatures":' || signatures, signatures = NULL WHERE seq = 6`)
  const { lines, problems } = await auditOf(path)
  expect(lines).toEqual(chain.lines)
  expect(problems).toMatchObject([{ code: 'column_mismatch', seq: 6, expected: expect.stringMatching(/^header=\d+ bytes$/) }])
})

test('a row that was moved says so', async () => {
  const { path } = await ledger()
  await tamper(path, `UPDATE records SET seq = 99 WHERE seq = ${SIZE - 1}`)
  const { rows, problems } = await auditOf(path)
  expect(rows.at(-1)).toBe(99)
  // Its tags were left behind.
  expect(problems).toMatchObject([
    { code: 'column_mismatch', seq: 99, expected: `seq=${SIZE - 1}`, found: 'seq=99', where: { row: 99 } },
    { code: 'column_mismatch', seq: SIZE - 1, expected: 'tags=', found: 'tags=a' },
  ])
})

test('rows where none should be, however far off, are read like the others', async () => {
  const { path } = await ledger()
  await tamper(path, (database) => {
    const columns = database
      .prepare("SELECT group_concat(name, ', ') AS names FROM pragma_table_info('records') WHERE name <> 'seq'")
      .get()!['names']
    for (const seq of ['-9223372036854775807 - 1', '-1', '9007199254740993', '9223372036854775807']) {
      database.exec(`INSERT INTO records (seq, ${String(columns)}) SELECT ${seq}, ${String(columns)} FROM records WHERE seq = 3`)
    }
  })
  const { lines, problems } = await auditOf(path)
  expect(lines.length).toBe(SIZE + 4)
  expect(problems.map(({ found }) => found)).toEqual([
    'seq=-9223372036854775808',
    'seq=-1',
    'seq=9007199254740993',
    'seq=9223372036854775807',
  ])
})

test.each([
  ['a tag taken away', `DELETE FROM tags WHERE tag = 'b' AND seq = ${ROW}`, { expected: 'tags=b', found: 'tags=' }],
  ['a tag put in', `INSERT INTO tags VALUES ('c', ${ROW})`, { expected: 'tags=', found: 'tags=c' }],
  ['a tag changed', `UPDATE tags SET tag = 'c' WHERE tag = 'b' AND seq = ${ROW}`, { expected: 'tags=b', found: 'tags=' }],
])('%s is one problem', async (_, sql, problem) => {
  const { path } = await ledger()
  await tamper(path, sql)
  const { problems } = await auditOf(path)
  expect(problems).toEqual([{ code: 'column_mismatch', seq: ROW, ...problem, where: { row: ROW } }])
})

test('tags of no record, and a tag moved from one record to another', async () => {
  const { path } = await ledger()
  await tamper(path, "INSERT INTO tags VALUES ('a', 500); UPDATE tags SET seq = 0 WHERE tag = 'b' AND seq = 2")
  const { problems } = await auditOf(path)
  expect(problems.map(({ seq, expected, found }) => [seq, expected, found])).toEqual([
    [2, 'tags=b', 'tags='],
    [0, 'tags=', 'tags=b'],
    [500, 'tags=', 'tags=a'],
  ])
})

test('a header that is none brings no problems of columns and tags beside its line', async () => {
  const { path, chain } = await ledger()
  for (const header of [
    "'{}'",
    '\'{"seq":7}\'',
    "'[]'",
    "'nothing'",
    'substr(header, 1, 100)',
    `replace(header, '"seq":7', '"seq":[7]')`,
    `'{"seq":{"toString":1},"tags":[{"toString":1},7],"x":1}'`,
    `'{"actor":{"toString":1},"recorded_at":"2026-11-22T20:15:33.123456Z","seq":7,"timestamp":"2026-11-22T20:15:33.123456Z"}'`,
  ]) {
    const copy = join(tempDir(), 'copy.db')
    writeFileSync(copy, readFileSync(path))
    await tamper(copy, `UPDATE records SET header = ${header} WHERE seq = ${ROW}`)
    const { lines, problems } = await auditOf(copy)
    expect(lines.length).toBe(SIZE)
    expect(lines.filter((line, seq) => line !== chain.lines[seq]).length).toBe(1)
    expect(problems.length, header).toBeLessThanOrEqual(2)
  }
})

/** Numbers of the pages of a table or index. Not every build of node:sqlite has dbstat. */
async function pagesOf(path: string, name: string, type = '%'): Promise<{ pages: number[]; size: number }> {
  const database = await openDatabase(path, { driver: 'better-sqlite3', readOnly: true })
  const rows = database.prepare('SELECT pageno FROM dbstat WHERE name = ? AND pagetype LIKE ? ORDER BY path').all(name, type)
  const size = Number(database.pragma('PRAGMA page_size'))
  database.close()
  return { pages: rows.map((row) => Number(row['pageno'])), size }
}

/** Bytes of the file changed where they stand for an index's entry and nothing else. */
async function tamperIndex(path: string, index: string, from: string, to: string): Promise<void> {
  const { pages, size } = await pagesOf(path, index)
  const file = readFileSync(path)
  let changed = 0
  for (const page of pages) {
    // Also where it stands in space that is free again.
    for (let at = file.indexOf(from, (page - 1) * size); at !== -1 && at < page * size; at = file.indexOf(from, at)) {
      file.write(to, at)
      changed++
    }
  }
  expect(changed).toBeGreaterThan(0)
  writeFileSync(path, file)
}

test('an index whose entry was edited in the file, so that a query misses the record, is found', async () => {
  const { path, chain } = await ledger(600, (seq) => ({ actor: `actor-${String(seq).padStart(4, '0')}` }))
  await tamperIndex(path, 'records_by_actor', 'actor-0300', 'actor-030x')
  const store = await openSqliteStore(path, { readOnly: true })
  expect(await store.count({ actor: ['actor-0300'] })).toBe(0)
  await store.close()
  const { lines, problems } = await auditOf(path)
  expect(lines).toEqual(chain.lines)
  expect(problems).toEqual([
    {
      code: 'column_mismatch',
      seq: 300,
      expected: 'actor=actor-0300',
      found: 'actor=not in the index records_by_actor',
      where: { row: 300 },
    },
  ])
})

test('an index with entries that no row has is found by their number', async () => {
  const { path } = await ledger(600)
  // By someone who knows how: the schema is made to forget the index while the rows are removed.
  await tamper(path, 'SELECT 1')
  const database = new DatabaseSync(path)
  ;(database as { enableDefensive?: (on: boolean) => void }).enableDefensive?.(false)
  database.exec("PRAGMA writable_schema = ON; CREATE TABLE kept AS SELECT * FROM sqlite_schema WHERE name = 'records_by_type'")
  database.exec("DELETE FROM sqlite_schema WHERE name = 'records_by_type'; PRAGMA writable_schema = RESET")
  database.exec('DELETE FROM tags WHERE seq = 599; DELETE FROM records WHERE seq = 599')
  database.exec('PRAGMA writable_schema = ON; INSERT INTO sqlite_schema SELECT * FROM kept; PRAGMA writable_schema = RESET')
  database.exec('DROP TABLE kept')
  database.close()
  const tooMany = (rows: number): object => ({
    code: 'column_mismatch',
    seq: null,
    expected: `type=${rows} entries in the index records_by_type`,
    found: `type=${rows + 1} entries`,
    where: null,
  })
  expect((await auditOf(path)).problems).toEqual([tooMany(599)])
  // And where another row stands in its place.
  await tamper(path, (open) => {
    const names = String(open.pragma("SELECT group_concat(name, ', ') FROM pragma_table_info('records') WHERE name NOT IN ('seq', 'type')"))
    open.exec(`INSERT INTO records (seq, type, ${names}) SELECT 599, 'Other', ${names} FROM records WHERE seq = 598`)
  })
  expect((await auditOf(path)).problems).toContainEqual(tooMany(600))
})

test('a damaged page: what is on it is unreadable, all before and behind it is read', async () => {
  const { path, chain } = await ledger(900)
  const { pages: leaves, size } = await pagesOf(path, 'records', 'leaf')
  for (const which of [0, Math.floor(leaves.length / 2), leaves.length - 1]) {
    const copy = join(tempDir(), 'copy.db')
    const file = readFileSync(path)
    file.fill(0xa5, (leaves[which]! - 1) * size, leaves[which]! * size)
    writeFileSync(copy, file)
    const { lines, rows, problems } = await auditOf(copy)
    const expected = chain.lines
    expect(rows.filter((row, i) => lines[i] !== expected[row])).toEqual([])
    expect(lines.length).toBeLessThan(900)
    expect(lines.length).toBeGreaterThan(850)
    const missing = rows.findIndex((row, i) => row !== i)
    expect(problems[0]).toMatchObject({ code: 'unreadable', seq: missing === -1 ? rows.length : missing })
    expect(problems.filter(({ code }) => code === 'unreadable').length, JSON.stringify(problems)).toBe(1)
  }
})

test('a damaged index is named, and the rows are all read', async () => {
  const { path, chain } = await ledger(600)
  const database = await openDatabase(path, { readOnly: true })
  const page = Number(database.pragma("SELECT rootpage FROM sqlite_schema WHERE name = 'records_by_stream'"))
  const size = Number(database.pragma('PRAGMA page_size'))
  database.close()
  const file = readFileSync(path)
  file.fill(0xa5, (page - 1) * size, page * size)
  writeFileSync(path, file)
  const { lines, problems } = await auditOf(path)
  expect(lines).toEqual(chain.lines)
  expect(problems).toMatchObject([{ code: 'unreadable', seq: null, expected: 'the index records_by_stream' }])
})

test('a long entry whose overflow pages are damaged is one unreadable or malformed record', async () => {
  const { path, chain } = await ledger(30, (seq) => (seq === 20 ? { entry: { text: 'x'.repeat(200_000) } } : {}))
  const { pages, size } = await pagesOf(path, 'records', 'overflow')
  const file = readFileSync(path)
  // The pointer to the next overflow page leads out of the file.
  file.writeUInt32BE(0x7fffffff, (pages[5]! - 1) * size)
  writeFileSync(path, file)
  const { rows, lines, problems } = await auditOf(path)
  expect(problems).toMatchObject([{ code: 'unreadable', seq: 20, where: { row: 20 } }])
  expect(rows.length).toBe(29)
  expect(lines).toEqual(chain.lines.filter((_, seq) => seq !== 20))
})

test('whatever bytes of the file are changed, the audit ends and throws nothing', async () => {
  const { path } = await ledger(60)
  const file = readFileSync(path)
  const copy = join(tempDir(), 'copy.db')
  for (let i = 0; i < 150; i++) {
    const bytes = Buffer.from(file)
    // Behind the file's header and the schema, which decide whether it can be opened at all.
    for (let k = 0; k <= i % 3; k++) bytes[16_384 + ((i * 7919 + k * 104_729) % (bytes.length - 16_384))]! ^= 1 << (i % 8)
    writeFileSync(copy, bytes)
    let store
    try {
      store = await openSqliteStore(copy, { readOnly: true })
    } catch {
      continue
    }
    const sink = new NotingSink()
    await store.audit(sink)
    expect(sink.checked.length).toBe(1)
    await store.close()
  }
})

test('what is appended while the audit runs is left to the next one, and taken for no fault', async () => {
  const { path, chain } = await ledger(600)
  const store = await openSqliteStore(path)
  const sink = new (class extends NotingSink {
    appended = false
    override line(bytes: Uint8Array, start: number, end: number, position: number): void {
      super.line(bytes, start, end, position)
      if (this.appended) return
      this.appended = true
      const more = chain.seal([{ tags: ['new'] }, {}])
      // In the next turn of the loop: no statement is under way then.
      setImmediate(() => void store.append(more, chain.head))
    }
  })()
  await store.audit(sink)
  expect(sink.lines).toEqual(chain.lines)
  expect(sink.problems).toEqual([])
  expect((await linesOf(store)).length).toBe(602)
  await store.close()
})

test('an audit that is aborted ends with the reason', async () => {
  const { path } = await ledger(600)
  const store = await openSqliteStore(path, { readOnly: true })
  const reason = new Error('enough')
  await expect(store.audit(new NotingSink(), AbortSignal.abort(reason))).rejects.toBe(reason)
  await store.close()
})

test('the verifier of the project agrees: an honest ledger passes, a changed column fails', async () => {
  const { path } = await ledger(SIZE, (seq) => ({ correlation_id: `task-${seq % 3}`, tags: ['a'] }))
  const honest = await openSqliteStore(path, { readOnly: true })
  const report = await auditStore(honest, {})
  await honest.close()
  expect(report.problems).toEqual([])
  expect(report).toMatchObject({ ok: true, size: SIZE, checks: { columns: { verdict: 'pass' } } })
  await tamper(path, `UPDATE records SET outcome = 'failure' WHERE seq = ${ROW}`)
  const changed = await openSqliteStore(path, { readOnly: true })
  const found = await auditStore(changed, {})
  await changed.close()
  expect(found).toMatchObject({ ok: false, checks: { columns: { verdict: 'fail' } } })
  expect(found.problems).toMatchObject([
    { code: 'column_mismatch', seq: ROW, expected: 'outcome=success', found: 'outcome=failure', where: { row: ROW } },
  ])
})
