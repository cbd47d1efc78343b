/** Subscriptions over stores that know less at one time than at another, as servers that lag do. */
import { expect, test } from 'vitest'
import { AuditLedger, type Selection, type Store } from '../../src/index.ts'
import { openMemoryStore } from '../../src/stores/memory.ts'
import { seededRandom } from '../../src/testing/index.ts'

/** By chance a reading ends before the end, as if another server answered it that has less. */
function lagging(inner: Store, seed: number): Store {
  const random = seededRandom(seed)
  const shorter = (selection: Selection): Selection =>
    random.chance(0.5) ? selection : { ...selection, before: Math.max(0, Math.min(selection.before, 1200) - 1 - random.below(400)) }
  return {
    ...inner,
    mayLag: true,
    read: (selection) => inner.read(shorter(selection)),
  }
}

test.each([undefined, { types: 'AThingDone' }])('servers that lag cost time and no record, filter %o', async (filter) => {
  const store = openMemoryStore()
  const ledger = await AuditLedger.open('memory:', { store, signer: null, origin: 'example.com/lag', actor: 'tester', tree: 'on-demand' })
  const events = Array.from({ length: 1150 }, (_, i) => ({ type: i % 3 === 0 ? 'AThingDone' : 'BThingDone', data: {} }))
  for (let at = 0; at < events.length; at += 575) await ledger.append('s', events.slice(at, at + 575))
  const expected: number[] = []
  for await (const { seq, header } of ledger.read()) if (filter === undefined || header.type === 'AThingDone') expected.push(seq)
  for (const seed of [1, 2, 3]) {
    const reader = await AuditLedger.open('memory:', {
      store: { ...lagging(store, seed), readOnly: true, close: async () => {} },
      readOnly: true,
    })
    const seen: number[] = []
    for await (const { seq } of reader.subscribe({ filter })) if (seen.push(seq) === expected.length) break
    expect(seen).toEqual(expected)
    await reader.close()
  }
  await ledger.close()
})

test('a record that is missing ends it, and is named', async () => {
  const store = openMemoryStore()
  const ledger = await AuditLedger.open('memory:', { store, signer: null, origin: 'example.com/gap', actor: 'tester' })
  for (let i = 0; i < 5; i++) await ledger.append('s', { type: 'StepTaken', data: {} })
  const gapped: Store = {
    ...store,
    readOnly: true,
    async *read(selection) {
      for await (const lines of store.read(selection)) yield lines.filter((line) => !Buffer.from(line).includes('"seq":3,'))
    },
  }
  const reader = await AuditLedger.open('memory:', { store: gapped, readOnly: true })
  const subscription = reader.subscribe()
  for (let seq = 0; seq < 3; seq++) expect((await subscription.next()).value?.seq).toBe(seq)
  await expect(subscription.next()).rejects.toMatchObject({ code: 'damaged', details: { seq: 3 } })
  expect(subscription.position).toBe(2)
  await reader.close()
})
