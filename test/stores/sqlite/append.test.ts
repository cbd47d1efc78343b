import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { LedgerError } from '../../../src/ledger/errors.ts'
import type { Database } from '../../../src/stores/sql/driver.ts'
import { openDatabase } from '../../../src/stores/sql/driver.ts'
import { openLedgerDatabase } from '../../../src/stores/sqlite/connection.ts'
import { openSqliteStore } from '../../../src/stores/sqlite/index.ts'
import { appendRecords, readHead, readState } from '../../../src/stores/sqlite/writing.ts'
import { LEDGER_CREATED, SampleChain } from '../../../src/testing/sample-chain.ts'
import { tempDir } from '../../helpers/temp.ts'
import { DRIVERS, errorOf, linesOf, makeLedger } from './helpers.ts'

/** The database, but `exec` fails where `fault` says so. */
function faulty(database: Database, fault: (sql: string) => LedgerError | null): Database {
  return new Proxy(database, {
    get(target, key) {
      if (key === 'exec') {
        return (sql: string) => {
          const error = fault(sql)
          if (error !== null) throw error
          target.exec(sql)
        }
      }
      const value = Reflect.get(target, key, target) as unknown
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

describe.each(DRIVERS)('%s', (driver) => {
  test('a stale head is refused, and nothing of the batch is there', async () => {
    const path = join(tempDir(), 'ledger.db')
    const chain = await makeLedger(path, 3)
    const one = await openSqliteStore(path, { driver })
    const two = await openSqliteStore(path, { driver })
    const late = chain.seal([{}, {}])
    const lateHead = chain.head
    await chain.append(one, [{ actor: 'first' }])
    const error = await errorOf(() => two.append(late, lateHead))
    expect(error).toMatchObject({ code: 'head_moved', details: { expected: { size: 3 }, found: { size: 4, hash: chain.head.hash } } })
    // The same size, and another hash: another ledger's records.
    expect((await errorOf(() => two.append(chain.seal([{}]), { ...chain.head, hash: 'f'.repeat(64) }))).code).toBe('head_moved')
    expect(await linesOf(two)).toEqual(chain.lines)
    await chain.append(two, [{}, {}])
    expect(await linesOf(one)).toEqual(chain.lines)
    await one.close()
    await two.close()
  })

  test('a full disk: disk_full, nothing half-written, and it goes on when there is space', async () => {
    const path = join(tempDir(), 'ledger.db')
    const chain = await makeLedger(path, 3)
    const database = await openLedgerDatabase(path, { driver })
    const pages = Number(database.pragma('PRAGMA page_count'))
    database.exec(`PRAGMA max_page_count = ${pages + 2}`)
    // Small records fit for a while; whatever does not fit leaves nothing.
    const big = chain.seal([{}, { entry: { text: 'x'.repeat(100_000) } }, {}], true)
    const error = await errorOf(() => appendRecords(database, big, chain.head))
    expect(error).toMatchObject({ code: 'disk_full', details: { sqlite: 'SQLITE_FULL' } })
    expect(error.details.outcome_unknown).toBeUndefined()
    expect(database.inTransaction).toBe(false)
    expect(readHead(database)).toEqual(chain.head)
    const reader = await openSqliteStore(path, { driver, readOnly: true })
    expect(await linesOf(reader)).toEqual(chain.lines)
    database.exec(`PRAGMA max_page_count = ${pages + 1000}`)
    appendRecords(database, big, chain.head)
    chain.accept(big)
    expect(await linesOf(reader)).toEqual(chain.lines)
    await reader.close()
    database.close()
  })

  test('another process that holds the lock for too long: locked; it goes on when the lock is free', async () => {
    const path = join(tempDir(), 'ledger.db')
    const chain = await makeLedger(path, 3)
    const store = await openSqliteStore(path, { driver, busyTimeoutMs: 60 })
    const other = await openDatabase(path, { driver })
    other.exec('BEGIN IMMEDIATE')
    const batch = chain.seal([{}])
    expect((await errorOf(() => store.append(batch, chain.head))).code).toBe('locked')
    expect((await errorOf(() => store.atExit!.append(batch, chain.head))).code).toBe('locked')
    // Reading goes on all the while.
    expect(await linesOf(store)).toEqual(chain.lines)
    other.exec('ROLLBACK')
    await store.append(batch, chain.head)
    await store.close()
    other.close()
  })

  test('while it waits for the lock, the event loop runs', async () => {
    const path = join(tempDir(), 'ledger.db')
    const chain = await makeLedger(path, 3)
    const store = await openSqliteStore(path, { driver })
    const other = await openDatabase(path, { driver })
    other.exec('BEGIN IMMEDIATE')
    const appending = chain.append(store, [{}])
    // The lock is let go by this very thread: were it blocked, the append would end in locked.
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setTimeout(resolve, 5))
    other.exec('ROLLBACK')
    await appending
    expect(await linesOf(store)).toEqual(chain.lines)
    await store.close()
    other.close()
  })

  test('records that do not fit are refused as a whole', async () => {
    const path = join(tempDir(), 'ledger.db')
    const chain = await makeLedger(path, 3)
    const store = await openSqliteStore(path, { driver })
    const [one, two] = chain.seal([{}, {}]) as [never, never]
    for (const wrong of [
      [two],
      [two, one],
      [one, one],
      [...chain.seal([{ run_id: 'run-1' }])],
      chain.seal([{}, { run_id: 'twice' }, { run_id: 'twice' }]),
    ]) {
      expect((await errorOf(() => store.append(wrong, chain.head))).code).toBe('damaged')
    }
    expect(await linesOf(store)).toEqual(chain.lines)
    await store.append([], chain.head)
    await chain.append(store, [{}])
    await store.close()
  })

  test('state tells the head, the last versions and the lines of runs, whatever the ids look like', async () => {
    const path = join(tempDir(), 'ledger.db')
    const store = await openSqliteStore(path, { driver })
    const chain = new SampleChain()
    expect(await store.state({ streams: ['a'], run_ids: ['b'] })).toEqual({
      head: chain.head,
      streams: new Map(),
      runs: new Map(),
      now: null,
    })
    const odd = ['"quoted"', "it's", '\u{1f600}', '%_', '[1]', 'null']
    await chain.append(store, [LEDGER_CREATED, ...odd.map((text) => ({ stream: text, run_id: text })), { stream: 'null', run_id: 'last' }])
    const state = await store.state({ streams: [...odd, 'absent', '\ud800', 'a\0'], run_ids: [...odd, 'absent', '\ud800', 'a\0'] })
    expect(state.head).toEqual(chain.head)
    expect([...state.streams]).toEqual([...odd.slice(0, -1).map((text) => [text, 0]), ['null', 1]])
    expect([...state.runs].map(([id, line]) => [id, Buffer.from(line).toString()]).sort()).toEqual(
      odd.map((text, i) => [text, chain.lines[i + 1]]).sort(),
    )
    expect(store.atExit!.state({ streams: odd, run_ids: [] }).streams).toEqual(state.streams)
    await store.close()
  })
})

test('state looks up by index, however many are asked for', async () => {
  const path = join(tempDir(), 'ledger.db')
  await makeLedger(path, 3)
  const database = await openLedgerDatabase(path, {})
  const plans: string[] = []
  const spy = new Proxy(database, {
    get(target, key) {
      if (key === 'cached') {
        return (sql: string) => {
          plans.push(
            target
              .prepare(`EXPLAIN QUERY PLAN ${sql}`)
              .all(...(sql.includes('?') ? ['[]'] : []))
              .map((row) => String(row['detail']))
              .join('; '),
          )
          return target.cached(sql)
        }
      }
      const value = Reflect.get(target, key, target) as unknown
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  readState(spy, { streams: ['a'], run_ids: ['b'] })
  expect(plans[0]).toMatch(/^SCAN records$/)
  expect(plans[1]).toContain('SEARCH records USING INDEX records_by_stream (stream=?)')
  expect(plans[1]).not.toContain('TEMP B-TREE')
  expect(plans[2]).toContain('SEARCH records USING INDEX records_by_run_id (run_id=?)')
  database.close()
})

test('an append waits for its turn at process exit, synchronously', async () => {
  const path = join(tempDir(), 'ledger.db')
  const chain = await makeLedger(path, 3)
  const store = await openSqliteStore(path)
  store.atExit!.settle()
  const batch = chain.seal([{}, {}])
  store.atExit!.append(batch, store.atExit!.state({ streams: [], run_ids: [] }).head)
  chain.accept(batch)
  expect(await linesOf(store)).toEqual(chain.lines)
  await store.close()
})

describe('a COMMIT that fails', () => {
  const failures: readonly (readonly [string, LedgerError, boolean])[] = [
    ['for want of space: nothing is there', new LedgerError('disk_full', 'full'), false],
    ['because the database is locked: nothing is there', new LedgerError('locked', 'busy'), false],
    ['because the disk does: nobody knows', new LedgerError('io_error', 'disk I/O error', { sqlite: 'SQLITE_IOERR' }), true],
  ]
  test.each(failures)('%s', async (_, failure, unknown) => {
    const path = join(tempDir(), 'ledger.db')
    const chain = await makeLedger(path, 3)
    const database = await openLedgerDatabase(path, {})
    const batch = chain.seal([{ tags: ['a'] }, {}])
    const error = await errorOf(() =>
      appendRecords(
        faulty(database, (sql) => (sql === 'COMMIT' ? failure : null)),
        batch,
        chain.head,
      ),
    )
    expect(error.code).toBe(failure.code)
    expect(error.details.outcome_unknown ?? false).toBe(unknown)
    expect(database.inTransaction).toBe(false)
    expect(readHead(database)).toEqual(chain.head)
    appendRecords(database, batch, chain.head)
    chain.accept(batch)
    expect(readHead(database)).toEqual(chain.head)
    database.close()
  })

  test('and a ROLLBACK that fails after it: the cause is told', async () => {
    const path = join(tempDir(), 'ledger.db')
    const chain = await makeLedger(path, 3)
    const database = await openLedgerDatabase(path, {})
    const fault = (sql: string): LedgerError | null =>
      sql === 'COMMIT' ? new LedgerError('disk_full', 'full') : sql === 'ROLLBACK' ? new LedgerError('io_error', 'other') : null
    expect((await errorOf(() => appendRecords(faulty(database, fault), chain.seal([{}]), chain.head))).code).toBe('disk_full')
    database.exec('ROLLBACK')
    expect(readHead(database)).toEqual(chain.head)
    database.close()
  })
})

test('a last record that can not be read: damaged, and nothing is chained to it', async () => {
  const path = join(tempDir(), 'ledger.db')
  const chain = await makeLedger(path, 3)
  const other = await openDatabase(path)
  other.exec("DROP TRIGGER records_no_update; UPDATE records SET header = 'no header' WHERE seq = 2")
  other.close()
  const store = await openSqliteStore(path)
  expect((await errorOf(() => store.state({ streams: [], run_ids: [] }))).code).toBe('damaged')
  expect((await errorOf(() => store.append(chain.seal([{}]), chain.head))).code).toBe('damaged')
  await store.close()
})
