/** The tree of a ledger that grows while it is asked: what the contract of a store does not reach. */
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { AuditLedger } from '../../src/index.ts'
import { LedgerTree, nodeParent } from '../../src/ledger/tree.ts'
import type { Store } from '../../src/ledger/store.ts'
import { openMemoryStore } from '../../src/stores/memory.ts'
import { LEDGER_CREATED, SampleChain } from '../../src/testing/sample-chain.ts'
import { hashBytes, hashHex, TreeEdge } from '../../src/verify/tree.ts'
import { scale } from '../helpers/scale.ts'
import { tempDir } from '../helpers/temp.ts'

async function rootsOf(ledger: AuditLedger): Promise<string[]> {
  const edge = new TreeEdge(nodeParent)
  const roots = ['']
  for await (const { hash } of ledger.read()) {
    edge.append(hashBytes(hash))
    roots.push(hashHex(edge.root()!))
  }
  return roots
}

test.each(['ledger', 'ledger.db'])('%s: every root and proof while it grows past what is kept in memory', async (name) => {
  const location = join(tempDir(), name)
  const options = { signer: null, index: 'off', origin: 'example.com/tree', actor: 'a' } as const
  let ledger = await AuditLedger.open(location, options)
  const events = Array.from({ length: 1000 }, (_, i) => ({ type: 'Noted', data: { i } }))
  const seen = new Map<number, string>()
  for (let batch = 0; batch < scale(20, 400); batch++) {
    const receipts = await ledger.append('run', events)
    if (batch % 4 === 3) {
      const { size, root } = await receipts.at(-1)!.included()
      seen.set(size, root)
      await ledger.tree.inclusion(Math.floor(size / 3), size)
      await ledger.tree.consistency(Math.floor(size / 2), size)
    }
    if (batch % 16 === 15) {
      await ledger.close()
      ledger = await AuditLedger.open(location, options)
    }
  }
  const roots = await rootsOf(ledger)
  expect(seen.size).toBeGreaterThan(4)
  for (const [size, root] of seen) {
    expect(root).toBe(roots[size])
    expect(hashHex(await ledger.tree.root(size))).toBe(root)
  }
  await ledger.close()
})

test('older records are read once, however many come meanwhile', async () => {
  const store = openMemoryStore()
  const chain = new SampleChain()
  await chain.append(store, [LEDGER_CREATED])
  for (let i = 0; i < 5; i++)
    await chain.append(
      store,
      Array.from({ length: 1000 }, () => ({})),
    )
  let read = 0
  const counted: Store = {
    ...store,
    read: async function* (selection) {
      for await (const chunk of store.read(selection)) {
        read += chunk.length
        yield chunk
      }
    },
  }
  const tree = new LedgerTree(counted)
  for (let i = 0; i < 200; i++) {
    const before = chain.records.length
    await chain.append(
      store,
      Array.from({ length: 20 }, () => ({})),
    )
    tree.follow(chain.records.slice(before))
    await pause(0)
  }
  await tree.catchUp()
  expect(tree.size).toBe(9001)
  expect(read).toBeLessThan(5100)
  const edge = new TreeEdge(nodeParent)
  for (const { hash } of chain.records) edge.append(hashBytes(hash))
  expect(await tree.root(9001)).toEqual(edge.root())
})

test('a store that can keep nothing of it costs memory and no proof', async () => {
  const store = openMemoryStore()
  const chain = new SampleChain()
  await chain.append(store, [LEDGER_CREATED])
  for (let i = 0; i < 20; i++)
    await chain.append(
      store,
      Array.from({ length: 1000 }, () => ({})),
    )
  const full: Store = {
    ...store,
    tree: { ...store.tree, write: () => Promise.reject(new Error('no space left')), writeText: () => Promise.reject(new Error('no')) },
  }
  const tree = new LedgerTree(full)
  await expect(tree.root(20_001), 'what is unforeseen is told').rejects.toThrow('no space left')
  await pause(0)
})
