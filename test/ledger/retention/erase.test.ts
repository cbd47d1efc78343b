/** Erasing: what goes, what stays, and what can be shown for it. */
import { expect, test } from 'vitest'
import { checkErasureCertificate, checkProof, defineProjection, formatCertificate } from '../../../src/index.ts'
import { readLines, archivedBytes } from '../../../src/ledger/packed-source.ts'
import { DAY_US, gathered, namesIn, retained } from '../../helpers/retained.ts'
import { signer } from '../../helpers/published.ts'

const SAID = { reason: 'request of the data subject', right: 'gdpr-17', case: 'DSR-88' }
const trust = { keys: [signer.verifierKey] }

test('an entry goes from the store, warm and cold files, and what was derived; all proofs stay', async () => {
  const { ledger, store, cold } = await retained()
  await ledger.applyRetention()
  await ledger.checkpoint()
  const bundle = await ledger.prove({ run_id: 'run-39' }, { disclose: true })
  // Eleven are cold, of which one is erased: those are not read.
  const counting = defineProjection({
    name: 'all',
    version: 1,
    initial: 0,
    withheld: 'skip',
    on: { AgentCallCompleted: (n: number) => n + 1 },
  })
  await ledger.createSnapshot(counting)
  expect((await ledger.query({ text: 'secret 39' })).records).toHaveLength(1)
  const runs = ['run-39', 'run-20', 'run-3']
  const erased = await ledger.retention.erase({ run_id: runs }, SAID)
  expect(erased).toMatchObject({ records: 3, already: 0, left: [] })
  for (const run_id of runs) {
    const record = (await ledger.get(run_id))!
    expect([record.entry, record.withheld]).toEqual([null, { state: 'erased', erased_by: erased.certificate.erased_by[0] }])
  }
  for (const archive of [store.upkeep!.archive, cold]) {
    const names = await namesIn(archive)
    expect(names).toHaveLength(1)
    for await (const lines of readLines(await archivedBytes(archive, names[0]!), { name: names[0]! }))
      for (const line of lines) expect(Buffer.from(line).toString()).not.toMatch(/"the secret (39|20|3)"/)
  }
  expect(await store.snapshots.list('')).toEqual([])
  expect((await ledger.load(counting)).state).toBe(27)
  expect((await ledger.query({ text: 'secret 39' })).records).toEqual([])
  expect(await ledger.verifyIntegrity(trust)).toMatchObject({ ok: true, withheld: { erased: 3, unnamed: 0, pending: 0 } })
  expect(await checkProof(bundle, trust)).toMatchObject({ ok: true })
  // The same again does nothing more.
  const again = await ledger.retention.erase({ run_id: runs }, SAID)
  expect(again).toMatchObject({ records: 0, already: 3 })
  expect(again.certificate.erased_by).toEqual(erased.certificate.erased_by)
})

test('the certificate checks without the ledger, and nothing of it can be changed', async () => {
  const { ledger } = await retained(8)
  const { certificate } = await ledger.retention.erase({ run_id: ['run-2', 'run-3'] }, SAID)
  const text = formatCertificate(certificate)
  const report = await checkErasureCertificate(JSON.parse(text), trust)
  expect(report).toMatchObject({ ok: true, problems: [], bundle: { verdicts: { integrity: 'pass', authenticity: 'pass' } } })
  const erasing = report.bundle!.records.find(({ header }) => header?.type === 'EntryErased')!
  expect(JSON.parse(erasing.entry_text!)).toMatchObject({ ...SAID, records: 2, ranges: [{ first_seq: 3, last_seq: 4 }] })
  expect(text).not.toContain('the secret')
  const changes: [string, object][] = [
    ['ranges', { ranges: [{ first_seq: 3, last_seq: 5 }], records: 3 }],
    ['records', { records: 1 }],
    ['erased_by', { erased_by: [] }],
    ['erased_by', { erased_by: [1] }],
    ['before', { before: { ...certificate.before, root: 'a'.repeat(64) } }],
    ['before', { before: { ...certificate.before, size: certificate.before.size - 1 } }],
    ['after', { after: { ...certificate.after, root: 'b'.repeat(64) } }],
    ['consistency', { consistency: certificate.consistency.slice(1) }],
    ['consistency', { consistency: null }],
    ['bundle', { bundle: null }],
    ['bundle', { bundle: certificate.bundle!.replace('gdpr-17', 'gdpr-18') }],
    ['origin', { origin: 'example.com/other' }],
  ]
  for (const [what, change] of changes)
    expect((await checkErasureCertificate({ ...certificate, ...change }, trust)).ok, `${what}: ${JSON.stringify(change)}`).toBe(false)
  for (const none of [null, [], 'x', {}, { format: 'other' }])
    expect(await checkErasureCertificate(none, trust)).toMatchObject({ ok: false })
})

test('where the archive was not named, the rest is done, and whoever names it finishes', async () => {
  const { ledger, open, cold } = await retained()
  await ledger.applyRetention()
  const blind = await open({ archive: undefined })
  const { records, left } = await blind.retention.erase({ run_id: ['run-3', 'run-39'] }, SAID)
  expect(records).toBe(2)
  expect(left).toMatchObject([expect.stringContaining('cold:')])
  expect(await blind.verifyIntegrity()).toMatchObject({ ok: true, withheld: { erased: 2 } })
  const [name] = (await namesIn(cold)) as [string]
  const applied = await ledger.applyRetention()
  expect(applied.left).toEqual([])
  expect(await namesIn(cold)).not.toContain(name)
})

test('read models are told by the event', async () => {
  const { ledger } = await retained(3)
  const told: unknown[] = []
  await ledger.retention.erase({ run_id: 'run-1' }, SAID)
  for await (const record of ledger.read({ where: { type: 'EntryErased' } })) told.push(record.entry)
  expect(told).toMatchObject([{ ...SAID, records: 1, ranges: [{ first_seq: 2, last_seq: 2 }] }])
})

test('misuse is told before anything is done', async () => {
  const { ledger } = await retained(3)
  const size = (await ledger.head()).size
  await expect(ledger.retention.erase({}, SAID)).rejects.toThrow(RangeError)
  await expect(ledger.retention.erase({ run_id: 'run-1' }, { reason: '' })).rejects.toThrow('reason')
  await expect(ledger.retention.erase({ nobody: 'x' } as object, SAID)).rejects.toThrow(TypeError)
  await expect(ledger.retention.erase({ run_id: 'nobody' }, SAID)).rejects.toMatchObject({ code: 'not_found' })
  await expect(ledger.retention.erase({ subject: 'ann' }, SAID)).rejects.toMatchObject({ code: 'key_error' })
  // Its own records are no entries of anybody.
  await expect(ledger.retention.erase({ stream: 'ledger' }, SAID)).rejects.toMatchObject({ code: 'not_found' })
  expect((await ledger.head()).size).toBe(size)
})

test('a policy erases below its floor only with the override, which is recorded', async () => {
  const { ledger, clock } = await retained(10)
  clock.advance(100 * DAY_US)
  expect((await ledger.retention.plan({ eraseAfterDays: 90 })).kept.floor).toBe(10)
  expect((await ledger.applyRetention({ eraseAfterDays: 90 })).erased).toBe(0)
  const override = { by: 'DPO 2026-4', reason: 'storage limitation' }
  expect((await ledger.applyRetention({ eraseAfterDays: 90, override })).erased).toBe(10)
  const [record] = await gathered(ledger.read({ where: { type: 'EntryErased' } }))
  expect(record?.entry).toMatchObject({ reason: 'policy', policy: { erase_after_days: 90, floor_days: 183, override } })
})
