/** Encrypted entries in all tiers of each store: without the right key nothing else is lost, and nothing can be changed in them. */
import { describe, expect, test } from 'vitest'
import { masterKeyFrom } from '../../../src/index.ts'
import type { EncryptionOptions, LedgerRecord, OpenOptions } from '../../../src/index.ts'
import { withheldError } from '../../../src/ledger/withheld-entry.ts'
import { openStore } from '../../../src/open-store.ts'
import { readLine } from '../../../src/verify/record.ts'
import { CALLS, COLD, HOT, Kept, lineWith, secretOf, useKinds, WARM } from '../../helpers/kept.ts'
import { gathered } from '../../helpers/retained.ts'

const MASTER = masterKeyFrom(new Uint8Array(32).fill(9))
const WRONG = masterKeyFrom(new Uint8Array(32).fill(1))
/** Every fourth call is recorded in clear. */
const isClear = (seq: number): boolean => seq % 4 === 0
const keyOf: EncryptionOptions['keyOf'] = ({ subject }) => (subject === 'nobody' ? null : (subject ?? null))
const encryption = { master: MASTER, keyOf }
const ENCRYPTED = [...COLD, ...WARM, ...HOT].filter((seq) => !isClear(seq))
const SAID = { reason: 'a test' }

function made(place: () => Promise<string>): Promise<Kept> {
  return Kept.make(place, { encryption, readThrough: true }, (seq) => ({ subject: isClear(seq) ? 'nobody' : `subject-${seq % 2}` }))
}

async function recordsOf(kept: Kept, options: OpenOptions): Promise<LedgerRecord[]> {
  return kept.with((ledger) => gathered(ledger.read({ where: { type: 'AgentCallCompleted' } })), { readOnly: true, ...options })
}

/** All but these say what they said. */
function expectRest(records: readonly LedgerRecord[], but: readonly number[]): void {
  expect(records).toHaveLength(CALLS)
  for (const { seq, entry, locked, withheld } of records)
    if (!but.includes(seq)) expect([entry?.['prompt'], locked, withheld], `${seq}`).toEqual([secretOf(seq), null, null])
}

const timeout = 120_000

describe.each(useKinds())('%s', (_, place) => {
  test('a wrong master key, none, and lost data keys: an error for these entries, and all else works', { timeout }, async () => {
    const kept = await made(place)
    await kept.with(({ retention }) => retention.apply({}, { reclaim: false }))
    const opened = (opens: number, options: EncryptionOptions): Promise<void> =>
      kept.verify({ decrypt: options }).then((report) => {
        expect([report.verdicts.integrity, report.withheld?.archived, report.opened]).toEqual([
          'pass',
          COLD.length + WARM.length,
          { opened: opens, erased: 0, failed: ENCRYPTED.length - opens },
        ])
        expect(report.problems.map(({ code }) => code)).toEqual(Array.from({ length: ENCRYPTED.length - opens }, () => 'entry_not_opened'))
      })
    expectRest(await recordsOf(kept, {}), [])
    await opened(ENCRYPTED.length, { master: MASTER })
    await opened(0, { master: WRONG })

    const expectLocked = async (options: OpenOptions, reason: string): Promise<void> => {
      const records = await recordsOf(kept, options)
      expectRest(records, ENCRYPTED)
      for (const { seq, entry, locked, withheld, dataKey } of records.filter(({ seq }) => ENCRYPTED.includes(seq))) {
        expect([entry, withheld], `${seq}`).toEqual([null, null])
        expect(locked, `${seq}`).toMatchObject({ code: 'key_error', details: { seq, key: dataKey, reason } })
      }
      await kept.with(
        async (ledger) => {
          expect(await ledger.count({ actor: 'agent-1' })).toBe(8)
          expect((await ledger.query({ correlation_id: 'task-3', order: 'newest' })).records.map(({ seq }) => seq)).toEqual([
            23, 18, 13, 8, 3,
          ])
        },
        { readOnly: true, ...options },
      )
    }
    await expectLocked({ encryption: { master: WRONG } }, 'wrong_master_key')
    await expectLocked({ encryption: undefined }, 'no_master_key')
    // Who could record under no key is told when the ledger is opened to write.
    await expect(kept.open({ encryption: { master: WRONG } })).rejects.toMatchObject({ code: 'key_error' })

    await kept.with(
      async ({ retention }) => {
        expect((await retention.restore({ where: { run_id: ['run-1', 'run-11'] } })).records).toBe(2)
        expect((await retention.archive({ from: 23 })).cold.records).toBe(2)
        expect((await retention.erase({ run_id: ['run-2', 'run-14'] }, SAID)).records).toBe(2)
        await expect(retention.erase({ subject: 'subject-1' }, SAID)).rejects.toMatchObject({ code: 'key_error' })
      },
      { encryption: undefined },
    )
    const records = await recordsOf(kept, {})
    expectRest(records, [2, 14])
    expect(await kept.verify()).toMatchObject({ ok: true, withheld: { erased: 2, unnamed: 0, pending: 0 } })

    // What keeps the data keys is lost: of one subject, then all of it.
    const id = records.find(({ seq }) => seq === 1)!.dataKey!
    const store = await openStore(kept.location, {})
    await store.dataKeys.remove([id])
    await store.close()
    const ofLost = records.filter(({ dataKey }) => dataKey === id)
    const after = await recordsOf(kept, {})
    expectRest(after, [2, 14, ...ofLost.map(({ seq }) => seq)])
    for (const { seq, locked } of after.filter(({ dataKey }) => dataKey === id))
      expect(locked, `${seq}`).toMatchObject({ code: 'key_error', details: { reason: 'key_gone', key: id } })
  })

  test('one changed bit of a ciphertext, two swapped ones and a wrong kc are found, in any tier', { timeout }, async () => {
    const kept = await made(place)
    await kept.with(({ retention }) => retention.apply({}, { reclaim: false }))
    const bit = (text: string, member: string): string =>
      text.replace(new RegExp(`("${member}":")(.)`), (_all, start: string, first: string) => `${start}${first === 'A' ? 'B' : 'A'}`)
    /** Of entries by position; none is left out. */
    type Change = (entries: ReadonlyMap<number, string>, one: number, two: number) => ReadonlyMap<number, string>
    const changes: readonly (readonly [string, Change, code: string, reason: string])[] = [
      ['a ciphertext', (entries, one) => new Map([[one, bit(entries.get(one)!, 'ciphertext')]]), 'damaged', 'not_authentic'],
      ['a kc', (entries, one) => new Map([[one, bit(entries.get(one)!, 'kc')]]), 'key_error', 'wrong_key'],
      [
        'two of one key, swapped',
        (entries, one, two) =>
          new Map([
            [one, entries.get(two)!],
            [two, entries.get(one)!],
          ]),
        'damaged',
        'not_authentic',
      ],
    ]
    for (const [what, change, code, reason] of changes) {
      // In the store itself, of one that was brought back beside the one that is hot.
      await kept.with((ledger) => ledger.retention.restore({ where: { run_id: 'run-21' } }))
      const there = await kept.stored([21, 23])
      const texts = change(new Map(there.map(({ seq, entry_text }) => [seq, entry_text])), 23, 21)
      await kept.put(there.map((entry) => ({ ...entry, entry_text: texts.get(entry.seq) ?? entry.entry_text })))
      const report = await kept.verify()
      expect([report.verdicts.integrity, report.problems.map(({ code: found, seq }) => [found, seq])], what).toEqual([
        'fail',
        [...texts.keys()].toSorted((a, b) => a - b).map((seq) => ['entry_mismatch', seq]),
      ])
      const records = await recordsOf(kept, {})
      expectRest(records, [...texts.keys()])
      for (const seq of texts.keys()) expect(records[seq - 1]?.locked, what).toMatchObject({ code, details: { reason, seq } })
      await kept.put(there)

      for (const [tier, one, two] of [
        ['warm', 13, 17],
        ['cold', 1, 7],
      ] as const) {
        let changed: ReadonlyMap<number, string> = new Map()
        const undo = await kept.changeFile(one, (lines) => {
          const parts = lines.map(readLine)
          changed = change(new Map(parts.map(({ header, entry_text }) => [header.seq, entry_text!])), one, two)
          return parts.map(({ header, salt, entry_text }, i) =>
            Buffer.from(lineWith(Buffer.from(lines[i]!).toString(), salt, changed.get(header.seq) ?? entry_text)),
          )
        })
        const found = await kept.verify()
        const seqs = [...changed.keys()].toSorted((a, b) => a - b)
        expect(found.verdicts.integrity, `${what}, ${tier}`).toBe('fail')
        expect(
          found.problems.map(({ code: told, seq }) => [told, seq]),
          `${what}, ${tier}`,
        ).toEqual(seqs.map((seq) => ['archive_mismatch', seq]))
        const read = await recordsOf(kept, {})
        expectRest(read, seqs)
        for (const seq of seqs) {
          const { withheld, entry } = read[seq - 1]!
          expect([entry, withheld], `${what}, ${tier}`).toMatchObject([
            null,
            { state: 'archived', tier, fault: expect.stringContaining('not the one that the header commits to') },
          ])
          expect(withheldError(seq, withheld)).toMatchObject({ code: 'archived', details: { seq, tier } })
        }
        await undo()
      }
    }
    expect(await kept.verify({ decrypt: { master: MASTER } })).toMatchObject({ ok: true, opened: { opened: ENCRYPTED.length, failed: 0 } })
  })
})
