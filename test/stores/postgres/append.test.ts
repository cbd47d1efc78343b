/** An append that goes over in several statements is there as a whole or not at all. */
import { describe, expect, test } from 'vitest'
import type { Head, SealedRecord, Store } from '../../../src/ledger/store.ts'
import { openPostgresStore } from '../../../src/stores/postgres/index.ts'
import { LEDGER_CREATED, SampleChain, type Sample } from '../../../src/testing/sample-chain.ts'
import { postgresMissing, useDatabases } from '../../helpers/postgres.ts'
import { refusal } from './helpers.ts'

/** More than one statement takes. */
const MANY: readonly Sample[] = Array.from({ length: 600 }, () => ({}))

async function headOf(store: Store): Promise<Head> {
  return (await store.state({ streams: [], run_ids: [] })).head
}

describe.skipIf(postgresMissing !== null)('an append of 600 records to PostgreSQL', () => {
  const { newDatabase } = useDatabases()

  async function opened(): Promise<{ store: Store; chain: SampleChain; url: string }> {
    const url = await newDatabase()
    const store = await openPostgresStore(url, { databaseClock: false })
    const chain = new SampleChain()
    await chain.append(store, [LEDGER_CREATED])
    return { store, chain, url }
  }

  /** The ledger is as it was, and takes the next append. */
  async function assertUntouched(store: Store, chain: SampleChain): Promise<void> {
    expect(await headOf(store)).toEqual(chain.head)
    expect(await store.count({ type: ['SampleTaken'] })).toBe(chain.head.size - 1)
    await chain.append(store, MANY)
    expect(await headOf(store)).toEqual(chain.head)
    expect(await store.count({})).toBe(chain.head.size)
    await store.close()
  }

  test.each([0, 249, 250, 251, 499, 599])('of which the server refuses the one at %i', async (at) => {
    const { store, chain } = await opened()
    const records = chain.seal(MANY)
    const { header_text } = records[at] as SealedRecord
    const changed = records.with(at, { ...records[at]!, header_text: header_text.replace('"actor":"', '"actor":"x') })
    const error = await refusal(store.append(changed, chain.head))
    expect(error.message).toMatch(/continue/)
    await assertUntouched(store, chain)
  })

  test.each([0, 300, 599])('of which the one at %i can not be put into bytes', async (at) => {
    const { store, chain } = await opened()
    const records = chain.seal(MANY)
    const broken = records.with(at, { ...records[at]!, salt: 7 as unknown as string })
    await expect(store.append(broken, chain.head)).rejects.toThrow(/out of range/)
    await assertUntouched(store, chain)
  })

  test('whose run_id in the third part is there already', async () => {
    const { store, chain } = await opened()
    await chain.append(store, [{ run_id: 'twice' }])
    const records = chain.seal(MANY.with(550, { run_id: 'twice' }))
    await refusal(store.append(records, chain.head))
    await assertUntouched(store, chain)
  })

  test('that another writer was faster than', async () => {
    const { store, chain, url } = await opened()
    const records = chain.seal(MANY)
    const before = chain.head
    const other = await openPostgresStore(url, { databaseClock: false })
    await chain.append(other, [{ run_id: 'faster' }])
    await other.close()
    expect(await refusal(store.append(records, before))).toMatchObject({ code: 'head_moved', details: { found: { size: 2 } } })
    await assertUntouched(store, chain)
  })

  test('in a turn, of which the last one is refused: the turn is over, and others append', async () => {
    const { store, chain, url } = await opened()
    const turn = await store.takeTurn!({ streams: [], run_ids: [] })
    const records = chain.seal(MANY)
    await refusal(turn.append(records.with(599, { ...records[599]!, hash: 'f'.repeat(64) })))
    const other = await openPostgresStore(url, { databaseClock: false })
    await chain.append(other, MANY)
    await other.close()
    await assertUntouched(store, chain)
  })
})
