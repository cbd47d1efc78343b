/**
 * Whoever applies a policy, restores or erases in the course of a year is killed at any moment: all is proven at once, the
 * next run finishes, nothing is lost, nothing doubled.
 */
import { expect, test } from 'vitest'
import type { AuditLedger } from '../../src/index.ts'
import { seededRandom } from '../../src/testing/seeded-random.ts'
import type { SeededRandom } from '../../src/testing/seeded-random.ts'
import { startChild } from '../helpers/child.ts'
import { pause } from '../helpers/postgres-cluster.ts'
import { postgresMissing, useDatabases } from '../helpers/postgres.ts'
import { scale } from '../helpers/scale.ts'
import { ACTORS, notDone, Year } from '../helpers/year.ts'
import { ACTS, doAct } from '../helpers/year-acts.ts'
import type { Act } from '../helpers/year-acts.ts'
import type { YearPlan } from '../helpers/year-process.ts'

const KILLS = scale(4, 100)
const CALLS = scale(120, 1500)
const DAYS = 360
const timeout = scale(240_000, 7_200_000)

/** Where it is told that entries were brought back, they may lie in a file as well until that has none left. */
async function expectOnce(year: Year, restored: ReadonlySet<number>): Promise<void> {
  const places = await year.places()
  for (const { seq } of year.facts) {
    const count = places.get(seq)?.length ?? 0
    if (year.erased.has(seq)) expect(count, `position ${seq}, erased`).toBe(0)
    else if (restored.has(seq)) expect(count, `position ${seq}, restored`).toBeGreaterThan(0)
    else expect(count, `position ${seq}`).toBe(1)
  }
}

/** By the ledger's own records, each call is in one tier. */
async function expectCounted(year: Year, ledger: AuditLedger): Promise<void> {
  const { tiers, erased, kept } = await ledger.retention.plan()
  expect(kept.lost).toBe(0)
  expect(erased).toBe(year.erased.size)
  expect(tiers.hot.records + tiers.warm.records + tiers.cold.records + erased).toBe(year.facts.length)
}

function nextAct(year: Year, life: number, random: SeededRandom): Act {
  const isThere = year.facts.filter(({ seq }) => !year.erased.has(seq))
  return { act: ACTS[life % ACTS.length]!, actor: `agent-${random.below(ACTORS)}`, task: random.pick(isThere).correlation_id }
}

/** @returns whether it had not come to its end */
async function killAtAnyMoment(plan: YearPlan, random: SeededRandom): Promise<boolean> {
  const child = startChild('year-process', plan)
  await child.waitFor(/^(begun|refused)/)
  expect(child.lines[0]).toBe('begun')
  await child.waitForCount(1 + random.below(4))
  await pause(random.below(25))
  await child.kill()
  expect(child.stderr()).toBe('')
  return child.lines.at(-1) !== 'done'
}

const KINDS = ['JSONL', 'SQLite', 'PostgreSQL'] as const
const databases = useDatabases()

test.each(postgresMissing === null ? KINDS : KINDS.slice(0, 2))(
  `${KILLS} × kill -9 in a year of a ledger in %s`,
  { timeout },
  async (kind) => {
    const random = seededRandom(KINDS.indexOf(kind) + 3)
    const year = await Year.begin(kind === 'PostgreSQL' ? await databases.newDatabase() : kind === 'JSONL' ? 'ledger' : 'ledger.db')
    const { location, archive, stateFolder } = year
    const restored = new Set<number>()
    let cut = 0
    for (let life = 0; life < KILLS; life++) {
      const ledger = await year.open()
      await year.record(ledger, Math.ceil(CALLS / KILLS), Math.ceil(DAYS / KILLS))
      await year.keep(ledger, random.pick(year.facts.slice(-CALLS / KILLS)))
      await ledger.close()
      const act = nextAct(year, life, random)
      const isErasing = new Set(act.act === 'erase' ? year.facts.filter((f) => f.correlation_id === act.task).map(({ seq }) => seq) : [])
      if (act.act === 'restore') for (const { seq, actor } of year.facts) if (actor === act.actor) restored.add(seq)
      if (await killAtAnyMoment({ location, archive, stateFolder, now: year.clock.now(), ...act }, random)) cut++
      await year.expectProven()
      await year.expectEntries(isErasing)
      const next = await year.open()
      expect(notDone(await doAct(next, act))).toEqual([])
      for (const seq of isErasing) year.erased.add(seq)
      await expectCounted(year, next)
      await next.close()
      await expectOnce(year, restored)
    }
    await year.expectEntries()
    await year.expectProven()
    const ledger = await year.open()
    await year.expectAnswers(ledger)
    await ledger.close()
    console.log(`${kind}: killed ${KILLS} times, ${cut} of them before it was through`)
    expect(cut).toBeGreaterThan(0)
  },
)
