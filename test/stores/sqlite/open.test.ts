import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { openDatabase } from '../../../src/stores/sql/driver.ts'
import { openLedgerDatabase } from '../../../src/stores/sqlite/connection.ts'
import { openSqliteStore } from '../../../src/stores/sqlite/index.ts'
import { APPLICATION_ID, SCHEMA_VERSION } from '../../../src/stores/sqlite/schema.ts'
import { LEDGER_CREATED, SampleChain } from '../../../src/testing/sample-chain.ts'
import { tempDir } from '../../helpers/temp.ts'
import { DRIVERS, errorOf, linesOf, makeLedger, tamper } from './helpers.ts'

describe.each(DRIVERS)('%s', (driver) => {
  test('what is written is synced: WAL and FULL are in force on the connection that writes, also at the next opening', async () => {
    const path = join(tempDir(), 'ledger.db')
    for (let opening = 0; opening < 2; opening++) {
      const database = await openLedgerDatabase(path, { driver })
      expect(database.pragma('PRAGMA journal_mode')).toBe('wal')
      expect(database.pragma('PRAGMA synchronous')).toBe(2)
      expect(database.pragma('PRAGMA mmap_size')).toBe(0)
      expect(database.pragma('PRAGMA trusted_schema')).toBe(0)
      expect(database.pragma('PRAGMA page_size')).toBe(8192)
      database.close()
    }
  })

  test('a new file is a ledger of this version', async () => {
    const path = join(tempDir(), 'ledger.db')
    const store = await openSqliteStore(path, { driver })
    expect(store).toMatchObject({ kind: 'sqlite', location: path, readOnly: false, segmentFull: false, segment: null, recovered: null })
    expect(await store.describe()).toMatchObject({ kind: 'sqlite', records: 0, driver })
    await store.close()
    const database = await openDatabase(path)
    expect(database.pragma('PRAGMA application_id')).toBe(APPLICATION_ID)
    expect(database.pragma('PRAGMA user_version')).toBe(SCHEMA_VERSION)
    expect(
      database.pragma("SELECT group_concat(name) FROM (SELECT name FROM pragma_table_list WHERE schema = 'main' AND strict ORDER BY name)"),
    ).toBe('entry_files,entry_pieces,records,tags,upkeep_due,upkeep_now')
    database.close()
    // One file when nobody uses it.
    expect(existsSync(`${path}-wal`)).toBe(false)
  })

  test('what is there is read again, with nothing lost or changed', async () => {
    const path = join(tempDir(), 'ledger.db')
    const chain = await makeLedger(path, 20)
    for (const readOnly of [true, false]) {
      const store = await openSqliteStore(path, { driver, readOnly })
      expect(await linesOf(store)).toEqual(chain.lines)
      await store.close()
    }
  })
})

test('no file: made, or not found where that is not wanted', async () => {
  const folder = tempDir()
  expect((await errorOf(() => openSqliteStore(join(folder, 'x.db'), { readOnly: true }))).code).toBe('not_found')
  expect((await errorOf(() => openSqliteStore(join(folder, 'x.db'), { create: false }))).code).toBe('not_found')
  expect((await errorOf(() => openSqliteStore(join(folder, 'no', 'x.db')))).code).toBe('not_found')
  expect(existsSync(join(folder, 'x.db'))).toBe(false)
})

test('what is no ledger is refused and stays as it is', async () => {
  const folder = tempDir()
  const foreign = join(folder, 'foreign.db')
  const other = new DatabaseSync(foreign)
  other.exec('CREATE TABLE customers (name TEXT)')
  other.close()
  const text = join(folder, 'text.db')
  writeFileSync(text, 'A text that is long enough for SQLite to look at it. '.repeat(50))
  const marked = join(folder, 'marked.db')
  const theirs = new DatabaseSync(marked)
  theirs.exec('PRAGMA application_id = 1196444487')
  theirs.close()
  mkdirSync(join(folder, 'folder.db'))

  for (const name of ['foreign.db', 'text.db', 'marked.db', 'folder.db']) {
    const path = join(folder, name)
    const before = statSync(path).isFile() ? readFileSync(path) : null
    for (const options of [{}, { readOnly: true }, { create: false }]) {
      expect((await errorOf(() => openSqliteStore(path, options))).code, `${name} ${JSON.stringify(options)}`).toBe('not_a_ledger')
    }
    if (before !== null) expect(readFileSync(path).equals(before)).toBe(true)
  }
})

test('an empty file becomes a ledger only where one is to be made', async () => {
  const path = join(tempDir(), 'ledger.db')
  writeFileSync(path, '')
  expect((await errorOf(() => openSqliteStore(path, { readOnly: true }))).code).toBe('not_a_ledger')
  expect((await errorOf(() => openSqliteStore(path, { create: false }))).code).toBe('not_a_ledger')
  const store = await openSqliteStore(path)
  expect((await store.describe())['records']).toBe(0)
  await store.close()
})

test('a process that died while it made the ledger leaves one that the next makes', async () => {
  const path = join(tempDir(), 'ledger.db')
  // As far as it came: the page size and WAL are in the header, the tables were never committed.
  const half = new DatabaseSync(path)
  half.exec('PRAGMA page_size = 8192; PRAGMA journal_mode = WAL')
  half.exec('BEGIN; CREATE TABLE records (a); PRAGMA application_id = 1')
  for (const suffix of ['', '-wal', '-shm']) if (existsSync(path + suffix)) copyFileSync(path + suffix, `${path}.copy${suffix}`)
  half.close()
  const store = await openSqliteStore(`${path}.copy`)
  const chain = new SampleChain()
  await chain.append(store, [LEDGER_CREATED])
  expect(await linesOf(store)).toEqual(chain.lines)
  await store.close()
})

test('a ledger of a newer version is refused by name', async () => {
  const path = join(tempDir(), 'ledger.db')
  await makeLedger(path, 2)
  const database = await openDatabase(path)
  database.exec(`PRAGMA user_version = ${SCHEMA_VERSION + 1}`)
  database.close()
  for (const readOnly of [false, true]) {
    const error = await errorOf(() => openSqliteStore(path, { readOnly }))
    expect(error.code).toBe('newer_format')
    expect(error.message).toContain(`schema ${SCHEMA_VERSION + 1}`)
  }
})

test('a table that is not the one that was made is damage', async () => {
  const path = join(tempDir(), 'ledger.db')
  await makeLedger(path, 5)
  await tamper(path, 'ALTER TABLE records RENAME TO kept; CREATE VIEW records AS SELECT * FROM kept WHERE seq < 3')
  for (const readOnly of [false, true]) expect((await errorOf(() => openSqliteStore(path, { readOnly }))).code).toBe('damaged')
})

test('guards and indexes that somebody dropped are put back at the next opening for writing', async () => {
  const path = join(tempDir(), 'ledger.db')
  await makeLedger(path, 5)
  await tamper(path, 'DROP INDEX records_by_actor')
  await (await openSqliteStore(path, { readOnly: true })).close()
  const count = "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' OR name = 'records_by_actor'"
  const before = await openDatabase(path)
  expect(before.pragma(count)).toBe(0)
  before.close()
  const store = await openSqliteStore(path)
  const after = await openDatabase(path)
  expect(after.pragma(count)).toBe(7)
  expect(() => after.exec('DELETE FROM records')).toThrow(/append-only/)
  after.close()
  await store.close()
})

test.each(DRIVERS)('eight that open a new file at once by %s: all of the same ledger', async (driver) => {
  const path = join(tempDir(), 'ledger.db')
  const stores = await Promise.all(Array.from({ length: 8 }, () => openSqliteStore(path, { driver })))
  const chain = new SampleChain()
  await chain.append(stores[0]!, [LEDGER_CREATED])
  for (const store of stores) expect(await linesOf(store)).toEqual(chain.lines)
  for (const store of stores) await store.close()
})

test('closed is closed, twice is harmless', async () => {
  const path = join(tempDir(), 'ledger.db')
  const chain = await makeLedger(path, 3)
  const store = await openSqliteStore(path)
  const reading = store.read({ filter: {}, from: 0, before: Infinity, reverse: false, limit: Infinity })
  await store.close()
  await store.close()
  const head = chain.head
  for (const work of [
    () => store.state({ streams: [], run_ids: [] }),
    () => store.append(chain.seal([{}]), head),
    () => store.count({}),
    () => store.flush(),
    () => store.describe(),
    () => linesOf({ read: () => reading } as never),
    () => store.atExit!.state({ streams: [], run_ids: [] }),
  ]) {
    expect((await errorOf(work)).code).toBe('closed')
  }
})

test('read-only means it: nothing is appended, and the file does not change', async () => {
  const path = join(tempDir(), 'ledger.db')
  const chain = await makeLedger(path, 3)
  const before = readFileSync(path)
  const store = await openSqliteStore(path, { readOnly: true })
  expect((await errorOf(() => store.append(chain.seal([{}]), chain.head))).code).toBe('read_only')
  expect(await linesOf(store)).toEqual(chain.lines)
  await store.close()
  expect(readFileSync(path).equals(before)).toBe(true)
})

// Root may write anywhere, so there it shows nothing.
test.skipIf(process.getuid?.() === 0)('a folder where nothing can be made is read as far as SQLite can', async () => {
  const folder = tempDir()
  const path = join(folder, 'ledger.db')
  const chain = await makeLedger(path, 3)
  rmSync(`${path}-shm`, { force: true })
  rmSync(`${path}-wal`, { force: true })
  chmodSync(path, 0o444)
  chmodSync(folder, 0o555)
  try {
    const store = await openSqliteStore(path, { readOnly: true })
    expect(await linesOf(store)).toEqual(chain.lines)
    await store.close()
    expect((await errorOf(() => openSqliteStore(path))).code).toBe('read_only')
  } finally {
    chmodSync(folder, 0o755)
  }
})
