/**
 * The two ways to append to PostgreSQL, with 1, 2, 4 and 8 writers: waiting for the head's lock before records are sealed
 * (`always`: BEGIN, lock and look in one round trip, append and COMMIT in the next), sealing for the head that is known and
 * comparing it while writing (`never`: one round trip, for nothing where another writer was faster), and what the writer
 * does (`as it is`: compares, and waits for its turn once it has lost). Writes a table.
 *
 *     node bench/turns.ts [--callers N] [--rounds N] [--seconds N]
 *
 * `--callers` are those of all writers together; 64 unless said.
 */
import { parseArgs } from 'node:util'
import { median, shown, spread } from './figures.ts'
import { readOptions } from './options.ts'
import { writePayloads } from './peers.ts'
import { MISSING_HERE, Server, SETTINGS_SAID } from './postgres/server.ts'
import { writeAtOnce } from './postgres/writers.ts'
import type { Written } from './postgres/writers.ts'
import type { Turns } from './programs/postgres-writer.ts'
import { Session } from './session.ts'
import { WORKLOADS } from './workloads.ts'
import type { Workload } from './workloads.ts'

const WAYS: readonly Turns[] = ['always', 'never', 'as it is']
const WRITERS = [1, 2, 4, 8] as const

interface Sizes {
  readonly callers: number
  readonly rounds: number
  readonly seconds: number
}

function readSizes(args: readonly string[]): Sizes {
  const { values } = parseArgs({
    args: [...args],
    options: { callers: { type: 'string' }, rounds: { type: 'string' }, seconds: { type: 'string' } },
  })
  const sizes = { callers: Number(values.callers ?? 64), rounds: Number(values.rounds ?? 3), seconds: Number(values.seconds ?? 2) }
  if (!(sizes.callers >= 8 && sizes.rounds >= 1 && sizes.seconds > 0)) throw new Error('8 callers, 1 round and some time at least')
  return sizes
}

async function tableLines(session: Session, server: Server, sizes: Sizes, workload: Workload): Promise<string[]> {
  const payloads = writePayloads(session)[workload]
  const lines: string[] = []
  for (const writers of WRITERS) {
    const found = new Map<Turns, Written[]>(WAYS.map((way) => [way, []]))
    for (let round = 0; round < sizes.rounds; round++) {
      for (const [turns, figures] of found) {
        const callers = Math.floor(sizes.callers / writers)
        const times = { warmUp_ms: 1000, measured_ms: sizes.seconds * 1000 }
        figures.push(await writeAtOnce(session, server, { ...times, processes: writers, callers, payloads, turns }))
      }
      session.say(`${workload}, ${writers} writers, round ${round + 1} of ${sizes.rounds}`)
    }
    const cells = [...found.values()].map((figures) => {
      const of = (value: (figure: Written) => number): number => median(figures.map(value))
      return `${spread(figures.map(({ rate }) => rate))}; ${shown(of(({ size }) => size))} a batch, ${shown(of(({ races }) => races))} lost`
    })
    lines.push(`| ${workload} | ${writers} | ${cells.join(' | ')} |`)
  }
  return lines
}

const sizes = readSizes(process.argv.slice(2))
if (MISSING_HERE === null) {
  const session = new Session(readOptions([]))
  const server = await Server.start()
  try {
    const lines: string[] = []
    for (const workload of WORKLOADS) lines.push(...(await tableLines(session, server, sizes, workload)))
    console.log(`Records a second by ${sizes.callers} callers in all; records of a batch; lost races for each batch. ${SETTINGS_SAID}.\n`)
    console.log(`| | writers | ${WAYS.join(' | ')} |\n|---|---|---|---|---|\n${lines.join('\n')}`)
  } finally {
    await server.stop()
  }
} else {
  console.error(MISSING_HERE)
  process.exitCode = 1
}
