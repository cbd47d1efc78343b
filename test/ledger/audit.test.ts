/** Verifying a ledger whose ids do not fit into memory: exact in each store, and nothing is left behind. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { verifyLedger } from '../../src/index.ts'
import { openJsonlStore } from '../../src/stores/jsonl/index.ts'
import { openSqliteStore } from '../../src/stores/sqlite/index.ts'
import type { Store } from '../../src/ledger/store.ts'
import { LEDGER_CREATED, SampleChain } from '../../src/testing/sample-chain.ts'
import { tempDir } from '../helpers/temp.ts'

const RECORDS = 2000
/** The record whose run_id is that of an early one, and who it repeats. */
const [DOUBLE, FIRST] = [1777, 12]

const stores: readonly (readonly [name: string, file: string, open: (path: string) => Promise<Store>])[] = [
  ['JSONL', 'audit', (path) => openJsonlStore(path, { index: 'off' })],
  ['SQLite', 'audit.db', (path) => openSqliteStore(path)],
]

/** The store has no word on ids that differ in its index only, so a double is put into the sealed records themselves. */
async function makeLedger(open: (path: string) => Promise<Store>, path: string, isDouble: boolean): Promise<void> {
  const store = await open(path)
  const chain = new SampleChain()
  await chain.append(store, [LEDGER_CREATED])
  for (let seq = 1; seq < RECORDS;) {
    const samples = Array.from({ length: Math.min(200, RECORDS - seq) }, () => {
      const run_id = `run of ${isDouble && seq === DOUBLE ? FIRST : seq}`
      seq++
      return { run_id, stream: `stream ${seq % 700}` }
    })
    await chain.append(store, samples)
  }
  await store.close()
}

test.each(stores)('%s: all is found, and temporary files are gone', async (_, file, open) => {
  const path = join(tempDir(), file)
  const temporaryFolder = tempDir()
  await makeLedger(open, path, false)
  const inside = await verifyLedger(path)
  expect(inside).toMatchObject({
    ok: true,
    size: RECORDS,
    checks: { run_ids_unique: { verdict: 'pass' }, stream_versions: { verdict: 'pass' } },
  })
  expect(await verifyLedger(path, { temporaryFolder, idsInMemory: 100 })).toEqual(inside)
  expect(readdirSync(temporaryFolder)).toEqual([])
})

test('JSONL: a run_id that comes twice is found at its record', async () => {
  const path = join(tempDir(), 'audit')
  await makeLedger(stores[0]![2], path, true)
  const inside = await verifyLedger(path)
  expect(inside.problems).toMatchObject([{ code: 'duplicate_run_id', seq: DOUBLE, found: `run of ${FIRST}` }])
  for (const idsInMemory of [0, 100, 1500]) {
    const temporaryFolder = tempDir()
    expect(await verifyLedger(path, { temporaryFolder, idsInMemory })).toEqual(inside)
    expect(readdirSync(temporaryFolder)).toEqual([])
  }
})

test('an aborted verification leaves nothing behind', async () => {
  const path = join(tempDir(), 'audit')
  await makeLedger(stores[0]![2], path, false)
  for (const lines of [300, 1000, 2000]) {
    const temporaryFolder = tempDir()
    const abort = new AbortController()
    let heard = 0
    const verified = verifyLedger(path, {
      temporaryFolder,
      idsInMemory: 100,
      signal: abort.signal,
      onProgress: (count) => {
        heard = count
        if (count >= lines) abort.abort(new Error('enough'))
      },
    })
    await expect(verified).rejects.toThrow('enough')
    expect(heard).toBeGreaterThan(0)
    expect(readdirSync(temporaryFolder)).toEqual([])
  }
})

test('a folder that is not there: what needs the ids is not checked, and the rest is', async () => {
  const path = join(tempDir(), 'audit')
  await makeLedger(stores[0]![2], path, false)
  const report = await verifyLedger(path, { temporaryFolder: join(path, 'not there'), idsInMemory: 100 })
  expect(report).toMatchObject({ ok: true, size: RECORDS, verdicts: { integrity: 'pass' } })
  expect(report.checks.run_ids_unique).toEqual({ verdict: 'not checked', missing: expect.stringContaining('ENOENT') })
})
