/** Finding in the port: every filter alone, together, by chance, held against `fitsFilter`; counts and tallies. */
import assert from 'node:assert/strict'
import { fitsFilter } from '../../ledger/filter.ts'
import { TALLY_COLUMNS, type RecordFilter, type Store, type TallyColumn } from '../../ledger/store.ts'
import { OUTCOMES, type RecordHeader } from '../../verify/header.ts'
import { formatLine } from '../../verify/record.ts'
import { formatTime } from '../../verify/time.ts'
import { assertFinds, assertLines, linesOf } from '../checks.ts'
import type { Sample, SampleChain } from '../sample-chain.ts'
import { seededRandom, type SeededRandom } from '../seeded-random.ts'
import type { Bench, Scenario } from './bench.ts'

const VALUES = ['a', 'A', 'b ', 'é', 'e\u0301', "o'brien", '100%', 'under_score', '__proto__', '🦊', '1', '01'] as const
const DAY_US = 86_400_000_000
const START_US = 1_767_225_600_000_000 // 2026-01-01

function someTime(random: SeededRandom): string {
  // Few distinct times, so that limits of a range meet records exactly.
  return formatTime(START_US + random.below(20) * DAY_US + random.pick([0, 1, 999_999, 1_000_000]))
}

/** A record in which every indexed name is there, or not, and has few values. */
function someSample(random: SeededRandom, recorded_at: string): Sample {
  const name = (): string => random.pick(VALUES)
  const maybe = <Value>(value: Value): Value | undefined => (random.chance(0.6) ? value : undefined)
  const optional = {
    correlation_id: maybe(name()),
    causation_id: maybe(name()),
    tags: maybe([...new Set([name(), name(), name()])].toSorted((a, b) => (a < b ? -1 : 1))),
  }
  return {
    ...(Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)) as Partial<Sample>),
    stream: name(),
    actor: name(),
    action: name(),
    type: name(),
    outcome: random.pick(OUTCOMES),
    timestamp: someTime(random),
    recorded_at,
    entry: random.pick<object>([
      { provider_name: name(), model_name: name() },
      { provider_name: name() },
      { provider_name: '', model_name: null },
      { model_name: 7, nested: { provider_name: name() } },
    ]),
  }
}

async function varied(bench: Bench, count = 200): Promise<{ store: Store; chain: SampleChain; random: SeededRandom }> {
  const { store, chain } = await bench.started()
  const random = seededRandom(bench.seed + 7)
  for (let size = 1; size <= count; size += 100) {
    await chain.append(
      store,
      Array.from({ length: Math.min(100, count - size + 1) }, (_, i) =>
        someSample(random, formatTime(START_US + 40 * DAY_US + (size + i) * 250_000)),
      ),
    )
  }
  return { store, chain, random }
}

/** Lines of the chain's records that fit. */
function fitting(chain: SampleChain, fits: (header: RecordHeader, provider: string | null, model: string | null) => boolean): string[] {
  return chain.records.filter(({ header, provider, model }) => fits(header, provider, model)).map(formatLine)
}

const NAMES = ['correlation_id', 'causation_id', 'actor', 'action', 'type', 'stream'] as const

function findsByName(column: (typeof NAMES)[number]): Scenario {
  return {
    name: `finds by ${column}`,
    async run(bench) {
      const { store, chain } = await varied(bench)
      for (const value of [...VALUES, 'nobody']) {
        await assertFinds(
          store,
          { [column]: [value] },
          fitting(chain, (header) => header[column] === value),
          `${column} ${value}`,
        )
      }
    },
  }
}

function someFilter(random: SeededRandom): RecordFilter {
  const few = (): string[] => Array.from({ length: 1 + random.below(4) }, () => random.pick(VALUES))
  const all: { [Key in keyof RecordFilter]-?: () => NonNullable<RecordFilter[Key]> } = {
    seq: () => new Set(Array.from({ length: random.below(60) }, () => random.below(250))),
    run_id: () => Array.from({ length: 1 + random.below(60) }, () => `run-${random.below(250)}`),
    correlation_id: few,
    causation_id: few,
    actor: few,
    action: few,
    outcome: () => [random.pick(OUTCOMES), random.pick(OUTCOMES)],
    type: few,
    stream: few,
    tags: () => few().slice(0, 2),
    provider: few,
    model: few,
    since: () => someTime(random),
    until: () => someTime(random),
    recorded_since: () => formatTime(START_US + 40 * DAY_US + random.below(200) * 250_000),
    recorded_until: () => formatTime(START_US + 40 * DAY_US + random.below(200) * 250_000),
  }
  const filter: { [key: string]: unknown } = {}
  for (const [key, make] of Object.entries(all)) if (random.chance(0.14)) filter[key] = make()
  return filter as RecordFilter
}

function tallied(chain: SampleChain, column: TallyColumn, filter: RecordFilter): Map<string, number> {
  const counts = new Map<string, number>()
  for (const record of chain.records) {
    if (!fitsFilter(filter, record.header, record.provider, record.model)) continue
    const value = column === 'provider' || column === 'model' ? record[column] : record.header[column]
    if (value !== null) counts.set(value, (counts.get(value) ?? 0) + 1)
  }
  return counts
}

function sorted(counts: ReadonlyMap<string, number>): (readonly [string, number])[] {
  return [...counts].toSorted(([a], [b]) => (a < b ? -1 : 1))
}

export const filterCases: readonly Scenario[] = [
  ...NAMES.map(findsByName),
  {
    name: 'finds by run_id, one and very many',
    async run(bench) {
      const { store, chain } = await varied(bench)
      await assertFinds(store, { run_id: ['run-7'] }, [chain.lines[7] as string], 'one run')
      await assertFinds(store, { run_id: ['nobody'] }, [], 'no run')
      const many = Array.from({ length: 3000 }, (_, i) => `run-${i * 2}`)
      await assertFinds(
        store,
        { run_id: many },
        fitting(chain, ({ seq }) => seq % 2 === 0),
        'many runs',
      )
    },
  },
  {
    name: 'finds by outcome',
    async run(bench) {
      const { store, chain } = await varied(bench)
      for (const outcome of OUTCOMES)
        await assertFinds(
          store,
          { outcome: [outcome] },
          fitting(chain, (header) => header.outcome === outcome),
          outcome,
        )
    },
  },
  {
    name: "finds by the entry's provider and model, and nothing by an empty or nested one",
    async run(bench) {
      const { store, chain } = await varied(bench)
      for (const value of ['a', 'é', '__proto__', '', '7', 'null']) {
        await assertFinds(
          store,
          { provider: [value] },
          fitting(chain, (_, provider) => provider === value),
          `provider ${value}`,
        )
        await assertFinds(
          store,
          { model: [value] },
          fitting(chain, (_, __, model) => model === value),
          `model ${value}`,
        )
      }
    },
  },
  {
    name: 'finds by tags: a record has every one that is asked for',
    async run(bench) {
      const { store, chain, random } = await varied(bench)
      for (let i = 0; i < 20; i++) {
        const tags = Array.from({ length: 1 + random.below(3) }, () => random.pick(VALUES))
        await assertFinds(
          store,
          { tags },
          fitting(chain, (header) => tags.every((tag) => header.tags?.includes(tag) === true)),
          `tags ${tags.join()}`,
        )
      }
      await assertFinds(store, { tags: ['nobody'] }, [], 'a tag that no record has')
    },
  },
  {
    name: 'finds by time: since inclusive, until exclusive, to the microsecond',
    async run(bench) {
      const { store, chain } = await varied(bench)
      for (const offset of [0, 1, 999_999, 1_000_000, 1_000_001]) {
        const time = formatTime(START_US + 5 * DAY_US + offset)
        await assertFinds(
          store,
          { since: time },
          fitting(chain, (header) => header.timestamp >= time),
          `since ${time}`,
        )
        await assertFinds(
          store,
          { until: time },
          fitting(chain, (header) => header.timestamp < time),
          `until ${time}`,
        )
      }
      const [since, until] = [formatTime(START_US + 3 * DAY_US), formatTime(START_US + 9 * DAY_US)]
      await assertFinds(
        store,
        { since, until },
        fitting(chain, ({ timestamp }) => timestamp >= since && timestamp < until),
        'between',
      )
      await assertFinds(store, { since: until, until: since }, [], 'a range that ends before it begins')
    },
  },
  {
    name: 'finds by the time of recording',
    async run(bench) {
      const { store, chain } = await varied(bench)
      for (const seq of [1, 100, 101, 200]) {
        const time = chain.records[seq]?.header.recorded_at as string
        await assertFinds(
          store,
          { recorded_since: time },
          fitting(chain, (header) => header.recorded_at >= time),
          `recorded since ${time}`,
        )
        await assertFinds(
          store,
          { recorded_until: time },
          fitting(chain, (header) => header.recorded_at < time),
          `recorded until ${time}`,
        )
      }
    },
  },
  {
    name: 'order is of position, never of time',
    async run(bench) {
      const { store, chain } = await bench.started()
      const times = ['2026-01-03', '2026-01-01', '2026-01-02', '2025-01-01', '2026-01-04'].map((day) => `${day}T00:00:00.000000Z`)
      for (const timestamp of times) await chain.append(store, [{ timestamp }])
      await assertFinds(
        store,
        { since: '2025-06-01T00:00:00.000000Z', until: '2026-02-01T00:00:00.000000Z' },
        [1, 2, 3, 5].map((seq) => chain.lines[seq] as string),
        'a range',
      )
    },
  },
  {
    name: 'of several values any fits, of several filters all',
    async run(bench) {
      const { store, chain } = await varied(bench)
      await assertFinds(
        store,
        { actor: ['a', 'A', 'a'] },
        fitting(chain, ({ actor }) => actor === 'a' || actor === 'A'),
        'two actors',
      )
      const both = fitting(chain, ({ actor, outcome }) => (actor === 'a' || actor === 'é') && outcome === 'denied')
      await assertFinds(store, { actor: ['a', 'é'], outcome: ['denied'] }, both, 'actors and outcome')
    },
  },
  {
    name: 'a list of no values fits nothing, no filter fits everything',
    async run(bench) {
      const { store, chain } = await varied(bench, 50)
      await assertFinds(store, {}, chain.lines, 'no filter')
      await assertFinds(store, { tags: [] }, chain.lines, 'none of the tags')
      for (const column of ['run_id', 'actor', 'correlation_id', 'provider', 'outcome'] as const)
        await assertFinds(store, { [column]: [] }, [], column)
    },
  },
  {
    name: 'a filter within a window, a direction and a limit',
    async run(bench) {
      const { store, chain, random } = await varied(bench)
      const outcome = ['success', 'failure'] as const
      for (let i = 0; i < 25 * bench.effort; i++) {
        const from = random.below(200)
        const part = { from, before: from + random.below(100), reverse: random.chance(0.5), limit: 1 + random.below(30) }
        const inWindow = fitting(
          chain,
          (header) => header.seq >= from && header.seq < part.before && outcome.includes(header.outcome as 'success'),
        )
        const expected = (part.reverse ? inWindow.toReversed() : inWindow).slice(0, part.limit)
        assertLines(await linesOf(store, { ...part, filter: { outcome } }), expected, JSON.stringify(part))
      }
    },
  },
  {
    name: 'finds what any filter fits',
    async run(bench) {
      const { store, chain, random } = await varied(bench)
      for (let i = 0; i < 50 * bench.effort; i++) {
        const filter = someFilter(random)
        const expected = fitting(chain, (header, provider, model) => fitsFilter(filter, header, provider, model))
        await assertFinds(store, filter, expected, JSON.stringify(filter))
      }
    },
  },
  {
    name: 'tallies by every column',
    async run(bench) {
      const { store, chain, random } = await varied(bench)
      for (const column of TALLY_COLUMNS) {
        for (const filter of [{}, someFilter(random), someFilter(random), { actor: ['nobody'] }]) {
          assert.deepEqual(
            sorted(await store.tally(column, filter)),
            sorted(tallied(chain, column, filter)),
            `${column} of ${JSON.stringify(filter)}`,
          )
        }
      }
    },
  },
  {
    name: 'counts what has just been appended',
    async run(bench) {
      const { store, chain } = await bench.started()
      for (let i = 1; i <= 20; i++) {
        await chain.append(store, [{ actor: 'counted' }, { tags: ['even'] }])
        assert.equal(await store.count({ actor: ['counted'] }), i)
        assert.equal(await store.count({ tags: ['even'] }), i)
        assert.equal((await store.tally('actor', {})).get('counted'), i)
        assert.equal(await store.count({}), 2 * i + 1)
      }
    },
  },
]
