import { describe, expect, test } from 'vitest'
import { LedgerError } from '../../src/index.ts'
import { openMemoryStore } from '../../src/stores/memory.ts'
import { faultyStore, fixedClock, LEDGER_CREATED, SampleChain, seededRandom, storeContract } from '../../src/testing/index.ts'

describe('fixedClock', () => {
  test('stands still until it is moved', () => {
    const clock = fixedClock('2026-11-22T20:15:33.123456Z')
    expect(clock.now()).toBe(Date.parse('2026-11-22T20:15:33.123Z') * 1000 + 456)
    expect([clock.now(), clock.monotonic()]).toEqual([clock.now(), 0])
    clock.advance(1_500_001)
    expect([clock.now() % 1_000_000, clock.monotonic()]).toEqual([623_457, 1500.001])
    clock.set('2026-01-01T00:00:00.000000Z')
    expect([clock.now(), clock.monotonic()]).toEqual([1_767_225_600_000_000, 1500.001])
    clock.set(5)
    expect(clock.now()).toBe(5)
  })

  test('refuses what is no time', () => {
    expect(() => fixedClock('yesterday')).toThrow(RangeError)
    expect(() => fixedClock(1.5)).toThrow(RangeError)
    expect(() => fixedClock().advance(-1)).toThrow(RangeError)
    expect(() => fixedClock().set(NaN)).toThrow(RangeError)
  })
})

describe('seededRandom', () => {
  const draw = (seed: number): string => Buffer.from(seededRandom(seed).bytes(64)).toString('hex')

  test('repeats a seed, and only that', () => {
    expect(draw(1)).toBe(draw(1))
    const seeds = [0, 1, 2, 3, -1, 2 ** 31, 2 ** 32, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER]
    expect(new Set(seeds.map(draw)).size).toBe(seeds.length)
    expect(() => seededRandom(0.5)).toThrow(RangeError)
  })

  test('is even enough', () => {
    const random = seededRandom(9)
    const counts = Array.from({ length: 10 }, () => 0)
    for (let i = 0; i < 100_000; i++) counts[random.below(10)]!++
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(500)
    const hits = Array.from({ length: 100_000 }, () => random.chance(0.25)).filter(Boolean).length
    expect(Math.abs(hits - 25_000)).toBeLessThan(800)
    const bits = [...random.bytes(100_000)].reduce((sum, byte) => sum + byte.toString(2).replaceAll('0', '').length, 0)
    expect(Math.abs(bits - 400_000)).toBeLessThan(2000)
    expect(random.chance(0)).toBe(false)
    expect(random.chance(1)).toBe(true)
    expect(() => random.pick([])).toThrow(RangeError)
  })
})

describe('faultyStore', () => {
  test('does what was planned, in order, then what stands, then nothing', async () => {
    const inner = openMemoryStore()
    const store = faultyStore(inner)
    const chain = new SampleChain()
    const size = async (): Promise<number> => (await inner.state({ streams: [], run_ids: [] })).head.size
    store.plan(
      'append',
      { kind: 'refuse', code: 'disk_full' },
      { kind: 'lose' },
      { kind: 'persist', code: 'io_error' },
      { kind: 'delay', ms: 1 },
    )
    const records = chain.seal([LEDGER_CREATED])
    const failure = async (): Promise<LedgerError> =>
      store.append(records, chain.head).catch((error: unknown) => error) as Promise<LedgerError>
    expect(await failure()).toMatchObject({ code: 'disk_full', details: {} })
    expect(await failure()).toMatchObject({ code: 'io_error', details: { outcome_unknown: true } })
    expect(await size()).toBe(0)
    expect(await failure()).toMatchObject({ code: 'io_error', details: { outcome_unknown: true } })
    expect(await size()).toBe(1)
    chain.accept(records)
    await chain.append(store, [{}])
    store.always('state', { kind: 'refuse', code: 'io_error' })
    await expect(store.state({ streams: [], run_ids: [] })).rejects.toBeInstanceOf(LedgerError)
    store.heal()
    expect((await store.state({ streams: [], run_ids: [] })).head).toEqual(chain.head)
    expect(store.seen.map(({ call, fault, seqs }) => [call, fault, ...seqs])).toEqual([
      ['append', 'refuse', 0],
      ['append', 'lose', 0],
      ['append', 'persist', 0],
      ['append', 'delay', 1],
      ['state', 'refuse'],
      ['state', 'none'],
    ])
  })

  test('lets others in first, and waits', async () => {
    const inner = openMemoryStore()
    const store = faultyStore(inner)
    const chain = new SampleChain()
    await chain.append(store, [LEDGER_CREATED])
    const stale = chain.head
    const late = chain.seal([{ run_id: 'late' }])
    store.plan('append', { kind: 'interfere', act: () => chain.append(inner, [{}]) }, { kind: 'wait', for: Promise.resolve() })
    await expect(store.append(late, stale)).rejects.toMatchObject({ code: 'head_moved' })
    await chain.append(store, [{}])
    expect((await store.state({ streams: [], run_ids: [] })).head.size).toBe(3)
  })
})

describe('storeContract', () => {
  const capabilities = { persistent: false, secondWriter: null, readersBesideWriter: false, segments: false } as const
  const open = async (): Promise<ReturnType<typeof openMemoryStore>> => openMemoryStore()

  test('its cases have names of their own, and depend on what a store can', () => {
    const names = storeContract({ open, capabilities }).map(({ name }) => name)
    expect(new Set(names).size).toBe(names.length)
    const more = storeContract({
      open,
      reopen: open,
      capabilities: { persistent: true, secondWriter: 'refused', readersBesideWriter: true, segments: true },
    })
    expect(more.length).toBeGreaterThan(names.length + 10)
    expect(() => storeContract({ open, capabilities: { ...capabilities, persistent: true } })).toThrow(TypeError)
  })

  test('a case closes what it has opened, also when it fails', async () => {
    let opened = 0
    const closed = new Set<number>()
    const watched = async (): Promise<ReturnType<typeof openMemoryStore>> => {
      const store = openMemoryStore()
      const number = opened++
      return {
        ...store,
        count: async () => 7,
        close: async () => {
          closed.add(number)
          await store.close()
        },
      }
    }
    let failures = 0
    for (const { run } of storeContract({ open: watched, capabilities })) await run().catch(() => failures++)
    expect(failures).toBeGreaterThan(5)
    expect(closed.size).toBe(opened)
  })
})
