/** Projections: what a state follows from, and snapshots that are used only where they are what was taken. */
import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, describe, expect, expectTypeOf, test } from 'vitest'
import { AuditLedger, defineEvent, defineProjection, SNAPSHOT_POLICIES, verifyLedger } from '../../src/index.ts'
import type { EventInput, LedgerWarning, OpenOptions, Projection } from '../../src/index.ts'
import { isSnapshotDue } from '../../src/ledger/snapshot-policy.ts'
import { scale } from '../helpers/scale.ts'
import { tempDir } from '../helpers/temp.ts'

const Counted = defineEvent<'Counted', { by: number }>('Counted', null, { version: 2, upcast: { 1: ({ n }) => ({ by: n }) } })

interface Tally {
  readonly sum: number
  readonly seen: readonly number[]
}

function tally(more: Partial<Parameters<typeof defineProjection<Tally, 'Counted', [typeof Counted]>>[0]> = {}): Projection<Tally> {
  return defineProjection({
    name: 'tally',
    version: 1,
    initial: { sum: 0, seen: [] } as Tally,
    events: [Counted],
    on: { Counted: (state, { by }, record) => ({ sum: state.sum + by, seen: [...state.seen, record.seq] }) },
    ...more,
  })
}

const opened: AuditLedger[] = []
const warnings: LedgerWarning[] = []
afterEach(async () => {
  for (const ledger of opened.splice(0)) await ledger.close()
  warnings.length = 0
})

async function open(location: string, options: OpenOptions = {}): Promise<AuditLedger> {
  const ledger = await AuditLedger.open(location, {
    signer: null,
    origin: 'example.com/projections',
    actor: 'tester',
    tree: 'on-demand',
    stateFolder: tempDir(),
    onWarning: (warning) => void warnings.push(warning),
    ...options,
  })
  opened.push(ledger)
  return ledger
}

function counts(count: number, by = 1): EventInput[] {
  return Array.from({ length: count }, () => Counted({ by }))
}

describe('defineProjection', () => {
  const on = { Counted: (state: number) => state }
  test.each([
    ['a name that is none', { name: 'My Projection' }, RangeError, /name must be/],
    ['version 0', { version: 0 }, RangeError, /version must be/],
    ['no handler', { on: {} }, TypeError, /on is empty/],
    ['a handler that is no function', { on: { Counted: 1 } }, TypeError, /on\.Counted must be a function/],
    ['a definition without handler', { events: [defineEvent('Planned')] }, TypeError, /for which on has no function/],
    ['no state before any event', { initial: undefined }, TypeError, /initial/],
    ['a filter that is none', { filter: { typo: 1 } }, TypeError, /unknown key/],
    ['a policy that is none', { snapshots: { every: 5 } }, TypeError, /unknown key "every"/],
    ['a policy of 0 events', { snapshots: { everyEvents: 0 } }, RangeError, /everyEvents/],
  ])('refuses %s', (_, part, kind, message) => {
    const define = (): unknown => defineProjection({ name: 'tally', version: 1, initial: 0, on, ...part } as never)
    expect(define).toThrow(kind)
    expect(define).toThrow(message)
  })

  test('data and state are typed', () => {
    const projection = defineProjection({
      name: 'typed',
      version: 1,
      initial: { tokens: 0 },
      events: [Counted],
      on: {
        Counted(state, data) {
          expectTypeOf(data).toEqualTypeOf<{ by: number }>()
          return { tokens: state.tokens + data.by }
        },
        AgentCallCompleted(state, entry) {
          expectTypeOf(entry.agent_name).toEqualTypeOf<string>()
          return state
        },
      },
    })
    expectTypeOf(projection).toEqualTypeOf<Projection<{ tokens: number }>>()
    expect(projection.types).toEqual(['AgentCallCompleted', 'Counted'])
  })
})

describe('load', () => {
  test('other types pass by, older data are brought up, and each loading has a state of its own', async () => {
    const ledger = await open('memory:')
    await ledger.append('a', { type: 'Counted', data: { n: 40 }, schema: 1 })
    await ledger.append('a', [{ type: 'Other', data: {} }, Counted({ by: 2 })])
    const first = await ledger.load(tally())
    const { hash, seq } = (await ledger.at(3))!
    expect(first).toEqual({ state: { sum: 42, seen: [1, 3] }, position: seq, hash, replayed: 2, snapshot: null })
    const mutating = defineProjection({
      name: 'careless',
      version: 1,
      initial: { list: [] as number[] },
      on: { Counted: (state, _, record) => (state.list.push(record.seq), state) },
    })
    expect((await ledger.load(mutating)).state.list).toEqual([1, 3])
    expect((await ledger.load(mutating)).state.list).toEqual([1, 3])
  })

  test('by stream, by filter, and as it was behind a position', async () => {
    const ledger = await open('memory:')
    for (const [stream, tags] of [
      ['a', ['x']],
      ['b', ['x', 'y']],
      ['a', ['y']],
    ] as const)
      await ledger.append(stream, Counted({ by: 1 }, { tags }))
    const seen = async (options: Parameters<AuditLedger['load']>[1], projection = tally()): Promise<readonly number[]> =>
      (await ledger.load(projection, options)).state.seen
    expect(await seen({ stream: 'a' })).toEqual([1, 3])
    expect(await seen({ filter: { tags: 'y' } })).toEqual([2, 3])
    expect(await seen({ filter: { tags: 'x' } }, tally({ filter: { tags: 'y' } }))).toEqual([2])
    expect(await seen({ stream: 'b' }, tally({ filter: { stream: 'a' } }))).toEqual([])
    expect(await seen({ filter: { types: 'Other' } })).toEqual([])
    expect(await seen({ upTo: 1 })).toEqual([1])
    expect(await ledger.load(tally(), { upTo: 2 })).toMatchObject({ position: 2, hash: (await ledger.at(2))?.hash })
    expect(await ledger.load(tally(), { upTo: -1 })).toMatchObject({ position: -1, replayed: 0 })
    expect(await ledger.load(tally(), { upTo: 99 })).toMatchObject({ position: 3 })
    await expect(ledger.load(tally(), { upTo: 0.5 })).rejects.toThrow(RangeError)
  })

  test('a handler that returns nothing, and one that throws, end it', async () => {
    const ledger = await open('memory:')
    await ledger.append('a', counts(1))
    await expect(ledger.load(tally({ on: { Counted: () => undefined as never } }))).rejects.toThrow(
      /returned nothing for the record at position 1/,
    )
    const thrown = new Error('mine')
    const throwing = (): never => {
      throw thrown
    }
    await expect(ledger.load(tally({ on: { Counted: throwing } }))).rejects.toBe(thrown)
  })
})

describe('snapshots', () => {
  async function withSnapshots(positions: readonly number[]): Promise<{ path: string; ledger: AuditLedger; ids: string[] }> {
    const path = join(tempDir(), 'ledger')
    const ledger = await open(path)
    const ids: string[] = []
    for (const count of positions) {
      await ledger.append('a', counts(count))
      ids.push(await ledger.createSnapshot(tally()))
    }
    await ledger.append('a', counts(1))
    return { path, ledger, ids }
  }

  const folderOf = (path: string): string => join(path, 'snapshots')

  test('the newest is used, named by a record, kept beside the ledger; older ones go', async () => {
    const { ledger, ids, path } = await withSnapshots([3, 2, 2, 2])
    const head = await ledger.head()
    const loaded = await ledger.load(tally())
    expect(loaded).toMatchObject({ state: { sum: 10 }, position: head.size - 1, hash: head.hash, replayed: 1, snapshot: { id: ids[3] } })
    expect(loaded.state).toEqual((await ledger.load(tally(), { snapshots: 'off' })).state)
    const record = (await ledger.get(ids[3]!))!
    expect(record.header).toMatchObject({ type: 'SnapshotTaken', stream: 'ledger', action: 'take_snapshot' })
    const { position, hash } = record.entry as { position: number; hash: string }
    expect((await ledger.at(position))?.hash).toBe(hash)
    expect(readdirSync(folderOf(path))).toHaveLength(3)
    expect((await ledger.snapshots()).map(({ id, kept }) => [id, kept])).toEqual(ids.map((id, i) => [id, i > 0]))
    expect(await ledger.load(tally(), { upTo: position - 1 })).toMatchObject({ snapshot: { id: ids[2] } })
    expect(warnings).toEqual([])
    const report = await verifyLedger(path, { snapshots: [tally()] })
    expect(report.ok).toBe(true)
    expect(report.snapshots?.map(({ verdict }) => verdict)).toEqual(['pass', 'pass', 'pass'])
  })

  test('a reader uses them and takes none; opened again they are there', async () => {
    const { path, ids, ledger } = await withSnapshots([3])
    await ledger.close()
    const reader = await open(path, { readOnly: true })
    expect(await reader.load(tally({ snapshots: { everyEvents: 1 } }))).toMatchObject({ state: { sum: 4 }, snapshot: { id: ids[0] } })
    await expect(reader.createSnapshot(tally())).rejects.toMatchObject({ code: 'read_only' })
  })

  /** What somebody does to the newest file, and what they are told. */
  const TAMPERINGS: readonly [string, (file: string, folder: string) => void, RegExp][] = [
    [
      'a state that was changed',
      (file) => writeFileSync(file, readFileSync(file, 'utf8').replace('"sum":5', '"sum":6')),
      /not what its record commits to/,
    ],
    ['another salt', (file) => writeFileSync(file, readFileSync(file, 'utf8').replace(/^.{4}/, 'AAAA')), /not what its record commits to/],
    ['half of it', (file) => writeFileSync(file, readFileSync(file, 'utf8').slice(0, 60)), /not what its record commits to/],
    ['nothing in it', (file) => writeFileSync(file, ''), /not what its record commits to/],
    [
      'an older one under its name',
      (file, folder) => writeFileSync(file, readFileSync(join(folder, readdirSync(folder).toSorted()[0]!))),
      /commits to/,
    ],
    [
      'one that no record names',
      (file) => renameSync(file, file.replace(/[0-9a-f]{12}\.json$/, '000000000000.json')),
      /no record of the ledger names it/,
    ],
    [
      'a position that does not exist',
      (file) => renameSync(file, file.replace(/-\d{16}-/, '-9000000000000000-')),
      /under the name of another one/,
    ],
    ['another position', (file) => renameSync(file, file.replace(/-\d{16}-/, '-0000000000000005-')), /under the name of another one/],
  ]
  test.each(TAMPERINGS)('%s: not used, reported, an older one is, and verify finds it', async (_, tamper, reason) => {
    const { path, ledger, ids } = await withSnapshots([3, 2])
    const newest = readdirSync(folderOf(path)).toSorted().at(-1) as string
    tamper(join(folderOf(path), newest), folderOf(path))
    expect(await ledger.load(tally())).toMatchObject({ state: { sum: 6 }, replayed: 3, snapshot: { id: ids[0] } })
    expect(warnings).toMatchObject([{ code: 'snapshot_refused', message: expect.stringMatching(reason) }])
    await ledger.load(tally())
    expect(warnings).toHaveLength(1)
    const report = await verifyLedger(path, { snapshots: [tally()] })
    expect(report).toMatchObject({ ok: false, problems_total: 0, verdicts: { integrity: 'pass' } })
    expect(report.snapshots?.map(({ verdict }) => verdict).toSorted()).toEqual(['fail', 'pass'])
    // What is false does not push out what is true.
    for (let i = 0; i < 3; i++) await ledger.createSnapshot(tally())
    expect(await ledger.load(tally())).toMatchObject({ state: { sum: 6 }, replayed: 0 })
  })

  test('of another version: not used and reported, unless it can be brought up; other handlers need another version', async () => {
    const { ledger, ids } = await withSnapshots([3])
    expect(await ledger.load(tally({ version: 2 }))).toMatchObject({ state: { sum: 4 }, snapshot: null })
    expect(warnings).toMatchObject([{ message: expect.stringMatching(/of version 1, and the projection of version 2/) }])
    const upcast = { 1: (state: Tally) => ({ ...state, sum: state.sum * 1 }) }
    expect(await ledger.load(tally({ version: 2, upcast }))).toMatchObject({ state: { sum: 4 }, snapshot: { id: ids[0] } })
    const failing = {
      1: () => {
        throw new Error('mine')
      },
    }
    expect(await ledger.load(tally({ version: 2, upcast: failing }))).toMatchObject({ state: { sum: 4 }, snapshot: null })
    const other = await open('memory:')
    await other.append('a', counts(1))
    await other.createSnapshot(tally())
    warnings.length = 0
    const grown = tally({ on: { Counted: (state: Tally) => state, Other: (state: Tally) => state } as never })
    expect((await other.load(grown)).snapshot).toBeNull()
    expect(warnings).toMatchObject([{ message: expect.stringMatching(/handlers of other events/) }])
  })

  test('one whose record and digest are right and whose state is not: a replay finds it', async () => {
    const path = join(tempDir(), 'ledger')
    const ledger = await open(path)
    await ledger.append('a', counts(3))
    await ledger.createSnapshot(tally({ on: { Counted: (state: Tally) => ({ ...state, sum: 99 }) } }))
    expect(await ledger.checkSnapshots()).toMatchObject([{ verdict: 'not checked', projection: 'tally' }])
    expect(await ledger.checkSnapshots([tally({ version: 2 })])).toMatchObject([{ verdict: 'not checked' }])
    expect(await ledger.checkSnapshots([tally()])).toMatchObject([{ verdict: 'fail', reason: expect.stringMatching(/replay/) }])
  })

  test('a ledger that is another one by the same name: its snapshots are not taken for this one', async () => {
    const { path, ledger } = await withSnapshots([3])
    const other = join(tempDir(), 'other')
    const foreign = await open(other)
    await foreign.append('a', counts(4, 7))
    await foreign.createSnapshot(tally())
    await foreign.close()
    const [name] = readdirSync(folderOf(other)) as [string]
    writeFileSync(join(folderOf(path), name), readFileSync(join(folderOf(other), name)))
    expect((await ledger.load(tally())).state.sum).toBe(4)
    expect(warnings).toMatchObject([{ code: 'snapshot_refused', message: expect.stringMatching(/no record/) }])
  })

  test('a state that is no JSON is refused before anything is recorded; one that is kept by policy only warns', async () => {
    const ledger = await open('memory:')
    await ledger.append('a', counts(1))
    const infinite = (policy?: { everyEvents: number }): Projection<Tally> =>
      tally({ on: { Counted: (state: Tally) => ({ ...state, sum: Infinity }) }, snapshots: policy })
    await expect(ledger.createSnapshot(infinite())).rejects.toMatchObject({ code: 'invalid_entry', details: { path: '/sum' } })
    expect((await ledger.head()).size).toBe(2)
    expect((await ledger.load(infinite({ everyEvents: 1 }))).state.sum).toBe(Infinity)
    expect(warnings).toMatchObject([{ code: 'snapshot_failed' }])
    expect((await ledger.head()).size).toBe(2)
  })

  test('by policy: load takes one when it is due, and keeps as many as were asked for', async () => {
    const ledger = await open('memory:')
    const projection = tally({ snapshots: { everyEvents: 10, keep: 2 } })
    for (let i = 0; i < 40; i++) {
      await ledger.append('a', counts(3))
      await ledger.load(projection)
    }
    const taken = await ledger.snapshots()
    expect(taken).toHaveLength(10)
    expect(taken.filter(({ kept }) => kept)).toHaveLength(2)
    expect(await ledger.load(projection)).toMatchObject({ state: { sum: 120 }, replayed: 0 })
    await ledger.load(tally({ snapshots: { everyEvents: 1 } }), { upTo: 100, snapshots: 'off' })
    expect(await ledger.snapshots()).toHaveLength(10)
  })

  test.each([
    ['highVolume', { events: 999 }, false],
    ['highVolume', { events: 1000 }, true],
    ['lowVolume', { events: 1, age_ms: 86_399_999 }, false],
    ['lowVolume', { events: 1, age_ms: 86_400_000 }, true],
    ['lowVolume', { events: 1 }, true],
    ['lowVolume', { events: 0, age_ms: 1e12 }, false],
    ['largeState', { events: 250, bytes: 999_999 }, false],
    ['largeState', { events: 250, bytes: 1_000_000 }, true],
    ['smallState', { events: 9999, bytes: 10 }, false],
    ['smallState', { events: 10_000, bytes: 10 }, true],
  ] as const)('policy %s with %j', (name, { events, ...more }, isDue) => {
    const { age_ms = null, bytes = 0 } = more as { age_ms?: number; bytes?: number }
    expect(isSnapshotDue(SNAPSHOT_POLICIES[name], { events, age_ms, replay_ms: 0, stateBytes: () => bytes })).toBe(isDue)
  })

  test('with snapshots at random positions a state is what a full replay gives', async () => {
    const step = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          kind: fc.constant('append' as const),
          stream: fc.constantFrom('a', 'b'),
          by: fc.integer({ min: -9, max: 9 }),
        }),
      },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('snapshot' as const), stream: fc.constantFrom('a', 'b', undefined) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('load' as const), upTo: fc.nat(30) }) },
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const ledger = await open('memory:')
        for (const one of steps) {
          if (one.kind === 'append') await ledger.append(one.stream, Counted({ by: one.by }))
          else if (one.kind === 'snapshot') await ledger.createSnapshot(tally(), { stream: one.stream })
          else await ledger.load(tally(), { upTo: one.upTo })
        }
        const { size } = await ledger.head()
        for (const stream of ['a', 'b', undefined]) {
          for (const upTo of [undefined, Math.floor(size / 2), size - 2]) {
            const [quick, full] = await Promise.all([
              ledger.load(tally(), { stream, upTo }),
              ledger.load(tally(), { stream, upTo, snapshots: 'off' }),
            ])
            expect(quick.state).toEqual(full.state)
            expect([quick.position, quick.hash]).toEqual([full.position, full.hash])
          }
        }
        expect((await ledger.checkSnapshots([tally()])).filter(({ verdict }) => verdict !== 'pass')).toEqual([])
        expect(warnings).toEqual([])
        await ledger.close()
      }),
      { numRuns: scale(25, 500) },
    )
  })
})
