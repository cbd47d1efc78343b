/** Which index answers what: read from SQLite's own account of its plan. */
import { describe, expect, test } from 'vitest'
import { fitsFilter } from '../../../src/ledger/filter.ts'
import type { RecordFilter } from '../../../src/ledger/store.ts'
import type { Database } from '../../../src/stores/sql/driver.ts'
import { planFilter } from '../../../src/stores/sql/plan.ts'
import { SelectedRows, countRecords, pageQuery, tallyRecords } from '../../../src/stores/sql/select.ts'
import { seededRandom } from '../../../src/testing/seeded-random.ts'
import { formatTime } from '../../../src/verify/time.ts'
import { OUTCOMES } from '../../../src/verify/header.ts'
import { scale } from '../../helpers/scale.ts'
import { sampleHeader, tableOf } from './sample.ts'
import type { Sample } from './sample.ts'

const ROWS = 8000
const START_US = 1_795_000_000_000_000
const at = (seq: number): string => formatTime(START_US + seq * 1000)

/** A ledger's table: many tasks of a few calls, few actors, mostly successes, some backdated. */
function ledgerOf(rows: number): Sample[] {
  const random = seededRandom(7)
  return Array.from({ length: rows }, (_, seq) => ({
    header: sampleHeader(seq, {
      actor: seq % 1000 === 5 ? 'rare' : `actor-${seq % 4}`,
      action: `action-${seq % 5}`,
      outcome: seq % 50 === 0 ? OUTCOMES[(seq / 50) % OUTCOMES.length]! : 'success',
      type: seq % 100 === 0 ? 'StepTaken' : 'AgentCallCompleted',
      stream: `task-${Math.floor(seq / 3)}`,
      correlation_id: `task-${Math.floor(seq / 3)}`,
      ...(seq % 7 === 0 ? { causation_id: `run-${Math.floor(seq / 21)}` } : {}),
      ...(seq % 3 === 0 ? { tags: seq % 900 === 0 ? ['often', 'seldom'] : ['often'] } : {}),
      recorded_at: at(seq),
      timestamp: at(random.chance(0.01) ? random.below(rows) : seq),
    }),
    provider: seq % 10 === 0 ? null : `provider-${seq % 2}`,
    model: seq % 10 === 0 ? null : `model-${seq % 3}`,
  }))
}
const ledger = ledgerOf(ROWS)

function planOf(database: Database, filter: RecordFilter, reverse: boolean): string {
  const { sql, params } = pageQuery(planFilter(database, filter, true), 'records.outcome AS outcome', {}, reverse, 100)
  return database
    .prepare(`EXPLAIN QUERY PLAN ${sql}`)
    .all(...params)
    .map((row) => String(row['detail']))
    .join('; ')
}

const EQUALITIES: readonly (readonly [string, RecordFilter, string])[] = [
  ['run', { run_id: ['run-77'] }, 'records_by_run_id (run_id=?)'],
  ['correlation', { correlation_id: ['task-3'] }, 'records_by_correlation_id (correlation_id=?)'],
  ['causation', { causation_id: ['run-3'] }, 'records_by_causation_id (causation_id=?)'],
  ['actor', { actor: ['actor-1'] }, 'records_by_actor (actor=?)'],
  ['action', { action: ['action-1'] }, 'records_by_action (action=?)'],
  ['outcome', { outcome: ['success'] }, 'records_by_outcome (outcome=?)'],
  ['type', { type: ['StepTaken'] }, 'records_by_type (type=?)'],
  ['stream', { stream: ['task-3'] }, 'records_by_stream (stream=?)'],
  ['tag', { tags: ['often'] }, 'SEARCH driver USING PRIMARY KEY (tag=?)'],
  ['provider', { provider: ['provider-1'] }, 'records_by_provider (provider=?)'],
  ['model', { model: ['model-1'] }, 'records_by_model (model=?)'],
]

const RANGES: readonly (readonly [string, RecordFilter, string])[] = [
  ['time happened, few', { since: at(100), until: at(200) }, 'records_by_timestamp_us (timestamp_us>? AND timestamp_us<?)'],
  ['time recorded, few', { recorded_since: at(100), recorded_until: at(200) }, 'records_by_recorded_us (recorded_us>? AND recorded_us<?)'],
  // Many records: in order of seq without a sort, between the first and the last position that the index gives.
  ['time happened, many', { since: at(2500), until: at(5500) }, 'SEARCH records USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)'],
  [
    'time recorded, many',
    { recorded_since: at(2500), recorded_until: at(5500) },
    'SEARCH records USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)',
  ],
]

describe('every filter is answered by an index', async () => {
  const database = await tableOf('node:sqlite', ledger)

  test.each(EQUALITIES)('%s: in order of seq without a sort, oldest or newest first', (_, filter, index) => {
    for (const reverse of [false, true]) {
      const plan = planOf(database, filter, reverse)
      expect(plan).toContain(index)
      expect(plan).not.toMatch(/SCAN|TEMP B-TREE/)
    }
  })

  test.each(RANGES)('%s', (_, filter, index) => {
    for (const reverse of [false, true]) {
      const plan = planOf(database, filter, reverse)
      expect(plan).toContain(index)
      expect(plan).not.toContain('SCAN')
    }
  })

  test('a page goes on at its position within the index', () => {
    const { sql, params } = pageQuery(
      planFilter(database, { actor: ['actor-1'] }, true),
      'records.seq AS seq',
      { from: 10, before: 5000 },
      true,
      10,
    )
    const [plan] = database.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(...params)
    expect(plan!['detail']).toContain('records_by_actor (actor=? AND rowid>? AND rowid<?)')
  })

  test('of several conditions the one that the fewest records fit drives', () => {
    const cases: readonly (readonly [RecordFilter, string])[] = [
      [
        { outcome: ['success'], actor: ['actor-1'], correlation_id: ['task-3'], since: at(0), until: at(ROWS) },
        'records_by_correlation_id',
      ],
      [{ outcome: ['success'], actor: ['rare'] }, 'records_by_actor'],
      [{ outcome: ['denied'], actor: ['actor-0'] }, 'records_by_outcome'],
      [{ actor: ['actor-1'], tags: ['often', 'seldom'] }, 'SEARCH driver USING PRIMARY KEY (tag=?)'],
      [{ outcome: ['success'], since: at(100), until: at(120) }, 'records_by_timestamp_us'],
      [{ outcome: ['success'], since: at(2500), until: at(5500) }, 'records_by_outcome (outcome=? AND rowid>? AND rowid<?)'],
      [{ run_id: ['run-5'], outcome: ['success'], tags: ['often'] }, 'records_by_run_id'],
    ]
    for (const [filter, index] of cases) {
      const plan = planOf(database, filter, false)
      expect(plan, JSON.stringify(filter)).toContain(index)
      expect(plan, JSON.stringify(filter)).not.toMatch(/SCAN/)
    }
  })

  test('any of several values: merged in order, not sorted', () => {
    const plan = planOf(database, { actor: ['actor-1', 'actor-2', 'rare'] }, true)
    expect(plan).toContain('MERGE (UNION ALL)')
    expect(plan).not.toMatch(/SCAN|TEMP B-TREE/)
  })

  test('conditions are counted and tallied from indexes alone, without reading a row', () => {
    const asked: string[] = []
    const spied: Database = new Proxy(database, {
      get: (target, key) => {
        const value = Reflect.get(target, key, target) as unknown
        if (typeof value !== 'function') return value
        return (...args: unknown[]) => {
          if (key === 'cached') asked.push(String(args[0]))
          return value.apply(target, args) as unknown
        }
      },
    })
    const filters: readonly RecordFilter[] = [
      ...EQUALITIES.map(([, filter]) => filter),
      ...RANGES.map(([, filter]) => filter),
      { actor: ['actor-1'], outcome: ['success', 'failure'], tags: ['often'] },
    ]
    for (const filter of filters) {
      countRecords(spied, filter)
      const sql = asked.at(-1)!
      const params = Array.from({ length: sql.split('?').length - 1 }, () => null)
      const plan = database.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(...params)
      expect(plan.length).toBeGreaterThan(0)
      for (const { detail } of plan)
        expect(detail, sql).toMatch(/COVERING INDEX|driver USING PRIMARY KEY \(tag|other\d USING PRIMARY KEY \(tag/)
    }
    tallyRecords(spied, 'actor', {})
    expect(database.prepare(`EXPLAIN QUERY PLAN ${asked.at(-1)!}`).all()[0]!['detail']).toContain('USING COVERING INDEX records_by_actor')
  })

  test('an index that somebody dropped makes the answer slower, not another one', async () => {
    const without = await tableOf('node:sqlite', ledger)
    for (const column of ['actor', 'outcome', 'model', 'timestamp_us']) without.exec(`DROP INDEX records_by_${column}`)
    const filters: readonly RecordFilter[] = [
      { actor: ['actor-2'], outcome: ['failure', 'denied'] },
      { model: ['model-0'], tags: ['often'], since: at(100) },
      { action: ['action-1'], outcome: ['success'], since: at(2000), until: at(3000) },
    ]
    for (const filter of filters) {
      expect(countRecords(without, filter)).toBe(countRecords(database, filter))
      const selection = { filter, from: 0, before: Infinity, reverse: true, limit: 200 }
      const rows = new SelectedRows(database, selection, 'records.actor AS actor').next(200)
      expect(new SelectedRows(without, selection, 'records.actor AS actor').next(200)).toEqual(rows)
      expect(rows.length).toBeGreaterThan(0)
    }
    without.close()
  })

  test('whatever drives, the answer is that of fitsFilter', () => {
    const seed = 20261122
    const random = seededRandom(seed)
    const pick = <T>(...values: readonly T[]): T => values[random.below(values.length)]!
    const some = <T>(...values: readonly T[]): T[] =>
      random.chance(0.7) ? [pick(...values)] : [pick(...values), pick(...values), pick(...values)]
    const time = (): string => at(random.below(ROWS + 1000) - 500)
    const PARTS: readonly (() => RecordFilter)[] = [
      () => ({ run_id: Array.from({ length: pick(1, 2, 40) }, () => `run-${random.below(ROWS)}`) }),
      () => ({ correlation_id: Array.from({ length: pick(1, 3, 50, 500) }, () => `task-${random.below(ROWS / 3)}`) }),
      () => ({ causation_id: [`run-${random.below(ROWS / 21)}`] }),
      () => ({ actor: some('actor-0', 'actor-1', 'actor-2', 'rare', 'nobody') }),
      () => ({ action: some('action-0', 'action-1') }),
      () => ({ outcome: some(...OUTCOMES) }),
      () => ({ type: some('StepTaken', 'AgentCallCompleted') }),
      () => ({ stream: [`task-${random.below(ROWS / 3)}`] }),
      () => ({ tags: pick(['often'], ['seldom'], ['often', 'seldom'], ['never']) }),
      () => ({ provider: some('provider-0', 'provider-1') }),
      () => ({ model: some('model-0', 'model-1', 'model-2') }),
      () => ({ since: time() }),
      () => ({ until: time() }),
      () => ({ recorded_since: time() }),
      () => ({ recorded_until: time() }),
    ]
    for (let i = 0; i < scale(300, 20_000); i++) {
      const filter: RecordFilter = Object.assign({}, ...Array.from({ length: 1 + random.below(4) }, () => pick(...PARTS)()))
      const selection = {
        filter,
        from: pick(0, 0, random.below(ROWS)),
        before: pick(Infinity, random.below(ROWS)),
        reverse: random.chance(0.5),
        limit: pick(Infinity, 10),
      }
      const expected = ledger
        .filter(({ header, provider, model }) => fitsFilter(filter, header, provider, model))
        .map(({ header }) => header.seq)
      expect(countRecords(database, filter), `seed ${seed}, ${i}: ${JSON.stringify(filter)}`).toBe(expected.length)
      const within = expected.filter((seq) => seq >= selection.from && seq < selection.before)
      if (selection.reverse) within.reverse()
      const rows = new SelectedRows(database, selection, 'records.actor AS actor')
      const seqs: number[] = []
      for (let next = rows.next(100); next.length > 0; next = rows.next(100)) seqs.push(...next.map((row) => Number(row['seq'])))
      expect(seqs, `seed ${seed}, ${i}: ${JSON.stringify(selection)}`).toEqual(within.slice(0, selection.limit))
    }
  })
})
