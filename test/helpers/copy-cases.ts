/** What is true of every copy, and of every replica, whatever keeps them: for each kind of store. */
import { describe, expect, test } from 'vitest'
import { copyLedger as copyStore, promoteReplica } from '../../src/ledger/copy.ts'
import { readReplicaNote } from '../../src/ledger/replica.ts'
import { linesOf } from '../../src/testing/checks.ts'
import { honest, NEW_PLACES, recorded, varied } from './copies.ts'
import type { CopyPlace } from './copies.ts'
import { wrapped } from './wrapped-store.ts'

/** A new place of this kind. */
export type PlaceOf = (kind: string) => CopyPlace

const code = (wanted: string) => expect.objectContaining({ code: wanted })

/** One run of a copy, each store opened and closed for it. */
export function copied(from: CopyPlace, to: CopyPlace, options = {}): ReturnType<typeof copyStore> {
  return from.with((source) => to.with((target) => copyStore(source, target, options)), { readOnly: true })
}

export const linesAt = (place: CopyPlace): Promise<string[]> => place.with((store) => linesOf(store), { readOnly: true })
export const noteAt = (place: CopyPlace) => place.with(readReplicaNote, { readOnly: true })

/** The lines, and what queries say, so that the columns are right too. */
function seenAt(place: CopyPlace): Promise<unknown> {
  return place.with(
    async (store) => {
      const tallies = await Promise.all((['provider', 'model', 'actor', 'type'] as const).map((column) => store.tally(column, {})))
      const found = await linesOf(store, { filter: { tags: ['x'], until: '2030-01-01T00:00:00.000000Z' } })
      return {
        lines: await linesOf(store),
        tallies: tallies.map((tally) => [...tally].toSorted()),
        found,
        count: await store.count({ model: ['m1'] }),
      }
    },
    { readOnly: true },
  )
}

export function copyCases(pairs: readonly (readonly [from: string, to: string])[], placeOf: PlaceOf): void {
  describe.each(pairs)('%s → %s', (fromKind, toKind) => {
    test('withheld entries, seals, every character: the same lines and answers', async () => {
      const [from, to] = [placeOf(fromKind), placeOf(toKind)]
      await varied(from)
      const report = await copied(from, to)
      expect(await seenAt(to)).toEqual(await seenAt(from))
      expect((await noteAt(to))?.verified).toEqual({ size: report.size, hash: report.hash })
    })

    test('the source goes on, and the copy after it', async () => {
      const [from, to] = [placeOf(fromKind), placeOf(toKind)]
      await honest(20)(from)
      expect(await copied(from, to)).toMatchObject({ size: 20, previous_size: null })
      await honest(60)(from)
      const report = await copied(from, to)
      expect(report.previous_size).toBe(20)
      expect(report.size).toBeGreaterThan(60)
      const seen = await seenAt(to)
      expect(seen).toEqual(await seenAt(from))
      expect(await copied(from, to), 'again, with nothing to do').toEqual({ ...report, previous_size: report.size })
      expect(await seenAt(to)).toEqual(seen)
    })
  })
}

export function replicaCases(kinds: readonly string[], placeOf: PlaceOf): void {
  describe.each(kinds)('a replica in %s', (kind) => {
    async function replica(size = 10): Promise<[from: CopyPlace, to: CopyPlace]> {
      const [from, to] = [NEW_PLACES['memory']!(), placeOf(kind)]
      await honest(size)(from)
      await copied(from, to)
      return [from, to]
    }

    test('is read by everybody and recorded in by nobody, until it is promoted', async () => {
      const [from, to] = await replica()
      const before = await linesAt(to)
      await expect(recorded(30)(to)).rejects.toThrow(code('read_only'))
      expect(await linesAt(to)).toEqual(before)
      const promoted = await to.with((store) => promoteReplica(store))
      expect(promoted).toMatchObject({ size: 10, source: 'memory:', verified: true, origin: 'example.com/honest' })
      await recorded(15)(to)
      expect((await linesAt(to)).length).toBeGreaterThan(12)
      await expect(to.with((store) => promoteReplica(store))).rejects.toThrow(code('already_exists'))
      await expect(copied(from, to)).rejects.toThrow(code('already_exists'))
    })

    test('is promoted only as it was verified, unless somebody says so', async () => {
      const [from, to] = await replica()
      const whole = await linesAt(from)
      await honest(30)(from)
      // The copy ends behind the new records, and before they are verified.
      await from.with((source) =>
        to.with(async (target) => {
          const cut = { ...wrapped(target), audit: () => Promise.reject(new Error('enough')) }
          await expect(copyStore(source, cut)).rejects.toThrow('enough')
        }),
      )
      expect((await linesAt(to)).length).toBeGreaterThan(whole.length)
      const refused = to.with((store) => promoteReplica(store))
      await expect(refused).rejects.toThrow(code('not_verified'))
      await expect(refused).rejects.toThrow(/run the copy .* again/)
      expect(await noteAt(to)).not.toBeNull()
      expect(await to.with((store) => promoteReplica(store, { unverified: true }))).toMatchObject({ verified: false })
      expect(await noteAt(to)).toBeNull()
    })

    test('of another ledger, or of one that is shorter now: refused, and nothing changed', async () => {
      const [, to] = await replica(20)
      const before = [await linesAt(to), await noteAt(to)]
      const [other, shorter, parted] = [NEW_PLACES['memory']!(), NEW_PLACES['memory']!(), NEW_PLACES['memory']!()]
      await honest(30, 2)(other)
      await honest(12)(shorter)
      await expect(copied(other, to)).rejects.toThrow(code('forked'))
      await expect(copied(shorter, to)).rejects.toThrow(code('behind_checkpoint'))
      await honest(12)(parted)
      await honest(40, 3)(parted)
      await expect(copied(parted, to), 'the same beginning, and another last record').rejects.toThrow(code('forked'))
      expect([await linesAt(to), await noteAt(to)]).toEqual(before)
    })

    test('a ledger that is none is left alone', async () => {
      const [from, to] = [NEW_PLACES['memory']!(), placeOf(kind)]
      await honest(20)(from)
      await honest(10)(to)
      await expect(copied(from, to)).rejects.toThrow(code('already_exists'))
      expect([await noteAt(to), (await linesAt(to)).length]).toEqual([null, 10])
    })

    test('is there with its mark before its first record', async () => {
      const [from, to] = [NEW_PLACES['memory']!(), placeOf(kind)]
      await honest(10)(from)
      const seen: unknown[] = []
      await from.with((source) =>
        to.with((target) =>
          copyStore(source, {
            ...wrapped(target),
            append: async (records, expected, options) => {
              seen.push((await readReplicaNote(target))?.verified)
              await target.append(records, expected, options)
            },
          }),
        ),
      )
      expect(seen).toEqual([null])
    })
  })
}
