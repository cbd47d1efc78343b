/** Damaged files of the server, which it finds by its checksums: what they hold is told, and all else is verified. */
import { spawnSync } from 'node:child_process'
import { closeSync, openSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { AuditLedger, verifyLedger, type VerificationReport } from '../../src/index.ts'
import { clusterMissing, useCluster } from '../helpers/postgres.ts'
import { POSTGRES_PROGRAMS, sql } from '../helpers/postgres-cluster.ts'
import { hurryingClock } from '../helpers/postgres-ledger.ts'

const RECORDS = 200
const PAGE_BYTES = 8192
/** One database each, whose ledger has this page of this file damaged. */
const DAMAGES = {
  heap: { relation: 'audit_log_2026_04', page: 1 },
  index: { relation: 'audit_log_2026_04_pkey', page: 1 },
  long: { relation: "(SELECT reltoastrelid::regclass FROM pg_class WHERE oid = 'cortex_ledger.audit_log_2026_04'::regclass)", page: 0 },
  head: { relation: 'heads', page: 0 },
} as const
type Damage = keyof typeof DAMAGES

describe.skipIf(clusterMissing !== null)('a PostgreSQL with a damaged page', { timeout: 120_000 }, () => {
  const cluster = useCluster()
  const url = (name: Damage): string => cluster().url(name)
  const verify = (name: Damage): Promise<VerificationReport> => verifyLedger(url(name), { remembered: false })
  /** Positions by page of the damaged heap. */
  let onPage: number[] = []
  let withLongOnes: number[] = []

  beforeAll(async () => {
    const server = cluster()
    await server.createDatabase('heap')
    const ledger = await AuditLedger.open(url('heap'), { origin: 'example.com/pages', signer: null, clock: hurryingClock(4) })
    // Long ones lie outside the page, in pieces.
    const calls = Array.from({ length: RECORDS - 1 }, (_, n) => ({
      agent_name: 'a',
      method_name: 'm',
      raw_output: n % 40 === 7 ? Array.from({ length: 3000 }, (_, i) => (i * 7919 * n).toString(36)).join('') : `${n}`,
    }))
    for (const call of calls) await ledger.record(call)
    await ledger.close()
    for (const name of Object.keys(DAMAGES)) if (name !== 'heap') await server.sql(`CREATE DATABASE "${name}" TEMPLATE heap`)
    const rows = await sql<{ seq: string; page: string; long: boolean }>(
      url('heap'),
      `SELECT seq, split_part(trim('()' FROM ctid::text), ',', 1) AS page, octet_length(entry) > 8000 AS long
       FROM cortex_ledger.audit_log WHERE tableoid = 'cortex_ledger.audit_log_2026_04'::regclass ORDER BY seq`,
    )
    onPage = rows.filter(({ page }) => Number(page) === DAMAGES.heap.page).map(({ seq }) => Number(seq))
    withLongOnes = rows.filter(({ long }) => long).map(({ seq }) => Number(seq))
    const files: [string, number][] = []
    for (const [name, { relation, page }] of Object.entries(DAMAGES)) {
      const of = relation.startsWith('(') ? relation : `'cortex_ledger.${relation}'`
      const [row] = await sql<{ path: string }>(url(name as Damage), `SELECT pg_relation_filepath(${of}) AS path`)
      files.push([join(server.data, row!.path), page])
    }
    await server.shutdown()
    const { uid, gid } = statSync(server.data)
    const checksums = spawnSync(join(POSTGRES_PROGRAMS!, 'pg_checksums'), ['--enable', '--no-sync', '-D', server.data], {
      uid,
      gid,
      encoding: 'utf8',
    })
    expect(checksums.status, checksums.stderr).toBe(0)
    for (const [path, page] of files) {
      expect(statSync(path).size).toBeGreaterThan(page * PAGE_BYTES)
      const file = openSync(path, 'r+')
      writeSync(file, Buffer.from('DAMAGED!'), 0, 8, page * PAGE_BYTES + PAGE_BYTES - 100)
      closeSync(file)
    }
    await server.start()
  }, 120_000)

  test('of the records: those on it are told, each; all others are verified', async () => {
    const report = await verify('heap')
    expect(onPage.length).toBeGreaterThan(3)
    const told = report.problems.filter(({ code }) => code === 'unreadable')
    expect(told.flatMap(({ seq, where }) => (where === null ? [] : [seq]))).toEqual(onPage)
    expect(told[0]?.found).toMatch(/invalid page in block 1/)
    // The gap that they leave, and the keys that could not be compared.
    expect(report.problems.filter(({ seq, code }) => code !== 'unreadable' && !onPage.includes(seq!))).toEqual([])
    expect(report.size).toBe(RECORDS)
  })

  test('of long entries: those records are told, and no other', async () => {
    const report = await verify('long')
    const seqs = report.problems.flatMap(({ seq, where }) => (where === null ? [] : [seq!]))
    expect(seqs.length).toBeGreaterThan(0)
    expect(seqs.filter((seq) => !withLongOnes.includes(seq))).toEqual([])
  })

  test('of the index that gives the order: all records are verified without it', async () => {
    const report = await verify('index')
    expect(report).toMatchObject({ ok: false, size: RECORDS })
    expect(report.problems).toMatchObject([{ code: 'unreadable', found: expect.stringContaining('REINDEX') }])
    await sql(url('index'), 'REINDEX TABLE cortex_ledger.audit_log')
    expect(await verify('index')).toMatchObject({ ok: true, size: RECORDS })
  })

  test('of the head: all records are verified', async () => {
    const report = await verify('head')
    expect(report).toMatchObject({ ok: false, size: RECORDS })
    expect(report.problems.map(({ code }) => code)).toEqual(report.problems.map(() => 'unreadable'))
    expect(report.problems.length).toBeLessThanOrEqual(3)
  })
})
