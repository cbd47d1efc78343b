/** Applying a policy: cut short, by two at once, and over what somebody else left. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { AuditLedger, copyLedger, promoteLedger, verifyLedger } from '../../../src/index.ts'
import type { RetentionProgress } from '../../../src/index.ts'
import { fixedClock } from '../../../src/testing/fixed-clock.ts'
import { DAY_US, namesIn, retained } from '../../helpers/retained.ts'
import { tempDir } from '../../helpers/temp.ts'

test('the second run has nothing to do, and a plan says so beforehand', async () => {
  const { ledger } = await retained()
  await ledger.applyRetention()
  const { size } = await ledger.head()
  expect((await ledger.retention.plan()).steps).toEqual([])
  expect(await ledger.applyRetention()).toMatchObject({ warm: { records: 0 }, cold: { records: 0 }, erased: 0, reclaimed: null, left: [] })
  expect((await ledger.head()).size).toBe(size)
})

test('an aborted run stops after a step, and the next one goes on there', async () => {
  const { ledger } = await retained()
  const stop = new AbortController()
  const seen: RetentionProgress[] = []
  const onProgress = (progress: RetentionProgress): void => {
    seen.push(progress)
    stop.abort(new Error('enough'))
  }
  await expect(ledger.retention.apply({}, { signal: stop.signal, onProgress })).rejects.toThrow('enough')
  expect(seen).toEqual([{ step: 'cold', records: 11, bytes: expect.any(Number) }])
  const rest = await ledger.applyRetention()
  expect(rest).toMatchObject({ cold: { records: 0 }, warm: { records: 23 } })
  await expect(ledger.retention.apply({}, { recordsPerSecond: 0 })).rejects.toThrow(RangeError)
  expect(await ledger.verifyIntegrity()).toMatchObject({ ok: true })
})

test('calls of one ledger wait for each other; closing ends them', async () => {
  const { ledger } = await retained()
  const [first, second] = await Promise.all([ledger.applyRetention(), ledger.applyRetention()])
  expect(first.cold.records + second.cold.records).toBe(11)
  const cut = ledger.retention.restore({}, { recordsPerSecond: 1 })
  await Promise.all([expect(cut).rejects.toMatchObject({ code: 'closed' }), ledger.close()])
})

test('what no record names is cleared away, but never another ledger’s file in the same archive', async () => {
  const { ledger, store, cold } = await retained()
  const { archive } = store.upkeep!
  const stray = 'entries-00000000000000000001-00000000000000000002-0123456789ab.jsonl.zst'
  await archive.write(stray, Buffer.from('cut short'))
  await cold.write(stray, Buffer.from('another ledger’s'))
  const begun = stray.replace('0123', '4567')
  await cold.write(begun, Buffer.from('cut short, and ours'))
  await archive.write(`moving-${begun}`, Buffer.from('cold:'))
  await ledger.applyRetention()
  expect(await namesIn(archive)).not.toContain(stray)
  expect(await namesIn(cold)).toContain(stray)
  expect(await namesIn(cold)).not.toContain(begun)
  expect(await namesIn(archive, 'moving-')).toEqual([])
})

const ORIGIN = 'example.com/copied'

async function filled(location: string): Promise<AuditLedger> {
  const clock = fixedClock()
  const ledger = await AuditLedger.open(location, { clock, origin: ORIGIN, signer: null, fullText: 'off' })
  for (let i = 0; i < 20; i++) {
    await ledger.record({ run_id: `run-${i}`, agent_name: 'agent', method_name: 'ask', prompt: `the secret ${i}` })
    clock.advance(DAY_US)
  }
  return ledger
}

test('another process at it is refused, and told so', async () => {
  const location = join(tempDir(), 'ledger.db')
  const ledger = await filled(location)
  const clock = fixedClock('2026-03-01T00:00:00.000000Z')
  const other = await AuditLedger.open(location, { clock, signer: null, fullText: 'off' })
  let refused: unknown = null
  const onProgress = async (): Promise<void> => {
    refused ??= await other.applyRetention().catch((error: unknown) => error)
  }
  let asking: Promise<void> | null = null
  await ledger.retention.apply({}, { onProgress: () => void (asking ??= onProgress()), recordsPerSecond: 20 })
  await asking
  expect(refused).toMatchObject({ code: 'locked' })
  expect(await other.applyRetention()).toMatchObject({ left: [] })
  await Promise.all([ledger.close(), other.close()])
})

test('a copy has its entries whole, and keeps them: files that the ledger names and nobody copied are nothing to rely on', async () => {
  const folder = tempDir()
  const [from, to, archive] = [join(folder, 'ledger.db'), join(folder, 'copy.db'), join(folder, 'archive')]
  const ledger = await filled(from)
  await ledger.retention.archive({ before: 15 }, { tier: 'warm' })
  expect((await ledger.retention.plan({ hotDays: 0 })).tiers.warm.records).toBe(14)
  await ledger.close()
  await copyLedger(from, to)
  await promoteLedger(to)
  expect(await verifyLedger(to)).toMatchObject({ ok: true, withheld: { archived: 0 } })
  const clock = fixedClock('2026-06-01T00:00:00.000000Z')
  const { openArchive } = await import('../../../src/index.ts')
  const copy = await AuditLedger.open(to, { clock, signer: null, archive: await openArchive(archive, { create: true }), fullText: 'off' })
  expect(await copy.applyRetention()).toMatchObject({ cold: { records: 20 }, left: [] })
  const through = await AuditLedger.open(to, { readOnly: true, archive, readThrough: true })
  for (let i = 0; i < 20; i++) expect((await through.get(`run-${i}`))?.entry).toMatchObject({ prompt: `the secret ${i}` })
  await Promise.all([copy.close(), through.close()])
  expect(await verifyLedger(to, { archive })).toMatchObject({ ok: true, withheld: { archived: 20, unnamed: 0 } })
})
