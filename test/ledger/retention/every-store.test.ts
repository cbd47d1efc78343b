/** What moving and erasing promise, kept in each kind of store: floors, holds, what is taken away by hand, the published log. */
import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { masterKeyFrom, verifyPublishedLog } from '../../../src/index.ts'
import type { AuditLedger, Criteria, VerificationReport } from '../../../src/index.ts'
import { draftOwnRecord, OWN_ACTOR } from '../../../src/ledger/draft.ts'
import { publishLog } from '../../../src/ledger/publish.ts'
import { saltsFrom, systemRandom } from '../../../src/ledger/random.ts'
import { isWithheldLine } from '../../../src/ledger/retention/archive-lines.ts'
import { Catalogue } from '../../../src/ledger/retention/catalogue.ts'
import { writerOver } from '../../../src/ledger/rotation.ts'
import { openStore } from '../../../src/open-store.ts'
import { readLine, readSense } from '../../../src/verify/record.ts'
import { parseBundle } from '../../../src/verify/tiles.ts'
import { gotlog } from '../../helpers/gotlog.ts'
import { CALLS, COLD, HOT, Kept, lineWith, secretOf, useKinds, WARM } from '../../helpers/kept.ts'
import { filesIn, signer } from '../../helpers/published.ts'
import { DAY_US, gathered } from '../../helpers/retained.ts'
import { notDone } from '../../helpers/year.ts'

const KEY = signer.verifierKey
const trust = { keys: [KEY] }
const SAID = { reason: 'a test', right: 'gdpr-17' }
const OVERRIDE = { by: 'DPO 2026-4', reason: 'storage limitation' }
const timeout = 120_000

const found = ({ problems }: VerificationReport): unknown[] => problems.map(({ code, seq }) => [code, seq])

/** Somebody with the owner's rights takes an entry away as the ledger does, and no record says so. */
async function takeAway(kept: Kept, seq: number): Promise<void> {
  const store = await openStore(kept.location, {})
  for await (const _ of store.upkeep!.withhold([{ first: seq, last: seq }])) continue
  await store.close()
}

/** Says of a position that it was erased. */
async function sayErased(kept: Kept, seq: number): Promise<void> {
  const store = await openStore(kept.location, {})
  const random = systemRandom()
  const { now } = kept.clock
  const drafting = { now, newId: randomUUID, newSalt: saltsFrom(random), random, mask: null, actor: null }
  const drafts = [draftOwnRecord('EntryErased', 'erase_entries', OWN_ACTOR, { seqs: [seq], reason: 'made up' }, drafting)]
  await writerOver(store, drafting).submit({ drafts, expectations: [], newSegment: false })
  await store.close()
}

describe.each(useKinds())('%s', (_, place) => {
  test('a floor is passed by the recorded override alone; what was taken away by hand is found', { timeout }, async () => {
    const kept = await Kept.make(place)
    const sealed = await kept.with(async (ledger) => {
      const policy = { eraseAfterDays: 28 }
      expect((await ledger.retention.plan(policy)).kept.floor).toBe(12)
      expect(await ledger.retention.apply(policy, LATER)).toMatchObject({ erased: 0, warm: { records: 12 }, cold: { records: 10 } })
      await expect(ledger.applyRetention({ ...policy, preset: '6-months', floorDays: 1 })).rejects.toThrow(/floorDays.*override/s)
      await expect(ledger.applyRetention({ ...policy, override: { by: 'me' } as typeof OVERRIDE })).rejects.toThrow('reason')
      await expect(ledger.applyRetention({ ...policy, floorDays: 40 })).rejects.toThrow(/floorDays.*at least 183.*override/s)
      expect(await ledger.count({ type: 'EntryErased' })).toBe(0)
      expect((await ledger.retention.apply({ eraseAfterDays: 40, override: OVERRIDE }, LATER)).erased).toBe(6)
      const [record] = await gathered(ledger.read({ where: { type: 'EntryErased' } }))
      expect(record?.entry).toMatchObject({
        reason: 'policy',
        records: 6,
        ranges: [{ first_seq: 1, last_seq: 6 }],
        policy: { erase_after_days: 40, floor_days: 183, override: OVERRIDE },
      })
      await ledger.rotate()
      await ledger.retention.restore({ where: { run_id: 'run-7' } })
      return ledger.checkpoint()
    })
    const honest = { ok: true, withheld: { erased: 6, archived: 15, unnamed: 0, pending: 0 } }
    const verify = (): Promise<VerificationReport> => kept.verify({ ...trust, since: [sealed.note] })
    expect(await verify()).toMatchObject(honest)

    // 23 was never moved, 7 is one that a record says was brought back.
    for (const seq of [23, 7]) {
      const there = await kept.stored([seq])
      expect(there).toHaveLength(1)
      await takeAway(kept, seq)
      const report = await verify()
      expect([report.verdicts.integrity, found(report)]).toEqual(['fail', [['withheld_unnamed', seq]]])
      await kept.put(there)
      expect(await verify(), `${seq} is back`).toMatchObject(honest)
      // The salt alone is enough to lose it.
      await kept.put(there.map((entry) => ({ ...entry, salt: null, entry_text: null })))
      expect(found(await verify())).toEqual([['withheld_unnamed', seq]])
      await kept.with(async (reader) => expect((await reader.at(seq))?.withheld).toBe(null), { readOnly: true })
      await kept.put(there)
    }

    // 12 is in a warm file, 8 in a cold one.
    const isOf = (seq: number) => (line: Uint8Array) => readSense(line).header.seq === seq
    const withEntry = (line: Uint8Array, of: Uint8Array | null): Uint8Array => {
      const { salt, entry_text } = of === null ? { salt: null, entry_text: null } : readLine(of)
      return Buffer.from(lineWith(Buffer.from(line).toString(), salt, entry_text))
    }
    const harms: readonly (readonly [string, (seq: number) => Parameters<Kept['changeFile']>[1]])[] = [
      ['a line removed', (seq) => (lines) => lines.filter((line) => !isOf(seq)(line))],
      ['a line emptied', (seq) => (lines) => lines.map((line) => (isOf(seq)(line) ? withEntry(line, null) : line))],
      ['a line with the entry of another', (seq) => (lines) => lines.map((line) => (isOf(seq)(line) ? withEntry(line, lines[0]!) : line))],
      ['the file removed', () => () => null],
    ]
    for (const [seq, first] of [
      [12, 11],
      [8, 8],
    ] as const) {
      for (const [what, change] of harms) {
        const undo = await kept.changeFile(seq, change(seq))
        const report = await verify()
        expect(report.verdicts.integrity, `${what}, ${seq}`).toBe('fail')
        // Of a file that is not there the first that it should have is named.
        const at = what.startsWith('a line') ? seq : first
        expect(report.problems, what).toMatchObject([
          { code: 'archive_mismatch', seq: at, where: { file: expect.stringContaining('entries-') as string } },
        ])
        await undo()
      }
    }
    expect(await verify()).toMatchObject(honest)

    // Another one is said to be erased, which is there.
    await takeAway(kept, 23)
    await sayErased(kept, 24)
    const report = await verify()
    expect([report.verdicts.integrity, report.withheld]).toEqual(['fail', { erased: 6, archived: 15, unnamed: 1, pending: 1 }])
    expect(report.problems.map(({ code, seq }) => [code, seq])).toEqual([['withheld_unnamed', 23]])
    expect(report.notes).toContainEqual(expect.objectContaining({ code: 'erasure_pending', seq: 24 }))
  })

  test('the published log is audited by others as before, and has no byte of what was erased', { timeout }, async () => {
    const kept = await Kept.make(place)
    const log = join(kept.archive, '..', 'log')
    const publish = async (ledger: AuditLedger, dir: string): Promise<{ readonly size: number }> => {
      const { note } = await ledger.checkpoint()
      const store = await openStore(kept.location, { readOnly: true, index: 'off' })
      return publishLog(store, { note }, dir).finally(() => store.close())
    }
    const entries = await kept.stored(Array.from({ length: CALLS }, (_, i) => i + 1))
    const erased = [2, 13, 24]
    const size = await kept.with(async (ledger) => {
      await publish(ledger, log)
      await ledger.applyRetention()
      await publish(ledger, log)
      expect((await ledger.retention.erase({ run_id: erased.map((seq) => `run-${seq}`) }, SAID)).records).toBe(erased.length)
      await ledger.applyRetention({ eraseAfterDays: 44, override: OVERRIDE })
      const report = await publish(ledger, log)
      // What grew beside moves and erasures is what is published of the ledger as it is now.
      await publish(ledger, `${log}-anew`)
      return report.size
    })
    const files = filesIn(log)
    for (const [path, bytes] of filesIn(`${log}-anew`)) expect(files.get(path)?.equals(bytes), path).toBe(true)
    for (const [path, bytes] of files)
      for (const { seq, salt } of entries)
        for (const part of [secretOf(seq), salt]) expect(bytes.includes(part), `${part} of ${seq} in ${path}`).toBe(false)
    const bundle = `tile/entries/000.p/${size}`
    const headers = parseBundle(files.get(bundle)!)!
    expect(headers).toHaveLength(size)
    for (const seq of erased) expect(Buffer.from(headers[seq]!).toString()).toMatch(/"entry_hash":"[0-9a-f]{64}".*"seq":\d+/)
    expect(await verifyPublishedLog(log, trust)).toMatchObject({ ok: true, size, problems: [] })
    expect(await kept.verify(trust)).toMatchObject({ ok: true, withheld: { unnamed: 0, pending: 0 } })
    if (gotlog === null) return
    expect(await gotlog(['log', log, KEY])).toMatchObject({ ok: true, said: expect.stringContaining(`size=${size} `) })
    // It does look at each header: one with another entry_hash is refused.
    const bytes = files.get(bundle)!
    const at = bytes.lastIndexOf('"entry_hash":"', bytes.indexOf('"run_id":"run-13"')) + '"entry_hash":"'.length
    writeFileSync(join(log, bundle), bytes.with(at, bytes[at] === 0x30 ? 0x31 : 0x30))
    expect(await gotlog(['log', log, KEY])).toMatchObject({ ok: false })
  })

  test('what is held survives every way to move or erase it, until its hold is released', { timeout }, async () => {
    const encryption = { master: masterKeyFrom(new Uint8Array(32).fill(5)) }
    const kept = await Kept.make(place, { encryption, readThrough: true }, (seq) => ({ subject: `subject-${seq % 4}` }))
    const holds = await kept.with(async ({ retention }) => {
      // Some are moved before anybody holds them.
      await retention.archive({ before: 7 }, { tier: 'cold', ...LATER })
      await retention.archive({ from: 7, before: 13 }, { tier: 'warm', ...LATER })
      const ids: string[] = []
      for (const [about] of HELD) ids.push(await retention.placeHold(about, CASE))
      return ids
    })
    const blind = { encryption: undefined, archive: undefined, readThrough: false }
    await kept.with(async ({ dataKeys }) => {
      for (const { id } of await gathered(dataKeys.list())) await expect(dataKeys.shred({ id })).rejects.toMatchObject({ code: 'archived' })
    }, blind)

    const ledger = await kept.open()
    const { retention, dataKeys } = ledger
    for (const [about, seqs] of HELD)
      expect((await ledger.query({ ...about, model: undefined })).records.map(({ seq }) => seq)).toEqual(expect.arrayContaining([...seqs]))
    const held = new Set(HELD.flatMap(([, seqs]) => [...seqs]))
    const before = await tiersOf(kept)
    expect([before.get(4), before.get(9), before.get(14)]).toEqual(['cold', 'warm', 'hot'])
    const intact = async (what: string): Promise<void> => {
      const now = await tiersOf(kept)
      for (const seq of held) {
        expect(now.get(seq), `${seq} after ${what}`).toBe(before.get(seq))
        expect((await ledger.at(seq))?.entry?.['prompt'], `${seq} after ${what}`).toBe(secretOf(seq))
      }
    }
    await retention.apply({ hotDays: 0, warmDays: null }, LATER)
    await intact('a policy that compresses')
    await retention.apply({ hotDays: 0, warmDays: 0 }, LATER)
    await retention.archive({}, { tier: 'warm', ...LATER })
    await retention.archive({}, { tier: 'cold', ...LATER })
    await intact('archiving all')
    const refused = (work: Promise<unknown>): Promise<void> => expect(work).rejects.toMatchObject({ code: 'held' })
    for (const [{ model: _, ...about }] of HELD) await refused(retention.erase(about, SAID))
    await refused(retention.erase({ run_id: ['run-2', 'run-23'] }, SAID))
    for (const name of ['subject-0', 'subject-1', 'subject-2', 'subject-3']) {
      await refused(retention.erase({ subject: name }, SAID))
      await refused(dataKeys.shred({ name }))
    }
    for (const { id } of await gathered(dataKeys.list())) await refused(dataKeys.shred({ id }))
    await intact('erasing it')
    // Neighbours go, out of the same files: these are written anew.
    expect((await retention.erase({ run_id: ['run-2', 'run-10', 'run-22'] }, SAID)).records).toBe(3)
    await intact('erasing others')
    kept.clock.advance(30 * DAY_US)
    const applied = await retention.apply({ eraseAfterDays: 1, override: OVERRIDE }, LATER)
    expect([applied.erased, notDone(applied.left)]).toEqual([CALLS - 3 - held.size, []])
    await intact('a policy that erases')
    // Brought back is not lost, and goes nowhere from there.
    expect((await retention.restore({ where: { run_id: 'run-1' } })).records).toBe(1)
    before.set(1, 'hot')
    await retention.apply({ hotDays: 0, warmDays: 0, eraseAfterDays: 1, override: OVERRIDE }, LATER)
    await intact('a policy after it was restored')
    expect(await kept.verify({ ...trust, decrypt: encryption })).toMatchObject({ ok: true, withheld: { unnamed: 0, pending: 0 } })

    const [byRun, byActor, byTime, byQuery] = holds.map((id) => () => retention.releaseHold(id, CASE))
    await byRun!()
    expect((await retention.erase({ run_id: 'run-1' }, SAID)).records).toBe(1)
    await refused(retention.erase({ run_id: 'run-23' }, SAID))
    await byActor!()
    expect((await retention.apply({ hotDays: 0, warmDays: 0 }, LATER)).cold.records).toBe(3)
    await byTime!()
    expect((await retention.erase(TIMES, SAID)).records).toBe(2)
    await byQuery!()
    expect((await retention.erase({ subject: 'subject-0' }, SAID)).records).toBe(3)
    expect((await retention.apply({ eraseAfterDays: 1, override: OVERRIDE }, LATER)).erased).toBe(5)
    for (const { id } of await gathered(dataKeys.list())) expect(await dataKeys.shred({ id })).toEqual([id])
    expect(await kept.verify(trust)).toMatchObject({ ok: true, withheld: { erased: CALLS, archived: 0, unnamed: 0, pending: 0 } })
  })
})

/** Giving room back is not what is looked at, and takes longest. */
const LATER = { reclaim: false }
const CASE = { reason: 'a dispute', case: 'case 7' }
const TIMES = { recorded_since: '2026-01-13T00:00:00Z', recorded_until: '2026-01-17T00:00:00Z' }
/** What holds are about, and what fits: nobody can tell which model encrypted entries name, so all may. */
const HELD: readonly (readonly [Criteria, readonly number[]])[] = [
  [{ run_id: ['run-1', 'run-23'] }, [1, 23]],
  [{ actor: 'agent-2', since: '2026-01-29T00:00:00Z' }, [17, 20, 23]],
  [TIMES, [7, 8]],
  [{ correlation_id: 'task-4', model: 'large' }, [4, 9, 14, 19, 24]],
]

/** Where each call's entry is. */
async function tiersOf({ location }: Kept): Promise<Map<number, string>> {
  const store = await openStore(location, { readOnly: true, index: 'off' })
  const catalogue = new Catalogue()
  await catalogue.refresh(store)
  const places = new Map<number, string>()
  for await (const chunk of store.read({ filter: {}, from: 1, before: CALLS + 1, reverse: false, limit: Infinity }))
    for (const line of chunk) {
      const { seq } = readSense(line).header
      const owner = catalogue.erasedBy(seq) === null ? catalogue.ownerOf(seq) : null
      places.set(seq, !isWithheldLine(line) ? 'hot' : owner?.kind === 'file' ? owner.tier : 'gone')
    }
  await store.close()
  return places
}

test('the calls lie where the default policy has them', async () => {
  expect([...COLD, ...WARM, ...HOT]).toEqual(Array.from({ length: CALLS }, (_, i) => i + 1))
})
