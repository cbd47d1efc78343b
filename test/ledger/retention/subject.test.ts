/** A subject is erased: the entries under its key go, and the key with them; everybody else's stay. */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { AuditLedger, masterKeyFrom } from '../../../src/index.ts'
import type { OpenOptions } from '../../../src/index.ts'
import { openMemoryStore } from '../../../src/stores/memory.ts'
import { useLedgerUrls } from '../../helpers/postgres.ts'
import { gathered, retained } from '../../helpers/retained.ts'
import { tempDir } from '../../helpers/temp.ts'

const SAID = { reason: 'request of the data subject', right: 'gdpr-17', case: 'DSR-90' }
const encryption = { master: masterKeyFrom(new Uint8Array(32).fill(3)) }
const CALL = { agent_name: 'support', method_name: 'answer' }

const STORES: readonly [kind: string, location: () => string][] = [
  ['JSONL', () => join(tempDir(), 'audit')],
  ['SQLite', () => join(tempDir(), 'audit.db')],
  ...useLedgerUrls().map((url): [string, () => string] => ['PostgreSQL', url]),
]

async function recordFor(ledger: AuditLedger, subject: string, count: number, first = 0): Promise<void> {
  for (let i = first; i < first + count; i++)
    await ledger.record({ ...CALL, run_id: `${subject}-${i}`, prompt: `${subject} said ${i}` }, { subject })
}

async function promptOf(ledger: AuditLedger, run_id: string): Promise<unknown> {
  return (await ledger.get(run_id))?.entry?.['prompt'] ?? null
}

test.each(STORES)('%s: one of two, and the next record of the same subject is under a new key', async (_, place) => {
  const options: OpenOptions = { origin: 'example.com/subjects', actor: 'tester', signer: null, encryption }
  const ledger = await AuditLedger.open(place(), options)
  await recordFor(ledger, 'ann', 5)
  await recordFor(ledger, 'bob', 5)
  const keysBefore = await gathered(ledger.dataKeys.list())
  const erased = await ledger.retention.erase({ subject: 'ann' }, SAID)
  expect(erased).toMatchObject({ records: 5, already: 0 })
  for (let i = 0; i < 5; i++) {
    const record = (await ledger.get(`ann-${i}`))!
    expect([record.entry, record.locked, record.withheld?.state]).toEqual([null, null, 'erased'])
    expect(await promptOf(ledger, `bob-${i}`)).toBe(`bob said ${i}`)
  }
  expect((await gathered(ledger.dataKeys.list())).length).toBe(keysBefore.length - 1)
  expect(await ledger.verifyIntegrity({ decrypt: true })).toMatchObject({ ok: true, withheld: { erased: 5, unnamed: 0, pending: 0 } })
  await recordFor(ledger, 'ann', 1, 100)
  expect(await promptOf(ledger, 'ann-100')).toBe('ann said 100')
  // Asked again, it is the new record that is erased.
  expect(await ledger.retention.erase({ subject: 'ann' }, SAID)).toMatchObject({ records: 1 })
  await expect(ledger.retention.erase({ subject: 'ann' }, SAID)).rejects.toMatchObject({ code: 'not_found' })
  await ledger.close()
})

describe('a subject whose entries were moved', () => {
  test('is erased in warm and cold files too', async () => {
    const { ledger, open, clock } = await retained(1, { encryption })
    await recordFor(ledger, 'ann', 3)
    clock.advance(40 * 86_400_000_000)
    await recordFor(ledger, 'ann', 3, 3)
    await ledger.applyRetention()
    expect(await ledger.retention.erase({ subject: 'ann' }, SAID)).toMatchObject({ records: 6, left: [] })
    expect(await ledger.verifyIntegrity()).toMatchObject({ ok: true, withheld: { erased: 6, pending: 0 } })
    const reader = await open({ readOnly: true, readThrough: true })
    for (let i = 0; i < 6; i++) expect((await reader.get(`ann-${i}`))?.withheld?.state).toBe('erased')
    expect(await promptOf(reader, 'run-0')).toBe('the secret 0')
    await reader.close()
  })
})

test('a subject under hold keeps its key and its entries', async () => {
  const { ledger } = await retained(1, { encryption })
  await recordFor(ledger, 'ann', 3)
  await ledger.retention.placeHold({ run_id: 'ann-1' }, { reason: 'litigation', case: 'M-1' })
  await expect(ledger.retention.erase({ subject: 'ann' }, SAID)).rejects.toMatchObject({ code: 'held' })
  expect(await promptOf(ledger, 'ann-0')).toBe('ann said 0')
})

test('cut between the record and the key: the same call again destroys the key', async () => {
  const store = openMemoryStore()
  let isBroken = true
  const remove: typeof store.dataKeys.remove = (ids) => (isBroken ? Promise.reject(new Error('cut short')) : store.dataKeys.remove(ids))
  const cut = { ...store, dataKeys: { ...store.dataKeys, remove } }
  const { ledger } = await retained(1, { encryption }, cut)
  await recordFor(ledger, 'ann', 3)
  await expect(ledger.retention.erase({ subject: 'ann' }, SAID)).rejects.toThrow('cut short')
  isBroken = false
  const keys = await gathered(ledger.dataKeys.list())
  expect(await ledger.retention.erase({ subject: 'ann' }, SAID)).toMatchObject({ records: 0, already: 3 })
  expect((await gathered(ledger.dataKeys.list())).length).toBe(keys.length - 1)
  expect(await ledger.verifyIntegrity()).toMatchObject({ ok: true, withheld: { erased: 3, pending: 0 } })
})

test('without the master key nobody can tell whose entries they are', async () => {
  const { ledger } = await retained(1)
  await expect(ledger.retention.erase({ subject: 'ann' }, SAID)).rejects.toMatchObject({ code: 'key_error' })
})
