import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { LedgerError } from '../../../src/ledger/errors.ts'
import { openDatabase } from '../../../src/stores/sql/driver.ts'
import type { DriverName } from '../../../src/stores/sql/driver.ts'
import { asSqliteError } from '../../../src/stores/sql/errors.ts'
import { linesWithout } from '../../helpers/absent-packages.ts'
import { tempDir } from '../../helpers/temp.ts'

const DRIVERS: readonly DriverName[] = ['node:sqlite', 'better-sqlite3']

async function codeOf(work: () => unknown): Promise<string> {
  try {
    await work()
  } catch (error) {
    expect(error).toBeInstanceOf(LedgerError)
    return (error as LedgerError).code
  }
  return 'no error'
}

describe.each(DRIVERS)('%s', (driver) => {
  test('runs, gets, iterates, and knows whether a transaction is open', async () => {
    const database = await openDatabase(join(tempDir(), 'a b#%?.db'), { driver })
    expect(database.driver).toBe(driver)
    expect(database.sqliteVersion).toMatch(/^3\.\d+\.\d+$/)
    database.exec('CREATE TABLE t (a INTEGER, b TEXT, c BLOB) STRICT')
    expect(database.inTransaction).toBe(false)
    database.exec('BEGIN')
    expect(database.inTransaction).toBe(true)
    const insert = database.prepare('INSERT INTO t VALUES (?, ?, ?)')
    for (let i = 0; i < 5; i++) insert.run(i, `é${i}`, new Uint8Array([i, 0, 255]))
    // No row number of ours is beyond 2^53; node:sqlite of Node 26 reports such a one as an error after it was inserted.
    insert.run(9_007_199_254_740_993n, null, null)
    database.exec('COMMIT')
    expect(database.inTransaction).toBe(false)

    expect(database.prepare('SELECT b, c FROM t WHERE a = ?').get(3)).toMatchObject({ b: 'é3' })
    expect([...(database.prepare('SELECT c FROM t WHERE a = ?').get(3)!['c'] as Uint8Array)]).toEqual([3, 0, 255])
    expect(database.prepare('SELECT b FROM t WHERE a = ?').get(77)).toBeUndefined()
    expect(
      database
        .prepare('SELECT a FROM t WHERE a < 3 ORDER BY a')
        .all()
        .map((row) => row['a']),
    ).toEqual([0, 1, 2])
    const seen: unknown[] = []
    for (const row of database.cached('SELECT a FROM t ORDER BY a').iterate()) {
      seen.push(row['a'])
      if (seen.length === 2) break
    }
    expect(seen).toEqual([0, 1])
    // The statement that was left in the middle starts anew.
    expect(database.cached('SELECT a FROM t ORDER BY a').get()).toMatchObject({ a: 0 })
    expect(database.prepare('SELECT CAST(max(a) AS TEXT) AS a FROM t').get()).toMatchObject({ a: '9007199254740993' })
    database.close()
  })

  test('an iteration whose rows fail on the way says so as a LedgerError', async () => {
    const database = await openDatabase(':memory:', { driver })
    const rows = database
      .prepare("SELECT json_extract(value, '$.a') AS a FROM json_each(?)")
      .iterate(JSON.stringify(['{"a":1}', 'no json']))
    expect(rows.next().value).toMatchObject({ a: 1 })
    expect(await codeOf(() => rows.next())).toBe('io_error')
    database.close()
  })

  test('tells why a file can not be opened', async () => {
    const folder = tempDir()
    mkdirSync(join(folder, 'folder'))
    writeFileSync(
      join(folder, 'text.db'),
      'This is a text of more than a hundred bytes, which SQLite takes for no database at all. '.repeat(20),
    )
    const read = (path: string) => async () => {
      const database = await openDatabase(join(folder, path), { driver, readOnly: true })
      try {
        database.pragma('PRAGMA user_version')
      } finally {
        database.close()
      }
    }
    expect(await codeOf(read('absent.db'))).toBe('not_found')
    expect(await codeOf(() => openDatabase(join(folder, 'absent.db'), { driver, create: false }))).toBe('not_found')
    expect(await codeOf(() => openDatabase(join(folder, 'no', 'such', 'folder.db'), { driver }))).toBe('not_found')
    expect(await codeOf(read('folder'))).toBe('not_a_ledger')
    expect(await codeOf(read('text.db'))).toBe('not_a_ledger')
  })

  test('spells what goes wrong as the ledger does', async () => {
    const path = join(tempDir(), 'x.db')
    const database = await openDatabase(path, { driver, busyTimeoutMs: 0 })
    database.exec('CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT NOT NULL)')
    const other = await openDatabase(path, { driver, busyTimeoutMs: 0 })
    const reader = await openDatabase(path, { driver, readOnly: true, busyTimeoutMs: 0 })
    database.exec('BEGIN EXCLUSIVE')
    expect(await codeOf(() => other.exec('BEGIN IMMEDIATE'))).toBe('locked')
    database.exec('COMMIT')
    expect(await codeOf(() => reader.exec('DELETE FROM t'))).toBe('read_only')
    expect(await codeOf(() => database.exec('INSERT INTO t VALUES (1, NULL)'))).toBe('io_error')
    expect(await codeOf(() => database.prepare('SELECT * FROM absent'))).toBe('io_error')
    database.exec(`PRAGMA max_page_count = ${Number(database.pragma('PRAGMA page_count'))}`)
    const error = await Promise.resolve()
      .then(() => database.exec(`INSERT INTO t VALUES (1, '${'x'.repeat(100_000)}')`))
      .catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'disk_full', details: { sqlite: 'SQLITE_FULL', file: path } })
    expect(String(error)).toContain('INSERT INTO t')
    for (const each of [database, other, reader]) each.close()
  })

  test('a damaged page is damage', async () => {
    const path = join(tempDir(), 'x.db')
    const database = await openDatabase(path, { driver })
    database.exec('CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)')
    const insert = database.prepare('INSERT INTO t VALUES (?, ?)')
    database.exec('BEGIN')
    for (let i = 0; i < 1000; i++) insert.run(i, 'x'.repeat(100))
    database.exec('COMMIT')
    const page = Number(database.pragma('PRAGMA page_size'))
    database.close()
    const { readFileSync } = await import('node:fs')
    const bytes = readFileSync(path)
    bytes.fill(0xa5, 3 * page, 4 * page)
    writeFileSync(path, bytes)
    const damaged = await openDatabase(path, { driver })
    expect(await codeOf(() => damaged.prepare('SELECT sum(length(b)) FROM t').get())).toBe('damaged')
    damaged.close()
  })

  test('misuse stays what it is', async () => {
    const database = await openDatabase(':memory:', { driver })
    expect(() => database.prepare('SELECT ?').get(Symbol('x') as never)).toThrow(TypeError)
    database.close()
  })

  test('keeps the last 64 statements', async () => {
    const database = await openDatabase(':memory:', { driver })
    const first = database.cached('SELECT 0 AS n')
    expect(database.cached('SELECT 0 AS n')).toBe(first)
    for (let i = 1; i < 64; i++) database.cached(`SELECT ${i} AS n`)
    expect(database.cached('SELECT 0 AS n')).toBe(first)
    for (let i = 1; i < 65; i++) database.cached(`SELECT ${i} AS n`)
    expect(database.cached('SELECT 0 AS n')).not.toBe(first)
    database.close()
  })
})

test('both drivers read what the other wrote, but not at once in one process, where neither would see the other one lock', async () => {
  const path = join(tempDir(), 'x.db')
  const link = join(tempDir(), 'link.db')
  const one = await openDatabase(path, { driver: 'node:sqlite' })
  one.exec('PRAGMA journal_mode = WAL; CREATE TABLE t (a TEXT)')
  one.prepare('INSERT INTO t VALUES (?)').run('from one')
  symlinkSync(path, link)
  const again = await openDatabase(path, { driver: 'node:sqlite', readOnly: true })
  for (const name of [path, link]) expect(await codeOf(() => openDatabase(name, { driver: 'better-sqlite3' }))).toBe('unsupported')
  one.close()
  expect(await codeOf(() => openDatabase(path, { driver: 'better-sqlite3' }))).toBe('unsupported')
  again.close()
  const two = await openDatabase(link, { driver: 'better-sqlite3' })
  expect(two.pragma('SELECT a FROM t')).toBe('from one')
  expect(await codeOf(() => openDatabase(path, { driver: 'node:sqlite' }))).toBe('unsupported')
  two.close()
  // An opening that fails claims nothing.
  expect(await codeOf(() => openDatabase(join(path, 'x'), { driver: 'better-sqlite3' }))).toBe('not_found')
  ;(await openDatabase(path, { driver: 'node:sqlite' })).close()
})

test('a driver that is not installed: says what to install', () => {
  const [said] = linesWithout(
    ['better-sqlite3'],
    `const { openDatabase } = await import(source('stores/sql/driver.ts'))
    await openDatabase(':memory:', { driver: 'better-sqlite3' }).catch(told)`,
  )
  expect(said).toMatch(/^unsupported: the driver better-sqlite3 can't be loaded: .*npm install better-sqlite3@13/)
})

test('what better-sqlite3 can not do is refused, not done in another way', async () => {
  const path = join(tempDir(), 'x.db')
  expect(await codeOf(() => openDatabase(path, { driver: 'better-sqlite3', immutable: true }))).toBe('unsupported')
  expect(await codeOf(() => openDatabase(`${path} `, { driver: 'better-sqlite3' }))).toBe('unsupported')
})

test('loading node:sqlite leaves process.emitWarning as it was', async () => {
  const before = process.emitWarning
  const database = await openDatabase(':memory:')
  expect(process.emitWarning).toBe(before)
  database.close()
})

test.skipIf(process.getuid?.() === 0)('a folder that one may not look into', async () => {
  const folder = tempDir()
  chmodSync(folder, 0o000)
  expect(await codeOf(() => openDatabase(join(folder, 'x.db')))).toBe('read_only')
  chmodSync(folder, 0o700)
})

test('every primary result code that is known has the same meaning in both spellings', () => {
  const codes: readonly (readonly [number, string, string])[] = [
    [3, 'SQLITE_PERM', 'read_only'],
    [5, 'SQLITE_BUSY', 'locked'],
    [5 | (2 << 8), 'SQLITE_BUSY_SNAPSHOT', 'locked'],
    [6, 'SQLITE_LOCKED', 'locked'],
    [8, 'SQLITE_READONLY', 'read_only'],
    [8 | (4 << 8), 'SQLITE_READONLY_DBMOVED', 'read_only'],
    [10 | (3 << 8), 'SQLITE_IOERR_WRITE', 'io_error'],
    [11, 'SQLITE_CORRUPT', 'damaged'],
    [13, 'SQLITE_FULL', 'disk_full'],
    [18, 'SQLITE_TOOBIG', 'too_large'],
    [26, 'SQLITE_NOTADB', 'not_a_ledger'],
    [7, 'SQLITE_NOMEM', 'io_error'],
  ]
  for (const [errcode, name, code] of codes) {
    expect(asSqliteError(Object.assign(new Error('x'), { code: 'ERR_SQLITE_ERROR', errcode }), 'y', '/z')).toMatchObject({ code })
    expect(asSqliteError(Object.assign(new Error('x'), { code: name }), 'y', '/z')).toMatchObject({ code, details: { sqlite: name } })
  }
})
