/** Servers that are full, busy, set to other defaults or to read only: an error that says so, nothing half-written, and it goes on. */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, chownSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { describe, expect, onTestFinished, test } from 'vitest'
import { AuditLedger, type LedgerError } from '../../src/index.ts'
import { openPostgresStore } from '../../src/stores/postgres/index.ts'
import { openSessions } from '../../src/stores/postgres/opening.ts'
import { LEDGER_CREATED, SampleChain } from '../../src/testing/sample-chain.ts'
import { assertKept } from '../helpers/acknowledged.ts'
import { pause, sql, until } from '../helpers/postgres-cluster.ts'
import { clusterMissing, useCluster } from '../helpers/postgres.ts'
import { soaking } from '../helpers/scale.ts'

const OPEN = { signer: null, origin: 'example.com/trouble', checkpoints: false, tree: 'on-demand', onWarning: () => {} } as const
const CALL = { agent_name: 'a', method_name: 'm' }
const NOTHING = { streams: [], run_ids: [] }
const CONNECTIONS = 12

async function refusal(work: Promise<unknown>): Promise<LedgerError> {
  return work.then(
    () => {
      throw new Error('it was not refused')
    },
    (error: LedgerError) => error,
  )
}

/** A transaction that has done this and goes on until its connection is ended. */
async function blocked(url: string, text: string): Promise<pg.Client> {
  const blocker = new pg.Client({ connectionString: url })
  await blocker.connect()
  await blocker.query(`BEGIN; ${text}`)
  return blocker
}

/** A file system of so many MiB, or null where none may be mounted. */
function smallDisk(mebibytes: number): string | null {
  const folder = mkdtempSync(join(tmpdir(), 'cortex-small-'))
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', folder])
  onTestFinished(() => {
    if (status === 0) spawnSync('umount', [folder])
    rmSync(folder, { recursive: true, force: true })
  })
  return status === 0 ? folder : null
}

describe.skipIf(clusterMissing !== null)('PostgreSQL', () => {
  const cluster = useCluster({
    settings: { max_connections: CONNECTIONS, superuser_reserved_connections: 0, wal_writer_delay: 10_000, bgwriter_delay: 10_000 },
  })

  test('what the server or the database is set to does not count for the ledger', async () => {
    const url = await cluster().createDatabase()
    const name = new URL(url).pathname.slice(1)
    for (const setting of [
      `default_transaction_isolation = serializable`,
      `statement_timeout = '500ms'`,
      `lock_timeout = '100ms'`,
      `idle_in_transaction_session_timeout = '1ms'`,
      `search_path = nowhere`,
      `DateStyle = 'SQL, DMY'`,
      `TimeZone = 'Pacific/Apia'`,
      `bytea_output = escape`,
      `standard_conforming_strings = off`,
      `synchronous_commit = off`,
    ])
      await cluster().sql(`ALTER DATABASE ${name} SET ${setting}`)
    const ledgers = [await AuditLedger.open(url, OPEN), await AuditLedger.open(url, OPEN)]
    const receipts = await Promise.all(Array.from({ length: 100 }, (_, i) => ledgers[i % 2]!.record({ ...CALL, run_id: `it's \\ "${i}"` })))
    const blocker = new pg.Client({ connectionString: url })
    await blocker.connect()
    await blocker.query('SET idle_in_transaction_session_timeout = 0; BEGIN; SELECT FROM cortex_ledger.heads FOR UPDATE')
    const recording = ledgers[0]!.record(CALL)
    await pause(600)
    await blocker.query('ROLLBACK')
    await blocker.end()
    receipts.push(await recording)
    // With synchronous_commit off these would be lost.
    await cluster().kill()
    await cluster().start()
    expect(await assertKept(ledgers[0]!, receipts)).toBe(102)
    for (const ledger of ledgers) await ledger.close()
  })

  test('no connection is left: told so, and it goes on when there is one', async () => {
    const url = await cluster().createDatabase()
    const ledger = await AuditLedger.open(url, OPEN)
    await ledger.record(CALL)
    const others: pg.Client[] = []
    const takeAll = async (): Promise<void> => {
      for (;;) {
        const client = new pg.Client({ connectionString: url })
        client.on('error', () => {})
        try {
          await client.connect()
        } catch {
          return
        }
        others.push(client)
      }
    }
    await takeAll()
    const error = await refusal(openPostgresStore(url, { patienceMs: 100 }))
    expect(error).toMatchObject({ code: 'io_error' })
    expect(error.message).toMatch(/53300.*raise max_connections/)
    // The one that writes loses its connection, and another takes the place.
    await others[0]!.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cortex-ledger' AND datname = current_database()`,
    )
    await takeAll()
    const recording = ledger.record(CALL)
    await pause(200)
    await Promise.all(others.map((client) => client.end()))
    expect((await recording).seq).toBe(2)
    await ledger.close()
  })

  test('read only for a while: refused by name, and then it goes on', async () => {
    const url = await cluster().createDatabase()
    const ledger = await AuditLedger.open(url, OPEN)
    await ledger.record(CALL)
    await cluster().sql(`ALTER SYSTEM SET default_transaction_read_only = on`)
    await cluster().sql('SELECT pg_reload_conf()')
    await until('it is read only', async () => {
      const [row] = await sql<{ on: string }>(url, `SELECT current_setting('default_transaction_read_only') AS on`)
      return row?.on === 'on'
    })
    for (const entry of [CALL, { ...CALL, run_id: 'r' }]) {
      const error = await refusal(ledger.record(entry))
      expect(error).toMatchObject({ code: 'read_only' })
      expect(error.details.outcome_unknown).toBeUndefined()
    }
    const opening = await refusal(openPostgresStore(url, { patienceMs: 0 }))
    expect(opening.code).toBe('read_only')
    await cluster().sql(`ALTER SYSTEM RESET default_transaction_read_only`)
    await cluster().sql('SELECT pg_reload_conf()')
    await until('it takes writes', async () => {
      const [row] = await sql<{ on: string }>(url, `SELECT current_setting('default_transaction_read_only') AS on`)
      return row?.on === 'off'
    })
    expect((await ledger.record({ ...CALL, run_id: 'r' })).seq).toBe(2)
    expect(await assertKept(ledger, [])).toBe(3)
    await ledger.close()
  })

  test('a statement is cancelled: told so, nothing is there of it, and it goes on', async () => {
    const url = await cluster().createDatabase()
    const ledger = await AuditLedger.open(url, OPEN)
    const blocker = new pg.Client({ connectionString: url })
    await blocker.connect()
    await blocker.query('BEGIN; SELECT FROM cortex_ledger.heads FOR UPDATE')
    const recording = refusal(ledger.record(CALL))
    const waiting = `SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%append_records%' AND wait_event_type = 'Lock'`
    await until('the append waits and is cancelled', async () => (await sql(url, waiting)).length > 0)
    const error = await recording
    expect(error).toMatchObject({ code: 'io_error' })
    expect(error.details.outcome_unknown).toBeUndefined()
    await blocker.query('ROLLBACK')
    await blocker.end()
    expect((await ledger.record(CALL)).seq).toBe(1)
    expect(await assertKept(ledger, [])).toBe(2)
    await ledger.close()
  })

  test('a turn that is held when its transaction is ended: the outcome is looked for, and others go on', async () => {
    const url = await cluster().createDatabase()
    const [one, other] = [await AuditLedger.open(url, OPEN), await AuditLedger.open(url, OPEN)]
    const store = await openPostgresStore(url)
    const turn = await store.takeTurn!({ streams: [], run_ids: [] })
    const recording = other.record(CALL)
    // The server does it by itself after ten seconds.
    if (!soaking) await sql(url, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'`)
    const { seq } = await recording
    expect(seq).toBe(1)
    await turn.release()
    const again = await store.takeTurn!({ streams: [], run_ids: [] })
    expect(again.state.head.size).toBe(2)
    await again.release()
    expect((await one.record(CALL)).seq).toBe(2)
    expect(await assertKept(one, [])).toBe(3)
    await store.close()
    for (const ledger of [one, other]) await ledger.close()
  })

  test('whoever has the turn gets the state, also after a commit that nobody heard of', async () => {
    const url = await cluster().createDatabase()
    const store = await openPostgresStore(url)
    const chain = new SampleChain()
    await chain.append(store, [LEDGER_CREATED])
    const blocker = await blocked(url, 'SELECT FROM cortex_ledger.heads FOR UPDATE')
    const lost = refusal(store.append(chain.seal([{}]), chain.head))
    const waiting = `FROM pg_stat_activity WHERE application_name = 'cortex-ledger' AND wait_event_type = 'Lock' AND datname = current_database()`
    await until('the append waits', async () => (await sql(url, `SELECT ${waiting}`)).length > 0)
    await sql(url, `SELECT pg_terminate_backend(pid) ${waiting}`)
    expect((await lost).details.outcome_unknown).toBe(true)
    await blocker.end()
    const turn = await store.takeTurn!(NOTHING)
    // As a key is looked at before it signs.
    expect((await store.state(NOTHING)).head).toEqual(turn.state.head)
    await turn.append(chain.seal([{}]))
    expect((await store.state(NOTHING)).head.size).toBe(2)
    await store.close()
  })

  test('what the server does not survive is not asked again and again', async () => {
    const url = await cluster().createDatabase()
    const { sessions } = await openSessions(url, { patienceMs: 1000 })
    let asked = 0
    const asking = sessions.reading((session) => {
      asked++
      return session.query({ text: 'SELECT pg_terminate_backend(pg_backend_pid())' })
    })
    expect(await refusal(asking)).toMatchObject({ code: 'io_error', details: { connection_lost: true } })
    expect(asked).toBeGreaterThan(1)
    expect(asked).toBeLessThan(12)
    await sessions.close()
  })

  test('verifying and counting take the time that they take', async () => {
    const url = await cluster().createDatabase()
    const ledger = await AuditLedger.open(url, OPEN)
    await ledger.record(CALL)
    await ledger.close()
    const store = await openPostgresStore(url, { readOnly: true, timeoutMs: 1000, patienceMs: 100 })
    const blocker = await blocked(url, 'LOCK TABLE cortex_ledger.heads, cortex_ledger.audit_log IN ACCESS EXCLUSIVE MODE')
    let checked = 0
    const sink = { file: () => {}, line: () => checked++, unended: () => {}, problem: () => (checked = Infinity), columnsChecked: () => {} }
    const working = Promise.all([store.audit(sink), store.count({ actor: ['a'] }), store.tally('actor', {})])
    await Promise.race([working, pause(1500)])
    await blocker.end()
    expect((await working)[1]).toBe(1)
    expect(checked).toBe(2)
    await store.close()
  })

  test('the disk is full: told so, nothing half-written, and it goes on when there is space', async ({ skip }) => {
    const disk = smallDisk(48)
    if (disk === null) return skip('no file system can be mounted here')
    const space = join(disk, 'space')
    mkdirSync(space)
    const { uid, gid } = statSync(cluster().data)
    for (const folder of [disk, space]) {
      chownSync(folder, uid, gid)
      chmodSync(folder, 0o700)
    }
    await cluster().sql(`CREATE TABLESPACE small LOCATION '${space}'`)
    await cluster().sql(`CREATE DATABASE small TABLESPACE small`)
    const url = cluster().url('small')
    const ledger = await AuditLedger.open(url, OPEN)
    const receipts = [await ledger.record(CALL)]
    writeFileSync(join(disk, 'filler'), '')
    spawnSync('dd', ['if=/dev/zero', `of=${join(disk, 'filler')}`, 'bs=64k'])
    const codes = new Set<string>()
    const text = Array.from({ length: 4000 }, (_, i) => Math.sin(i).toString(36)).join('')
    for (let i = 0; i < 40; i++) {
      const outcome = await ledger.record({ ...CALL, run_id: `r${i}`, raw_output: text }).catch((error: LedgerError) => error)
      if ('seq' in outcome) receipts.push(outcome)
      else {
        codes.add(outcome.code)
        expect(outcome.details.outcome_unknown).toBeUndefined()
        expect(outcome.message).toMatch(/53100.*free some space/)
      }
    }
    expect([...codes]).toEqual(['disk_full'])
    rmSync(join(disk, 'filler'))
    receipts.push(await ledger.record({ ...CALL, run_id: 'after', raw_output: text }))
    expect(await assertKept(ledger, receipts)).toBe(1 + receipts.length)
    await ledger.close()
    await cluster().sql('DROP DATABASE small')
    await cluster().sql('DROP TABLESPACE small')
  })
})
