/** Appending by few and by many, beside the better of COPY and unnest, round by round. */
import { openPostgresStore } from '../../src/stores/postgres/index.ts'
import { appendTo, appending } from '../appending.ts'
import type { Manner } from '../appending.ts'
import { inRounds, median, shown } from '../figures.ts'
import { atLeast } from '../rows.ts'
import type { Row } from '../rows.ts'
import type { Session } from '../session.ts'
import { WORKLOADS } from '../workloads.ts'
import type { Workload } from '../workloads.ts'
import { postgresFloors } from './floors.ts'
import type { Way } from './floors.ts'
import { SETTINGS_SAID } from './server.ts'
import type { Server } from './server.ts'

const ROUNDS = 3

const MANNERS: readonly Manner[] = [
  { who: '1 caller', callers: 1, usual: 400, quick: 20, hasTarget: false },
  { who: '64 callers', callers: 64, usual: 6400, quick: 128, hasTarget: false },
  { who: '1,000 callers', callers: 1000, usual: 10_000, quick: 1000, hasTarget: false },
  { who: 'batches of 1,000', callers: 'batches', usual: 10_000, quick: 1000, hasTarget: true },
]

async function rowOf(session: Session, server: Server, workload: Workload, manner: Manner): Promise<Row> {
  const count = session.count(manner.usual, manner.quick)
  const append = appending(workload, manner, count)
  // Whoever comes second finds tables that are not empty.
  let ways: readonly [Way, Way] = ['COPY', 'unnest']
  const series = await inRounds(session.count(ROUNDS, 1), async () => {
    ways = [ways[1], ways[0]]
    const { seconds, before, batches } = await server.inPlace(async ({ url }) => appendTo(await openPostgresStore(url), append))
    const floors = await server.inPlace((place) => postgresFloors(place, ways, before, batches))
    return {
      ours: count / seconds,
      floor: count / Math.min(floors.COPY, floors.unnest),
      copied: count / floors.COPY,
      unnested: count / floors.unnest,
      size: count / batches.length,
    }
  })
  const floors = `COPY ${shown(median(series.copied))}, unnest ${shown(median(series.unnested))}`
  const note = `${median(series.size).toFixed(0)} records a batch; ${floors}; ${SETTINGS_SAID}`
  const target = manner.hasTarget ? atLeast(0.6) : null
  const { ours, floor } = series
  return { topic: 'postgres', what: `append, ${workload}, ${manner.who}`, unit: 'records/s', ours, floor, target, note }
}

export async function appendRows(session: Session, server: Server): Promise<Row[]> {
  const rows: Row[] = []
  for (const workload of session.some(WORKLOADS)) {
    for (const manner of session.some(MANNERS)) {
      rows.push(await rowOf(session, server, workload, manner))
      session.say(`postgres, append, ${workload}, ${manner.who}`)
    }
  }
  return rows
}
