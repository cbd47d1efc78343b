/** Finding records in a large ledger, beside the same in a small one: an index makes them nearly alike. */
import { AuditLedger } from '../src/index.ts'
import type { Query } from '../src/index.ts'
import { seededRandom } from '../src/testing/seeded-random.ts'
import type { SeededRandom } from '../src/testing/seeded-random.ts'
import { inRounds, shown } from './figures.ts'
import type { Fixture, Fixtures } from './fixtures.ts'
import { smallRecords } from './options.ts'
import { atMost } from './rows.ts'
import type { Result, Row, Target } from './rows.ts'
import { STORES, timed } from './session.ts'
import type { Session } from './session.ts'
import { ACTORS, correlationOf, RARE_OUTCOME, RECORDS_OF_A_TASK } from './workloads.ts'

export interface Question {
  readonly what: string
  /** How often it is asked of each ledger in a round. */
  readonly times: number
  readonly target: Target | null
  /** Resolves with how many records it found. */
  readonly ask: (ledger: AuditLedger, fixture: Fixture, random: SeededRandom) => Promise<number>
  readonly finds: string
}

const PAGE = 100

export async function page(ledger: AuditLedger, query: Query): Promise<number> {
  return (await ledger.query({ ...query, limit: PAGE })).records.length
}

export const QUESTIONS: readonly Question[] = [
  {
    what: 'by correlation',
    times: 200,
    target: atMost(2),
    ask: async (ledger, { records }, random) => (await ledger.getEntriesByCorrelation(correlationOf(random.below(records)))).length,
    finds: `${RECORDS_OF_A_TASK} records`,
  },
  {
    what: 'by run_id',
    times: 200,
    target: null,
    ask: async (ledger, { run_ids }, random) => ((await ledger.get(random.pick(run_ids))) === undefined ? 0 : 1),
    finds: '1 record',
  },
  {
    what: 'by actor and outcome, newest first',
    times: 20,
    target: null,
    ask: (ledger, _, random) => page(ledger, { actor: `agent-${random.below(ACTORS - 1)}`, outcome: 'failure', order: 'newest' }),
    finds: `a page of ${PAGE}`,
  },
  {
    what: 'by actor and outcome that never meet',
    times: 5,
    target: null,
    ask: (ledger) => page(ledger, { actor: 'agent-1', outcome: RARE_OUTCOME }),
    finds: 'nothing',
  },
]

/** The question asked of a large ledger, beside the same asked of a small one. */
export async function questionRow(
  session: Session,
  { what, times, target, ask, finds }: Question,
  [large, small]: readonly [Opened, Opened],
): Promise<Omit<Row, 'topic'>> {
  const random = seededRandom(1)
  const count = session.count(times, 2)
  const micros = async ({ ledger, fixture }: Opened): Promise<number> => {
    const seconds = await timed(async () => {
      for (let i = 0; i < count; i++) await ask(ledger, fixture, random)
    })
    return (seconds * 1_000_000) / count
  }
  const { ours, floor } = await inRounds(session.rounds, async () => ({ ours: await micros(large), floor: await micros(small) }))
  return { what, unit: 'µs', ours, floor, target, note: `finds ${finds}` }
}

export interface Opened {
  readonly ledger: AuditLedger
  readonly fixture: Fixture
}

export async function openFixture(fixture: Fixture): Promise<Opened> {
  return { ledger: await AuditLedger.open(fixture.location, { readOnly: true }), fixture }
}

export async function queryRows(session: Session, fixtures: Fixtures): Promise<Result[]> {
  const { records } = session.options
  const small = smallRecords(session.options)
  const rows: Row[] = []
  for (const store of STORES) {
    const large = await openFixture(await fixtures.get(store, records))
    const beside = await openFixture(await fixtures.get(store, small))
    for (const question of QUESTIONS) {
      const row = await questionRow(session, question, [large, beside])
      rows.push({ topic: 'query', ...row, what: `${store}, ${row.what}` })
    }
    await large.ledger.close()
    await beside.ledger.close()
    session.say(`query, ${store}, ${shown(records)} beside ${shown(small)}`)
  }
  return rows
}
