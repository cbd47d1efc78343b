/** Copies to and from PostgreSQL: what is true of every copy, and the way there and back. */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { AuditLedger, copyLedger, promoteLedger, publishLedger, verifyLedger } from '../../../src/index.ts'
import { openStore } from '../../../src/open-store.ts'
import { LEDGER_CREATED, SampleChain } from '../../../src/testing/index.ts'
import { NEW_PLACES, placeAt, ROUND_SIGNER, segmentedLedger, segmentsOf } from '../../helpers/copies.ts'
import type { CopyPlace } from '../../helpers/copies.ts'
import { copied, copyCases, linesAt, replicaCases } from '../../helpers/copy-cases.ts'
import { gotlog } from '../../helpers/gotlog.ts'
import { postgresMissing, useDatabases } from '../../helpers/postgres.ts'
import { tempDir } from '../../helpers/temp.ts'

describe.skipIf(postgresMissing !== null)('PostgreSQL', () => {
  const { newDatabase } = useDatabases()
  let database: Promise<string> | null = null
  let ledgers = 0

  /** A ledger of its own, beside the others in one database. */
  async function newUrl(): Promise<string> {
    const url = new URL(await (database ??= newDatabase()))
    url.searchParams.set('ledger', `copy-${++ledgers}`)
    return url.href
  }

  function placeOf(kind: string): CopyPlace {
    if (kind !== 'postgres') return NEW_PLACES[kind]!()
    let url: Promise<string> | null = null
    return placeAt('postgres', async (options) => openStore(await (url ??= newUrl()), options))
  }

  copyCases(
    [
      ['postgres', 'jsonl'],
      ['postgres', 'postgres'],
      ['sqlite', 'postgres'],
    ],
    placeOf,
  )
  replicaCases(['postgres'], placeOf)

  test('from files to PostgreSQL to SQLite to files: the same bytes, and what was signed and proven before holds', async () => {
    const folder = tempDir()
    const [dir, url, db, back] = [join(folder, 'audit'), await newUrl(), join(folder, 'audit.db'), join(folder, 'back')]
    const { checkpoint, bundle } = await segmentedLedger(dir)
    const report = await copyLedger(dir, url)
    expect(await copyLedger(url, db)).toEqual(report)
    expect(await copyLedger(db, back)).toEqual(report)
    expect(segmentsOf(back)).toEqual(segmentsOf(dir))
    const evidence = { keys: [ROUND_SIGNER.verifierKey], since: [checkpoint, bundle], remembered: false }
    for (const copy of [url, db, back])
      expect(await verifyLedger(copy, evidence)).toMatchObject({ ok: true, size: report.size, verdicts: { completeness: 'pass' } })
    if (gotlog !== null) {
      await publishLedger(url, join(folder, 'log'))
      expect(await gotlog(['log', join(folder, 'log'), ROUND_SIGNER.verifierKey])).toMatchObject({ ok: true })
    }
    const open = { signer: ROUND_SIGNER, checkpoints: false, stateFolder: join(folder, 'state') } as const
    await expect(AuditLedger.open(url, open)).rejects.toMatchObject({ code: 'read_only' })
    await promoteLedger(url)
    const ledger = await AuditLedger.open(url, open)
    await ledger.record({ agent_name: 'a', method_name: 'goes on' })
    expect(await ledger.verifyIntegrity({ remembered: false })).toMatchObject({ ok: true, size: report.size + 1 })
    await ledger.close()
  })

  test('the same place by two spellings is refused, and no message tells the password', async () => {
    const url = await newUrl()
    await segmentedLedger(join(tempDir(), 'audit'))
    await expect(copyLedger(url, url)).rejects.toThrow(RangeError)
    const secret = new URL(url)
    secret.password = 'hunter2'
    const error: unknown = await copyLedger(secret, url).catch((reason: unknown) => reason)
    expect(String(error)).toMatch(/RangeError/)
    expect(String(error)).not.toMatch(/hunter2/)
  })

  test('records of years come into the partitions of their months', async () => {
    const [from, to] = [placeOf('memory'), placeOf('postgres')]
    await from.with(async (store) => {
      const chain = new SampleChain()
      await chain.append(store, [{ ...LEDGER_CREATED, recorded_at: '2019-01-01T00:00:00.000000Z' }])
      const months = Array.from({ length: 30 }, (_, i) => `20${19 + Math.floor(i / 12)}-${String((i % 12) + 1).padStart(2, '0')}`)
      await chain.append(
        store,
        months.map((month) => ({ recorded_at: `${month}-15T00:00:00.000000Z` })),
      )
    })
    await copied(from, to)
    expect(await linesAt(to)).toEqual(await linesAt(from))
    expect(await to.with((store) => store.describe())).toMatchObject({ default_partition_records: 0 })
  })
})
