/** Copies of encrypted ledgers are read with the master key that reads the source. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { AuditLedger, copyLedger, masterKeyFrom, promoteLedger } from '../../src/index.ts'
import type { OpenOptions } from '../../src/index.ts'
import { openStore } from '../../src/open-store.ts'
import { useLedgerUrls } from '../helpers/postgres.ts'
import { tempDir } from '../helpers/temp.ts'

const [MASTER, NEXT] = [3, 4].map((byte) => masterKeyFrom(new Uint8Array(32).fill(byte)))

const PLACES: readonly (() => string)[] = [
  () => join(tempDir(), 'audit'),
  () => join(tempDir(), 'audit.db'),
  ...useLedgerUrls(),
  () => join(tempDir(), 'again'),
]

function open(location: string, master = [MASTER!], more: OpenOptions = {}): Promise<AuditLedger> {
  return AuditLedger.open(location, {
    origin: 'example.com/copied-keys',
    signer: null,
    encryption: { master },
    stateFolder: tempDir(),
    fullText: 'off',
    ...more,
  })
}

async function said(location: string, subject: string, prompt: string): Promise<void> {
  await using ledger = await open(location)
  await ledger.record({ agent_name: 'a', method_name: 'm', prompt }, { subject })
}

/** What each call said; `locked` where that can't be read. */
async function words(location: string, master = [MASTER!]): Promise<unknown[]> {
  await using ledger = await open(location, master, { readOnly: true })
  return (await ledger.query({ type: 'AgentCallCompleted', order: 'oldest' })).records.map(({ entry, locked }) =>
    (locked ?? null) === null ? entry?.['prompt'] : 'locked',
  )
}

async function keysOf(location: string): Promise<readonly object[]> {
  const store = await openStore(location, { readOnly: true })
  return store.dataKeys.list('', 1000).finally(() => store.close())
}

test('from store to store, and on from there', async () => {
  const places = PLACES.map((place) => place())
  await said(places[0]!, 'ann', 'of ann')
  await said(places[0]!, 'bob', 'of bob')
  for (const [i, place] of places.slice(1).entries()) {
    await copyLedger(places[i]!, place)
    expect(await words(place)).toEqual(['of ann', 'of bob'])
    expect(await keysOf(place)).toEqual(await keysOf(places[0]!))
  }
  const last = places.at(-1)!
  await promoteLedger(last)
  await said(last, 'ann', 'of ann, once more')
  expect(await words(last)).toEqual(['of ann', 'of bob', 'of ann, once more'])
  // Under the key that was copied: nobody got a second one.
  expect(await keysOf(last)).toEqual(await keysOf(places[0]!))
})

test('keys that were wrapped anew are so in the copy, and one that was replaced since is', async () => {
  const [from, to] = [join(tempDir(), 'audit'), join(tempDir(), 'copy.db')]
  await said(from, 'ann', 'the first')
  await said(from, 'bob', 'of bob')
  await copyLedger(from, to)
  const before = await keysOf(to)
  {
    await using ledger = await open(from)
    await ledger.retention.erase({ subject: 'ann' }, { reason: 'a test' })
  }
  await copyLedger(from, to)
  // The source may have lost it: what is erased goes by its record.
  expect(await keysOf(to)).toEqual(before)
  await said(from, 'ann', 'under a new key')
  {
    await using ledger = await open(from, [NEXT!, MASTER!])
    await ledger.dataKeys.rewrap()
  }
  await copyLedger(from, to)
  expect(await keysOf(to)).toEqual(await keysOf(from))
  expect(await words(to, [NEXT!])).toEqual([undefined, 'of bob', 'under a new key'])
  expect(await words(from, [NEXT!])).toEqual([undefined, 'of bob', 'under a new key'])
})
