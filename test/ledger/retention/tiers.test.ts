/** Reading a ledger whose entries lie in tiers, and what is told where one can't be read. */
import type { AuditLedger } from '../../../src/index.ts'
import { expect, test } from 'vitest'
import { defineProjection } from '../../../src/index.ts'
import type { LedgerRecord } from '../../../src/ledger/record.ts'
import { gathered, namesIn, retained } from '../../helpers/retained.ts'

async function recordOf(ledger: { get(run_id: string): Promise<LedgerRecord | undefined> }, run_id: string): Promise<LedgerRecord> {
  return (await ledger.get(run_id))!
}

const counting = defineProjection({
  name: 'prompts',
  version: 1,
  initial: 0,
  on: { AgentCallCompleted: (count: number, { prompt }) => count + String(prompt).length },
})

test('warm entries are read as if nothing had happened, cold ones are a typed error that names the file', async () => {
  const { ledger, open } = await retained()
  const before = await ledger.load(counting)
  const lines = (await gathered(ledger.read({ where: { type: 'AgentCallCompleted' } }))).map(({ line }) => line)
  await ledger.applyRetention()
  expect((await recordOf(ledger, 'run-20')).entry).toMatchObject({ prompt: 'the secret 20' })
  const cold = await recordOf(ledger, 'run-3')
  expect(cold.entry).toBe(null)
  expect(cold.withheld).toMatchObject({ state: 'archived', tier: 'cold', location: 'cold:', fault: null })
  await expect(ledger.load(counting)).rejects.toMatchObject({
    code: 'archived',
    details: { seq: 1, tier: 'cold', location: 'cold:', file: expect.stringMatching(/^entries-/) },
  })
  const through = await open({ readThrough: true })
  expect((await through.load(counting)).state).toBe(before.state)
  expect((await gathered(through.read({ where: { type: 'AgentCallCompleted' } }))).map(({ line }) => line)).toEqual(lines)
  // Queries list the same records, in either order, whatever can be read.
  const found = await ledger.query({ actor: 'agent-1', order: 'newest' })
  expect(found.records.map(({ run_id }) => run_id)).toEqual(
    (await through.query({ actor: 'agent-1', order: 'newest' })).records.map(({ run_id }) => run_id),
  )
  expect(await ledger.count({ model: 'large' })).toBe(20)
})

test('a call that comes again is compared with its warm entry', async () => {
  const { ledger } = await retained()
  await ledger.applyRetention()
  const call = { agent_name: 'agent-2', method_name: 'ask', model_name: 'large', correlation_id: 'task-0', run_id: 'run-20' }
  const again = await ledger.record({ ...call, prompt: 'the secret 20' })
  expect(again.content_not_compared).toBe(undefined)
  await expect(ledger.record({ ...call, prompt: 'another' })).rejects.toMatchObject({ code: 'run_id_conflict' })
})

test('a warm file that is gone or damaged is a finding, and keeps nobody from the rest', async () => {
  const { ledger, store } = await retained()
  await ledger.applyRetention()
  const archive = store.upkeep!.archive
  const [name] = (await namesIn(archive)) as [string]
  const bytes = Buffer.concat(await gathered(archive.read(name)))
  await archive.remove(name)
  expect((await recordOf(ledger, 'run-20')).withheld).toMatchObject({ state: 'archived', fault: expect.stringContaining(name) })
  expect((await recordOf(ledger, 'run-35')).entry).not.toBe(null)
  const gone = await ledger.verifyIntegrity()
  expect(gone.ok).toBe(false)
  expect(gone.problems).toMatchObject([{ code: 'archive_mismatch', seq: 12, where: { file: `entries/${name}` } }])
  for (const at of [3, bytes.length >> 1, bytes.length - 30]) {
    const broken = Buffer.from(bytes)
    broken[at]! ^= 0x10
    await archive.write(name, broken)
    const report = await ledger.verifyIntegrity()
    expect([report.ok, report.problems[0]?.code], `byte ${at}`).toEqual([false, 'archive_mismatch'])
    await archive.remove(name)
  }
  await archive.write(name, bytes)
  expect(await ledger.verifyIntegrity()).toMatchObject({ ok: true })
  expect((await recordOf(ledger, 'run-20')).entry).toMatchObject({ prompt: 'the secret 20' })
})

test('another ledger’s file in place of the right one is found', async () => {
  const { ledger, cold } = await retained()
  const other = await retained(40)
  await ledger.applyRetention()
  await other.ledger.applyRetention()
  const [[name], [theirs]] = [(await namesIn(cold)) as [string], (await namesIn(other.cold)) as [string]]
  const bytes = Buffer.concat(await gathered(other.cold.read(theirs)))
  await cold.remove(name)
  await cold.write(name, bytes)
  await expect(ledger.retention.restore({ where: { run_id: 'run-3' } })).rejects.toMatchObject({ code: 'damaged' })
  expect((await recordOf(ledger, 'run-3')).entry).toBe(null)
  expect(await ledger.verifyIntegrity()).toMatchObject({ ok: true })
})

test('words of warm entries are found by an index that is made afterwards; those of cold ones by one from before', async () => {
  const { ledger, open } = await retained()
  expect((await ledger.query({ text: 'secret 3' })).records.map(({ run_id }) => run_id)).toContain('run-3')
  await ledger.applyRetention()
  const runs = (await ledger.query({ text: 'secret 3' })).records.map(({ run_id }) => run_id)
  expect(runs).toContain('run-3')
  const later = await open()
  expect((await later.query({ text: 'secret 20' })).records.map(({ run_id }) => run_id)).toEqual(['run-20'])
})

test('verification says which archive it has not read, and how many entries lie there', async () => {
  const { ledger, open } = await retained()
  await ledger.applyRetention()
  const notesOf = async (from: AuditLedger): Promise<unknown[]> =>
    (await from.verifyIntegrity()).notes.map(({ code, text }) => [code, text])
  expect(await notesOf(ledger)).toEqual([['archive_not_read', expect.stringMatching(/^11 entries lie in cold:/)]])
  const reading = await open({ readOnly: true, readThrough: true })
  expect(await notesOf(reading)).toEqual([])
  await reading.close()
})
