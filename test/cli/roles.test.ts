/** `init --roles`: tables, roles and a ledger by one command, by an owner who is no superuser. */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { clusterMissing, useCluster } from '../helpers/postgres.ts'
import { sql } from '../helpers/postgres-cluster.ts'
import { tempDir } from '../helpers/temp.ts'
import { ok, run } from './cli.ts'

test('init --roles of another store is misuse', async () => {
  const { code, stderr } = await run(['init', join(tempDir(), 'audit.db'), '--roles'])
  expect([code, stderr]).toEqual([2, expect.stringMatching(/--roles: .* postgres: URL/)])
})

describe.skipIf(clusterMissing !== null)('init of a PostgreSQL ledger --roles', () => {
  const cluster = useCluster()
  const roles = ['writer', 'reader', 'auditor', 'retention'].map((name) => `cortex_ledger_${name}`)

  test('makes all of it, and where a ledger is there, makes the roles again', { timeout: 60_000 }, async () => {
    await cluster().sql('CREATE ROLE keeper LOGIN CREATEROLE')
    await cluster().sql('CREATE ROLE passer LOGIN')
    await cluster().sql('CREATE DATABASE audit OWNER keeper')
    const url = cluster().url('audit', 'keeper')
    const args = ['init', url, '--origin', 'example.com/roles', '--key', join(tempDir(), 'key'), '--roles']
    expect(JSON.parse(await ok([...args, '--json']))).toMatchObject({ created: true, roles, origin: 'example.com/roles', kind: 'postgres' })
    await sql(url, 'REVOKE SELECT ON cortex_ledger.audit_log FROM cortex_ledger_reader')
    const again = await ok(args)
    expect(again).toMatch(/was there, and is as it was.*cortex_ledger_writer.*GRANT/)
    const [row] = await sql<{ may: boolean }>(
      url,
      "SELECT has_table_privilege('cortex_ledger_reader', 'cortex_ledger.audit_log', 'SELECT') AS may",
    )
    expect(row?.may).toBe(true)
    const refused = await run(['init', cluster().url('audit', 'passer'), '--roles'])
    expect(refused).toMatchObject({ code: 3, stderr: expect.stringMatching(/^error: read_only: .*CREATEROLE/) })
  })
})
