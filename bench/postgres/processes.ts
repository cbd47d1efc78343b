/** The same 64 callers split over several processes, beside all of them in one. */
import { inRounds, median, shown } from '../figures.ts'
import { writePayloads } from '../peers.ts'
import { atLeast } from '../rows.ts'
import type { Row } from '../rows.ts'
import type { Session } from '../session.ts'
import { WORKLOADS } from '../workloads.ts'
import type { Server } from './server.ts'
import { writeAtOnce } from './writers.ts'
import type { Writing, Written } from './writers.ts'

const CALLERS = 64
/** Over so many processes. */
const SPLITS = [2, 4, 8] as const
const ROUNDS = 3

export async function processRows(session: Session, server: Server): Promise<Row[]> {
  const payloads = writePayloads(session)
  const splits = session.options.quick ? [2] : SPLITS
  const rows: Row[] = []
  for (const workload of session.some(WORKLOADS)) {
    const of = (processes: number): Promise<Written> => {
      const times = { warmUp_ms: session.count(1000, 100), measured_ms: session.count(2000, 200) }
      const writing: Writing = { ...times, processes, callers: CALLERS / processes, payloads: payloads[workload], turns: 'as it is' }
      return writeAtOnce(session, server, writing)
    }
    const round = async (): Promise<Record<string, number>> => {
      const figures: Record<string, number> = { 'rate 1': (await of(1)).rate }
      for (const processes of splits) {
        const { rate, size, races } = await of(processes)
        Object.assign(figures, { [`rate ${processes}`]: rate, [`size ${processes}`]: size, [`races ${processes}`]: races })
      }
      return figures
    }
    const series = await inRounds(session.count(ROUNDS, 1), round, false)
    const seriesOf = (name: string): readonly number[] => series[name] ?? []
    for (const processes of splits) {
      const size = median(seriesOf(`size ${processes}`))
      rows.push({
        topic: 'postgres',
        what: `${workload}, 64 callers in ${processes} processes`,
        unit: 'records/s',
        ours: seriesOf(`rate ${processes}`),
        floor: seriesOf('rate 1'),
        target: processes === 4 ? atLeast(0.7) : null,
        note: `beside it: in one; ${shown(size)} records a batch, ${shown(median(seriesOf(`races ${processes}`)))} lost races a batch`,
      })
    }
    session.say(`postgres, ${workload}, several processes`)
  }
  return rows
}
